//! The source: takes windows of records, finds the values of the wanted columns, and parses them.
//!
//! Memory: each worker holds a window and the positions of one chunk's values; what it holds is
//! charged as it grows.
//! Concurrency: workers share the cursor over the ranges, or the feed, and nothing else.

use std::sync::{Arc, Mutex, Weak};

use arrow::array::ArrayRef;

use super::column::{self, Cells, Unreadable};
use super::feed::Feed;
use super::members::Keys;
use super::records::{Ahead, Layout, Records};
use super::token::{Fault, What};
use super::{JsonColumn, JsonScan};
use crate::batch::{CHUNK_ROWS, Chunk, Column, MAX_CHUNK_ROWS, Place};
use crate::error::{Error, Result};
use crate::expr::{Conjunction, Expr};
use crate::memory::{Governor, Reservation};
use crate::pipeline::{Context, Pull, Source, SourceWorker};
use crate::sources::file::{FileRef, InputFile};
use crate::sources::text::locate::{Locator, shown};
use crate::sources::text::ranges::Ranges;
use crate::sources::text::values::Rows;
use crate::sources::text::window::Window;

/// A scan that is ready to run.
pub(super) struct Scan {
    shared: Arc<Shared>,
}

struct Shared {
    planned: FileRef,
    /// Open while a worker reads from it.
    opened: Mutex<Weak<InputFile>>,
    layout: Layout,
    input: Input,
    columns: Vec<JsonColumn>,
    /// Whether other keys than those of the columns are errors.
    is_closed: bool,
    /// Columns that are read, ascending: a slot each.
    slots: Vec<usize>,
    /// Slots that the filter reads, ascending.
    filter_slots: Vec<usize>,
    /// The filter, over positions in `filter_slots`.
    predicates: Vec<Expr>,
    /// Slots to give.
    projection: Vec<usize>,
    threads: usize,
    reservation: Reservation,
}

/// Where windows come from.
enum Input {
    /// Lines, cut anywhere.
    Ranges(Ranges),
    /// Records that must be looked for from the start.
    Feed(Feed),
}

impl Scan {
    pub(super) fn new(spec: &JsonScan, memory: &Governor, threads: usize) -> Result<Scan> {
        let reservation = memory.reserve("json scan", 0)?;
        let input = match spec.layout {
            Layout::Lines => Input::Ranges(Ranges::new(spec.file.size, threads)),
            layout => Input::Feed(Feed::new(layout, reservation.child(0)?)),
        };
        Ok(Self::with_input(spec, input, reservation, threads))
    }

    /// A scan in steps of so many bytes.
    #[cfg(test)]
    pub(super) fn with_step(spec: &JsonScan, step: usize, threads: usize) -> Result<Scan> {
        let reservation = Governor::unlimited().reserve("json scan", 0)?;
        let input = match spec.layout {
            Layout::Lines => Input::Ranges(Ranges::of(spec.file.size, step as u64)),
            layout => Input::Feed(Feed::with_steps(layout, reservation.child(0)?, step)),
        };
        Ok(Self::with_input(spec, input, reservation, threads))
    }

    fn with_input(spec: &JsonScan, input: Input, reservation: Reservation, threads: usize) -> Scan {
        let sorted = |mut columns: Vec<usize>| {
            columns.sort_unstable();
            columns.dedup();
            columns
        };
        let filter_columns = sorted(spec.predicates.iter().flat_map(Expr::columns).collect());
        let slots = sorted(filter_columns.iter().chain(&spec.projection).copied().collect());
        let slot = |&column: &usize| slots.binary_search(&column).unwrap_or(0);
        let place = |column: usize| filter_columns.binary_search(&column).unwrap_or(0);
        let shared = Shared {
            planned: spec.file.clone(),
            opened: Mutex::default(),
            layout: spec.layout,
            input,
            columns: spec.columns.clone(),
            is_closed: spec.is_closed(),
            filter_slots: filter_columns.iter().map(slot).collect(),
            predicates: spec.predicates.iter().map(|p| p.clone().map_columns(&place)).collect(),
            projection: spec.projection.iter().map(slot).collect(),
            slots,
            threads,
            reservation,
        };
        Scan { shared: Arc::new(shared) }
    }
}

impl Source for Scan {
    fn name(&self) -> &str {
        "json scan"
    }

