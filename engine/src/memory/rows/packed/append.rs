//! Writes rows into packed pages from the columns of a chunk.
//!
//! Rows that go into one page are written a few hundred at a time, column by column: the bytes
//! stay in the nearest cache, and every loop is over values of one type.

use std::ops::Range;

use arrow::buffer::Buffer;

use super::super::append::{Source, view_bytes};
use super::super::fixed::{Fixed, INLINE_BYTES};
use super::super::layout::Kind;
use super::super::stored::{StoredVisitor, visit_stored};
use super::form::ColumnFacts;
use super::layout::Place;
use super::pages::{PackedPages, PackedRef};
use super::row::{head_bytes, mark_bytes, put_head, put_mark, put_string, string_bytes};
use crate::batch::{Picked, Typed};
use crate::error::{Error, Result};
use crate::memory::Reservation;

/// Rows written at once.
const GROUP_ROWS: usize = 512;

impl PackedPages {
    /// Stores some of the picked rows, each with `mark` beside it, and adds their references to
    /// `refs`. Stops when `memory` refuses another page, and says how many rows are stored: the
    /// caller makes room and goes on with the others. With `insist`, for a caller that has nothing
    /// left to shed, at least one row is stored.
    ///
    /// # Errors
    /// `Input` when a decimal does not fit its declared precision or a row is over 4 GB;
    /// `OutOfMemory` when it insists in vain.
    pub fn append(
        &mut self,
        picked: &[Picked<'_>],
        rows: Range<usize>,
        mark: u64,
        memory: &mut Reservation,
        refs: &mut Vec<PackedRef>,
        insist: bool,
    ) -> Result<usize> {
        let layout = self.layout().clone();
        if picked.len() != layout.columns() {
            let got = picked.len();
            return Err(Error::internal(format!("{got} columns for {} in rows", layout.columns())));
        }
        let sources = (0..picked.len()).map(|c| Source::new(layout.column(c), &picked[c]));
        let sources = sources.collect::<Result<Vec<_>>>()?;
        let (nulls_at, strings_at) = (layout.form().nulls_at, layout.form().strings_at);
        let mut lens = vec![layout.form().strings_at + mark_bytes(mark); rows.len()];
        for &column in &layout.variable {
            sources[column].add_string_bytes(rows.start, &mut lens);
        }
        if lens.iter().any(|&len| len > u32::MAX as usize) {
            return Err(Error::input("a row of over 4 GB cannot be sorted or spilled"));
        }
        let mut group = Group::default();
        let mut done = 0;
        while done < lens.len() {
            let first = head_bytes(lens[done]) + lens[done];
            if !self.make_room(first, memory, insist && done == 0)? {
                break;
            }
            let number = self.current;
            let page = &mut self.pages[number];
            group.place(page.used, page.bytes.len(), &lens[done..], number, refs);
            let count = group.starts.len();
            let (from, to) = (page.used, group.end);
            page.used = to;
            group.rows = rows.start + done..rows.start + done + count;
            for (&start, (&at, &len)) in
                group.starts.iter().zip(group.heads.iter().zip(&lens[done..]))
            {
                debug_assert!(at >= from);
                put_head(&mut page.bytes, at, len);
                page.bytes[start + nulls_at..start + strings_at].fill(0);
                put_mark(&mut page.bytes, start + len, mark);
            }
            for (column, source) in sources.iter().enumerate() {
                if !layout.column(column).kind.has_heap() {
                    let place = layout.place(column);
                    let kind = &layout.column(column).kind;
                    let facts = &mut self.facts[column];
                    source.write_packed(kind, place, &mut page.bytes, &group, facts);
                }
            }
            group.strings.clear();
            group.strings.extend(group.starts.iter().map(|start| start + strings_at));
            for &column in &layout.variable {
                let place = layout.place(column);
                self.facts[column].nulls |=
                    sources[column].write_strings(place, &mut page.bytes, &mut group);
            }
            done += count;
        }
        self.rows += done;
        Ok(done)
    }
}

/// Rows that are written together, by their places in the page.
#[derive(Default)]
struct Group {
    /// Picked rows.
    rows: Range<usize>,
    /// Where each row's length is.
    heads: Vec<usize>,
    /// Where each row begins behind its length.
    starts: Vec<usize>,
    /// Where each row's next string goes.
    strings: Vec<usize>,
    /// Where the last row ends.
    end: usize,
}

impl Group {
    /// Places as many rows as fit between `used` and `room`.
    fn place(
        &mut self,
        used: usize,
        room: usize,
        lens: &[usize],
        page: usize,
        refs: &mut Vec<PackedRef>,
    ) {
        self.heads.clear();
        self.starts.clear();
        let mut end = used;
        for &len in lens.iter().take(GROUP_ROWS) {
            let start = end + head_bytes(len);
            if start + len > room {
                break;
            }
            refs.push(PackedRef::new(page, end));
            self.heads.push(end);
            self.starts.push(start);
            end = start + len;
        }
        self.end = end;
    }
}

impl Source<'_> {
    /// Adds to each row's length what its string takes; `first` is the first row.
    fn add_string_bytes(&self, first: usize, lens: &mut [usize]) {
        let picked = self.picked;
        if let (Typed::Views(views, _), false) = (self.values, picked.has_nulls()) {
            for (len, &at) in lens.iter_mut().zip(&picked.at()[first..]) {
                *len += string_bytes(views[at as usize] as u32 as usize);
            }
            return;
        }
        for (row, len) in (first..).zip(lens) {
            let string = match (picked.is_null(row), self.values, &self.nested) {
                (true, ..) => 0,
                (_, _, Some(rows)) => rows.row(row).as_ref().len(),
                (_, Typed::Views(views, _), _) => views[picked.at()[row] as usize] as u32 as usize,
                _ => 0,
            };
            *len += string_bytes(string);
        }
    }

