//! Joins whose build side does not fit: the same rows as with all the memory there is, for any
//! number of threads; without keys in the same order, too.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::compute::{SortOptions, sort_to_indices, take_record_batch};
use arrow::datatypes::{DataType, Float64Type, Int64Type, Schema};
use gristmill_engine::expr::{CompareOp, Expr, Literal};
use gristmill_engine::memory::GovernorOptions;
use gristmill_engine::operators::{HashJoin, JoinKind, NestedLoopJoin};
use gristmill_engine::plan::Plan;
use gristmill_engine::query::{Engine, EngineOptions, RunOptions};
use gristmill_engine::{Error, Result};
use gristmill_tests::random::Random;
use gristmill_tests::reference::plan::{Join, JoinOn, Nulls, Relation, run};
use gristmill_tests::reference::value::{Row, canonical, in_order, rows};
use gristmill_tests::table_source::TableSource;

const KINDS: [(JoinKind, Join); 9] = [
    (JoinKind::Inner, Join::Inner),
    (JoinKind::Left, Join::Left),
    (JoinKind::Right, Join::Right),
    (JoinKind::Full, Join::Full),
    (JoinKind::Semi, Join::Semi),
    (JoinKind::Anti, Join::Anti),
    (JoinKind::Mark, Join::Mark),
    (JoinKind::RightSemi, Join::RightSemi),
    (JoinKind::RightAnti, Join::RightAnti),
];

/// Numbers, some of them NULL, and text of `width` bytes and more.
fn table(random: &mut Random, count: usize, width: usize) -> RecordBatch {
    let numbers = (0..count).map(|_| (!random.chance(3)).then(|| random.between(0, 1000)));
    let numbers: Int64Array = numbers.collect();
    let texts = (0..count).map(|row| format!("{row} {}", "x".repeat(width + row % 7)));
    let columns: [(&str, ArrayRef, bool); 2] = [
        ("number", Arc::new(numbers), true),
        ("text", Arc::new(texts.map(Some).collect::<StringArray>()), true),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).expect("two columns")
}

/// The rows in the order of their numbers.
fn by_number(table: &RecordBatch) -> RecordBatch {
    let last = SortOptions { descending: false, nulls_first: false };
    let order = sort_to_indices(table.column(0), Some(last), None).expect("numbers");
    take_record_batch(table, &order).expect("as many")
}

/// What numbers become.
#[derive(Debug, Clone, Copy)]
enum Form {
    Numbers,
    /// One of them NaN.
    Doubles,
    /// Texts in their order, which begin with the same ten characters and more.
    Texts,
}

/// The rows with numbers in a form.
fn with_numbers_as(form: Form, table: &RecordBatch) -> RecordBatch {
    let double = |number: i64| if number == 7 { f64::NAN } else { number as f64 - 500.5 };
    let columns = table.columns().iter().map(|column| {
        let Some(numbers) = column.as_primitive_opt::<Int64Type>() else { return column.clone() };
        let text = |number: Option<i64>| Some(format!("number 0000{:04}", number?));
        match form {
            Form::Numbers => column.clone(),
            Form::Doubles => Arc::new(numbers.unary::<_, Float64Type>(double)) as ArrayRef,
            Form::Texts => Arc::new(numbers.iter().map(text).collect::<StringArray>()),
        }
    });
    let schema = table.schema();
    let fields = columns.clone().zip(schema.fields());
    let fields = fields
        .map(|(column, field)| field.as_ref().clone().with_data_type(column.data_type().clone()));
    let schema = Schema::new(fields.collect::<Vec<_>>());
    RecordBatch::try_new(Arc::new(schema), columns.collect()).expect("as many")
}

/// A build row's number is in the range of a probe row.
fn in_range(of: DataType) -> Vec<Expr> {
    let column = |index| Box::new(Expr::column(index, of.clone()));
    let compare = |op, left, right| Expr::Compare { op, left: column(left), right: column(right) };
    vec![compare(CompareOp::GreaterOrEqual, 2, 0), compare(CompareOp::Less, 2, 1)]
}

/// The same, and its text is read too, so it is stored.
fn condition(of: DataType) -> Expr {
    let has_text = Expr::Compare {
        op: CompareOp::NotEqual,
        left: Box::new(Expr::column(3, DataType::Utf8)),
        right: Box::new(Expr::Literal(Literal::text(""))),
    };
    Expr::And(in_range(of).into_iter().chain([has_text]).collect())
}

