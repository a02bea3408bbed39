//! Input files as the `parquet` crate wants them: positional reads behind its `ChunkReader`.

use std::io::{self, Read};
use std::sync::Arc;

use bytes::Bytes;
use parquet::errors::Result as ParquetResult;
use parquet::file::reader::{ChunkReader, Length};

use super::error::{corrupt, through_parquet};
use crate::sources::file::InputFile;

/// Bytes that a [`Read`] of the crate fetches at once: it reads page headers with it.
const HEADER_BYTES: usize = 512;

/// An open file for the `parquet` crate. Clones share the file.
#[derive(Debug, Clone)]
pub(super) struct FileBytes(pub(super) Arc<InputFile>);

impl Length for FileBytes {
    fn len(&self) -> u64 {
        self.0.size()
    }
}

impl ChunkReader for FileBytes {
    type T = HeaderRead;

    fn get_read(&self, start: u64) -> ParquetResult<HeaderRead> {
        Ok(HeaderRead { file: self.0.clone(), next: start, buffer: Vec::new(), used: 0 })
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        // A length from a corrupt file must not make us allocate more than the file has.
        if start.checked_add(length as u64).is_none_or(|end| end > self.0.size()) {
            let what = "a part of it would lie behind its end";
            return Err(through_parquet(corrupt(self.0.path(), what)));
        }
        let mut bytes = vec![0; length];
        self.0.read_at(start, &mut bytes).map_err(through_parquet)?;
        Ok(bytes.into())
    }
}

/// Reads a few bytes from a position on.
pub(super) struct HeaderRead {
    file: Arc<InputFile>,
    /// Position in the file after what is buffered.
    next: u64,
    buffer: Vec<u8>,
    used: usize,
}

impl Read for HeaderRead {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.used == self.buffer.len() {
            let left = usize::try_from(self.file.size().saturating_sub(self.next));
            self.buffer.resize(left.unwrap_or(HEADER_BYTES).min(HEADER_BYTES), 0);
            self.used = 0;
            self.file.read_at(self.next, &mut self.buffer).map_err(io::Error::other)?;
            self.next += self.buffer.len() as u64;
        }
        let copied = into.len().min(self.buffer.len() - self.used);
        into[..copied].copy_from_slice(&self.buffer[self.used..self.used + copied]);
        self.used += copied;
        Ok(copied)
    }
}
