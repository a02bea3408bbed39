//! The source: takes what there is to read from the feed, finds its records, and parses columns.
//!
//! Life of a range in its worker:
//!
//! ```text
//! taken ─ load, guess, publish ─► unsettled ─ confirmed, or read from its beginning ─► reading
//!   ▲                              │    ▲                                               │
//!   │                              └────┘ blocked until the ranges below have published │
//!   └─────────────────────────────── all records given ◄────────────────────────────────┘
//! ```
//!
//! Records of a compressed file are read from the moment they are taken.
//!
//! Memory: each worker holds the window of its range and the positions of one chunk's fields; what
//! it holds is charged as it grows.
//! Concurrency: workers share the feed and nothing else.

use std::sync::Arc;

use super::borders::{Range, Verdict};
use super::feed::{Feed, Next, Piece};
use super::field::{self, Nulls};
use super::format::Format;
use super::preamble::Preamble;
use super::records::Records;
use super::refuse::Refuse;
use super::rows::RecordRows;
use super::structure::Marks;
use super::window::Window;
use super::{CsvColumn, CsvScan, header};
use crate::batch::{CHUNK_ROWS, Chunk, KeyFilterSlot, MAX_CHUNK_ROWS, Place};
use crate::error::{Error, Result};
use crate::expr::Expr;
use crate::memory::{Governor, Reservation};
use crate::pipeline::{Context, Pull, Source, SourceWorker};
use crate::sources::block::{BlockPlan, BlockReader, Stage};
use crate::sources::text::locate::Locator;
use crate::sources::{FileRef, InputFile};

/// Bytes of a range, unless the files are small. It fits a core's share of the caches.
const RANGE_BYTES: u64 = 1 << 20;

/// Smallest range into which small files are cut.
const RANGE_BYTES_MIN: u64 = 64 << 10;

/// Bytes read behind a range, where its last record usually ends.
const AHEAD_BYTES: usize = 16 << 10;

/// Ranges per thread that small files are cut into.
const RANGES_PER_THREAD: u64 = 4;

/// How the files are cut; chosen by [`Cut::of`], smaller in tests.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cut {
    pub(super) range_bytes: u64,
    pub(super) ahead_bytes: usize,
}

impl Cut {
    pub(super) fn of(files: &[FileRef], threads: usize) -> Self {
        let total: u64 = files.iter().map(|file| file.size).sum();
        let share = total / (threads.max(1) as u64 * RANGES_PER_THREAD);
        Cut { range_bytes: share.clamp(RANGE_BYTES_MIN, RANGE_BYTES), ahead_bytes: AHEAD_BYTES }
    }
}

/// A scan that is ready to run.
pub(super) struct Scan {
    shared: Arc<Shared>,
}

/// What the workers share.
pub(super) struct Shared {
    feed: Feed,
    ahead_bytes: usize,
    /// What is done with each block of records.
    plan: BlockPlan,
    /// Position of each slot's column.
    pub(super) slots: Vec<usize>,
    /// What joins publish about their keys.
    key_filters: Vec<KeyFilterSlot>,
    pub(super) marks: Marks,
    pub(super) nulls: Nulls,
    /// In columns that are declared as texts.
    pub(super) declared_nulls: Nulls,
    pub(super) date_format: Option<Format>,
    pub(super) timestamp_format: Option<Format>,
    preamble: Preamble,
    /// Names that the first record of each file must give.
    header: Option<Vec<String>>,
    pub(super) columns: Vec<CsvColumn>,
    /// Fields of a record; one more than there are columns when a delimiter ends it.
    pub(super) width: usize,
    threads: usize,
    reservation: Reservation,
}

impl Scan {
    pub(super) fn new(
        spec: &CsvScan,
        key_filters: Vec<KeyFilterSlot>,
        memory: &Governor,
        threads: usize,
    ) -> Result<Scan> {
        Self::with_cut(spec, key_filters, memory, threads, Cut::of(&spec.files, threads))
    }

    /// `key_filters` are those of the spec, in its order.
    pub(super) fn with_cut(
        spec: &CsvScan,
        key_filters: Vec<KeyFilterSlot>,
        memory: &Governor,
        threads: usize,
        cut: Cut,
    ) -> Result<Scan> {
        let mut slots: Vec<usize> = spec.predicates.iter().flat_map(Expr::columns).collect();
        slots.extend(&spec.projection);
        slots.sort_unstable();
        slots.dedup();
        let slot = |column: usize| slots.binary_search(&column).unwrap_or(0);
        let conditions: Vec<Expr> =
            spec.predicates.iter().map(|p| p.clone().map_columns(&slot)).collect();
        let output: Vec<usize> = spec.projection.iter().map(|&column| slot(column)).collect();
        let keys = spec.key_filters.iter().zip(&key_filters).map(|(filter, found)| {
            let slots = filter.columns.iter().filter_map(|&column| output.get(column).copied());
            (found.clone(), slots.collect())
        });
        let plan = BlockPlan {
            slots: slots.len(),
            stages: Stage::divide(&conditions, keys.collect()),
            output,
        };
        let dialect = &spec.dialect;
        let shared = Shared {
            feed: Feed::open(&spec.files, cut)?,
            ahead_bytes: cut.ahead_bytes,
            plan,
            slots,
            key_filters,
            marks: dialect.marks()?,
            nulls: Nulls::new(&[&dialect.null_strings[..], &dialect.found_nulls].concat()),
            declared_nulls: Nulls::new(&dialect.null_strings),
            date_format: dialect.date_format()?,
            timestamp_format: dialect.timestamp_format()?,
            preamble: Preamble::new(dialect),
            header: dialect.header.then(|| spec.header_names()),
            columns: spec.columns.clone(),
            width: dialect.fields(spec.columns.len()),
            threads,
            reservation: memory.reserve("csv scan", 0)?,
        };
        Ok(Scan { shared: Arc::new(shared) })
    }
}

