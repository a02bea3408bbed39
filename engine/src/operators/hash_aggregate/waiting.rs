//! Groups that nobody works on, written out for who cannot do without their memory: what workers
//! have handed over while others still collect, and finished groups that no reader has come to.
//!
//! What reads the groups often needs memory of its own, a window or a sort above the aggregate. It
//! cannot wait for groups that are read when it goes on itself. So they give way from the last
//! partition on, and are read back like those that were written before.
//!
//! Memory: one worker's memory for writing is kept for finished groups, and what merging a part of
//! those takes that readers are to merge, and out of the first that
//! is written what readers of tapes begin with. Values that groups of all partitions refer to stay.
//! The states of functions that are not built in are results by then, which have no form on tape:
//! such groups do not give way.
//! Concurrency: under the lock of the sink, which is only tried, so that groups are written by
//! nobody else. A partition is written where nobody reads it and nobody has begun to.

use std::mem;
use std::sync::{Arc, Weak};

use super::partition::Partition;
use super::sink::{Finished, FinishedLane, Part, Shared, State};
use super::spill::{CustomStates, Groups, Spill, Spilled};
use super::stores::Stores;
use super::table::{LANE_BITS, LANES};
use super::worker::can_spill;
use crate::batch::CHUNK_ROWS;
use crate::error::Result;
use crate::memory::{Reservation, Revocable};
use crate::pipeline::Context;

/// See the module documentation.
pub(super) struct Waiting {
    shared: Weak<Shared>,
    cx: Context,
}

impl Waiting {
    /// Hands a worker's groups over to the sink, and offers them.
    pub(super) fn add(shared: &Arc<Shared>, part: Part, cx: &Context) {
        let mut state = shared.state();
        if part.writing.is_some() {
            part.memory.offer(Waiting::of(shared, &mut state, cx));
        }
        state.parts.push(part);
    }

    /// Offers the groups of a sink that has finished, if they can be written.
    pub(super) fn offer_finished(shared: &Arc<Shared>, state: &mut State, cx: &Context) {
        let plan = &shared.plan;
        if state.finished.len() != LANES || !can_spill(plan) || !plan.customs.is_empty() {
            state.writing.clear();
        }
        state.is_offered = !state.writing.is_empty();
        if state.is_offered {
            let waiting = Waiting::of(shared, state, cx);
            if let Some(memory) = &state.memory {
                memory.offer(waiting);
            }
        }
    }

    fn of(shared: &Arc<Shared>, state: &mut State, cx: &Context) -> Weak<dyn Revocable> {
        let new = || Arc::new(Waiting { shared: Arc::downgrade(shared), cx: cx.clone() });
        let waiting: Arc<dyn Revocable> = state.waiting.get_or_insert_with(new).clone();
        Arc::downgrade(&waiting)
    }

    /// Writes the largest part out, after which all others are written at the end.
    fn revoke_part(&self, shared: &Shared, state: &mut State) -> Result<usize> {
        let parts = state.parts.iter().enumerate().filter(|(_, part)| part.writing.is_some());
        let largest = parts.max_by_key(|(_, part)| part.memory.bytes()).map(|(at, _)| at);
        let Some(at) = largest else { return Ok(0) };
        shared.spills();
        let part = state.parts.swap_remove(at);
        let (spilled, memory) = match shared.write_part(part, &self.cx) {
            Ok(written) => written,
            Err(error) => {
                state.lost = Some(error.clone());
                return Err(error);
            }
        };
        Ok(state.add_written(&shared.plan, spilled, memory, &self.cx))
    }

