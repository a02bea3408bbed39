//! Decides from bounds whether some row of a row group, or of a page, can pass a condition.
//!
//! A condition has three outcomes; evaluated over bounds it gives the set of those that are
//! possible. What is not understood may come out any way, so nothing is ever left out wrongly.

use std::cmp::Ordering;

use arrow::datatypes::DataType;

use super::bounds::{Bounds, compare, rescale};
use crate::expr::{CompareOp, Expr, Literal, MatchKind, Value};

/// The outcomes that are possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Outcomes {
    yes: bool,
    no: bool,
    null: bool,
}

/// What is known of a column, of the given type.
pub(super) type Known<'a> = &'a dyn Fn(usize, &DataType) -> Option<Bounds>;

const ANY: Outcomes = Outcomes { yes: true, no: true, null: true };

/// Whether some row may pass `condition`; `bounds` knows the columns.
pub(super) fn may_pass(condition: &Expr, bounds: Known<'_>) -> bool {
    outcomes(condition, bounds).yes
}

fn outcomes(expr: &Expr, bounds: Known<'_>) -> Outcomes {
    match expr {
        Expr::Literal(Literal { value, .. }) => match value {
            Value::Bool(value) => Outcomes { yes: *value, no: !value, null: false },
            Value::Null => Outcomes { yes: false, no: false, null: true },
            _ => ANY,
        },
        Expr::And(list) => {
            let all = list.iter().map(|e| outcomes(e, bounds));
            all.reduce(|a, b| Outcomes {
                yes: a.yes && b.yes,
                no: a.no || b.no,
                null: (a.null && (b.null || b.yes)) || (b.null && a.yes),
            })
            .unwrap_or(ANY)
        }
        Expr::Or(list) => {
            let all = list.iter().map(|e| outcomes(e, bounds));
            all.reduce(|a, b| Outcomes {
                yes: a.yes || b.yes,
                no: a.no && b.no,
                null: (a.null && (b.null || b.no)) || (b.null && a.no),
            })
            .unwrap_or(ANY)
        }
        Expr::Not(inner) => {
            let Outcomes { yes, no, null } = outcomes(inner, bounds);
            Outcomes { yes: no, no: yes, null }
        }
        Expr::IsNull(inner) => match column(inner, bounds) {
            Some((b, _)) => Outcomes {
                yes: b.nulls != Some(0),
                no: b.nulls.is_none_or(|nulls| nulls < b.rows),
                null: false,
            },
            None => Outcomes { null: false, ..ANY },
        },
        Expr::Compare { op, left, right } => match (&**left, &**right) {
            (column_side, Expr::Literal(literal)) => compared(column_side, *op, literal, bounds),
            (Expr::Literal(literal), column_side) => {
                compared(column_side, op.mirrored(), literal, bounds)
            }
            _ => ANY,
        },
        Expr::InList { input, list, negated } => {
            let found = list
                .iter()
                .map(|literal| compared(input, CompareOp::Equal, literal, bounds))
                .reduce(|a, b| Outcomes {
                    yes: a.yes || b.yes,
                    no: a.no && b.no,
                    null: a.null || b.null,
                })
                .unwrap_or(ANY);
            if *negated { Outcomes { yes: found.no, no: found.yes, ..found } } else { found }
        }
        Expr::Match { kind: MatchKind::Like, input, pattern, escape: None, negated: false } => {
            like(input, pattern, bounds)
        }
        _ => ANY,
    }
}

fn column(expr: &Expr, bounds: Known<'_>) -> Option<(Bounds, DataType)> {
    match expr {
        Expr::Column { index, data_type } => Some((bounds(*index, data_type)?, data_type.clone())),
        _ => None,
    }
}

