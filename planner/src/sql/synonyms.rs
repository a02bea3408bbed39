//! Functions that are other ways to write what there is: `year(d)` is `date_part('year', d)`.
//!
//! They exist in the syntax tree alone. Those of moments are in `moment_names`.

use datafusion_sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, UnaryOperator,
};

use super::syntax::{binary, call, case, joined, nested, number, plain_name, text, written};
use super::{moment_names, moment_patterns};

/// The names that mean something as calls.
const NAMES: [&str; 60] = [
    "age",
    "array_sort",
    "base64",
    "century",
    "date_add",
    "date_diff",
    "datediff",
    "day",
    "dayname",
    "dayofmonth",
    "dayofweek",
    "dayofyear",
    "decade",
    "epoch",
    "era",
    "from_base64",
    "geomean",
    "hour",
    "if",
    "ifnull",
    "isodow",
    "isoyear",
    "list_aggregate",
    "list_first",
    "list_last",
    "list_reverse_sort",
    "list_sort",
    "list_unique",
    "make_timestamp",
    "microsecond",
    "millennium",
    "millisecond",
    "minute",
    "mod",
    "month",
    "monthname",
    "nanosecond",
    "nvl",
    "nvl2",
    "quarter",
    "regexp_full_match",
    "second",
    "strftime",
    "strptime",
    "time_bucket",
    "to_base64",
    "to_days",
    "to_hours",
    "to_minutes",
    "to_months",
    "to_seconds",
    "to_weeks",
    "to_years",
    "today",
    "week",
    "weekday",
    "weekofyear",
    "xor",
    "year",
    "yearweek",
];

/// The length of the longest: most names need not be written small to be looked up.
const LENGTH_MAX: usize = 17;

/// Whether a name is one of these.
pub(super) fn is_synonym(name: &str) -> bool {
    NAMES.binary_search(&name).is_ok()
}

/// Writes a call as what it is another name for.
pub(super) fn write_out(expr: &mut Expr) {
    let Expr::Function(function) = expr else { return };
    moment_patterns::translate(function);
    let name = plain_name(&function.name).filter(|name| name.len() <= LENGTH_MAX);
    let Some(name) = name.map(str::to_ascii_lowercase) else { return };
    if is_synonym(&name)
        && let Some(args) = plain_args(function)
        && let Some(meant) = meaning(&name, args)
    {
        *expr = meant;
    }
}

/// The arguments of a call that is nothing but one, without FILTER, OVER and the like.
pub(super) fn args_of_call(function: &Function) -> Option<&[FunctionArg]> {
    let FunctionArguments::List(list) = &function.args else { return None };
    let is_plain = function.over.is_none()
        && function.filter.is_none()
        && function.within_group.is_empty()
        && list.duplicate_treatment.is_none()
        && list.clauses.is_empty();
    is_plain.then_some(&list.args)
}

/// The same, if none of them has a name.
pub(super) fn plain_args(function: &Function) -> Option<Vec<Expr>> {
    let args = args_of_call(function)?.iter().map(|arg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)) => Some(arg.clone()),
        _ => None,
    });
    args.collect()
}

fn meaning(name: &str, mut args: Vec<Expr>) -> Option<Expr> {
    Some(match (name, &args[..]) {
        ("age", [moment]) => call("age", vec![call("current_date", Vec::new()), moment.clone()]),
        ("today", []) => call("current_date", args),
        ("if", [condition, then, otherwise]) => {
            case(vec![(condition.clone(), then.clone())], otherwise.clone())
        }
        ("ifnull" | "nvl", [_, _]) => call("coalesce", args),
        ("nvl2", [value, then, otherwise]) => {
            let is_known = nested(Expr::IsNotNull(Box::new(nested(value.clone()))));
            case(vec![(is_known, then.clone())], otherwise.clone())
        }
        ("base64" | "to_base64", [value]) => call("encode", vec![value.clone(), text("base64pad")]),
        ("from_base64", [value]) => call("decode", vec![value.clone(), text("base64pad")]),
        ("list_first", [list]) => call("array_element", vec![list.clone(), number("1")]),
        ("list_last", [list]) => {
            let last = Expr::UnaryOp { op: UnaryOperator::Minus, expr: Box::new(number("1")) };
            call("array_element", vec![list.clone(), last])
        }
        ("list_sort" | "array_sort", [_] | [_, _]) => {
            if args.len() == 1 {
                args.push(text("ASC"));
            }
            args.push(text("NULLS LAST"));
            call("array_sort", args)
        }
        ("list_reverse_sort", [list]) => {
            call("array_sort", vec![list.clone(), text("DESC"), text("NULLS LAST")])
        }
        ("list_unique", [list]) => call("length", vec![call("array_distinct", vec![list.clone()])]),
        ("regexp_full_match", [value, pattern]) => {
            let whole = wrapped("^(?:", pattern, ")$");
            call("regexp_like", vec![value.clone(), whole])
        }
        ("mod", [left, right]) => joined(left, BinaryOperator::Modulo, right),
        ("xor", [left, right]) => joined(left, BinaryOperator::BitwiseXor, right),
        ("list_aggregate", [list, function]) => {
            let name = match written(function)?.to_ascii_lowercase().as_str() {
                "sum" => "list_sum",
                "min" => "list_min",
                "max" => "list_max",
                "avg" => "list_avg",
                _ => return None,
            };
            call(name, vec![list.clone()])
        }
        ("geomean", [value]) => {
            call("exp", vec![call("avg", vec![call("ln", vec![value.clone()])])])
        }
        (name, args) => return moment_names::meaning(name, args),
    })
}

fn wrapped(before: &str, pattern: &Expr, behind: &str) -> Expr {
    if let Some(pattern) = written(pattern) {
        return text(&format!("{before}{pattern}{behind}"));
    }
    let concat = BinaryOperator::StringConcat;
    let begun = binary(text(before), concat.clone(), nested(pattern.clone()));
    binary(begun, concat, text(behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_order_and_found() {
        assert!(NAMES.is_sorted() && NAMES.iter().all(|name| is_synonym(name)));
        assert_eq!(NAMES.iter().map(|name| name.len()).max(), Some(LENGTH_MAX));
    }
}