    /// Writes a column of fixed width, and adds what it has to `facts`.
    fn write_packed(
        &self,
        kind: &Kind,
        place: &Place,
        page: &mut [u8],
        group: &Group,
        facts: &mut ColumnFacts,
    ) {
        if !visit_stored(kind, self.values, WriteFixed { source: self, place, page, group, facts })
        {
            // A column of the NULL type.
            for &start in &group.starts {
                page[start + place.null_byte] |= place.null_mask;
            }
            facts.nulls = true;
        }
    }

    /// Writes a column of strings; whether some value was NULL.
    fn write_strings(&self, place: &Place, page: &mut [u8], group: &mut Group) -> bool {
        let picked = self.picked;
        let has_nulls = picked.has_nulls();
        let at = picked.at();
        let mut some_null = false;
        let rows = group.rows.clone().zip(&group.starts).zip(&mut group.strings);
        for ((row, &start), end) in rows {
            if has_nulls && picked.is_null(row) {
                page[start + place.null_byte] |= place.null_mask;
                some_null = true;
                *end = put_string(page, *end, &[]);
                continue;
            }
            *end = match (self.values, &self.nested) {
                (_, Some(rows)) => put_string(page, *end, rows.row(row).as_ref()),
                (Typed::Views(views, buffers), _) => {
                    put_view(page, *end, views[at[row] as usize], buffers)
                }
                _ => put_string(page, *end, &[]),
            };
        }
        some_null
    }
}

#[inline]
fn put_view(page: &mut [u8], at: usize, view: u128, buffers: &[Buffer]) -> usize {
    match view as u32 as usize {
        len @ ..=INLINE_BYTES => put_string(page, at, &view.to_le_bytes()[4..4 + len]),
        _ => put_string(page, at, view_bytes(view, buffers)),
    }
}

/// Writes a column of fixed width.
struct WriteFixed<'a> {
    source: &'a Source<'a>,
    place: &'a Place,
    page: &'a mut [u8],
    group: &'a Group,
    facts: &'a mut ColumnFacts,
}

impl StoredVisitor for WriteFixed<'_> {
    fn visit<T: Fixed>(self, value: impl Fn(usize) -> T) {
        let WriteFixed { source, place, page, group, facts } = self;
        let (picked, at) = (source.picked, source.picked.at());
        if !picked.has_nulls() {
            let (mut min, mut max) = (i64::MAX, i64::MIN);
            for (&start, &at) in group.starts.iter().zip(&at[group.rows.clone()]) {
                let value = value(at as usize);
                (min, max) = (min.min(value.integer()), max.max(value.integer()));
                value.put(&mut page[start + place.at..]);
            }
            facts.widen(min, max);
            return;
        }
        for (&start, row) in group.starts.iter().zip(group.rows.clone()) {
            if picked.is_null(row) {
                page[start + place.null_byte] |= place.null_mask;
                page[start + place.at..][..size_of::<T>()].fill(0);
                facts.nulls = true;
                facts.widen(0, 0);
            } else {
                let value = value(at[row] as usize);
                facts.widen(value.integer(), value.integer());
                value.put(&mut page[start + place.at..]);
            }
        }
    }
}
