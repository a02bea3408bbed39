//! Writes rows into pages: from the columns of a chunk, or from other pages.
//!
//! A run of rows that goes into one page is written column by column, each in one loop over values
//! of one type.

use std::ops::Range;

use arrow::array::Array;
use arrow::buffer::Buffer;
use arrow::datatypes::i256;
use arrow::row::Rows;

use super::fixed::{ByteSlot, Fixed, INLINE_BYTES};
use super::layout::{ColumnLayout, Kind, RowLayout};
use super::pages::{Page, RowPages, RowRef};
use super::stored::{StoredVisitor, visit_stored};
use crate::batch::{Column, NULL_INDEX, Picked, Typed, content_bytes, pick};
use crate::error::{Error, Result};
use crate::memory::Reservation;

/// Bytes that nested values are turned into from which on they are charged.
const CODING_BYTES_MIN: usize = 4 << 20;

/// How often the bytes of a nested value are there while it is stored, beside where it is stored:
/// its elements are turned into bytes, which are longer, and then put together. Twice and a half to
/// three times and a half.
const CODING_TIMES: usize = 3;

/// Bytes that picked nested values are turned into, about.
fn coding_bytes(picked: &Picked<'_>) -> usize {
    let array = picked.array();
    let share = |bytes: usize| {
        let share = bytes as u128 * picked.len() as u128 / array.len().max(1) as u128;
        usize::try_from(share).unwrap_or(usize::MAX).saturating_mul(CODING_TIMES)
    };
    // Buffers may be of more values than these, but hardly of fewer.
    match share(array.get_buffer_memory_size()) {
        few @ 0..CODING_BYTES_MIN => few,
        _ => share(content_bytes(array)),
    }
}

impl RowPages {
    /// Stores the rows at these physical positions of `columns`, one for each column of the layout,
    /// in pages of one lane, and adds their references to `refs`. Stops when `memory` refuses
    /// another page, and says how many rows are stored: the caller makes room and goes on with the
    /// others.
    ///
    /// # Errors
    /// `Input` when a decimal does not fit its declared precision or a row is over 4 GB.
    pub fn append(
        &mut self,
        columns: &[&Column],
        rows: &[u32],
        memory: &mut Reservation,
        refs: &mut Vec<RowRef>,
    ) -> Result<usize> {
        let picked = pick(columns.iter().copied(), rows);
        self.append_picked(&picked, &[rows.len()], memory, refs)
    }

