//! Fills one piece of a directory with the rows that belong to it.
//!
//! A task goes over all rows in the order of the input and leaves out those of other pieces, so
//! that no two tasks write to the same memory and the rows of a group are in order. Runs whose keys
//! all belong to other pieces are skipped by their ranges.

use std::sync::Mutex;

use arrow::array::Array;

use super::dense::{Cut, DenseForm, DensePiece, Dimensions};
use super::groups::GroupsBuilder;
use super::hashed::{Compare, HashPiece, Search, piece_of};
use super::kept::Kept;
use super::shape::{HOLDER, Shape};
use super::store::{Run, Store};
use crate::batch::{
    CHUNK_ROWS, Column, KeyFilterBuilder, KeyHasher, Ordinals, Picked, all_rows, pick,
};
use crate::error::{Error, Result};
use crate::memory::Reservation;
use crate::memory::rows::{Pages, RowRef};
use crate::pipeline::Context;

/// One task and what it reads.
pub(super) struct Fill<'a> {
    pub(super) store: &'a Store,
    pub(super) filter: Option<&'a KeyFilterBuilder>,
    pub(super) memory: &'a Mutex<Option<Reservation>>,
    pub(super) shape: &'a Shape,
    pub(super) cx: &'a Context,
    /// Which piece.
    pub(super) task: usize,
    /// Whether there is another way when there is no room for the piece.
    pub(super) may_fail: bool,
}

/// The rows of one batch that belong to the piece.
#[derive(Default)]
struct Own {
    /// Slots within the piece, or hashes.
    places: Vec<u64>,
    /// Numbers of the rows.
    rows: Vec<u32>,
    /// Where they are.
    refs: Vec<RowRef>,
    /// Their position in the batch.
    which: Vec<u32>,
}

impl Own {
    fn clear(&mut self) {
        self.places.clear();
        self.rows.clear();
        self.refs.clear();
        self.which.clear();
    }
}

