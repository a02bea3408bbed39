//! Takes the rows of the build side into blocks, and writes blocks to a tape when memory is short.

use std::sync::Arc;

use super::shape::{HOLDER, Shape, Shared};
use super::store::{BLOCK_ROWS, Block, BuildSide, Part};
use crate::batch::{Chunk, Column};
use crate::error::{Error, Result};
use crate::memory::Reservation;
use crate::memory::rows::{FIRST_PAGE_BYTES, PageWriter, RowPages};
use crate::pipeline::{Consumed, Context, Sink, SinkWorker};
use crate::scheduler::Token;

/// The buffer of a tape that is written.
const SPILL_BYTES: usize = 64 << 10;

/// What a worker can always have: the buffer and the first pages of a block.
const MINIMUM_BYTES: usize = SPILL_BYTES + 8 * FIRST_PAGE_BYTES;

/// Rows that are stored between two looks at how full a block is.
const STEP_ROWS: usize = 256;

/// The end of the build side's pipelines.
pub(super) struct BuildSink {
    shared: Arc<Shared>,
}

impl BuildSink {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        BuildSink { shared }
    }
}

struct BuildWorker {
    shared: Arc<Shared>,
    /// `None` when the rows have been handed over.
    memory: Option<Reservation>,
    blocks: Vec<Block>,
    /// Blocks before this one have no page in memory.
    spilled: usize,
    tape: Option<PageWriter>,
    /// What it is made with.
    tape_memory: Option<Reservation>,
}

impl Sink for BuildSink {
    fn name(&self) -> &str {
        HOLDER
    }

    fn worker(&self, cx: &Context) -> Result<Box<dyn SinkWorker>> {
        let shared = self.shared.clone();
        let threads = cx.query.threads;
        let mut memory = shared.state().builder(cx.memory(), threads, MINIMUM_BYTES)?;
        memory.grow(SPILL_BYTES)?;
        Ok(Box::new(BuildWorker {
            shared,
            tape_memory: Some(memory.cede(SPILL_BYTES)),
            memory: Some(memory),
            blocks: Vec::new(),
            spilled: 0,
            tape: None,
        }))
    }

    fn prepare(&self, cx: &Context) -> Result<usize> {
        let mut state = self.shared.state();
        let parts = std::mem::take(&mut state.parts);
        state.side = Some(Arc::new(BuildSide::new(&self.shared.shape, parts, cx)?));
        Ok(0)
    }

    fn finish(&self, _: usize, _: &Context) -> Result<()> {
        Err(Error::internal("a nested loop join has no finish tasks"))
    }

    fn reset(&self) -> Result<()> {
        self.shared.reset();
        Ok(())
    }
}

impl SinkWorker for BuildWorker {
    fn consume(&mut self, input: Chunk, cx: &Context) -> Result<Consumed> {
        let shared = self.shared.clone();
        let columns = shared.shape.stored.iter().map(|&c| input.column(c));
        let columns: Vec<&Column> = columns.collect::<Result<_>>()?;
        let Some(mut memory) = self.memory.take() else {
            return Err(Error::internal("a join's build side goes on after its end"));
        };
        let stored = self.store(&shared.shape, &input, &columns, &mut memory, cx);
        self.memory = Some(memory);
        stored.map(|()| Consumed::NeedInput)
    }

    fn combine(&mut self, _: &Context) -> Result<Option<Token>> {
        if let Some(memory) = self.memory.take() {
            let tape = self.tape.take().map(PageWriter::finish).transpose()?;
            let tape = tape.map(|(tape, _)| tape);
            self.tape_memory = None;
            let blocks = std::mem::take(&mut self.blocks);
            self.shared.state().parts.push(Part { blocks, tape, memory });
        }
        Ok(None)
    }
}

impl BuildWorker {
    fn store(
        &mut self,
        shape: &Shape,
        input: &Chunk,
        columns: &[&Column],
        memory: &mut Reservation,
        cx: &Context,
    ) -> Result<()> {
        if memory.pressed() {
            self.spill(memory, cx)?;
        }
        let (mut rest, mut refs) = (input.live_positions(), Vec::new());
        while !rest.is_empty() {
            let rows = self.open(shape, input.place().morsel).rows();
            let step = STEP_ROWS - rows % STEP_ROWS;
            let (mut next, after) = rest.split_at(step.min(BLOCK_ROWS - rows).min(rest.len()));
            // A step is stored as a whole before anybody asks whether the block is full: where it
            // was interrupted by a lack of memory must not decide on where blocks end.
            while let Some(block) = self.blocks.last_mut().filter(|_| !next.is_empty()) {
                refs.clear();
                let stored = block.pages.append(columns, next, memory, &mut refs)?;
                next = &next[stored..];
                if let [row, others @ ..] = next
                    && self.spill(memory, cx)? == 0
                {
                    self.store_alone(shape, columns, &[*row], memory, cx)?;
                    next = others;
                }
            }
            rest = after;
        }
        Ok(())
    }

    /// The block that the next rows of `morsel` go into.
    fn open(&mut self, shape: &Shape, morsel: u64) -> &mut Block {
        let next = match self.blocks.last() {
            None => Some(Block::new(shape, morsel, 0)),
            Some(last) if last.morsel() != morsel || last.is_full() => {
                Some(last.next(shape, morsel))
            }
            Some(_) => None,
        };
        self.blocks.extend(next);
        let last = self.blocks.len() - 1;
        &mut self.blocks[last]
    }

    /// Writes all pages in memory to the tape; the bytes that are free then.
    fn spill(&mut self, memory: &mut Reservation, cx: &Context) -> Result<usize> {
        let mut freed = 0;
        if self.blocks.iter().skip(self.spilled).any(|block| !block.pages.is_empty()) {
            let tape = match (&mut self.tape, self.tape_memory.take()) {
                (Some(tape), _) => tape,
                (none, Some(memory)) => none.insert(PageWriter::new(memory, SPILL_BYTES)?),
                (None, None) => return Err(Error::internal("a join's rows have nowhere to go")),
            };
            for block in self.blocks.iter_mut().skip(self.spilled) {
                cx.check()?;
                freed += block.write(tape)?;
            }
            // The last block goes on.
            self.spilled = self.blocks.len() - 1;
        }
        memory.shrink(freed);
        Ok(freed)
    }

    /// Stores a row for which not even a page can be had without asking for it by all means.
    fn store_alone(
        &mut self,
        shape: &Shape,
        columns: &[&Column],
        row: &[u32],
        memory: &mut Reservation,
        cx: &Context,
    ) -> Result<()> {
        let empty = || RowPages::new(shape.layout.clone(), super::store::BLOCK_BYTES);
        let Some(block) = self.blocks.last_mut() else { return Ok(()) };
        block.pages = empty().strict();
        block.pages.append(columns, row, memory, &mut Vec::new())?;
        self.spill(memory, cx)?;
        if let Some(block) = self.blocks.last_mut() {
            block.pages = empty();
        }
        Ok(())
    }
}
