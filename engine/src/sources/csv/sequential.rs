//! One file read from front to back: the way to read what is compressed, and to take samples.
//!
//! Memory: the decoder, and what was read behind the last record given.

use std::sync::Arc;

use super::structure::Marks;
use super::window::Window;
use crate::error::Result;
use crate::memory::Reservation;
use crate::sources::{ByteStream, InputFile};

/// See the module documentation.
pub(super) struct Sequential {
    stream: ByteStream,
    /// What was read behind the last record given.
    rest: Vec<u8>,
    /// Position of `rest` in the content.
    base: u64,
    over: bool,
    held: Reservation,
}

impl Sequential {
    /// A file from its beginning; what it takes to read it is charged to `held`.
    pub(super) fn open(file: Arc<InputFile>, mut held: Reservation) -> Result<Self> {
        let stream = ByteStream::open(file)?;
        held.resize_to(stream.held_bytes())?;
        Ok(Sequential { stream, rest: Vec::new(), base: 0, over: false, held })
    }

    /// The file.
    pub(super) fn file(&self) -> &Arc<InputFile> {
        self.stream.file()
    }

    /// Fills the window with the next records, about as many as `bytes` hold. False when there are
    /// no more.
    pub(super) fn next(
        &mut self,
        window: &mut Window,
        marks: &Marks,
        bytes: usize,
        held: &mut Reservation,
    ) -> Result<bool> {
        if self.over {
            return Ok(false);
        }
        let from = (self.base, &mut self.rest);
        self.over = window.read_stream(&mut self.stream, from, marks, bytes, held)?;
        self.base = window.offset(window.records.1);
        self.held.resize_to(self.stream.held_bytes() + self.rest.capacity())?;
        self.file().check()?;
        Ok(true)
    }

    /// How much longer the content is than the file, as far as it has been read.
    pub(super) fn expansion(&self) -> f64 {
        match self.stream.compression() {
            None => 1.0,
            Some(_) => {
                (self.base + self.rest.len() as u64) as f64 / self.stream.consumed().max(1) as f64
            }
        }
    }
}