    fn worker(&self, cx: &Context) -> Result<Box<dyn SourceWorker>> {
        let shared = &self.shared;
        let keys = shared.columns.iter().enumerate().map(|(number, column)| {
            (column.name.as_str(), shared.slots.binary_search(&number).ok())
        });
        Ok(Box::new(ScanWorker {
            filter: Conjunction::new(shared.predicates.clone(), cx.memory()),
            held: shared.reservation.child(0)?,
            keys: Keys::new(keys, shared.is_closed),
            records: Records::new(shared.slots.len()),
            window: Window::default(),
            reading: None,
            shared: shared.clone(),
        }))
    }

    fn parallelism(&self) -> usize {
        let ranges = match &self.shared.input {
            Input::Ranges(ranges) => ranges.count(),
            Input::Feed(_) => self.shared.planned.size >> 20,
        };
        usize::try_from(ranges).unwrap_or(usize::MAX).clamp(1, self.shared.threads.max(1))
    }

    fn morsels(&self) -> Option<u64> {
        match &self.shared.input {
            Input::Ranges(ranges) => Some(ranges.count()),
            Input::Feed(_) => None,
        }
    }

    fn reset(&self) -> Result<()> {
        match &self.shared.input {
            Input::Ranges(ranges) => ranges.reset(),
            Input::Feed(feed) => feed.reset()?,
        }
        Ok(())
    }
}

struct ScanWorker {
    shared: Arc<Shared>,
    filter: Conjunction,
    keys: Keys,
    records: Records,
    window: Window,
    reading: Option<Reading>,
    held: Reservation,
}

/// The window that is being read.
#[derive(Clone)]
struct Reading {
    number: u64,
    file: Arc<InputFile>,
    /// Where its next record is looked for.
    from: usize,
    /// Whether the file ends with it.
    is_last: bool,
}

impl SourceWorker for ScanWorker {
    fn pull(&mut self, cx: &Context) -> Result<Pull> {
        loop {
            cx.check()?;
            let Some(reading) = self.reading.clone() else {
                return match self.take()? {
                    Some(number) => Ok(Pull::Morsel(number)),
                    None => Ok(Pull::Finished),
                };
            };
            if reading.from >= self.window.lines.1 {
                self.end_window(&reading)?;
                continue;
            }
            if let Some(chunk) = self.read(&reading)? {
                return Ok(Pull::Chunk(chunk));
            }
        }
    }
}

impl ScanWorker {
    /// Goes on to the next window.
    fn take(&mut self) -> Result<Option<u64>> {
        let shared = self.shared.clone();
        let file = shared.open()?;
        let taken = match &shared.input {
            Input::Ranges(ranges) => match ranges.take() {
                Some(range) => {
                    self.window.load(&file, &range, &mut self.held)?;
                    Some((range.number, Ahead::Open, false))
                }
                None => None,
            },
            Input::Feed(feed) => {
                let piece = feed.take(&file, &mut self.window, &mut self.held)?;
                piece.map(|piece| {
                    let ahead = if piece.is_first { Ahead::Open } else { Ahead::Another };
                    (piece.number, ahead, piece.is_last)
                })
            }
        };
        let Some((number, ahead, is_last)) = taken else {
            self.window = Window::default();
            self.records = Records::default();
            self.held.resize_to(0)?;
            return Ok(None);
        };
        self.records.ahead = ahead;
        self.hold()?;
        self.reading = Some(Reading { number, file, from: self.window.lines.0, is_last });
        Ok(Some(number))
    }

    fn hold(&mut self) -> Result<()> {
        self.held.resize_to(self.window.heap_bytes() + self.records.heap_bytes())
    }

    /// Checks that the file is still the same, and that it may end where it does.
    fn end_window(&mut self, reading: &Reading) -> Result<()> {
        reading.file.check()?;
        self.reading = None;
        let is_open = self.shared.layout == Layout::Array && self.records.ahead != Ahead::Nothing;
        if reading.is_last && is_open {
            let what = match self.records.ahead {
                Ahead::Open => "an array of objects was expected",
                _ => "the array of records is never closed",
            };
            return Err(self.fault(reading, Fault::malformed(self.window.lines.1, what), None));
        }
        Ok(())
    }

