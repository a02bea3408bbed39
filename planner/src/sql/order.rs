//! What a name in ORDER BY means.
//!
//! A name alone is a column of the result. Inside an expression it is a column of the tables, and
//! one of the result only where they have none of that name; the binder would take the result's
//! first. `SELECT -k AS k FROM t ORDER BY k + 0` sorts by `t.k + 0`.
//!
//! Sound: the sort moves below the projection, which keeps the order of its rows, and the other
//! names are replaced by what they stand for. Volatile columns stay where they are computed.

use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion_common::{Result, field_not_found};
use datafusion_expr::{Expr, LogicalPlan, Projection, Sort, SortExpr};

/// The plan with sorts by what the names mean.
pub(super) fn resolve_order(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Sort(sort) => match moved_below(known(&sort)?)? {
            Some(plan) => Ok(Transformed::yes(plan)),
            None => Ok(Transformed::no(LogicalPlan::Sort(sort))),
        },
        other => Ok(Transformed::no(other)),
    })
    .data()
}

/// The sort, if its input has the columns of its keys: the binder does not look for those that are
/// said to be of a table.
fn known(sort: &Sort) -> Result<&Sort> {
    let schema = sort.input.schema();
    for key in &sort.expr {
        let mut columns = key.expr.column_refs().into_iter();
        if let Some(column) = columns.find(|column| !schema.has_column(column)) {
            return Err(field_not_found(column.relation.clone(), &column.name, schema));
        }
    }
    Ok(sort)
}

/// The sort below its projection, when a name in it is hidden by one of the result.
fn moved_below(sort: &Sort) -> Result<Option<LogicalPlan>> {
    let LogicalPlan::Projection(projection) = sort.input.as_ref() else { return Ok(None) };
    let hides = |key: &SortExpr| {
        !matches!(key.expr, Expr::Column(_))
            && key.expr.exists(|e| Ok(hidden(e, projection).is_some())).unwrap_or(false)
    };
    if !sort.expr.iter().any(hides) || projection.expr.iter().any(Expr::is_volatile) {
        return Ok(None);
    }
    let keys = sort.expr.iter().map(|key| {
        let alone = matches!(key.expr, Expr::Column(_));
        let expr = key.expr.clone().transform_down(|e| {
            let below = match (hidden(&e, projection), &e) {
                (Some(column), _) if !alone => Some(column),
                (_, Expr::Column(_)) => written(&e, projection),
                _ => None,
            };
            Ok(match below {
                // What is put in has names of the tables.
                Some(expr) => Transformed::new(expr, true, TreeNodeRecursion::Jump),
                None => Transformed::no(e),
            })
        });
        Ok(SortExpr { expr: expr.data()?, ..key.clone() })
    });
    let expr = keys.collect::<Result<Vec<SortExpr>>>()?;
    let below = Sort { expr, input: projection.input.clone(), fetch: sort.fetch };
    let plan = Projection::try_new(projection.expr.clone(), LogicalPlan::Sort(below).into())?;
    Ok(Some(LogicalPlan::Projection(plan)))
}

/// What a column of the result stands for.
fn written(column: &Expr, projection: &Projection) -> Option<Expr> {
    let Expr::Column(column) = column else { return None };
    let at = projection.schema.maybe_index_of_column(column)?;
    projection.expr.get(at).map(|expr| expr.clone().unalias())
}

/// The column of the tables that a column of the result hides: another of its name.
fn hidden(column: &Expr, projection: &Projection) -> Option<Expr> {
    let Expr::Column(name) = column else { return None };
    if name.relation.is_some() {
        return None;
    }
    let stands_for = written(column, projection)?;
    let same = projection.input.schema().qualified_fields_with_unqualified_name(&name.name);
    let [(qualifier, field)] = same[..] else { return None };
    let below = Expr::from((qualifier, field));
    (stands_for != below).then_some(below)
}
