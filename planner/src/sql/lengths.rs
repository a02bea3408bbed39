//! Intervals by their lengths, wherever they are compared, sorted or grouped: a month is 30 days
//! then, and a day 24 hours. The parts of an interval have an order of their own, months first,
//! which is not that of the lengths.
//!
//! Lists and structures of intervals are compared with the lengths in them. Of equal values in a
//! group, any stands for all.
//!
//! Sound: types are settled, and what is compared by length is no interval any more.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion_common::{DFSchema, Result, plan_err};
use datafusion_expr::expr::{AggregateFunction, InSubquery, SetComparison};
use datafusion_expr::utils::grouping_set_to_exprlist;
use datafusion_expr::{
    Aggregate, Distinct, Expr, ExprSchemable, LogicalPlan, Projection, SortExpr, Subquery, Window,
    WindowFrameBound, WindowFrameUnits, WindowFunctionDefinition, cast, when,
};
use datafusion_functions::core::expr_fn::get_field;
use datafusion_functions_aggregate::first_last::first_value_udaf;

use super::grouping_items::in_sets;
use super::operands::change_column;
use crate::functions::{
    DRAWN_AGAIN, Declared, MEASURED_VALUE, declared, has_interval, interval_order,
    with_interval_order,
};

/// An expression whose operands have met.
///
/// # Errors
/// `Internal` when a query cannot have another column.
pub(super) fn by_length(mut expr: Expr, schema: &DFSchema) -> Result<Expr> {
    match &mut expr {
        Expr::BinaryExpr(binary) if binary.op.supports_propagation() => {
            measure([binary.left.as_mut(), binary.right.as_mut()].into(), schema);
        }
        Expr::Between(between) => {
            let operands = [&mut between.expr, &mut between.low, &mut between.high];
            measure(operands.map(|operand| operand.as_mut()).into(), schema);
        }
        Expr::InList(list) => {
            let items = list.list.iter_mut();
            measure(items.chain([list.expr.as_mut()]).collect(), schema);
        }
        Expr::Case(case) => {
            if let Some(compared) = case.expr.as_deref_mut() {
                let values = case.when_then_expr.iter_mut().map(|(value, _)| value.as_mut());
                measure(values.chain([compared]).collect(), schema);
            }
        }
        Expr::InSubquery(InSubquery { expr, subquery, .. })
        | Expr::SetComparison(SetComparison { expr, subquery, .. }) => {
            measure_column(expr, subquery, schema)?;
        }
        Expr::AggregateFunction(call) => measure_in_aggregate(call, schema)?,
        _ => {}
    }
    Ok(expr)
}

/// A window function whose types have not met, but those of its keys are known.
pub(super) fn window_by_length(expr: Expr, schema: &DFSchema) -> Expr {
    let Expr::WindowFunction(mut call) = expr else { return expr };
    let params = &mut call.params;
    if params.distinct
        && let [arg] = &mut params.args[..]
        && call.fun.name() == "count"
    {
        measure(vec![arg], schema);
    }
    if let [arg] = &mut params.args[..]
        && call.fun.name() == "approx_distinct"
    {
        measure_as_text(arg, schema);
    }
    params.partition_by.iter_mut().for_each(|key| measure(vec![key], schema));
    let frame = &params.window_frame;
    let has_offset = |bound: &WindowFrameBound| match bound {
        WindowFrameBound::Preceding(offset) | WindowFrameBound::Following(offset) => {
            !offset.is_null()
        }
        WindowFrameBound::CurrentRow => false,
    };
    // An offset is added to the key as it is.
    let is_moved = frame.units == WindowFrameUnits::Range
        && (has_offset(&frame.start_bound) || has_offset(&frame.end_bound));
    if !is_moved {
        measure_keys(&mut params.order_by, schema);
    }
    Expr::WindowFunction(call)
}