impl Source for Scan {
    fn name(&self) -> &str {
        "csv scan"
    }

    fn worker(&self, cx: &Context) -> Result<Box<dyn SourceWorker>> {
        Ok(Box::new(ScanWorker {
            blocks: BlockReader::new(&self.shared.plan, cx.memory()),
            held: self.shared.reservation.child(0)?,
            window: Window::new(self.shared.preamble.clone()),
            records: Records::default(),
            phase: Phase::Idle,
            shared: self.shared.clone(),
        }))
    }

    fn parallelism(&self) -> usize {
        let threads = self.shared.threads.max(1);
        self.shared.feed.parallelism().map_or(threads, |busy| busy.clamp(1, threads))
    }

    fn morsels(&self) -> Option<u64> {
        self.shared.feed.parallelism().map(|ranges| ranges as u64)
    }

    fn reset(&self) -> Result<()> {
        self.shared.feed.reset();
        Ok(())
    }
}

struct ScanWorker {
    shared: Arc<Shared>,
    blocks: BlockReader,
    window: Window,
    records: Records,
    phase: Phase,
    held: Reservation,
}

/// See the module documentation.
enum Phase {
    Idle,
    Unsettled(Piece),
    /// Records from a position of the window on are still to be given.
    Reading(Taken, usize),
}

/// What the window holds.
#[derive(Clone)]
struct Taken {
    morsel: u64,
    file: Arc<InputFile>,
}

impl SourceWorker for ScanWorker {
    fn pull(&mut self, cx: &Context) -> Result<Pull> {
        loop {
            cx.check()?;
            match &self.phase {
                Phase::Idle => return self.take(),
                Phase::Unsettled(piece) => {
                    let piece = piece.clone();
                    match self.shared.feed.verdict(&piece) {
                        Verdict::Wait(token) => return Ok(Pull::Blocked(token)),
                        Verdict::Confirmed => {}
                        Verdict::Begin(begin) => self.settle(&piece, begin)?,
                    }
                    self.begin(Taken { morsel: piece.morsel, file: piece.file })?;
                }
                Phase::Reading(taken, from) => {
                    let (taken, from) = (taken.clone(), *from);
                    if let Some(chunk) = self.read(&taken, from)? {
                        let place = Place { morsel: taken.morsel, sequence: 0 };
                        return Ok(Pull::Chunk(chunk.with_place(place)));
                    }
                }
            }
        }
    }
}

impl ScanWorker {
    /// Takes what is to be read next. Of a range, publishes a guess about its records.
    fn take(&mut self) -> Result<Pull> {
        let shared = self.shared.clone();
        let over = shared.key_filters.iter().any(|slot| slot.get().is_some_and(|f| f.is_empty()));
        let decoder = || shared.reservation.child(0);
        let next = match over {
            true => Next::Finished,
            false => shared.feed.next(&mut self.window, &shared.marks, &mut self.held, decoder)?,
        };
        match next {
            Next::Finished => {
                self.window.clear();
                self.records = Records::default();
                self.held.resize_to(0)?;
                Ok(Pull::Finished)
            }
            Next::Blocked(token) => Ok(Pull::Blocked(token)),
            Next::Records { morsel, file } => {
                self.hold()?;
                self.begin(Taken { morsel, file })?;
                Ok(Pull::Morsel(morsel))
            }
            Next::Range(piece) => {
                let Piece { range, file, .. } = &piece;
                self.charge(range)?;
                self.window.load(file, range, shared.ahead_bytes)?;
                let guess = self.window.guess(file, range, &shared.marks, &mut self.held)?;
                shared.feed.guess(&piece, guess);
                let morsel = piece.morsel;
                self.phase = Phase::Unsettled(piece);
                Ok(Pull::Morsel(morsel))
            }
        }
    }

    /// Charges the window of a range before it is loaded.
    fn charge(&mut self, range: &Range) -> Result<()> {
        let bytes = (range.to - range.from) as usize + self.shared.ahead_bytes;
        // Two bits of structure per byte.
        let needed = self.window.heap_bytes().max(bytes + bytes / 4) + self.records.heap_bytes();
        self.held.resize_to(needed.max(self.held.bytes()))
    }

