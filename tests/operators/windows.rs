//! Windows against their definition, over random tables: any number of threads, any cut into chunks
//! and morsels, budgets that put rows on disk.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Float64Array, Int64Array, RecordBatch, StringArray,
};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema};
use gristmill_engine::expr::Functions;
use gristmill_engine::memory::{Governor, GovernorOptions};
use gristmill_engine::operators::{SPECS, Window};
use gristmill_engine::plan::{Plan, Registry, Spec};
use gristmill_engine::query::{Engine, EngineOptions, RunOptions};
use gristmill_engine::scheduler::Seeded;
use gristmill_engine::{Error, Result};
use gristmill_tests::generate;
use gristmill_tests::random::Random;
use gristmill_tests::reference::expr::Failure;
use gristmill_tests::reference::value::{Row, in_order, rows};
use gristmill_tests::reference::window::window;
use gristmill_tests::table_source::TableSource;
use gristmill_tests::windows;

fn answer(engine: &Engine, plan: &Plan) -> Result<Vec<Row>> {
    let batches = engine.run(plan, &RunOptions::default())?.collect::<Result<Vec<_>>>()?;
    Ok(batches.iter().flat_map(rows).collect())
}

fn plan_of(random: &mut Random, table: &RecordBatch, spec: &Window) -> Plan {
    let source = TableSource {
        table: table.clone(),
        chunk_rows: *random.pick(&[1, 3, 16, 1000]),
        morsel_chunks: *random.pick(&[1, 2, 5]),
        seed: random.bits(),
    };
    let mut plan = Plan::new();
    let table = plan.add(Arc::new(source), &[]).expect("a table");
    plan.add(Arc::new(spec.clone()), &[table]).unwrap_or_else(|e| panic!("{e}\n{spec:?}"));
    plan
}

fn check(seed: u64, engine: &Engine) {
    let mut random = Random::new(seed);
    let count = *random.pick(&[0, 1, 2, 7, 40, 150]);
    let columns = 1 + random.below(5);
    let table = generate::table(&mut random, columns, count);
    let spec = windows::window(&mut random, &table);
    let plan = plan_of(&mut random, &table, &spec);
    let types: Vec<DataType> =
        table.schema().fields().iter().map(|field| field.data_type().clone()).collect();
    let expected = window(&rows(&table), &types, &spec);
    let context = || format!("seed {seed}\n{}", plan.explain().expect("explains"));
    match (expected, answer(engine, &plan)) {
        (Ok(expected), Ok(found)) => {
            assert_eq!(in_order(&found), in_order(&expected), "{}", context());
        }
        (Err(Failure::Certain), Err(Error::Input { .. })) => {}
        (expected, found) => panic!("expected {expected:?}, found {found:?}, {}", context()),
    }
    assert_eq!(engine.memory().reserved(), 0, "memory is left, {}", context());
}

#[test]
fn random_windows_agree_with_their_definition_on_any_number_of_threads() {
    let engines = [1, 2, 4].map(|threads| {
        let options = EngineOptions { threads: Some(threads), ..EngineOptions::default() };
        Engine::new(options).expect("starts")
    });
    for seed in 0..3000 {
        check(seed, &engines[seed as usize % 3]);
    }
}

#[test]
fn random_windows_agree_in_any_order_of_tasks() {
    for seed in 0..500 {
        let engine = Engine::on(Arc::new(Seeded::new(seed, 3)), Governor::unlimited());
        check(seed ^ 0x0057_0000, &engine);
    }
}

