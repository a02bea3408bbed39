//! What the binder says of a name that it did not find.

use datafusion_common::{Column, DataFusionError, SchemaError};
use gristmill_engine::{Error, Position};

use super::diagnose::{NO_TABLE, start_of};

/// A name that was not found.
pub(super) enum Missing<'a> {
    /// A column: where its name stands, if that is known, and the columns that there are.
    Column { name: &'a Column, place: Option<Position>, known: &'a [Column] },
    /// A table.
    Table,
}

impl Missing<'_> {
    /// The name that an error is about. What is wrong in a view is none of the query's.
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
            SchemaError::FieldNotFound { field, valid_fields } => {
                let own = || field.spans.first().map(|span| start_of(&span));
                let place = place.or_else(own);
                Some(Missing::Column { name: field, place, known: valid_fields })
            }
            _ => None,
        },
        DataFusionError::External(own) => match own.downcast_ref::<Error>() {
            Some(Error::Input { message, .. }) if message.starts_with(NO_TABLE) => {
                Some(Missing::Table)
            }
            _ => None,
        },
        _ => None,
    }
}