    /// Charges what is held now.
    fn hold(&mut self) -> Result<()> {
        let held = self.window.heap_bytes() + self.records.heap_bytes();
        self.held.resize_to(held + self.blocks.held_bytes())
    }

    /// Reads the records from where the range is now known to begin.
    fn settle(&mut self, piece: &Piece, begin: u64) -> Result<()> {
        let Piece { range, file, .. } = piece;
        let marks = &self.shared.marks;
        let extent = self.window.read_from(file, range, marks, begin, Some(&mut self.held))?;
        let extent = extent.ok_or_else(|| Error::internal("a csv range without an end"))?;
        self.shared.feed.settle(piece, extent.end);
        Ok(())
    }

    /// The window holds records that are to be given.
    fn begin(&mut self, taken: Taken) -> Result<()> {
        let from = self.after_header(&taken)?;
        self.blocks.start(&self.shared.plan, |_| 1);
        self.phase = Phase::Reading(taken, from);
        Ok(())
    }

    /// The position behind the header, when the window begins with one.
    fn after_header(&mut self, taken: &Taken) -> Result<usize> {
        let shared = self.shared.clone();
        let (from, stop) = self.window.records;
        let Some(names) = shared.header.as_ref().filter(|_| self.window.begins_file) else {
            return Ok(from);
        };
        let next = self.fill(taken, from, stop, 1)?;
        if self.records.rows() == 0 {
            return Ok(next);
        }
        let raw = (0..names.len()).map(|column| {
            let (begin, end) = self.records.field(0, column);
            let raw = self.window.bytes().get(begin..end).unwrap_or_default();
            field::read(raw, column + 1 == shared.width, &shared.marks)
        });
        let found = header::names(raw);
        if let Some(position) = names.iter().zip(&found).position(|(a, b)| a != b) {
            let (begin, _) = self.records.field(0, position);
            return Err(Locator::new(&taken.file).error(
                self.window.offset(begin),
                format!(
                    "column {} is `{}` here, `{}` was expected from the first file; files that \
                     are read together have the same columns in the same order",
                    position + 1,
                    found[position],
                    names[position]
                ),
            ));
        }
        Ok(next)
    }

    /// Lists records, or reports the one that has a wrong number of fields.
    fn fill(&mut self, taken: &Taken, from: usize, stop: usize, rows_max: usize) -> Result<usize> {
        let Shared { width, marks, columns, .. } = &*self.shared;
        let (bytes, structure) = (self.window.bytes(), &self.window.structure);
        let filled = self.records.fill(bytes, structure, (from, stop), *width, rows_max, marks);
        let trails = *width > columns.len();
        let checked = filled.and_then(|next| match trails {
            true => self.records.check_trailing(bytes).map(|()| next),
            false => Ok(next),
        });
        checked.map_err(|ragged| self.refuse(taken).ragged(&ragged))
    }

    fn refuse<'a>(&'a self, taken: &'a Taken) -> Refuse<'a> {
        Refuse {
            shared: &self.shared,
            file: &taken.file,
            window: &self.window,
            records: &self.records,
        }
    }

    /// The next chunk, if one is ready.
    fn read(&mut self, taken: &Taken, from: usize) -> Result<Option<Chunk>> {
        if let Some(chunk) = self.blocks.take() {
            return Ok(Some(chunk));
        }
        let shared = self.shared.clone();
        let stop = self.window.records.1;
        if from >= stop {
            if !self.blocks.flush()? {
                taken.file.check()?;
                self.phase = Phase::Idle;
            }
            return Ok(None);
        }
        let counts = shared.slots.is_empty();
        let rows_max = if counts { MAX_CHUNK_ROWS } else { CHUNK_ROWS };
        let next = match counts && shared.width == shared.columns.len() {
            true => self.count(taken, from, stop, rows_max)?,
            false => self.fill(taken, from, stop, rows_max)?,
        };
        self.phase = Phase::Reading(taken.clone(), next);
        let rows = self.records.rows();
        self.hold()?;
        if rows > 0 {
            let mut columns = RecordRows {
                shared: &shared,
                rows,
                refuse: Refuse {
                    shared: &shared,
                    file: &taken.file,
                    window: &self.window,
                    records: &self.records,
                },
            };
            self.blocks.read(&shared.plan, &mut columns, rows)?;
        }
        Ok(self.blocks.take())
    }

    /// Counts records without listing their fields, where all have as many as they should.
    fn count(&mut self, taken: &Taken, from: usize, stop: usize, rows_max: usize) -> Result<usize> {
        let Shared { width, marks, .. } = &*self.shared;
        let structure = &self.window.structure;
        match self.records.count(structure, (from, stop), *width, rows_max, marks) {
            Some(next) => Ok(next),
            None => self.fill(taken, from, stop, rows_max),
        }
    }
}
