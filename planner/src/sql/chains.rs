//! Set operations as they were written, before the binder reads them.
//!
//! * Long chains of UNION, or of UNION ALL, become balanced trees: the binder takes quadratic time
//!   over deep ones. Both are associative, and the parts keep their order.
//! * Two columns of one name in a part get two: the binder looks for columns of INTERSECT and
//!   EXCEPT by their names.
//! * A column of VALUES in which a number is a double is one of doubles: the binder would make
//!   decimals of them. Only what is written as a number or as a cast is seen.
//! * Texts in a column of VALUES are what others in it are (`beside_written`).

use datafusion_sql::sqlparser::ast::{
    DataType, ExactNumberInfo, Expr, Query, SetExpr, SetOperator, SetQuantifier, Value,
    ValueWithSpan, Values,
};

use super::beside_written::read_texts;
use super::names::name_apart;
use super::syntax::{as_double, cast};

/// Chains up to this many levels stay as they were written.
const CHAIN_MAX: usize = 32;

/// Writes the set operations and VALUES of one query otherwise; see the module documentation.
pub(super) fn write_out(query: &mut Query) {
    if left_levels(&query.body) > CHAIN_MAX {
        let body = std::mem::replace(&mut *query.body, nothing());
        *query.body = balanced_chain(body);
    }
    let is_operation = matches!(*query.body, SetExpr::SetOperation { .. });
    let mut open: Vec<&mut SetExpr> = vec![&mut query.body];
    while let Some(part) = open.pop() {
        match part {
            SetExpr::SetOperation { left, right, .. } => open.extend([&mut **left, &mut **right]),
            SetExpr::Select(select) if is_operation => name_apart(select),
            SetExpr::Values(values) => meet_doubles(values),
            _ => {}
        }
    }
}

fn nothing() -> SetExpr {
    let rows = Vec::new();
    SetExpr::Values(Values { explicit_row: false, value_keyword: false, rows })
}

/// Whether the union of sets, or of bags; nothing for other operations.
fn is_set_union(expr: &SetExpr) -> Option<bool> {
    let SetExpr::SetOperation { op: SetOperator::Union, set_quantifier, .. } = expr else {
        return None;
    };
    match set_quantifier {
        SetQuantifier::All => Some(false),
        SetQuantifier::Distinct | SetQuantifier::None => Some(true),
        _ => None,
    }
}

/// How often an operation occurs on the way down the left sides.
fn left_levels(expr: &SetExpr) -> usize {
    let Some(kind) = is_set_union(expr) else { return 0 };
    let (mut levels, mut at) = (0, expr);
    while let SetExpr::SetOperation { left, .. } = at
        && is_set_union(at) == Some(kind)
    {
        levels += 1;
        at = left;
    }
    levels
}

/// A chain as a tree whose depth is the logarithm of its length.
fn balanced_chain(chain: SetExpr) -> SetExpr {
    let kind = is_set_union(&chain);
    let quantifier = match kind {
        Some(true) => SetQuantifier::None,
        _ => SetQuantifier::All,
    };
    let (mut parts, mut rest) = (Vec::new(), chain);
    while kind.is_some() && is_set_union(&rest) == kind {
        let SetExpr::SetOperation { left, right, .. } = rest else { break };
        parts.push(*right);
        rest = *left;
    }
    parts.push(rest);
    parts.reverse();
    joined(parts, quantifier)
}

fn joined(mut parts: Vec<SetExpr>, set_quantifier: SetQuantifier) -> SetExpr {
    let right = parts.split_off(parts.len().div_ceil(2));
    if right.is_empty() {
        return parts.pop().unwrap_or_else(nothing);
    }
    let (left, right) = (joined(parts, set_quantifier), joined(right, set_quantifier));
    SetExpr::SetOperation {
        op: SetOperator::Union,
        set_quantifier,
        left: Box::new(left),
        right: Box::new(right),
    }
}

