//! Which part of a pipeline's input is complete.
//!
//! Morsels are handed out in file order, and each is worked on by one worker from its first chunk
//! to its last. So when every worker has gone on to morsel `m` or beyond, all chunks of the morsels
//! below `m` have reached the stages that wait for them. Whoever keeps the file order (results,
//! files, a limit without ORDER BY) holds chunks back until [`Order::low`] has passed them.
//!
//! Each worker has a [`Lane`] with the morsel it works on. A lane is opened at the first morsel of
//! its pipeline before its worker pulls for the first time, and moves only *after* a pull has named
//! a new morsel; the low mark is therefore never too high. Pipelines that feed one sink in turn
//! (the arms of a union) share an order; arm `k` numbers its morsels from `k << 40`, and opens a
//! lane only when it starts, so the runner holds a place for each arm that is still to come.
//!
//! A worker that fails or is stopped leaves its lane where it stands: its morsel is not complete,
//! and nothing behind that may pass for the input's next rows.
//!
//! Invariant 1: no chunk of a morsel below `low()` is delivered after `low()` has returned, and all
//! of them have been.

use std::sync::{Arc, Mutex};

use crate::scheduler::{Gate, Token};

/// The morsels that the workers of one sink's pipelines are at. Clones are the same order.
#[derive(Clone, Default)]
pub struct Order {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    lanes: Mutex<Vec<u64>>,
    moved: Gate,
}

/// One worker's mark in an [`Order`]. Dropped without [`Lane::close`], it holds the low mark for
/// ever.
pub struct Lane {
    order: Order,
    number: usize,
    at: u64,
}

impl Order {
    /// An order without lanes: everything is complete.
    pub fn new() -> Self {
        Order::default()
    }

    /// Opens a lane that holds the low mark at `morsel` or below.
    pub fn open(&self, morsel: u64) -> Lane {
        let number = self.lanes(|lanes| {
            // Sinks open a lane per morsel: closed ones are used again.
            if let Some(closed) = lanes.iter().position(|&at| at == u64::MAX) {
                lanes[closed] = morsel;
                return closed;
            }
            lanes.push(morsel);
            lanes.len() - 1
        });
        Lane { order: self.clone(), number, at: morsel }
    }

    /// The lowest morsel of which chunks may still arrive; `u64::MAX` when none will.
    pub fn low(&self) -> u64 {
        self.lanes(|lanes| lanes.iter().copied().min().unwrap_or(u64::MAX))
    }

    /// A token that goes stale when the low mark may have moved. Take it before reading `low`.
    pub fn token(&self) -> Token {
        self.shared.moved.token()
    }

    fn lanes<R>(&self, f: impl FnOnce(&mut Vec<u64>) -> R) -> R {
        f(&mut self.shared.lanes.lock().unwrap_or_else(|e| e.into_inner()))
    }
}

impl Lane {
    /// The worker is now at `morsel`, and done with all below.
    pub fn advance(&mut self, morsel: u64) {
        if morsel > self.at {
            self.at = morsel;
            self.order.lanes(|lanes| lanes[self.number] = morsel);
            self.order.shared.moved.notify();
        }
    }

    /// All that the worker had to deliver is delivered.
    pub fn close(mut self) {
        self.advance(u64::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn low_is_the_slowest_lane_and_closing_frees_it() {
        let order = Order::new();
        assert_eq!(order.low(), u64::MAX);
        let mut a = order.open(0);
        let mut b = order.open(0);
        a.advance(5);
        assert_eq!(order.low(), 0);
        let token = order.token();
        b.advance(3);
        assert!(token.is_stale());
        assert_eq!(order.low(), 3);
        b.close();
        assert_eq!(order.low(), 5);
        a.advance(4);
        assert_eq!(order.low(), 5, "a lane never goes back");
        drop(a);
        assert_eq!(order.low(), 5, "nor is an unfinished morsel complete");
    }
}
