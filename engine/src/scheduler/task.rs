//! The unit that a worker thread runs.

use super::gate::Token;

/// How a task stopped running.
#[derive(Debug)]
pub enum TaskState {
    /// It has more to do and gives others a turn.
    Yield,
    /// It cannot go on until the token's gate is notified.
    Blocked(Token),
    /// It is finished and may be dropped.
    Done,
}

/// Something a worker thread can run for a while.
///
/// A task never panics on purpose and reports failure through its query; a panic that escapes is
/// caught by the worker, which then drops the task and calls nothing more on it.
pub trait Task: Send {
    /// Runs for at most a few milliseconds, or until blocked or done.
    fn run(&mut self) -> TaskState;

    /// Tells the task that its `run` panicked with this message; it must report the failure to its
    /// query and is dropped afterwards.
    fn panicked(&mut self, message: String);
}
