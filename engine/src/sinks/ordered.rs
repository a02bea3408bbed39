//! Blocks of bytes from several workers, written to one file in the order of the input.
//!
//! Workers format their chunks side by side. The worker at the low mark of the order writes what
//! it has at once; the others leave their blocks in the *window*, and block while that is full.
//!
//! Memory: blocks in the window are charged while they are there, [`WINDOW_BYTES`] at most.
//! Concurrency: one lock, held while bytes are handed to the system.
//! Invariant 1: blocks are written in increasing order of place (when order is kept).
//! Invariant 2: the worker at the low mark never waits.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use super::commit::Output;
use crate::batch::Place;
use crate::error::Result;
use crate::memory::Reservation;
use crate::pipeline::Context;
use crate::scheduler::Token;

/// Most bytes that wait for bytes before them.
const WINDOW_BYTES: usize = 32 << 20;

/// A file under construction that several workers write to; see the module documentation.
pub struct OrderedOutput {
    target: PathBuf,
    /// What the file begins with, what stands between blocks, and what it ends with.
    head: Vec<u8>,
    separator: &'static [u8],
    tail: &'static [u8],
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    output: Option<Output>,
    has_block: bool,
    window: BTreeMap<Place, Block>,
    window_bytes: usize,
}

struct Block {
    bytes: Vec<u8>,
    _charge: Reservation,
}

impl OrderedOutput {
    /// A file that will be `target` and begins with `head`.
    pub fn new(target: &Path, head: Vec<u8>) -> Self {
        let (separator, tail) = (&[][..], &[][..]);
        OrderedOutput {
            target: target.to_path_buf(),
            head,
            separator,
            tail,
            state: Mutex::default(),
        }
    }

    /// The file with bytes between blocks, and others at its end.
    pub fn joined(mut self, separator: &'static [u8], tail: &'static [u8]) -> Self {
        (self.separator, self.tail) = (separator, tail);
        self
    }

    /// Takes a block, and leaves an empty buffer in its place; or says what to wait for.
    ///
    /// # Errors
    /// `Io` or `Input` when the file cannot be created or written.
    pub fn offer(
        &self,
        place: Place,
        block: &mut Vec<u8>,
        charge: &mut Reservation,
        cx: &Context,
    ) -> Result<Option<Token>> {
        let turn = cx.order.token();
        let low = if cx.query.keep_order { cx.order.low() } else { u64::MAX };
        let mut state = self.lock();
        let in_turn = place.morsel <= low;
        let through = if in_turn { place } else { Place { morsel: low, sequence: 0 } };
        while let Some(first) = state.window.first_entry().filter(|first| *first.key() < through) {
            let waited = first.remove();
            state.window_bytes -= waited.bytes.len();
            self.write(&mut state, &waited.bytes)?;
        }
        if in_turn {
            self.write(&mut state, block)?;
            block.clear();
            return Ok(None);
        }
        let fits = state.window_bytes.saturating_add(block.len()) <= WINDOW_BYTES;
        // The worker keeps as much as it has for the block that it makes next: where both have no
        // room, it waits here instead of being refused there.
        if !fits || !charge.try_grow(block.capacity()) {
            return Ok(Some(turn));
        }
        let charge = charge.split(block.capacity());
        state.window_bytes += block.len();
        state.window.insert(place, Block { bytes: std::mem::take(block), _charge: charge });
        Ok(None)
    }

    /// Writes what is left and gives the file its name.
    ///
    /// # Errors
    /// As [`OrderedOutput::offer`].
    pub fn commit(&self) -> Result<()> {
        let mut state = self.lock();
        let window = std::mem::take(&mut state.window);
        state.window_bytes = 0;
        for block in window.into_values() {
            self.write(&mut state, &block.bytes)?;
        }
        self.write(&mut state, &[])?;
        match state.output.take() {
            Some(mut output) => {
                output.write_all(self.tail).map_err(|e| output.error("write", e))?;
                output.commit()
            }
            None => Ok(()),
        }
    }

    /// Removes what was written, to begin again.
    pub fn reset(&self) {
        *self.lock() = State::default();
    }

    /// Writes a block, and the head before the first one.
    fn write(&self, state: &mut State, block: &[u8]) -> Result<()> {
        let output = match &mut state.output {
            Some(output) => output,
            none => {
                let output = none.insert(Output::create(&self.target)?);
                output.write_all(&self.head).map_err(|e| output.error("write", e))?;
                output
            }
        };
        if block.is_empty() {
            return Ok(());
        }
        if std::mem::replace(&mut state.has_block, true) {
            output.write_all(self.separator).map_err(|e| output.error("write", e))?;
        }
        output.write_all(block).map_err(|e| output.error("write", e))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }
}
