//! Orders its input by some of its columns, ties by the order of the input.
//!
//! Phases: workers store rows in row pages, with normalised key words and the place of each row
//! (`consume`); their pages become one set (`prepare`); a task per worker sorts what that worker
//! stored (`finish`); a source merges the sorted parts and gathers rows chunk by chunk.
//!
//! Memory: pages, words and references, in one reservation a worker. What does not fit ends the
//! query with `OutOfMemory`.
//! Concurrency: workers and tasks own their parts; the pages are read-only once they are merged.
//! Invariant 1: no two rows compare equal, because no two have the same place.

use std::cmp::Ordering;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard};

use arrow::datatypes::{DataType, SchemaRef};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::batch::{CHUNK_ROWS, Chunk, Column, Place, pick};
use crate::error::{Error, Result};
use crate::expr::SortKey;
use crate::memory::Reservation;
use crate::memory::rows::{self, DEFAULT_PAGE_BYTES, RowAt, RowLayout, RowOrder, RowPages, RowRef};
use crate::pipeline::{Consumed, Context, Pull, Sink, SinkWorker, Source, SourceWorker};
use crate::plan::{Build, Field, Spec, Stream, to_fields};
use crate::scheduler::Token;

/// Words of the normalised key.
const KEY_WORDS_MAX: usize = 4;

/// `ORDER BY keys`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sort {
    /// The keys, the most significant first.
    pub keys: Vec<SortKey>,
}

impl Spec for Sort {
    fn name(&self) -> &'static str {
        "sort"
    }

    fn schema(&self, inputs: &[SchemaRef]) -> Result<SchemaRef> {
        let [input] = inputs else { return Err(Error::internal("sort has one input")) };
        match self.keys.iter().find(|key| key.column >= input.fields().len()) {
            Some(key) => Err(Error::internal(format!("no column {} to sort by", key.column))),
            None => Ok(input.clone()),
        }
    }

    fn explain(&self) -> Vec<Field> {
        let keys: Vec<String> = self.keys.iter().map(ToString::to_string).collect();
        vec![("by", keys.join(", "))]
    }

    fn to_json(&self) -> Result<Value> {
        to_fields(self)
    }

    fn build(&self, inputs: Vec<Stream>, build: &mut Build) -> Result<Stream> {
        let Ok([input]) = <[Stream; 1]>::try_from(inputs) else {
            return Err(Error::internal("sort has one input"));
        };
        let schema = input.schema.clone();
        let types: Vec<DataType> = schema.fields().iter().map(|f| f.data_type().clone()).collect();
        let layout = Arc::new(RowLayout::new(&types, &[])?);
        let order = self.keys.iter().map(|key| RowOrder {
            column: key.column,
            descending: key.descending,
            nulls_first: key.nulls_first,
            nullable: true,
        });
        let order: Vec<RowOrder> = order.collect();
        let key = rows::SortKey::new(&layout, &order, KEY_WORDS_MAX)?;
        let columns = self.keys.iter().map(|key| key.column).collect();
        let shape = Shape { layout, key, columns, schema: schema.clone() };
        let shared = Arc::new(Shared { shape: Arc::new(shape), state: Mutex::default() });
        let after = build.sink(input, Arc::new(SortSink { shared: shared.clone() }));
        Ok(Stream::new(schema, Arc::new(SortSource { shared }), after))
    }
}

/// What is fixed when the plan is built.
struct Shape {
    layout: Arc<RowLayout>,
    key: rows::SortKey,
    /// Columns of the key, in order.
    columns: Vec<usize>,
    schema: SchemaRef,
}

struct Shared {
    shape: Arc<Shape>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Parts as workers hand them over, and after `prepare` with references into `pages`.
    parts: Vec<Arc<Mutex<Part>>>,
    pages: Option<Arc<RowPages>>,
    is_read: bool,
}

/// The rows of one worker.
#[derive(Default)]
struct Part {
    pages: Option<RowPages>,
    rows: Vec<RowRef>,
    words: Vec<u64>,
    /// Morsel and number within it, to break ties by.
    places: Vec<u64>,
    /// Numbers of rows, in order once the part is sorted.
    sorted: Vec<u32>,
    memory: Option<Reservation>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }
}

