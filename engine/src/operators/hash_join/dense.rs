//! The directory of keys whose ordinals are dense: slots instead of hashes.
//!
//! The ranges of the key columns span a box; a key's position in it is its slot. Nothing is hashed,
//! keys need not be compared, and a probe side in key order walks through memory in order. NULL,
//! where it equals NULL, is one more value of its column.
//!
//! Three forms, by the number of slots for each row:
//! * **direct**: an entry a slot, when there are few slots for the rows;
//! * **ranked**: a bit a slot, and an entry for each key that occurs, found by counting the bits
//!   before its own (two bits of space a slot);
//! * **present**: a bit a slot and nothing else, when only the existence of a row matters.
//!
//! Concurrency: the box is cut into pieces of consecutive slots, each filled by one task from all
//! rows that fall into it.

use super::groups::{Entry, Groups, GroupsBuilder, NONE};
use super::lane_key::Bands;
use crate::batch::Ordinals;
use crate::error::Result;

/// Asked now and then whether the query goes on.
pub(super) type Check<'a> = &'a dyn Fn() -> Result<()>;

/// Values that are made between two checks.
const FILL_STEP: usize = 1 << 18;

/// A slot that no build row can have.
pub(super) const OUTSIDE: u64 = u64::MAX;

/// Slots for each row up to which every slot has an entry of 4 bytes.
const DIRECT_SLOTS_PER_ROW: u64 = 2;
/// This many slots have entries for any number of rows: they stay in the first-level cache.
const DIRECT_SLOTS_ALWAYS: u64 = 1 << 12;
/// Slots for each row up to which the box is ranked: then it takes as much memory as a directory
/// of hashes, and is still quicker.
const RANKED_SLOTS_PER_ROW: u64 = 64;
/// This many slots are ranked for any number of rows.
const RANKED_SLOTS_ALWAYS: u64 = 1 << 16;
/// Slots for each row up to which existence is kept as bits.
const PRESENT_SLOTS_PER_ROW: u64 = 128;

/// The box that the ordinals of the keys span.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Dimensions {
    axes: Vec<Axis>,
    slots: u64,
}

#[derive(Debug, Clone, PartialEq)]
struct Axis {
    min: i64,
    /// Values from `min` on.
    width: u64,
    stride: u64,
    /// Whether the value after the last is NULL.
    null: bool,
    /// How ordinals of rows of one lane are folded, if they are: `min` and `width` are of those.
    fold: Option<Bands>,
}

impl Axis {
    /// Where a value is on the axis: not below `width` when it is outside.
    fn offset(&self, ordinal: i64) -> u64 {
        let value = self.fold.map_or(ordinal, |bands| bands.folded(ordinal));
        value.wrapping_sub(self.min) as u64
    }
}

/// How a dense directory keeps its entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DenseForm {
    Direct,
    Ranked,
    Present,
}

impl Dimensions {
    /// The box for keys of these ranges; `None` when it has no room in 63 bits. `inner_first` has
    /// the keys from the one whose neighbouring values are neighbouring slots to the outermost.
    /// With `bands` all rows are of one lane, and the ranges are those of folded ordinals.
    pub(super) fn new(
        ranges: &[(i64, i64)],
        nulls_match: bool,
        inner_first: &[usize],
        bands: Option<Bands>,
    ) -> Option<Self> {
        let axis = |(key, &(min, max)): (usize, &(i64, i64))| Axis {
            min,
            width: (max.wrapping_sub(min) as u64).saturating_add(1),
            stride: 1,
            null: nulls_match,
            fold: bands.filter(|bands| bands.key() == key),
        };
        let mut axes: Vec<Axis> = ranges.iter().enumerate().map(axis).collect();
        let mut stride = 1u64;
        for axis in inner_first {
            let axis = axes.get_mut(*axis)?;
            axis.stride = stride;
            stride = stride.checked_mul(axis.width.checked_add(u64::from(nulls_match))?)?;
        }
        (stride <= 1 << 62).then_some(Dimensions { axes, slots: stride })
    }

