//! What build and probe side of one join agree on, and what they share while it runs.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use arrow::datatypes::{DataType, Schema};

use super::finish::Building;
use super::lane_key::LaneBy;
use super::lanes::LaneSet;
use super::store::{Part, Run};
use super::table::Table;
use super::{HashJoin, JoinKind};
use crate::batch::{Column, KeyFilterSlot, KeyHasher, all_rows, has_ordinals, physical_type};
use crate::error::{Error, Result};
use crate::expr::Expr;
use crate::memory::rows::{RowLayout, RowPages, RowRef, Slot};
use crate::memory::{Governor, Reservation};

/// What the holder of a join's memory is called.
pub(super) const HOLDER: &str = "hash join build";

/// A build side of fewer bytes does not give way to what others might need.
const SMALL_BYTES: usize = 1 << 20;

/// A column of the stored rows.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Stored {
    /// The column of the build side's input.
    pub(super) input: usize,
    /// Whether floats in it are replaced by the ones that stand for them as keys.
    pub(super) normalised: bool,
}

/// A column that is read from stored rows.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Payload {
    /// Which stored column.
    pub(super) stored: usize,
    pub(super) logical: DataType,
}

/// A condition on pairs, over the probe columns and then the build columns that it reads.
#[derive(Debug, Clone)]
pub(super) struct Residual {
    pub(super) condition: Expr,
    /// Probe columns it reads.
    pub(super) probe: Vec<usize>,
    pub(super) build: Vec<Payload>,
}

/// How probe rows are stored that have to wait for their lane.
#[derive(Debug)]
pub(super) struct ProbeLayout {
    /// Types of all columns of the probe side.
    pub(super) types: Vec<DataType>,
    /// The columns that are stored, because something reads them.
    pub(super) stored: Vec<usize>,
    pub(super) layout: Arc<RowLayout>,
    /// Which of these the keys are.
    keys: Vec<usize>,
    /// Where the hash of a row's keys is, when it cannot be computed quickly from them.
    pub(super) hash_slot: Option<Slot>,
}

/// The plan of one join, with everything resolved that follows from its spec and inputs.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) kind: JoinKind,
    pub(super) probe_keys: Vec<usize>,
    pub(super) build_keys: Vec<usize>,
    /// Types of the build keys.
    pub(super) key_types: Vec<DataType>,
    pub(super) nulls_match: bool,
    pub(super) null_aware: bool,
    /// What is stored of a build row: the keys first.
    pub(super) stored: Vec<Stored>,
    pub(super) layout: Arc<RowLayout>,
    /// Where a row's hash is, when it cannot be computed quickly from the stored keys.
    pub(super) hash_slot: Option<Slot>,
    /// Whether all keys have ordinals.
    pub(super) ordinals: bool,
    /// Whether it is enough to know that a match exists.
    pub(super) existence_only: bool,
    /// Whether rows are stored that cannot match: they come out all the same.
    pub(super) keeps_all: bool,
    /// A column of the build side that must be NULL in the rows that are stored.
    pub(super) only_null: Option<usize>,
    pub(super) probe_output: Vec<usize>,
    pub(super) probe_output_types: Vec<DataType>,
    pub(super) build_output: Vec<Payload>,
    pub(super) residual: Option<Residual>,
    /// `None` when rows of the probe side cannot be stored, so that all build rows must fit.
    pub(super) probe_rows: Option<ProbeLayout>,
}

