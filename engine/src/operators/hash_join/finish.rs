//! Chooses the directory for the rows that were stored, has its pieces filled, and puts them
//! together.
//!
//! Each piece is filled by a task of its own. A task that can skip most rows of the other pieces
//! by the ranges of the runs is cheap, so on inputs in key order there are several pieces for each
//! thread; otherwise one, because each costs another look at every row.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::dense::{Cut, DenseDirectory, DenseForm, DensePiece, Dimensions};
use super::fill::Fill;
use super::groups::{Groups, GroupsBuilder};
use super::hashed::{HashDirectory, HashPiece};
use super::lane_key::Bands;
use super::shape::{Shape, Shared};
use super::store::{Part, Run, Store, merged_ranges};
use super::table::{Directory, Table};
use crate::batch::KeyFilterBuilder;
use crate::error::{Error, Result};
use crate::memory::Reservation;
use crate::memory::rows::{DEFAULT_PAGE_BYTES, RowMarks, RowPages};
use crate::pipeline::Context;

/// Fewer build rows than this are one piece: starting a task costs more.
const PIECE_ROWS_MIN: usize = 16_384;

/// Pieces for each thread when a task can skip the rows of the other pieces.
const PIECES_PER_THREAD: usize = 4;

/// A directory under construction.
pub(super) struct Building {
    store: Arc<Store>,
    method: Method,
    filter: Option<KeyFilterBuilder>,
    pieces: Mutex<Vec<Option<Piece>>>,
    left: AtomicUsize,
    /// Whether there is another way when the directory has no room.
    may_fail: bool,
    failed: AtomicBool,
    /// What the filter is charged to, until it is published. Charges are dropped behind what they
    /// are for.
    filter_memory: Mutex<Option<Reservation>>,
    memory: Mutex<Option<Reservation>>,
    /// What the rows are moved with when there is no room.
    lane_memory: Mutex<Option<Reservation>>,
}

/// What has become of a directory after a task.
pub(super) enum Built {
    /// Other tasks are not done.
    Part,
    Table(Arc<Table>),
    /// There was no room for it: what is left are the rows.
    NoRoom,
}

/// How a table is made.
pub(super) struct Making {
    /// Whether there is another way when it has no room.
    pub(super) may_fail: bool,
    /// Whether all keys have ordinals.
    pub(super) ordinals: bool,
    /// How these are folded, of rows of one lane of bands: the ranges of the runs are, too.
    pub(super) bands: Option<Bands>,
    /// Whether a key filter is made as well.
    pub(super) filter: bool,
    pub(super) threads: usize,
}

/// What comes of beginning with a directory.
pub(super) enum Begun {
    Building(Arc<Building>),
    /// There is no room for what it takes beside the rows: the rows, and what is theirs together.
    NoRoom(Vec<Part>, Reservation),
}

enum Method {
    Dense { dimensions: Dimensions, form: DenseForm, cut: Cut },
    Hashed { piece_bits: u32 },
}

enum Piece {
    Dense(DensePiece, GroupsBuilder),
    Hashed(HashPiece, GroupsBuilder),
}

impl Building {
    /// Looks at all rows stored and chooses a directory for them.
    ///
    /// # Errors
    /// `OutOfMemory` when there are too many rows and there is no other way.
    pub(super) fn begin(
        shared: &Shared,
        mut memory: Reservation,
        mut parts: Vec<Part>,
        making: &Making,
    ) -> Result<Begun> {
        let shape = &shared.shape;
        let rows: usize = parts.iter().map(|part| part.pages.rows()).sum();
        let marks = if shape.kind.gives_build_rows() { RowMarks::size_bytes(rows) } else { 0 };
        match Store::extra_bytes_for(&parts) {
            Ok(extra) if memory.try_grow(extra + marks) => (),
            _ if making.may_fail => return Ok(Begun::NoRoom(parts, memory)),
            extra => memory.grow(extra? + marks)?,
        }
        let lane_memory = parts.iter_mut().find_map(|part| part.lane_memory.take());
        let pages = RowPages::new(shape.layout.clone(), DEFAULT_PAGE_BYTES);
        let store = Store::new(pages, parts, &mut memory)?;
        let ranges = match making.ordinals {
            true => merged_ranges(store.runs(), shape.build_keys.len()),
            false => vec![None; shape.build_keys.len()],
        };
        let filter = making.filter.then(|| filter_builder(&store, &ranges, shape, &mut memory));
        let (filter, filter_memory) = filter.unzip();
        let method = Method::choose(&store, &ranges, shape, making);
        let tasks = if store.rows() == 0 { 0 } else { method.pieces() };
        let building = Building {
            store: Arc::new(store),
            method,
            filter,
            filter_memory: Mutex::new(filter_memory),
            memory: Mutex::new(Some(memory)),
            lane_memory: Mutex::new(lane_memory.filter(|_| making.may_fail)),
            pieces: Mutex::new((0..tasks).map(|_| None).collect()),
            left: AtomicUsize::new(tasks),
            may_fail: making.may_fail,
            failed: AtomicBool::new(false),
        };
        Ok(Begun::Building(Arc::new(building)))
    }