    /// The next chunk, if any of its rows pass the filter.
    fn read(&mut self, reading: &Reading) -> Result<Option<Chunk>> {
        let shared = self.shared.clone();
        let rows_max = if shared.slots.is_empty() { MAX_CHUNK_ROWS } else { CHUNK_ROWS };
        let span = (reading.from, self.window.lines.1);
        let text = self.window.text();
        let filled = self.records.fill(text, span, shared.layout, &mut self.keys, rows_max);
        let next = filled.map_err(|fault| self.fault(reading, fault, None))?;
        self.reading = Some(Reading { from: next, ..reading.clone() });
        self.hold()?;
        let rows = self.records.rows();
        if rows == 0 {
            return Ok(None);
        }
        let place = Place { morsel: reading.number, sequence: 0 };
        let filtered = shared.filter_slots.iter().map(|&slot| {
            let array = self.parse(reading, slot, Rows::All(rows))?;
            Ok(Column::flat(shared.column(slot).shape.data_type(), array))
        });
        let mut filtered = Chunk::new(filtered.collect::<Result<_>>()?, rows, place);
        if let Some(live) = self.filter.select(&filtered)? {
            filtered = filtered.select(live);
        }
        if filtered.is_empty() {
            return Ok(None);
        }
        let wanted =
            filtered.selection().map_or(Rows::All(rows), |live| Rows::Some(live.as_slice()));
        let columns = shared.projection.iter().map(|&slot| {
            let array = match shared.filter_slots.binary_search(&slot) {
                Ok(position) => filtered.live_array(position)?,
                Err(_) => self.parse(reading, slot, wanted)?,
            };
            Ok(Column::flat(shared.column(slot).shape.data_type(), array))
        });
        let columns = columns.collect::<Result<_>>()?;
        Ok(Some(Chunk::new(columns, wanted.len(), place)))
    }

    fn parse(&self, reading: &Reading, slot: usize, rows: Rows<'_>) -> Result<ArrayRef> {
        let cells = Cells {
            text: self.window.text(),
            spans: self.records.spans(),
            width: self.records.width(),
            slot,
        };
        let column = self.shared.column(slot);
        let parsed = column::parse(cells, rows, &column.shape, self.shared.is_closed)?;
        parsed.map_err(|unreadable| {
            self.fault(reading, unreadable.fault, Some((column, &unreadable)))
        })
    }

    /// The error for a fault, in a column if it was found there.
    fn fault(
        &self,
        reading: &Reading,
        fault: Fault,
        inside: Option<(&JsonColumn, &Unreadable)>,
    ) -> Error {
        let text = self.window.text().get(fault.begin..fault.end).unwrap_or_default();
        let message = message(fault.what, &shown(text.as_bytes()), inside);
        Locator::new(&reading.file).error(self.window.offset(fault.begin), message)
    }
}

/// What a fault is in words.
fn message(what: What, text: &str, inside: Option<(&JsonColumn, &Unreadable)>) -> String {
    let place = match inside {
        Some((column, unreadable)) => format!("`{}{}`", column.name, unreadable.path),
        None => String::new(),
    };
    match (what, inside) {
        (What::Malformed(what), _) => format!("this is not JSON: {what}"),
        (What::NoObject, _) => format!("`{text}` is no object; every record is one"),
        (What::SecondKey, None) => format!("the key {text} stands twice in one object"),
        (What::SecondKey, Some(_)) => format!("the key {text} stands twice in {place}"),
        (What::UnknownKey, None) => format!(
            "the key {text} is not among the columns, which were found from a sample of the file; \
             declare the columns that you want, and other keys are passed over"
        ),
        (What::UnknownKey, Some(_)) => format!(
            "the key {text} in {place} is not among the keys found from a sample of the file; \
             declare the column's type, and other keys are passed over"
        ),
        (What::Unfit, _) => {
            let (expected, is_detected) = match inside {
                Some((column, unreadable)) => (unreadable.expected.to_string(), column.detected),
                None => ("value".to_string(), false),
            };
            let origin = if is_detected { "found from a sample of the file" } else { "declared" };
            format!(
                "`{text}` is no {expected}, the type of {place} ({origin}); declare a type that \
                 holds it, such as text"
            )
        }
    }
}

impl Shared {
    fn open(&self) -> Result<Arc<InputFile>> {
        let mut opened = self.opened.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(file) = opened.upgrade() {
            return Ok(file);
        }
        let file = Arc::new(InputFile::open(&self.planned)?);
        *opened = Arc::downgrade(&file);
        Ok(file)
    }

    /// The column of a slot; the plan was checked to have it.
    fn column(&self, slot: usize) -> &JsonColumn {
        &self.columns[self.slots[slot]]
    }
}
