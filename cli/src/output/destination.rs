//! Where results go: standard output, or a file that appears when all is done.

use std::io::{self, BufWriter, StdoutLock, Write};
use std::path::Path;

use gristmill::OutputFile;

use super::Failure;

/// Takes the bytes of all results.
pub enum Destination {
    /// Flushed after each result.
    Stdout(BufWriter<StdoutLock<'static>>),
    /// Under a temporary name until [`Destination::finish`].
    File(Box<BufWriter<OutputFile>>),
}

impl Destination {
    /// The file, or standard output.
    ///
    /// # Errors
    /// What the system says when the file cannot be created.
    pub fn open(file: Option<&Path>) -> Result<Destination, Failure> {
        match file {
            None => Ok(Destination::Stdout(BufWriter::new(io::stdout().lock()))),
            Some(path) => {
                let file = BufWriter::new(OutputFile::create(path)?);
                Ok(Destination::File(Box::new(file)))
            }
        }
    }

    /// The end of one result: people see it at once.
    ///
    /// # Errors
    /// What the system says when it cannot be written.
    pub fn end_result(&mut self) -> Result<(), Failure> {
        match self {
            Destination::Stdout(out) => Ok(out.flush()?),
            Destination::File(_) => Ok(()),
        }
    }

    /// Gives the file its name. A destination that is dropped before leaves none.
    ///
    /// # Errors
    /// What the system says when it cannot be written.
    pub fn finish(self) -> Result<(), Failure> {
        match self {
            Destination::Stdout(mut out) => Ok(out.flush()?),
            Destination::File(out) => {
                let file = (*out).into_inner().map_err(|e| lost(e.into_error()))?;
                Ok(file.commit()?)
            }
        }
    }
}

impl Write for Destination {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Destination::Stdout(out) => out.write(bytes),
            Destination::File(out) => out.write(bytes).map_err(lost),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Destination::Stdout(out) => out.flush(),
            Destination::File(out) => out.flush().map_err(lost),
        }
    }
}

/// A reader of standard output may go when it has seen enough; whoever named a file wants all of
/// it, also when it is a pipe.
fn lost(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::BrokenPipe => io::Error::other(error),
        _ => error,
    }
}
