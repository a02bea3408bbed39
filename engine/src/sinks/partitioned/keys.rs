//! The rows of a chunk by partition, and the path of each partition.

use std::collections::HashMap;
use std::fmt::Write;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Fields, Schema};
use arrow::row::{RowConverter, SortField};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::batch::{Chunk, Selection, to_logical, with_float_keys};
use crate::error::{Error, Result};

/// What stands for NULL in a path.
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// Whether values of this type can be in a path.
pub(super) fn is_key(data_type: &DataType) -> bool {
    use DataType as T;
    match data_type {
        T::Dictionary(_, values) => is_key(values),
        T::Utf8 | T::LargeUtf8 | T::Utf8View | T::Boolean => true,
        T::Date32 | T::Date64 | T::Timestamp(_, _) => true,
        other => other.is_integer() || other.is_decimal() || other.is_floating(),
    }
}

/// Tells partitions apart, for one worker.
pub(super) struct Keys {
    columns: Vec<usize>,
    fields: Fields,
    converter: RowConverter,
    /// The paths of the partitions of the chunk at hand, by key.
    paths: HashMap<Box<[u8]>, usize>,
}

/// The rows of a chunk that are of one partition.
pub(super) struct Rows {
    /// Its directory, relative to that of all.
    pub(super) path: String,
    pub(super) chunk: Chunk,
}

impl Keys {
    /// Partitions by these columns of rows of `schema`.
    pub(super) fn new(columns: &[usize], schema: &Schema) -> Result<Keys> {
        let fields: Fields = columns.iter().map(|&c| schema.fields()[c].clone()).collect();
        let sorts = fields.iter().map(|field| SortField::new(field.data_type().clone())).collect();
        Ok(Keys {
            columns: columns.to_vec(),
            fields,
            converter: RowConverter::new(sorts)?,
            paths: HashMap::new(),
        })
    }

    /// The live rows of a chunk by partition, in the order in which partitions are met.
    pub(super) fn split(&mut self, chunk: &Chunk) -> Result<Vec<Rows>> {
        let arrays = self.columns.iter().zip(&self.fields).map(|(&column, field)| {
            let values = to_logical(&chunk.live_array(column)?, field.data_type())?;
            // Equal as sorting has it: one zero, one NaN.
            with_float_keys(&values)
        });
        let arrays = arrays.collect::<Result<Vec<ArrayRef>>>()?;
        let rows = self.converter.convert_columns(&arrays)?;
        let live = chunk.live_positions();
        self.paths.clear();
        let mut parts: Vec<(usize, Vec<u32>)> = Vec::new();
        let mut last: Option<(&[u8], usize)> = None;
        for row in 0..rows.num_rows() {
            let key = rows.row(row);
            let key: &[u8] = key.data();
            let part = match last {
                Some((known, part)) if known == key => part,
                _ => match self.paths.get(key) {
                    Some(&part) => part,
                    None => {
                        self.paths.insert(key.into(), parts.len());
                        parts.push((row, Vec::new()));
                        parts.len() - 1
                    }
                },
            };
            last = Some((key, part));
            if let Some((_, positions)) = parts.get_mut(part) {
                positions.extend(live.get(row));
            }
        }
        let rows = parts.into_iter().map(|(first, positions)| {
            let path = self.path(&arrays, first)?;
            Ok(Rows { path, chunk: chunk.clone().select(Selection::new(positions)) })
        });
        rows.collect()
    }

    fn path(&self, arrays: &[ArrayRef], row: usize) -> Result<String> {
        let mut path = String::new();
        for (array, field) in arrays.iter().zip(&self.fields) {
            if !path.is_empty() {
                path.push('/');
            }
            match field.name().strip_prefix('.') {
                // Names that begin with a dot are passed over.
                Some(rest) => {
                    path.push_str("%2E");
                    encode(rest, &mut path);
                }
                None => encode(field.name(), &mut path),
            }
            path.push('=');
            if array.is_null(row) {
                path.push_str(NULL);
                continue;
            }
            let formatter = ArrayFormatter::try_new(array, &FormatOptions::new())?;
            let text = formatter.value(row).try_to_string().map_err(Error::from)?;
            match text.strip_prefix('_') {
                // Not to be taken for NULL.
                Some(rest) if text == NULL => {
                    let _ = write!(path, "%5F{rest}");
                }
                _ => encode(&text, &mut path),
            }
        }
        Ok(path)
    }
}

/// Characters that cannot stand in a name, or mean something in paths and patterns, by number.
fn encode(text: &str, out: &mut String) {
    for character in text.chars() {
        let is_special = "\"#%'*/:=?\\{}[]^<>|".contains(character) || character.is_control();
        if !is_special {
            out.push(character);
            continue;
        }
        let mut buffer = [0; 4];
        for byte in character.encode_utf8(&mut buffer).bytes() {
            // Writing to memory does not fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}
