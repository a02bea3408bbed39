//! Files, the extents in them, the cap and the figures.
//!
//! Each directory has one file, opened when its first extent is taken. Extents go round the
//! directories; a directory that is full or gone is passed over as long as another one serves.
//! When nothing is left in a file it is closed, which gives the disk space back and spares the
//! system the writing of pages that nobody will read. That takes a tenth of a second per gigabyte
//! and more, so large files are closed by a thread of their own and nobody waits for it.
//!
//! Concurrency: one lock per directory, held for bookkeeping only, never during a transfer.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use super::free_list::FreeList;
use super::io::{SpillIo, write_all};
use super::window::Window;
use crate::error::{Error, Result};
use crate::memory::Bytes;
use crate::observe::{Count, count};

/// The spill space of a process; see the module documentation. Clones are the same space.
#[derive(Clone)]
pub struct SpillSpace {
    shared: Arc<Shared>,
}

struct Shared {
    io: Arc<dyn SpillIo>,
    /// Where extents are taken from. Those that are there already keep their directory.
    directories: Mutex<Arc<[Arc<Directory>]>>,
    cap: AtomicU64,
    next: AtomicUsize,
    used: AtomicU64,
    peak: AtomicU64,
    written: AtomicU64,
    read: AtomicU64,
}

struct Directory {
    path: PathBuf,
    state: Mutex<DirectoryState>,
    /// The last write here found the disk full. New extents go elsewhere until one is freed.
    full: AtomicBool,
}

#[derive(Default)]
struct DirectoryState {
    file: Option<Arc<File>>,
    free: FreeList,
}

/// Figures of a spill space, in bytes since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SpillUsage {
    /// In extents now.
    pub used: u64,
    /// The most there ever were.
    pub peak: u64,
    /// Written.
    pub written: u64,
    /// Read back.
    pub read: u64,
    /// Files open.
    pub files: usize,
}

/// Files of this many bytes and more are closed aside.
const LARGE_BYTES: u64 = 32 << 20;

/// A range of a spill file that belongs to one owner; freed when dropped.
pub(super) struct Extent {
    space: SpillSpace,
    directory: Arc<Directory>,
    offset: u64,
    len: u64,
}

impl SpillSpace {
    /// A space in `directories`, or in the system's temporary directory when there are none.
    /// Nothing is opened yet.
    pub fn new(directories: &[PathBuf], cap: Option<u64>, io: Arc<dyn SpillIo>) -> Self {
        SpillSpace {
            shared: Arc::new(Shared {
                io,
                directories: Mutex::new(opened(directories)),
                cap: AtomicU64::new(cap.unwrap_or(u64::MAX)),
                next: AtomicUsize::new(0),
                used: AtomicU64::new(0),
                peak: AtomicU64::new(0),
                written: AtomicU64::new(0),
                read: AtomicU64::new(0),
            }),
        }
    }

    /// From now on extents are taken from these directories, or from the system's temporary one
    /// when there are none. What is spilled stays where it is.
    pub fn set_directories(&self, directories: &[PathBuf]) {
        *self.lock() = opened(directories);
    }

