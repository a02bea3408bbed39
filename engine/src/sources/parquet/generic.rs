//! Reads any column through the `parquet` crate's own array readers: nested columns and the
//! encodings that this engine has no decoder for.
//!
//! The crate's reader goes through a row group in batches of a fixed size, with a selection that it
//! must know beforehand. Short skips are read and dropped; a long skip opens a new reader behind
//! it, which passes over whole pages without decompressing them. So does a page whose rows are so
//! much larger that a batch of them would take too much.
//!
//! Memory: the largest page, which is reserved from the start; the bytes of a page as they are
//! stored are there while it is decompressed, and are not.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StructArray};
use arrow::compute::concat;
use arrow::datatypes::{DataType, FieldRef};
use parquet::arrow::arrow_reader::{
    ParquetRecordBatchReader, RowGroups, RowSelection, RowSelector,
};
use parquet::arrow::{FieldLevels, ProjectionMask, parquet_to_arrow_field_levels};
use parquet::column::page::{PageIterator, PageReader};
use parquet::errors::Result as ParquetResult;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::reader::SerializedPageReader;

use super::bytes::FileBytes;
use super::column::ColumnReader;
use super::error::{corrupt, from_parquet, guarded};
use super::footer::Footer;
use super::sizes::Sizes;
use crate::batch::{CHUNK_ROWS, Column, to_physical};
use crate::error::{Error, Result};
use crate::sources::file::InputFile;

/// A skip of this many rows opens a new reader.
const LONG_SKIP_ROWS: usize = 4 * CHUNK_ROWS;

/// Bytes of a batch from which on it is read as several.
const BATCH_BYTES_MAX: usize = 1 << 20;

/// A reader whose batches could have so many times the rows is left for another.
const MUCH_SMALLER: usize = 8;

/// A column read by the `parquet` crate.
pub(super) struct GenericColumn {
    file: FileBytes,
    footer: Arc<Footer>,
    row_group: usize,
    levels: FieldLevels,
    logical: DataType,
    reader: Option<ParquetRecordBatchReader>,
    /// Rows of the reader's batches.
    batch_rows: usize,
    /// What is left of the batch read last.
    rest: Option<ArrayRef>,
    /// Rows before `rest` or, without it, before the reader.
    position: usize,
    to_skip: usize,
    /// By leaf.
    sizes: Vec<Arc<Sizes>>,
}

/// Whether there are intervals in the values of a type.
fn has_interval(data_type: &DataType) -> bool {
    let of = |field: &FieldRef| has_interval(field.data_type());
    match data_type {
        DataType::Interval(_) => true,
        DataType::Struct(fields) => fields.iter().any(of),
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::FixedSizeList(field, _)
        | DataType::Map(field, _) => of(field),
        _ => false,
    }
}

impl GenericColumn {
    /// Column `column` of row group `row_group`, whose leaves have these sizes.
    ///
    /// # Errors
    /// `Input` when it has intervals, of which the crate's readers drop the months.
    pub(super) fn open(
        file: &Arc<InputFile>,
        footer: &Arc<Footer>,
        row_group: usize,
        column: usize,
        sizes: Vec<Arc<Sizes>>,
    ) -> Result<Self> {
        let field = footer.schema().field(column);
        if has_interval(field.data_type()) && !footer.tells_arrow_types() {
            let (name, path) = (field.name(), footer.path().display());
            return Err(Error::input(format!(
                "column {name} of {path} has intervals, whose months cannot be read from Parquet; \
                 leave it out, or write it as text"
            )));
        }
        let descr = footer.metadata().file_metadata().schema_descr();
        let mask = ProjectionMask::roots(descr, [column]);
        let levels = parquet_to_arrow_field_levels(descr, mask, Some(footer.physical()))
            .map_err(|e| from_parquet(footer.path(), e))?;
        Ok(GenericColumn {
            sizes,
            file: FileBytes(file.clone()),
            footer: footer.clone(),
            row_group,
            levels,
            logical: footer.schema().field(column).data_type().clone(),
            reader: None,
            batch_rows: CHUNK_ROWS,
            rest: None,
            position: 0,
            to_skip: 0,
        })
    }

    fn group(&self) -> &RowGroupMetaData {
        self.footer.metadata().row_group(self.row_group)
    }

    /// Rows from the next one on whose bytes a batch may have: a power of two.
    fn batch_rows(&self) -> usize {
        let mut rows = CHUNK_ROWS;
        while rows > 1 && self.text_bytes(&(self.position..self.position + rows)) > BATCH_BYTES_MAX
        {
            rows /= 2;
        }
        rows
    }

    /// Passes over the rows that are still to be skipped.
    fn settle(&mut self) -> Result<()> {
        if let Some(rest) = &self.rest
            && self.to_skip < rest.len()
        {
            let skipped = std::mem::take(&mut self.to_skip);
            self.rest = Some(rest.slice(skipped, rest.len() - skipped));
            self.position += skipped;
            return Ok(());
        }
        if self.to_skip >= LONG_SKIP_ROWS || self.reader.is_none() {
            return self.reopen();
        }
        while self.to_skip > 0 {
            let batch = self.take_rest()?;
            let skipped = batch.len().min(self.to_skip);
            self.to_skip -= skipped;
            self.position += skipped;
            if skipped < batch.len() {
                self.rest = Some(batch.slice(skipped, batch.len() - skipped));
            }
        }
        Ok(())
    }

