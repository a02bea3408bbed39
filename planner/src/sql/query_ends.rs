//! What stands at the end of a query: ORDER BY ALL and FETCH.
//!
//! `ORDER BY ALL` becomes the numbers of the columns. Where those cannot be counted (`SELECT *`)
//! the query is put into one of all its columns, for which the binder knows what is meant.
//! `FETCH FIRST n ROWS ONLY` becomes LIMIT.

use datafusion_sql::sqlparser::ast::{
    Fetch, LimitClause, OrderBy, OrderByExpr, OrderByKind, Query, SelectItem, SetExpr,
};

use super::syntax::{inner_query, number, select_from_one_row};

/// The name of a query whose columns are all sorted by.
const SORTED: &str = "__sorted";

/// Writes the end of a query otherwise; see the module documentation.
pub(super) fn write_out(query: &mut Query) {
    limit_fetched(query);
    let Some(OrderBy { kind: OrderByKind::All(options), .. }) = &query.order_by else { return };
    let options = *options;
    match column_count(&query.body) {
        Some(count) => {
            let key = |place: usize| OrderByExpr {
                expr: number(&place.to_string()),
                options,
                with_fill: None,
            };
            if let Some(order) = &mut query.order_by {
                order.kind = OrderByKind::Expressions((1..=count).map(key).collect());
            }
        }
        None if is_of_all(&query.body) => {}
        None => put_inside(query),
    }
}

/// Makes LIMIT of FETCH, if that says how many rows.
fn limit_fetched(query: &mut Query) {
    let is_plain = |fetch: &Fetch| !fetch.with_ties && !fetch.percent;
    let Some(fetch) = query.fetch.take_if(|fetch| is_plain(fetch)) else { return };
    let quantity = fetch.quantity.clone().unwrap_or_else(|| number("1"));
    match &mut query.limit_clause {
        None => {
            let (offset, limit_by) = (None, Vec::new());
            let clause = LimitClause::LimitOffset { limit: Some(quantity), offset, limit_by };
            query.limit_clause = Some(clause);
        }
        Some(LimitClause::LimitOffset { limit: limit @ None, .. }) => *limit = Some(quantity),
        // Both of them.
        Some(_) => query.fetch = Some(fetch),
    }
}

/// How many columns a query has that names them one by one.
fn column_count(body: &SetExpr) -> Option<usize> {
    match body {
        SetExpr::Select(select) => {
            let is_one = |item: &SelectItem| {
                matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. })
            };
            let is_counted = select.projection.iter().all(is_one);
            is_counted.then_some(select.projection.len())
        }
        SetExpr::SetOperation { left, right, .. } => {
            column_count(left).or_else(|| column_count(right))
        }
        SetExpr::Query(query) => column_count(&query.body),
        SetExpr::Values(values) => Some(values.rows.first()?.len()),
        _ => None,
    }
}

/// Whether a query has columns alone, as its tables have them.
fn is_of_all(body: &SetExpr) -> bool {
    let SetExpr::Select(select) = body else { return false };
    matches!(&select.projection[..], [SelectItem::Wildcard(_)])
}

/// Makes a query one of all the columns of itself; what sorts and cuts its rows stays outside.
fn put_inside(query: &mut Query) {
    let Some(mut outer) = select_from_one_row(SORTED) else { return };
    let (order, limit, fetch) =
        (query.order_by.take(), query.limit_clause.take(), query.fetch.take());
    std::mem::swap(&mut *outer, query);
    if let Some(inner) = inner_query(query) {
        **inner = *outer;
    }
    (query.order_by, query.limit_clause, query.fetch) = (order, limit, fetch);
}