    /// Changes how many bytes may be used; `None` for no cap. More may be used already.
    pub fn set_cap(&self, cap: Option<u64>) {
        self.shared.cap.store(cap.unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Present figures.
    pub fn usage(&self) -> SpillUsage {
        let shared = &self.shared;
        SpillUsage {
            used: shared.used.load(Ordering::Relaxed),
            peak: shared.peak.load(Ordering::Relaxed),
            written: shared.written.load(Ordering::Relaxed),
            read: shared.read.load(Ordering::Relaxed),
            files: self.directories().iter().filter(|d| d.lock().file.is_some()).count(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Arc<[Arc<Directory>]>> {
        self.shared.directories.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn directories(&self) -> Arc<[Arc<Directory>]> {
        self.lock().clone()
    }

    /// An extent of `len` bytes for `who`.
    pub(super) fn allocate(&self, len: u64, who: &str) -> Result<Extent> {
        self.charge(len, who)?;
        let directories = self.directories();
        let count = directories.len();
        let first = self.shared.next.fetch_add(1, Ordering::Relaxed);
        let mut refused = None;
        // Directories known to be full are tried last: they may have room again.
        for round in [false, true] {
            for number in (0..count).map(|n| (first + n) % count) {
                let directory = &directories[number];
                if directory.full.load(Ordering::Relaxed) != round {
                    continue;
                }
                match directory.take(len, &*self.shared.io) {
                    Ok(offset) => {
                        let (space, directory) = (self.clone(), directory.clone());
                        return Ok(Extent { space, directory, offset, len });
                    }
                    Err(e) => refused = Some((number, e)),
                }
            }
        }
        self.shared.used.fetch_sub(len, Ordering::Relaxed);
        match refused {
            Some((number, error)) => {
                Err(self.failure("open a spill file in", &directories[number], len, who, error))
            }
            None => Err(Error::internal("a spill space without directories")),
        }
    }

    /// Whether an extent could be had in a directory other than the full ones.
    pub(super) fn has_room(&self) -> bool {
        self.directories().iter().any(|d| !d.full.load(Ordering::Relaxed))
    }

    fn charge(&self, len: u64, who: &str) -> Result<()> {
        let shared = &self.shared;
        let cap = shared.cap.load(Ordering::Relaxed);
        let add = |used: u64| used.checked_add(len).filter(|&sum| sum <= cap);
        match shared.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add) {
            Ok(before) => {
                shared.peak.fetch_max(before + len, Ordering::Relaxed);
                Ok(())
            }
            Err(used) => Err(Error::OutOfMemory {
                who: format!("the spilled state of {who}"),
                asked_bytes: usize::try_from(len).unwrap_or(usize::MAX),
                detail: format!(
                    "{} of the {} allowed on disk are used; raise the cap (spill_limit) or the \
                     memory limit (--memory, memory_limit)",
                    Bytes(used),
                    Bytes(cap)
                ),
            }),
        }
    }

    /// The error for a failed call on a directory's file: a full disk is about space, and names
    /// the knob; everything else is about the device.
    fn failure(
        &self,
        operation: &'static str,
        directory: &Directory,
        len: u64,
        who: &str,
        error: io::Error,
    ) -> Error {
        let path = &directory.path;
        if !is_full(&error) {
            return Error::io(operation, path, error);
        }
        Error::OutOfMemory {
            who: format!("the spilled state of {who}"),
            asked_bytes: usize::try_from(len).unwrap_or(usize::MAX),
            detail: format!(
                "no space is left in {} ({error}), where {} are spilled; give a larger directory \
                 (--temp-dir, temp_directory) or raise the memory limit (--memory, memory_limit)",
                path.display(),
                Bytes(self.shared.used.load(Ordering::Relaxed))
            ),
        }
    }
}

/// The directories at these paths, or the system's; nothing is opened yet.
fn opened(paths: &[PathBuf]) -> Arc<[Arc<Directory>]> {
    let directory =
        |path| Arc::new(Directory { path, state: Mutex::default(), full: false.into() });
    match paths {
        [] => vec![directory(std::env::temp_dir())].into(),
        paths => paths.iter().cloned().map(directory).collect(),
    }
}

/// Whether the error says that the disk, or the user's share of it, is full.
fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull, WriteZero};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge | WriteZero)
}

impl Directory {
    fn lock(&self) -> MutexGuard<'_, DirectoryState> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn take(&self, len: u64, io: &dyn SpillIo) -> io::Result<u64> {
        let mut state = self.lock();
        if state.file.is_none() {
            state.file = Some(Arc::new(io.open(&self.path)?));
        }
        Ok(state.free.take(len))
    }

    /// The file, which is open as long as somebody has an extent in it.
    fn file(&self) -> io::Result<Arc<File>> {
        self.lock().file.clone().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Takes back a range. Answers with the file if nothing is left in it: it has been let go of
    /// and is closed when the answer is dropped.
    fn give(&self, offset: u64, len: u64) -> Option<Arc<File>> {
        let mut state = self.lock();
        let empty = state.free.give(offset, len);
        self.full.store(false, Ordering::Relaxed);
        if empty { state.file.take() } else { None }
    }
}

impl Extent {
    /// Bytes in the extent.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Writes `bytes` at `at` within the extent. `Ok(false)` when the disk is full and another
    /// directory might have room.
    pub(super) fn write(&self, at: u64, bytes: &[u8], who: &str) -> Result<bool> {
        debug_assert!(at + bytes.len() as u64 <= self.len, "a write stays in its extent");
        let shared = &self.space.shared;
        let directory = &self.directory;
        let written =
            directory.file().and_then(|f| write_all(&*shared.io, &f, bytes, self.offset + at));
        match written {
            Ok(()) => {
                shared.written.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                count(Count::SpilledBytes, bytes.len() as u64);
                Ok(true)
            }
            Err(error) => {
                if is_full(&error) {
                    directory.full.store(true, Ordering::Relaxed);
                    if self.space.has_room() {
                        return Ok(false);
                    }
                }
                let len = bytes.len() as u64;
                let operation = "write spilled state to";
                Err(self.space.failure(operation, directory, len, who, error))
            }
        }
    }

    /// Moves `window` to `len` bytes from `at` within the extent.
    pub(super) fn load(&self, window: &mut Window, at: u64, len: usize, who: &str) -> Result<()> {
        let shared = &self.space.shared;
        let directory = &self.directory;
        let loaded =
            directory.file().and_then(|f| window.move_to(&*shared.io, &f, self.offset + at, len));
        match loaded {
            Ok(()) => {
                shared.read.fetch_add(len as u64, Ordering::Relaxed);
                Ok(())
            }
            Err(error) => {
                let operation = "read spilled state from";
                Err(self.space.failure(operation, directory, len as u64, who, error))
            }
        }
    }

    /// The directory it is in, for errors.
    pub(super) fn path(&self) -> PathBuf {
        self.directory.path.clone()
    }
}

impl Drop for Extent {
    fn drop(&mut self) {
        let shared = &self.space.shared;
        shared.used.fetch_sub(self.len, Ordering::Relaxed);
        if let Some(file) = self.directory.give(self.offset, self.len) {
            close(file);
        }
    }
}

/// Closes a file, in a thread of its own when that may take long.
fn close(file: Arc<File>) {
    let is_large = file.metadata().is_ok_and(|m| m.len() >= LARGE_BYTES);
    if is_large {
        let closing = thread::Builder::new().name("gristmill-close".to_string());
        // Without a thread the handle goes with the closure, here and now.
        let _ = closing.spawn(move || drop(file));
    }
}
