//! For tests: somebody who takes what memory there is.

use std::sync::atomic::{AtomicBool, Ordering};

use super::Governor;

/// Says that it is over, also when a test panics.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs something while another thread takes all memory but for `left` bytes, gives it back, and
/// takes it again.
pub fn beside_hoard<R>(governor: &Governor, left: usize, run: impl FnOnce() -> R) -> R {
    const STEP: usize = 16 << 10;
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _over = Over(&over);
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let mut held = governor.reserve("hoard", 0).expect("asks for nothing");
                let free = || governor.limit().saturating_sub(governor.reserved());
                while free() >= left + STEP && held.grow(STEP).is_ok() {}
                std::thread::yield_now();
            }
        });
        run()
    })
}
