//! Columns that the binder cannot tell apart by their names, where other engines can.
//!
//! A query that it refuses for two equal names is bound again,
//!
//! * with casts that have names: `GROUP BY t, CAST(t AS DATE)` (see `functions::named_cast`);
//! * with other names for what stands beside `*`: `SELECT *, k` has the columns `k` and `k_1`.
//!
//! Sound: a name changes no value, and only queries are read so that had no meaning.

use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion_common::tree_node::TreeNodeRecursion;
use datafusion_expr::LogicalPlan;
use datafusion_expr::utils::grouping_set_to_exprlist;
use datafusion_sql::sqlparser::ast::{
    Expr, Ident, Query, Select, SelectItem, Value, Visit, VisitMut, Visitor, VisitorMut,
};
use gristmill_engine::{Error, Result};

use super::names::{column_name, given_name};
use super::syntax::call;
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
            let _ = VisitMut::visit(&mut query, &mut NameBesideAll { name });
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

/// Whether an expression is the cast of something that is not written as a constant.
fn is_cast(expr: &Expr) -> bool {
    matches!(expr, Expr::Cast { expr, .. } if !matches!(**expr, Expr::Value(_)))
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

/// Gives other names to what is called so beside `*`.
struct NameBesideAll {
    name: String,
}

impl VisitorMut for NameBesideAll {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        if !select.projection.iter().any(is_all) {
            return ControlFlow::Continue(());
        }
        let taken: Vec<String> = select.projection.iter().filter_map(given_name).collect();
        let mut number = 0;
        for item in &mut select.projection {
            if given_name(item).as_ref() != Some(&self.name) {
                continue;
            }
            let expr = match item {
                SelectItem::UnnamedExpr(expr) if column_name(expr).is_some() => expr,
                SelectItem::ExprWithAlias { expr, .. } => expr,
                _ => continue,
            };
            let expr = std::mem::replace(expr, Expr::value(Value::Null));
            let name = loop {
                number += 1;
                let name = format!("{}_{number}", self.name);
                if !taken.contains(&name) {
                    break name;
                }
            };
            *item = SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', name) };
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_that_two_columns_have_is_found_in_the_message() {
        let equal = |names: &str| {
            format!("Projections {EQUAL} but the expression {names} have the same name. Consider")
        };
        let cases = [
            (equal("\"t.k\" at position 0 and \"t.k\" at position 1"), Some("k")),
            (equal("\"t.k\" at position 0 and \"t.a + 1 AS k\" at position 1"), Some("k")),
            (
                format!("qualified field name t.k and unqualified field name k {AMBIGUOUS}"),
                Some("k"),
            ),
            ("something else".to_string(), None),
        ];
        for (said, name) in cases {
            assert_eq!(equal_name(&said).as_deref(), name, "{said}");
        }
    }
}