impl ProbeLayout {
    fn new(spec: &HashJoin, probe: &Schema) -> Result<Self> {
        let types: Vec<DataType> = probe.fields().iter().map(|f| f.data_type().clone()).collect();
        let reads = spec.residual.as_ref().map(Expr::columns).unwrap_or_default();
        let reads = reads.into_iter().filter(|&c| c < types.len());
        let all = spec.probe_keys.iter().chain(&spec.probe_output).copied().chain(reads);
        let mut stored: Vec<usize> = all.collect();
        stored.sort_unstable();
        stored.dedup();
        let stored_types: Vec<DataType> = stored.iter().map(|&c| types[c].clone()).collect();
        let keys = spec.probe_keys.iter().map(|key| stored.partition_point(|c| c < key)).collect();
        let ordinals = spec.probe_keys.iter().all(|&key| has_ordinals(&types[key]));
        let (layout, hash_slot) = layout_with_hash(&stored_types, ordinals)?;
        Ok(ProbeLayout { types, stored, keys, layout, hash_slot })
    }

    /// The hashes of stored probe rows.
    ///
    /// # Errors
    /// `Internal` when the rows are not of this layout.
    pub(super) fn hash(
        &self,
        pages: &RowPages,
        rows: &[RowRef],
        hasher: &mut KeyHasher,
        hashes: &mut Vec<u64>,
    ) -> Result<()> {
        stored_hashes(self.hash_slot, pages, rows, hasher, hashes, || {
            let key = |&key: &usize| {
                let logical = self.types[self.stored[key]].clone();
                Ok(Column::flat(logical, pages.gather(key, rows)?))
            };
            self.keys.iter().map(key).collect()
        })
    }
}

impl Shape {
    /// Whether lists or values like them are keys.
    pub(super) fn has_nested_keys(&self) -> bool {
        self.stored.iter().any(|stored| stored.normalised)
    }

    pub(super) fn new(spec: &HashJoin, probe: &Schema, build: &Schema) -> Result<Self> {
        let type_of = |column: usize| build.field(column).data_type().clone();
        let key_types: Vec<DataType> = spec.build_keys.iter().map(|&c| type_of(c)).collect();
        let ordinals = key_types.iter().all(has_ordinals);
        let mut stored: Vec<Stored> = Vec::new();
        for (&input, key_type) in spec.build_keys.iter().zip(&key_types) {
            stored.push(Stored { input, normalised: physical_type(key_type).is_nested() });
        }
        let mut payload = |input: usize| {
            let found = stored.iter().position(|s| s.input == input && !s.normalised);
            let stored = found.unwrap_or_else(|| {
                stored.push(Stored { input, normalised: false });
                stored.len() - 1
            });
            Payload { stored, logical: type_of(input) }
        };
        let build_output = spec.build_output.iter().map(|&c| payload(c)).collect();
        let residual = spec.residual.as_ref().map(|condition| {
            let width = probe.fields().len();
            let (on_probe, on_build): (Vec<usize>, Vec<usize>) =
                condition.columns().into_iter().partition(|&c| c < width);
            let columns: Vec<usize> = on_probe.iter().chain(&on_build).copied().collect();
            let place = |c: usize| columns.iter().position(|&own| own == c).unwrap_or(c);
            Residual {
                condition: condition.clone().map_columns(&place),
                build: on_build.iter().map(|&c| payload(c - width)).collect(),
                probe: on_probe,
            }
        });
        let stored_types: Vec<DataType> = stored.iter().map(|s| type_of(s.input)).collect();
        let by_existence = matches!(spec.kind, JoinKind::Semi | JoinKind::Anti | JoinKind::Mark);
        let probe_type = |&column: &usize| probe.field(column).data_type().clone();
        let (layout, hash_slot) = layout_with_hash(&stored_types, ordinals)?;
        Ok(Shape {
            kind: spec.kind,
            probe_keys: spec.probe_keys.clone(),
            build_keys: spec.build_keys.clone(),
            key_types,
            nulls_match: spec.null_equals_null,
            null_aware: spec.null_aware,
            stored,
            hash_slot,
            layout,
            ordinals,
            existence_only: by_existence && residual.is_none(),
            keeps_all: spec.kind.gives_build_rows() && spec.kind != JoinKind::RightSemi,
            only_null: None,
            probe_output: spec.probe_output.clone(),
            probe_output_types: spec.probe_output.iter().map(probe_type).collect(),
            build_output,
            residual,
            probe_rows: ProbeLayout::new(spec, probe).ok(),
        })
    }

