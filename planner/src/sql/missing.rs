//! What the binder says of a column that it did not find.

use datafusion_common::{Column, DataFusionError, SchemaError};
use gristmill_engine::Position;

use super::diagnose::start_of;

/// A column that was not found, and where its name stands, if that is known.
pub(super) struct Missing<'a> {
    pub(super) name: &'a Column,
    pub(super) place: Option<Position>,
}

impl Missing<'_> {
    /// The column that an error is about.
    pub(super) fn of(error: &DataFusionError) -> Option<Missing<'_>> {
        find(error, None)
    }
}

fn find(error: &DataFusionError, place: Option<Position>) -> Option<Missing<'_>> {
    match error {
        DataFusionError::Diagnostic(diagnostic, inner) => {
            find(inner, place.or_else(|| diagnostic.span.as_ref().map(start_of)))
        }
        DataFusionError::Context(_, inner) => find(inner, place),
        DataFusionError::Shared(inner) => find(inner, place),
        DataFusionError::Collection(all) => find(all.first()?, place),
        DataFusionError::SchemaError(schema, _) => match schema.as_ref() {
            SchemaError::FieldNotFound { field, .. } => {
                let own = || field.spans.first().map(|span| start_of(&span));
                Some(Missing { name: field, place: place.or_else(own) })
            }
            _ => None,
        },
        _ => None,
    }
}