impl Fill<'_> {
    /// Fills a piece of slots.
    ///
    /// # Errors
    /// `OutOfMemory`, or that the query was stopped.
    pub(super) fn dense(
        &self,
        dimensions: &Dimensions,
        form: DenseForm,
        cut: Cut,
    ) -> Result<(DensePiece, GroupsBuilder)> {
        let (first, count) = cut.piece(self.task);
        self.charge(DensePiece::size_bytes(form, count))?;
        let check = || self.cx.check();
        let mut piece = DensePiece::new(form, count, &check)?;
        let existence_only = self.shape.existence_only;
        let mut groups = GroupsBuilder::new(self.task, cut.pieces(), existence_only);
        let mut scan = SlotScan {
            dimensions,
            first,
            count,
            filter: self.filter,
            ordinals: vec![Ordinals::default(); self.shape.key_types.len()],
            slots: Vec::new(),
            hasher: KeyHasher::new(),
            hashes: Vec::new(),
            own: Own::default(),
        };
        let mut kept = match form {
            DenseForm::Ranked => Kept::new(count, self.cx.memory().reserve(HOLDER, 0)?),
            _ => None,
        };
        if form != DenseForm::Direct {
            scan.each(self, |own| {
                piece.mark(&own.places);
                if let Some(some) = &mut kept
                    && !some.push(&own.places, &own.rows, self.cx.memory())
                {
                    kept = None;
                }
                Ok(())
            })?;
            let keys = piece.count();
            if form == DenseForm::Present {
                return Ok((piece, groups));
            }
            self.charge(keys.saturating_mul(4))?;
            piece.make_entries(keys, &check)?;
            // The first pass over the rows has told the filter.
            scan.filter = None;
        }
        let mut charged = 0;
        let mut insert = |slots: &mut Vec<u64>, rows: &[u32]| {
            self.cx.check()?;
            piece.insert(slots, rows, &mut groups)?;
            self.charge_groups(&groups, &mut charged)
        };
        match kept {
            Some(kept) => kept.each(CHUNK_ROWS, insert)?,
            None => scan.each(self, |own| insert(&mut own.places, &own.rows))?,
        }
        self.lay_out(&mut groups, charged);
        Ok((piece, groups))
    }

    /// Fills a piece of hashes.
    ///
    /// # Errors
    /// `OutOfMemory`, or that the query was stopped.
    pub(super) fn hashed(&self, piece_bits: u32) -> Result<(HashPiece, GroupsBuilder)> {
        let share = self.store.rows() >> piece_bits;
        // Hashes are spread evenly, up to a few times the root of their number.
        let spread = if piece_bits == 0 { 0 } else { 8 * share.isqrt() };
        let mut words = HashPiece::words_for(share + spread);
        loop {
            let bytes = words.saturating_mul(size_of::<u64>());
            self.charge(bytes)?;
            let existence_only = self.shape.existence_only;
            let mut groups = GroupsBuilder::new(self.task, 1 << piece_bits, existence_only);
            let mut charged = 0;
            let piece = HashPiece::new(words, piece_bits);
            if let Some(piece) = self.fill_hashed(piece, piece_bits, &mut groups, &mut charged)? {
                self.lay_out(&mut groups, charged);
                return Ok((piece, groups));
            }
            self.release(bytes + charged);
            words = words.saturating_mul(2);
        }
    }

    /// Fills the piece; `None` when it is too small.
    fn fill_hashed(
        &self,
        mut piece: HashPiece,
        piece_bits: u32,
        groups: &mut GroupsBuilder,
        charged: &mut usize,
    ) -> Result<Option<HashPiece>> {
        let mut hasher = KeyHasher::new();
        let (mut hashes, mut own, mut search) = (Vec::new(), Own::default(), Search::default());
        let mut ordinals = Ordinals::default();
        for run in self.store.runs() {
            let mut full = false;
            run.each_batch(self.store.width(), CHUNK_ROWS, |refs| {
                if full {
                    return Ok(());
                }
                self.cx.check()?;
                self.shape.hash(self.store.pages(), refs, &mut hasher, &mut hashes)?;
                let keyless = self.keyless(refs)?;
                own.clear();
                for (which, (&hash, &row)) in hashes.iter().zip(refs).enumerate() {
                    let has_key = keyless.get(which).is_none_or(|keyless| !keyless);
                    if has_key && piece_of(hash, piece_bits) == self.task {
                        own.places.push(hash);
                        own.rows.push(self.store.number(row));
                        own.refs.push(row);
                    }
                }
                if let Some(filter) = self.filter {
                    filter.add_hashes(&own.places);
                    self.tell_ordinals(filter, &own.refs, &mut ordinals)?;
                }
                let mut compare = StoredKeys { fill: self, refs: &own.refs, keys: Vec::new() };
                full = !piece.insert(&own.places, &own.rows, groups, &mut search, &mut compare)?;
                self.charge_groups(groups, charged)
            })?;
            if full {
                return Ok(None);
            }
        }
        Ok(Some(piece))
    }

    /// Tells a filter that wants ordinals those of stored rows: a few keys far apart have a bitmap,
    /// though their directory goes by hash.
    fn tell_ordinals(
        &self,
        filter: &KeyFilterBuilder,
        refs: &[RowRef],
        ordinals: &mut Ordinals,
    ) -> Result<()> {
        if !filter.takes_ordinals() {
            return Ok(());
        }
        let keys = self.shape.keys(self.store.pages(), refs)?;
        let [key] = &keys[..] else { return Ok(()) };
        ordinals.read(key, refs.len(), None)?;
        let valid = (0u32..).zip(&ordinals.values);
        let valid = valid.filter(|(which, _)| ordinals.nulls.binary_search(which).is_err());
        filter.add_ordinals(valid.map(|(_, &ordinal)| ordinal));
        Ok(())
    }

    /// Which stored rows cannot match, because of a NULL among their keys; none when empty.
    fn keyless(&self, refs: &[RowRef]) -> Result<Vec<bool>> {
        let mut keyless = Vec::new();
        if !self.shape.keeps_all || self.shape.nulls_match {
            return Ok(keyless);
        }
        for key in 0..self.shape.key_types.len() {
            if !self.store.pages().may_have_nulls(key) {
                continue;
            }
            let values = self.store.gather(key, refs)?;
            if let Some(nulls) = values.logical_nulls() {
                keyless.resize(refs.len(), false);
                keyless.iter_mut().zip(&nulls).for_each(|(keyless, valid)| *keyless |= !valid);
            }
        }
        Ok(keyless)
    }

    fn charge(&self, bytes: usize) -> Result<()> {
        match &mut *self.memory.lock().unwrap_or_else(|e| e.into_inner()) {
            // A join that can move its rows out of memory leaves the last of it to others.
            Some(memory) if self.may_fail => match memory.try_grow(bytes) {
                true => Ok(()),
                false => Err(no_room(memory.bytes(), bytes)),
            },
            Some(memory) => memory.grow(bytes),
            None => Err(Error::internal("a join's directory is filled after its end")),
        }
    }

    fn release(&self, bytes: usize) {
        if let Some(memory) = &mut *self.memory.lock().unwrap_or_else(|e| e.into_inner()) {
            memory.shrink(bytes);
        }
    }

    /// Charges what groups have grown to.
    fn charge_groups(&self, groups: &GroupsBuilder, charged: &mut usize) -> Result<()> {
        let size = groups.size_bytes();
        if size > *charged {
            self.charge(size - *charged)?;
            *charged = size;
        }
        Ok(())
    }

    /// Lays groups out and gives back what only their making took.
    fn lay_out(&self, groups: &mut GroupsBuilder, charged: usize) {
        let left = groups.laid_out_bytes();
        groups.lay_out();
        self.release(charged.saturating_sub(left));
    }
}