/// Ranges of numbers, for the probe side; some have most of all numbers.
fn ranges(random: &mut Random, count: usize) -> RecordBatch {
    let starts: Vec<i64> = (0..count).map(|_| random.between(0, 1500)).collect();
    let width = |random: &mut Random| if random.chance(5) { 900 } else { 3 };
    let widths: Vec<i64> = (0..count).map(|_| width(random)).collect();
    let column = |values: Vec<i64>| Arc::new(Int64Array::from(values)) as ArrayRef;
    let ends = starts.iter().zip(widths).map(|(start, width)| start + width).collect();
    RecordBatch::try_from_iter([("start", column(starts)), ("end", column(ends))]).expect("two")
}

fn source(table: &RecordBatch, seed: u64) -> TableSource {
    TableSource { table: table.clone(), chunk_rows: 700, morsel_chunks: 3, seed }
}

fn plan(kind: JoinKind, null_aware: bool, probe: &RecordBatch, build: &RecordBatch) -> Plan {
    let condition = condition(probe.column(0).data_type().clone());
    plan_on(kind, null_aware, condition, [probe, build])
}

fn plan_on(
    kind: JoinKind,
    null_aware: bool,
    condition: Expr,
    [probe, build]: [&RecordBatch; 2],
) -> Plan {
    let mut plan = Plan::new();
    // Several chunks meet several groups.
    let probe = TableSource { chunk_rows: 100, ..source(probe, 3) };
    let probe = plan.add(Arc::new(probe), &[]).expect("a table");
    let build = plan.add(Arc::new(source(build, 4)), &[]).expect("a table");
    let columns = |has: bool| if has { vec![0, 1] } else { vec![] };
    let join = NestedLoopJoin {
        kind,
        condition: Some(condition),
        probe_output: columns(kind.has_probe_columns()),
        build_output: columns(kind.has_build_columns()),
        null_aware,
    };
    plan.add(Arc::new(join), &[probe, build]).expect("fits");
    plan
}

fn answer(engine: &Engine, plan: &Plan) -> Result<Vec<Row>> {
    let batches = engine.run(plan, &RunOptions::default())?.collect::<Result<Vec<_>>>()?;
    Ok(batches.iter().flat_map(rows).collect())
}

fn engine(threads: usize, limit_bytes: Option<usize>) -> Engine {
    let memory = GovernorOptions { limit_bytes, ..Default::default() };
    Engine::new(EngineOptions { threads: Some(threads), memory }).expect("starts")
}

#[test]
fn build_sides_that_do_not_fit_are_read_back_in_the_same_order() {
    let mut random = Random::new(17);
    let (probe, build) = (ranges(&mut random, 90), table(&mut random, 40_000, 200));
    let (roomy, tight) = (engine(1, None), [engine(1, Some(4 << 20)), engine(2, Some(6 << 20))]);
    for (kind, _) in KINDS {
        let aware = matches!(kind, JoinKind::Anti | JoinKind::Mark);
        for null_aware in [false, true].into_iter().filter(|&aware_too| aware || !aware_too) {
            let plan = plan(kind, null_aware, &probe, &build);
            let expected = in_order(&answer(&roomy, &plan).expect("has room"));
            for engine in &tight {
                let before = engine.memory().spill().usage().written;
                let found = in_order(&answer(engine, &plan).expect("spills"));
                assert!(found == expected, "{kind:?}, {} threads", engine.threads());
                assert!(engine.memory().spill().usage().written > before, "{kind:?} spills");
                assert_eq!(engine.memory().reserved(), 0, "{kind:?}");
                assert_eq!(engine.memory().spill().usage().used, 0, "{kind:?}");
            }
        }
    }
}

/// Two joins on numbers, the second on what comes of the first; both sides are too large.
fn keyed_plan(kind: JoinKind, null_aware: bool, tables: [&RecordBatch; 3]) -> Plan {
    let mut plan = Plan::new();
    let [probe, build, other] =
        tables.map(|t| plan.add(Arc::new(source(t, 5)), &[]).expect("a table"));
    let columns = |has: bool| if has { vec![0, 1] } else { vec![] };
    let join = |kind: JoinKind, null_aware| HashJoin {
        kind,
        probe_keys: vec![0],
        build_keys: vec![0],
        residual: None,
        probe_output: columns(kind.has_probe_columns()),
        build_output: columns(kind.has_build_columns()),
        null_equals_null: false,
        null_aware,
        publishes: None,
    };
    let first = plan.add(Arc::new(join(kind, null_aware)), &[probe, build]).expect("fits");
    plan.add(Arc::new(join(JoinKind::Left, false)), &[first, other]).expect("fits");
    plan
}

