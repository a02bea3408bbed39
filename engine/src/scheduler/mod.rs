//! Runs tasks on a fixed set of threads, knowing nothing of what they do.
//!
//! A [`Task`] runs for a short while and says how it stopped: it wants to go on, it is blocked on a
//! [`Token`], or it is done. A blocked task holds no thread; the [`Gate`] that made the token puts
//! it back on the queue. Cancelling a query wakes its blocked tasks.
//!
//! * `gate`: the event count that tasks block on.
//! * `cancel`: the flag that stops a query, and deadlines.
//! * `pool`: worker threads with stealing deques.
//! * `seeded`: the same interface on one thread, in an order drawn from a seed.

mod cancel;
mod gate;
mod sync;
mod task;

pub use cancel::Cancel;
pub use gate::{Gate, Token, Wake};
pub use task::{Task, TaskState};
