//! Columns that the binder cannot tell apart by their names, where other engines can.
//!
//! A query that it refuses for two equal names is bound again,
//!
//! * with casts that have names: `GROUP BY t, CAST(t AS DATE)` (see `functions::named_cast`);
//! * with other names for what stands beside `*`: `SELECT *, k` has the columns `k` and `k_1`.
//!
//! Sound: only queries are read so that had no meaning. A column that gets another name belongs to
//! a SELECT that was found to be refused, by binding the query with an error before and behind it,
//! and the first column of the old name keeps it: no reference to that name finds another column,
//! in this query or in one around it. Of the outermost SELECT, whose columns nobody refers to, the
//! first one is shown by the name. ORDER BY follows an alias to its other name.

use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion_common::tree_node::TreeNodeRecursion;
use datafusion_expr::LogicalPlan;
use datafusion_expr::utils::grouping_set_to_exprlist;
use datafusion_sql::sqlparser::ast::{
    Expr, Ident, Query, Select, SelectItem, SetExpr, Value, Visit, VisitMut, Visitor, VisitorMut,
};
use gristmill_engine::{Error, Result};

use super::fold::FIRST_PREFIX;
use super::names::{column_name, follow_in_order, given_name, other_name};
use super::syntax::{call, name_query, number, select_from_one_row};
use crate::functions::NAMED_CAST;

/// Names that are told apart, at most.
const NAMES_MAX: usize = 64;

/// The query, if there may be another way to read it.
pub(super) fn kept(query: &Query) -> Option<Box<Query>> {
    query.visit(&mut Search).is_break().then(|| Box::new(query.clone()))
}

/// What is bound of a query, `first` if that names its columns apart.
pub(super) fn bound_apart(
    mut query: Box<Query>,
    first: Result<LogicalPlan>,
    bound: impl Fn(Box<Query>) -> Result<LogicalPlan>,
) -> Result<LogicalPlan> {
    let refused = match first {
        Ok(plan) if has_equal_keys(&plan) => {
            let _ = VisitMut::visit(&mut query, &mut NameCasts);
            // Where casts cannot have names, what is wrong with the query as it was written counts.
            return bound(query).or(Ok(plan));
        }
        Err(refused) if is_of_names(&refused) => refused,
        first => return first,
    };
    let mut error = refused.clone();
    for tries in 0..NAMES_MAX {
        let before = error.to_string();
        if tries == 0 {
            let _ = VisitMut::visit(&mut query, &mut NameCasts);
        } else {
            let Some(name) = equal_name(&before) else { break };
            let Some(at) = refused_select(&query, &name, &bound) else { break };
            let _ = change(&mut query, &name, at, Change::Rename);
        }
        error = match bound(query.clone()) {
            Err(error) => error,
            plan => return plan,
        };
        if !is_of_names(&error) || (tries > 0 && error.to_string() == before) {
            break;
        }
    }
    Err(refused)
}

/// Whether two keys of a GROUP BY have one name, which rules would refuse later on.
fn has_equal_keys(plan: &LogicalPlan) -> bool {
    let mut found = false;
    // Nothing in it fails.
    let _ = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Aggregate(aggregate) = node
            && let Ok(keys) = grouping_set_to_exprlist(&aggregate.group_expr)
        {
            let mut names = HashSet::new();
            found |= !keys.iter().all(|key| names.insert(key.schema_name().to_string()));
        }
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    found
}

const EQUAL: &str = "require unique expression names";
const DUPLICATE: &str = "Schema contains duplicate";
const AMBIGUOUS: &str = "which would be ambiguous";

fn is_of_names(error: &Error) -> bool {
    let text = error.to_string();
    [EQUAL, DUPLICATE, AMBIGUOUS].iter().any(|said| text.contains(said))
}

/// The name that two columns have, of what the binder says.
fn equal_name(said: &str) -> Option<String> {
    if said.contains(AMBIGUOUS) {
        let name = said.split("unqualified field name ").nth(1)?;
        return Some(name.split(" which").next()?.trim_matches('"').to_string());
    }
    let second = said.split(" and \"").nth(1)?.split("\" at position").next()?;
    let name = second.rsplit(" AS ").next()?;
    Some(name.rsplit('.').next()?.trim_matches('"').to_string())
}

/// Looks for casts, and for columns beside `*`.
struct Search;

impl Visitor for Search {
    type Break = ();

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        let has_all = select.projection.iter().any(is_all);
        if has_all && select.projection.len() > 1 {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if is_cast(expr) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

fn is_all(item: &SelectItem) -> bool {
    matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..))
}

fn is_cast(expr: &Expr) -> bool {
    matches!(expr, Expr::Cast { .. })
}

struct NameCasts;

impl VisitorMut for NameCasts {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if is_cast(expr) {
            let cast = std::mem::replace(expr, Expr::value(Value::Null));
            *expr = call(NAMED_CAST, vec![cast]);
        }
        ControlFlow::Continue(())
    }
}

/// The number of the SELECT with `*` and a column of this name that is refused for that.
fn refused_select(
    query: &Query,
    name: &str,
    bound: &impl Fn(Box<Query>) -> Result<LogicalPlan>,
) -> Option<usize> {
    let said = |at: usize, with: Change| -> Option<String> {
        let mut query = Box::new(query.clone());
        change(&mut query, name, at, with).then(|| bound(query).err())?.map(|e| e.to_string())
    };
    let is_reached = |at| said(at, Change::FailInside).is_some_and(|said| said.contains(FAILING));
    // With an error behind it, the one of this name still comes first.
    let is_refused = |at| {
        let said = said(at, Change::FailBehind);
        said.and_then(|said| equal_name(&said)).is_some_and(|equal| equal == name)
    };
    let mut all =
        (0..NAMES_MAX).take_while(|&at| change(&mut query.clone(), name, at, Change::None));
    all.find(|&at| is_reached(at) && is_refused(at))
}