    pub(super) fn slots(&self) -> u64 {
        self.slots
    }

    /// The form to keep `rows` rows in, when slots pay at all.
    pub(super) fn form(&self, rows: u64, existence_only: bool) -> Option<DenseForm> {
        let within =
            |always: u64, per_row: u64| self.slots <= always.max(rows.saturating_mul(per_row));
        if existence_only {
            return within(RANKED_SLOTS_ALWAYS, PRESENT_SLOTS_PER_ROW)
                .then_some(DenseForm::Present);
        }
        if within(DIRECT_SLOTS_ALWAYS, DIRECT_SLOTS_PER_ROW) {
            return Some(DenseForm::Direct);
        }
        within(RANKED_SLOTS_ALWAYS, RANKED_SLOTS_PER_ROW).then_some(DenseForm::Ranked)
    }

    /// The slot of each of `rows` rows, of the ordinals of its keys; [`OUTSIDE`] where a key is
    /// outside.
    pub(super) fn locate(&self, keys: &[Ordinals], rows: usize, slots: &mut Vec<u64>) {
        slots.clear();
        if self.axes.is_empty() {
            slots.resize(rows, 0);
        }
        for (number, (axis, key)) in self.axes.iter().zip(keys).enumerate() {
            let offset = |value: i64| axis.offset(value);
            if number == 0 {
                let slot = |&v: &i64| match offset(v) {
                    offset if offset < axis.width => offset * axis.stride,
                    _ => OUTSIDE,
                };
                slots.extend(key.values.iter().map(slot));
            } else {
                for (slot, &value) in slots.iter_mut().zip(&key.values) {
                    // A wrong product is never used: one factor is in range when both are.
                    let moved = slot.wrapping_add(offset(value).wrapping_mul(axis.stride));
                    *slot = match offset(value) < axis.width && *slot != OUTSIDE {
                        true => moved,
                        false => OUTSIDE,
                    };
                }
            }
            if axis.null {
                continue;
            }
            for &row in key.nulls.iter().chain(&key.beyond) {
                slots[row as usize] = OUTSIDE;
            }
        }
        if self.axes.iter().any(|axis| axis.null) {
            self.locate_with_nulls(keys, slots);
        }
    }

    /// Corrects the slots of the rows with a NULL among their keys, where NULL is a value.
    fn locate_with_nulls(&self, keys: &[Ordinals], slots: &mut [u64]) {
        let mut rows: Vec<u32> =
            keys.iter().flat_map(|key| key.nulls.iter().chain(&key.beyond)).copied().collect();
        rows.sort_unstable();
        rows.dedup();
        for row in rows {
            let axes = self.axes.iter().zip(keys);
            let place = |(axis, key): (&Axis, &Ordinals)| {
                let offset = axis.offset(key.values[row as usize]);
                if key.beyond.binary_search(&row).is_ok() {
                    None
                } else if key.nulls.binary_search(&row).is_ok() {
                    Some(axis.width * axis.stride)
                } else {
                    (offset < axis.width).then(|| offset * axis.stride)
                }
            };
            slots[row as usize] = axes.map(place).sum::<Option<u64>>().unwrap_or(OUTSIDE);
        }
    }

    /// The slots that rows with keys of these ranges can have: the first and the last.
    pub(super) fn span(&self, ranges: &[Option<(i64, i64)>]) -> (u64, u64) {
        let (mut low, mut high) = (0, 0);
        for (axis, range) in self.axes.iter().zip(ranges) {
            let (min, max) = match range {
                Some(range) if !axis.null => *range,
                _ => (axis.min, axis.min.wrapping_add_unsigned(axis.width - 1)),
            };
            let last = max.wrapping_sub(axis.min) as u64 + u64::from(axis.null);
            low += min.wrapping_sub(axis.min) as u64 * axis.stride;
            high += last * axis.stride;
        }
        (low, high)
    }
}

/// 64 slots of a ranked piece.
#[derive(Debug, Clone, Copy, Default)]
struct Block {
    /// The slots that occur.
    bits: u64,
    /// Slots that occur in the blocks before.
    rank: u64,
}

