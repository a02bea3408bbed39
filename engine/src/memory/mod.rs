//! The memory budget: who may hold how much, and who gives way.
//!
//! One [`Governor`] per process holds the budget. Whoever keeps more than a few kilobytes takes a
//! [`Reservation`] and grows it before it allocates. When the budget is short, the governor first
//! asks idle state to shrink (its owner has registered a [`Revocable`]), then marks pressure on
//! those who are running and hold most, and refuses: the requester sheds its own state and goes on.
//! Nobody waits for memory, but where it ends with a step of somebody who runs: with a turn
//! ([`Turns`]), or with what another request has others write out just now.
//!
//! Long values that go from one operator to the next take their part of a reservation with them
//! ([`Reservation::hand_over`]); [`crate::batch::Charge`] says who holds it when.
//!
//! * `governor`: the budget and the policy; `reservation`: one holder's share of it.
//! * `spill`: state on disk, in checksummed blocks, and how it is read back.
//! * `rows`: the one layout in which operators keep rows.
//! * `runs`: sorted runs, formed within a budget and merged in parallel.
//! * `chunks`: chunks kept to be read again, in memory or on tape.
//! * `lender`: what is lent to one after the other.
//! * `turns`: turns of those who need much for a short time.
//! * `allocator`: the counting allocator that cross-checks the reservations.
//! * `hoard`: for tests, somebody who takes what memory there is.

mod allocator;
pub mod chunks;
mod governor;
#[cfg(test)]
pub mod hoard;
mod lender;
mod reservation;
pub mod rows;
pub mod runs;
pub mod spill;
mod turns;

pub use allocator::{Counting, live_bytes, peak_bytes, watch_growth};
pub use governor::{Bytes, Governor, GovernorOptions, Holding, Usage};
pub use lender::Lender;
pub use reservation::{Reservation, Revocable};
pub use turns::{Turn, Turns};
