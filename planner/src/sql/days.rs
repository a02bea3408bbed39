//! `compare_days`: a date that is compared with a constant timestamp is compared with a day.
//!
//! The comparison was made one of timestamps, for which each date is cast; a date so far away that
//! it is no timestamp fails there, so that the condition would have to stay above joins. On days
//! nothing can fail, and files know the bounds of their dates.
//!
//! Sound: dates begin at midnight. `date < 12:00` is `date <= its day`, and `date < 0:00` is
//! `date < its day`.

use arrow::datatypes::DataType;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{DFSchema, Result, ScalarValue};
use datafusion_expr::expr::InList;
use datafusion_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator, lit};
use datafusion_optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

use super::renewed::{any_expression, renewed, schema_below};
use crate::functions::{counted, is_utc};

/// See the module documentation.
#[derive(Debug, Default)]
pub(super) struct CompareDays;

impl OptimizerRule for CompareDays {
    fn name(&self) -> &str {
        "compare_days"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        if !any_expression(&plan, has_stamps) {
            return Ok(Transformed::no(plan));
        }
        let schema = schema_below(&plan);
        renewed(plan, |expr| {
            Ok(match in_days(&expr, &schema) {
                Some(days) => Transformed::yes(days),
                None => Transformed::no(expr),
            })
        })
    }
}

/// Whether something is cast to a timestamp.
fn has_stamps(expr: &Expr) -> bool {
    let is_stamp = |e: &Expr| match e {
        Expr::Cast(cast) => matches!(cast.field.data_type(), DataType::Timestamp(..)),
        _ => false,
    };
    expr.exists(|e| Ok(is_stamp(e))).unwrap_or(true)
}

/// The comparison as one of days, if it is of a date and constants.
fn in_days(expr: &Expr, schema: &DFSchema) -> Option<Expr> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let (date, op, moment) = match date_in(left, schema) {
                Some(date) => (date, *op, right),
                None => (date_in(right, schema)?, op.swap()?, left),
            };
            let Expr::Literal(moment, _) = moment.as_ref() else { return None };
            let (day, is_midnight) = day_of(moment)?;
            let op = match (op, is_midnight) {
                (op, true) => op.supports_propagation().then_some(op)?,
                (Operator::Lt | Operator::LtEq, false) => Operator::LtEq,
                (Operator::Gt | Operator::GtEq, false) => Operator::Gt,
                // No date is at that time.
                (Operator::Eq, false) => return Some(never(date)),
                (Operator::NotEq, false) => return Some(!never(date)),
                (Operator::IsDistinctFrom, false) => return Some(lit(true)),
                (Operator::IsNotDistinctFrom, false) => return Some(lit(false)),
                _ => return None,
            };
            let right = Box::new(lit(ScalarValue::Date32(Some(day))));
            Some(Expr::BinaryExpr(BinaryExpr { left: Box::new(date.clone()), op, right }))
        }
        Expr::InList(InList { expr, list, negated }) => {
            let date = date_in(expr, schema)?;
            let day = |item: &Expr| match item {
                Expr::Literal(moment, _) if moment.is_null() => Some((None, true)),
                Expr::Literal(moment, _) => day_of(moment).map(|(day, at)| (Some(day), at)),
                _ => None,
            };
            let days = list.iter().map(day).collect::<Option<Vec<_>>>()?;
            let days = days.into_iter().filter(|(_, is_midnight)| *is_midnight);
            let days: Vec<Expr> = days.map(|(day, _)| lit(ScalarValue::Date32(day))).collect();
            Some(match (days.is_empty(), negated) {
                (false, _) => date.clone().in_list(days, *negated),
                (true, false) => never(date),
                (true, true) => !never(date),
            })
        }
        _ => None,
    }
}

/// False, and NULL where the date is.
fn never(date: &Expr) -> Expr {
    date.clone().is_null().and(lit(ScalarValue::Boolean(None)))
}

/// The date that is cast to a timestamp.
fn date_in<'a>(expr: &'a Expr, schema: &DFSchema) -> Option<&'a Expr> {
    let Expr::Cast(cast) = expr else { return None };
    let DataType::Timestamp(_, zone) = cast.field.data_type() else { return None };
    let is_date = matches!(cast.expr.get_type(schema), Ok(DataType::Date32));
    (is_date && zone.as_deref().is_none_or(is_utc)).then_some(&cast.expr)
}

/// The day of a timestamp, if it is a date, and whether that is when it begins.
fn day_of(moment: &ScalarValue) -> Option<(i32, bool)> {
    let (moment, second) = counted(moment)?;
    let (moment, of_day) = (moment?, 86_400 * second);
    Some((i32::try_from(moment.div_euclid(of_day)).ok()?, moment.rem_euclid(of_day) == 0))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{Field, TimeUnit};
    use datafusion_expr::{cast, col};

    use super::*;

    #[test]
    fn comparisons_of_dates_are_of_days() {
        let fields = vec![Field::new("d", DataType::Date32, true)];
        let schema = DFSchema::try_from(arrow::datatypes::Schema::new(fields)).expect("a schema");
        let stamp = DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC")));
        let date = || cast(col("d"), stamp.clone());
        let moment = |hours: i64| {
            lit(ScalarValue::TimestampMicrosecond(Some(hours * 3_600_000_000), Some("UTC".into())))
        };
        let found = |expr: Expr| in_days(&expr, &schema).map(|expr| expr.to_string());
        let is = |days: &str| Some(format!("d {days}"));
        assert_eq!(found(date().lt(moment(0))), is("< Date32(\"1970-01-01\")"));
        assert_eq!(found(date().lt(moment(1))), is("<= Date32(\"1970-01-01\")"));
        assert_eq!(found(date().lt_eq(moment(-1))), is("<= Date32(\"1969-12-31\")"));
        assert_eq!(found(date().gt_eq(moment(-1))), is("> Date32(\"1969-12-31\")"));
        assert_eq!(found(date().gt_eq(moment(24))), is(">= Date32(\"1970-01-02\")"));
        assert_eq!(found(moment(24).gt(date())), is("< Date32(\"1970-01-02\")"));
        assert_eq!(found(date().eq(moment(24))), is("= Date32(\"1970-01-02\")"));
        assert_eq!(found(date().eq(moment(25))), Some("d IS NULL AND Boolean(NULL)".to_string()));
        assert_eq!(found(date() - moment(24)), None);
        let list = date().in_list(vec![moment(0), moment(24)], true);
        let days = "NOT IN ([Date32(\"1970-01-01\"), Date32(\"1970-01-02\")])";
        assert_eq!(found(list), is(days));
        let list = date().in_list(vec![moment(0), moment(1)], false);
        assert_eq!(found(list), is("IN ([Date32(\"1970-01-01\")])"));
    }
}