/// The rows of a node whose keys are intervals by their lengths.
///
/// # Errors
/// `Internal` when its input has no such keys.
pub(super) fn keys_by_length(plan: LogicalPlan) -> Result<LogicalPlan> {
    match plan {
        LogicalPlan::Sort(mut sort) => {
            measure_keys(&mut sort.expr, sort.input.schema());
            Ok(LogicalPlan::Sort(sort))
        }
        LogicalPlan::Join(mut join) => {
            for (left, right) in &mut join.on {
                let (of_left, of_right) = (join.left.schema(), join.right.schema());
                if is_interval(left, of_left) && is_interval(right, of_right) {
                    measure(vec![left], of_left);
                    measure(vec![right], of_right);
                }
            }
            Ok(LogicalPlan::Join(join))
        }
        LogicalPlan::Distinct(Distinct::All(rows))
            if rows.schema().fields().iter().any(|field| has_interval(field.data_type())) =>
        {
            let columns = rows.schema().columns().into_iter().map(Expr::Column).collect();
            groups_by_length(Aggregate::try_new(rows, columns, Vec::new())?)
        }
        LogicalPlan::Aggregate(aggregate)
            if grouping_set_to_exprlist(&aggregate.group_expr)?
                .iter()
                .any(|key| is_interval(key, aggregate.input.schema())) =>
        {
            groups_by_length(aggregate)
        }
        LogicalPlan::Window(window)
            if window.window_expr.iter().any(|e| is_chosen(e, window.input.schema())) =>
        {
            chosen_by_length(window)
        }
        other => Ok(other),
    }
}

/// Groups by lengths, each with its first interval.
fn groups_by_length(aggregate: Aggregate) -> Result<LogicalPlan> {
    let Aggregate { input, group_expr: keys, aggr_expr: mut results, schema, .. } = aggregate;
    let below = input.schema();
    let all: Vec<Expr> = grouping_set_to_exprlist(&keys)?.into_iter().cloned().collect();
    // What stands in front of the results.
    let first = schema.fields().len() - results.len();
    let result_count = results.len();
    // The groups whose keys are intervals, and where the first ones of those are.
    let mut firsts: Vec<(usize, usize)> = Vec::new();
    for (number, key) in all.iter().enumerate().filter(|(_, key)| is_interval(key, below)) {
        firsts.push((number, first + result_count + firsts.len()));
        let found = first_value_udaf().call(vec![drawn_before(key)?.clone().unalias()]);
        results.push(found.alias(format!("__interval_{number}")));
    }
    let by_length = |key: Expr| match is_interval(&key, below) {
        true => Ok(interval_order(key.unalias())),
        false => Ok(key),
    };
    let keys = keys.into_iter().map(|key| in_sets(key, &by_length)).collect::<Result<_>>()?;
    let groups = LogicalPlan::Aggregate(Aggregate::try_new(input.clone(), keys, results)?);
    let columns: Vec<Expr> = groups.schema().columns().into_iter().map(Expr::Column).collect();
    let outputs = columns.iter().zip(schema.iter()).enumerate();
    let outputs = outputs.map(|(number, (column, (qualifier, field)))| {
        let place = firsts.iter().find(|(key, _)| *key == number);
        let column = match place.and_then(|(_, place)| columns.get(*place)) {
            // Sets without the key have no interval either.
            Some(interval) => when(column.clone().is_not_null(), interval.clone()).end()?,
            None => column.clone(),
        };
        Ok(column.alias_qualified(qualifier.cloned(), field.name()))
    });
    let outputs: Vec<Expr> = outputs.collect::<Result<_>>()?;
    Ok(LogicalPlan::Projection(Projection::try_new(outputs, Arc::new(groups))?))
}

/// Windows with intervals that are chosen by their lengths, as the least of a frame or its median:
/// with each length its interval is carried along.
fn chosen_by_length(window: Window) -> Result<LogicalPlan> {
    let Window { input, window_expr: mut calls, schema } = window;
    let below = input.schema().clone();
    let width = below.fields().len();
    let mut found = Vec::new();
    for (number, call) in calls.iter_mut().enumerate() {
        if is_chosen(call, &below) {
            *call = paired(std::mem::take(call).unalias()).alias(format!("__interval_{number}"));
            found.push(width + number);
        }
    }
    let windows = LogicalPlan::Window(Window::try_new(calls, input)?);
    let columns = windows.schema().columns().into_iter().map(Expr::Column).enumerate();
    let columns = columns.zip(schema.iter()).map(|((number, column), (qualifier, field))| {
        let column = match found.contains(&number) {
            true => get_field(column, MEASURED_VALUE),
            false => column,
        };
        column.alias_qualified(qualifier.cloned(), field.name())
    });
    let columns: Vec<Expr> = columns.collect();
    Ok(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(windows))?))
}

