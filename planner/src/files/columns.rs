//! The columns of a set of files: those of all files, by name (see `places`), in the order in which
//! they are met, and the partitions of their paths behind them. A file that lacks a column has NULL
//! there. A column that has several types has one that holds the values of all files, such as
//! BIGINT for INTEGER and BIGINT; what has none, such as numbers and texts, is an error.
//!
//! Types that were found from samples of text files are guesses, so one that holds the values of
//! all files is taken: doubles for integers and doubles, timestamps for dates and timestamps, text
//! for everything else. A column without values in one file has any type there.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use arrow::datatypes::{DataType, Schema};
use gristmill_engine::batch::each_innermost;
use gristmill_engine::expr::widens;
use gristmill_engine::sources::csv::CsvFacts;
use gristmill_engine::sources::files::{FileScan, PartColumn, Reader, TableColumn};
use gristmill_engine::sources::json::JsonFacts;
use gristmill_engine::{Error, Result};

use super::one::Read;
use super::partitions::Partitions;
use super::places::Places;
use crate::catalog::Reading;
use crate::sql::{folded, type_name};

/// Digits of the widest decimal.
const MAX_DIGITS: u8 = 38;

/// How the files of a set are read.
pub(super) struct Columns {
    pub(super) columns: Vec<TableColumn>,
    pub(super) readers: Vec<Reader>,
    /// The reader of each file.
    pub(super) reader_of: Vec<usize>,
}

/// Gives files of text the types that hold the values of all of them.
///
/// # Errors
/// `Input` when a type is declared of a column that no file has.
pub(super) fn agree(files: &mut [Read], reading: &Reading) -> Result<()> {
    let mut places = Places::default();
    let place = |facts: &CsvFacts| places.of(facts.columns.iter().map(|c| c.name.as_str()));
    let place_of: Vec<Vec<usize>> = files.iter().filter_map(csv_facts).map(place).collect();
    let mut types: HashMap<usize, DataType> = HashMap::new();
    for (facts, places) in files.iter().filter_map(csv_facts).zip(&place_of) {
        let columns = facts.columns.iter().zip(&facts.without_values).zip(places);
        for ((column, _), place) in columns.filter(|((_, without_values), _)| !**without_values) {
            let known = types.get(place);
            let both =
                known.map_or(column.data_type.clone(), |known| wider(known, &column.data_type));
            types.insert(*place, both);
        }
    }
    // What is a word for NULL among numbers is a text among texts.
    let mut become_texts: HashSet<usize> = HashSet::new();
    for (facts, places) in files.iter().filter_map(csv_facts).zip(&place_of) {
        let others = facts.columns.iter().zip(places).filter(|(c, _)| c.data_type != TEXT);
        become_texts
            .extend(others.map(|(_, place)| *place).filter(|p| types.get(p) == Some(&TEXT)));
    }
    let mut json: Vec<&mut JsonFacts> = Vec::new();
    let mut place_of = place_of.into_iter();
    for file in files {
        match file {
            Read::Csv(facts) => {
                let places = place_of.next().unwrap_or_default();
                let columns = facts.columns.iter_mut().zip(places);
                for (column, place) in columns.filter(|(column, _)| column.detected) {
                    if let Some(data_type) = types.get(&place) {
                        column.data_type.clone_from(data_type);
                        column.detected = !become_texts.contains(&place);
                    }
                }
            }
            Read::Json(facts) => json.push(facts),
            Read::Arrow(_) | Read::Parquet(_) => {}
        }
    }
    match reading {
        Reading::Json(options) => JsonFacts::unite(&mut json, options),
        _ => Ok(()),
    }
}

const TEXT: DataType = DataType::Utf8View;

fn csv_facts(file: &Read) -> Option<&CsvFacts> {
    match file {
        Read::Csv(facts) => Some(facts),
        _ => None,
    }
}

