//! Partitions on tapes, read back: as a whole, or split into smaller ones.

use std::mem;
use std::sync::Arc;

use arrow::array::ArrayRef;

use super::merge::merge_bytes;
use super::plan::{Fold, Plan};
use super::spill::{CustomStates, Groups, Spill, Spilled, StateRows, by_lane};
use super::stores::{Stores, reference};
use super::stretches::{Stretch, Stretches};
use super::table::{LANE_BITS, LANES};
use crate::batch::to_logical;
use crate::error::{Error, Result};
use crate::memory::Reservation;
use crate::memory::rows::{FIRST_PAGE_BYTES, PageReader, RowPages, RowRef, TapedPage};
use crate::memory::spill::Tape;
use crate::pipeline::Context;

/// Bytes of the window through which tapes are read.
pub(super) const WINDOW_BYTES: usize = 64 << 10;

/// What groups in memory need at least so that a partition can be split.
pub(super) const HELD_MINIMUM: usize = LANES * FIRST_PAGE_BYTES + (64 << 10);

/// Bits of the hash from which on partitions are not split any more.
const SKIP_MAX: u32 = u64::BITS - LANE_BITS - 8;

/// Groups whose hashes share the upper `skip` bits; several rows of one group may be among them.
pub(super) struct Partition {
    pub(super) skip: u32,
    /// By tape.
    stretches: Vec<(Arc<Tape>, Stretches)>,
    customs: Arc<Vec<StateRows>>,
    /// What the stretches are charged to.
    _memory: Arc<Vec<Reservation>>,
}

/// Groups in memory with what they refer to.
pub(super) struct Held {
    pub(super) rows: RowPages,
    /// Values by store.
    pub(super) stores: Stores,
    /// States by custom function, in the order of the groups' numbers.
    customs: Vec<RowPages>,
}

impl Partition {
    /// The partitions that several workers have written, with their numbers, in the order of
    /// hashes; those without groups are left out.
    pub(super) fn of(parts: Vec<Spilled>, skip: u32) -> Vec<(usize, Partition)> {
        let customs = parts.iter().map(|part| &part.customs).find(|customs| !customs.is_empty());
        let customs = Arc::new(customs.cloned().unwrap_or_default());
        let (mut lanes, mut memory) = (vec![Vec::new(); LANES], Vec::new());
        for part in parts {
            for (lane, stretches) in lanes.iter_mut().zip(part.stretches) {
                if !stretches.is_empty() {
                    lane.push((part.tape.clone(), stretches));
                }
            }
            memory.push(part.memory);
        }
        let memory = Arc::new(memory);
        let lanes = lanes.into_iter().enumerate().filter(|(_, stretches)| !stretches.is_empty());
        let partition = |(lane, stretches)| {
            let (customs, _memory) = (customs.clone(), memory.clone());
            (lane, Partition { skip, stretches, customs, _memory })
        };
        lanes.map(partition).collect()
    }

    /// Each with its tape.
    fn stretches(&self) -> impl Iterator<Item = (&Arc<Tape>, Stretch)> {
        let tapes = self.stretches.iter();
        tapes.flat_map(|(tape, stretches)| stretches.iter().map(move |stretch| (tape, stretch)))
    }

    /// Bytes it takes to hold all of it and to merge it.
    pub(super) fn needed_bytes(&self) -> usize {
        let rows: usize = self.stretches.iter().map(|(_, stretches)| stretches.rows()).sum();
        let bytes: usize = self.stretches.iter().map(|(_, stretches)| stretches.bytes()).sum();
        // Custom states are rows first, then columns, then results.
        let bytes = if self.customs.is_empty() { bytes } else { 3 * bytes };
        bytes + merge_bytes(rows) + 2 * WINDOW_BYTES
    }

    /// Whether there are bits of the hash left to split it by.
    pub(super) fn can_split(&self) -> bool {
        self.skip < SKIP_MAX
    }

