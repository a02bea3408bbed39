//! Reads spilled bytes back in bounded windows.
//!
//! A window is a map that is populated by an advice call before anything touches it, because that
//! call reports a read error where touching the bytes would be a signal; it is unmapped when it is
//! dropped or moved. Its pages are resident memory, so the caller reserves them like any other.
//!
//! Small windows, and platforms without that advice, use a positional read into a buffer. The
//! limit is measured: per window of 16 KB from the page cache, two threads, mapping cost four
//! times what reading did (page table work and the other processor's TLB), at 64 KB 1.6 times,
//! at 256 KB 1.3 times, at 1 MB 1.1 times. In exchange a map needs no buffer beside the page
//! cache's, which counts when the window is large.
//!
//! This is the one place of the spill space with `unsafe`: the bytes of a map must not change
//! under the reader. They cannot: the file has no name, and an extent is written before it is
//! read and not again before it is freed, which takes its tape, which the reader holds.

use std::fs::File;
use std::io;
use std::sync::OnceLock;

use memmap2::{Mmap, MmapOptions};

use super::io::{SpillIo, read_all};

/// Windows of at least this many bytes are mapped.
pub const MAP_BYTES_MIN: usize = 256 << 10;

/// Populated bytes of a file, readable without faulting.
#[derive(Debug)]
pub struct Map {
    pages: Mmap,
    /// Bytes of the first page that are before the ones asked for.
    lead: usize,
}

impl Map {
    /// Maps and populates `len` bytes from `offset`.
    ///
    /// # Errors
    /// A read error of the device, or `Unsupported` where populating cannot report one.
    pub fn new(file: &File, offset: u64, len: usize) -> io::Result<Map> {
        let lead = (offset % page_bytes()) as usize;
        let mut options = MmapOptions::new();
        options.offset(offset - lead as u64).len(len + lead);
        // SAFETY: nothing writes to or truncates these bytes while the map lives; see above.
        let pages = unsafe { options.map(file)? };
        populate(&pages)?;
        Ok(Map { pages, lead })
    }

    fn bytes(&self) -> &[u8] {
        self.pages.get(self.lead..).unwrap_or(&[])
    }
}

#[cfg(target_os = "linux")]
fn populate(pages: &Mmap) -> io::Result<()> {
    match pages.advise(memmap2::Advice::PopulateRead) {
        // A kernel before 5.14.
        Err(e) if e.kind() == io::ErrorKind::InvalidInput => Err(io::ErrorKind::Unsupported.into()),
        other => other,
    }
}

#[cfg(not(target_os = "linux"))]
fn populate(_: &Mmap) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Bytes in a page of memory: what offsets of maps are multiples of.
fn page_bytes() -> u64 {
    static PAGE: OnceLock<u64> = OnceLock::new();
    *PAGE.get_or_init(|| {
        // SAFETY: `sysconf` only reads a constant of the system.
        let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        u64::try_from(bytes).ok().filter(|b| b.is_power_of_two()).unwrap_or(4096)
    })
}

/// Some bytes of a spill file, in memory.
#[derive(Debug)]
pub enum Window {
    /// Copied; the buffer may be longer than what it holds, and is used again.
    Read {
        /// At least `len` bytes.
        buffer: Vec<u8>,
        /// Bytes read.
        len: usize,
    },
    /// Through a map.
    Mapped(Map),
}

impl Default for Window {
    fn default() -> Self {
        Window::Read { buffer: Vec::new(), len: 0 }
    }
}

impl Window {
    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Window::Read { buffer, len } => buffer.get(..*len).unwrap_or(&[]),
            Window::Mapped(map) => map.bytes(),
        }
    }

    /// Moves the window to other bytes. What it held before is released first, so that both are
    /// never in memory together.
    pub(super) fn move_to(
        &mut self,
        io: &dyn SpillIo,
        file: &File,
        offset: u64,
        len: usize,
    ) -> io::Result<()> {
        let mut buffer = match std::mem::take(self) {
            Window::Read { buffer, .. } => buffer,
            Window::Mapped(_) => Vec::new(),
        };
        if len >= MAP_BYTES_MIN {
            match io.map(file, offset, len) {
                Ok(map) => {
                    *self = Window::Mapped(map);
                    return Ok(());
                }
                Err(e) if e.kind() == io::ErrorKind::Unsupported => {}
                Err(e) => return Err(e),
            }
        }
        if buffer.len() < len {
            // The old buffer goes first, and the new one is exactly what was reserved.
            drop(std::mem::take(&mut buffer));
            buffer = vec![0; len];
        }
        if let Some(target) = buffer.get_mut(..len) {
            read_all(io, file, target, offset)?;
        }
        *self = Window::Read { buffer, len };
        Ok(())
    }
}
