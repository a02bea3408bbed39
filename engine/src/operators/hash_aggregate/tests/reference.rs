//! What aggregates are, a row at a time.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Float64Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int32Type, Int64Type};
use arrow::util::display::array_value_to_string;

use super::super::HashAggregate;
use super::data::Input;
use crate::batch::with_float_keys;
use crate::expr::{AggregateCall, AggregateKind, BitOp, SortKey};

/// A value as text.
pub(super) fn text(array: &ArrayRef, row: usize) -> String {
    if array.is_null(row) {
        return "NULL".to_string();
    }
    let text = array_value_to_string(array, row).expect("prints");
    // The sign of a sum that is zero depends on the order.
    if text == "-0.0" { "0.0".to_string() } else { text }
}

/// One aggregate of some rows, row at a time.
fn reference(call: &AggregateCall, inputs: &[Input], rows: &[usize]) -> String {
    let passes = |row: &&usize| {
        call.filter.is_none_or(|filter| {
            let filter = inputs[filter].values.as_boolean();
            filter.is_valid(**row) && filter.value(**row)
        })
    };
    let rows: Vec<usize> = rows.iter().filter(passes).copied().collect();
    let Some(&argument) = call.arguments.first() else { return rows.len().to_string() };
    let values = &inputs[argument].values;
    if let AggregateKind::First { order } | AggregateKind::Last { order } = &call.function {
        let is_first = matches!(call.function, AggregateKind::First { .. });
        let best = rows.into_iter().reduce(|a, b| match before(order, inputs, b, a) == is_first {
            true => b,
            false => a,
        });
        let values = with_float_keys(values).expect("keys");
        return best.map_or("NULL".to_string(), |row| text(&values, row));
    }
    let rows: Vec<usize> = rows.into_iter().filter(|&row| values.is_valid(row)).collect();
    let average = call.function == AggregateKind::Average;
    match &call.function {
        AggregateKind::Count | AggregateKind::CountRows => rows.len().to_string(),
        _ if rows.is_empty() => "NULL".to_string(),
        AggregateKind::Sum | AggregateKind::Average if call.data_type == DataType::Float64 => {
            let values = cast(values, &DataType::Float64).expect("casts");
            let values = values.as_primitive::<Float64Type>();
            let sum: f64 = rows.iter().map(|&row| values.value(row)).sum();
            let result = if average { sum / rows.len() as f64 } else { sum };
            text(&(Arc::new(Float64Array::from(vec![result])) as ArrayRef), 0)
        }
        AggregateKind::Sum | AggregateKind::Average => {
            let integer = |row: usize| match values.data_type() {
                DataType::Int64 => i128::from(values.as_primitive::<Int64Type>().value(row)),
                DataType::Int32 => i128::from(values.as_primitive::<Int32Type>().value(row)),
                DataType::Decimal64(_, s) => {
                    let wide = cast(values, &DataType::Decimal128(38, *s)).expect("casts");
                    wide.as_primitive::<Decimal128Type>().value(row)
                }
                _ => values.as_primitive::<Decimal128Type>().value(row),
            };
            let sum: i128 = rows.iter().map(|&row| integer(row)).sum();
            match call.data_type {
                DataType::Decimal128(p, s) => {
                    let rounded =
                        |value: i128, n: i128| (2 * value.abs() + n) / (2 * n) * value.signum();
                    let sum = match average {
                        true => rounded(sum * 10_000, rows.len() as i128),
                        false => sum,
                    };
                    let array = Decimal128Array::from(vec![sum]).with_precision_and_scale(p, s);
                    text(&(Arc::new(array.expect("fits")) as ArrayRef), 0)
                }
                _ => sum.to_string(),
            }
        }
        AggregateKind::Min | AggregateKind::Max => {
            let options = arrow::compute::SortOptions { descending: false, nulls_first: false };
            let keys = with_float_keys(values).expect("keys");
            let compare = arrow::array::make_comparator(&keys, &keys, options).expect("compares");
            let least = call.function == AggregateKind::Min;
            let best = rows.into_iter().reduce(|a, b| match compare(a, b).is_gt() == least {
                true => b,
                false => a,
            });
            text(&keys, best.expect("not empty"))
        }
        AggregateKind::Bits(op) => {
            let values = cast(values, &DataType::Int64).expect("casts");
            let values = values.as_primitive::<Int64Type>();
            let all = rows.iter().map(|&row| values.value(row)).reduce(|a, b| match op {
                BitOp::And => a & b,
                BitOp::Or => a | b,
                BitOp::Xor => a ^ b,
            });
            all.expect("not empty").to_string()
        }
        AggregateKind::Spread(_) | AggregateKind::Pairs(_) => panic!("has a test of its own"),
        _ => {
            let values = values.as_primitive::<Int64Type>();
            rows.iter().fold(0, |all, &row| all ^ values.value(row)).to_string()
        }
    }
}

