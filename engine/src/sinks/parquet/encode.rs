//! Encodes rows into row groups.
//!
//! A column gets a dictionary where a sample of its first rows says that values repeat: for columns
//! of (nearly) distinct values a dictionary costs time, memory and space.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use parquet::arrow::arrow_writer::{
    ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves,
};
use parquet::arrow::{ArrowSchemaConverter, add_encoded_arrow_schema_to_metadata};
use parquet::errors::ParquetError;
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder, WriterPropertiesPtr};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{ColumnPath, TypePtr};

use super::Codec;
use crate::batch::{Chunk, hash_bytes, physical_type, to_logical};
use crate::error::{Error, Result};

/// Rows looked at to decide on a dictionary.
const SAMPLE_ROWS: usize = 8192;

/// With fewer rows there is nothing to be gained by leaving the dictionary out.
const SAMPLE_ROWS_MIN: usize = 2048;

/// A column gets a dictionary when, in the second half of the sample, at most this share of the
/// rows has values that the first half does not have.
const NEW_VALUES_MAX: f64 = 0.1;

/// How rows are written: everything that all row groups of a file share.
pub(super) struct Format {
    path: PathBuf,
    /// The schema of the arrays that are encoded: physical types.
    physical: SchemaRef,
    /// The file's schema.
    parquet: TypePtr,
    properties: WriterPropertiesBuilder,
    file_properties: WriterPropertiesPtr,
}

impl Format {
    /// A file of rows of `schema`.
    ///
    /// # Errors
    /// `Input` when a column's type has no form in Parquet.
    pub fn new(path: &Path, schema: &Schema, compression: Codec) -> Result<Self> {
        let file_schema =
            Schema::new(schema.fields().iter().map(|f| file_field(f)).collect::<Vec<_>>());
        let refused = |e: ParquetError| {
            Error::input(format!("the result cannot be written as Parquet: {}", text(&e)))
        };
        let parquet = ArrowSchemaConverter::new().convert(&file_schema).map_err(refused)?;
        let held = |field: &Field| match field.data_type() {
            nested if nested.is_nested() => field.clone(),
            other => field.clone().with_data_type(physical_type(other)),
        };
        let physical = Schema::new(schema.fields().iter().map(|f| held(f)).collect::<Vec<_>>());
        let properties = WriterProperties::builder().set_compression(compression.into());
        let mut file_properties = properties.clone().build();
        add_encoded_arrow_schema_to_metadata(&file_schema, &mut file_properties);
        let format = Format {
            path: path.to_path_buf(),
            physical: Arc::new(physical),
            parquet: parquet.root_schema_ptr(),
            properties,
            file_properties: Arc::new(file_properties),
        };
        // Types that only the encoder refuses are refused now and not after the first row.
        format.writers(&[]).map_err(refused)?;
        Ok(format)
    }

    /// Begins the file.
    pub fn file<W: io::Write + Send>(&self, to: W) -> Result<SerializedFileWriter<W>> {
        let file =
            SerializedFileWriter::new(to, self.parquet.clone(), self.file_properties.clone());
        file.map_err(|e| self.error(e))
    }

    /// An error of the `parquet` crate while it encoded or wrote.
    pub fn error(&self, error: ParquetError) -> Error {
        match error {
            ParquetError::External(inner) => match inner.downcast::<io::Error>() {
                Ok(io) => Error::io("write", &self.path, *io),
                Err(other) => Error::internal(other.to_string()),
            },
            other => Error::internal(other.to_string()),
        }
    }

    /// Columns of the file that are not nested count once, others by their leaves.
    pub fn leaves(&self) -> usize {
        self.parquet.get_fields().len().max(1)
    }

    /// The live rows of a chunk, as the arrays that are encoded.
    ///
    /// # Errors
    /// `Input` when a decimal does not fit its declared precision.
    pub fn arrays(&self, chunk: &Chunk) -> Result<Vec<ArrayRef>> {
        let columns = chunk.columns().iter().zip(self.physical.fields());
        let arrays = columns.map(|(column, field)| {
            let values = chunk.live_values(column)?;
            to_logical(&values, field.data_type()).map_err(|e| self.does_not_fit(field, e))
        });
        arrays.collect()
    }

    /// The error for values that their column's declared type cannot hold.
    fn does_not_fit(&self, field: &Field, error: Error) -> Error {
        match error {
            Error::Internal(why) if field.data_type().is_decimal() => Error::input(format!(
                "column `{}` has a value that its type cannot hold, so {} cannot be written; cast \
                 it to a wider type: {why}",
                field.name(),
                self.path.display()
            )),
            other => other,
        }
    }

