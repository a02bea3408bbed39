//! Reads kept chunks, whole or some of their columns.

use std::ops::Range;
use std::sync::Arc;

use super::block::{self, Take};
use super::store::{Body, ChunkStore, Spot};
use crate::batch::{Chunk, Column, Place};
use crate::error::{Error, Result};
use crate::memory::spill::{Tape, TapeReader};

/// Bytes of a tape that are read at once.
const WINDOW_BYTES: usize = 256 << 10;

/// The part of the budget that a window may take.
const WINDOW_SHARE: usize = 256;

/// Gives chunks of a store to one worker.
pub struct ChunkReader {
    store: Arc<ChunkStore>,
    columns: Vec<usize>,
    tape: Option<TapeReader>,
}

impl ChunkReader {
    /// A reader of these columns, in this order.
    pub fn new(store: Arc<ChunkStore>, columns: Vec<usize>) -> Self {
        ChunkReader { store, columns, tape: None }
    }

    /// Chunk number `number`, at `place`.
    ///
    /// # Errors
    /// `Io` when it is on tape and cannot be read, `OutOfMemory` when there is no room for the
    /// window, `Internal` when there is no such chunk or column.
    pub fn read(&mut self, number: usize, place: Place) -> Result<Chunk> {
        let (rows, body) = self.store.slot(number)?;
        let columns = match body {
            Body::Memory(chunk) => {
                let column = |&column: &usize| chunk.column(column).cloned();
                self.columns.iter().map(column).collect::<Result<_>>()?
            }
            Body::Tape(tape, spots) => self.read_tape(&tape, &spots)?,
            Body::Unfinished(_) => return Err(Error::internal("a tape is read before its end")),
        };
        Ok(Chunk::new(columns, rows, place))
    }

    fn read_tape(&mut self, tape: &Arc<Tape>, spots: &[Spot]) -> Result<Vec<Column>> {
        let mut read: Vec<Option<Column>> = vec![None; self.columns.len()];
        let mut order: Vec<usize> = (0..self.columns.len()).collect();
        order.sort_unstable_by_key(|&at| self.columns[at]);
        for (turn, &at) in order.iter().enumerate() {
            let column = self.columns[at];
            let end = spots.get(self.last_of_group(&order, turn)).map_or(0, |spot| spot.end);
            let (Some(spot), Some(logical)) = (spots.get(column), self.store.types().get(column))
            else {
                return Err(Error::internal(format!("no column {column} in a kept chunk")));
            };
            let logical = logical.clone();
            let reader = self.tape_reader(tape)?;
            reader.seek(spot.position, end.max(spot.position + 1), 0);
            let values = block::decode(&spot.data_type, &mut Blocks { reader, rest: 0..0 })?;
            read[at] = Some(Column::flat(logical, values));
        }
        let missing = || Error::internal("a column of a kept chunk was not read");
        read.into_iter().map(|column| column.ok_or_else(missing)).collect()
    }

    /// The last of the columns that are read in a row from this one on.
    fn last_of_group(&self, order: &[usize], turn: usize) -> usize {
        let columns = order[turn..].iter().map(|&at| self.columns[at]);
        let mut last = self.columns[order[turn]];
        for column in columns.skip(1) {
            if column > last + 1 {
                break;
            }
            last = column;
        }
        last
    }

    fn tape_reader(&mut self, tape: &Arc<Tape>) -> Result<&mut TapeReader> {
        match &mut self.tape {
            Some(reader) => {
                reader.turn_to(tape);
                Ok(reader)
            }
            none => {
                let charge = self.store.reader_charge()?;
                let share = charge.governor().limit() / WINDOW_SHARE;
                let window = WINDOW_BYTES.min(share.next_multiple_of(4096));
                let reader = TapeReader::new(tape.clone(), window, charge)?;
                Ok(none.insert(reader))
            }
        }
    }
}

/// The bytes of a column, block after block.
struct Blocks<'a> {
    reader: &'a mut TapeReader,
    /// What is left of the block at hand, in the reader's window.
    rest: Range<usize>,
}

impl Take for Blocks<'_> {
    fn part(&mut self, most: usize) -> Result<&[u8]> {
        if self.rest.is_empty() {
            let block = self.reader.next_block()?.ok_or_else(block::broken)?;
            self.rest = block.offset..block.offset + block.bytes.len();
        }
        let part = self.rest.start..self.rest.end.min(self.rest.start.saturating_add(most));
        self.rest.start = part.end;
        self.reader.window().get(part).filter(|part| !part.is_empty()).ok_or_else(block::broken)
    }
}