    /// Number of tasks; none when there are no rows.
    pub(super) fn tasks(&self) -> usize {
        self.left.load(Ordering::Relaxed)
    }

    /// Fills piece number `task`. The task that ends last gives the table, or that there is no room
    /// for it.
    ///
    /// # Errors
    /// `OutOfMemory` where all rows must fit, or that the query was stopped.
    pub(super) fn run(&self, task: usize, shared: &Shared, cx: &Context) -> Result<Built> {
        if !self.failed.load(Ordering::Relaxed) {
            match self.fill(task, shared, cx) {
                Ok(piece) => {
                    if let Some(place) = lock(&self.pieces).get_mut(task) {
                        *place = Some(piece);
                    }
                }
                Err(Error::OutOfMemory { .. }) if self.may_fail => {
                    self.failed.store(true, Ordering::Relaxed);
                }
                Err(error) => return Err(error),
            }
        }
        if self.left.fetch_sub(1, Ordering::AcqRel) > 1 {
            return Ok(Built::Part);
        }
        if self.failed.load(Ordering::Relaxed) {
            lock(&self.pieces).clear();
            return Ok(Built::NoRoom);
        }
        self.publish(shared);
        self.table(&shared.shape).map(|table| Built::Table(Arc::new(table)))
    }

    /// The rows and what they are charged to, when there was no room for a directory.
    pub(super) fn rows(&self) -> (Arc<Store>, Option<Reservation>) {
        let mut memory = lock(&self.memory).take();
        if let Some(memory) = &mut memory {
            let rows = self.store.pages().bytes() + self.store.extra_bytes();
            memory.shrink(memory.bytes().saturating_sub(rows));
        }
        (self.store.clone(), memory)
    }

    /// What the rows are moved with when there was no room.
    pub(super) fn lane_memory(&self) -> Option<Reservation> {
        lock(&self.lane_memory).take()
    }

    fn fill(&self, task: usize, shared: &Shared, cx: &Context) -> Result<Piece> {
        let fill = Fill {
            store: &self.store,
            filter: self.filter.as_ref(),
            memory: &self.memory,
            shape: &shared.shape,
            cx,
            task,
            may_fail: self.may_fail,
        };
        Ok(match &self.method {
            Method::Dense { dimensions, form, cut } => {
                let (piece, groups) = fill.dense(dimensions, *form, *cut)?;
                Piece::Dense(piece, groups)
            }
            Method::Hashed { piece_bits } => {
                let (piece, groups) = fill.hashed(*piece_bits)?;
                Piece::Hashed(piece, groups)
            }
        })
    }

    /// Makes the key filter known, if there is one.
    pub(super) fn publish(&self, shared: &Shared) {
        if let (Some(slot), Some(filter)) = (&shared.filter_slot, &self.filter) {
            slot.publish(filter.finish(), lock(&self.filter_memory).take());
        }
    }