    /// Reads all of it.
    ///
    /// # Errors
    /// `Io` when a tape cannot be read, `OutOfMemory`.
    pub(super) fn load(
        &self,
        plan: &Plan,
        reader: &mut PageReader,
        memory: &mut Reservation,
        cx: &Context,
    ) -> Result<Held> {
        let mut held = Held::new(plan, &self.customs, 1);
        let mut units = Units { reader, ahead: None };
        for (tape, stretch) in self.stretches() {
            units.turn_to(tape, stretch)?;
            while units.next(plan, &mut held, memory)? {
                cx.check()?;
            }
        }
        Ok(held)
    }

    /// Splits it by the next bits of the hash, by means of `spill`; the parts are in the order of
    /// hashes. Gives back what the writing has left of its memory.
    ///
    /// # Errors
    /// `OutOfMemory` when memory or the disk is full; `Io`.
    pub(super) fn split(
        &self,
        plan: &Plan,
        reader: &mut PageReader,
        spill: Spill,
        memory: &mut Reservation,
        cx: &Context,
    ) -> Result<(Vec<Partition>, Reservation)> {
        let mut spill = spill.with_customs(self.customs.to_vec());
        let (mut unit, mut lanes) = (Held::new(plan, &self.customs, 1), self.lanes(plan));
        let mut units = Units { reader, ahead: None };
        let flush_bytes = cx.memory().limit() / (8 * cx.query.threads.max(1));
        for (tape, stretch) in self.stretches() {
            units.turn_to(tape, stretch)?;
            // A unit, its copy, and the next one's first page.
            let more = 3 * stretch.unit_bytes + LANES * FIRST_PAGE_BYTES;
            loop {
                cx.check()?;
                if lanes.bytes() > flush_bytes || !memory.ensure(more) {
                    lanes.write(plan, &mut spill, self.skip, memory, cx)?;
                    lanes = self.lanes(plan);
                    // What is set aside is there again.
                    let _ = memory.ensure(more);
                }
                if !units.next(plan, &mut unit, memory)? {
                    break;
                }
                lanes.take_in(plan, &mut unit, self.skip, memory)?;
            }
        }
        lanes.write(plan, &mut spill, self.skip, memory, cx)?;
        let _ = memory.ensure(0);
        let (parts, writing) = spill.finish()?;
        let parts = Partition::of(vec![parts], self.skip + LANE_BITS);
        Ok((parts.into_iter().map(|(_, partition)| partition).collect(), writing))
    }

    fn lanes(&self, plan: &Plan) -> Held {
        Held::new(plan, &self.customs, LANES)
    }
}

impl Held {
    fn new(plan: &Plan, customs: &[StateRows], lanes: usize) -> Self {
        let page_bytes = FIRST_PAGE_BYTES;
        let customs = customs.iter();
        let customs = customs.map(|c| RowPages::new(c.layout.clone(), page_bytes).strict());
        Held {
            rows: RowPages::with_lanes(plan.layout.clone(), page_bytes, lanes).strict(),
            stores: Stores::new(plan, page_bytes),
            customs: customs.collect(),
        }
    }

    /// Bytes it is charged with.
    pub(super) fn bytes(&self) -> usize {
        let beside = self.stores.pages.iter().chain(&self.customs);
        self.rows.bytes() + beside.map(RowPages::bytes).sum::<usize>()
    }

    fn beside(&mut self, number: usize) -> Option<&mut RowPages> {
        match number.checked_sub(self.stores.pages.len()) {
            None => self.stores.pages.get_mut(number),
            Some(custom) => self.customs.get_mut(custom),
        }
    }

    /// Takes over the groups of a unit, into the lanes of the next bits of the hash.
    fn take_in(
        &mut self,
        plan: &Plan,
        unit: &mut Held,
        skip: u32,
        memory: &mut Reservation,
    ) -> Result<()> {
        let members: Vec<RowRef> = unit.rows.refs().collect();
        let groups = Groups { plan, stores: &unit.stores, customs: CustomStates::Arrays(&[]) };
        groups.move_stores(&mut unit.rows, &members, &mut self.stores.pages, memory)?;
        let numbers = self.customs.first().map_or(0, RowPages::rows);
        for (own, states) in self.customs.iter_mut().zip(&unit.customs) {
            let refs: Vec<RowRef> = states.refs().collect();
            own.append_rows(states, &refs, 0, memory, &mut Vec::with_capacity(refs.len()))?;
        }
        plan.set_numbers(&mut unit.rows, &members, numbers as u32);
        let order = by_lane(plan, &unit.rows, &members, skip, LANE_BITS);
        let (members, mut refs) = (order.pick(&members), Vec::with_capacity(members.len()));
        self.rows.append_rows_by_lane(&unit.rows, &members, order.ends(), memory, &mut refs)?;
        memory.shrink(unit.bytes());
        unit.rows.clear();
        unit.stores.pages.iter_mut().chain(&mut unit.customs).for_each(RowPages::clear);
        Ok(())
    }