    /// Encoders for the columns of one row group, with dictionaries where `sample` says so.
    fn writers(&self, sample: &[Vec<ArrayRef>]) -> Result<Vec<ArrowColumnWriter>, ParquetError> {
        let mut properties = self.properties.clone();
        for (column, field) in self.physical.fields().iter().enumerate() {
            let values = sample.iter().map(|arrays| &arrays[column]);
            if !field.data_type().is_nested() && !values_repeat(values) {
                let path = ColumnPath::from(field.name().as_str());
                properties = properties.set_column_dictionary_enabled(path, false);
            }
        }
        let properties = Arc::new(properties.build());
        let nowhere = SerializedFileWriter::new(io::sink(), self.parquet.clone(), properties)?;
        ArrowRowGroupWriterFactory::new(&nowhere, self.physical.clone()).create_column_writers(0)
    }
}

/// The field as other programs should find it in the file: plain strings, not views.
fn file_field(field: &Field) -> Field {
    let data_type = match field.data_type() {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::Decimal32(p, s) | DataType::Decimal64(p, s) => DataType::Decimal128(*p, *s),
        DataType::Dictionary(_, values) => {
            return file_field(&field.clone().with_data_type(values.as_ref().clone()));
        }
        other => other.clone(),
    };
    field.clone().with_data_type(data_type)
}

fn text(error: &ParquetError) -> String {
    match error {
        ParquetError::General(text) | ParquetError::NYI(text) | ParquetError::ArrowError(text) => {
            text.clone()
        }
        other => other.to_string(),
    }
}

/// Whether the rows behind bring few values that the rows before them did not have.
fn values_repeat<'a>(arrays: impl Iterator<Item = &'a ArrayRef> + Clone) -> bool {
    let rows = arrays.clone().map(|array| array.len()).sum::<usize>().min(SAMPLE_ROWS);
    if rows < SAMPLE_ROWS_MIN {
        return true;
    }
    let mut seen = HashTable::with_capacity(rows);
    let mut new_behind = 0;
    let mut row = 0;
    for array in arrays {
        let mut visit = |value: &[u8]| {
            let hash = hash_bytes(value);
            // Equal hashes are as good as equal values for an estimate.
            if let Entry::Vacant(vacant) = seen.entry(hash, |&other| other == hash, |&hash| hash) {
                vacant.insert(hash);
                new_behind += usize::from(row >= rows / 2);
            }
            row += 1;
            row < rows
        };
        if !visit_values(array, &mut visit) {
            break;
        }
    }
    new_behind as f64 <= NEW_VALUES_MAX * (rows - rows / 2) as f64
}

/// Calls `visit` with the bytes of each value until it says no; whether it never did.
fn visit_values(array: &ArrayRef, visit: &mut dyn FnMut(&[u8]) -> bool) -> bool {
    match array.data_type() {
        DataType::Utf8View => {
            array.as_string_view().iter().all(|s| visit(s.unwrap_or("").as_bytes()))
        }
        DataType::BinaryView => array.as_binary_view().iter().all(|b| visit(b.unwrap_or(&[]))),
        other => {
            let data = array.to_data();
            match (other.primitive_width(), data.buffers()) {
                (Some(width), [values]) => {
                    let (start, rows) = (data.offset() * width, data.len() * width);
                    values[start..start + rows].chunks_exact(width).all(visit)
                }
                _ => true,
            }
        }
    }
}

/// A row group under construction.
pub(super) struct RowGroup {
    writers: Vec<ArrowColumnWriter>,
    rows: usize,
}

/// A row group that is complete.
pub(super) struct EncodedGroup {
    /// The columns, in the order of the file.
    pub columns: Vec<ArrowColumnChunk>,
    /// Bytes of memory held.
    pub bytes: usize,
}

impl RowGroup {
    /// An empty row group for rows like those in `sample`.
    pub fn new(format: &Format, sample: &[Vec<ArrayRef>]) -> Result<Self> {
        let writers = format.writers(sample).map_err(|e| format.error(e))?;
        Ok(RowGroup { writers, rows: 0 })
    }

    /// Adds rows.
    pub fn write(&mut self, format: &Format, arrays: &[ArrayRef]) -> Result<()> {
        let mut writers = self.writers.iter_mut();
        for (array, field) in arrays.iter().zip(format.physical.fields()) {
            for leaf in compute_leaves(field, array).map_err(|e| format.error(e))? {
                let writer = writers.next().ok_or_else(|| Error::internal("a leaf too many"))?;
                writer.write(&leaf).map_err(|e| format.error(e))?;
            }
        }
        self.rows += arrays.first().map_or(0, |array| array.len());
        Ok(())
    }

    /// Rows so far.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes of memory held.
    pub fn held_bytes(&self) -> usize {
        self.writers.iter().map(ArrowColumnWriter::memory_size).sum()
    }

    /// Ends the row group.
    pub fn finish(self, format: &Format) -> Result<EncodedGroup> {
        let columns = self.writers.into_iter().map(ArrowColumnWriter::close);
        let columns: Vec<ArrowColumnChunk> =
            columns.collect::<Result<_, _>>().map_err(|e| format.error(e))?;
        let bytes = columns.iter().map(|c| c.close().bytes_written).sum::<u64>();
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        Ok(EncodedGroup { columns, bytes })
    }
}
