//! Tables that are held in memory: what queries put in is what scans give, whatever the budget.

use std::sync::Arc;

use arrow::array::{AsArray, Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};

use crate::error::Result;
use crate::expr::{CompareOp, Expr, Literal};
use crate::memory::GovernorOptions;
use crate::plan::{Plan, Spec};
use crate::query::{Engine, EngineOptions, RunOptions};
use crate::sinks::{NewPart, WriteTable};
use crate::sources::{StoredTable, TableScan};

fn schema() -> SchemaRef {
    let number = Field::new("n", DataType::Int64, true);
    let text = Field::new("t", DataType::Utf8View, true);
    Arc::new(Schema::new(vec![number, text]))
}

fn batch(rows: std::ops::Range<i64>) -> RecordBatch {
    let texts: StringViewArray =
        rows.clone().map(|n| (n % 5 > 0).then(|| format!("the text of row {n:>12}"))).collect();
    let numbers: Int64Array = rows.map(Some).collect();
    RecordBatch::try_new(schema(), vec![Arc::new(numbers), Arc::new(texts)]).expect("fits")
}

fn engine(limit: Option<usize>) -> Engine {
    let memory = GovernorOptions { limit_bytes: limit, ..Default::default() };
    Engine::new(EngineOptions { threads: Some(3), memory }).expect("starts")
}

fn scan(table: &StoredTable, projection: Vec<usize>, predicates: Vec<Expr>) -> Arc<dyn Spec> {
    Arc::new(TableScan { name: "t".into(), table: table.clone(), projection, predicates })
}

fn numbers(engine: &Engine, spec: Arc<dyn Spec>) -> Vec<i64> {
    let mut plan = Plan::new();
    plan.add(spec, &[]).expect("fits");
    let running = engine.run(&plan, &RunOptions::default()).expect("runs");
    let mut all = Vec::new();
    for batch in running {
        all.extend(batch.expect("a batch").column(0).as_primitive::<Int64Type>().values());
    }
    all
}

/// Puts the rows of a scan into a new table with a part more than `before`.
fn kept(engine: &Engine, before: &StoredTable, spec: Arc<dyn Spec>) -> Result<StoredTable> {
    let part = NewPart::default();
    let schema = before.schema().clone();
    let sink = WriteTable { name: "copy".into(), schema, part: part.clone() };
    let mut plan = Plan::new();
    let scan = plan.add(spec, &[])?;
    plan.add(Arc::new(sink), &[scan])?;
    engine.run(&plan, &RunOptions::default())?.try_for_each(|batch| batch.map(drop))?;
    let (store, facts) = part.take().expect("a part was made");
    before.with_part(store, &facts)
}

#[test]
fn rows_come_back_in_order_filtered_and_from_tape() {
    for limit in [None, Some(3 << 20)] {
        let engine = engine(limit);
        let memory = engine.memory();
        let first = StoredTable::of_batch("first", &batch(0..60_000), memory).expect("fits");
        assert_eq!(first.rows(), 60_000);
        assert_eq!(first.facts()[0].range, Some((0, 59_999)));
        assert_eq!(first.facts()[1].nulls, 12_000);
        let mut copy = StoredTable::empty(schema());
        copy = kept(&engine, &copy, scan(&first, vec![0, 1], Vec::new())).expect("runs");
        let small = Expr::Compare {
            op: CompareOp::Less,
            left: Box::new(Expr::column(0, DataType::Int64)),
            right: Box::new(Expr::Literal(Literal::int(20_000))),
        };
        copy = kept(&engine, &copy, scan(&first, vec![0, 1], vec![small.clone()])).expect("runs");
        assert_eq!(copy.rows(), 80_000);
        assert_eq!(copy.facts()[0].range, Some((0, 59_999)));
        let expected: Vec<i64> = (0..60_000).chain(0..20_000).collect();
        assert_eq!(numbers(&engine, scan(&copy, vec![0], Vec::new())), expected);
        let below: Vec<i64> = (0..20_000).chain(0..20_000).collect();
        assert_eq!(numbers(&engine, scan(&copy, vec![0], vec![small])), below);
        assert_eq!(limit.is_some(), memory.spill().usage().used > 0);
        drop((first, copy));
        assert_eq!((memory.reserved(), memory.spill().usage().used), (0, 0));
    }
}

#[test]
fn a_table_without_rows_and_one_that_refuses_null() {
    let engine = engine(None);
    let empty = StoredTable::empty(schema());
    assert!(numbers(&engine, scan(&empty, vec![0], Vec::new())).is_empty());
    let copy = kept(&engine, &empty, scan(&empty, vec![0, 1], Vec::new())).expect("runs");
    assert_eq!(copy.rows(), 0);
    let fields =
        [Field::new("n", DataType::Int64, false), Field::new("t", DataType::Utf8View, false)];
    let strict = StoredTable::empty(Arc::new(Schema::new(fields.to_vec())));
    let nulls = StoredTable::of_batch("nulls", &batch(0..10), engine.memory()).expect("fits");
    let refused = kept(&engine, &strict, scan(&nulls, vec![0, 1], Vec::new())).expect_err("NULL");
    assert!(refused.to_string().contains("column t of the table copy"), "{refused}");
}
