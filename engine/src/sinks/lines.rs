//! Sinks that write a file of text: workers turn their rows into text side by side, and the file
//! takes it in the order of the input.
//!
//! Memory: one formatted chunk per worker, and the window of [`super::OrderedOutput`].
//! Concurrency: only handing bytes to the system is one at a time.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;

use super::count::RowCount;
use super::ordered::OrderedOutput;
use crate::batch::{Chunk, Place, to_physical};
use crate::error::{Error, Result};
use crate::memory::Reservation;
use crate::pipeline::{Consumed, Context, Sink, SinkWorker};
use crate::scheduler::Token;

/// Turns rows into text.
pub(super) trait RowText: Clone + Send + Sync + 'static {
    /// Appends a text per row of these columns, which have `rows` rows and physical types.
    ///
    /// # Errors
    /// `Input` for values that have no text.
    fn rows(&self, columns: &[ArrayRef], rows: usize, out: &mut Vec<u8>) -> Result<()>;
}

/// The sink; see the module documentation.
pub(super) struct TextSink<T> {
    name: &'static str,
    text: T,
    schema: SchemaRef,
    output: Arc<OrderedOutput>,
    count: RowCount,
}

impl<T: RowText> TextSink<T> {
    /// A sink for rows of this schema.
    pub fn new(name: &'static str, text: T, schema: SchemaRef, output: OrderedOutput) -> Self {
        TextSink { name, text, schema, output: Arc::new(output), count: RowCount::default() }
    }

    /// The rows written.
    pub fn count(&self) -> &RowCount {
        &self.count
    }
}

struct TextSinkWorker<T> {
    text: T,
    schema: SchemaRef,
    output: Arc<OrderedOutput>,
    count: RowCount,
    /// Text that is not handed over yet, and the chunk it is of.
    block: Vec<u8>,
    waiting: Option<Place>,
    charge: Reservation,
}

impl<T: RowText> Sink for TextSink<T> {
    fn name(&self) -> &str {
        self.name
    }

    fn worker(&self, cx: &Context) -> Result<Box<dyn SinkWorker>> {
        Ok(Box::new(TextSinkWorker {
            text: self.text.clone(),
            schema: self.schema.clone(),
            output: self.output.clone(),
            count: self.count.clone(),
            block: Vec::new(),
            waiting: None,
            charge: cx.memory().reserve(self.name, 0)?,
        }))
    }

    fn prepare(&self, _: &Context) -> Result<usize> {
        self.output.commit()?;
        Ok(0)
    }

    fn finish(&self, _: usize, _: &Context) -> Result<()> {
        Err(Error::internal("a text file has no finish tasks"))
    }

    fn reset(&self) -> Result<()> {
        self.output.reset();
        self.count.reset();
        Ok(())
    }
}

impl<T: RowText> SinkWorker for TextSinkWorker<T> {
    fn consume(&mut self, input: Chunk, cx: &Context) -> Result<Consumed> {
        let place = input.place();
        let rows = input.live_rows();
        if self.waiting.take() != Some(place) {
            let batch = input.to_batch(&self.schema)?;
            let columns = batch.columns().iter().map(to_physical);
            let columns: Vec<_> = columns.collect::<Result<_>>()?;
            self.block.clear();
            self.text.rows(&columns, rows, &mut self.block)?;
            self.charge.resize_to(self.block.capacity())?;
        }
        match self.output.offer(place, &mut self.block, &mut self.charge, cx)? {
            Some(token) => {
                self.waiting = Some(place);
                Ok(Consumed::Blocked(token, input))
            }
            None => {
                self.count.add(rows);
                Ok(Consumed::NeedInput)
            }
        }
    }

    fn combine(&mut self, _: &Context) -> Result<Option<Token>> {
        Ok(None)
    }
}
