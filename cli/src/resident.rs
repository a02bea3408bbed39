//! Keeps the memory that is resident under the limit of the process.
//!
//! What a program frees stays resident until its allocator gives it back, and mimalloc does that
//! in its own time: with many threads a query that held 84 MB had 212 MB resident. Giving it back
//! at once costs much, as pages that are given back and taken again are zeroed by the system. So
//! whenever threads have grown by some megabytes, one of them looks at what is resident, and has
//! all that is free given back when it comes near the limit. Memory that no limit presses is kept.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use gristmill::memory::watch_growth;

/// How much threads grow by between two looks.
const EACH_BYTES: usize = 2 << 20;
/// How near to the limit is near.
const MARGIN_BYTES: u64 = 8 << 20;

static WATCH: OnceLock<Watch> = OnceLock::new();
/// What threads have grown by since the last look.
static GROWN: AtomicUsize = AtomicUsize::new(0);

struct Watch {
    status: File,
    page_bytes: u64,
    limit: u64,
}

/// Keeps the process within so many bytes from now on, as far as freed memory goes.
///
/// # Errors
/// `Io` where what is resident cannot be read.
pub fn keep_within(limit: u64) -> io::Result<()> {
    let watch = Watch { status: File::open("/proc/self/statm")?, page_bytes: page_bytes(), limit };
    watch.resident_bytes()?;
    if WATCH.set(watch).is_ok() {
        watch_growth(grown);
    }
    Ok(())
}

fn grown(bytes: usize) {
    let all = GROWN.fetch_add(bytes, Ordering::Relaxed) + bytes;
    let looks = all >= EACH_BYTES
        && GROWN.compare_exchange(all, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok();
    if looks && WATCH.get().is_some_and(Watch::is_near) {
        // SAFETY: any thread may call it whenever it is not within a call of the allocator's own,
        // and whoever watches growth is called after one has ended.
        unsafe { libmimalloc_sys::mi_collect(true) }
    }
}

impl Watch {
    fn is_near(&self) -> bool {
        self.resident_bytes().is_ok_and(|bytes| bytes + MARGIN_BYTES > self.limit)
    }

    /// The second number of the file: pages that are resident.
    fn resident_bytes(&self) -> io::Result<u64> {
        let mut text = [0; 128];
        let length = self.status.read_at(&mut text, 0)?;
        let text = std::str::from_utf8(&text[..length]).unwrap_or_default();
        let pages = text.split_ascii_whitespace().nth(1).and_then(|pages| pages.parse().ok());
        pages.map(|pages: u64| pages * self.page_bytes).ok_or(io::ErrorKind::InvalidData.into())
    }
}

fn page_bytes() -> u64 {
    // SAFETY: reads a constant of the system.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}
