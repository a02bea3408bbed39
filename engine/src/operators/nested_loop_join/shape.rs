//! What build and probe side of one join agree on, and what they share while it runs.

use std::sync::{Arc, Mutex, MutexGuard};

use arrow::datatypes::{DataType, Schema};

use super::NestedLoopJoin;
use super::store::{BLOCK_BYTES, BLOCK_ROWS, BuildSide, Part};
use crate::batch::MAX_CHUNK_ROWS;
use crate::error::{Error, Result};
use crate::expr::Expr;
use crate::expr::bounds::{BOUNDS_MAX, Known};
use crate::memory::rows::RowLayout;
use crate::memory::{Governor, Reservation};
use crate::operators::JoinKind;

/// What the holder of a join's memory is called.
pub(super) const HOLDER: &str = "nested loop join";

/// What a worker needs to read groups back and to form pairs: a window, the pages of a group, its
/// columns, and two lists of numbers.
pub(super) const READ_BYTES: usize = WINDOW_BYTES + 2 * BLOCK_BYTES + PAIRS_BYTES;

/// The window through which tapes are read: a page fits.
pub(super) const WINDOW_BYTES: usize = 272 << 10;

/// The pairs of a chunk, and for each bound what is known of its rows, of those of a group, and
/// these in the making.
pub(super) const PAIRS_BYTES: usize =
    (256 << 10) + BOUNDS_MAX * (MAX_CHUNK_ROWS + 2 * BLOCK_ROWS) * size_of::<Known>();

/// A condition on pairs, over the probe columns and then the build columns that it reads.
#[derive(Debug, Clone)]
pub(super) struct Condition {
    pub(super) expr: Expr,
    /// Probe columns it reads.
    pub(super) probe: Vec<usize>,
    /// Stored columns it reads.
    pub(super) build: Vec<usize>,
}

/// The plan of one join.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) kind: JoinKind,
    pub(super) null_aware: bool,
    /// The columns of the build side's input that are stored, and their types.
    pub(super) stored: Vec<usize>,
    pub(super) types: Vec<DataType>,
    pub(super) layout: Arc<RowLayout>,
    pub(super) condition: Option<Condition>,
    pub(super) probe_output: Vec<usize>,
    pub(super) probe_types: Vec<DataType>,
    /// Stored columns.
    pub(super) build_output: Vec<usize>,
}

impl Shape {
    pub(super) fn new(spec: &NestedLoopJoin, probe: &Schema, build: &Schema) -> Result<Self> {
        let width = probe.fields().len();
        let mut stored: Vec<usize> = Vec::new();
        let mut place = |input: usize| match stored.iter().position(|&own| own == input) {
            Some(position) => position,
            None => {
                stored.push(input);
                stored.len() - 1
            }
        };
        let build_output: Vec<usize> = spec.build_output.iter().map(|&c| place(c)).collect();
        let condition = spec.condition.as_ref().map(|expr| {
            let read = expr.columns();
            let (on_probe, on_build): (Vec<usize>, Vec<usize>) =
                read.iter().partition(|&&c| c < width);
            let to = |c: usize| read.iter().position(|&own| own == c).unwrap_or(c);
            Condition {
                expr: expr.clone().map_columns(&to),
                build: on_build.iter().map(|&c| place(c - width)).collect(),
                probe: on_probe,
            }
        });
        let types: Vec<DataType> =
            stored.iter().map(|&c| build.field(c).data_type().clone()).collect();
        let probe_type = |&c: &usize| probe.field(c).data_type().clone();
        Ok(Shape {
            kind: spec.kind,
            null_aware: spec.null_aware,
            layout: Arc::new(RowLayout::new(&types, &[])?),
            stored,
            types,
            condition,
            probe_output: spec.probe_output.clone(),
            probe_types: spec.probe_output.iter().map(probe_type).collect(),
            build_output,
        })
    }
}

/// The state of one join.
pub(super) struct Shared {
    pub(super) shape: Shape,
    state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    /// What the reservations of all workers are children of, with [`READ_BYTES`] for each worker
    /// that will read.
    root: Option<Reservation>,
    /// What the workers that are done have stored.
    pub(super) parts: Vec<Part>,
    pub(super) side: Option<Arc<BuildSide>>,
}

impl Shared {
    pub(super) fn new(shape: Shape) -> Self {
        Shared { shape, state: Mutex::default() }
    }

    /// The state. A panic elsewhere while it was locked has failed the query already.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// The build side, when it is done.
    pub(super) fn side(&self) -> Result<Arc<BuildSide>> {
        let side = self.state().side.clone();
        side.ok_or_else(|| Error::internal("a join is probed before its build side is done"))
    }

    /// Forgets everything, for another run.
    pub(super) fn reset(&self) {
        *self.state() = State::default();
    }
}

impl State {
    /// A reservation for a worker of the build side. The first one sets aside what `readers` of
    /// the probe side need.
    ///
    /// # Errors
    /// `OutOfMemory` when the minimum cannot be had.
    pub(super) fn builder(
        &mut self,
        memory: &Governor,
        readers: usize,
        minimum: usize,
    ) -> Result<Reservation> {
        let root = match &mut self.root {
            Some(root) => root,
            none => {
                let mut root = memory.reserve(HOLDER, 0)?;
                root.grow(READ_BYTES * readers)?;
                none.insert(root)
            }
        };
        root.child(minimum)
    }

    /// A reservation for a worker that reads.
    ///
    /// # Errors
    /// `OutOfMemory` when there are more of them than was set aside for, and no memory.
    pub(super) fn reader(&mut self, memory: &Governor) -> Result<Reservation> {
        match &mut self.root {
            Some(root) => Ok(root.split(READ_BYTES)),
            None => memory.reserve(HOLDER, 0),
        }
    }
}
