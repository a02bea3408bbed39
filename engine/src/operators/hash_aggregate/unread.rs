//! Finished groups in memory that no reader has come to: others may have them written out.
//!
//! What reads the groups often needs memory of its own, a window or a sort above the aggregate. It
//! cannot wait for groups that are read when it goes on itself. So they give way from the last
//! partition on, to who cannot do without, and are read back like those that were written before.
//!
//! Memory: one worker's memory for writing is kept for this, and out of the first that is written
//! what readers of tapes begin with. Values that groups of all partitions refer to stay. The states
//! of functions that are not built in are results by now, which have no form on tape: such groups
//! do not give way.
//! Concurrency: under the lock of the sink, which is only tried. A partition is written where
//! nobody reads it and nobody has begun to.

use std::sync::{Arc, Weak};

use super::partition::Partition;
use super::sink::{Finished, FinishedLane, Shared, State};
use super::spill::{CustomStates, Groups, Spill};
use super::stores::Stores;
use super::table::{LANE_BITS, LANES};
use super::worker::can_spill;
use crate::error::Result;
use crate::memory::Revocable;
use crate::pipeline::Context;

/// See the module documentation.
pub(super) struct Unread {
    shared: Weak<Shared>,
    cx: Context,
}

impl Unread {
    /// Offers the groups of a sink that has finished, if they can be written.
    pub(super) fn offer(shared: &Arc<Shared>, state: &mut State, cx: &Context) {
        let in_lanes = state.finished.len() == LANES && !state.writing.is_empty();
        if in_lanes
            && can_spill(&shared.plan)
            && shared.plan.customs.is_empty()
            && let Some(memory) = &state.memory
        {
            let unread = Arc::new(Unread { shared: Arc::downgrade(shared), cx: cx.clone() });
            let revocable: Arc<dyn Revocable> = unread.clone();
            memory.offer(Arc::downgrade(&revocable));
            state.unread = Some(unread);
        } else {
            state.writing.clear();
        }
    }
}

/// The groups of a partition, if nobody has them.
fn lane(groups: &Finished) -> Option<&FinishedLane> {
    match groups {
        Finished::Lane(lane) if Arc::strong_count(lane) == 1 && !lane.groups.is_empty() => {
            Some(lane)
        }
        _ => None,
    }
}

impl Revocable for Unread {
    fn revocable_bytes(&self) -> usize {
        let Some(shared) = self.shared.upgrade() else { return 0 };
        let Some(state) = shared.try_state() else { return 0 };
        if state.writing.is_empty() {
            return 0;
        }
        let unread = state.finished.iter().skip(state.begun);
        unread.filter_map(lane).map(FinishedLane::bytes).sum()
    }

    fn revoke(&self, wanted: usize) -> Result<usize> {
        let Some(shared) = self.shared.upgrade() else { return Ok(0) };
        let Some(mut state) = shared.try_state() else { return Ok(0) };
        let Some(writing) = state.writing.pop() else { return Ok(0) };
        let state = &mut *state;
        let plan = &shared.plan;
        let wanted = wanted + state.missing_for_readers(plan, &self.cx);
        let mut spill = Spill::new(writing)?;
        let (none, mut bytes) = (Stores::new(plan, 0), 0);
        for number in (state.begun..state.finished.len()).rev() {
            let Some(lane) = state.finished.get(number).and_then(lane) else { continue };
            if bytes >= wanted {
                break;
            }
            let stores = lane.stores().unwrap_or(&none);
            let groups = Groups { plan, stores, customs: CustomStates::Arrays(&[]) };
            spill.write_copies(&groups, number, &lane.rows, &lane.groups)?;
            bytes += lane.bytes();
        }
        let index = state.memory.as_mut().map_or(0, |memory| spill.charge_index(memory));
        let (spilled, writing) = spill.finish()?;
        state.writing.push(writing);
        for (number, partition) in Partition::of(vec![spilled], LANE_BITS) {
            state.finished[number] = Finished::Taped(partition);
        }
        let bytes = bytes.saturating_sub(index);
        let Some(mut memory) = state.memory.take() else { return Ok(0) };
        let kept = state.give_back(plan, &mut memory, bytes, &self.cx);
        state.memory = Some(memory);
        Ok(bytes - kept)
    }

    fn is_at_work(&self) -> bool {
        true
    }
}
