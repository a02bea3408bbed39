//! One worker's part of a store: takes chunks, keeps them, sheds them to its tape.
//!
//! Memory: chunks are charged as they come, small ones that wait to be copied together included.
//! What moving chunks to the tape takes, [`SPILL_BYTES`], is in use from the start: it is not for
//! chunks. A column goes to the tape in blocks, so that it needs no more however wide it is.

use std::mem;
use std::sync::Arc;

use arrow::array::Array;
use arrow::compute::concat;
use arrow::datatypes::DataType;

use super::block::{self, Put};
use super::store::{Body, Slot, Spot};
use crate::batch::{CHUNK_ROWS, Chunk, Column};
use crate::error::Result;
use crate::memory::Reservation;
use crate::memory::spill::{SpillSpace, TapeWriter};

/// Bytes that a tape collects before it writes.
const TAPE_BUFFER_BYTES: usize = 32 << 10;

/// The most bytes of a block: a column takes one or several.
const BLOCK_BYTES: usize = 64 << 10;

/// Memory that moving chunks to tape takes.
pub(super) const SPILL_BYTES: usize = TAPE_BUFFER_BYTES + BLOCK_BYTES;

/// Bytes that are moved to tape at once, so that chunks which find no room do not each wait for all
/// that there is, and a query that is cancelled ends soon.
const SHED_BYTES: usize = 16 << 20;

/// Takes chunks of one worker, in the order of its morsels; see the module documentation.
pub struct ChunkWriter {
    charge: Reservation,
    /// Small chunks of one morsel, to be copied together.
    pending: Vec<Chunk>,
    pending_rows: usize,
    pending_bytes: usize,
    slots: Vec<Slot>,
    /// Those of `slots` that are in memory are the last ones, from here on.
    in_memory: usize,
    tape: Option<TapeFill>,
}

/// What a writer has kept.
pub(super) struct Written {
    pub(super) slots: Vec<Slot>,
    /// For the slots that are in memory.
    pub(super) charge: Reservation,
}

impl ChunkWriter {
    /// A writer whose reservation has a minimum of [`SPILL_BYTES`].
    ///
    /// # Errors
    /// `OutOfMemory` when the minimum is not there.
    pub(super) fn new(mut charge: Reservation) -> Result<Self> {
        charge.grow(SPILL_BYTES)?;
        Ok(ChunkWriter {
            charge,
            pending: Vec::new(),
            pending_rows: 0,
            pending_bytes: 0,
            slots: Vec::new(),
            in_memory: 0,
            tape: None,
        })
    }

    /// Keeps the live rows of a chunk.
    ///
    /// # Errors
    /// `OutOfMemory` when neither memory nor spill space takes them, `Io` when writing fails.
    pub fn push(&mut self, chunk: Chunk) -> Result<()> {
        if chunk.is_empty() {
            return Ok(());
        }
        let chunk = owned(&chunk.compact()?)?;
        let begins =
            self.pending.last().is_some_and(|last| last.place().morsel != chunk.place().morsel);
        if begins || self.pending_rows + chunk.rows() > CHUNK_ROWS {
            self.keep_pending()?;
        }
        let bytes = held_bytes(&chunk);
        let fits = self.charge.try_grow(bytes);
        if fits {
            self.pending_bytes += bytes;
        }
        self.pending_rows += chunk.rows();
        self.pending.push(chunk);
        if fits && self.pending_rows < CHUNK_ROWS / 2 { Ok(()) } else { self.keep_pending() }
    }

    /// Keeps the chunks that wait, as one.
    fn keep_pending(&mut self) -> Result<()> {
        self.pending_rows = 0;
        let charged = mem::take(&mut self.pending_bytes);
        let mut pending = mem::take(&mut self.pending);
        let chunk = match pending.len() {
            0 => return Ok(()),
            1 => pending.remove(0),
            _ => match together(&pending)? {
                Some(chunk) => owned(&chunk)?,
                None => {
                    let mut charged = charged;
                    return pending.into_iter().try_for_each(|chunk| {
                        let own = charged.min(held_bytes(&chunk));
                        charged -= own;
                        self.keep(chunk, own)
                    });
                }
            },
        };
        drop(pending);
        self.keep(chunk, charged)
    }

    /// Keeps a chunk, for which so many bytes are in use already.
    fn keep(&mut self, chunk: Chunk, charged: usize) -> Result<()> {
        let bytes = held_bytes(&chunk);
        if self.charge.pressed() {
            self.shed()?;
        }
        let more = bytes.saturating_sub(charged);
        let mut fits = self.charge.try_grow(more);
        while !fits && self.shed()? {
            fits = self.charge.try_grow(more);
        }
        let (place, rows) = (chunk.place(), chunk.rows());
        if fits {
            self.charge.shrink(charged.saturating_sub(bytes));
            self.slots.push(Slot { place, rows, bytes, body: Body::Memory(chunk) });
            return Ok(());
        }
        let spots = self.tape().append(&chunk)?;
        self.charge.shrink(charged);
        self.slots.push(Slot { place, rows, bytes: 0, body: Body::Unfinished(spots) });
        self.in_memory = self.slots.len();
        Ok(())
    }

