//! The system calls of the spill space, behind a trait so that tests can make the n-th one fail.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::window::Map;

/// What the spill space asks of the system. The methods have the meaning, and the errors, of the
/// calls they are named after.
pub trait SpillIo: Send + Sync + fmt::Debug {
    /// Opens a file in `dir` for reading and writing that has no name, or has lost it already.
    fn open(&self, dir: &Path) -> io::Result<File>;

    /// Writes some of `bytes`; says how many.
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<usize>;

    /// Reads some bytes; says how many; 0 at the end of the file.
    fn read_at(&self, file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Maps `len` bytes for reading and brings them into memory. `Unsupported` asks for a
    /// positional read instead.
    fn map(&self, file: &File, offset: u64, len: usize) -> io::Result<Map>;
}

/// The real thing.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemIo;

impl SpillIo for SystemIo {
    fn open(&self, dir: &Path) -> io::Result<File> {
        tempfile::tempfile_in(dir)
    }

    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
        file.write_at(bytes, offset)
    }

    fn read_at(&self, file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        file.read_at(bytes, offset)
    }

    fn map(&self, file: &File, offset: u64, len: usize) -> io::Result<Map> {
        Map::new(file, offset, len)
    }
}

/// Writes all of `bytes`, however many calls it takes.
pub(super) fn write_all(
    io: &dyn SpillIo,
    file: &File,
    mut bytes: &[u8],
    mut offset: u64,
) -> io::Result<()> {
    while !bytes.is_empty() {
        match io.write_at(file, bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                bytes = bytes.get(n..).ok_or(io::ErrorKind::InvalidData)?;
                offset += n as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Fills `bytes`, however many calls it takes.
pub(super) fn read_all(
    io: &dyn SpillIo,
    file: &File,
    mut bytes: &mut [u8],
    mut offset: u64,
) -> io::Result<()> {
    while !bytes.is_empty() {
        match io.read_at(file, bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => {
                bytes = bytes.get_mut(n..).ok_or(io::ErrorKind::InvalidData)?;
                offset += n as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
