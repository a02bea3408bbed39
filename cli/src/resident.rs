//! Keeps the memory that is resident under the limit of the process.
//!
//! What a program frees stays resident until its allocator gives it back, and mimalloc does that
//! in its own time: with many threads a query that held 84 MB had 212 MB resident. Giving it back
//! at once costs much, as pages that are given back and taken again are zeroed by the system. So
//! whenever threads have grown by some megabytes, one of them looks at what is resident, and has
//! it given back when it comes near the limit: all that is free in the arenas, which threads share,
//! and in the thread's own pages. What others have free in theirs stays, some megabytes a thread,
//! which the session leaves alone. Memory that no limit presses is kept.
//!
//! The code is unsafe where it asks the system for the size of a page and calls the allocator, and
//! because what watches growth is called within allocations.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use gristmill::memory::{Governor, watch_growth};

/// How much threads grow by between two looks: looking takes a microsecond, filling so much some
/// hundred.
const EACH_BYTES: usize = 2 << 20;
/// How near to the limit is near: what several threads can fill between two looks, each having
/// what it was given before a look and not touched.
const MARGIN_BYTES: usize = 8 << 20;

static WATCH: OnceLock<Watch> = OnceLock::new();
/// What threads have grown by since the last look.
static GROWN: AtomicUsize = AtomicUsize::new(0);

struct Watch {
    status: File,
    page_bytes: usize,
    memory: Governor,
}

/// Keeps the process within the limit that is given for it, now and later, as far as freed memory
/// goes.
///
/// # Errors
/// `Io` where what is resident cannot be read.
pub fn keep_within(memory: Governor) -> io::Result<()> {
    let watch = Watch { status: File::open("/proc/self/statm")?, page_bytes: page_bytes(), memory };
    watch.resident_bytes()?;
    if WATCH.set(watch).is_ok() {
        // SAFETY: `grown` reads a file into its stack and calls the allocator's own collection.
        unsafe { watch_growth(grown) }
    }
    Ok(())
}

fn grown(bytes: usize) {
    if GROWN.fetch_add(bytes, Ordering::Relaxed) + bytes < EACH_BYTES {
        return;
    }
    GROWN.store(0, Ordering::Relaxed);
    if WATCH.get().is_some_and(Watch::is_near) {
        // SAFETY: any thread may call it whenever it is not within a call of the allocator's own,
        // and whoever watches growth is called after one has ended.
        unsafe { libmimalloc_sys::mi_collect(true) }
    }
}

impl Watch {
    fn is_near(&self) -> bool {
        let Some(limit) = self.memory.given() else { return false };
        self.resident_bytes().is_ok_and(|bytes| bytes + MARGIN_BYTES > limit)
    }

    fn resident_bytes(&self) -> io::Result<usize> {
        let mut text = [0; 128];
        let length = self.status.read_at(&mut text, 0)?;
        let pages = resident_pages(&text[..length]).ok_or(io::ErrorKind::InvalidData)?;
        Ok(pages * self.page_bytes)
    }
}

/// The second number of the file.
fn resident_pages(text: &[u8]) -> Option<usize> {
    std::str::from_utf8(text).ok()?.split_ascii_whitespace().nth(1)?.parse().ok()
}

fn page_bytes() -> usize {
    // SAFETY: reads a constant of the system.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gristmill::memory::GovernorOptions;

    #[test]
    fn what_is_resident_is_compared_with_the_limit_of_the_process() {
        assert_eq!(resident_pages(b"1000 200 30 4 0 5 0\n"), Some(200));
        assert_eq!(resident_pages(b"1000"), None);
        let status = File::open("/proc/self/statm").expect("opens");
        let memory = Governor::new(GovernorOptions::default());
        let watch = Watch { status, page_bytes: page_bytes(), memory: memory.clone() };
        assert!(!watch.is_near());
        let resident = watch.resident_bytes().expect("is read");
        assert!(resident > 1 << 20, "{resident}");
        memory.set_given(Some(resident));
        assert!(watch.is_near());
        memory.set_given(Some(resident + (1 << 30)));
        assert!(!watch.is_near());
    }
}
