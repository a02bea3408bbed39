//! The names that a SELECT gives its columns, in the rest of its list and in WHERE:
//! `SELECT a + 1 AS b, b * 2 AS c FROM t WHERE b > 1`.
//!
//! In GROUP BY, HAVING, QUALIFY and ORDER BY the binder knows them. Elsewhere it finds no column of
//! such a name, neither among the tables of the SELECT nor in the queries around, and says where it
//! looked: there, and wherever else the SELECT has the name, what the name stands for is written,
//! and the query is bound again.
//!
//! Sound: only queries are read so that had no meaning, and a name is replaced by an expression
//! over the same tables: never in a subquery, whose names are others, and in no lambda whose
//! parameters are named as what would be written there. What gives another value each time would be
//! computed twice: its name is refused.

use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion_common::{DataFusionError, TableReference};
use datafusion_expr::LogicalPlan;
use datafusion_sql::sqlparser::ast::{
    Expr, Function, Ident, Query, Select, SelectItem, TableFactor, TableWithJoins, Visit, VisitMut,
    Visitor, VisitorMut,
};
use datafusion_sql::sqlparser::tokenizer::Span;
use gristmill_engine::{Error, Position, Result};

use super::diagnose::at;
use super::level::{OnLevel, visit_level};
use super::missing::Missing;
use super::structs::PART;
use super::syntax::{call, nested, plain_name, text};
use super::using::{USING_PREFIX, plain, qualify_around};

/// Names that are replaced, at most.
const NAMES_MAX: usize = 256;
/// Levels of an expression that names stand for, and the expressions in it.
const LEVELS_MAX: usize = 100;
const SIZE_MAX: usize = 5_000;

/// What is bound of a query, with the names of its own columns where it needs them.
///
/// # Errors
/// Those of `bound`, `told`, and `Input` for a name that cannot be replaced.
pub(super) fn bound_with_aliases(
    mut query: Box<Query>,
    is_random: &dyn Fn(&str) -> bool,
    bound: impl Fn(Box<Query>) -> datafusion_common::Result<LogicalPlan>,
    told: impl Fn(&DataFusionError) -> Error,
) -> Result<LogicalPlan> {
    let bound_once = |query| bound(query).map_err(|error| told(&error));
    let mut names = Names::default();
    let _ = Visit::visit(&query, &mut names);
    if !names.has_merged && names.given.is_disjoint(&names.read) {
        return bound_once(query);
    }
    let mut before: Option<DataFusionError> = None;
    for _ in 0..NAMES_MAX {
        let error = match bound(query.clone()) {
            Err(error) => error,
            Ok(plan) => return Ok(plan),
        };
        let Some(Missing { name, place }) = Missing::of(&error) else {
            return Err(told(&error));
        };
        let is_merged = |table: &TableReference| table.table().starts_with(USING_PREFIX);
        if let Some(before) =
            before.as_ref().filter(|_| name.relation.as_ref().is_some_and(is_merged))
        {
            // A join around does not stand where this could be its column.
            return Err(told(before));
        }
        let only = || only_place(&mut query, &name.name).filter(|_| name.relation.is_none());
        let Some(place) = place.or_else(only) else { return Err(told(&error)) };
        let mut writing = Writing { place: place.clone(), is_random, outcome: Ok(false) };
        let _ = VisitMut::visit(&mut query, &mut writing);
        let is_written =
            writing.outcome? || qualify_around(&mut query, &|name| place_of(name) == place);
        if !is_written {
            return Err(told(&error));
        }
        before = Some(error);
    }
    bound_once(query)
}

/// A place of the name in an error that does not say where it is: of the only SELECT that reads it.
fn only_place(query: &mut Query, name: &str) -> Option<Position> {
    let mut reading = Reading { name, places: Vec::new() };
    let _ = VisitMut::visit(query, &mut reading);
    match &reading.places[..] {
        [place] => Some(place.clone()),
        _ => None,
    }
}

/// Looks for a name; the last place in each SELECT that reads it.
struct Reading<'a> {
    name: &'a str,
    places: Vec<Position>,
}

impl VisitorMut for Reading<'_> {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        let is_wanted = |ident: &Ident| plain(ident) == self.name;
        let items = select.projection.iter_mut().filter_map(|item| match item {
            SelectItem::ExprWithAlias { expr, .. } | SelectItem::UnnamedExpr(expr) => Some(expr),
            _ => None,
        });
        let found = items.chain(&mut select.selection).filter_map(|e| name_in(e, &is_wanted));
        self.places.extend(found.last().map(|(_, place)| place));
        ControlFlow::Continue(())
    }
}

/// The names that are given to columns, and those that are read.
#[derive(Default)]
struct Names {
    given: HashSet<String>,
    read: HashSet<String>,
    /// Whether joins merge columns: subqueries may read those, too (see `using`).
    has_merged: bool,
}

