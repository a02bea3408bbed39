//! Planning on a stack that is deep enough, with panics caught.
//!
//! Printing, comparing and dropping a syntax tree recurse once per level, so that a sum of ten
//! thousand terms would overflow the caller's stack. Ordinary statements plan on the caller's
//! thread; deep ones get a thread of their own, whose stack costs only what is touched.

use gristmill_engine::panics::{Panic, caught};
use gristmill_engine::{Error, Result};

use super::script::Depth;

/// Depths up to this are planned on the caller's thread, which may have a stack of two megabytes.
const SHALLOW: usize = 100;

/// Stack reserved per level: the largest frames seen in an unoptimized build, doubled. Chains that
/// are balanced count too: the borrowed rules take conditions apart and put them together again as
/// chains. What is not used of a stack takes no memory.
const BYTES_PER_LEVEL: usize = 16 * 1024;

const BYTES_MIN: usize = 8 * 1024 * 1024;

/// Runs `work`, which handles trees of at most this depth.
///
/// # Errors
/// Those of `work`; `Internal` when it panics.
pub(crate) fn with_stack_for<R: Send>(
    depth: Depth,
    work: impl FnOnce() -> Result<R> + Send,
) -> Result<R> {
    if depth.parsed <= SHALLOW {
        return caught(work).unwrap_or_else(|panic| Err(defect(&panic)));
    }
    let bytes = BYTES_MIN + depth.parsed * BYTES_PER_LEVEL;
    let builder = std::thread::Builder::new().name("planner".into()).stack_size(bytes);
    std::thread::scope(|scope| {
        let thread = builder.spawn_scoped(scope, || caught(work)).map_err(|e| {
            Error::input(format!("cannot plan an expression of {} levels: {e}", depth.parsed))
        })?;
        let outcome = thread.join().map_err(|_| Error::internal("planning panicked"))?;
        outcome.unwrap_or_else(|panic| Err(defect(&panic)))
    })
}

fn defect(panic: &Panic) -> Error {
    Error::internal(format!("planning panicked: {panic}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deep_work_has_a_deep_stack_and_panics_are_errors() {
        fn dig(levels: usize) -> usize {
            let frame = std::hint::black_box([levels; 128]);
            if levels == 0 { 0 } else { 1 + dig(frame[0] - 1) }
        }
        let deep = 20_000;
        let depth = |levels| Depth { parsed: levels, balanced: levels };
        assert_eq!(with_stack_for(depth(deep), || Ok(dig(deep))).expect("fits"), deep);
        for levels in [1, SHALLOW + 1] {
            let depth = depth(levels);
            let error = with_stack_for::<()>(depth, || panic!("boom")).expect_err("panics");
            assert!(matches!(&error, Error::Internal(m) if m.contains("boom")), "{error}");
        }
    }
}
