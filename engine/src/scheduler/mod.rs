//! Runs tasks on a fixed set of threads, knowing nothing of what they do.
//!
//! A [`Task`] runs for a short while and says how it stopped: it wants to go on, it is blocked on a
//! [`Token`], or it is done. A blocked task holds no thread; the [`Gate`] that made the token puts
//! it back on the queue. Cancelling a query wakes its blocked tasks.
//!
//! * `task`: what is run; `parked`: where a blocked task waits.
//! * `gate`: the event count that tasks block on; `signal`: how other threads wait for one.
//! * `cancel`: the flag that stops a query; `timer`: deadlines.
//! * `pool`: worker threads with stealing deques; `sleep`: how they sleep and wake.
//! * `seeded`: the same interface on one thread, in an order drawn from a seed.
//! * `sync`: locks and counters, those of `loom` where interleavings are explored.
//!
//! The gate, the parked task and the sleeping protocol are checked in all interleavings:
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test -p gristmill-engine --lib --target-dir target/loom loom_
//! ```

use std::time::Instant;

mod cancel;
mod gate;
mod parked;
mod pool;
mod seeded;
mod signal;
mod sleep;
mod sync;
mod task;
mod timer;

pub use cancel::Cancel;
pub use gate::{Gate, Token, Wake};
pub use pool::Pool;
pub use seeded::Seeded;
pub use task::{Task, TaskState};
pub use timer::{Deadline, Timer};

/// Runs tasks.
pub trait Scheduler: Send + Sync {
    /// Queues a task. Raising `cancel` wakes it whenever it is blocked.
    fn spawn(&self, task: Box<dyn Task>, cancel: &Cancel);

    /// How many tasks can run at once, all workers being active.
    fn threads(&self) -> usize;

    /// Lets at most `workers` (at least one) tasks run at once from their next turns on.
    fn set_active(&self, workers: usize);

    /// Blocks the calling thread until the gate of one of the tokens is notified, or until the
    /// given time; answers whether one was. Tasks never call this: they answer
    /// [`TaskState::Blocked`].
    fn wait(&self, tokens: &[Token], until: Option<Instant>) -> bool;
}