fn lock(part: &Mutex<Part>) -> MutexGuard<'_, Part> {
    part.lock().unwrap_or_else(|e| e.into_inner())
}

impl Part {
    /// The order of row `i` of this part and row `j` of another.
    fn compare(&self, i: u32, other: &Part, j: u32, shape: &Shape, pages: &RowPages) -> Ordering {
        let (i, j, words) = (i as usize, j as usize, shape.key.words());
        let a = &self.words[i * words..(i + 1) * words];
        let b = &other.words[j * words..(j + 1) * words];
        a.cmp(b)
            .then_with(|| {
                let (a, b) = (RowAt::new(pages, self.rows[i]), RowAt::new(pages, other.rows[j]));
                shape.key.compare_rest(&shape.layout, a, b)
            })
            .then_with(|| self.places[i].cmp(&other.places[j]))
    }
}

struct SortSink {
    shared: Arc<Shared>,
}

impl Sink for SortSink {
    fn name(&self) -> &str {
        "sort"
    }

    fn worker(&self, cx: &Context) -> Result<Box<dyn SinkWorker>> {
        let memory = cx.memory().reserve("sort", 0)?;
        let pages = RowPages::new(self.shared.shape.layout.clone(), DEFAULT_PAGE_BYTES);
        let part = Part { pages: Some(pages), memory: Some(memory), ..Part::default() };
        Ok(Box::new(SortWorker { shared: self.shared.clone(), part, morsel: 0, ordinal: 0 }))
    }

    fn prepare(&self, _: &Context) -> Result<usize> {
        let mut state = self.shared.lock();
        let mut pages = RowPages::new(self.shared.shape.layout.clone(), DEFAULT_PAGE_BYTES);
        for part in &state.parts {
            let mut part = lock(part);
            let Some(own) = part.pages.take() else { continue };
            let before = pages.absorb(own);
            part.rows.iter_mut().for_each(|row| *row = row.behind(before));
        }
        state.pages = Some(Arc::new(pages));
        Ok(state.parts.len())
    }

    fn finish(&self, task: usize, _: &Context) -> Result<()> {
        let (part, pages) = {
            let state = self.shared.lock();
            (state.parts.get(task).cloned(), state.pages.clone())
        };
        let (Some(part), Some(pages)) = (part, pages) else {
            return Err(Error::internal("a sort task without its part"));
        };
        let mut part = lock(&part);
        let mut sorted: Vec<u32> = (0..part.rows.len() as u32).collect();
        let shape = &self.shared.shape;
        sorted.sort_unstable_by(|&i, &j| part.compare(i, &part, j, shape, &pages));
        part.sorted = sorted;
        Ok(())
    }

    fn reset(&self) -> Result<()> {
        *self.shared.lock() = State::default();
        Ok(())
    }
}

struct SortWorker {
    shared: Arc<Shared>,
    part: Part,
    morsel: u64,
    /// Rows of the morsel that have come so far.
    ordinal: u32,
}

impl SortWorker {
    fn store(&mut self, input: &Chunk, live: &[u32]) -> Result<()> {
        let Part { pages: Some(pages), memory: Some(memory), rows, words, places, .. } =
            &mut self.part
        else {
            return Err(Error::internal("a sort that is combined already"));
        };
        let shape = &self.shared.shape;
        memory.grow(live.len() * (shape.key.words() * 8 + 20))?;
        let columns: Vec<&Column> = input.columns().iter().collect();
        let mut stored = 0;
        while stored < live.len() {
            let more = pages.append(&columns, &live[stored..], memory, rows)?;
            stored += more;
            if more == 0 {
                // The pages were refused: say so with the governor's own account of who holds what.
                memory.grow(DEFAULT_PAGE_BYTES)?;
            }
        }
        let keys = shape.columns.iter().map(|&c| input.column(c));
        let keys = keys.collect::<Result<Vec<_>>>()?;
        shape.key.encode(&shape.layout, &pick(keys.into_iter(), live), words)?;
        for _ in live {
            places.push((self.morsel << 32) | u64::from(self.ordinal));
            self.ordinal = self.ordinal.saturating_add(1);
        }
        Ok(())
    }
}

