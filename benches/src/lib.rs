//! Benches of kernels, operators and whole queries; here, the rows that they run over, and how they
//! end. The texts of the queries are in `queries`.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array, RecordBatch,
    StringViewArray,
};
use gristmill::Result;
use gristmill_engine::batch::hash_word;

/// The day of the first row, 2020-01-01, in days since 1970.
const FIRST_DAY: i32 = 18_262;

/// Ends the program with the error, if there is one: benches that cannot run say nothing of speed.
pub fn or_exit(outcome: Result<()>) {
    if let Err(error) = outcome {
        eprintln!("{error}");
        std::process::exit(1);
    }
}

/// `count` rows, the same ones for the same `seed`:
///
/// * `key`: whole numbers from 0 to `count`, each about once, in no order;
/// * `bucket`: 0 to 999;
/// * `amount`: DECIMAL(15, 2), below 1,000;
/// * `measure`: doubles in [0, 1), of which one in twenty is NULL;
/// * `day`: dates of six years;
/// * `name`: texts of 6 to 26 bytes.
///
/// # Errors
/// None that is to be expected.
pub fn rows(count: usize, seed: u64) -> Result<RecordBatch> {
    let numbers: Vec<u64> = (0..count as u64).map(|row| hash_word(row ^ seed << 40)).collect();
    let below = |number: &u64, limit: u64| (number >> 20) % limit.max(1);
    let key: Int64Array = numbers.iter().map(|n| below(n, count as u64) as i64).collect();
    let bucket: Int32Array = numbers.iter().map(|n| below(n, 1_000) as i32).collect();
    let amount: Decimal128Array = numbers.iter().map(|n| below(n, 100_000) as i128).collect();
    let measure: Float64Array = numbers
        .iter()
        .map(|n| (n % 20 > 0).then_some((n >> 11) as f64 / (1u64 << 53) as f64))
        .collect();
    let day: Date32Array =
        numbers.iter().map(|n| Some(FIRST_DAY + below(n, 6 * 365) as i32)).collect();
    let name: StringViewArray = numbers
        .iter()
        .map(|n| Some(format!("name {}{}", n % 10, "x".repeat((n % 21) as usize))))
        .collect();
    let columns: [(&str, ArrayRef); 6] = [
        ("key", Arc::new(key)),
        ("bucket", Arc::new(bucket)),
        ("amount", Arc::new(amount.with_precision_and_scale(15, 2)?)),
        ("measure", Arc::new(measure)),
        ("day", Arc::new(day)),
        ("name", Arc::new(name)),
    ];
    Ok(RecordBatch::try_from_iter(columns)?)
}
