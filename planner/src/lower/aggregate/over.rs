//! Aggregates OVER windows: which one the engine computes, and of what.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion_expr::AggregateUDF;
use datafusion_functions_aggregate::string_agg::string_agg_udaf;
use gristmill_engine::expr::{
    AggregateKind, AggregateRef, BitOp, Expr, Literal, OrderedKind, Value, WindowKind,
};
use gristmill_engine::{Error, Result};

use super::borrowed::BorrowedAggregate;
use super::calls::{FRACTION, cast, fraction, split_constants, statistic, without_widening};
use crate::functions::{BoundAggregate, Declared};

/// What a window computes for an aggregate, of equal values once where it is `distinct`. Its
/// arguments become those that are taken, and rows count where its filter is true.
///
/// # Errors
/// `Input`, by name, for what windows do not compute.
pub(in crate::lower) fn over(
    (function, distinct): (&Arc<AggregateUDF>, bool),
    args: &mut Vec<Expr>,
    filter: &mut Option<Expr>,
    data_type: &DataType,
) -> Result<WindowKind> {
    if distinct {
        return distinct_over(function, args, filter).map(WindowKind::Aggregate);
    }
    match sorted_over(function, args, data_type)? {
        Some(sorted) => Ok(sorted),
        None => aggregate_over(function, args, filter).map(WindowKind::Aggregate),
    }
}

/// The aggregate of distinct values that a window computes for one.
fn distinct_over(
    function: &Arc<AggregateUDF>,
    args: &mut Vec<Expr>,
    filter: &mut Option<Expr>,
) -> Result<AggregateKind> {
    let is_own = BoundAggregate::of(function).is_some();
    match (function.name(), args.len()) {
        // Of a constant as well: rows are not counted.
        ("count", 1) if !is_own => Ok(AggregateKind::Count),
        ("sum" | "avg" | "min" | "max" | "bool_and" | "bool_or" | "bit_and" | "bit_or", 1)
            if !is_own =>
        {
            aggregate_over(function, args, filter)
        }
        (name, _) => Err(Error::input(format!("{name}(DISTINCT …) OVER is not supported"))),
    }
}

/// The aggregate that a window computes for one.
fn aggregate_over(
    function: &Arc<AggregateUDF>,
    args: &mut Vec<Expr>,
    filter: &mut Option<Expr>,
) -> Result<AggregateKind> {
    if let Some(own) = BoundAggregate::of(function) {
        let function = AggregateRef::registered(Arc::new(own.clone()));
        return Ok(AggregateKind::Custom { function, parameters: Vec::new() });
    }
    if let Some(declared) = Declared::of(function) {
        return declared_over(declared, function.name(), args, filter);
    }
    Ok(match (function.name(), args.as_slice()) {
        ("count", []) => AggregateKind::CountRows,
        ("count", [Expr::Literal(l)]) if l.value != Value::Null => AggregateKind::CountRows,
        ("count", [_]) => AggregateKind::Count,
        ("sum", [_]) => AggregateKind::Sum,
        ("min" | "bool_and", [_]) => AggregateKind::Min,
        ("max" | "bool_or", [_]) => AggregateKind::Max,
        ("avg", [_]) => {
            args.iter_mut().for_each(without_widening);
            AggregateKind::Average
        }
        ("bit_and", [_]) => AggregateKind::Bits(BitOp::And),
        ("bit_or", [_]) => AggregateKind::Bits(BitOp::Or),
        ("bit_xor", [_]) => AggregateKind::Bits(BitOp::Xor),
        (
            "array_agg"
            | "approx_distinct"
            | "approx_median"
            | "approx_percentile_cont"
            | "approx_percentile_cont_with_weight",
            _,
        ) => borrowed(function.clone(), args),
        (name, _) => match statistic(name) {
            Some(kind) => {
                args.iter_mut().for_each(|arg| cast(arg, &DataType::Float64));
                kind
            }
            None => return Err(unsupported(name)),
        },
    })
}

/// The percentile or mode that a window computes for an aggregate; `None` for any other.
///
/// # Errors
/// `Input` when the part of the way is no number from 0 to 1.
fn sorted_over(
    function: &Arc<AggregateUDF>,
    args: &mut Vec<Expr>,
    data_type: &DataType,
) -> Result<Option<WindowKind>> {
    let which = match Declared::of(function) {
        Some(Declared::Mode) => return Ok(Some(WindowKind::Mode)),
        Some(which @ (Declared::Median | Declared::PercentileCont | Declared::PercentileDisc)) => {
            which
        }
        _ => return Ok(None),
    };
    let fraction = match which {
        Declared::Median => 0.5,
        _ => fraction(args.get(1))
            .ok_or_else(|| Error::input(format!("{} {FRACTION}", function.name())))?,
    };
    args.truncate(1);
    Ok(Some(WindowKind::Percentile(match which.is_between(data_type) {
        true => {
            args.iter_mut().for_each(|value| cast(value, data_type));
            OrderedKind::PercentileCont { fraction }
        }
        false => OrderedKind::PercentileDisc { fraction },
    })))
}

fn declared_over(
    which: Declared,
    name: &str,
    args: &mut Vec<Expr>,
    filter: &mut Option<Expr>,
) -> Result<AggregateKind> {
    match (which, args.first_mut()) {
        (Declared::StringAgg, Some(value)) => {
            cast(value, &DataType::Utf8View);
            if args.len() == 1 {
                args.push(Expr::Literal(Literal::text(",")));
            }
            Ok(borrowed(string_agg_udaf(), args))
        }
        (Declared::CountIf, Some(_)) => {
            let conditions = filter.take().into_iter().chain(args.drain(..));
            *filter = Some(Expr::And(conditions.collect()));
            Ok(AggregateKind::CountRows)
        }
        _ => Err(unsupported(name)),
    }
}

fn borrowed(function: Arc<AggregateUDF>, args: &mut Vec<Expr>) -> AggregateKind {
    let function = AggregateRef::registered(Arc::new(BorrowedAggregate::new(function)));
    AggregateKind::Custom { function, parameters: split_constants(args) }
}

fn unsupported(name: &str) -> Error {
    Error::input(format!("`{name}` OVER is not supported"))
}