    /// Moves the oldest chunks in memory to the tape, [`SHED_BYTES`] and one chunk at most; false
    /// when there are none.
    fn shed(&mut self) -> Result<bool> {
        let (from, mut shed) = (self.in_memory, 0);
        while self.in_memory < self.slots.len() && shed < SHED_BYTES {
            if let Body::Memory(chunk) = &self.slots[self.in_memory].body {
                let chunk = chunk.clone();
                let spots = self.tape().append(&chunk)?;
                let slot = &mut self.slots[self.in_memory];
                slot.body = Body::Unfinished(spots);
                shed += slot.bytes;
                self.charge.shrink(mem::take(&mut slot.bytes));
            }
            self.in_memory += 1;
        }
        Ok(self.in_memory > from)
    }

    fn tape(&mut self) -> &mut TapeFill {
        let charge = &self.charge;
        self.tape.get_or_insert_with(|| TapeFill::new(charge.governor().spill(), charge.who()))
    }

    /// What was kept.
    pub(super) fn finish(mut self) -> Result<Written> {
        self.keep_pending()?;
        if let Some(tape) = self.tape {
            tape.finish(&mut self.slots)?;
        }
        let bytes = self.slots.iter().map(|slot| slot.bytes).sum();
        // The minimum was for writing, which is over.
        Ok(Written { slots: self.slots, charge: self.charge.split(bytes) })
    }
}

/// Chunks as one, unless a decimal column has several widths.
fn together(chunks: &[Chunk]) -> Result<Option<Chunk>> {
    let Some(first) = chunks.first() else { return Ok(None) };
    let mut columns = Vec::with_capacity(first.columns().len());
    for (number, column) in first.columns().iter().enumerate() {
        let parts = chunks.iter().map(|chunk| Ok(chunk.column(number)?.values().as_ref()));
        let parts: Vec<&dyn Array> = parts.collect::<Result<_>>()?;
        if parts.iter().any(|part| part.data_type() != column.values().data_type()) {
            return Ok(None);
        }
        columns.push(Column::flat(column.logical().clone(), concat(&parts)?));
    }
    let rows = chunks.iter().map(Chunk::rows).sum();
    Ok(Some(Chunk::new(columns, rows, first.place())))
}

/// The chunk with columns that pin little more than its rows.
fn owned(chunk: &Chunk) -> Result<Chunk> {
    let columns = chunk
        .columns()
        .iter()
        .map(|column| Ok(Column::flat(column.logical().clone(), block::owned(column.values())?)));
    Ok(Chunk::new(columns.collect::<Result<_>>()?, chunk.rows(), chunk.place()))
}

fn held_bytes(chunk: &Chunk) -> usize {
    chunk.columns().iter().map(|column| column.values().get_array_memory_size()).sum()
}

/// A tape that chunks are moved to, column by column.
pub(super) struct TapeFill {
    writer: TapeWriter,
    block: Vec<u8>,
    /// Where the first block of the column at hand is.
    position: Option<u64>,
}

impl TapeFill {
    /// The caller has reserved [`SPILL_BYTES`].
    pub(super) fn new(space: &SpillSpace, who: &Arc<str>) -> Self {
        let writer = TapeWriter::new(space, who.clone(), TAPE_BUFFER_BYTES);
        TapeFill { writer, block: Vec::with_capacity(BLOCK_BYTES), position: None }
    }

    /// Writes a chunk and says where its columns are.
    pub(super) fn append(&mut self, chunk: &Chunk) -> Result<Arc<[Spot]>> {
        let spots = chunk.columns().iter().map(|column| {
            self.position = None;
            block::encode(column.values(), self)?;
            self.end_block()?;
            let position = self.position.unwrap_or(self.writer.len());
            let data_type: DataType = column.values().data_type().clone();
            Ok(Spot { position, end: self.writer.len(), data_type })
        });
        spots.collect()
    }

    fn end_block(&mut self) -> Result<()> {
        if !self.block.is_empty() {
            let position = self.writer.append(&self.block, 0)?;
            self.position.get_or_insert(position);
            self.block.clear();
        }
        Ok(())
    }

    /// Ends the tape, which the unfinished ones among `slots` are on.
    pub(super) fn finish(self, slots: &mut [Slot]) -> Result<()> {
        let tape = Arc::new(self.writer.finish()?);
        for slot in slots {
            if let Body::Unfinished(spots) = &slot.body {
                slot.body = Body::Tape(tape.clone(), spots.clone());
            }
        }
        Ok(())
    }
}

impl Put for TapeFill {
    fn put(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let room = BLOCK_BYTES - self.block.len();
            let (now, rest) = bytes.split_at(room.min(bytes.len()));
            self.block.extend_from_slice(now);
            if self.block.len() == BLOCK_BYTES {
                self.end_block()?;
            }
            bytes = rest;
        }
        Ok(())
    }
}