/// Consecutive slots, from 0.
#[derive(Debug, Default)]
pub(super) struct DensePiece {
    blocks: Vec<Block>,
    entries: Vec<Entry>,
}

impl DensePiece {
    /// A piece for so many slots, without rows. `check` says whether the query goes on.
    ///
    /// # Errors
    /// What `check` says.
    pub(super) fn new(form: DenseForm, slots: u64, check: Check<'_>) -> Result<Self> {
        let (blocks, entries) = match form {
            DenseForm::Direct => (0, slots),
            DenseForm::Ranked | DenseForm::Present => (slots.div_ceil(64), 0),
        };
        Ok(DensePiece {
            blocks: filled(blocks as usize, Block::default(), check)?,
            entries: filled(entries as usize, NONE, check)?,
        })
    }

    /// Bytes that [`DensePiece::new`] allocates.
    pub(super) fn size_bytes(form: DenseForm, slots: u64) -> usize {
        let bytes = match form {
            DenseForm::Direct => slots.saturating_mul(4),
            DenseForm::Ranked | DenseForm::Present => slots.div_ceil(64) * 16,
        };
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    /// Notes that these slots of a ranked or present piece occur.
    pub(super) fn mark(&mut self, slots: &[u64]) {
        for &slot in slots {
            self.blocks[(slot / 64) as usize].bits |= 1 << (slot % 64);
        }
    }

    /// Counts what was marked, after the last mark: the keys that occur.
    pub(super) fn count(&mut self) -> usize {
        let mut rank = 0;
        for block in &mut self.blocks {
            block.rank = rank;
            rank += u64::from(block.bits.count_ones());
        }
        rank as usize
    }

    /// Makes room for an entry for each of `keys` keys of a ranked piece.
    ///
    /// # Errors
    /// What `check` says.
    pub(super) fn make_entries(&mut self, keys: usize, check: Check<'_>) -> Result<()> {
        self.entries = filled(keys, NONE, check)?;
        Ok(())
    }

    /// Adds rows by slot, in the order of the input, after all were marked; the slots become the
    /// places of their entries.
    ///
    /// # Errors
    /// `OutOfMemory` when there are more groups than can be numbered.
    pub(super) fn insert(
        &mut self,
        slots: &mut [u64],
        rows: &[u32],
        groups: &mut GroupsBuilder,
    ) -> Result<()> {
        let DensePiece { blocks, entries } = self;
        // In two loops: short turns that wait for one access each overlap.
        if !blocks.is_empty() {
            for slot in &mut *slots {
                *slot = blocks[(*slot / 64) as usize].rank_of(*slot);
            }
        }
        for (&place, &row) in slots.iter().zip(rows) {
            let entry = &mut entries[place as usize];
            *entry = if *entry == NONE { row } else { groups.add(*entry, row)? };
        }
        Ok(())
    }
}

/// `count` times `value`, made step by step: the system may give new memory at less than a
/// gigabyte a second, and the query can be stopped meanwhile.
fn filled<T: Copy>(count: usize, value: T, check: Check<'_>) -> Result<Vec<T>> {
    let mut all = Vec::new();
    all.reserve_exact(count);
    while all.len() < count {
        check()?;
        all.resize(count.min(all.len() + FILL_STEP), value);
    }
    Ok(all)
}

impl Block {
    fn has(self, slot: u64) -> bool {
        self.bits >> (slot % 64) & 1 == 1
    }

    fn rank_of(self, slot: u64) -> u64 {
        let before = self.bits & ((1 << (slot % 64)) - 1);
        self.rank + u64::from(before.count_ones())
    }
}

/// A finished directory of slots.
#[derive(Debug)]
pub(super) struct DenseDirectory {
    pub(super) dimensions: Dimensions,
    form: DenseForm,
    cut: Cut,
    pieces: Vec<DensePiece>,
    pub(super) groups: Groups,
}

/// How a box is cut into pieces of equal size, a power of two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut {
    shift: u32,
    slots: u64,
}

