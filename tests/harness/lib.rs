//! What the tests share: a seeded generator, random tables, and the naive meaning of plans.

pub mod generate;
pub mod plans;
pub mod random;
pub mod reference;
pub mod table_source;
pub mod windows;
