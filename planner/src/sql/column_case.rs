//! Columns whose names have capitals, by names without quotes: `amount`, `Amount` and `AMOUNT` mean
//! the column `Amount` where no other has that name but for its case.
//!
//! The binder makes small letters of names without quotes, as the standard does of capitals, and
//! finds no such column. Then names that can be spelled in one way alone are spelled so, all at
//! once (see `spellings`). Where that is not enough, since two tables spell a name in two ways, the
//! binder says where it found no column, and which there are: there the one that was meant is
//! written as it is called, and the query is bound again.
//!
//! Sound: only queries are read so that had no meaning.

use std::ops::ControlFlow;

use datafusion_common::{Column, DataFusionError, Result};
use datafusion_expr::LogicalPlan;
use datafusion_sql::sqlparser::ast::{Expr, Ident, Query, VisitMut, VisitorMut};
use gristmill_engine::Position;

use super::diagnose::at;
use super::missing::Missing;
use super::spellings::Spellings;

/// Places where a name is replaced, at most.
const PLACES_MAX: usize = 1_000;

/// What is bound of a query, its columns by names in any case. `remember` is given the query that
/// could be bound, where it is another one.
///
/// # Errors
/// Those of `bound` for the query as it was written.
pub(super) fn bound_in_any_case(
    mut query: Box<Query>,
    spellings: impl FnOnce(&Query) -> Spellings,
    bound: impl Fn(Box<Query>) -> Result<LogicalPlan>,
    remember: impl Fn(Box<Query>),
) -> Result<LogicalPlan> {
    let error = match bound(query.clone()) {
        Err(error) => error,
        plan => return plan,
    };
    if Missing::of(&error).is_none() {
        return Err(error);
    }
    let mut spelled = query.clone();
    if spellings(&query).spell(&mut spelled)
        && let Ok(plan) = bound_by_places(&mut spelled, &bound)
    {
        remember(spelled);
        return Ok(plan);
    }
    if !Meant::write_at(&mut query, &error) {
        return Err(error);
    }
    let plan = bound_by_places(&mut query, &bound)?;
    remember(query);
    Ok(plan)
}

/// The same, one name after another where the binder finds no column.
fn bound_by_places(
    query: &mut Box<Query>,
    bound: &impl Fn(Box<Query>) -> Result<LogicalPlan>,
) -> Result<LogicalPlan> {
    for _ in 0..PLACES_MAX {
        match bound(query.clone()) {
            Err(error) if Meant::write_at(query, &error) => {}
            Err(error) => return Err(error),
            plan => return plan,
        }
    }
    bound(query.clone())
}

/// A name that was not found, where it is, and the column that it means.
struct Meant {
    name: String,
    place: Position,
    column: String,
    is_written: bool,
}

impl Meant {
    /// Writes the column that was meant where the binder found none; says whether it did.
    fn write_at(query: &mut Query, error: &DataFusionError) -> bool {
        let Some(Missing::Column { name, place: Some(place), known }) = Missing::of(error) else {
            return false;
        };
        let Some(column) = only_one(name, known) else { return false };
        let name = name.name.to_lowercase();
        let mut meant = Meant { name, place, column, is_written: false };
        let _ = VisitMut::visit(query, &mut meant);
        meant.is_written
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