#[test]
fn joins_with_keys_go_on_when_their_build_side_does_not_fit() {
    let mut random = Random::new(19);
    let keyed = |random: &mut Random, count: usize, spread: i64| {
        let table = table(random, count, 100);
        let keys = (0..count).map(|_| (!random.chance(3)).then(|| random.between(0, spread)));
        let keys: ArrayRef = Arc::new(keys.collect::<Int64Array>());
        let columns = vec![keys, table.column(1).clone()];
        RecordBatch::try_new(table.schema(), columns).expect("two columns")
    };
    let (probe, build) = (keyed(&mut random, 3000, 40_000), keyed(&mut random, 40_000, 60_000));
    let other = keyed(&mut random, 30_000, 60_000);
    let (roomy, tight) = (engine(1, None), [engine(1, Some(5 << 20)), engine(2, Some(6 << 20))]);
    for (kind, _) in KINDS {
        let aware = matches!(kind, JoinKind::Anti | JoinKind::Mark);
        for null_aware in [false, true].into_iter().filter(|&aware_too| aware || !aware_too) {
            let plan = keyed_plan(kind, null_aware, [&probe, &build, &other]);
            let expected = canonical(&answer(&roomy, &plan).expect("has room"));
            for engine in &tight {
                let before = engine.memory().spill().usage().written;
                let found = canonical(&answer(engine, &plan).expect("spills"));
                assert!(found == expected, "{kind:?}, {} threads", engine.threads());
                assert!(engine.memory().spill().usage().written > before, "{kind:?} spills");
                assert_eq!(engine.memory().reserved(), 0, "{kind:?}");
                assert_eq!(engine.memory().spill().usage().used, 0, "{kind:?}");
            }
        }
    }
}

#[test]
fn every_kind_gives_what_it_means_over_several_groups() {
    let mut random = Random::new(18);
    let sizes = [(0, 50), (50, 0), (700, 30), (40, 9000), (500, 500), (3000, 2), (150, 2500)];
    let forms = [Form::Numbers, Form::Doubles, Form::Texts].into_iter().cycle();
    let is_ordered = [false, true].into_iter().cycle();
    let cases = sizes.into_iter().cycle().zip(forms).zip(is_ordered);
    for (case, (((probe_rows, build_rows), form), is_ordered)) in cases.take(42).enumerate() {
        let probe = with_numbers_as(form, &ranges(&mut random, probe_rows));
        let build = table(&mut random, build_rows, 9);
        let build = if is_ordered { by_number(&build) } else { build };
        let build = with_numbers_as(form, &build);
        let of = probe.column(0).data_type().clone();
        // Ranges alone are decided by their values.
        let on = if case / 21 == 0 { condition(of) } else { Expr::And(in_range(of)) };
        let tables = [rows(&probe), rows(&build)];
        for (kind, meaning) in KINDS {
            let plan = plan_on(kind, false, on.clone(), [&probe, &build]);
            let relation = Relation::Join {
                on: JoinOn {
                    kind: meaning,
                    keys: Vec::new(),
                    residual: Some(on.clone()),
                    nulls: Nulls::NoMatch,
                    left_width: 2,
                    right_width: 2,
                },
                left: Box::new(Relation::Table(0)),
                right: Box::new(Relation::Table(1)),
            };
            let expected = run(&relation, &tables).expect("cannot fail");
            let mut orders = Vec::new();
            for threads in [1, 3] {
                let found = answer(&engine(threads, None), &plan).expect("runs");
                let what = format!("{kind:?}, {probe_rows} and {build_rows} {form:?}, case {case}");
                assert!(canonical(&found) == canonical(&expected), "{what}");
                orders.push(in_order(&found));
            }
            assert!(orders[0] == orders[1], "{kind:?}: an order of its own for each");
        }
    }
}

#[test]
fn a_second_match_of_a_value_is_an_error() {
    let mut random = Random::new(19);
    let probe = ranges(&mut random, 40);
    for (build_rows, fails) in [(0, false), (20_000, true)] {
        let build = table(&mut random, build_rows, 1);
        let found = answer(&engine(2, None), &plan(JoinKind::Single, false, &probe, &build));
        match found {
            Ok(found) => assert!(!fails && found.len() == 40),
            Err(Error::Input { message, .. }) => assert!(fails && message.contains("one row")),
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn a_budget_that_holds_no_group_is_out_of_memory() {
    let mut random = Random::new(20);
    let (probe, build) = (ranges(&mut random, 4), table(&mut random, 4000, 100));
    let found = answer(&engine(1, Some(300 << 10)), &plan(JoinKind::Inner, false, &probe, &build));
    assert!(matches!(found, Err(Error::OutOfMemory { .. })), "{found:?}");
}
