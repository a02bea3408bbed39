//! One session, several threads: queries side by side, with functions and tables that come and go.

use std::sync::Arc;
use std::thread;

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{DataType, Int64Type};
use gristmill::ScalarDef;

use super::data::{register, rows, small_session, sorted};

#[test]
fn queries_run_side_by_side_on_one_session() {
    let session = small_session(64);
    register(&session, "t", 12, 100_000, 5_000);
    let queries = [
        "select k, sum(n) s, count(*) c from t group by k",
        "select count(*) c from t a join t b on a.k = b.n and a.n = b.k",
        "select n, x from t order by x, n, k limit 20",
        "select s, count(distinct k) c from t group by s",
    ];
    let expected: Vec<Vec<String>> = queries.iter().map(|q| sorted(&session, q)).collect();
    thread::scope(|scope| {
        for worker in 0..6 {
            let (session, expected, queries) = (&session, &expected, &queries);
            scope.spawn(move || {
                for round in 0..4 {
                    let number = (worker + round) % queries.len();
                    assert_eq!(sorted(session, queries[number]), expected[number]);
                    let name = format!("own_{worker}");
                    register(session, &name, round as u64, 1_000, 10);
                    let add = (10 * worker + round) as i64;
                    let int = DataType::Int64;
                    let function = move |arguments: &[ArrayRef], _: usize| {
                        let numbers = arguments[0].as_primitive::<Int64Type>();
                        let sums = numbers.iter().map(|n| n.map(|n| n + add));
                        Ok(Arc::new(sums.collect::<Int64Array>()) as ArrayRef)
                    };
                    let function =
                        ScalarDef::new(format!("add_{worker}"), [int.clone()], int, function);
                    session.register_scalar(function).expect("replaces the one before");
                    let query = format!(
                        "select count(*) c from {name} where add_{worker}(k) is \
                                         distinct from k + {add}"
                    );
                    assert!(rows(session, &query).contains("| 0 |"));
                }
            });
        }
    });
    assert_eq!(session.engine().memory().reserved(), 0);
}
