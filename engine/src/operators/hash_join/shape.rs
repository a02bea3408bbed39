//! What build and probe side of one join agree on, and what they share while it runs.

use std::sync::{Arc, Mutex, MutexGuard};

use arrow::datatypes::{DataType, Schema};

use super::finish::Building;
use super::store::Part;
use super::table::Table;
use super::{HashJoin, JoinKind};
use crate::batch::{KeyFilterSlot, has_ordinals, physical_type};
use crate::error::Result;
use crate::expr::Expr;
use crate::memory::Reservation;
use crate::memory::rows::{RowLayout, Slot};

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

/// The plan of one join, with everything resolved that follows from its spec and inputs.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) kind: JoinKind,
    pub(super) probe_keys: Vec<usize>,
    pub(super) build_keys: Vec<usize>,
    /// Types of the build keys.
    pub(super) key_types: Vec<DataType>,
    pub(super) nulls_match: bool,
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
}

impl Shape {
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
        let slots: &[usize] = if ordinals { &[] } else { &[size_of::<u64>()] };
        let layout = Arc::new(RowLayout::new(&stored_types, slots)?);
        Ok(Shape {
            kind: spec.kind,
            probe_keys: spec.probe_keys.clone(),
            build_keys: spec.build_keys.clone(),
            key_types,
            nulls_match: spec.null_equals_null,
            stored,
            hash_slot: (!ordinals).then(|| layout.slot(0)),
            layout,
            ordinals,
            existence_only: by_existence && residual.is_none(),
            keeps_all: spec.kind.gives_build_rows() && spec.kind != JoinKind::RightSemi,
            only_null: None,
            probe_output: spec.probe_output.clone(),
            probe_output_types: spec.probe_output.iter().map(probe_type).collect(),
            build_output,
            residual,
        })
    }

    /// Whether stored rows are read after the directory has been made, other than to compare keys.
    pub(super) fn reads_rows(&self) -> bool {
        !self.build_output.is_empty() || self.residual.is_some()
    }
}

/// The state of one join.
pub(super) struct Shared {
    pub(super) shape: Shape,
    pub(super) filter_slot: Option<KeyFilterSlot>,
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
    /// Tasks that make the directory.
    pub(super) tasks: usize,
    pub(super) table: Option<Arc<Table>>,
}

impl Shared {
    pub(super) fn new(shape: Shape, filter_slot: Option<KeyFilterSlot>) -> Self {
        Shared { shape, filter_slot, state: Mutex::default() }
    }

    /// The state. A panic elsewhere while it was locked has failed the query already.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Forgets everything, for another run.
    pub(super) fn reset(&self) {
        *self.state() = State::default();
        if let Some(slot) = &self.filter_slot {
            slot.clear();
        }
    }
}