/// The name of columns that are refused in any case.
const FAILING: &str = "__failing";

/// What is done to a SELECT.
#[derive(Clone, Copy, PartialEq)]
enum Change {
    None,
    /// Its list is refused before anything else in it.
    FailInside,
    /// The list of a SELECT of its rows is refused.
    FailBehind,
    /// A column beside `*` gets another name.
    Rename,
}

/// Changes a SELECT with `*` and a column of a name, by its number; says whether there is one.
fn change(query: &mut Query, name: &str, at: usize, with: Change) -> bool {
    VisitMut::visit(query, &mut Changing { name, at, with, depth: 0 }).is_break()
}

struct Changing<'a> {
    name: &'a str,
    /// SELECTs to be passed by.
    at: usize,
    with: Change,
    /// Queries around what is at hand.
    depth: usize,
}

impl VisitorMut for Changing<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        let mut alias = None;
        let mut open: Vec<&mut SetExpr> = vec![&mut query.body];
        let is_found = loop {
            let Some(part) = open.pop() else { break false };
            match part {
                SetExpr::SetOperation { left, right, .. } => {
                    open.extend([&mut **right, &mut **left]);
                }
                SetExpr::Select(select) if self.is_meant(select) => {
                    if self.at > 0 {
                        self.at -= 1;
                        continue;
                    }
                    match self.with {
                        Change::None => {}
                        Change::FailInside => drop(select.projection.splice(0..0, failing())),
                        Change::FailBehind => fail_behind(part),
                        Change::Rename => alias = rename_beside_all(select, self.name),
                    }
                    break true;
                }
                _ => {}
            }
        };
        if let Some(alias) = alias {
            follow_in_order(query, self.name, &alias);
        }
        if is_found { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

impl Changing<'_> {
    /// Whether a column of the name stands beside `*` and can get another name: one in front of
    /// all `*` is the first of its name, which a query around may mean.
    fn is_meant(&self, select: &Select) -> bool {
        let is_so = |item: &SelectItem| given_name(item).is_some_and(|name| name == self.name);
        let all = select.projection.iter().position(is_all);
        let named = select.projection.iter().rposition(is_so);
        let (Some(all), Some(named)) = (all, named) else { return false };
        self.depth == 0 || named > all
    }
}

fn failing() -> [SelectItem; 2] {
    ["1", "2"].map(|value| SelectItem::ExprWithAlias {
        expr: number(value),
        alias: Ident::with_quote('"', FAILING),
    })
}

fn fail_behind(part: &mut SetExpr) {
    let Some(mut query) = select_from_one_row(FAILING) else { return };
    std::mem::swap(&mut *query.body, part);
    name_query(&mut query, FAILING);
    if let SetExpr::Select(select) = query.body.as_mut() {
        select.projection = failing().to_vec();
    }
    *part = *query.body;
}

/// Gives another name to the last column that is called so; returns that of an alias.
fn rename_beside_all(select: &mut Select, name: &str) -> Option<String> {
    let mut taken: HashSet<String> = select.projection.iter().filter_map(given_name).collect();
    let is_so = |item: &SelectItem| given_name(item).is_some_and(|given| given == name);
    let all = select.projection.iter().position(is_all)?;
    let (at, item) = select.projection.iter_mut().enumerate().rfind(|(_, item)| is_so(item))?;
    let (expr, is_alias) = match item {
        SelectItem::UnnamedExpr(expr) if column_name(expr).is_some() => (expr, false),
        SelectItem::ExprWithAlias { expr, .. } => (expr, true),
        _ => return None,
    };
    let expr = std::mem::replace(expr, Expr::value(Value::Null));
    let other = match at < all {
        true => format!("{FIRST_PREFIX}{name}"),
        false => other_name(name, &mut taken),
    };
    *item = SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', &other) };
    is_alias.then_some(other)
}

#[cfg(test)]
mod tests {
    use datafusion_sql::planner::SqlToRel;
    use datafusion_sql::sqlparser::dialect::GenericDialect;
    use datafusion_sql::sqlparser::parser::Parser;
    use gristmill_engine::Position;

    use super::*;
    use crate::sql::diagnose::to_error;
    use crate::sql::{Binder, FunctionTable};
    use crate::testing::tpch;

    #[test]
    fn the_name_that_two_columns_have_is_found_in_what_the_binder_says() {
        let cases = [
            ("select t.*, t.k from (values (1)) t(k)", Some("k")),
            ("select t.*, t.k + 1 as \"K\", 2 as \"K\" from (values (1)) t(k)", Some("K")),
            ("select 1 as k, 2 as k", Some("k")),
            ("select *, -k as k from (values (1)) t(k)", Some("k")),
        ];
        let (catalog, functions) = (tpch(), FunctionTable::default());
        let binder = Binder::new(&catalog, &functions);
        for (text, name) in cases {
            let sql = Parser::parse_sql(&GenericDialect {}, text).expect("parses").remove(0);
            // As it is written, with nothing of what makes names different before.
            let error = SqlToRel::new(&binder).sql_statement_to_plan(sql).expect_err("refused");
            let error = to_error(&error, &Position { file: None, line: 1, column: 1 });
            assert!(is_of_names(&error), "{error}");
            assert_eq!(equal_name(&error.to_string()).as_deref(), name, "{error}");
        }
        assert_eq!(equal_name("something else"), None);
    }
}