impl SinkWorker for SortWorker {
    fn consume(&mut self, input: Chunk, _: &Context) -> Result<Consumed> {
        // Arms number their morsels far apart; what is left of the number keeps its order.
        let morsel = (input.place().morsel >> 40 << 24) | (input.place().morsel & 0xFF_FFFF);
        if mem::replace(&mut self.morsel, morsel) != morsel {
            self.ordinal = 0;
        }
        match input.selection() {
            Some(selection) => self.store(&input, selection.as_slice())?,
            None => {
                let all: Vec<u32> = (0..input.rows() as u32).collect();
                self.store(&input, &all)?;
            }
        }
        Ok(Consumed::NeedInput)
    }

    fn combine(&mut self, _: &Context) -> Result<Option<Token>> {
        let part = mem::take(&mut self.part);
        self.shared.lock().parts.push(Arc::new(Mutex::new(part)));
        Ok(None)
    }
}

/// The sorted rows, in one worker's hands.
struct SortSource {
    shared: Arc<Shared>,
}

struct MergeWorker {
    shape: Arc<Shape>,
    pages: Arc<RowPages>,
    parts: Vec<Part>,
    next: Vec<usize>,
    chunks: u64,
}

impl Source for SortSource {
    fn name(&self) -> &str {
        "sorted rows"
    }

    fn worker(&self, _: &Context) -> Result<Box<dyn SourceWorker>> {
        let mut state = self.shared.lock();
        let taken = mem::replace(&mut state.is_read, true);
        let parts = if taken { Vec::new() } else { mem::take(&mut state.parts) };
        let pages = state.pages.take().unwrap_or_else(|| {
            Arc::new(RowPages::new(self.shared.shape.layout.clone(), DEFAULT_PAGE_BYTES))
        });
        let parts: Vec<Part> = parts.iter().map(|part| mem::take(&mut *lock(part))).collect();
        let next = vec![0; parts.len()];
        let shape = self.shared.shape.clone();
        Ok(Box::new(MergeWorker { shape, pages, parts, next, chunks: 0 }))
    }

    fn parallelism(&self) -> usize {
        1
    }

    fn reset(&self) -> Result<()> {
        *self.shared.lock() = State::default();
        Ok(())
    }
}

impl MergeWorker {
    /// The part whose next row is the first of all.
    fn first_part(&self) -> Option<usize> {
        let next = |p: usize| self.parts[p].sorted.get(self.next[p]).copied();
        let mut best: Option<(usize, u32)> = None;
        for (p, part) in self.parts.iter().enumerate() {
            let Some(row) = next(p) else { continue };
            let is_first = best.is_none_or(|(q, other)| {
                part.compare(row, &self.parts[q], other, &self.shape, &self.pages).is_lt()
            });
            if is_first {
                best = Some((p, row));
            }
        }
        best.map(|(p, _)| p)
    }
}

impl SourceWorker for MergeWorker {
    fn pull(&mut self, _: &Context) -> Result<Pull> {
        let mut rows = Vec::with_capacity(CHUNK_ROWS);
        while rows.len() < CHUNK_ROWS
            && let Some(p) = self.first_part()
        {
            let part = &self.parts[p];
            rows.push(part.rows[part.sorted[self.next[p]] as usize]);
            self.next[p] += 1;
        }
        if rows.is_empty() {
            return Ok(Pull::Finished);
        }
        let columns = self.shape.schema.fields().iter().enumerate().map(|(number, field)| {
            let array = self.pages.gather(number, &rows)?;
            Ok(Column::flat(field.data_type().clone(), array))
        });
        let place = Place { morsel: self.chunks, sequence: 0 };
        self.chunks += 1;
        Ok(Pull::Chunk(Chunk::new(columns.collect::<Result<_>>()?, rows.len(), place)))
    }
}
