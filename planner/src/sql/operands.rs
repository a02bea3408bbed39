//! Operands of two types that the borrowed coercion would bring together wrongly.
//!
//! **A double meets a decimal as a double.** The coercion compares, computes and unites the two as
//! decimals: a double beyond the digits of the decimal becomes zero or an error there, and so do
//! NaN and the infinities. Before it runs, the decimal operand is cast, as in other engines and the
//! standard (approximate wins over exact). Operands that meet: those of comparisons, arithmetic,
//! BETWEEN and IN, the results of CASE, the arguments of `coalesce` and its kin, and the columns of
//! UNION.
//!
//! **A date moved by hours is a timestamp.** The coercion leaves it a date, and the hours are lost.
//! Moved by days or months it stays a date.
//!
//! Sound: every decimal has a nearest double, every date is a timestamp, and the names of columns
//! are kept.

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion_common::config::ConfigOptions;
use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion_common::{DFSchema, Result, ScalarValue};
use datafusion_expr::utils::merge_schema;
use datafusion_expr::{Expr, ExprSchemable, LogicalPlan, Projection, Union, cast};
use datafusion_optimizer::analyzer::AnalyzerRule;
use datafusion_optimizer::analyzer::type_coercion::coerce_union_schema;

use super::renewed::{renewed, schema_below};

/// Functions whose result is one of their arguments.
const CHOOSING: [&str; 5] = ["coalesce", "greatest", "least", "nullif", "nvl"];

/// The rule; see the module documentation.
#[derive(Debug)]
pub(super) struct WidenOperands;

impl AnalyzerRule for WidenOperands {
    fn name(&self) -> &str {
        "widen_operands"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(|node| {
            let node = match node {
                LogicalPlan::Union(union) => return unite(union),
                LogicalPlan::Join(mut join) => {
                    let schema = merge_schema(&[&join.left, &join.right]);
                    for (left, right) in &mut join.on {
                        meet(&mut [left, right], &schema);
                    }
                    LogicalPlan::Join(join)
                }
                other => other,
            };
            if !node.expressions().iter().any(has_operands) {
                return Ok(Transformed::no(node));
            }
            let schema = schema_below(&node);
            let node = renewed(node, |e| Ok(widened(e, &schema)))?;
            if node.transformed { node.map_data(LogicalPlan::recompute_schema) } else { Ok(node) }
        })
        .data()
    }
}

/// Whether the expression may have operands that meet.
fn has_operands(expr: &Expr) -> bool {
    let found = expr.exists(|e| {
        Ok(match e {
            Expr::BinaryExpr(binary) => !binary.op.is_logic_operator(),
            Expr::ScalarFunction(call) => CHOOSING.contains(&call.func.name()),
            Expr::Between(_) | Expr::InList(_) | Expr::Case(_) => true,
            _ => false,
        })
    });
    found.unwrap_or(true)
}

fn widened(mut expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let changed = match &mut expr {
        Expr::BinaryExpr(binary) if !binary.op.is_logic_operator() => {
            let (left, right) = (&mut binary.left, &mut binary.right);
            move_date(left, right, schema)
                || move_date(right, left, schema)
                || meet(&mut [left, right], schema)
        }
        Expr::Between(between) => {
            meet(&mut [&mut between.expr, &mut between.low, &mut between.high], schema)
        }
        Expr::InList(list) => {
            let mut all: Vec<&mut Expr> = list.list.iter_mut().collect();
            all.push(&mut list.expr);
            meet(&mut all, schema)
        }
        Expr::Case(case) => {
            let (mut compared, mut results): (Vec<&mut Expr>, Vec<&mut Expr>) =
                case.when_then_expr.iter_mut().map(|(w, t)| (w.as_mut(), t.as_mut())).unzip();
            results.extend(case.else_expr.as_deref_mut());
            compared.extend(case.expr.as_deref_mut());
            let compared = meet(&mut compared, schema);
            meet(&mut results, schema) || compared
        }
        Expr::ScalarFunction(call) if CHOOSING.contains(&call.func.name()) => {
            meet(&mut call.args.iter_mut().collect::<Vec<_>>(), schema)
        }
        _ => false,
    };
    if changed { Transformed::yes(expr) } else { Transformed::no(expr) }
}

/// Casts a date that is moved by a part of a day. Says whether it was one.
fn move_date(date: &mut Expr, by: &Expr, schema: &DFSchema) -> bool {
    let parts_of_a_day = match by {
        Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(by)), _) => by.nanoseconds != 0,
        Expr::Literal(ScalarValue::IntervalDayTime(Some(by)), _) => by.milliseconds != 0,
        _ => false,
    };
    if !parts_of_a_day || !matches!(date.get_type(schema), Ok(DataType::Date32)) {
        return false;
    }
    *date = cast(std::mem::take(date), DataType::Timestamp(TimeUnit::Microsecond, None));
    true
}

/// Casts the decimals among operands of which others are doubles. Says whether there were any.
fn meet(operands: &mut [&mut Expr], schema: &DFSchema) -> bool {
    let types: Vec<Option<DataType>> = operands.iter().map(|e| e.get_type(schema).ok()).collect();
    if !is_mixed(types.iter().flatten()) {
        return false;
    }
    for (operand, data_type) in operands.iter_mut().zip(&types) {
        if data_type.as_ref().is_some_and(DataType::is_decimal) {
            **operand = cast(std::mem::take(*operand), DataType::Float64);
        }
    }
    true
}

fn is_mixed<'a>(types: impl Iterator<Item = &'a DataType> + Clone) -> bool {
    types.clone().any(DataType::is_floating) && types.clone().any(DataType::is_decimal)
}

/// Casts the decimal columns of inputs that meet doubles of others.
fn unite(union: Union) -> Result<Transformed<LogicalPlan>> {
    let columns = union.schema.fields().len();
    let same_width = union.inputs.iter().all(|input| input.schema().fields().len() == columns);
    let mixed: Vec<bool> = (0..columns)
        .map(|at| {
            same_width
                && is_mixed(union.inputs.iter().map(|input| input.schema().field(at).data_type()))
        })
        .collect();
    if !mixed.contains(&true) {
        return Ok(Transformed::no(LogicalPlan::Union(union)));
    }
    let inputs = union.inputs.iter().map(|input| {
        let columns = input.schema().columns().into_iter().zip(&mixed).enumerate();
        let columns = columns.map(|(at, (column, &mixed))| {
            let is_decimal = input.schema().field(at).data_type().is_decimal();
            let name = column.name.clone();
            match mixed && is_decimal {
                true => cast(Expr::Column(column), DataType::Float64).alias(name),
                false => Expr::Column(column),
            }
        });
        let projection = Projection::try_new(columns.collect(), input.clone())?;
        Ok(Arc::new(LogicalPlan::Projection(projection)))
    });
    let inputs = inputs.collect::<Result<Vec<_>>>()?;
    let schema = Arc::new(coerce_union_schema(&inputs)?);
    Ok(Transformed::yes(LogicalPlan::Union(Union { inputs, schema })))
}
