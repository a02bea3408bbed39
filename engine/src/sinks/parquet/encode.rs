//! Encodes rows into row groups.
//!
//! Columns of the usual types have an encoder of our own (see `flat`); all others go through the
//! writers of the `parquet` crate.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, IntervalUnit, Schema, SchemaRef};
use parquet::arrow::arrow_writer::{
    ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves,
};
use parquet::arrow::{ArrowSchemaConverter, add_encoded_arrow_schema_to_metadata};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;
use parquet::file::properties::{WriterProperties, WriterPropertiesPtr};
use parquet::file::writer::{
    OnCloseRowGroup, SerializedFileWriter, SerializedRowGroupWriter, TrackedWrite,
};
use parquet::schema::types::SchemaDescPtr;

use super::Codec;
use super::flat::{FlatColumn, PAGE_BYTES_MIN, Pages, Scratch};
use super::footer::WrittenGroup;
use crate::batch::{physical_type, to_logical};
use crate::error::{Error, Result};
use crate::sinks::plain::{in_milliseconds, parquet_schema};

/// Bytes of a dictionary page.
const DICTIONARY_BYTES_MAX: usize = 512 << 10;

/// How rows are written: everything that all row groups of a file share.
pub(in crate::sinks) struct Format {
    path: PathBuf,
    /// The schema of the arrays that are encoded: physical types.
    physical: SchemaRef,
    /// Which columns come with moments in seconds.
    from_seconds: Vec<bool>,
    /// The file's schema.
    parquet: SchemaDescPtr,
    codec: Codec,
    properties: WriterPropertiesPtr,
}

impl Format {
    /// A file of rows of `schema`.
    ///
    /// # Errors
    /// `Input` when a column's type has no form in Parquet.
    pub fn new(path: &Path, schema: &Schema, codec: Codec) -> Result<Self> {
        let file_schema = parquet_schema(schema);
        let refused = |e: ParquetError| {
            Error::input(format!("the result cannot be written as Parquet: {}", text(&e)))
        };
        if let Some(field) = schema.fields().iter().find(|f| is_refused(f.data_type())) {
            return Err(Error::input(format!(
                "column `{}` of type {} cannot be written as Parquet; turn it into text",
                field.name(),
                field.data_type()
            )));
        }
        let parquet = ArrowSchemaConverter::new().convert(&file_schema).map_err(refused)?;
        let held = |field: &Field| match in_milliseconds(field.data_type()) {
            nested if nested.is_nested() => field.clone().with_data_type(nested),
            other => field.clone().with_data_type(physical_type(&other)),
        };
        let physical = Schema::new(schema.fields().iter().map(|f| held(f)).collect::<Vec<_>>());
        let mut properties = WriterProperties::builder()
            .set_compression(codec.into())
            .set_dictionary_page_size_limit(DICTIONARY_BYTES_MAX)
            .build();
        add_encoded_arrow_schema_to_metadata(&file_schema, &mut properties);
        let format = Format {
            path: path.to_path_buf(),
            from_seconds: schema.fields().iter().map(|f| has_seconds(f.data_type())).collect(),
            physical: Arc::new(physical),
            parquet: Arc::new(parquet),
            codec,
            properties: Arc::new(properties),
        };
        // Types that only the encoder refuses are refused now and not after the first row.
        format.columns(PAGE_BYTES_MIN).map_err(refused)?;
        Ok(format)
    }

    /// The file that is written.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The bytes of a file that has no rows.
    pub fn empty_file(&self) -> Result<Vec<u8>> {
        let file = self.file(Vec::new()).and_then(SerializedFileWriter::into_inner);
        file.map_err(|e| self.error(e))
    }

    /// A file as the `parquet` crate writes it.
    pub fn file<W: io::Write + Send>(
        &self,
        to: W,
    ) -> Result<SerializedFileWriter<W>, ParquetError> {
        let (schema, properties) = (self.parquet.root_schema_ptr(), self.properties.clone());
        SerializedFileWriter::new(to, schema, properties)
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

    /// Columns of the file: those that are nested count by their leaves.
    pub fn leaves(&self) -> usize {
        self.physical.fields().iter().map(|field| leaves_of(field.data_type())).sum()
    }

    /// The columns with the types that are written.
    pub fn schema(&self) -> &SchemaRef {
        &self.physical
    }

    /// Encoders for the columns of one row group, with pages of about so many bytes.
    fn columns(&self, page_bytes: usize) -> Result<Vec<ColumnEncoder>, ParquetError> {
        let nowhere = self.file(io::sink())?;
        let factory = ArrowRowGroupWriterFactory::new(&nowhere, self.physical.clone());
        let descriptors = nowhere.schema_descr().columns().iter();
        let mut leaves = factory.create_column_writers(0)?.into_iter().zip(descriptors);
        let columns = self.physical.fields().iter().map(|field| {
            let count = leaves_of(field.data_type());
            if count == 1
                && let Some((writer, descriptor)) = leaves.next()
            {
                let descriptor = descriptor.clone();
                let flat = FlatColumn::new(field.data_type(), descriptor, self.codec, page_bytes);
                return match flat {
                    Some(flat) => ColumnEncoder::Flat(Box::new(flat)),
                    None => ColumnEncoder::General(vec![writer]),
                };
            }
            ColumnEncoder::General(leaves.by_ref().take(count).map(|(writer, _)| writer).collect())
        });
        Ok(columns.collect())
    }
}

/// How many columns of the file hold a column of that type.
fn leaves_of(data_type: &DataType) -> usize {
    match data_type {
        DataType::Struct(fields) => fields.iter().map(|f| leaves_of(f.data_type())).sum(),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => leaves_of(item.data_type()),
        _ => 1,
    }
}

/// One column of a row group under construction.
enum ColumnEncoder {
    Flat(Box<FlatColumn>),
    /// A writer for each leaf.
    General(Vec<ArrowColumnWriter>),
}

/// One column of the file, of a row group that is complete.
enum EncodedColumn {
    Flat(Pages, Box<ColumnCloseResult>),
    General(Box<ArrowColumnChunk>),
}

fn has_seconds(data_type: &DataType) -> bool {
    in_milliseconds(data_type) != *data_type
}

/// Types that have a place in a Parquet schema, but whose values are refused when they come.
fn is_refused(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Interval(IntervalUnit::MonthDayNano))
}