fn compared(input: &Expr, op: CompareOp, literal: &Literal, bounds: Known<'_>) -> Outcomes {
    let Some((bounds, data_type)) = column(input, bounds) else { return ANY };
    if matches!(op, CompareOp::Distinct | CompareOp::NotDistinct) {
        return ANY;
    }
    if literal.is_null() {
        return Outcomes { yes: false, no: false, null: true };
    }
    let null = bounds.nulls != Some(0);
    if bounds.nulls == Some(bounds.rows) {
        return Outcomes { yes: false, no: false, null };
    }
    let Some(value) = rescale(&literal.value, &literal.data_type, &data_type) else { return ANY };
    let low = bounds.min.as_ref().and_then(|min| compare(min, &value));
    // NaN may be there beside any numbers, and is greater than all of them.
    let high = match value {
        Value::Float(_) => None,
        _ => bounds.max.as_ref().and_then(|max| compare(max, &value)),
    };
    let least_number = bounds.max.as_ref().and_then(|max| compare(max, &value));
    let (may_be_less, may_be_greater) =
        (low.is_none_or(Ordering::is_lt), high.is_none_or(Ordering::is_gt));
    let may_be_equal = low.is_none_or(Ordering::is_le) && least_number.is_none_or(Ordering::is_ge);
    let (yes, no) = match op {
        CompareOp::Equal => (may_be_equal, may_be_less || may_be_greater),
        CompareOp::NotEqual => (may_be_less || may_be_greater, may_be_equal),
        CompareOp::Less => (may_be_less, may_be_equal || may_be_greater),
        CompareOp::LessOrEqual => (may_be_less || may_be_equal, may_be_greater),
        CompareOp::Greater => (may_be_greater, may_be_less || may_be_equal),
        CompareOp::GreaterOrEqual => (may_be_greater || may_be_equal, may_be_less),
        CompareOp::Distinct | CompareOp::NotDistinct => (true, true),
    };
    Outcomes { yes, no, null }
}

/// A pattern that begins with plain text matches only strings that begin with it.
fn like(input: &Expr, pattern: &Expr, bounds: Known<'_>) -> Outcomes {
    let (Some((bounds, _)), Expr::Literal(Literal { value: Value::Text(pattern), .. })) =
        (column(input, bounds), pattern)
    else {
        return ANY;
    };
    let end = pattern.find(['%', '_', '\\']).unwrap_or(pattern.len());
    let prefix = &pattern.as_bytes()[..end];
    let head = |text: &str| text.as_bytes()[..text.len().min(end)].cmp(prefix);
    let below = matches!(&bounds.max, Some(Value::Text(max)) if head(max).is_lt());
    let above = matches!(&bounds.min, Some(Value::Text(min)) if head(min).is_gt());
    Outcomes { yes: !below && !above && bounds.nulls != Some(bounds.rows), ..ANY }
}