/// Whether an expression is one of the intervals of a frame, chosen by their lengths.
fn is_chosen(expr: &Expr, schema: &DFSchema) -> bool {
    match expr {
        Expr::Alias(alias) => is_chosen(&alias.expr, schema),
        Expr::WindowFunction(call) => {
            let WindowFunctionDefinition::AggregateUDF(function) = &call.fun else { return false };
            let chooses = match Declared::of(function) {
                Some(which) => which.is_percentile(),
                None => matches!(function.name(), "min" | "max"),
            };
            chooses && call.params.args.first().is_some_and(|arg| is_interval(arg, schema))
        }
        _ => false,
    }
}

/// A call over pairs of a length and its interval.
fn paired(expr: Expr) -> Expr {
    let Expr::WindowFunction(mut call) = expr else { return expr };
    if let Some(arg) = call.params.args.first_mut() {
        *arg = with_interval_order(std::mem::take(arg));
    }
    if matches!(call.fun.name(), "min" | "max") {
        call.params.distinct = false;
    }
    Expr::WindowFunction(call)
}

/// The least and the greatest interval are those of the least and the greatest length.
fn measure_in_aggregate(call: &mut AggregateFunction, schema: &DFSchema) -> Result<()> {
    let own = call.params.args.first();
    for key in &mut call.params.order_by {
        // Distinct values are sorted by what tells them apart, which is added when it is known.
        if !(call.params.distinct && own == Some(&key.expr)) {
            measure(vec![&mut key.expr], schema);
        }
    }
    let name = call.func.name();
    let found = match (name, &mut call.params.args[..]) {
        ("min", [_]) => Declared::ArgMin,
        ("max", [_]) => Declared::ArgMax,
        ("arg_min" | "arg_max", [_, by]) => {
            measure(vec![by], schema);
            return Ok(());
        }
        ("count", [arg]) if call.params.distinct => {
            measure(vec![arg], schema);
            return Ok(());
        }
        ("approx_distinct", [arg]) => {
            measure_as_text(arg, schema);
            return Ok(());
        }
        _ => return Ok(()),
    };
    let Some(arg) = call.params.args.first().filter(|arg| is_interval(arg, schema)) else {
        return Ok(());
    };
    let length = interval_order(drawn_before(arg)?.clone());
    call.params.args.push(length);
    call.params.distinct = false;
    call.func = Arc::new(declared(found));
    Ok(())
}

/// The lengths as texts, which can be told apart where decimals cannot.
fn measure_as_text(arg: &mut Expr, schema: &DFSchema) {
    if is_interval(arg, schema) {
        *arg = cast(interval_order(std::mem::take(arg)), DataType::Utf8);
    }
}

/// An interval that is read several times.
///
/// # Errors
/// When each time would draw another one.
fn drawn_before(interval: &Expr) -> Result<&Expr> {
    match interval.is_volatile() {
        true => plan_err!("{DRAWN_AGAIN}"),
        false => Ok(interval),
    }
}

fn measure_keys(keys: &mut [SortExpr], schema: &DFSchema) {
    keys.iter_mut().for_each(|key| measure(vec![&mut key.expr], schema));
}

/// Makes lengths of operands that are all intervals.
fn measure(operands: Vec<&mut Expr>, schema: &DFSchema) {
    if operands.iter().all(|operand| is_interval(operand, schema)) {
        for operand in operands {
            *operand = interval_order(std::mem::take(operand));
        }
    }
}

/// The same of an expression and the column of a subquery.
fn measure_column(expr: &mut Expr, subquery: &mut Subquery, schema: &DFSchema) -> Result<()> {
    let below = subquery.subquery.schema();
    let [field] = &below.fields()[..] else { return Ok(()) };
    if !has_interval(field.data_type()) || !is_interval(expr, schema) {
        return Ok(());
    }
    change_column(subquery, interval_order)?;
    measure(vec![expr], schema);
    Ok(())
}

fn is_interval(expr: &Expr, schema: &DFSchema) -> bool {
    expr.get_type(schema).is_ok_and(|data_type| has_interval(&data_type))
}
