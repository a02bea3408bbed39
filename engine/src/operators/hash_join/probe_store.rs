//! Stores the rows of the probe side when the build side is out of memory.
//!
//! What a row has for what comes later (keys, output, residual) goes to lanes as the build rows
//! did, with its hash. Rows that cannot match are left out where that makes no difference.

use std::sync::Arc;

use super::lanes::{LaneWriter, WRITER_BYTES};
use super::shape::{HOLDER, Shape, Shared};
use crate::batch::{Chunk, Column, KeyHasher, pick};
use crate::error::{Error, Result};
use crate::memory::Reservation;
use crate::memory::rows::{RowPages, RowRef};
use crate::pipeline::{Context, Pushed, Step, TransformWorker};

/// The pages through which rows go to lanes, and what of them can always be had.
const PAGE_BYTES: usize = 64 << 10;

/// One worker's part.
pub(super) struct StoreProbe {
    shared: Arc<Shared>,
    /// `None` when the rows have been handed over.
    writer: Option<LaneWriter>,
    pages: RowPages,
    memory: Reservation,
    hasher: KeyHasher,
    hashes: Vec<u64>,
    refs: Vec<RowRef>,
}

impl StoreProbe {
    /// # Errors
    /// `OutOfMemory` when there is not even memory to write with.
    pub(super) fn new(shared: &Arc<Shared>, cx: &Context) -> Result<Self> {
        let layout = &shared.shape.probe_rows()?.layout;
        let memory = cx.memory().reserve(HOLDER, PAGE_BYTES)?;
        let writer = LaneWriter::new(layout, 0, memory.child(WRITER_BYTES)?)?;
        Ok(StoreProbe {
            shared: shared.clone(),
            writer: Some(writer),
            pages: RowPages::new(layout.clone(), PAGE_BYTES),
            memory,
            hasher: KeyHasher::new(),
            hashes: Vec::new(),
            refs: Vec::new(),
        })
    }

    /// Stores some rows in memory, as many as it has room for; `hashes` before `first` are of
    /// others.
    fn append(&mut self, columns: &[&Column], rows: &[u32], first: usize) -> Result<usize> {
        let slot = self.shared.shape.probe_rows()?.hash_slot;
        self.refs.clear();
        let stored = self.pages.append(columns, rows, &mut self.memory, &mut self.refs)?;
        self.pages.set_slots(&self.refs, slot, &self.hashes[first..]);
        Ok(stored)
    }

    /// Moves the rows in memory to lanes.
    fn move_out(&mut self, hashes: std::ops::Range<usize>) -> Result<()> {
        let Some(writer) = &mut self.writer else {
            return Err(Error::internal("a join's probe side goes on after its end"));
        };
        writer.add(&self.pages, &self.refs, &self.hashes[hashes])?;
        self.memory.shrink(self.pages.bytes());
        self.pages.clear();
        Ok(())
    }
}

impl TransformWorker for StoreProbe {
    fn push(&mut self, input: Chunk, cx: &Context) -> Result<Pushed> {
        let shared = self.shared.clone();
        let layout = shared.shape.probe_rows()?;
        let keys = shared.shape.probe_keys.iter().map(|&c| input.column(c));
        let keys: Vec<&Column> = keys.collect::<Result<_>>()?;
        let rows = rows_to_store(&shared.shape, &keys, &input);
        if rows.is_empty() {
            return Ok(Pushed::NeedInput);
        }
        self.hasher.hash(&keys, &rows, &mut self.hashes)?;
        let columns = layout.stored.iter().map(|&c| input.column(c));
        let columns: Vec<&Column> = columns.collect::<Result<_>>()?;
        if let Some(writer) = &mut self.writer {
            writer.begin(input.place().morsel)?;
        }
        let mut done = 0;
        while done < rows.len() {
            cx.check()?;
            let mut stored = self.append(&columns, &rows[done..], done)?;
            if stored == 0 {
                // Not even a page for one row: it is asked for by all means.
                let layout = layout.layout.clone();
                self.pages = RowPages::new(layout.clone(), PAGE_BYTES).strict();
                stored = self.append(&columns, &rows[done..done + 1], done)?;
                self.move_out(done..done + stored)?;
                self.pages = RowPages::new(layout, PAGE_BYTES);
            } else {
                self.move_out(done..done + stored)?;
            }
            done += stored;
        }
        Ok(Pushed::NeedInput)
    }

    fn flush(&mut self, _: &Context) -> Result<Step> {
        if let Some(writer) = self.writer.take() {
            let lanes = writer.finish()?;
            self.shared.state().probe.absorb(lanes);
        }
        Ok(Step::Exhausted)
    }
}

/// The physical positions of the rows that can make a difference.
fn rows_to_store(shape: &Shape, keys: &[&Column], input: &Chunk) -> Vec<u32> {
    let live = input.live_positions();
    if shape.nulls_match || !shape.kind.drops_unmatched_probe() {
        return live.to_vec();
    }
    let keys = pick(keys.iter().copied(), live);
    let keys: Vec<_> = keys.iter().filter(|key| key.has_nulls()).collect();
    let rows = live.iter().enumerate();
    let can_match = rows.filter(|(row, _)| !keys.iter().any(|key| key.is_null(*row)));
    can_match.map(|(_, &at)| at).collect()
}