    fn reopen(&mut self) -> Result<()> {
        self.position += std::mem::take(&mut self.to_skip);
        self.rest = None;
        // What the reader held is free before another takes as much.
        self.reader = None;
        self.batch_rows = self.batch_rows();
        let rows = self.rows();
        let selection = (self.position > 0).then(|| {
            let selected = rows.saturating_sub(self.position);
            RowSelection::from(vec![
                RowSelector::skip(self.position),
                RowSelector::select(selected),
            ])
        });
        let chunk = OneRowGroup { column: self };
        let opened = ParquetRecordBatchReader::try_new_with_row_groups(
            &self.levels,
            &chunk,
            self.batch_rows,
            selection,
        );
        self.reader = Some(opened.map_err(|e| from_parquet(self.footer.path(), e))?);
        Ok(())
    }

    fn rows(&self) -> usize {
        self.group().num_rows() as usize
    }

    /// What is left of the last batch, or the next one.
    fn take_rest(&mut self) -> Result<ArrayRef> {
        if let Some(rest) = self.rest.take() {
            return Ok(rest);
        }
        let path = self.footer.path();
        let next = self.reader.as_mut().and_then(Iterator::next);
        let batch = next.ok_or_else(|| corrupt(path, "a column ends before its row group"))?;
        // The crate makes text of errors: that the file changed is asked for again.
        let batch =
            batch.map_err(|e| self.file.0.check().err().unwrap_or_else(|| corrupt(path, e)))?;
        let columns = StructArray::from(batch);
        match columns.columns() {
            [array] if !array.is_empty() => Ok(array.clone()),
            _ => Err(corrupt(path, "an empty batch")),
        }
    }

    /// Opens another reader where the rows are of another size than the present one is for.
    fn adapt(&mut self) -> Result<()> {
        let rows = self.batch_rows();
        let left = self.rows().saturating_sub(self.position);
        let fits = rows >= self.batch_rows / 2 && rows.min(left) <= MUCH_SMALLER * self.batch_rows;
        if fits || self.rest.is_some() { Ok(()) } else { self.reopen() }
    }

    fn read_array(&mut self, rows: usize) -> Result<ArrayRef> {
        self.settle()?;
        let mut parts = Vec::new();
        let mut missing = rows;
        while missing > 0 {
            self.adapt()?;
            let batch = self.take_rest()?;
            let taken = batch.len().min(missing);
            if taken < batch.len() {
                self.rest = Some(batch.slice(taken, batch.len() - taken));
            }
            parts.push(batch.slice(0, taken));
            self.position += taken;
            missing -= taken;
        }
        let whole = match parts.as_slice() {
            [one] => one.clone(),
            several => concat(&several.iter().map(|p| p.as_ref()).collect::<Vec<_>>())?,
        };
        to_physical(&whole)
    }
}

impl ColumnReader for GenericColumn {
    fn skip(&mut self, rows: usize) -> Result<()> {
        self.to_skip += rows;
        Ok(())
    }

    fn read(&mut self, rows: usize) -> Result<Column> {
        let footer = self.footer.clone();
        let array = guarded(footer.path(), || self.read_array(rows))?;
        Ok(Column::flat(self.logical.clone(), array))
    }

    fn held_bytes(&self) -> usize {
        self.sizes.iter().map(|sizes| sizes.held_bytes()).sum()
    }

    fn text_bytes(&self, rows: &Range<usize>) -> usize {
        self.sizes.iter().map(|sizes| sizes.bytes_of(rows)).sum()
    }
}

/// One row group of the file, as the crate's readers see it.
struct OneRowGroup<'a> {
    column: &'a GenericColumn,
}

impl RowGroups for OneRowGroup<'_> {
    fn num_rows(&self) -> usize {
        self.column.rows()
    }

    fn column_chunks(&self, leaf: usize) -> ParquetResult<Box<dyn PageIterator>> {
        let (file, group) = (self.column.file.clone(), self.column.group());
        let pages =
            SerializedPageReader::new(Arc::new(file), group.column(leaf), self.num_rows(), None)?;
        Ok(Box::new(OneChunk(Some(Box::new(pages)))))
    }

    fn row_groups(&self) -> Box<dyn Iterator<Item = &RowGroupMetaData> + '_> {
        Box::new(std::iter::once(self.column.group()))
    }

    fn metadata(&self) -> &ParquetMetaData {
        self.column.footer.metadata()
    }
}

/// The pages of one column chunk.
struct OneChunk(Option<Box<dyn PageReader>>);

impl Iterator for OneChunk {
    type Item = ParquetResult<Box<dyn PageReader>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.take().map(Ok)
    }
}

impl PageIterator for OneChunk {}