/// A type for the values of both.
fn wider(a: &DataType, b: &DataType) -> DataType {
    use DataType as T;
    match (a, b) {
        _ if a == b => a.clone(),
        (T::Int64, T::Decimal128(_, 0)) => b.clone(),
        (T::Decimal128(_, 0), T::Int64) => a.clone(),
        (T::Int64 | T::Decimal128(_, 0), T::Float64)
        | (T::Float64, T::Int64 | T::Decimal128(_, 0)) => T::Float64,
        (T::Date32, T::Timestamp(_, None)) => b.clone(),
        (T::Timestamp(_, None), T::Date32) => a.clone(),
        _ => T::Utf8View,
    }
}

/// The least type for the values of both.
fn common(a: &DataType, b: &DataType) -> Option<DataType> {
    use DataType as T;
    if a == b || widens(b, a) {
        return Some(a.clone());
    }
    if widens(a, b) {
        return Some(b.clone());
    }
    match (a, b) {
        (T::Timestamp(one, zone), T::Timestamp(other, other_zone)) if zone == other_zone => {
            Some(T::Timestamp(*one.max(other), zone.clone()))
        }
        (T::Date32, T::Timestamp(_, None)) => Some(b.clone()),
        (T::Timestamp(_, None), T::Date32) => Some(a.clone()),
        _ => {
            let is_exact = |one: &T| one.is_integer() || one.is_decimal();
            // Doubles have not all digits of other numbers.
            let wide = match is_exact(a) && is_exact(b) {
                true => vec![T::Int16, T::Int32, T::Int64, decimal(a, b)?],
                false => vec![T::Float64],
            };
            wide.into_iter().find(|wide| widens(a, wide) && widens(b, wide))
        }
    }
}

/// The least decimal for whole numbers or decimals of two types; `None` where it has no room.
fn decimal(a: &DataType, b: &DataType) -> Option<DataType> {
    let digits = |of: &DataType| match of {
        DataType::Decimal128(precision, scale) => Some((*precision as i8 - scale, *scale)),
        DataType::Int8 | DataType::UInt8 => Some((3, 0)),
        DataType::Int16 | DataType::UInt16 => Some((5, 0)),
        DataType::Int32 | DataType::UInt32 => Some((10, 0)),
        DataType::Int64 | DataType::UInt64 => Some((20, 0)),
        _ => None,
    };
    let ((whole, scale), (other_whole, other_scale)) = (digits(a)?, digits(b)?);
    let scale = scale.max(other_scale);
    let precision = u8::try_from(whole.max(other_whole) + scale).ok()?;
    (precision <= MAX_DIGITS).then_some(DataType::Decimal128(precision, scale))
}

/// The columns of files that were made to agree.
///
/// # Errors
/// `Input` naming a column that has several types, and two files.
pub(super) fn unite(files: &[Read], partitions: &Partitions) -> Result<Columns> {
    let partition_names: Vec<String> =
        partitions.columns.iter().map(|(key, _)| folded(key)).collect();
    let mut columns: Vec<TableColumn> = Vec::new();
    let (mut found, mut names) = (Vec::new(), Places::default());
    let mut places = Vec::with_capacity(files.len());
    for file in files {
        let schema = file.schema();
        let is_stored = |name: &&str| !partition_names.contains(&folded(name));
        let own = schema.fields().iter().map(|field| field.name().as_str());
        let known = names.of(own.filter(is_stored));
        places.push(place(file, &partition_names, known, &mut columns, &mut found)?);
    }
    let stored = columns.len();
    for (name, data_type) in &partitions.columns {
        columns.push(TableColumn {
            name: name.clone(),
            data_type: data_type.clone(),
            nullable: true,
        });
    }
    let mut united = Columns { columns, readers: Vec::new(), reader_of: Vec::new() };
    for (file, own) in files.iter().zip(places) {
        let reader = united.reader(file, &own, stored);
        united.reader_of.push(reader);
    }
    Ok(united)
}

