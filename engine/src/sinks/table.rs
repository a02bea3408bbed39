//! Keeps the rows of a query as a part of a table that is held in memory.
//!
//! Phases: workers hand their chunks to a store (`consume`, `combine`); when all are there the part
//! is sealed and given to whoever made the spec (`prepare`). Nobody sees a part of a query that
//! fails.
//!
//! Memory: the store's, see [`crate::memory::chunks`].
//! Concurrency: workers own what they collect, and what they know of its values.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use arrow::array::Array;
use arrow::datatypes::{DataType, SchemaRef};
use serde_json::{Value, json};

use super::count::{RowCount, count_schema, counted};
use crate::batch::{Chunk, Ordinals};
use crate::error::{Error, Result};
use crate::expr::Functions;
use crate::memory::Governor;
use crate::memory::chunks::{ChunkStore, ChunkWriter, ColumnFacts};
use crate::pipeline::{Consumed, Context, Sink, SinkWorker};
use crate::plan::{Build, Field, Intake, Spec, Stream, take_inputs};
use crate::scheduler::Token;

/// Where a query leaves the part it makes. Clones are the same place.
#[derive(Clone, Default)]
pub struct NewPart {
    made: Arc<Mutex<Option<Made>>>,
}

/// A part and what is known of its columns.
type Made = (Arc<ChunkStore>, Vec<ColumnFacts>);

impl NewPart {
    /// The part, once the query has come to its end.
    pub fn take(&self) -> Option<Made> {
        self.lock().take()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Made>> {
        self.made.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl fmt::Debug for NewPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NewPart")
    }
}

/// Fills a table that is held in memory.
#[derive(Debug, Clone)]
pub struct WriteTable {
    /// What the table is called.
    pub name: String,
    /// Names and types of its columns; one that is not nullable refuses NULL.
    pub schema: SchemaRef,
    /// Gets the rows.
    pub part: NewPart,
}

impl WriteTable {
    /// Refuses: a plan that was written as JSON has no table to fill.
    ///
    /// # Errors
    /// Always `Input`.
    pub fn from_json(fields: Value, _: &Functions) -> Result<Arc<dyn Spec>> {
        let name = fields.get("table").and_then(Value::as_str).unwrap_or("?");
        Err(Error::input(format!(
            "the plan fills the table `{name}`, which is held in memory; end it in a file instead"
        )))
    }

    fn types(&self) -> Vec<DataType> {
        self.schema.fields().iter().map(|field| field.data_type().clone()).collect()
    }
}

impl Spec for WriteTable {
    fn name(&self) -> &'static str {
        "write_table"
    }

    fn schema(&self, inputs: &[SchemaRef]) -> Result<SchemaRef> {
        let [input] = &take_inputs(inputs.to_vec(), "a table")?;
        let given: Vec<&DataType> = input.fields().iter().map(|field| field.data_type()).collect();
        if given != self.types().iter().collect::<Vec<_>>() {
            return Err(Error::internal(format!(
                "rows of other types for the table {}",
                self.name
            )));
        }
        Ok(count_schema())
    }

    fn explain(&self) -> Vec<Field> {
        vec![("table", self.name.clone())]
    }

    fn intake(&self) -> Intake {
        Intake::Collects
    }

    fn to_json(&self) -> Result<Value> {
        Ok(json!({ "table": self.name }))
    }

    fn build(&self, inputs: Vec<Stream>, build: &mut Build) -> Result<Stream> {
        let [input] = take_inputs(inputs, "a table")?;
        let state = Arc::new(State {
            who: format!("table {}", self.name),
            spec: self.clone(),
            count: RowCount::default(),
            made: Mutex::default(),
        });
        let count = state.count.clone();
        Ok(counted(input, TableSink { state }, count, build))
    }
}

/// What the workers share.
struct State {
    who: String,
    spec: WriteTable,
    count: RowCount,
    made: Mutex<Option<Made>>,
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Option<Made>> {
        self.made.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn store(&self, memory: &Governor) -> Result<Arc<ChunkStore>> {
        let mut made = self.lock();
        if let Some((store, _)) = &*made {
            return Ok(store.clone());
        }
        let store = ChunkStore::new(&self.who, self.spec.types(), memory)?;
        let facts = vec![ColumnFacts::default(); self.spec.schema.fields().len()];
        *made = Some((store.clone(), facts));
        Ok(store)
    }
}

struct TableSink {
    state: Arc<State>,
}

struct TableWorker {
    state: Arc<State>,
    store: Arc<ChunkStore>,
    /// `None` once it has been handed over.
    writer: Option<ChunkWriter>,
    facts: Vec<ColumnFacts>,
    scratch: Ordinals,
}

impl Sink for TableSink {
    fn name(&self) -> &str {
        "write table"
    }

    fn worker(&self, cx: &Context) -> Result<Box<dyn SinkWorker>> {
        let store = self.state.store(cx.memory())?;
        Ok(Box::new(TableWorker {
            state: self.state.clone(),
            writer: Some(store.writer()?),
            store,
            facts: vec![ColumnFacts::default(); self.state.spec.schema.fields().len()],
            scratch: Ordinals::default(),
        }))
    }

    fn prepare(&self, cx: &Context) -> Result<usize> {
        self.state.store(cx.memory())?.seal();
        let made = self.state.lock().take();
        *self.state.spec.part.lock() = made;
        Ok(0)
    }

    fn finish(&self, _: usize, _: &Context) -> Result<()> {
        Err(Error::internal("a table has no finish tasks"))
    }

    fn reset(&self) -> Result<()> {
        *self.state.lock() = None;
        self.state.count.reset();
        Ok(())
    }
}

impl SinkWorker for TableWorker {
    fn consume(&mut self, input: Chunk, _: &Context) -> Result<Consumed> {
        let Some(writer) = &mut self.writer else {
            return Err(Error::internal("a table gets rows after its end"));
        };
        let chunk = input.compact()?;
        let fields = self.state.spec.schema.fields().iter();
        for ((column, facts), field) in chunk.columns().iter().zip(&mut self.facts).zip(fields) {
            if !field.is_nullable() && column.values().logical_null_count() > 0 {
                return Err(Error::input(format!(
                    "NULL in the column {} of the table {}, which is NOT NULL",
                    field.name(),
                    self.state.spec.name
                )));
            }
            facts.add(column, &mut self.scratch)?;
        }
        self.state.count.add(chunk.rows());
        writer.push(chunk)?;
        Ok(Consumed::NeedInput)
    }

    fn combine(&mut self, _: &Context) -> Result<Option<Token>> {
        let Some(writer) = self.writer.take() else { return Ok(None) };
        self.store.add(writer)?;
        if let Some((_, facts)) = &mut *self.state.lock() {
            facts.iter_mut().zip(&self.facts).for_each(|(all, own)| *all = all.and(*own));
        }
        Ok(None)
    }
}
