//! A Parquet file's footer: read once, shared by the planner and the scans.
//!
//! Memory: the footer of a large file takes megabytes (seven kilobytes a row group of 16 columns);
//! it holds its own reservation, however many scans share it. The page index is left in the file:
//! scans read the parts they need.

use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};
use parquet::arrow::{ARROW_SCHEMA_META_KEY, parquet_to_arrow_schema};
use parquet::basic::Type as PhysicalType;
use parquet::file::metadata::{
    FileMetaData, PageIndexPolicy, ParquetMetaData, ParquetMetaDataOptions, ParquetMetaDataReader,
    ParquetStatisticsPolicy,
};

use super::bytes::FileBytes;
use super::error::{corrupt, from_parquet, guarded};
use crate::batch::{logical_type, physical_type};
use crate::error::{Error, Result};
use crate::memory::{Governor, Reservation};
use crate::sources::file::{FileRef, InputFile};

/// What a Parquet file says of itself.
pub struct Footer {
    file: FileRef,
    metadata: ParquetMetaData,
    /// The columns with their logical types.
    schema: SchemaRef,
    /// The columns with the types that readers are asked for.
    physical: Fields,
    /// The leaf of each column that is not nested.
    leaves: Vec<Option<usize>>,
    _held: Reservation,
}

impl std::fmt::Debug for Footer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Footer({})", self.file.path.display())
    }
}

impl Footer {
    /// Reads the footer of a file that must still be what the plan says.
    ///
    /// # Errors
    /// `Io` when it cannot be read, `Input` when the file changed or is no Parquet file,
    /// `OutOfMemory` when the footer does not fit the budget.
    pub fn read(file: &FileRef, memory: &Governor) -> Result<Arc<Footer>> {
        let opened = FileBytes(Arc::new(InputFile::open(file)?));
        guarded(&file.path, || Self::parse(file, &opened, memory))
    }

    fn parse(file: &FileRef, opened: &FileBytes, memory: &Governor) -> Result<Arc<Footer>> {
        let path = &file.path;
        let options = ParquetMetaDataOptions::new()
            .with_encoding_stats_as_mask(true)
            .with_size_stats_policy(ParquetStatisticsPolicy::SkipAll);
        let metadata = ParquetMetaDataReader::new()
            .with_page_index_policy(PageIndexPolicy::Skip)
            .with_metadata_options(Some(options))
            .parse_and_finish(opened)
            .map_err(|e| from_parquet(path, e))?;
        opened.0.check()?;
        let mut held = memory.reserve("parquet footer", 0)?;
        held.grow(metadata.memory_size())?;
        let facts = metadata.file_metadata();
        let arrow = parquet_to_arrow_schema(facts.schema_descr(), facts.key_value_metadata())
            .map_err(|e| from_parquet(path, e))?;
        let leaves = root_leaves(path, &metadata, arrow.fields().len())?;
        let fields = arrow.fields().iter().zip(&leaves);
        let fields = fields.map(|(field, leaf)| coarse_field(field, *leaf, facts));
        let fields: Vec<FieldRef> = fields.collect();
        let schema = Schema::new(fields.iter().map(logical_field).collect::<Vec<_>>());
        let physical = fields.iter().zip(schema.fields()).map(physical_field).collect();
        check_rows(path, &metadata)?;
        let schema = Arc::new(schema);
        Ok(Arc::new(Footer { file: file.clone(), metadata, schema, physical, leaves, _held: held }))
    }

    /// The file.
    pub fn file(&self) -> &FileRef {
        &self.file
    }

    /// Its columns with their logical types: strings and binaries are views, dictionaries are
    /// their values, field metadata is left out.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Rows in the file.
    pub fn rows(&self) -> u64 {
        self.metadata.row_groups().iter().map(|group| group.num_rows() as u64).sum()
    }

    /// What the file says, as the `parquet` crate has it.
    pub(super) fn metadata(&self) -> &ParquetMetaData {
        &self.metadata
    }

    /// The columns with the types that readers are asked for.
    pub(super) fn physical(&self) -> &Fields {
        &self.physical
    }

    /// Whether its writer says which types the columns had in Arrow.
    pub(super) fn tells_arrow_types(&self) -> bool {
        let told = self.metadata.file_metadata().key_value_metadata();
        told.is_some_and(|told| told.iter().any(|pair| pair.key == ARROW_SCHEMA_META_KEY))
    }

