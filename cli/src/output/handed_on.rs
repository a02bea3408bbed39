//! Bytes that a writer of a format wants to own the destination of, and that are handed on to where
//! results go behind each batch.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard};

use super::Failure;

/// What was written and is not handed on yet. Clones are the same bytes.
#[derive(Clone, Default)]
pub struct HandedOn(Arc<Mutex<Vec<u8>>>);

impl HandedOn {
    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Hands on what was written.
    ///
    /// # Errors
    /// What the system says when it cannot be written.
    pub fn to(&self, out: &mut dyn Write) -> Result<(), Failure> {
        let mut bytes = self.lock();
        out.write_all(&bytes)?;
        bytes.clear();
        Ok(())
    }
}

impl Write for HandedOn {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