    fn table(&self, shape: &Shape) -> Result<Table> {
        let (mut dense, mut hashed, mut groups) = (Vec::new(), Vec::new(), Vec::new());
        for piece in std::mem::take(&mut *lock(&self.pieces)) {
            let group = match piece {
                Some(Piece::Dense(piece, group)) => (dense.push(piece), group).1,
                Some(Piece::Hashed(piece, group)) => (hashed.push(piece), group).1,
                None => return Err(Error::internal("a piece of a join's directory is missing")),
            };
            groups.push(group);
        }
        let groups = Groups::new(groups);
        let directory = match &self.method {
            Method::Dense { dimensions, form, cut } => {
                let dimensions = dimensions.clone();
                Directory::Dense(DenseDirectory::new(dimensions, *form, *cut, dense, groups))
            }
            Method::Hashed { .. } => Directory::Hashed(HashDirectory::new(hashed, groups)),
        };
        let Some(memory) = lock(&self.memory).take() else {
            return Err(Error::internal("a join's directory is made twice"));
        };
        drop(self.lane_memory());
        Table::new(directory, self.store.clone(), shape, memory)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

/// A filter as good as the memory there is allows, and what it is charged to.
fn filter_builder(
    store: &Store,
    ranges: &[Option<(i64, i64)>],
    shape: &Shape,
    memory: &mut Reservation,
) -> (KeyFilterBuilder, Reservation) {
    let rows = store.rows() as u64;
    let size = KeyFilterBuilder::size_bytes(rows, ranges);
    let ranges = ranges.to_vec();
    match memory.try_grow(size) {
        true => (KeyFilterBuilder::new(rows, ranges, shape.nulls_match), memory.split(size)),
        false => (KeyFilterBuilder::ranges_only(rows, ranges, shape.nulls_match), memory.split(0)),
    }
}

impl Method {
    fn choose(
        store: &Store,
        ranges: &[Option<(i64, i64)>],
        shape: &Shape,
        making: &Making,
    ) -> Self {
        let Making { ordinals, bands, threads, .. } = *making;
        let one_piece = store.rows() < PIECE_ROWS_MIN;
        // A key that is NULL in all rows takes no more room than its NULL.
        let ends: Vec<(i64, i64)> = ranges.iter().map(|r| r.unwrap_or((0, 0))).collect();
        let order = inner_first(store.runs(), &ends);
        let dimensions = ordinals.then(|| Dimensions::new(&ends, shape.nulls_match, &order, bands));
        let dimensions = dimensions.flatten();
        if let Some(dimensions) = dimensions
            && let Some(form) = dimensions.form(store.rows() as u64, shape.existence_only)
        {
            let most = if one_piece { 1 } else { threads * PIECES_PER_THREAD };
            let fine = Cut::new(dimensions.slots(), most);
            let looks: usize = store.runs().iter().map(|run| looks(&dimensions, run, fine)).sum();
            let cut = match looks > 2 * store.runs().len() && !one_piece {
                true => Cut::new(dimensions.slots(), threads),
                false => fine,
            };
            return Method::Dense { dimensions, form, cut };
        }
        let pieces = if one_piece { 1 } else { threads.next_power_of_two() };
        Method::Hashed { piece_bits: pieces.trailing_zeros() }
    }

    fn pieces(&self) -> usize {
        match self {
            Method::Dense { cut, .. } => cut.pieces(),
            Method::Hashed { piece_bits } => 1 << piece_bits,
        }
    }
}

/// The keys in the order in which they vary over the rows, the quickest first: then rows that are
/// near each other in the input are so in the directory, and a run is in few of its pieces.
fn inner_first(runs: &[Run], ends: &[(i64, i64)]) -> Vec<usize> {
    let width = |(min, max): (i64, i64)| max.wrapping_sub(min) as u64 as f64 + 1.0;
    let spread = |key: usize| {
        let widths = runs.iter().filter_map(|run| run.ranges.get(key).copied().flatten());
        widths.map(width).sum::<f64>() / width(ends[key])
    };
    let mut keys: Vec<(usize, f64)> = (0..ends.len()).map(|key| (key, spread(key))).collect();
    keys.sort_by(|a, b| b.1.total_cmp(&a.1));
    keys.into_iter().map(|(key, _)| key).collect()
}

/// Pieces that have to look at a run.
fn looks(dimensions: &Dimensions, run: &Run, cut: Cut) -> usize {
    let (low, high) = dimensions.span(&run.ranges);
    cut.piece_of(high) - cut.piece_of(low) + 1
}
