//! The rows of several inputs, one input after the other (`UNION ALL`).
//!
//! A union has no code that runs: its inputs become the arms of one stream.

use arrow::datatypes::{Field as ArrowField, Schema, SchemaRef};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::plan::{Build, Field, Spec, Stream, to_fields};

/// `UNION ALL` of inputs with the same types; names are those of the first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Union {}

impl Spec for Union {
    fn name(&self) -> &'static str {
        "union"
    }

    fn schema(&self, inputs: &[SchemaRef]) -> Result<SchemaRef> {
        let Some((first, rest)) = inputs.split_first() else {
            return Err(Error::internal("a union of nothing"));
        };
        let mut fields: Vec<ArrowField> =
            first.fields().iter().map(|field| field.as_ref().clone()).collect();
        for (number, input) in rest.iter().enumerate() {
            if input.fields().len() != fields.len() {
                return Err(Error::internal(format!(
                    "input {} of a union has {} columns, the first has {}",
                    number + 1,
                    input.fields().len(),
                    fields.len()
                )));
            }
            for (field, other) in fields.iter_mut().zip(input.fields()) {
                if field.data_type() != other.data_type() {
                    return Err(Error::internal(format!(
                        "column `{}` of a union is {} and {}",
                        field.name(),
                        field.data_type(),
                        other.data_type()
                    )));
                }
                field.set_nullable(field.is_nullable() || other.is_nullable());
            }
        }
        Ok(Arc::new(Schema::new(fields)))
    }

    fn explain(&self) -> Vec<Field> {
        Vec::new()
    }

    fn to_json(&self) -> Result<Value> {
        to_fields(self)
    }

    fn build(&self, inputs: Vec<Stream>, _: &mut Build) -> Result<Stream> {
        let schemas: Vec<SchemaRef> = inputs.iter().map(|input| input.schema.clone()).collect();
        let schema = self.schema(&schemas)?;
        let union = inputs.into_iter().reduce(Stream::chain);
        let mut union = union.ok_or_else(|| Error::internal("a union of nothing"))?;
        union.schema = schema;
        Ok(union)
    }
}
