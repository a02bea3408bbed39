//! Rows written in the program: `VALUES (1, 'a'), (2, 'b')`, and the row without columns that a
//! SELECT without FROM reads.
//!
//! Memory: the rows, as long as the plan lives.
//! Concurrency: one worker hands out all chunks, in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{Array, ArrayRef};
use arrow::compute::{cast, concat};
use arrow::datatypes::{DataType, Field as ArrowField, Schema, SchemaRef};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::batch::{CHUNK_ROWS, Chunk, Column, Place, physical_type, widen_decimal};
use crate::error::{Error, Result};
use crate::expr::Literal;
use crate::pipeline::{Context, Pull, Source, SourceWorker};
use crate::plan::{Build, Field, Spec, Stream, to_fields};

/// Constant rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Values {
    /// Names and types of the columns; may be none.
    pub columns: Vec<ValuesColumn>,
    /// The rows: a literal per column, of the column's type.
    pub rows: Vec<Vec<Literal>>,
}

/// A column of [`Values`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ValuesColumn {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type", with = "crate::expr::data_type")]
    pub data_type: DataType,
}

impl Values {
    /// One row without columns.
    pub fn one_row() -> Values {
        Values { columns: Vec::new(), rows: vec![Vec::new()] }
    }

    fn chunks(&self) -> Result<Vec<Chunk>> {
        let chunks = self.rows.chunks(CHUNK_ROWS).map(|rows| {
            let columns = self.columns.iter().enumerate().map(|(number, column)| {
                let literals = rows.iter().map(|row| {
                    row.get(number).ok_or_else(|| Error::internal("a row of VALUES is too short"))
                });
                let literals = literals.collect::<Result<Vec<_>>>()?;
                let array = to_array(&literals, &column.data_type)?;
                Ok(Column::flat(column.data_type.clone(), array))
            });
            let columns = columns.collect::<Result<Vec<_>>>()?;
            Ok(Chunk::new(columns, rows.len(), Place::default()))
        });
        chunks.collect()
    }
}

/// Literals as one physical array.
fn to_array(literals: &[&Literal], data_type: &DataType) -> Result<ArrayRef> {
    let arrays = literals.iter().map(|literal| literal.to_array());
    let mut arrays = arrays.collect::<Result<Vec<_>>>()?;
    let physical = physical_type(data_type);
    if matches!(physical, DataType::Decimal128(..)) {
        // NULLs and literals come as narrow as they fit.
        arrays = arrays.iter().map(widen_decimal).collect();
    }
    for array in &mut arrays {
        if *array.data_type() != physical {
            *array = cast(array, &physical)?;
        }
    }
    let arrays: Vec<&dyn Array> = arrays.iter().map(AsRef::as_ref).collect();
    Ok(concat(&arrays)?)
}

impl Spec for Values {
    fn name(&self) -> &'static str {
        "values"
    }

    fn schema(&self, inputs: &[SchemaRef]) -> Result<SchemaRef> {
        if !inputs.is_empty() {
            return Err(Error::internal("values has no input"));
        }
        for row in &self.rows {
            if row.len() != self.columns.len() {
                return Err(Error::internal("rows of VALUES of different lengths"));
            }
            for (literal, column) in row.iter().zip(&self.columns) {
                if literal.data_type != column.data_type {
                    return Err(Error::internal(format!(
                        "{literal} in column `{}` of type {}",
                        column.name, column.data_type
                    )));
                }
            }
        }
        let fields = self.columns.iter().enumerate().map(|(number, column)| {
            let nullable =
                self.rows.iter().any(|row| row.get(number).is_some_and(Literal::is_null));
            ArrowField::new(&column.name, column.data_type.clone(), nullable)
        });
        Ok(Arc::new(Schema::new(fields.collect::<Vec<_>>())))
    }

    fn explain(&self) -> Vec<Field> {
        let names: Vec<&str> = self.columns.iter().map(|column| column.name.as_str()).collect();
        vec![("rows", self.rows.len().to_string()), ("columns", names.join(", "))]
    }

    fn to_json(&self) -> Result<Value> {
        to_fields(self)
    }

    fn build(&self, _: Vec<Stream>, _: &mut Build) -> Result<Stream> {
        let source = ValuesSource { chunks: self.chunks()?.into(), next: Default::default() };
        Ok(Stream::new(self.schema(&[])?, Arc::new(source), Vec::new()))
    }
}

/// Shared state: the number of the next chunk.
struct ValuesSource {
    chunks: Arc<[Chunk]>,
    next: Arc<AtomicUsize>,
}

struct ValuesWorker {
    chunks: Arc<[Chunk]>,
    next: Arc<AtomicUsize>,
}

impl Source for ValuesSource {
    fn name(&self) -> &str {
        "values"
    }

    fn worker(&self, _: &Context) -> Result<Box<dyn SourceWorker>> {
        Ok(Box::new(ValuesWorker { chunks: self.chunks.clone(), next: self.next.clone() }))
    }

    fn parallelism(&self) -> usize {
        1
    }

    fn reset(&self) -> Result<()> {
        self.next.store(0, Ordering::Relaxed);
        Ok(())
    }
}

impl SourceWorker for ValuesWorker {
    fn pull(&mut self, _: &Context) -> Result<Pull> {
        // Each chunk is a morsel, so that any number of workers keeps the order.
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        Ok(match self.chunks.get(number) {
            Some(chunk) => {
                let place = Place { morsel: number as u64, sequence: 0 };
                Pull::Chunk(chunk.clone().with_place(place))
            }
            None => Pull::Finished,
        })
    }
}