    /// The leaf that holds column `column`; `None` when it is nested.
    pub(super) fn leaf(&self, column: usize) -> Option<usize> {
        self.leaves.get(column).copied().flatten()
    }

    /// The path of the file.
    pub(super) fn path(&self) -> &Path {
        &self.file.path
    }

    /// The position of the column that the plan knows as `wanted` at position `planned`: files of
    /// one table may have their columns in different orders.
    ///
    /// # Errors
    /// `Input` when there is none of that name, or it has another type.
    pub(super) fn find(&self, planned: usize, wanted: &Field) -> Result<usize> {
        let path = self.path().display();
        let (name, data_type) = (wanted.name(), wanted.data_type());
        let same = self.schema.fields().get(planned).filter(|field| field.name() == name);
        let found = match same {
            Some(field) => Some((planned, field.as_ref())),
            None => self.schema.column_with_name(name),
        };
        let Some((position, field)) = found else {
            return Err(Error::input(format!("{path} has no column `{name}`")));
        };
        if field.data_type() != data_type {
            return Err(Error::input(format!(
                "column `{name}` of {path} is {}, not {data_type} as in the plan",
                field.data_type()
            )));
        }
        Ok(position)
    }
}

/// INT96 holds nanoseconds of all days, which 64 bits do not: they are read as microseconds unless
/// the file says more of them.
fn coarse_field(field: &FieldRef, leaf: Option<usize>, facts: &FileMetaData) -> FieldRef {
    let is_wide = leaf.is_some_and(|leaf| {
        facts.schema_descr().column(leaf).physical_type() == PhysicalType::INT96
    });
    let said = facts.key_value_metadata().into_iter().flatten();
    let is_said = said.into_iter().any(|fact| fact.key == ARROW_SCHEMA_META_KEY);
    match field.data_type() {
        DataType::Timestamp(TimeUnit::Nanosecond, zone) if is_wide && !is_said => {
            let data_type = DataType::Timestamp(TimeUnit::Microsecond, zone.clone());
            Arc::new(field.as_ref().clone().with_data_type(data_type))
        }
        _ => field.clone(),
    }
}

fn logical_field(field: &FieldRef) -> Field {
    Field::new(field.name(), logical_type(field.data_type()), field.is_nullable())
}

/// The field a reader is asked for: the physical type of what is not nested.
fn physical_field((file, logical): (&FieldRef, &FieldRef)) -> FieldRef {
    if file.data_type().is_nested() {
        return file.clone();
    }
    Arc::new(logical.as_ref().clone().with_data_type(physical_type(logical.data_type())))
}

/// The leaf of each top-level column that is a leaf itself and not repeated.
fn root_leaves(
    path: &Path,
    metadata: &ParquetMetaData,
    roots: usize,
) -> Result<Vec<Option<usize>>> {
    let descr = metadata.file_metadata().schema_descr();
    let mut leaves = vec![None; roots];
    for leaf in 0..descr.num_columns() {
        let root = descr.get_column_root_idx(leaf);
        let column = descr.column(leaf);
        let flat = column.max_rep_level() == 0 && column.path().parts().len() == 1;
        let Some(place) = leaves.get_mut(root) else {
            return Err(corrupt(path, "its schemas do not match"));
        };
        *place = flat.then_some(leaf);
    }
    Ok(leaves)
}

/// Row counts must be sane before anybody divides a row group into morsels.
fn check_rows(path: &Path, metadata: &ParquetMetaData) -> Result<()> {
    let leaves = metadata.file_metadata().schema_descr().num_columns();
    for group in metadata.row_groups() {
        if u32::try_from(group.num_rows()).is_err() {
            return Err(corrupt(path, format!("a row group of {} rows", group.num_rows())));
        }
        if group.num_columns() != leaves {
            return Err(corrupt(path, "a row group without all columns"));
        }
        for chunk in group.columns() {
            let (start, length) = (chunk.data_page_offset(), chunk.compressed_size());
            if start < 0 || length < 0 || chunk.dictionary_page_offset().is_some_and(|o| o < 0) {
                return Err(corrupt(path, "a column chunk at a negative position"));
            }
        }
    }
    Ok(())
}