impl Visitor for Names {
    type Break = ();

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        self.given.extend(select.projection.iter().filter_map(|item| Some(alias_of(item)?.0)));
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, table: &TableFactor) -> ControlFlow<()> {
        if let TableFactor::NestedJoin { alias: Some(alias), .. } = table {
            self.has_merged |= alias.name.value.starts_with(USING_PREFIX);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        self.read.extend(first_name(expr).map(plain));
        ControlFlow::Continue(())
    }
}

/// The name that is given to a column, and what it stands for.
fn alias_of(item: &SelectItem) -> Option<(String, &Expr)> {
    match item {
        SelectItem::ExprWithAlias { expr, alias } => Some((plain(alias), expr)),
        _ => None,
    }
}

/// Whether an alias was written as this name. Where one is given again, others have a number behind
/// it and no place (see `names`); the last of them is meant, as in ORDER BY.
fn gives(alias: &Ident, name: &str) -> bool {
    let given = plain(alias);
    let number = given.strip_prefix(name).and_then(|rest| rest.strip_prefix('_'));
    let is_number = |rest: &str| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit());
    given == name || (alias.span == Span::empty() && number.is_some_and(is_number))
}

/// The name that an expression is, or the one before its first point.
fn first_name(expr: &Expr) -> Option<&Ident> {
    match expr {
        Expr::Identifier(name) => Some(name),
        Expr::CompoundIdentifier(names) => names.first(),
        _ => None,
    }
}

/// Writes what a name stands for into the SELECT that has it at a place.
struct Writing<'a> {
    place: Position,
    is_random: &'a dyn Fn(&str) -> bool,
    /// Whether a name was replaced.
    outcome: Result<bool>,
}

impl VisitorMut for Writing<'_> {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        self.outcome = self.write(select);
        match self.outcome {
            Ok(false) => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        }
    }
}

impl Writing<'_> {
    fn write(&self, select: &mut Select) -> Result<bool> {
        let items = select.projection.len();
        let mut found = None;
        for (index, item) in select.projection.iter_mut().enumerate() {
            if let SelectItem::ExprWithAlias { expr, .. } | SelectItem::UnnamedExpr(expr) = item
                && let Some(name) = name_at(expr, &self.place)
            {
                found = Some((name, index));
            }
        }
        let mut in_condition = || name_at(select.selection.as_mut()?, &self.place);
        let Some((name, before)) = found.or_else(|| Some((in_condition()?, items))) else {
            return Ok(false);
        };
        let Some((index, meant)) = meant_by(&name, &select.projection[..before]) else {
            return Ok(false);
        };
        let mut about = About::default();
        let _ = Visit::visit(&meant, &mut about);
        self.check(&name, &about, before == items)?;
        let mut replacing = Walk::new(Some((&name, &meant, &about.names)));
        // `t.b` is a column of the table, also where `t` is a name given here.
        replacing.is_table = tables_of(select).contains(&name);
        let rest = &mut select.projection[index + 1..];
        // Behind a column that gets the name again it means that.
        let again = rest.iter().position(|item| match item {
            SelectItem::ExprWithAlias { alias, .. } => gives(alias, &name),
            _ => false,
        });
        for item in rest.iter_mut().take(again.map_or(usize::MAX, |again| again + 1)) {
            if let SelectItem::ExprWithAlias { expr, .. } | SelectItem::UnnamedExpr(expr) = item {
                visit_level(expr, &mut replacing);
            }
        }
        if let Some(condition) = select.selection.as_mut().filter(|_| again.is_none()) {
            visit_level(condition, &mut replacing);
        }
        Ok(replacing.has_replaced)
    }

    /// # Errors
    /// When the name cannot be replaced by what it stands for.
    fn check(&self, name: &str, about: &About, in_condition: bool) -> Result<()> {
        let wrong = if let Some(call) = about.functions.iter().find(|name| (self.is_random)(name)) {
            format!(
                "calls {call}(), whose value would be another one here; compute it in a subquery"
            )
        } else if about.has_window && in_condition {
            "is computed over the rows that WHERE leaves; use QUALIFY in place of WHERE".to_string()
        } else if about.levels_most > LEVELS_MAX || about.size > SIZE_MAX {
            "stands for too large an expression; compute it in a subquery".to_string()
        } else {
            return Ok(());
        };
        let message = format!("`{name}` is a column of this SELECT that {wrong}");
        Err(Error::input_at(message, self.place.clone()))
    }
}

/// The last of columns that has the name, by its number, and its expression. One that reads the
/// name of an earlier one comes after that.
fn meant_by(name: &str, columns: &[SelectItem]) -> Option<(usize, Expr)> {
    let given = columns.iter().enumerate().rev().find_map(|(index, item)| match item {
        SelectItem::ExprWithAlias { expr, alias } if gives(alias, name) => Some((index, expr)),
        _ => None,
    });
    let (index, expr) = given?;
    let mut about = About::default();
    let _ = Visit::visit(expr, &mut about);
    let earlier = || meant_by(name, &columns[..index]);
    if about.names.contains(name) { earlier() } else { Some((index, expr.clone())) }
}

