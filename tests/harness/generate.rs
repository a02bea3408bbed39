//! Random tables: small domains so that keys meet, and the values that break things.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array,
    RecordBatch, StringArray,
};
use arrow::datatypes::{DataType, Field, Schema};

use crate::random::Random;

/// The column types that tables are made of.
pub fn column_types() -> Vec<DataType> {
    vec![
        DataType::Boolean,
        DataType::Int32,
        DataType::Int64,
        DataType::Float64,
        DataType::Date32,
        DataType::Decimal128(9, 2),
        DataType::Decimal128(30, 4),
        DataType::Utf8,
    ]
}

/// A table of `rows` rows: columns `c0, c1, …` of random types, some without NULL, some constant.
pub fn table(random: &mut Random, columns: usize, rows: usize) -> RecordBatch {
    let types = column_types();
    let arrays: Vec<ArrayRef> = (0..columns)
        .map(|_| {
            let data_type = random.pick(&types).clone();
            array(random, &data_type, rows)
        })
        .collect();
    let field = |(i, array): (usize, &ArrayRef)| {
        Field::new(format!("c{i}"), array.data_type().clone(), true)
    };
    let schema = Schema::new(arrays.iter().enumerate().map(field).collect::<Vec<_>>());
    RecordBatch::try_new(Arc::new(schema), arrays).expect("arrays fit their schema")
}

/// A column of one of [`column_types`].
pub fn array(random: &mut Random, data_type: &DataType, rows: usize) -> ArrayRef {
    let nulls = *random.pick(&[0, 0, 10, 50, 100]);
    let constant = random.chance(10).then(|| random.bits());
    let next = |random: &mut Random| {
        let draw = constant.map_or_else(|| random.clone(), Random::new);
        random.bits();
        (!random.chance(nulls)).then_some(draw)
    };
    macro_rules! column {
        ($array:ty, $value:expr) => {{
            let value = $value;
            let values = (0..rows).map(|_| next(random).map(|mut r| value(&mut r)));
            values.collect::<$array>()
        }};
    }
    match data_type {
        DataType::Boolean => Arc::new(column!(BooleanArray, |r: &mut Random| r.chance(50))),
        DataType::Int32 => Arc::new(column!(Int32Array, |r: &mut Random| integer(r) as i32)),
        DataType::Int64 => Arc::new(column!(Int64Array, integer)),
        DataType::Float64 => Arc::new(column!(Float64Array, float)),
        DataType::Date32 => {
            Arc::new(column!(Date32Array, |r: &mut Random| r.between(8000, 8040) as i32))
        }
        DataType::Decimal128(precision, scale) => {
            let most = 10i128.pow(u32::from(*precision)) - 1;
            let array = column!(Decimal128Array, |r: &mut Random| match r.below(20) {
                0 => most,
                1 => -most,
                _ => i128::from(r.between(-500, 500)),
            });
            Arc::new(array.with_precision_and_scale(*precision, *scale).expect("a valid type"))
        }
        _ => Arc::new(column!(StringArray, text)),
    }
}

fn integer(r: &mut Random) -> i64 {
    match r.below(40) {
        0 => i64::MAX,
        1 => i64::MIN,
        2 => i64::from(i32::MAX),
        _ => r.between(-8, 8),
    }
}

fn float(r: &mut Random) -> f64 {
    let special = [f64::NAN, -0.0, 0.0, f64::INFINITY, f64::NEG_INFINITY, -f64::NAN, 1e300];
    if r.chance(30) { *r.pick(&special) } else { r.between(-20, 20) as f64 / 4.0 }
}

fn text(r: &mut Random) -> String {
    let words = ["", "a", "b", "ab", "abc", "grist", "\u{1F33E}wheat", "twelve bytes", "%_\\"];
    match r.below(12) {
        0 => "long ".repeat(r.below(30)),
        1 => format!("a string over the inline length {}", r.below(3)),
        _ => (*r.pick(&words)).to_string(),
    }
}