    /// Writes all groups out, and gives their memory back.
    fn write(
        self,
        plan: &Plan,
        spill: &mut Spill,
        skip: u32,
        memory: &mut Reservation,
        cx: &Context,
    ) -> Result<()> {
        let refs: Vec<Vec<RowRef>> =
            self.customs.iter().map(|states| states.refs().collect()).collect();
        let customs = CustomStates::Rows(&self.customs, &refs);
        let groups = Groups { plan, stores: &self.stores, customs };
        spill.write(&groups, self.rows, skip, memory, cx)?;
        let beside = self.stores.pages.iter().chain(&self.customs);
        memory.shrink(beside.map(RowPages::bytes).sum());
        Ok(())
    }

    /// The custom states as columns, and the groups without them.
    pub(super) fn take_customs(
        &mut self,
        partition: &Partition,
        memory: &mut Reservation,
    ) -> Result<Vec<Vec<ArrayRef>>> {
        let mut customs = Vec::with_capacity(self.customs.len());
        for (states, known) in mem::take(&mut self.customs).iter().zip(&*partition.customs) {
            let refs: Vec<RowRef> = states.refs().collect();
            let columns =
                known.types.iter().enumerate().map(|(column, data_type)| {
                    to_logical(&states.gather(column, &refs)?, data_type)
                });
            customs.push(columns.collect::<Result<_>>()?);
            memory.shrink(states.bytes());
        }
        Ok(customs)
    }
}

/// Reads units.
struct Units<'a> {
    reader: &'a mut PageReader,
    /// The page that showed that a unit is over.
    ahead: Option<TapedPage>,
}

impl Units<'_> {
    fn turn_to(&mut self, tape: &Arc<Tape>, stretch: Stretch) -> Result<()> {
        self.reader.seek(tape, stretch.from, stretch.until)
    }

    /// Adds the next unit of the stretch to what is held; false at the end.
    fn next(&mut self, plan: &Plan, held: &mut Held, memory: &mut Reservation) -> Result<bool> {
        let Some(page) = self.page(memory)? else { return Ok(false) };
        if page.beside.is_some() {
            return Err(Error::internal("a spilled unit without its groups"));
        }
        let first = u32::try_from(held.rows.rows()).ok();
        let Some(first) = first.filter(|&first| first.checked_add(page.rows as u32).is_some())
        else {
            return Err(Error::input("more than 4 billion groups"));
        };
        held.rows.push_taped(page)?;
        let members: Vec<RowRef> = held.rows.page_refs(held.rows.pages() - 1).collect();
        for state in &plan.states {
            let Fold::Stored { store, .. } = state.fold else { continue };
            let behind = held.stores.pages.get(store).map_or(0, RowPages::pages);
            for &row in &members {
                let slot = held.rows.slot(row, state.value);
                if slot != 0 {
                    let moved = reference(slot).behind(behind);
                    held.rows.set_slot(row, state.value, moved.to_bits() + 1);
                }
            }
        }
        plan.set_numbers(&mut held.rows, &members, first);
        while let Some(page) = self.page(memory)? {
            let Some(beside) = page.beside else {
                self.ahead = Some(page);
                break;
            };
            let pages = held.beside(usize::from(beside));
            pages.ok_or_else(|| Error::internal("spilled values of no store"))?.push_taped(page)?;
        }
        Ok(true)
    }

    /// The next page, charged.
    fn page(&mut self, memory: &mut Reservation) -> Result<Option<TapedPage>> {
        match self.ahead.take() {
            None => self.reader.next(|bytes| memory.grow(bytes)),
            ahead => Ok(ahead),
        }
    }
}
