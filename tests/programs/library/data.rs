//! Tables of random rows, and results as text.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::SchemaRef;
use arrow::util::pretty::pretty_format_batches;
use gristmill::{Config, Session};
use gristmill_tests::random::Random;

/// A session of so many threads.
pub fn session(threads: usize) -> Session {
    Session::new(Config { threads: Some(threads), ..Config::default() }).expect("a session")
}

/// A session of two threads that may hold so many megabytes.
pub fn small_session(megabytes: usize) -> Session {
    let memory_limit = Some(megabytes << 20);
    let config = Config { threads: Some(2), memory_limit, ..Config::default() };
    Session::new(config).expect("a session")
}

/// Random rows in batches of random sizes: `k` of `keys` values and NULL, `n` an integer or NULL,
/// `x` a double, `s` a text or NULL.
pub fn table(seed: u64, rows: usize, keys: usize) -> (SchemaRef, Vec<RecordBatch>) {
    let mut random = Random::new(seed);
    let mut batches = Vec::new();
    let mut left = rows;
    loop {
        let count = left.min(1 + random.below(20_000));
        let mut numbers = |below: usize, nulls: bool| -> Vec<Option<i64>> {
            let number = |_| {
                let is_null = nulls && random.below(10) == 0;
                (!is_null).then(|| random.below(below) as i64)
            };
            (0..count).map(number).collect()
        };
        let (k, n, x) = (numbers(keys, true), numbers(1_000, true), numbers(1_000, false));
        let s = numbers(50, true);
        let columns: [(&str, ArrayRef); 4] = [
            ("k", Arc::new(Int64Array::from(k))),
            ("n", Arc::new(Int64Array::from(n))),
            ("x", Arc::new(x.iter().map(|x| x.map(|x| x as f64 / 8.0)).collect::<Float64Array>())),
            ("s", Arc::new(s.iter().map(|s| s.map(|s| format!("s{s}"))).collect::<StringArray>())),
        ];
        let nullable = columns.into_iter().map(|(name, column)| (name, column, true));
        batches.push(RecordBatch::try_from_iter_with_nullable(nullable).expect("fits"));
        left -= count;
        if left == 0 {
            return (batches[0].schema(), batches);
        }
    }
}

/// Registers such a table.
pub fn register(session: &Session, name: &str, seed: u64, rows: usize, keys: usize) {
    let (schema, batches) = table(seed, rows, keys);
    session.register_batches(name, schema, batches).expect("is registered");
}

/// The rows as text.
pub fn text(batches: &[RecordBatch]) -> String {
    pretty_format_batches(batches).expect("has text").to_string()
}

/// The rows of a query as text.
pub fn rows(session: &Session, query: &str) -> String {
    text(&session.collect(query).unwrap_or_else(|error| panic!("{query}\n{error}")))
}

/// The rows of a query as texts in order.
pub fn sorted(session: &Session, query: &str) -> Vec<String> {
    let mut lines: Vec<String> = rows(session, query).lines().map(str::to_string).collect();
    lines.sort_unstable();
    lines
}

/// What is wrong with a query.
pub fn error(session: &Session, query: &str) -> String {
    session.collect(query).expect_err(query).to_string()
}
