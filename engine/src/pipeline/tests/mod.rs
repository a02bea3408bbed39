//! Tests of the driver and the runner with fake stages.

mod driver;
pub(super) mod fakes;
mod run;
