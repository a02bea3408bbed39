//! Tests of the driver and the runner with fake stages.

mod driver;
pub(crate) mod fakes;
mod run;
