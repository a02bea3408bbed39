//! Reads kept chunks, whole or some of their columns.

use std::sync::Arc;

use super::block;
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
    tape: Option<(Arc<Tape>, TapeReader)>,
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
            let block = reader.next_block()?;
            let block = block.ok_or_else(|| Error::internal("a tape ends before its chunk"))?;
            let values = block::decode(&spot.data_type, block.bytes)?;
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
            Some((open, reader)) => {
                if !Arc::ptr_eq(open, tape) {
                    reader.turn_to(tape.clone());
                    *open = tape.clone();
                }
                Ok(reader)
            }
            none => {
                let charge = self.store.reader_charge()?;
                let share = charge.governor().limit() / WINDOW_SHARE;
                let window = WINDOW_BYTES.min(share.next_multiple_of(4096));
                let reader = TapeReader::new(tape.clone(), window, charge)?;
                Ok(&mut none.insert((tape.clone(), reader)).1)
            }
        }
    }
}
