//! Panics that are caught and become errors.
//!
//! Code that is not ours panics on some input. Rust prints a panic where it begins, before anybody
//! knows that it is caught; [`tell_uncaught_only`] makes a program print those alone that nobody
//! catches.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    /// How many calls of [`caught`] this thread is in.
    static CAUGHT: Cell<usize> = const { Cell::new(0) };
    /// Where the last panic began of those that were not printed.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// A panic that was caught.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Panic {
    /// What it said, if it said it in words.
    pub message: Option<String>,
    /// Where in the source it began, if that was not printed.
    pub place: Option<String>,
}

/// What it said, and where it began.
impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message.as_deref().unwrap_or("a panic without a message"))?;
        self.place.as_ref().map_or(Ok(()), |place| write!(f, " ({place})"))
    }
}

/// What `f` gives, or the panic in it. What `f` leaves behind must not be used after a panic.
///
/// # Errors
/// The panic.
pub fn caught<T>(f: impl FnOnce() -> T) -> Result<T, Panic> {
    CAUGHT.with(|depth| depth.set(depth.get() + 1));
    let outcome = catch_unwind(AssertUnwindSafe(f));
    CAUGHT.with(|depth| depth.set(depth.get() - 1));
    outcome.map_err(|panic| Panic {
        message: said(panic.as_ref()),
        place: PLACE.with(|place| place.borrow_mut().take()),
    })
}

fn said(panic: &(dyn Any + Send)) -> Option<String> {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_string());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
}

/// Makes the process print panics only that are not caught. For programs: a library leaves alone
/// what the process does about panics.
pub fn tell_uncaught_only() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let is_caught = CAUGHT.try_with(|depth| depth.get() > 0).unwrap_or(false);
        // One that begins while another is under way ends the process.
        let is_second = PLACE.try_with(|last| last.borrow().is_some()).unwrap_or(false);
        if !is_caught || is_second {
            return tell(panic);
        }
        let place = panic.location().map(ToString::to_string);
        let _ = PLACE.try_with(|last| *last.borrow_mut() = place);
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panics_say_what_they_said() {
        assert_eq!(caught(|| 7), Ok(7));
        let panic = caught(|| -> u8 { panic!("at {}", 1) }).expect_err("panics");
        assert_eq!(panic.message.as_deref(), Some("at 1"));
        let inner = caught(|| caught(|| -> u8 { panic!("inner") })).expect("caught");
        assert_eq!(inner.expect_err("panics").message.as_deref(), Some("inner"));
        assert_eq!(CAUGHT.with(Cell::get), 0);
        let wordless = caught(|| -> u8 { std::panic::panic_any(5) }).expect_err("panics");
        assert_eq!((wordless.message.clone(), wordless.to_string().is_empty()), (None, false));
    }
}
