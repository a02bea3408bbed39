//! The sink and its workers; see the module documentation of [`super`].

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};

use super::file::{OrderedFile, Piece};
use super::{GroupFormat, charge_for, charged};
use crate::batch::{Chunk, Place};
use crate::error::{Error, Result};
use crate::memory::Reservation;
use crate::pipeline::{Consumed, Context, Sink, SinkWorker};
use crate::scheduler::Token;
use crate::sinks::count::RowCount;

/// Up to so many rows and bytes a morsel does not get a group of its own.
const FEW_ROWS: usize = 32_768;
const FEW_BYTES: usize = 4 << 20;

/// Writes its input to a file of row groups.
pub(in crate::sinks) struct GroupSink<F: GroupFormat> {
    shared: Arc<Shared<F>>,
}

struct Shared<F: GroupFormat> {
    format: F,
    file: OrderedFile<F>,
    group_rows: usize,
    group_bytes: usize,
    count: RowCount,
}

impl<F: GroupFormat> GroupSink<F> {
    /// A sink whose groups have about so many rows, and take so many bytes of memory when they
    /// end.
    pub fn new(format: F, group_rows: usize, group_bytes: usize) -> Self {
        let (file, count) = (OrderedFile::new(group_rows), RowCount::default());
        GroupSink { shared: Arc::new(Shared { format, file, group_rows, group_bytes, count }) }
    }

    /// The rows written.
    pub fn count(&self) -> &RowCount {
        &self.shared.count
    }
}

impl<F: GroupFormat> Sink for GroupSink<F> {
    fn name(&self) -> &str {
        self.shared.format.name()
    }

    fn worker(&self, cx: &Context) -> Result<Box<dyn SinkWorker>> {
        let format = &self.shared.format;
        Ok(Box::new(GroupWorker {
            begins: Place::default(),
            few: Vec::new(),
            few_bytes: 0,
            group: None,
            ready: None,
            charge: cx.memory().reserve(format.name(), format.minimum_bytes())?,
            shared: self.shared.clone(),
        }))
    }

    fn prepare(&self, cx: &Context) -> Result<usize> {
        self.shared.file.commit(&self.shared.format, cx)?;
        Ok(0)
    }

    fn finish(&self, _: usize, _: &Context) -> Result<()> {
        Err(Error::internal("a file of row groups has no finish tasks"))
    }

    fn reset(&self) -> Result<()> {
        self.shared.file.reset();
        self.shared.count.reset();
        Ok(())
    }
}

struct GroupWorker<F: GroupFormat> {
    shared: Arc<Shared<F>>,
    /// Where the rows at hand, which are of one morsel, begin.
    begins: Place,
    /// Rows at hand while they are few.
    few: Vec<Vec<ArrayRef>>,
    few_bytes: usize,
    /// The group of the rows at hand, once they are many.
    group: Option<F::Group>,
    /// A piece that is complete, and where it begins.
    ready: Option<(Place, Piece<F::Encoded>)>,
    charge: Reservation,
}

impl<F: GroupFormat> GroupWorker<F> {
    /// Hands over the piece that is ready; or says what to wait for.
    fn hand_over(&mut self, cx: &Context) -> Result<Option<Token>> {
        let Some((place, piece)) = self.ready.take() else { return Ok(None) };
        let Shared { file, format, .. } = &*self.shared;
        let mut piece = Some(piece);
        let blocked = file.offer(format, place, &mut piece, &mut self.charge, cx)?;
        self.ready = piece.map(|piece| (place, piece));
        Ok(blocked)
    }

    /// Makes a piece of the rows at hand. Only when none is waiting.
    fn complete(&mut self) -> Result<()> {
        let format = &self.shared.format;
        let piece = match self.group.take() {
            Some(group) => {
                let encoded = format.end(group)?;
                let bytes = format.encoded_bytes(&encoded);
                Piece::Group(encoded, bytes)
            }
            None if self.few.is_empty() => return Ok(()),
            None => Piece::Rows(std::mem::take(&mut self.few), std::mem::take(&mut self.few_bytes)),
        };
        let bytes = piece.bytes();
        // What is done is smaller than it was on the way; if not, the bytes are there already, and
        // handing them over is the way to be rid of them.
        let charged = self.charge.bytes();
        self.charge.shrink(charged.saturating_sub(bytes));
        let _ = self.charge.try_grow(bytes.saturating_sub(charged));
        self.ready = Some((self.begins, piece));
        Ok(())
    }

    /// Adds rows to those at hand. False when there is no room for more.
    fn add(&mut self, arrays: Vec<ArrayRef>) -> Result<bool> {
        let format = &self.shared.format;
        match &mut self.group {
            Some(group) => format.add(group, &arrays)?,
            None => {
                self.few_bytes += bytes_of(&arrays);
                self.few.push(arrays);
            }
        }
        let few_rows: usize = self.few.iter().map(|arrays| arrays[0].len()).sum();
        let Shared { group_rows, group_bytes, .. } = *self.shared;
        let are_few = few_rows <= FEW_ROWS && self.few_bytes <= FEW_BYTES && few_rows < group_rows;
        if self.group.is_none() && are_few && charge_for(&mut self.charge, self.few_bytes) {
            return Ok(true);
        }
        let group = match &mut self.group {
            Some(group) => group,
            none => {
                let mut group = format.begin(self.charge.governor())?;
                let mut left = std::mem::take(&mut self.few_bytes);
                // What is added is dropped at once; the group takes its place.
                for arrays in std::mem::take(&mut self.few) {
                    format.add(&mut group, &arrays)?;
                    left -= bytes_of(&arrays).min(left);
                    drop(arrays);
                    // Where there is no room, that is seen when all are added.
                    let _ = charge_for(&mut self.charge, left + format.held_bytes(&group));
                }
                none.insert(group)
            }
        };
        let fits = charged(format, group, &mut self.charge)?;
        // Some more rows than asked for are better than a small group behind a full one.
        let rows_max = group_rows.saturating_add(group_rows / 4);
        Ok(fits && format.held_bytes(group) < group_bytes && format.rows(group) < rows_max)
    }
}

fn bytes_of(arrays: &[ArrayRef]) -> usize {
    arrays.iter().map(|array| array.get_array_memory_size()).sum()
}

impl<F: GroupFormat> SinkWorker for GroupWorker<F> {
    fn consume(&mut self, input: Chunk, cx: &Context) -> Result<Consumed> {
        if let Some(token) = self.hand_over(cx)? {
            return Ok(Consumed::Blocked(token, input));
        }
        if self.group.is_none() && self.few.is_empty() {
            self.begins = input.place();
        }
        let rows = input.live_rows();
        if rows > 0 && !self.add(self.shared.format.arrays(&input)?)? {
            self.complete()?;
            // If it is not this piece's turn, the next call waits for it.
            self.hand_over(cx)?;
        }
        self.shared.count.add(rows);
        Ok(Consumed::NeedInput)
    }

    fn end_morsel(&mut self, cx: &Context) -> Result<Option<Token>> {
        if let Some(token) = self.hand_over(cx)? {
            return Ok(Some(token));
        }
        self.complete()?;
        self.hand_over(cx)
    }

    fn combine(&mut self, _: &Context) -> Result<Option<Token>> {
        Ok(None)
    }
}