/// Whether a table of files has other types than these of a file.
pub(super) fn has_others(schema: &Schema) -> bool {
    let is_other = |data_type: &DataType| each_innermost(data_type, &as_date) != *data_type;
    schema.fields().iter().any(|field| is_other(field.data_type()))
}

/// Dates that a file has in milliseconds are dates like all others.
fn as_date(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Date64 => DataType::Date32,
        other => other.clone(),
    }
}

/// Where the columns of a file are in the table, which gets those that it has not; `places` are
/// those of columns that no partition hides. `found` are the files in which the table's columns
/// were met first.
fn place<'a>(
    file: &'a Read,
    partition_names: &[String],
    places: Vec<usize>,
    columns: &mut Vec<TableColumn>,
    found: &mut Vec<&'a Path>,
) -> Result<Vec<Option<usize>>> {
    let path = file.file().path.as_path();
    let (mut places, mut own) = (places.into_iter().peekable(), Vec::new());
    for field in file.schema().fields() {
        let is_hidden = partition_names.contains(&folded(field.name()));
        let Some(place) = places.next_if(|_| !is_hidden) else {
            own.push(None);
            continue;
        };
        let data_type = each_innermost(field.data_type(), &as_date);
        if place == columns.len() {
            let (name, data_type) = (field.name().clone(), data_type.clone());
            columns.push(TableColumn { name, data_type, nullable: field.is_nullable() });
            found.push(path);
        }
        let column = &mut columns[place];
        let both = common(&column.data_type, &data_type);
        column.data_type = both.ok_or_else(|| {
            Error::input(format!(
                "column `{}` is {} in {}, but {} in {}; no type holds the values of both",
                field.name(),
                type_name(&column.data_type),
                found[place].display(),
                type_name(&data_type),
                path.display()
            ))
        })?;
        column.nullable |= field.is_nullable();
        own.push(Some(place));
    }
    Ok(own)
}

impl Columns {
    /// The number of the reader of a file whose columns are at `own` in the table.
    fn reader(&mut self, file: &Read, own: &[Option<usize>], stored: usize) -> usize {
        let mut columns = vec![PartColumn::Missing; stored];
        let schema = file.schema();
        let fields = schema.fields().iter().enumerate();
        for ((position, field), place) in fields.zip(own) {
            let Some(place) = place.filter(|place| *place < stored) else { continue };
            columns[place] = match field.data_type() {
                same if *same == self.columns[place].data_type => PartColumn::Stored(position),
                other => PartColumn::Cast { position, data_type: other.clone() },
            };
        }
        for (column, table) in columns.iter().zip(&mut self.columns) {
            table.nullable |= *column == PartColumn::Missing;
        }
        let partitions = self.columns.len() - stored;
        columns.extend((0..partitions).map(PartColumn::Constant));
        let scan = file.scan();
        let same = |r: &Reader| r.columns == columns && reads_alike(&r.scan, &scan);
        if let Some(known) = self.readers.iter().position(same) {
            // Footers that are at hand need not be read again.
            if let (FileScan::Parquet(all), FileScan::Parquet(one)) =
                (&mut self.readers[known].scan, scan)
            {
                all.footers.extend(one.footers);
            }
            return known;
        }
        self.readers.push(Reader { scan, columns });
        self.readers.len() - 1
    }
}

/// Whether two scans differ in their files only.
fn reads_alike(a: &FileScan, b: &FileScan) -> bool {
    match (a, b) {
        (FileScan::Arrow(a), FileScan::Arrow(b)) => a.columns == b.columns,
        (FileScan::Csv(a), FileScan::Csv(b)) => {
            let (mut a, mut b) = (a.clone(), b.clone());
            a.files.clear();
            b.files.clear();
            a == b
        }
        (FileScan::Json(a), FileScan::Json(b)) => a.layout == b.layout && a.columns == b.columns,
        (FileScan::Parquet(a), FileScan::Parquet(b)) => a.columns == b.columns,
        _ => false,
    }
}
