//! The unit that a worker thread runs, and what is done with it whoever runs it.

use super::cancel::Cancel;
use super::gate::Token;
use crate::panics::caught;

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
/// caught by the worker, which then calls `panicked`, drops the task and calls nothing more on it.
pub trait Task: Send {
    /// Runs for at most a few milliseconds, or until blocked or done.
    fn run(&mut self) -> TaskState;

    /// Tells the task that its `run` panicked with this message; it must report the failure to its
    /// query and is dropped afterwards.
    fn panicked(&mut self, message: String);
}

/// A task with the flag that stops its query.
pub(super) struct Runnable {
    task: Box<dyn Task>,
    cancel: Cancel,
}

/// What became of a [`Runnable`].
pub(super) enum Ran {
    /// It wants another turn.
    Yielded(Runnable),
    /// It waits.
    Blocked(Runnable, Token),
    /// It is dropped.
    Over,
}

impl Runnable {
    pub(super) fn new(task: Box<dyn Task>, cancel: Cancel) -> Self {
        Runnable { task, cancel }
    }

    pub(super) fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    /// Gives the task a turn; no panic of the task gets out.
    pub(super) fn run(mut self) -> Ran {
        match caught(|| self.task.run()) {
            Ok(TaskState::Yield) => return Ran::Yielded(self),
            Ok(TaskState::Blocked(token)) => return Ran::Blocked(self, token),
            Ok(TaskState::Done) => {}
            Err(panic) => {
                // What panics a second time has been told; dropping it is all that is left.
                let _ = caught(|| self.task.panicked(panic.to_string()));
            }
        }
        self.discard();
        Ran::Over
    }

    /// Drops the task; no panic gets out.
    pub(super) fn discard(self) {
        let _ = caught(move || drop(self));
    }
}