impl Cut {
    /// Cuts `slots` slots into about `pieces` pieces, never more.
    pub(super) fn new(slots: u64, pieces: usize) -> Self {
        let size = slots.div_ceil(pieces.max(1) as u64).next_power_of_two().max(64);
        Cut { shift: size.trailing_zeros(), slots }
    }

    pub(super) fn pieces(self) -> usize {
        self.slots.div_ceil(1 << self.shift) as usize
    }

    /// The piece of a slot.
    pub(super) fn piece_of(self, slot: u64) -> usize {
        (slot >> self.shift) as usize
    }

    /// The first slot of a piece, and how many it has.
    pub(super) fn piece(self, piece: usize) -> (u64, u64) {
        let first = (piece as u64) << self.shift;
        (first, (self.slots - first).min(1 << self.shift))
    }
}

impl DenseDirectory {
    pub(super) fn new(
        dimensions: Dimensions,
        form: DenseForm,
        cut: Cut,
        pieces: Vec<DensePiece>,
        groups: Groups,
    ) -> Self {
        DenseDirectory { dimensions, form, cut, pieces, groups }
    }

    /// The entry of each slot. Of a present directory any entry but [`NONE`] says that it occurs.
    pub(super) fn look_up(&self, slots: &[u64], entries: &mut Vec<Entry>) {
        entries.clear();
        let mask = (1u64 << self.cut.shift) - 1;
        let piece = |slot: u64| self.pieces.get((slot >> self.cut.shift) as usize);
        match (self.form, &self.pieces[..]) {
            (DenseForm::Direct, [one]) => {
                entries.extend(slots.iter().map(|&slot| get(&one.entries, slot)));
            }
            (DenseForm::Direct, _) => entries.extend(slots.iter().map(|&slot| {
                let slots = piece(slot).map_or(&[][..], |piece| &piece.entries);
                get(slots, slot & mask)
            })),
            // In two loops: short turns that wait for one access each overlap.
            (DenseForm::Ranked, _) => {
                entries.extend(slots.iter().map(|&slot| {
                    let block =
                        piece(slot).and_then(|p| p.blocks.get(((slot & mask) / 64) as usize));
                    block.filter(|block| block.has(slot)).map_or(NONE, |b| b.rank_of(slot) as u32)
                }));
                for (entry, &slot) in entries.iter_mut().zip(slots) {
                    if *entry != NONE {
                        *entry = piece(slot).map_or(NONE, |p| p.entries[*entry as usize]);
                    }
                }
            }
            (DenseForm::Present, _) => entries.extend(slots.iter().map(|&slot| {
                let block = piece(slot).and_then(|p| p.blocks.get(((slot & mask) / 64) as usize));
                if block.is_some_and(|block| block.has(slot)) { 0 } else { NONE }
            })),
        }
    }
}

