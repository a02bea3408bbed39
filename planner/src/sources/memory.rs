//! Record batches that are there already, as a source.

use std::ops::Range;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use gristmill_engine::batch::{MAX_CHUNK_ROWS, MORSEL_ROWS};
use gristmill_engine::sources::{BatchSource, Batches};
use gristmill_engine::{Error, Result};

/// A table of record batches; reading copies nothing.
pub(crate) struct MemoryTable {
    schema: SchemaRef,
    rows: u64,
    /// The rows, in pieces of a size that workers like.
    pieces: Vec<RecordBatch>,
    /// Pieces that are read by one worker.
    partitions: Vec<Range<usize>>,
}

impl MemoryTable {
    /// # Errors
    /// `Input` when a batch has other columns than the schema.
    pub(crate) fn new(schema: SchemaRef, batches: &[RecordBatch]) -> Result<Self> {
        let types = |schema: &SchemaRef| -> Vec<DataType> {
            schema.fields().iter().map(|field| field.data_type().clone()).collect()
        };
        if let Some(batch) = batches.iter().find(|batch| types(&batch.schema()) != types(&schema)) {
            let found = batch.schema();
            return Err(Error::input(format!("a batch of {found} in a table of {schema}")));
        }
        let (mut pieces, mut partitions) = (Vec::new(), Vec::new());
        let (mut first, mut rows) = (0, 0);
        for batch in batches {
            for from in (0..batch.num_rows()).step_by(MAX_CHUNK_ROWS) {
                let count = MAX_CHUNK_ROWS.min(batch.num_rows() - from);
                pieces.push(batch.slice(from, count));
                rows += count;
                if rows >= MORSEL_ROWS {
                    partitions.push(first..pieces.len());
                    (first, rows) = (pieces.len(), 0);
                }
            }
        }
        if first < pieces.len() {
            partitions.push(first..pieces.len());
        }
        let rows = batches.iter().map(|batch| batch.num_rows() as u64).sum();
        Ok(MemoryTable { schema, rows, pieces, partitions })
    }
}

impl BatchSource for MemoryTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn partitions(&self) -> usize {
        self.partitions.len()
    }

    fn rows(&self) -> Option<u64> {
        Some(self.rows)
    }

    fn read(&self, partition: usize, columns: &[usize]) -> Result<Batches> {
        let pieces = self.partitions.get(partition).cloned().unwrap_or_default();
        let pieces = self.pieces[pieces].to_vec();
        let columns = columns.to_vec();
        Ok(Box::new(pieces.into_iter().map(move |piece| Ok(piece.project(&columns)?))))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::Int64Array;
    use arrow::datatypes::{Field, Schema};

    use super::*;

    #[test]
    fn pieces_are_all_rows_in_order() {
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
        let batch = |from: i64, to: i64| {
            let column = Arc::new((from..to).map(Some).collect::<Int64Array>());
            RecordBatch::try_new(schema.clone(), vec![column]).expect("fits")
        };
        let batches = [batch(0, 1), batch(1, 1), batch(1, 300_000), batch(300_000, 300_007)];
        let table = MemoryTable::new(schema, &batches).expect("fits");
        assert_eq!((table.rows(), table.partitions()), (Some(300_007), 3));
        let mut next = 0;
        for partition in 0..3 {
            for batch in table.read(partition, &[0]).expect("reads") {
                let batch = batch.expect("reads");
                let numbers = batch.column(0).as_any().downcast_ref::<Int64Array>();
                for &n in numbers.expect("numbers").values() {
                    assert_eq!(n, next);
                    next += 1;
                }
            }
        }
        assert_eq!(next, 300_007);
    }
}