/// Rows of which some partitions are large: (partition, order, value, flag, date, text).
fn large_table(random: &mut Random, count: usize, partitions: i64) -> RecordBatch {
    let some = |random: &mut Random, value: i64| (!random.chance(5)).then_some(value);
    let mut part = Vec::new();
    let (mut order, mut number) = (Vec::new(), Vec::new());
    let (mut flag, mut date, mut text) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..count {
        // Half of the rows are in the first partition.
        let of = if random.chance(50) { 0 } else { random.between(0, partitions - 1) };
        part.push(some(random, of));
        let at = random.between(0, 5000);
        order.push(some(random, at));
        number.push((!random.chance(5)).then(|| random.between(-1000, 1000) as f64 / 8.0));
        flag.push((!random.chance(5)).then(|| random.chance(50)));
        date.push((!random.chance(5)).then(|| random.between(8000, 8900) as i32));
        text.push((!random.chance(5)).then(|| "text ".repeat(random.below(12))));
    }
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(part)),
        Arc::new(Int64Array::from(order)),
        Arc::new(Float64Array::from(number)),
        Arc::new(BooleanArray::from(flag)),
        Arc::new(Date32Array::from(date)),
        Arc::new(StringArray::from(text)),
    ];
    let fields = arrays.iter().enumerate();
    let fields = fields.map(|(i, a)| Field::new(format!("c{i}"), a.data_type().clone(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    RecordBatch::try_new(schema, arrays).expect("fits")
}

fn limited(threads: usize, limit_bytes: Option<usize>) -> Engine {
    let memory = GovernorOptions { limit_bytes, ..GovernorOptions::default() };
    Engine::new(EngineOptions { threads: Some(threads), memory }).expect("starts")
}

#[test]
fn windows_within_a_budget_agree_with_those_without() {
    let mut spilled = 0;
    for seed in 0..16 {
        let mut random = Random::new(seed ^ 0xB0D6E7);
        let partitions = *random.pick(&[1, 40, 20_000]);
        let table = large_table(&mut random, 120_000, partitions);
        let mut spec = windows::window(&mut random, &table);
        // Always by the first columns: partitions of some size, and ties.
        for (number, key) in spec.keys.iter_mut().enumerate() {
            key.column = number;
        }
        let source = TableSource { table, chunk_rows: 2000, morsel_chunks: 3, seed };
        let mut plan = Plan::new();
        let table = plan.add(Arc::new(source), &[]).expect("a table");
        if plan.add(Arc::new(spec), &[table]).is_err() {
            // A RANGE frame whose key is now of another type.
            continue;
        }
        let explain = plan.explain().expect("explains");
        let expected = answer(&limited(1, None), &plan);
        let engine = limited(1 + seed as usize % 3, Some(16 << 20));
        let found = answer(&engine, &plan);
        match (expected, found) {
            (Ok(expected), Ok(found)) => {
                let (found, expected) = (in_order(&found), in_order(&expected));
                let differs = found.iter().zip(&expected).position(|(a, b)| a != b);
                let at = |lines: &[String]| differs.and_then(|at| lines.get(at).cloned());
                let pair = (at(&found), at(&expected));
                assert!(found == expected, "seed {seed} at {differs:?} {pair:?}\n{explain}");
            }
            (Err(Error::Input { .. }), Err(Error::Input { .. })) => {}
            // Moving extremes and sums of numbers hold their frame.
            (Ok(_), Err(Error::OutOfMemory { who, .. })) => assert_eq!(who, "window", "{explain}"),
            (expected, found) => panic!("{:?} {:?}", expected.is_ok(), found.err()),
        }
        spilled += u64::from(engine.memory().spill().usage().written > 0);
        assert_eq!(engine.memory().reserved(), 0, "seed {seed}: memory is left\n{explain}");
    }
    assert!(spilled > 5, "{spilled} windows were put on disk");
}

#[test]
fn a_partition_larger_than_the_budget_is_no_obstacle_to_what_streams() {
    let mut random = Random::new(5);
    let table = large_table(&mut random, 50_000, 1);
    let table = concat_batches(&table.schema(), &vec![table.clone(); 6]).expect("the same schema");
    let spec = |json: &str| -> Window {
        serde_json::from_str(json).unwrap_or_else(|e| panic!("{e}: {json}"))
    };
    let call = |function: &str, arguments: &str, frame: &str, data_type: &str| {
        format!(
            r#"{{"function": {function}, "arguments": [{arguments}], "frame": {frame},
                "over": {{"partition": 0, "order": 1}}, "type": "{data_type}"}}"#
        )
    };
    let running = r#"{"units": "range", "start": "unbounded_preceding", "end": "current_row"}"#;
    let whole =
        r#"{"units": "rows", "start": "unbounded_preceding", "end": "unbounded_following"}"#;
    let moving = r#"{"units": "rows",
        "start": {"preceding": {"type": "UInt64", "value": {"u_int": 70000}}},
        "end": {"following": {"type": "UInt64", "value": {"u_int": 20000}}}}"#;
    let calls = [
        call(r#""row_number""#, "", running, "Int64"),
        call(r#""rank""#, "", running, "Int64"),
        call(r#""cume_dist""#, "", running, "Float64"),
        call(
            r#""ntile""#,
            r#"{"constant": {"type": "Int64", "value": {"int": 7}}}"#,
            whole,
            "Int64",
        ),
        call(r#""lag""#, r#"{"column": 5}"#, running, "Utf8"),
        call(
            r#""lead""#,
            r#"{"column": 4}, {"constant": {"type": "Int64", "value": {"int": 50000}}}"#,
            running,
            "Date32",
        ),
        call(r#""first_value""#, r#"{"column": 5}"#, whole, "Utf8"),
        call(r#""last_value""#, r#"{"column": 5}"#, whole, "Utf8"),
        call(r#"{"aggregate": "sum"}"#, r#"{"column": 1}"#, moving, "Int64"),
        call(r#"{"aggregate": "count"}"#, r#"{"column": 5}"#, moving, "Int64"),
        call(r#"{"aggregate": "max"}"#, r#"{"column": 5}"#, running, "Utf8"),
        call(r#"{"aggregate": "sum"}"#, r#"{"column": 2}"#, whole, "Float64"),
    ];
    for calls in [&calls[..], &calls[..2]] {
        let names: Vec<String> = (0..calls.len()).map(|i| format!(r#""w{i}""#)).collect();
        let spec = spec(&format!(
            r#"{{"keys": [{{"column": 1, "descending": true, "nulls_first": false}}],
                "calls": [{}], "names": [{}]}}"#,
            calls.join(", "),
            names.join(", ")
        ));
        let source =
            TableSource { table: table.clone(), chunk_rows: 4000, morsel_chunks: 4, seed: 1 };
        let mut plan = Plan::new();
        let input = plan.add(Arc::new(source), &[]).expect("a table");
        plan.add(Arc::new(spec), &[input]).expect("fits");
        let expected = in_order(&answer(&limited(1, None), &plan).expect("runs"));
        let engine = limited(2, Some(12 << 20));
        let found = in_order(&answer(&engine, &plan).expect("runs within the budget"));
        assert!(found == expected, "{}", plan.explain().expect("explains"));
        assert!(engine.memory().spill().usage().written > 12 << 20);
        assert_eq!(engine.memory().spill().usage().used, 0);
        assert!(engine.memory().usage().peak_reserved <= 12 << 20);
    }
}

#[test]
fn windows_survive_json() {
    for seed in 0..200 {
        let mut random = Random::new(seed);
        let table = generate::table(&mut random, 4, 3);
        let spec = windows::window(&mut random, &table);
        let fields = spec.to_json().expect("writes");
        let reader = SPECS.iter().find(|(name, _)| *name == "window").expect("is registered").1;
        let read = reader(fields.clone(), &Functions::default()).expect("reads");
        assert_eq!(read.to_json().expect("writes"), fields);
        assert_eq!(read.explain(), spec.explain());
    }
    assert!(Registry::default().with(SPECS).names().contains(&"window"));
}