/// Makes doubles of the numbers in columns that have one.
fn meet_doubles(values: &mut Values) {
    let width = values.rows.iter().map(|row| row.len()).max().unwrap_or(0);
    for column in 0..width {
        let column = values.rows.iter_mut().filter_map(|row| row.get_mut(column));
        meet_doubles_of(column.collect());
    }
}

/// The same of the values of a column, and of what is in those that are lists and structures.
fn meet_doubles_of(mut column: Vec<&mut Expr>) {
    read_texts(&mut column);
    let has_double = column.iter().any(|expr| is_double(expr));
    let mut elements = Vec::new();
    // By name, as they meet.
    let mut members: Vec<(String, Vec<&mut Expr>)> = Vec::new();
    for expr in column {
        match expr {
            Expr::Array(list) => elements.extend(&mut list.elem),
            Expr::Dictionary(fields) => {
                for field in fields {
                    let name = field.key.value.clone();
                    match members.iter_mut().find(|(known, _)| *known == name) {
                        Some((_, member)) => member.push(&mut field.value),
                        None => members.push((name, vec![&mut field.value])),
                    }
                }
            }
            expr if has_double && is_exact(expr) => {
                let exact = std::mem::replace(expr, Expr::value(Value::Null));
                *expr = cast(exact, DataType::Double(ExactNumberInfo::None));
            }
            _ => {}
        }
    }
    let members = members.into_iter().map(|(_, member)| member);
    for inner in members.chain([elements]).filter(|inner| !inner.is_empty()) {
        meet_doubles_of(inner);
    }
}

fn is_double(expr: &Expr) -> bool {
    match expr {
        Expr::Nested(expr) | Expr::UnaryOp { expr, .. } => is_double(expr),
        Expr::BinaryOp { left, right, .. } => is_double(left) || is_double(right),
        Expr::Cast { data_type, .. } => matches!(
            data_type,
            DataType::Double(_)
                | DataType::DoublePrecision
                | DataType::Float(_)
                | DataType::Float4
                | DataType::Float8
                | DataType::Real
        ),
        other => as_double(other).is_some(),
    }
}

/// Whether a number is a decimal, or one that meets integers with a sign as a decimal.
fn is_exact(expr: &Expr) -> bool {
    match expr {
        Expr::Nested(expr) | Expr::UnaryOp { expr, .. } => is_exact(expr),
        Expr::BinaryOp { left, right, .. } => {
            (is_exact(left) || is_exact(right)) && !is_double(expr)
        }
        Expr::Cast { data_type, .. } => {
            let name = data_type.to_string();
            matches!(data_type, DataType::Decimal(_) | DataType::Numeric(_) | DataType::Dec(_))
                || ["UBIGINT", "BIGINT UNSIGNED"].iter().any(|n| name.eq_ignore_ascii_case(n))
        }
        Expr::Value(ValueWithSpan { value: Value::Number(digits, _), .. }) => {
            digits.contains('.') && as_double(expr).is_none()
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use datafusion_sql::parser::Statement as Parsed;
    use datafusion_sql::sqlparser::ast::Statement as Sql;

    use super::super::script::statements;
    use super::*;

    fn levels(expr: &SetExpr) -> usize {
        match expr {
            SetExpr::SetOperation { left, right, .. } => 1 + levels(left).max(levels(right)),
            _ => 0,
        }
    }

    #[test]
    fn long_chains_of_unions_are_no_deep_trees() {
        for word in [" union all ", " union ", " union all by name "] {
            let parts: Vec<String> = (0..600).map(|n| format!("select {n}")).collect();
            let all = statements(&parts.join(word)).expect("parses");
            let parsed = all[0].parse(None).expect("parses");
            let Parsed::Statement(sql) = parsed.body else { panic!("a statement") };
            let Sql::Query(query) = *sql else { panic!("a query") };
            let deep = if word.contains("name") { 599 } else { 10 };
            assert_eq!(levels(&query.body), deep, "{word}");
            let text = query.to_string();
            let places = (0..600).map(|n| text.find(&format!("SELECT {n} ")).or(text.rfind(' ')));
            assert!(places.collect::<Vec<_>>().is_sorted(), "in order");
        }
    }
}
