//! Input files: what a plan knows of them, and positional reads that notice when they change.
//!
//! Inputs are never mapped: pages of a map count as memory of the process, and a file that shrinks
//! under a map kills it. All reads name their position, so workers share one descriptor.
//!
//! Invariant 1: bytes that were read after [`InputFile::check`] failed are not used.

use std::fs::{File, Metadata};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::observe::count_input_bytes;

/// A file as the plan knows it. Size and time of change tell whether it is still the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileRef {
    /// Where it is.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// When it was last changed, in nanoseconds since 1970.
    pub mtime_ns: i64,
}

impl FileRef {
    /// The file at `path` as it is now.
    ///
    /// # Errors
    /// `Io` when there is none, `Input` when it is no regular file.
    pub fn of(path: &Path) -> Result<FileRef> {
        let meta = std::fs::metadata(path).map_err(|e| Error::io("open", path, e))?;
        Self::from_metadata(path, &meta)
    }

    fn from_metadata(path: &Path, meta: &Metadata) -> Result<FileRef> {
        if !meta.is_file() {
            let what = if meta.is_dir() { "a directory" } else { "a pipe or a device" };
            return Err(Error::input(format!(
                "{} is {what}, and what is read is a file; write what comes there to one",
                path.display()
            )));
        }
        let mtime = meta.modified().map_err(|e| Error::io("open", path, e))?;
        let mtime_ns = match mtime.duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
            Err(before) => {
                i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |nanos| -nanos)
            }
        };
        Ok(FileRef { path: path.to_path_buf(), size: meta.len(), mtime_ns })
    }
}

/// An open input file.
#[derive(Debug)]
pub struct InputFile {
    file: File,
    planned: FileRef,
}

impl InputFile {
    /// Opens a file that must still be what the plan says.
    ///
    /// # Errors
    /// `Io` when it cannot be opened, `Input` when it changed since planning.
    pub fn open(planned: &FileRef) -> Result<InputFile> {
        let file = File::open(&planned.path).map_err(|e| Error::io("open", &planned.path, e))?;
        let opened = InputFile { file, planned: planned.clone() };
        opened.check()?;
        Ok(opened)
    }

    /// The file as the plan knows it.
    pub fn file_ref(&self) -> &FileRef {
        &self.planned
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.planned.path
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.planned.size
    }

    /// `Ok` while the file is what the plan says. Sources ask after each morsel's reads.
    ///
    /// # Errors
    /// `Input` when it changed since planning.
    pub fn check(&self) -> Result<()> {
        let meta = self.file.metadata().map_err(|e| Error::io("read", self.path(), e))?;
        if FileRef::from_metadata(self.path(), &meta)? == self.planned {
            return Ok(());
        }
        Err(Error::input(format!(
            "{} changed since the query was planned; run the query again",
            self.path().display()
        )))
    }

    /// Fills `into` with the bytes from `offset` on.
    ///
    /// # Errors
    /// `Io` when they cannot be read or the file ends before, `Input` when that is because the
    /// file changed since planning.
    pub fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<()> {
        read_exact_at(&self.file, offset, into).map_err(|e| match self.check() {
            Ok(()) => Error::io("read", self.path(), e),
            Err(changed) => changed,
        })?;
        count_input_bytes(into.len());
        Ok(())
    }
}

#[cfg(unix)]
fn read_exact_at(file: &File, offset: u64, into: &mut [u8]) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, into, offset)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut offset: u64, mut into: &mut [u8]) -> std::io::Result<()> {
    use std::io::ErrorKind;
    use std::os::windows::fs::FileExt;
    while !into.is_empty() {
        match file.seek_read(into, offset) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                offset += read as u64;
                into = &mut into[read..];
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_by_position_and_notices_changes() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("input");
        std::fs::write(&path, b"0123456789").expect("writes");
        let planned = FileRef::of(&path).expect("is there");
        assert_eq!(planned.size, 10);
        let file = InputFile::open(&planned).expect("opens");
        let mut bytes = [0; 4];
        file.read_at(3, &mut bytes).expect("reads");
        assert_eq!(&bytes, b"3456");
        let short = file.read_at(8, &mut bytes).expect_err("beyond the end");
        assert!(matches!(short, Error::Io { .. }), "{short}");

        std::fs::write(&path, b"01234").expect("writes");
        for changed in [file.check(), file.read_at(3, &mut bytes)] {
            let changed = changed.expect_err("changed");
            assert!(changed.to_string().contains("changed since"), "{changed}");
        }
        assert!(InputFile::open(&planned).is_err());
    }

    #[test]
    fn what_is_no_file_is_refused() {
        let directory = tempfile::tempdir().expect("directory");
        assert!(matches!(FileRef::of(directory.path()), Err(Error::Input { .. })));
        assert!(matches!(FileRef::of(&directory.path().join("no")), Err(Error::Io { .. })));
    }
}
