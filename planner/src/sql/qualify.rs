//! What HAVING and QUALIFY read in aggregates and windows, QUALIFY anywhere, and HAVING as keys:
//! columns of tables, those that joins merge among them (see `using`), whatever the SELECT list
//! calls its own.
//!
//! QUALIFY may go by a window of the list alone, `SELECT …, count(*) OVER () AS n … QUALIFY n > 1`.
//! The binder asks for one in QUALIFY itself then, where one of the list is named, so that it is:
//! `(n > 1) AND (w IS NULL OR w IS NOT NULL)`.

use datafusion_sql::sqlparser::ast::{BinaryOperator, Expr, Ident, Select, Value};

use super::clauses::{IsAggregate, find, is_window, of_item, replace_names};
use super::having::is_key;
use super::syntax::{binary, nested};
use super::using::{column_of, merged_in, plain};

/// Writes the HAVING and QUALIFY of a SELECT otherwise.
pub(super) fn write_names(select: &mut Select, is_aggregate: IsAggregate<'_>) {
    if select.having.is_none() && select.qualify.is_none() {
        return;
    }
    let merged = merged_in(&select.from);
    let column = |name: &Ident| Some(column_of(merged.get(&plain(name))?.as_ref()?, name));
    if let Some(having) = &mut select.having {
        let is_key = |name: &str| is_key(&select.group_by, &select.projection, name);
        replace_names(having, is_aggregate, &|name, is_inside| {
            if is_inside || is_key(&plain(name)) { column(name) } else { None }
        });
    }
    if let Some(qualify) = &mut select.qualify {
        replace_names(qualify, is_aggregate, &|name, _| column(name));
    }
    write_window(select);
}

/// Names a window of the list in QUALIFY, if there is none in that.
fn write_window(select: &mut Select) {
    let Some(qualify) = select.qualify.as_mut().filter(|expr| find(expr, &is_window).is_none())
    else {
        return;
    };
    let mut items = select.projection.iter().filter_map(of_item);
    if let Some(window) = items.find_map(|item| find(item, &is_window)) {
        let condition = nested(std::mem::replace(qualify, Expr::value(Value::Null)));
        let is_null = Expr::IsNull(Box::new(window.clone()));
        let either = binary(is_null, BinaryOperator::Or, Expr::IsNotNull(Box::new(window)));
        *qualify = binary(condition, BinaryOperator::And, nested(either));
    }
}