/// Whether a row comes before another.
fn before(order: &[SortKey], inputs: &[Input], a: usize, b: usize) -> bool {
    for key in order {
        let keys = with_float_keys(&inputs[key.column].values).expect("keys");
        let options = arrow::compute::SortOptions {
            descending: key.descending,
            nulls_first: key.nulls_first,
        };
        let compare = arrow::array::make_comparator(&keys, &keys, options).expect("compares");
        if compare(a, b).is_ne() {
            return compare(a, b).is_lt();
        }
    }
    a < b
}

/// Results by key, as texts.
pub(super) fn expected(
    spec: &HashAggregate,
    inputs: &[Input],
    live: &[usize],
) -> BTreeMap<String, Vec<String>> {
    let keys: Vec<ArrayRef> =
        spec.keys.iter().map(|&key| with_float_keys(&inputs[key].values).expect("keys")).collect();
    let mut groups: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for &row in live {
        let key: Vec<String> = keys.iter().map(|key| text(key, row)).collect();
        groups.entry(key.join("|")).or_default().push(row);
    }
    if spec.keys.is_empty() {
        groups.entry(String::new()).or_default();
    }
    let results = groups.into_iter().map(|(key, rows)| {
        let calls = spec.aggregates.iter();
        (key, calls.map(|call| reference(call, inputs, &rows)).collect())
    });
    results.collect()
}

pub(super) fn actual(spec: &HashAggregate, batch: &RecordBatch) -> BTreeMap<String, Vec<String>> {
    let columns: Vec<ArrayRef> =
        batch.columns().iter().map(|array| with_float_keys(array).expect("keys")).collect();
    let (keys, results) = columns.split_at(spec.keys.len());
    let rows = (0..batch.num_rows()).map(|row| {
        let key: Vec<String> = keys.iter().map(|key| text(key, row)).collect();
        (key.join("|"), results.iter().map(|result| text(result, row)).collect())
    });
    let rows: Vec<(String, Vec<String>)> = rows.collect();
    let count = rows.len();
    let map: BTreeMap<_, _> = rows.into_iter().collect();
    assert_eq!(map.len(), count, "a group came out twice: {batch:?}");
    map
}

/// Variance of a sample, deviation of a population, covariance of a sample, correlation, slope,
/// intercept and R2 of some rows, by definition.
pub(super) fn two_passes(rows: &[usize], y: &[Option<f64>], x: &[Option<f64>]) -> [Option<f64>; 7] {
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    let own: Vec<f64> = rows.iter().filter_map(|&r| y[r]).collect();
    let squares: f64 = own.iter().map(|v| (v - mean(&own)).powi(2)).sum();
    let (n, some) = (own.len() as f64, !own.is_empty());
    let pairs: Vec<(f64, f64)> = rows.iter().filter_map(|&r| Some((y[r]?, x[r]?))).collect();
    let (ys, xs): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
    let m = pairs.len() as f64;
    let (mean_y, mean_x) = (mean(&ys), mean(&xs));
    let xx: f64 = xs.iter().map(|x| (x - mean_x).powi(2)).sum();
    let yy: f64 = ys.iter().map(|y| (y - mean_y).powi(2)).sum();
    let xy: f64 = pairs.iter().map(|(y, x)| (y - mean_y) * (x - mean_x)).sum();
    let varies = !pairs.is_empty() && xx > 0.0;
    [
        (n > 1.0).then(|| squares / (n - 1.0)),
        some.then(|| (squares / n).sqrt()),
        (m > 1.0).then(|| xy / (m - 1.0)),
        (varies && yy > 0.0).then(|| xy / (xx * yy).sqrt()),
        varies.then(|| xy / xx),
        varies.then(|| mean_y - xy / xx * mean_x),
        varies.then(|| if yy == 0.0 { 1.0 } else { xy * xy / (xx * yy) }),
    ]
}