    /// How rows of the probe side are stored.
    ///
    /// # Errors
    /// `Internal` when they cannot be.
    pub(super) fn probe_rows(&self) -> Result<&ProbeLayout> {
        let rows = self.probe_rows.as_ref();
        rows.ok_or_else(|| Error::internal("a join's probe rows cannot be stored"))
    }

    /// The key columns of stored build rows: the first columns of the layout.
    ///
    /// # Errors
    /// `Internal` when there are fewer columns.
    pub(super) fn keys(&self, pages: &RowPages, rows: &[RowRef]) -> Result<Vec<Column>> {
        (0..self.key_types.len()).map(|key| self.key(pages, key, rows)).collect()
    }

    /// One of them.
    ///
    /// # Errors
    /// As [`Shape::keys`].
    pub(super) fn key(&self, pages: &RowPages, key: usize, rows: &[RowRef]) -> Result<Column> {
        let logical = self.key_types.get(key).ok_or_else(missing_key)?;
        Ok(Column::flat(logical.clone(), pages.gather(key, rows)?))
    }

    /// The hashes of stored build rows.
    ///
    /// # Errors
    /// As [`Shape::keys`].
    pub(super) fn hash(
        &self,
        pages: &RowPages,
        rows: &[RowRef],
        hasher: &mut KeyHasher,
        hashes: &mut Vec<u64>,
    ) -> Result<()> {
        stored_hashes(self.hash_slot, pages, rows, hasher, hashes, || self.keys(pages, rows))
    }

    /// Whether stored rows are read after the directory has been made, other than to compare keys.
    pub(super) fn reads_rows(&self) -> bool {
        !self.build_output.is_empty() || self.residual.is_some()
    }
}

/// A layout of rows of these columns, with a slot for the hash of their keys unless these have
/// ordinals, which are hashed quickly.
fn layout_with_hash(types: &[DataType], ordinals: bool) -> Result<(Arc<RowLayout>, Option<Slot>)> {
    let slots: &[usize] = if ordinals { &[] } else { &[size_of::<u64>()] };
    let layout = Arc::new(RowLayout::new(types, slots)?);
    let slot = (!ordinals).then(|| layout.slot(0));
    Ok((layout, slot))
}

/// The hashes of stored rows: those in the slot, or else those of their keys.
fn stored_hashes(
    slot: Option<Slot>,
    pages: &RowPages,
    rows: &[RowRef],
    hasher: &mut KeyHasher,
    hashes: &mut Vec<u64>,
    keys: impl FnOnce() -> Result<Vec<Column>>,
) -> Result<()> {
    if let Some(slot) = slot {
        hashes.clear();
        hashes.extend(rows.iter().map(|&row| pages.slot(row, slot)));
        return Ok(());
    }
    let keys = keys()?;
    let keys: Vec<&Column> = keys.iter().collect();
    hasher.hash(&keys, all_rows(rows.len()), hashes)
}

pub(super) fn missing_key() -> Error {
    Error::internal("a join has fewer keys")
}

/// The state of one join.
pub(super) struct Shared {
    pub(super) shape: Shape,
    pub(super) filter_slot: Option<KeyFilterSlot>,
    /// Whether build rows may be moved out of memory.
    pub(super) spills: bool,
    /// Whether they are.
    spilling: AtomicBool,
    /// Bytes of the build rows in memory.
    held: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    /// What the build side holds; each worker takes a piece.
    pub(super) memory: Option<Reservation>,
    /// What the workers that are done have stored.
    pub(super) parts: Vec<Part>,
    /// Whether some key turned out to have no ordinal.
    pub(super) beyond_ordinals: bool,
    pub(super) building: Option<Arc<Building>>,
    /// Tasks that make the directory, or move parts out of memory.
    pub(super) tasks: usize,
    /// Of those that move parts, how many are not done.
    pub(super) moving: usize,
    pub(super) table: Option<Arc<Table>>,
    /// How rows are told apart that are moved out of memory, once there are any.
    pub(super) lane_by: Option<LaneBy>,
    /// The build rows out of memory, until all are.
    pub(super) moved: LaneSet,
    /// All build rows, when they are out of memory: then there is no table.
    pub(super) lanes: Option<Arc<LaneSet>>,
    /// The probe rows that wait for the lanes of the build side.
    pub(super) probe: LaneSet,
    /// The same in order, when no more come.
    probe_lanes: Option<Arc<LaneSet>>,
}

