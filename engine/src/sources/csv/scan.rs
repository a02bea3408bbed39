//! The source: takes ranges from the borders, finds their records, and parses columns.
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
//! Memory: each worker holds the window of its range and the positions of one chunk's fields; what
//! it holds is charged as it grows.
//! Concurrency: workers share the borders and nothing else.

use std::sync::{Arc, Mutex, Weak};

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use super::borders::{Borders, Range, Verdict};
use super::column::{self, Cells, Rows, Unreadable, Why};
use super::field::{self, Field, Nulls};
use super::records::{Ragged, Records};
use super::structure::Marks;
use super::window::Window;
use super::{CsvColumn, CsvScan, header};
use crate::batch::{CHUNK_ROWS, Chunk, Column, MAX_CHUNK_ROWS, Place};
use crate::error::{Error, Result};
use crate::expr::{Conjunction, Expr};
use crate::memory::{Governor, Reservation};
use crate::pipeline::{Context, Pull, Source, SourceWorker};
use crate::sources::text::locate::{Locator, shown};
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
    fn of(files: &[FileRef], threads: usize) -> Self {
        let total: u64 = files.iter().map(|file| file.size).sum();
        let share = total / (threads.max(1) as u64 * RANGES_PER_THREAD);
        Cut { range_bytes: share.clamp(RANGE_BYTES_MIN, RANGE_BYTES), ahead_bytes: AHEAD_BYTES }
    }
}

/// A scan that is ready to run.
pub(super) struct Scan {
    shared: Arc<Shared>,
}

struct Shared {
    files: Vec<ScanFile>,
    borders: Borders,
    ahead_bytes: usize,
    marks: Marks,
    nulls: Nulls,
    /// Names that the first record of each file must give.
    header: Option<Vec<String>>,
    columns: Vec<CsvColumn>,
    /// Columns that the filter reads, ascending.
    filter_columns: Vec<usize>,
    /// The filter, over positions in `filter_columns`.
    predicates: Vec<Expr>,
    /// Columns to give.
    projection: Vec<usize>,
    threads: usize,
    reservation: Reservation,
}

struct ScanFile {
    planned: FileRef,
    /// Open while a worker reads from it.
    opened: Mutex<Weak<InputFile>>,
}

impl ScanFile {
    fn open(&self) -> Result<Arc<InputFile>> {
        let mut opened = self.opened.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(file) = opened.upgrade() {
            return Ok(file);
        }
        let file = Arc::new(InputFile::open(&self.planned)?);
        *opened = Arc::downgrade(&file);
        Ok(file)
    }
}

impl Scan {
    pub(super) fn new(spec: &CsvScan, memory: &Governor, threads: usize) -> Result<Scan> {
        Self::with_cut(spec, memory, threads, Cut::of(&spec.files, threads))
    }

