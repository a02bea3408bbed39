//! Aggregates OVER windows: which one the engine computes, and of what.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion_expr::AggregateUDF;
use datafusion_functions_aggregate::string_agg::string_agg_udaf;
use gristmill_engine::expr::{AggregateKind, AggregateRef, BitOp, Expr, Literal, Value};
use gristmill_engine::{Error, Result};

use super::borrowed::BorrowedAggregate;
use super::calls::{FRACTION, cast, fraction, split_constants, statistic, without_widening};
use super::sorted_values::SortedValues;
use crate::functions::{BoundAggregate, Declared};

/// What a window computes for an aggregate of distinct values. Its arguments become those that it
/// takes.
///
/// # Errors
/// `Input`, by name, for what windows do not compute.
pub(in crate::lower) fn distinct_over(
    function: &Arc<AggregateUDF>,
    args: &mut Vec<Expr>,
    filter: &mut Option<Expr>,
    data_type: &DataType,
) -> Result<AggregateKind> {
    let is_own = BoundAggregate::of(function).is_some();
    match (function.name(), args.len()) {
        // Of a constant as well: rows are not counted.
        ("count", 1) if !is_own => Ok(AggregateKind::Count),
        ("sum" | "avg" | "min" | "max" | "bool_and" | "bool_or" | "bit_and" | "bit_or", 1)
            if !is_own =>
        {
            aggregate_over(function, args, filter, data_type)
        }
        (name, _) => Err(Error::input(format!("{name}(DISTINCT …) OVER is not supported"))),
    }
}

/// What a window computes for an aggregate: its arguments become those that it takes, and rows
/// count where its filter is true.
///
/// # Errors
/// `Input`, by name, for what windows do not compute.
pub(in crate::lower) fn aggregate_over(
    function: &Arc<AggregateUDF>,
    args: &mut Vec<Expr>,
    filter: &mut Option<Expr>,
    data_type: &DataType,
) -> Result<AggregateKind> {
    if let Some(own) = BoundAggregate::of(function) {
        let function = AggregateRef::registered(Arc::new(own.clone()));
        return Ok(AggregateKind::Custom { function, parameters: Vec::new() });
    }
    if let Some(declared) = Declared::of(function) {
        return declared_over(declared, function.name(), args, filter, data_type);
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

fn declared_over(
    which: Declared,
    name: &str,
    args: &mut Vec<Expr>,
    filter: &mut Option<Expr>,
    data_type: &DataType,
) -> Result<AggregateKind> {
    match (which, args.first_mut()) {
        (Declared::Median | Declared::PercentileCont | Declared::PercentileDisc, Some(value)) => {
            let is_between = which.is_between(data_type);
            if is_between {
                cast(value, data_type);
            }
            let wrong = || Error::input(format!("{name} {FRACTION}"));
            let part = match which {
                Declared::Median => 0.5,
                _ => fraction(args.get(1)).ok_or_else(wrong)?,
            };
            Ok(match is_between {
                true => of_sorted(SortedValues::PercentileCont(part), args),
                false => of_sorted(SortedValues::PercentileDisc(part), args),
            })
        }
        (Declared::Mode, Some(_)) => Ok(of_sorted(SortedValues::Mode, args)),
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

fn of_sorted(wanted: SortedValues, args: &mut Vec<Expr>) -> AggregateKind {
    args.truncate(1);
    AggregateKind::Custom {
        function: AggregateRef::registered(Arc::new(wanted)),
        parameters: Vec::new(),
    }
}

fn borrowed(function: Arc<AggregateUDF>, args: &mut Vec<Expr>) -> AggregateKind {
    let function = AggregateRef::registered(Arc::new(BorrowedAggregate::new(function)));
    AggregateKind::Custom { function, parameters: split_constants(args) }
}

fn unsupported(name: &str) -> Error {
    Error::input(format!("`{name}` OVER is not supported"))
}
