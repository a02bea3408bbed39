//! Where a blocked task waits.
//!
//! The slot is parked at the gate that the task waits for and at the gate of its query's
//! cancellation. Whichever is notified first takes the task out and queues it; the other finds the
//! slot empty.
//!
//! Invariant 1: a parked task is queued exactly once.

use super::gate::{Token, Wake};
use super::sync::{Arc, Mutex, lock};
use super::task::Runnable;

/// Where tasks go that can run.
pub(super) trait Queue: Send + Sync + 'static {
    /// Queues a task; must not block.
    fn push(&self, runnable: Runnable);
}

struct Parked<Q> {
    runnable: Mutex<Option<Runnable>>,
    queue: Arc<Q>,
}

impl<Q: Queue> Wake for Parked<Q> {
    fn wake(&self) {
        let taken = lock(&self.runnable).take();
        if let Some(runnable) = taken {
            self.queue.push(runnable);
        }
    }

    fn is_over(&self) -> bool {
        lock(&self.runnable).is_none()
    }
}

/// Parks a task until the token's gate is notified or its query is cancelled, whichever comes
/// first; queues it at once when either has happened since the token was taken.
pub(super) fn park<Q: Queue>(runnable: Runnable, token: &Token, queue: &Arc<Q>) {
    let cancel = runnable.cancel().clone();
    let raised = cancel.gate().token();
    let slot = Arc::new(Parked { runnable: Mutex::new(Some(runnable)), queue: queue.clone() });
    if !token.park(slot.clone()) || cancel.is_raised() || !raised.park(slot.clone()) {
        slot.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::{Cancel, Gate, Task, TaskState};
    use std::sync::atomic::{AtomicUsize, Ordering};

    struct Idle;

    impl Task for Idle {
        fn run(&mut self) -> TaskState {
            TaskState::Done
        }

        fn panicked(&mut self, _: String) {}
    }

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Queue for Count {
        fn push(&self, _: Runnable) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn runnable(cancel: &Cancel) -> Runnable {
        Runnable::new(Box::new(Idle), cancel.clone())
    }

    #[cfg(not(loom))]
    #[test]
    fn queued_once_by_the_first_of_gate_and_cancellation() {
        let queue = Arc::new(Count::default());
        let queued = || queue.0.swap(0, Ordering::SeqCst);
        let (gate, cancel) = (Gate::new(), Cancel::new());
        park(runnable(&cancel), &gate.token(), &queue);
        assert_eq!(queued(), 0);
        gate.notify();
        assert_eq!(queued(), 1);

        let stale = gate.token();
        gate.notify();
        park(runnable(&cancel), &stale, &queue);
        assert_eq!(queued(), 1, "the gate was notified before");

        park(runnable(&cancel), &gate.token(), &queue);
        cancel.interrupt();
        gate.notify();
        assert_eq!(queued(), 1);
        park(runnable(&cancel), &gate.token(), &queue);
        assert_eq!(queued(), 1, "the query was cancelled before");
    }

    #[cfg(loom)]
    #[test]
    fn loom_gate_and_cancellation_race_for_a_parked_task() {
        loom::model(|| {
            let queue = Arc::new(Count::default());
            let (gate, cancel) = (Gate::new(), Cancel::new());
            let token = gate.token();
            let notifier = loom::thread::spawn({
                let gate = gate.clone();
                move || gate.notify()
            });
            let canceller = loom::thread::spawn({
                let cancel = cancel.clone();
                move || cancel.interrupt()
            });
            park(runnable(&cancel), &token, &queue);
            notifier.join().expect("no panic");
            canceller.join().expect("no panic");
            assert_eq!(queue.0.load(Ordering::SeqCst), 1);
        });
    }

    #[cfg(loom)]
    #[test]
    fn loom_cancellation_alone_queues_a_parked_task() {
        loom::model(|| {
            let queue = Arc::new(Count::default());
            let (gate, cancel) = (Gate::new(), Cancel::new());
            let canceller = loom::thread::spawn({
                let cancel = cancel.clone();
                move || cancel.interrupt()
            });
            park(runnable(&cancel), &gate.token(), &queue);
            canceller.join().expect("no panic");
            assert_eq!(queue.0.load(Ordering::SeqCst), 1);
        });
    }
}
