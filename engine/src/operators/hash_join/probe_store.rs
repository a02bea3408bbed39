//! Stores the rows of the probe side when the build side is out of memory.
//!
//! What a row has for what comes later (keys, output, residual) goes to lanes as the build rows
//! did. Rows that cannot match are left out where that makes no difference.

use std::sync::Arc;

use super::lane_key::{LaneBy, LaneKeys};
use super::lanes::{LaneWriter, WRITER_BYTES};
use super::shape::{HOLDER, Shape, Shared};
use crate::batch::{Chunk, Column, pick};
use crate::error::{Error, Result};
use crate::pipeline::{Context, Pushed, Step, TransformWorker};

/// One worker's part.
pub(super) struct StoreProbe {
    shared: Arc<Shared>,
    /// `None` when the rows have been handed over.
    writer: Option<LaneWriter>,
    by: LaneBy,
    lane_keys: LaneKeys,
}

impl StoreProbe {
    /// # Errors
    /// `OutOfMemory` when there is not even memory to write with.
    pub(super) fn new(shared: &Arc<Shared>, cx: &Context) -> Result<Self> {
        let layout = &shared.shape.probe_rows()?.layout;
        let memory = cx.memory().reserve(HOLDER, WRITER_BYTES)?;
        let writer = LaneWriter::new(layout, memory, cx)?;
        Ok(StoreProbe {
            shared: shared.clone(),
            writer: Some(writer),
            by: shared.lane_by(),
            lane_keys: LaneKeys::default(),
        })
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
        self.lane_keys.of_columns(self.by, &keys, &rows)?;
        let columns = layout.stored.iter().map(|&c| input.column(c));
        let columns: Vec<&Column> = columns.collect::<Result<_>>()?;
        let Some(writer) = &mut self.writer else {
            return Err(Error::internal("a join's probe side goes on after its end"));
        };
        cx.check()?;
        writer.begin(input.place().morsel)?;
        let slot = layout.hash_slot.map(|slot| (slot, self.lane_keys.hashes()));
        writer.add_columns(&columns, &rows, self.lane_keys.lanes(), slot)?;
        Ok(Pushed::NeedInput)
    }

    fn flush(&mut self, _: &Context) -> Result<Step> {
        if let Some(writer) = self.writer.take() {
            let (lanes, _) = writer.finish()?;
            self.shared.state().probe.absorb(lanes)?;
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