fn no_room(bytes: usize, asked_bytes: usize) -> Error {
    let detail = format!("the directory of {bytes} bytes of rows has no room");
    Error::OutOfMemory { who: HOLDER.to_string(), asked_bytes, detail }
}

/// A pass over all rows that belong to a piece of slots.
struct SlotScan<'a> {
    dimensions: &'a Dimensions,
    /// The piece's first slot, and how many it has.
    first: u64,
    count: u64,
    /// To be told of the keys.
    filter: Option<&'a KeyFilterBuilder>,
    ordinals: Vec<Ordinals>,
    slots: Vec<u64>,
    hasher: KeyHasher,
    hashes: Vec<u64>,
    own: Own,
}

impl SlotScan<'_> {
    fn each(&mut self, fill: &Fill<'_>, mut f: impl FnMut(&mut Own) -> Result<()>) -> Result<()> {
        for run in fill.store.runs().iter().filter(|run| self.has_rows_of(run)).collect::<Vec<_>>()
        {
            run.each_batch(fill.store.width(), CHUNK_ROWS, |refs| {
                fill.cx.check()?;
                let keys = fill.shape.keys(fill.store.pages(), refs)?;
                for (ordinals, key) in self.ordinals.iter_mut().zip(&keys) {
                    ordinals.read(key, refs.len(), None)?;
                }
                self.dimensions.locate(&self.ordinals, refs.len(), &mut self.slots);
                self.choose(fill.store, refs);
                self.tell_filter(&keys)?;
                f(&mut self.own)
            })?;
        }
        Ok(())
    }

    fn has_rows_of(&self, run: &Run) -> bool {
        let (low, high) = self.dimensions.span(&run.ranges);
        low < self.first + self.count && high >= self.first
    }

    /// The rows of the batch that belong to the piece.
    fn choose(&mut self, store: &Store, refs: &[RowRef]) {
        self.own.clear();
        for (which, (&slot, &row)) in (0u32..).zip(self.slots.iter().zip(refs)) {
            let place = slot.wrapping_sub(self.first);
            if place < self.count {
                self.own.places.push(place);
                self.own.rows.push(store.number(row));
                self.own.which.push(which);
            }
        }
    }

    fn tell_filter(&mut self, keys: &[Column]) -> Result<()> {
        let Some(filter) = self.filter else { return Ok(()) };
        if let ([ordinals], true) = (&self.ordinals[..], filter.takes_ordinals()) {
            let own = self.own.which.iter();
            let valid = own.filter(|which| ordinals.nulls.binary_search(which).is_err());
            filter.add_ordinals(valid.map(|&which| ordinals.values[which as usize]));
        }
        if filter.takes_hashes() {
            let keys: Vec<&Column> = keys.iter().collect();
            self.hasher.hash(&keys, &self.own.which, &mut self.hashes)?;
            filter.add_hashes(&self.hashes);
        }
        Ok(())
    }
}

/// Compares rows of a batch with other stored rows. Their keys are read only when a tag was found,
/// which with unique keys hardly ever happens.
struct StoredKeys<'a> {
    fill: &'a Fill<'a>,
    refs: &'a [RowRef],
    keys: Vec<Column>,
}

impl Compare for StoredKeys<'_> {
    fn keep_equal(
        &mut self,
        rows: &[u32],
        candidates: &mut Vec<u32>,
        rejected: &mut Vec<u32>,
    ) -> Result<()> {
        let (store, shape) = (self.fill.store, self.fill.shape);
        if self.keys.is_empty() {
            self.keys = shape.keys(store.pages(), self.refs)?;
        }
        let picked = pick(&self.keys, all_rows(self.refs.len()));
        let mut refs = vec![RowRef::NONE; rows.len()];
        for &candidate in &*candidates {
            refs[candidate as usize] = store.row(rows[candidate as usize]);
        }
        let keys: Vec<(&Picked<'_>, usize)> = picked.iter().zip(0..).collect();
        let nulls_match = shape.nulls_match;
        store.pages().split_equal(&keys, &refs, nulls_match, candidates, rejected)
    }
}
