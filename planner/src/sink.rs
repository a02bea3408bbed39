//! Sinks of the program's own, which take the rows of a query as record batches.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use gristmill_engine::query::Running;
use gristmill_engine::{Error, Result};

/// Takes the rows of a query, in their order. A closure over batches is one as well.
///
/// The calls come from the thread that asked for the query, one at a time: `begin`, `write` for
/// every batch, and at the end either `finish` or `abort`. While a call is not back, the query
/// waits as soon as the batches that are ready fill their queue; it holds no thread then.
///
/// ```
/// use gristmill::arrow::array::RecordBatch;
/// use gristmill::{BatchSink, Config, Error, Result, Session};
///
/// /// Counts rows, and forgets them when something fails.
/// #[derive(Default)]
/// struct Rows(usize);
///
/// impl BatchSink for Rows {
///     fn write(&mut self, batch: RecordBatch) -> Result<()> {
///         self.0 += batch.num_rows();
///         Ok(())
///     }
///
///     fn abort(&mut self, _: &Error) {
///         self.0 = 0;
///     }
/// }
///
/// # fn main() -> Result<()> {
/// let session = Session::new(Config::default())?;
/// let mut rows = Rows::default();
/// session.write("select * from (values (1), (2)) t", &mut rows)?;
/// assert_eq!(rows.0, 2);
/// assert!(session.write("select 1 / n from (values (1), (0)) t(n)", &mut rows).is_err());
/// assert_eq!(rows.0, 0);
/// # Ok(())
/// # }
/// ```
pub trait BatchSink {
    /// The query runs; its batches will have this schema.
    ///
    /// # Errors
    /// Any error ends the query; `abort` is not called then.
    fn begin(&mut self, schema: &SchemaRef) -> Result<()> {
        let _ = schema;
        Ok(())
    }

    /// The next rows. Strings come as views; [`plain_batch`](crate::plain_batch) makes plain ones
    /// of them.
    ///
    /// # Errors
    /// Any error ends the query.
    fn write(&mut self, batch: RecordBatch) -> Result<()>;

    /// All rows were written, and the query has succeeded.
    ///
    /// # Errors
    /// Any error is that of the query.
    fn finish(&mut self) -> Result<()> {
        Ok(())
    }

    /// The query, or a call of this sink's, failed: what was written is not all.
    fn abort(&mut self, error: &Error) {
        let _ = error;
    }
}

impl<F: FnMut(RecordBatch) -> Result<()>> BatchSink for F {
    fn write(&mut self, batch: RecordBatch) -> Result<()> {
        self(batch)
    }
}

/// Writes all rows of a query, and says how many they were.
pub(crate) fn write_rows(running: Running, sink: &mut dyn BatchSink) -> Result<u64> {
    sink.begin(running.schema())?;
    let mut rows = 0;
    let mut written = running.into_iter().try_for_each(|batch| {
        let batch = batch?;
        rows += batch.num_rows() as u64;
        sink.write(batch)
    });
    if written.is_ok() {
        written = sink.finish();
    }
    match written {
        Ok(()) => Ok(rows),
        Err(error) => {
            sink.abort(&error);
            Err(error)
        }
    }
}
