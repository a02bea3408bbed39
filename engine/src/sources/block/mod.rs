//! Reads a few thousand rows of a morsel: the columns of the filters first, stage by stage, then
//! the other columns for the rows that are left. What a column is read from, the format says.
//!
//! While many rows are left, columns are read whole and the chunk carries a selection: reading
//! around single rows is dearer than reading them. When few are left, what was read is thinned out
//! and the other columns are read for those rows only; thin blocks are collected into fuller
//! chunks. A block without a row left reads no further column at all, and pages that no block
//! reads from are never decompressed.
//!
//! Invariant 1: each column is read or skipped once for each block.

mod copy;
mod stage;

use std::collections::VecDeque;
use std::time::Instant;

pub(crate) use self::copy::thin;
use self::copy::{flat_unless_text, join};
use self::stage::Test;
pub(crate) use self::stage::{Stage, order};
use crate::batch::{CHUNK_ROWS, Chunk, Column, Form, Indices, KeyFilterProbe, Place, Selection};
use crate::error::Result;
use crate::expr::Conjunction;
use crate::memory::Governor;

/// Thin blocks are collected until this many rows are left.
const COLLECT_ROWS: usize = CHUNK_ROWS / 2;

/// The columns of the block that is being read.
pub(crate) trait BlockColumns {
    /// Below this share of the block's rows, columns are read for the rows that are left only.
    const THIN_BELOW: f64;

    /// A slot's column in all rows of the block, or in those of `kept` only.
    ///
    /// # Errors
    /// `Input` when a value cannot be read.
    fn read(&mut self, slot: usize, kept: Option<&Selection>) -> Result<Column>;

    /// Says that a slot's column is not going to be read in this block.
    ///
    /// # Errors
    /// `Input` when it is seen that it could not be.
    fn skip(&mut self, slot: usize) -> Result<()>;
}

/// What a scan does with every block. Columns that are read have slots, numbered from 0.
pub(crate) struct BlockPlan {
    /// Number of slots.
    pub(crate) slots: usize,
    /// The filters.
    pub(crate) stages: Vec<Stage>,
    /// Slot of each output column.
    pub(crate) output: Vec<usize>,
}

/// One worker's way from columns to chunks.
pub(crate) struct BlockReader {
    /// The evaluators of the stages.
    filters: Vec<Filter>,
    /// The stages in the order to run them.
    order: Vec<usize>,
    /// Chunks that are ready.
    ready: VecDeque<Chunk>,
    /// Thin blocks that wait for more: the output columns of each.
    thin: Vec<Vec<Column>>,
    thin_rows: usize,
}

/// A worker's evaluator of one stage.
enum Filter {
    Conjuncts(Conjunction),
    Keys(KeyFilterProbe),
}

impl Filter {
    fn new(test: &Test, memory: &Governor) -> Self {
        match test {
            Test::Conjuncts(conjuncts) => {
                Filter::Conjuncts(Conjunction::new(conjuncts.clone(), memory))
            }
            Test::Keys(slot, keys) => Filter::Keys(KeyFilterProbe::new(slot.clone(), keys.clone())),
        }
    }

    /// Whether there is nothing to test (yet).
    fn is_idle(&mut self) -> bool {
        match self {
            Filter::Keys(probe) => probe.filter().is_none(),
            Filter::Conjuncts(_) => false,
        }
    }

    fn select(&mut self, chunk: &Chunk) -> Result<Option<Selection>> {
        match self {
            Filter::Conjuncts(conjunction) => conjunction.select(chunk),
            Filter::Keys(probe) => {
                let keys = probe.columns().iter().map(|&key| chunk.column(key));
                let keys = keys.collect::<Result<Vec<_>>>()?;
                let keys: Vec<Column> = keys.into_iter().cloned().collect();
                let keys: Vec<&Column> = keys.iter().collect();
                probe.narrow(&keys, chunk.rows(), chunk.selection())
            }
        }
    }
}

/// A block on its way through the stages.
struct Block {
    /// Rows in the block.
    rows: usize,
    /// Rows of the block that are left; `None` for all.
    kept: Option<Selection>,
    /// Columns by slot, as far as they have been read: of all rows of the block, or of the kept
    /// ones when it is thin.
    columns: Vec<Option<Column>>,
    is_thin: bool,
}

impl Block {
    fn left(&self) -> usize {
        self.kept.as_ref().map_or(self.rows, Selection::len)
    }

    /// Rows that the columns have.
    fn aligned(&self) -> usize {
        if self.is_thin { self.left() } else { self.rows }
    }

    fn load(&mut self, slot: usize, from: &mut impl BlockColumns) -> Result<Column> {
        if let Some(column) = &self.columns[slot] {
            return Ok(column.clone());
        }
        let column = from.read(slot, self.kept.as_ref().filter(|_| self.is_thin))?;
        self.columns[slot] = Some(column.clone());
        Ok(column)
    }