fn get(entries: &[Entry], slot: u64) -> Entry {
    entries.get(slot as usize).copied().unwrap_or(NONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ordinals(values: &[Option<i64>]) -> Ordinals {
        let nulls = (0..).zip(values).filter(|(_, v)| v.is_none()).map(|(i, _)| i).collect();
        let values = values.iter().map(|v| v.unwrap_or(12345)).collect();
        Ordinals { values, nulls, beyond: Vec::new() }
    }

    #[test]
    fn slots_tell_all_keys_apart_and_nulls_only_where_they_match() {
        let a = ordinals(&[Some(-5), Some(-5), Some(7), None, Some(8), Some(7)]);
        let mut b = ordinals(&[Some(0), Some(1), Some(2), Some(1), Some(1), None]);
        let mut slots = Vec::new();
        let plain = Dimensions::new(&[(-5, 7), (0, 2)], false, &[0, 1], None).expect("small");
        assert_eq!(plain.slots(), 39);
        plain.locate(&[a.clone(), b.clone()], 6, &mut slots);
        assert_eq!(slots, [0, 13, 38, OUTSIDE, OUTSIDE, OUTSIDE]);
        let turned = Dimensions::new(&[(-5, 7), (0, 2)], false, &[1, 0], None).expect("small");
        turned.locate(&[a.clone(), b.clone()], 6, &mut slots);
        assert_eq!(slots, [0, 1, 38, OUTSIDE, OUTSIDE, OUTSIDE]);
        assert_eq!(turned.span(&[Some((0, 1)), Some((1, 1))]), (16, 19));
        let nulls = Dimensions::new(&[(-5, 7), (0, 2)], true, &[0, 1], None).expect("small");
        assert_eq!(nulls.slots(), 56);
        b.beyond.push(0);
        nulls.locate(&[a, b], 6, &mut slots);
        assert_eq!(slots, [OUTSIDE, 14, 40, 27, OUTSIDE, 12 + 42]);
        assert_eq!(plain.span(&[Some((0, 1)), Some((1, 1))]), (18, 19));
        assert_eq!(nulls.span(&[Some((0, 1)), None]), (0, 55));
        let point = Dimensions::new(&[], false, &[], None).expect("small");
        point.locate(&[], 2, &mut slots);
        assert_eq!((&slots[..], point.slots()), (&[0, 0][..], 1));
        assert!(Dimensions::new(&[(i64::MIN, i64::MAX)], false, &[0], None).is_none());
        assert!(Dimensions::new(&[(0, i64::MAX), (0, 1)], false, &[0, 1], None).is_none());
    }

    #[test]
    fn every_form_finds_what_was_inserted_for_any_number_of_pieces() {
        let slots = 1000u64;
        let keys: Vec<u64> = (0..slots).filter(|s| s * s % 7 == 1).chain([3, 8]).collect();
        let rows: Vec<u32> = (0..keys.len() as u32).collect();
        for form in [DenseForm::Direct, DenseForm::Ranked, DenseForm::Present] {
            for pieces in [1, 2, 3, 16] {
                let cut = Cut::new(slots, pieces);
                let mut built = Vec::new();
                let mut groups = Vec::new();
                for number in 0..cut.pieces() {
                    let (first, count) = cut.piece(number);
                    let own = |i: &usize| (first..first + count).contains(&keys[*i]);
                    let own: Vec<usize> = (0..keys.len()).filter(own).collect();
                    let mut own_keys: Vec<u64> = own.iter().map(|&i| keys[i] - first).collect();
                    let own_rows: Vec<u32> = own.iter().map(|&i| rows[i]).collect();
                    let mut piece = DensePiece::new(form, count, &|| Ok(())).expect("a piece");
                    let mut group = GroupsBuilder::new(number, cut.pieces(), false);
                    if form != DenseForm::Direct {
                        piece.mark(&own_keys);
                    }
                    if form == DenseForm::Ranked {
                        let keys = piece.count();
                        piece.make_entries(keys, &|| Ok(())).expect("entries");
                    }
                    if form != DenseForm::Present {
                        piece.insert(&mut own_keys, &own_rows, &mut group).expect("inserts");
                    }
                    built.push(piece);
                    groups.push(group);
                }
                let dimensions = Dimensions::new(&[(0, 999)], false, &[0], None).expect("small");
                let groups = Groups::new(groups);
                let directory = DenseDirectory::new(dimensions, form, cut, built, groups);
                let mut entries = Vec::new();
                let asked: Vec<u64> = (0..1030).chain([OUTSIDE]).collect();
                directory.look_up(&asked, &mut entries);
                for (&slot, &entry) in asked.iter().zip(&entries) {
                    let expected: Vec<u32> =
                        rows.iter().copied().filter(|&r| keys[r as usize] == slot).collect();
                    let found = match (form, entry) {
                        (_, NONE) => vec![],
                        (DenseForm::Present, _) => expected.clone(),
                        _ => super::super::groups::group_of(entry)
                            .map_or(vec![entry], |g| directory.groups.rows(g).to_vec()),
                    };
                    assert_eq!(found, expected, "{form:?} {pieces} {slot}");
                    assert_eq!(entry == NONE, expected.is_empty());
                }
            }
        }
    }
}
