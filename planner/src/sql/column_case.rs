//! Columns whose names have capitals, by names without quotes: `amount`, `Amount` and `AMOUNT` mean
//! the column `Amount` where no other has that name but for its case.
//!
//! The binder makes small letters of names without quotes, as the standard does of capitals, and
//! finds no such column; it says where, and which columns there are. There the one that was meant
//! is written as it is called, and the query is bound again.
//!
//! Sound: only queries are read so that had no meaning.

use std::ops::ControlFlow;

use datafusion_common::{Column, DataFusionError, Result, SchemaError};
use datafusion_expr::LogicalPlan;
use datafusion_sql::sqlparser::ast::{Expr, Ident, Query, VisitMut, VisitorMut};
use gristmill_engine::Position;

use super::diagnose::{at, start_of};

/// Places where a name is replaced, at most.
const PLACES_MAX: usize = 1_000;

/// What is bound of a query, its columns by names in any case.
///
/// # Errors
/// Those of `bound`.
pub(super) fn bound_in_any_case(
    mut query: Box<Query>,
    bound: impl Fn(Box<Query>) -> Result<LogicalPlan>,
) -> Result<LogicalPlan> {
    for _ in 0..PLACES_MAX {
        let error = match bound(query.clone()) {
            Err(error) => error,
            plan => return plan,
        };
        let Some(mut meant) = Meant::of(&error, None) else { return Err(error) };
        let _ = VisitMut::visit(&mut query, &mut meant);
        if !meant.is_written {
            return Err(error);
        }
    }
    bound(query)
}

/// A name that was not found, where it is, and the column that it means.
struct Meant {
    name: String,
    place: Position,
    column: String,
    is_written: bool,
}

impl Meant {
    fn of(error: &DataFusionError, place: Option<Position>) -> Option<Meant> {
        match error {
            DataFusionError::Diagnostic(diagnostic, inner) => {
                Meant::of(inner, place.or_else(|| diagnostic.span.as_ref().map(start_of)))
            }
            DataFusionError::Context(_, inner) => Meant::of(inner, place),
            DataFusionError::Shared(inner) => Meant::of(inner, place),
            DataFusionError::Collection(all) => Meant::of(all.first()?, place),
            DataFusionError::SchemaError(schema, _) => match schema.as_ref() {
                SchemaError::FieldNotFound { field, valid_fields } => {
                    let column = only_one(field, valid_fields)?;
                    let place =
                        place.or_else(|| field.spans.first().map(|span| start_of(&span)))?;
                    Some(Meant {
                        name: field.name.to_lowercase(),
                        place,
                        column,
                        is_written: false,
                    })
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// Writes the column's name, if this is the place.
    fn write(&mut self, parts: &mut [Ident]) {
        let starts = |ident: &Ident| at(ident.span.start.line, ident.span.start.column);
        let is_here = parts.iter().any(|part| starts(part) == self.place);
        if let Some(name) = parts.last_mut().filter(|_| is_here)
            && name.quote_style.is_none()
            && name.value.to_lowercase() == self.name
        {
            let span = name.span;
            *name = Ident { span, ..Ident::with_quote('"', &self.column) };
            self.is_written = true;
        }
    }
}

/// The only column that has the name but for its case.
fn only_one(field: &Column, valid: &[Column]) -> Option<String> {
    let wanted = field.name.to_lowercase();
    let is_it = |column: &&Column| {
        column.name.to_lowercase() == wanted
            && (field.relation.is_none() || field.relation == column.relation)
    };
    let mut found = valid.iter().filter(is_it);
    let first = found.next()?;
    found.all(|other| other.name == first.name).then(|| first.name.clone())
}

impl VisitorMut for Meant {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Identifier(name) => self.write(std::slice::from_mut(name)),
            Expr::CompoundIdentifier(parts) => self.write(parts),
            _ => {}
        }
        if self.is_written { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}