/// The name at a place of an expression.
fn name_at(expr: &mut Expr, place: &Position) -> Option<String> {
    name_in(expr, &|ident| place_of(ident) == *place).map(|(name, _)| name)
}

/// The first name of a kind in an expression, not in a subquery, and where it is.
fn name_in(expr: &mut Expr, is_wanted: &dyn Fn(&Ident) -> bool) -> Option<(String, Position)> {
    let mut walk = Walk::new(None);
    walk.is_wanted = Some(is_wanted);
    visit_level(expr, &mut walk);
    walk.found
}

fn place_of(ident: &Ident) -> Position {
    at(ident.span.start.line, ident.span.start.column)
}

/// What is to know of an expression that is written elsewhere.
#[derive(Default)]
struct About {
    functions: HashSet<String>,
    /// First names of columns.
    names: HashSet<String>,
    size: usize,
    levels: usize,
    levels_most: usize,
    queries: usize,
    has_window: bool,
}

impl Visitor for About {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.queries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.queries -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        self.names.extend(first_name(expr).map(plain));
        if let Expr::Function(Function { name, over, .. }) = expr {
            self.has_window |= over.is_some() && self.queries == 0;
            let name = plain_name(name).map_or_else(|| name.to_string(), str::to_string);
            self.functions.insert(name.to_lowercase());
        }
        self.size += 1;
        self.levels += 1;
        self.levels_most = self.levels_most.max(self.levels);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, _: &Expr) -> ControlFlow<()> {
        self.levels = self.levels.saturating_sub(1);
        ControlFlow::Continue(())
    }
}

/// What the tables of a SELECT are called.
fn tables_of(select: &Select) -> HashSet<String> {
    let joined = |table: &TableWithJoins| {
        let joins = table.joins.iter().map(|join| join.relation.clone());
        std::iter::once(table.relation.clone()).chain(joins).collect::<Vec<_>>()
    };
    let name = |table: TableFactor| match table {
        TableFactor::Table { alias: Some(alias), .. }
        | TableFactor::Derived { alias: Some(alias), .. } => Some(plain(&alias.name)),
        TableFactor::Table { name, .. } => Some(plain(name.0.last()?.as_ident()?)),
        _ => None,
    };
    select.from.iter().flat_map(joined).filter_map(name).collect()
}

/// Goes through an expression, but not through its subqueries.
struct Walk<'a> {
    /// The name that is looked for.
    is_wanted: Option<&'a dyn Fn(&Ident) -> bool>,
    found: Option<(String, Position)>,
    /// The name, what is written for it, and the names in that.
    replaced: Option<(&'a str, &'a Expr, &'a HashSet<String>)>,
    has_replaced: bool,
    /// Whether a table has that name, too.
    is_table: bool,
    /// The parameters of lambdas around.
    parameters: Vec<HashSet<String>>,
}

impl<'a> Walk<'a> {
    fn new(replaced: Option<(&'a str, &'a Expr, &'a HashSet<String>)>) -> Self {
        let parameters = Vec::new();
        Walk {
            is_wanted: None,
            found: None,
            replaced,
            has_replaced: false,
            is_table: false,
            parameters,
        }
    }

    /// Whether lambdas around have other meanings for one of the names.
    fn hides(&self, names: &HashSet<String>) -> bool {
        self.parameters.iter().any(|parameters| !parameters.is_disjoint(names))
    }
}

impl OnLevel for Walk<'_> {
    fn enter(&mut self, expr: &mut Expr) {
        if let Expr::Lambda(lambda) = expr {
            self.parameters.push(lambda.params.iter().map(|p| plain(&p.name)).collect());
        }
    }

    fn leave(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if matches!(expr, Expr::Lambda(_)) {
            self.parameters.pop();
        }
        let Some(ident) = first_name(expr) else { return ControlFlow::Continue(()) };
        let name = plain(ident);
        if self.is_wanted.is_some_and(|is_wanted| is_wanted(ident)) {
            self.found = Some((name, place_of(ident)));
            return ControlFlow::Break(());
        }
        if let Some((replaced, meant, names)) = self.replaced
            && name == replaced
            && !(self.is_table && matches!(expr, Expr::CompoundIdentifier(_)))
            && !self.hides(names)
            && !self.parameters.iter().any(|parameters| parameters.contains(replaced))
        {
            *expr = in_place_of(expr, meant);
            self.has_replaced = true;
        }
        ControlFlow::Continue(())
    }
}

/// What a name stands for, and what is taken out of it behind points.
fn in_place_of(name: &Expr, meant: &Expr) -> Expr {
    let meant = match meant {
        Expr::Nested(_) | Expr::Value(_) | Expr::Function(_) => meant.clone(),
        other => nested(other.clone()),
    };
    let Expr::CompoundIdentifier(names) = name else { return meant };
    let members = names.iter().skip(1);
    members.fold(meant, |of, member| call(PART, vec![of, text(&plain(member))]))
}