    pub(super) fn with_cut(
        spec: &CsvScan,
        memory: &Governor,
        threads: usize,
        cut: Cut,
    ) -> Result<Scan> {
        let sizes: Vec<u64> = spec.files.iter().map(|file| file.size).collect();
        let mut filter_columns: Vec<usize> =
            spec.predicates.iter().flat_map(Expr::columns).collect();
        filter_columns.sort_unstable();
        filter_columns.dedup();
        let slot = |column: usize| filter_columns.binary_search(&column).unwrap_or(0);
        let predicates = spec.predicates.iter().map(|p| p.clone().map_columns(&slot)).collect();
        let open =
            |planned: &FileRef| ScanFile { planned: planned.clone(), opened: Mutex::default() };
        let shared = Shared {
            files: spec.files.iter().map(open).collect(),
            borders: Borders::new(&sizes, cut.range_bytes),
            ahead_bytes: cut.ahead_bytes,
            marks: spec.options.marks()?,
            nulls: Nulls::new(&spec.options.null_strings),
            header: spec.options.header.then(|| spec.header_names()),
            columns: spec.columns.clone(),
            filter_columns,
            predicates,
            projection: spec.projection.clone(),
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

    fn worker(&self, _: &Context) -> Result<Box<dyn SourceWorker>> {
        let window = Window::new(self.shared.header.is_some());
        Ok(Box::new(ScanWorker {
            filter: Conjunction::new(self.shared.predicates.clone()),
            held: self.shared.reservation.child(0)?,
            shared: self.shared.clone(),
            window,
            records: Records::default(),
            phase: Phase::Idle,
        }))
    }

    fn parallelism(&self) -> usize {
        let ranges = usize::try_from(self.shared.borders.count()).unwrap_or(usize::MAX);
        ranges.clamp(1, self.shared.threads.max(1))
    }

    fn reset(&self) -> Result<()> {
        self.shared.borders.reset();
        Ok(())
    }
}

struct ScanWorker {
    shared: Arc<Shared>,
    filter: Conjunction,
    window: Window,
    records: Records,
    phase: Phase,
    held: Reservation,
}

/// See the module documentation.
enum Phase {
    Idle,
    Unsettled(Taken),
    /// Records from this position of the window on are still to be given.
    Reading(Taken, usize),
}

#[derive(Clone)]
struct Taken {
    range: Range,
    file: Arc<InputFile>,
}

impl SourceWorker for ScanWorker {
    fn pull(&mut self, cx: &Context) -> Result<Pull> {
        loop {
            cx.check()?;
            match &self.phase {
                Phase::Idle => {
                    return Ok(match self.take()? {
                        Some(number) => Pull::Morsel(number),
                        None => Pull::Finished,
                    });
                }
                Phase::Unsettled(taken) => {
                    let taken = taken.clone();
                    match self.shared.borders.verdict(&taken.range) {
                        Verdict::Wait(token) => return Ok(Pull::Blocked(token)),
                        Verdict::Confirmed => {}
                        Verdict::Begin(begin) => self.settle(&taken, begin)?,
                    }
                    let first = self.window.records.0;
                    let from = self.after_header(&taken, first)?;
                    self.phase = Phase::Reading(taken, from);
                }
                Phase::Reading(taken, from) => {
                    let (taken, from) = (taken.clone(), *from);
                    if from >= self.window.records.1 {
                        taken.file.check()?;
                        self.phase = Phase::Idle;
                        continue;
                    }
                    let (chunk, next) = self.read(&taken, from)?;
                    self.phase = Phase::Reading(taken, next);
                    if let Some(chunk) = chunk {
                        return Ok(Pull::Chunk(chunk));
                    }
                }
            }
        }
    }
}

impl ScanWorker {
    /// Takes the next range and publishes a guess about its records.
    fn take(&mut self) -> Result<Option<u64>> {
        let shared = self.shared.clone();
        let Some(range) = shared.borders.take() else {
            self.window = Window::default();
            self.records = Records::default();
            self.held.resize_to(0)?;
            return Ok(None);
        };
        let file = shared.files[range.file].open()?;
        let bytes = (range.to - range.from) as usize + shared.ahead_bytes;
        // Two bits of structure per byte.
        let needed = self.window.heap_bytes().max(bytes + bytes / 4) + self.records.heap_bytes();
        self.held.resize_to(needed.max(self.held.bytes()))?;
        self.window.load(&file, &range, shared.ahead_bytes)?;
        let guess = self.window.guess(&file, &range, &shared.marks, &mut self.held)?;
        shared.borders.guess(&range, guess);
        self.phase = Phase::Unsettled(Taken { range, file });
        Ok(Some(range.number))
    }

    /// Reads the records from where the range is now known to begin.
    fn settle(&mut self, taken: &Taken, begin: u64) -> Result<()> {
        let Taken { range, file } = taken;
        let marks = &self.shared.marks;
        let extent = self.window.read_from(file, range, marks, begin, Some(&mut self.held))?;
        let extent = extent.ok_or_else(|| Error::internal("a csv range without an end"))?;
        self.shared.borders.settle(range, extent.end);
        Ok(())
    }

    /// The position behind the header, when the range begins with one.
    fn after_header(&mut self, taken: &Taken, from: usize) -> Result<usize> {
        let shared = self.shared.clone();
        let Some(names) = shared.header.as_ref().filter(|_| taken.range.from == 0) else {
            return Ok(from);
        };
        let stop = self.window.records.1;
        if from >= stop {
            return Ok(from);
        }
        let next = self.fill(taken, (from, stop), 1)?;
        let raw = (0..names.len()).map(|column| {
            let (begin, end) = self.records.field(0, column);
            let raw = self.window.bytes().get(begin..end).unwrap_or_default();
            field::read(raw, column + 1 == names.len(), &shared.marks)
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
    fn fill(&mut self, taken: &Taken, span: (usize, usize), rows_max: usize) -> Result<usize> {
        let width = self.shared.columns.len();
        let Window { structure, .. } = &self.window;
        let filled = self.records.fill(self.window.bytes(), structure, span, width, rows_max);
        filled.map_err(|ragged| self.ragged(taken, &ragged))
    }

    /// The next chunk, if any of its rows pass the filter, and the position behind its records.
    fn read(&mut self, taken: &Taken, from: usize) -> Result<(Option<Chunk>, usize)> {
        let shared = self.shared.clone();
        let no_columns = shared.filter_columns.is_empty() && shared.projection.is_empty();
        let rows_max = if no_columns { MAX_CHUNK_ROWS } else { CHUNK_ROWS };
        let next = self.fill(taken, (from, self.window.records.1), rows_max)?;
        let rows = self.records.rows();
        self.held.resize_to(self.window.heap_bytes() + self.records.heap_bytes())?;
        if rows == 0 {
            return Ok((None, next));
        }
        let place = Place { morsel: taken.range.number, sequence: 0 };
        let filtered = shared.filter_columns.iter().map(|&column| {
            let array = self.parse(taken, column, Rows::All(rows))?;
            Ok(Column::flat(shared.columns[column].data_type.clone(), array))
        });
        let mut filtered = Chunk::new(filtered.collect::<Result<_>>()?, rows, place);
        if let Some(live) = self.filter.select(&filtered)? {
            filtered = filtered.select(live);
        }
        if filtered.is_empty() {
            return Ok((None, next));
        }
        let wanted =
            filtered.selection().map_or(Rows::All(rows), |live| Rows::Some(live.as_slice()));
        let columns = shared.projection.iter().map(|&column| {
            let array = match shared.filter_columns.binary_search(&column) {
                Ok(slot) => filtered.live_array(slot)?,
                Err(_) => self.parse(taken, column, wanted)?,
            };
            Ok(Column::flat(shared.columns[column].data_type.clone(), array))
        });
        let columns = columns.collect::<Result<_>>()?;
        Ok((Some(Chunk::new(columns, wanted.len(), place)), next))
    }

    fn parse(&self, taken: &Taken, column: usize, rows: Rows<'_>) -> Result<ArrayRef> {
        let shared = &self.shared;
        let cells = Cells {
            bytes: self.window.bytes(),
            records: &self.records,
            marks: &shared.marks,
            nulls: &shared.nulls,
            column,
            is_last: column + 1 == shared.columns.len(),
        };
        let parsed = column::parse(cells, rows, &shared.columns[column].data_type)?;
        parsed.map_err(|field| self.unreadable(taken, column, &field))
    }

    fn ragged(&self, taken: &Taken, ragged: &Ragged) -> Error {
        let width = self.shared.columns.len();
        Locator::new(&taken.file).error(
            self.window.offset(ragged.at),
            format!(
                "this record has {} fields, but there are {width} columns; put quotes around \
                 fields that hold {:?} or a line end",
                ragged.fields,
                char::from(self.shared.marks.delimiter)
            ),
        )
    }

    fn unreadable(&self, taken: &Taken, position: usize, field: &Unreadable) -> Error {
        let shared = &self.shared;
        let (begin, end) = self.records.field(field.row, position);
        let raw = self.window.bytes().get(begin..end).unwrap_or_default();
        let column = &shared.columns[position];
        let text = match field::read(raw, position + 1 == shared.columns.len(), &shared.marks) {
            Field::Bare(text) => shown(text),
            Field::Quoted(text) => shown(&text),
            Field::Malformed => shown(raw),
        };
        let message = match field.why {
            Why::Type => {
                let data_type = type_name(&column.data_type);
                let origin =
                    if column.detected { "found from a sample of the file" } else { "declared" };
                format!(
                    "`{text}` is no {data_type}, the type of column `{}` ({origin}); declare a \
                     type that holds it, such as text, or name `{text}` as a null string",
                    column.name
                )
            }
            Why::Quotes => format!(
                "`{text}` in column `{}` has text behind its closing quote; double the quotes \
                 that are part of the text",
                column.name
            ),
            Why::Encoding => format!(
                "`{text}` in column `{}` is not UTF-8; convert the file to UTF-8",
                column.name
            ),
        };
        Locator::new(&taken.file).error(self.window.offset(begin), message)
    }
}

/// A type as people call it.
fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".to_string(),
        other => other.to_string(),
    }
}