/// The constants one of which `condition` needs a column to equal, and the column: what a Bloom
/// filter can answer.
pub(super) fn needed_values(condition: &Expr) -> Option<(usize, &DataType, Vec<&Literal>)> {
    match condition {
        Expr::Compare { op: CompareOp::Equal, left, right } => match (&**left, &**right) {
            (Expr::Column { index, data_type }, Expr::Literal(literal))
            | (Expr::Literal(literal), Expr::Column { index, data_type }) => {
                Some((*index, data_type, vec![literal]))
            }
            _ => None,
        },
        Expr::InList { input, list, negated: false } => match &**input {
            Expr::Column { index, data_type } => Some((*index, data_type, list.iter().collect())),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(min: Value, max: Value, nulls: u64) -> impl Fn(usize, &DataType) -> Option<Bounds> {
        move |_, _| {
            let (min, max) = (Some(min.clone()), Some(max.clone()));
            Some(Bounds { rows: 10, nulls: Some(nulls), min, max })
        }
    }

    fn int(op: CompareOp, value: i64) -> Expr {
        let left = Box::new(Expr::column(0, DataType::Int64));
        Expr::Compare { op, left, right: Box::new(Expr::Literal(Literal::int(value))) }
    }

    #[test]
    fn comparisons_with_integers() {
        use CompareOp::*;
        let known = bounds(Value::Int(5), Value::Int(9), 0);
        let passes = |op, value| may_pass(&int(op, value), &known);
        assert!(!passes(Equal, 4) && passes(Equal, 5) && passes(Equal, 9) && !passes(Equal, 10));
        assert!(!passes(Less, 5) && passes(Less, 6));
        assert!(!passes(LessOrEqual, 4) && passes(LessOrEqual, 5));
        assert!(!passes(Greater, 9) && passes(Greater, 8));
        assert!(!passes(GreaterOrEqual, 10) && passes(GreaterOrEqual, 9));
        assert!(passes(NotEqual, 7));
        let one = bounds(Value::Int(7), Value::Int(7), 0);
        assert!(!may_pass(&int(NotEqual, 7), &one));
        assert!(!may_pass(&Expr::Not(Box::new(int(Equal, 7))), &one));
        assert!(may_pass(&Expr::Not(Box::new(int(Equal, 8))), &one));
        assert!(may_pass(&int(Equal, 7), &|_, _| None), "nothing is known");
    }

    #[test]
    fn nulls_pass_nothing_but_is_null() {
        let some = bounds(Value::Int(5), Value::Int(9), 3);
        let is_null = Expr::IsNull(Box::new(Expr::column(0, DataType::Int64)));
        let not_null = Expr::Not(Box::new(is_null.clone()));
        assert!(may_pass(&is_null, &some) && may_pass(&not_null, &some));
        let none = bounds(Value::Int(5), Value::Int(9), 0);
        assert!(!may_pass(&is_null, &none) && may_pass(&not_null, &none));
        let all = |_: usize, _: &DataType| {
            Some(Bounds { rows: 10, nulls: Some(10), min: None, max: None })
        };
        assert!(may_pass(&is_null, &all) && !may_pass(&not_null, &all));
        assert!(!may_pass(&int(CompareOp::Equal, 5), &all));
        assert!(!may_pass(&Expr::Not(Box::new(int(CompareOp::Equal, 5))), &all));
    }

    #[test]
    fn conjunctions_disjunctions_and_lists() {
        let known = bounds(Value::Int(5), Value::Int(9), 0);
        let (inside, outside) = (int(CompareOp::Equal, 6), int(CompareOp::Equal, 60));
        assert!(!may_pass(&Expr::And(vec![inside.clone(), outside.clone()]), &known));
        assert!(may_pass(&Expr::Or(vec![inside, outside.clone()]), &known));
        assert!(!may_pass(&Expr::Or(vec![outside.clone(), outside]), &known));
        let list = |values: &[i64], negated| Expr::InList {
            input: Box::new(Expr::column(0, DataType::Int64)),
            list: values.iter().map(|&v| Literal::int(v)).collect(),
            negated,
        };
        assert!(!may_pass(&list(&[1, 2, 30], false), &known));
        assert!(may_pass(&list(&[1, 8], false), &known));
        assert!(may_pass(&list(&[6], true), &known));
        let six = bounds(Value::Int(6), Value::Int(6), 0);
        assert!(!may_pass(&list(&[5, 6], true), &six));
    }

    #[test]
    fn nan_is_above_every_bound() {
        let known = bounds(Value::Float(-1.0), Value::Float(0.0), 0);
        let float = |op, value| Expr::Compare {
            op,
            left: Box::new(Expr::column(0, DataType::Float64)),
            right: Box::new(Expr::Literal(Literal {
                data_type: DataType::Float64,
                value: Value::Float(value),
            })),
        };
        assert!(may_pass(&float(CompareOp::Greater, 5.0), &known));
        assert!(may_pass(&float(CompareOp::Equal, f64::NAN), &known));
        assert!(may_pass(&float(CompareOp::Equal, -0.0), &known));
        assert!(!may_pass(&float(CompareOp::Equal, 5.0), &known));
        assert!(!may_pass(&float(CompareOp::Less, -1.0), &known));
    }

    #[test]
    fn decimals_of_other_scales_and_prefixes() {
        let known = bounds(Value::Decimal(500), Value::Decimal(900), 0);
        let decimal = |value, scale| Expr::Compare {
            op: CompareOp::Equal,
            left: Box::new(Expr::column(0, DataType::Decimal128(15, 2))),
            right: Box::new(Expr::Literal(Literal {
                data_type: DataType::Decimal128(15, scale),
                value: Value::Decimal(value),
            })),
        };
        assert!(may_pass(&decimal(5, 0), &known) && !may_pass(&decimal(4, 0), &known));
        assert!(may_pass(&decimal(5000, 3), &known) && !may_pass(&decimal(4000, 3), &known));

        let known = bounds(Value::Text("pear".into()), Value::Text("plum".into()), 0);
        let like = |pattern: &str| Expr::Match {
            kind: MatchKind::Like,
            input: Box::new(Expr::column(0, DataType::Utf8View)),
            pattern: Box::new(Expr::Literal(Literal::text(pattern))),
            escape: None,
            negated: false,
        };
        for (pattern, passes) in [
            ("p%", true),
            ("pi%", true),
            ("%z", true),
            ("a%", false),
            ("plums%", false),
            ("q_", false),
        ] {
            assert_eq!(may_pass(&like(pattern), &known), passes, "{pattern}");
        }
    }
}