fn text(error: &ParquetError) -> String {
    match error {
        ParquetError::General(text) | ParquetError::NYI(text) | ParquetError::ArrowError(text) => {
            text.clone()
        }
        other => other.to_string(),
    }
}

/// A row group under construction.
pub(in crate::sinks) struct RowGroup {
    columns: Vec<ColumnEncoder>,
    scratch: Scratch,
    rows: usize,
}

/// A row group that is complete.
pub(in crate::sinks) struct EncodedGroup {
    /// The columns, in the order of the file.
    columns: Vec<EncodedColumn>,
    /// Bytes of memory held.
    pub bytes: usize,
}

impl RowGroup {
    /// An empty row group, with pages of about so many bytes.
    pub fn new(format: &Format, page_bytes: usize) -> Result<Self> {
        let columns = format.columns(page_bytes).map_err(|e| format.error(e))?;
        Ok(RowGroup { columns, scratch: Scratch::new(), rows: 0 })
    }

    /// Adds rows.
    pub fn write(&mut self, format: &Format, arrays: &[ArrayRef]) -> Result<()> {
        for (number, (column, (array, field))) in
            self.columns.iter_mut().zip(arrays.iter().zip(format.physical.fields())).enumerate()
        {
            let array = match format.from_seconds.get(number) {
                Some(true) => &to_logical(array, field.data_type())?,
                _ => array,
            };
            match column {
                ColumnEncoder::Flat(flat) => flat.write(array, &mut self.scratch),
                ColumnEncoder::General(writers) => {
                    compute_leaves(field, array).and_then(|leaves| {
                        leaves.iter().zip(writers).try_for_each(|(leaf, w)| w.write(leaf))
                    })
                }
            }
            .map_err(|e| format.error(e))?;
        }
        self.rows += arrays.first().map_or(0, |array| array.len());
        Ok(())
    }

    /// Takes less memory, for pages that are smaller.
    pub fn compact(&mut self, format: &Format) -> Result<()> {
        for column in &mut self.columns {
            if let ColumnEncoder::Flat(flat) = column {
                flat.compact(&mut self.scratch).map_err(|e| format.error(e))?;
            }
        }
        self.scratch = Scratch::new();
        Ok(())
    }

    /// Rows so far.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes of memory held.
    pub fn held_bytes(&self) -> usize {
        let columns = self.columns.iter().map(|column| match column {
            ColumnEncoder::Flat(flat) => flat.held_bytes(),
            ColumnEncoder::General(writers) => {
                writers.iter().map(ArrowColumnWriter::memory_size).sum()
            }
        });
        self.scratch.held_bytes() + columns.sum::<usize>()
    }

    /// Ends the row group.
    pub fn finish(mut self, format: &Format) -> Result<EncodedGroup> {
        let mut columns = Vec::with_capacity(self.columns.len());
        let mut bytes = 0;
        for column in self.columns {
            match column {
                ColumnEncoder::Flat(flat) => {
                    let done = flat.finish(&mut self.scratch).map_err(|e| format.error(e))?;
                    bytes += done.0.bytes();
                    columns.push(EncodedColumn::Flat(done.0, Box::new(done.1)));
                }
                ColumnEncoder::General(writers) => {
                    for writer in writers {
                        let done = writer.close().map_err(|e| format.error(e))?;
                        let length = done.close().bytes_written;
                        bytes += usize::try_from(length).unwrap_or(usize::MAX);
                        columns.push(EncodedColumn::General(Box::new(done)));
                    }
                }
            }
        }
        Ok(EncodedGroup { columns, bytes })
    }
}

impl EncodedGroup {
    /// Writes the row group, the one with this number.
    pub(super) fn write<W: io::Write + Send>(
        self,
        format: &Format,
        number: i16,
        to: &mut TrackedWrite<W>,
    ) -> Result<WrittenGroup, ParquetError> {
        let (schema, properties) = (format.parquet.clone(), format.properties.clone());
        let mut written = None;
        let keep: OnCloseRowGroup<'_, W> =
            Box::new(|_, metadata, _, column_indexes, offset_indexes| {
                written = Some(WrittenGroup { metadata, column_indexes, offset_indexes });
                Ok(())
            });
        let row_group = SerializedRowGroupWriter::new(schema, properties, to, number, Some(keep));
        self.write_through(row_group)?;
        written.ok_or_else(|| ParquetError::General("a row group that is not closed".to_string()))
    }

    /// Writes the row group with a writer of the `parquet` crate.
    pub(super) fn write_through<W: io::Write + Send>(
        self,
        mut row_group: SerializedRowGroupWriter<'_, W>,
    ) -> Result<(), ParquetError> {
        for column in self.columns {
            match column {
                EncodedColumn::Flat(pages, close) => row_group.append_column(&pages, *close)?,
                EncodedColumn::General(chunk) => chunk.append_to_row_group(&mut row_group)?,
            }
        }
        row_group.close()?;
        Ok(())
    }
}