    /// [`RowPages::append`] for rows that have been picked: lane `l` gets those before `ends[l]`
    /// that no lane before it got.
    ///
    /// # Errors
    /// As [`RowPages::append`].
    pub fn append_picked(
        &mut self,
        picked: &[Picked<'_>],
        ends: &[usize],
        memory: &mut Reservation,
        refs: &mut Vec<RowRef>,
    ) -> Result<usize> {
        let layout = self.layout().clone();
        if picked.len() != layout.columns() || ends.len() != self.lanes() {
            let got = (picked.len(), ends.len());
            let own = (layout.columns(), self.lanes());
            return Err(Error::internal(format!("columns and lanes {got:?} for {own:?}")));
        }
        let Some(coding) = self.room_for_coding(picked, memory)? else { return Ok(0) };
        let done = self.append_coded(picked, ends, memory, refs);
        memory.shrink(coding);
        done
    }

    /// Takes room for the bytes that nested values are turned into before they are stored, where
    /// these are many; how much. `None` when it is refused to a row that is large by itself.
    fn room_for_coding(
        &self,
        picked: &[Picked<'_>],
        memory: &mut Reservation,
    ) -> Result<Option<usize>> {
        let columns = self.layout().columns.iter().zip(picked);
        let nested = columns.filter(|(column, _)| matches!(column.kind, Kind::Nested(_)));
        let bytes: usize = nested.map(|(_, picked)| coding_bytes(picked)).sum();
        if bytes < CODING_BYTES_MIN {
            return Ok(Some(0));
        }
        if memory.try_grow(bytes) {
            return Ok(Some(bytes));
        }
        let rows = picked.first().map_or(0, Picked::len);
        match (rows, self.strict) {
            (1, true) => memory.grow(bytes).map(|()| Some(bytes)),
            (1, false) => Ok(None),
            _ => Ok(Some(0)),
        }
    }

    /// [`RowPages::append_picked`] where there is room for what is made of nested values.
    fn append_coded(
        &mut self,
        picked: &[Picked<'_>],
        ends: &[usize],
        memory: &mut Reservation,
        refs: &mut Vec<RowRef>,
    ) -> Result<usize> {
        let layout = self.layout().clone();
        let mut sources = Vec::with_capacity(picked.len());
        for (column, picked) in layout.columns.iter().zip(picked) {
            sources.push(Source::new(column, picked)?);
        }
        let rows = ends.last().copied().unwrap_or(0);
        let heap = heap_bytes(&layout, &sources, rows);
        self.longest_heap = heap.iter().copied().fold(self.longest_heap, usize::max);
        let mut done = 0;
        for (lane, &end) in ends.iter().enumerate() {
            while done < end {
                let before = done;
                let run = (&sources[..], &heap[..], done..end);
                done = self.append_run(&layout, lane, run, memory, refs)?;
                if done == before {
                    return Ok(done);
                }
            }
        }
        Ok(done)
    }

    /// Stores as many of the rows as fit into one page of the lane; the first that is not stored.
    fn append_run(
        &mut self,
        layout: &RowLayout,
        lane: usize,
        (sources, heap, rows): (&[Source<'_>], &[usize], Range<usize>),
        memory: &mut Reservation,
        refs: &mut Vec<RowRef>,
    ) -> Result<usize> {
        let heap_of = |row: usize| heap.get(row).copied().unwrap_or(0);
        let Some(page) = self.page_for(lane, heap_of(rows.start), memory)? else {
            return Ok(rows.start);
        };
        let mut free = self.pages[page].free(layout.width());
        let mut end = rows.start;
        while end < rows.end && layout.width() + heap_of(end) <= free {
            free -= layout.width() + heap_of(end);
            end += 1;
        }
        let count = end - rows.start;
        let start = self.extend_page(page, count);
        for (number, source) in sources.iter().enumerate() {
            let mut run = Run {
                page: &mut self.pages[page],
                start,
                width: layout.width(),
                rows: rows.start..end,
                column: &layout.columns[number],
            };
            self.nulls[number] |= source.write(&mut run);
        }
        self.push_refs(page, start, count, refs);
        Ok(end)
    }

    /// Stores copies of rows of other pages with the same layout in a lane, slots included, and
    /// adds their references to `refs`. Stops when `memory` refuses another page, and says how
    /// many rows are stored.
    ///
    /// # Errors
    /// `Input` when a row is over 4 GB.
    pub fn append_rows(
        &mut self,
        from: &RowPages,
        rows: &[RowRef],
        lane: usize,
        memory: &mut Reservation,
        refs: &mut Vec<RowRef>,
    ) -> Result<usize> {
        let layout = self.layout().clone();
        let width = layout.width();
        self.nulls.iter_mut().zip(&from.nulls).for_each(|(own, other)| *own |= other);
        if !layout.has_heap() {
            return self.append_fixed_rows(from, rows, lane, memory, refs);
        }
        for (done, &row) in rows.iter().enumerate() {
            let page = &from.pages[row.page()].bytes;
            let fixed = from.row(row);
            let heap = layout.heap_slots(fixed).map(|(_, slot)| slot.len()).sum();
            self.longest_heap = self.longest_heap.max(heap);
            let Some(to) = self.page_for(lane, heap, memory)? else { return Ok(done) };
            let start = self.extend_page(to, 1);
            let target = &mut self.pages[to];
            target.bytes[start..start + width].copy_from_slice(fixed);
            for (offset, slot) in layout.heap_slots(fixed) {
                let end_distance = target.put_heap(slot.heap(page));
                slot.moved(end_distance).put(&mut target.bytes[start + offset..]);
            }
            self.push_refs(to, start, 1, refs);
        }
        Ok(rows.len())
    }

    /// Bytes of a row and of what it has in the heap.
    pub fn stored_bytes(&self, row: RowRef) -> usize {
        let heap = self.layout().heap_slots(self.row(row)).map(|(_, slot)| slot.len());
        self.layout().width() + heap.sum::<usize>()
    }

    /// [`RowPages::append_rows`] for rows without a heap: page by page.
    fn append_fixed_rows(
        &mut self,
        from: &RowPages,
        rows: &[RowRef],
        lane: usize,
        memory: &mut Reservation,
        refs: &mut Vec<RowRef>,
    ) -> Result<usize> {
        let width = self.layout().width();
        let mut done = 0;
        while done < rows.len() {
            let Some(to) = self.page_for(lane, 0, memory)? else { break };
            let room = self.pages[to].free(width) / width;
            let part = &rows[done..rows.len().min(done + room)];
            let start = self.extend_page(to, part.len());
            let target = &mut self.pages[to].bytes[start..][..part.len() * width];
            for (target, &row) in target.chunks_exact_mut(width).zip(part) {
                target.copy_from_slice(from.row(row));
            }
            self.push_refs(to, start, part.len(), refs);
            done += part.len();
        }
        Ok(done)
    }
}

impl RowLayout {
    /// The slots of a row whose values are in the heap, with their offsets.
    fn heap_slots<'a>(&'a self, row: &'a [u8]) -> impl Iterator<Item = (usize, ByteSlot)> + 'a {
        let columns = self.columns.iter().filter(|column| column.kind.has_heap());
        columns
            .map(|column| (column.offset, ByteSlot::take(&row[column.offset..])))
            .filter(|(_, slot)| !slot.is_inline())
    }
}

/// Where the values of one column come from.
pub(super) struct Source<'a> {
    pub(super) picked: &'a Picked<'a>,
    pub(super) values: Typed<'a>,
    /// The values of a nested column, by picked row.
    pub(super) nested: Option<Rows>,
}

/// Rows of one page to be written, and the column to write.
struct Run<'a> {
    page: &'a mut Page,
    /// Where the first row is in the page.
    start: usize,
    width: usize,
    /// The picked rows.
    rows: Range<usize>,
    column: &'a ColumnLayout,
}

impl<'a> Source<'a> {
    pub(super) fn new(column: &ColumnLayout, picked: &'a Picked<'a>) -> Result<Self> {
        let values = Typed::of(picked.array());
        let nested = match &column.kind {
            Kind::Nested(codec) => Some(codec.encode(picked)?),
            _ => None,
        };
        let fits = match (&column.kind, values) {
            (Kind::Narrow, Typed::I128(v)) => all(picked, |at| i64::try_from(v[at]).is_ok()),
            (Kind::Narrow, Typed::I256(v)) => all(picked, |at| narrow(v[at]).is_some()),
            (Kind::Wide, Typed::I256(v)) => all(picked, |at| v[at].to_i128().is_some()),
            _ => true,
        };
        match fits {
            true => Ok(Source { picked, values, nested }),
            false => Err(Error::overflow("a decimal", &column.physical)),
        }
    }

    /// Writes the run's column; whether some value was NULL.
    fn write(&self, run: &mut Run<'_>) -> bool {
        match (&run.column.kind, self.values) {
            (Kind::Bytes, Typed::Views(views, buffers)) => self.views(run, views, buffers),
            (Kind::Nested(_), _) => self.nested(run),
            (kind, values) => {
                let mut some_null = false;
                let write = WriteFixed { source: self, run, some_null: &mut some_null };
                match visit_stored(kind, values, write) {
                    true => some_null,
                    // A column of the NULL type, or (never, see `physical`) of a foreign one.
                    false => self.each(run, |_, _, _| ()),
                }
            }
        }
    }

    /// Calls `put` with the page, the offset of the column in it, and the row, for rows that are
    /// not NULL, and marks the others.
    fn each(&self, run: &mut Run<'_>, mut put: impl FnMut(&mut Page, usize, usize)) -> bool {
        let column = run.column;
        let mut some_null = false;
        for (i, row) in run.rows.clone().enumerate() {
            let start = run.start + i * run.width;
            if self.picked.is_null(row) || matches!(column.kind, Kind::Null) {
                run.page.bytes[start + column.null_byte] |= column.null_mask;
                some_null = true;
            } else {
                put(run.page, start + column.offset, row);
            }
        }
        some_null
    }

    fn fixed<T: Fixed>(&self, run: &mut Run<'_>, value: impl Fn(usize) -> T) -> bool {
        let at = &self.picked.at();
        if self.picked.has_nulls() {
            return self.each(run, |page, offset, row| {
                value(at[row] as usize).put(&mut page.bytes[offset..]);
            });
        }
        let offset = run.column.offset;
        let target = &mut run.page.bytes[run.start..];
        for (row, &at) in target.chunks_exact_mut(run.width).zip(&at[run.rows.clone()]) {
            value(at as usize).put(&mut row[offset..]);
        }
        false
    }

    fn views(&self, run: &mut Run<'_>, views: &[u128], buffers: &[Buffer]) -> bool {
        let at = self.picked.at();
        self.each(run, |page, offset, row| {
            let view = views[at[row] as usize];
            // An inline view is an inline slot.
            let slot = match view as u32 as usize {
                ..=INLINE_BYTES => ByteSlot(view),
                _ => {
                    let value = view_bytes(view, buffers);
                    ByteSlot::in_heap(value, page.put_heap(value))
                }
            };
            slot.put(&mut page.bytes[offset..]);
        })
    }

    fn nested(&self, run: &mut Run<'_>) -> bool {
        let Some(rows) = &self.nested else { return false };
        self.each(run, |page, offset, row| {
            let value = rows.row(row);
            let value: &[u8] = value.as_ref();
            let slot = match value.len() {
                ..=INLINE_BYTES => ByteSlot::inline(value),
                _ => ByteSlot::in_heap(value, page.put_heap(value)),
            };
            slot.put(&mut page.bytes[offset..]);
        })
    }

    /// Adds to each row's entry what its value needs of the heap.
    fn add_heap_bytes(&self, bytes: &mut [usize]) {
        let picked = self.picked;
        let mut add = |len: &dyn Fn(usize) -> usize| {
            for (row, bytes) in bytes.iter_mut().enumerate() {
                if !picked.is_null(row) {
                    let len = len(row);
                    *bytes += if len > INLINE_BYTES { len } else { 0 };
                }
            }
        };
        match (self.values, &self.nested) {
            (_, Some(rows)) => add(&|row| rows.row(row).as_ref().len()),
            (Typed::Views(views, _), _) => {
                let at = picked.at();
                for (bytes, &at) in bytes.iter_mut().zip(at) {
                    if at == NULL_INDEX || picked.is_null_at(at) {
                        continue;
                    }
                    let len = views[at as usize] as u32 as usize;
                    *bytes += if len > INLINE_BYTES { len } else { 0 };
                }
            }
            _ => (),
        }
    }
}

/// Writes a column of fixed width.
struct WriteFixed<'a, 'r> {
    source: &'a Source<'a>,
    run: &'a mut Run<'r>,
    some_null: &'a mut bool,
}

impl StoredVisitor for WriteFixed<'_, '_> {
    fn visit<T: Fixed>(self, value: impl Fn(usize) -> T) {
        *self.some_null = self.source.fixed(self.run, value);
    }
}

/// What each row needs of the heap; empty when the layout has none.
fn heap_bytes(layout: &RowLayout, sources: &[Source<'_>], rows: usize) -> Vec<usize> {
    if !layout.has_heap() {
        return Vec::new();
    }
    let mut bytes = vec![0; rows];
    let columns = layout.columns.iter().zip(sources);
    for (_, source) in columns.filter(|(column, _)| column.kind.has_heap()) {
        source.add_heap_bytes(&mut bytes);
    }
    bytes
}

/// The bytes of a view that is not inline.
pub(super) fn view_bytes(view: u128, buffers: &[Buffer]) -> &[u8] {
    let (buffer, offset) = ((view >> 64) as u32, (view >> 96) as u32);
    &buffers[buffer as usize][offset as usize..][..view as u32 as usize]
}

fn narrow(value: i256) -> Option<i64> {
    value.to_i128().and_then(|value| i64::try_from(value).ok())
}

/// Whether `holds` for the position of every picked row that is not NULL.
fn all(picked: &Picked<'_>, holds: impl Fn(usize) -> bool) -> bool {
    picked.at().iter().all(|&at| picked.is_null_at(at) || holds(at as usize))
}