impl Shared {
    /// Build rows are moved out of memory when it is short, if `may_spill`.
    pub(super) fn new(shape: Shape, filter_slot: Option<KeyFilterSlot>, may_spill: bool) -> Self {
        Shared {
            spills: may_spill && shape.probe_rows.is_some(),
            shape,
            filter_slot,
            spilling: AtomicBool::new(false),
            held: AtomicUsize::new(0),
            state: Mutex::default(),
        }
    }

    /// Whether build rows are moved out of memory.
    pub(super) fn is_spilling(&self) -> bool {
        self.spilling.load(Ordering::Relaxed)
    }

    /// From now on build rows are moved out of memory.
    pub(super) fn spill(&self) {
        self.spilling.store(true, Ordering::Relaxed);
    }

    /// Notes that so many more bytes of build rows are in memory. Whether they are to be moved: a
    /// join that would take more than it leaves to others gives way before it is refused, as they
    /// may have no other way.
    pub(super) fn hold(&self, more: usize, memory: &Governor) -> bool {
        let held = self.held.fetch_add(more, Ordering::Relaxed) + more;
        self.spills && held >= SMALL_BYTES && held > memory.free()
    }

    /// How rows go to lanes: as was chosen before, or by these build rows.
    ///
    /// # Errors
    /// As [`LaneBy::choose`].
    pub(super) fn choose_lanes(&self, pages: &RowPages, runs: &[Run]) -> Result<LaneBy> {
        let chosen = self.state().lane_by;
        if let Some(by) = chosen {
            return Ok(by);
        }
        // Another may choose meanwhile: the first that has chosen is followed.
        let by = LaneBy::choose(&self.shape, pages, runs)?;
        Ok(*self.state().lane_by.get_or_insert(by))
    }

    /// How build rows have gone to lanes; by hash if there were none.
    pub(super) fn lane_by(&self) -> LaneBy {
        self.state().lane_by.unwrap_or(LaneBy::Hash)
    }

    /// The build rows, when they are in memory.
    ///
    /// # Errors
    /// `Internal` when they are not, or not yet.
    pub(super) fn table(&self) -> Result<Arc<Table>> {
        let table = self.state().table.clone();
        table.ok_or_else(|| Error::internal("a join is probed before its build side is done"))
    }

    /// All build rows, when they are out of memory.
    pub(super) fn lanes(&self) -> Option<Arc<LaneSet>> {
        self.state().lanes.clone()
    }

    /// The state. A panic elsewhere while it was locked has failed the query already.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// The probe rows that waited for the lanes of the build side. No more are stored after that.
    pub(super) fn probe_lanes(&self) -> Arc<LaneSet> {
        let mut state = self.state();
        if let Some(lanes) = &state.probe_lanes {
            return lanes.clone();
        }
        let mut lanes = std::mem::take(&mut state.probe);
        lanes.sort();
        state.probe_lanes.insert(Arc::new(lanes)).clone()
    }

    /// Forgets everything, for another run.
    pub(super) fn reset(&self) {
        *self.state() = State::default();
        self.spilling.store(false, Ordering::Relaxed);
        self.held.store(0, Ordering::Relaxed);
        if let Some(slot) = &self.filter_slot {
            slot.clear();
        }
    }
}