    /// Writes finished groups out.
    fn revoke_finished(&self, shared: &Shared, state: &mut State, wanted: usize) -> Result<usize> {
        let writing = if state.is_offered { state.writing.pop() } else { None };
        let Some(writing) = writing else { return Ok(0) };
        let plan = &shared.plan;
        let wanted = wanted + state.missing_for_readers(plan, &self.cx);
        let mut taken = false;
        let written = self.write_finished(shared, state, (wanted, writing), &mut taken);
        if let (Err(error), true) = (&written, taken) {
            state.lost = Some(error.clone());
        }
        let (mut spilled, writing, bytes) = written?;
        state.writing.push(writing);
        let Some(mut memory) = state.memory.take() else { return Ok(0) };
        let bytes = bytes.saturating_sub(spilled.charge_index(&mut memory));
        for (number, partition) in Partition::of(vec![spilled], LANE_BITS) {
            state.finished[number] = Finished::Taped(partition);
        }
        let kept = state.give_back(plan, &mut memory, bytes, &self.cx);
        state.memory = Some(memory);
        Ok(bytes - kept)
    }

    /// Writes groups of so many bytes from the last partition on. Those that are not merged are
    /// merged first, part by part: so they take the least room when they are read back, however
    /// many rows one of them has. `taken` tells that they are gone. What was written, what it was
    /// written with, and the bytes.
    fn write_finished(
        &self,
        shared: &Shared,
        state: &mut State,
        (wanted, writing): (usize, Reservation),
        taken: &mut bool,
    ) -> Result<(Spilled, Reservation, usize)> {
        let mut spill = Spill::new(writing)?;
        let plan = &shared.plan;
        let (none, handed, mut bytes) = (Stores::new(plan, 0), state.handed.clone(), 0);
        let mut write = |number: usize, lane: &FinishedLane| {
            let stores = lane.stores().unwrap_or(&none);
            let groups = Groups { plan, stores, customs: CustomStates::Arrays(&[]) };
            spill.write_copies(&groups, number, &lane.rows, &lane.groups)
        };
        for number in (state.begun..state.finished.len()).rev() {
            let Some(groups) = state.finished.get_mut(number) else { continue };
            if bytes >= wanted {
                break;
            }
            self.cx.check()?;
            if matches!(groups, Finished::Handed(_))
                && let Finished::Handed(mut lane) = mem::take(groups)
            {
                *taken = true;
                bytes += lane.bytes();
                while let Some(first) = lane.take_first(CHUNK_ROWS) {
                    write(number, &shared.merge_handed(first, &handed, &self.cx)?)?;
                }
            } else if let Some(lane) = unread(groups) {
                write(number, lane)?;
                bytes += lane.bytes();
            }
        }
        let (spilled, writing) = spill.finish()?;
        Ok((spilled, writing, bytes))
    }
}

/// Bytes of the groups of a partition, if nobody has them.
fn unread_bytes(groups: &Finished) -> usize {
    match groups {
        Finished::Handed(lane) => lane.bytes(),
        groups => unread(groups).map_or(0, FinishedLane::bytes),
    }
}

/// The merged groups of a partition, if nobody has them.
fn unread(groups: &Finished) -> Option<&FinishedLane> {
    match groups {
        Finished::Lane(lane) if Arc::strong_count(lane) == 1 && !lane.groups.is_empty() => {
            Some(lane)
        }
        _ => None,
    }
}

impl Revocable for Waiting {
    fn revocable_bytes(&self) -> usize {
        let Some(shared) = self.shared.upgrade() else { return 0 };
        let Some(state) = shared.try_state() else { return 0 };
        let parts = state.parts.iter().filter(|part| part.writing.is_some());
        let parts: usize = parts.map(|part| part.memory.bytes()).sum();
        if !state.is_offered || state.writing.is_empty() {
            return parts;
        }
        let finished = state.finished.iter().skip(state.begun);
        parts + finished.map(unread_bytes).sum::<usize>()
    }

    fn revoke(&self, wanted: usize) -> Result<usize> {
        let Some(shared) = self.shared.upgrade() else { return Ok(0) };
        let Some(mut state) = shared.try_state() else { return Ok(0) };
        match state.parts.is_empty() {
            true => self.revoke_finished(&shared, &mut state, wanted),
            false => self.revoke_part(&shared, &mut state),
        }
    }

    fn is_at_work(&self) -> bool {
        true
    }
}