    /// Keeps the rows of `passed`, which are positions in the columns.
    fn keep(&mut self, passed: Selection, thin_below: f64) -> Result<()> {
        if self.is_thin {
            self.thin_out(&passed)?;
            let kept = self.kept.as_ref().map_or(&[][..], Selection::as_slice);
            let rows = passed.as_slice().iter().map(|&p| kept[p as usize]).collect();
            self.kept = Some(Selection::new(rows));
        } else {
            if (passed.len() as f64) < thin_below * self.rows as f64 {
                self.thin_out(&passed)?;
                self.is_thin = true;
            }
            self.kept = Some(passed);
        }
        Ok(())
    }

    fn thin_out(&mut self, passed: &Selection) -> Result<()> {
        let rows = Indices::from(passed);
        for column in self.columns.iter_mut().flatten() {
            *column = thin(column, &rows)?;
        }
        Ok(())
    }

    /// The live rows of the columns; `None` for all.
    fn selection(&self) -> Option<&Selection> {
        if self.is_thin { None } else { self.kept.as_ref() }
    }
}

impl BlockReader {
    /// Evaluators of one worker.
    pub(crate) fn new(plan: &BlockPlan, memory: &Governor) -> Self {
        let filters = plan.stages.iter().map(|stage| Filter::new(&stage.test, memory));
        BlockReader {
            filters: filters.collect(),
            order: (0..plan.stages.len()).collect(),
            ready: VecDeque::new(),
            thin: Vec::new(),
            thin_rows: 0,
        }
    }

    /// A morsel begins; `bytes` says what a slot's column takes.
    pub(crate) fn start(&mut self, plan: &BlockPlan, bytes: impl Fn(usize) -> u64) {
        self.order = order(&plan.stages, bytes);
    }

    /// The next chunk that is ready.
    pub(crate) fn take(&mut self) -> Option<Chunk> {
        self.ready.pop_front()
    }

    /// Reads a block of `rows` rows.
    ///
    /// # Errors
    /// Those of the columns and of the filters.
    pub(crate) fn read(
        &mut self,
        plan: &BlockPlan,
        from: &mut impl BlockColumns,
        rows: usize,
    ) -> Result<()> {
        let mut block = Block { rows, kept: None, columns: vec![None; plan.slots], is_thin: false };
        for position in 0..self.order.len() {
            let number = self.order[position];
            if self.filters[number].is_idle() {
                continue;
            }
            let started = Instant::now();
            let before = block.left();
            self.run_stage(number, plan, from, &mut block)?;
            plan.stages[number].measure(before, block.left(), started.elapsed().as_nanos());
            if block.left() == 0 {
                break;
            }
        }
        if block.left() > 0 {
            self.give(plan, from, &mut block)?;
        }
        let unread = block.columns.iter().enumerate().filter(|(_, column)| column.is_none());
        unread.map(|(slot, _)| slot).try_for_each(|slot| from.skip(slot))
    }

    fn run_stage<C: BlockColumns>(
        &mut self,
        number: usize,
        plan: &BlockPlan,
        from: &mut C,
        block: &mut Block,
    ) -> Result<()> {
        let slots = &plan.stages[number].slots;
        let columns = slots.iter().map(|&slot| block.load(slot, from));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let mut chunk = Chunk::new(columns, block.aligned(), Place::default());
        if let Some(selection) = block.selection() {
            chunk = chunk.select(selection.clone());
        }
        match self.filters[number].select(&chunk)? {
            Some(passed) if passed.len() < chunk.live_rows() => block.keep(passed, C::THIN_BELOW),
            _ => Ok(()),
        }
    }

    /// Reads the output columns and makes a chunk, or a part of one.
    fn give(
        &mut self,
        plan: &BlockPlan,
        from: &mut impl BlockColumns,
        block: &mut Block,
    ) -> Result<()> {
        let columns = plan.output.iter().map(|&slot| {
            let column = block.load(slot, from)?;
            flat_unless_text(column, block.aligned())
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        if block.is_thin && block.left() < COLLECT_ROWS {
            self.thin_rows += block.left();
            self.thin.push(columns);
            if self.thin_rows >= COLLECT_ROWS {
                self.flush()?;
            }
            return Ok(());
        }
        self.flush()?;
        let mut chunk = Chunk::new(columns, block.aligned(), Place::default());
        if let Some(selection) = block.selection() {
            chunk = chunk.select(selection.clone());
        }
        self.ready.push_back(chunk);
        Ok(())
    }

    /// Makes a chunk of the thin blocks; false when there are none.
    pub(crate) fn flush(&mut self) -> Result<bool> {
        let parts = std::mem::take(&mut self.thin);
        let Some(first) = parts.first() else { return Ok(false) };
        let columns = (0..first.len()).map(|column| {
            let pieces: Vec<Column> = parts.iter().map(|part| part[column].clone()).collect();
            join(&pieces)
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let rows = std::mem::take(&mut self.thin_rows);
        self.ready.push_back(Chunk::new(columns, rows, Place::default()));
        Ok(true)
    }

    /// Bytes of chunks that are not given yet, about.
    pub(crate) fn held_bytes(&self) -> usize {
        let bytes = |column: &Column| match column.form() {
            Form::Indexed(indexed) => 4 * indexed.indices.len(),
            Form::Flat(array) | Form::Constant(array) => array.get_array_memory_size(),
        };
        self.thin.iter().flatten().map(bytes).sum()
    }
}
