//! Tests of results: what is charged when, and who keeps it.

use arrow::array::{Int64Array, StringViewArray};
use arrow::datatypes::{Field, Schema};

use super::*;
use crate::batch::{Column, Indices};
use crate::memory::{Governor, GovernorOptions};

const LONG: usize = 1 << 20;

fn context(limit: usize) -> Context {
    let memory = Governor::new(GovernorOptions { limit_bytes: Some(limit), ..Default::default() });
    Context { query: Arc::new(Query::alone(memory, 1)), order: Order::new(), worker: 0 }
}

fn schema() -> SchemaRef {
    let fields = [("n", DataType::Int64), ("s", DataType::Utf8View)];
    Arc::new(Schema::new(fields.map(|(name, t)| Field::new(name, t, true)).to_vec()))
}

/// Two rows of which the second has a long text.
fn chunk(charge: Option<Charge>, sequence: u32) -> Chunk {
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    let texts: ArrayRef = Arc::new(StringViewArray::from(vec!["x", &"y".repeat(LONG)]));
    let texts = Column::flat(DataType::Utf8View, texts).charged(charge);
    let columns = vec![Column::flat(DataType::Int64, numbers), texts];
    Chunk::new(columns, 2, Place { morsel: 0, sequence })
}

/// A chunk whose text is charged by its maker.
fn charged(memory: &Governor, sequence: u32) -> Chunk {
    let mut maker = memory.reserve("maker", 0).expect("fits");
    maker.grow(LONG).expect("fits");
    chunk(maker.hand_over(LONG), sequence)
}

#[test]
fn a_charge_that_a_column_brings_is_kept_and_not_asked_for_again() {
    let cx = context(LONG + LONG / 4);
    let result = Collect::new(schema());
    let mut worker = result.worker(&cx).expect("begins");
    let consumed = worker.consume(charged(cx.memory(), 0), &cx).expect("has room");
    assert!(matches!(consumed, Consumed::NeedInput));
    assert!((LONG..LONG + 2000).contains(&cx.memory().reserved()), "{:?}", cx.memory());
    assert_eq!(result.take().expect("is ready").num_rows(), 2);
    assert!(cx.memory().reserved() >= LONG, "the caller has it");
    assert!(result.take().is_none());
    drop(worker);
    assert_eq!(cx.memory().reserved(), 0);
    // Without a charge it is asked for.
    let mut worker = result.worker(&cx).expect("begins");
    let taken = cx.memory().reserve("other", LONG / 2).expect("fits");
    let refused = worker.consume(chunk(None, 1), &cx).expect_err("has no room");
    assert!(matches!(refused, Error::OutOfMemory { .. }), "{refused}");
    drop(taken);
    worker.consume(chunk(None, 1), &cx).expect("has room");
    assert!(cx.memory().reserved() >= LONG);
    result.close();
    drop(worker);
    assert_eq!(cx.memory().reserved(), 0);
}

#[test]
fn who_finds_no_room_waits_for_what_the_caller_has() {
    let cx = context(LONG + LONG / 2);
    let result = Collect::new(schema());
    let mut worker = result.worker(&cx).expect("begins");
    worker.consume(chunk(None, 0), &cx).expect("has room");
    assert!(result.take().is_some());
    let consumed = worker.consume(chunk(None, 1), &cx).expect("waits");
    let Consumed::Blocked(token, chunk) = consumed else { panic!("{consumed:?}") };
    assert!(result.take().is_none(), "nothing is ready");
    assert!(token.is_stale(), "told that there is room");
    assert!(matches!(worker.consume(chunk, &cx), Ok(Consumed::NeedInput)));
    assert!(result.take().is_some());
}

#[test]
fn the_charge_of_a_column_goes_where_its_values_go() {
    let memory = Governor::unlimited();
    let reserved = || memory.reserved();
    let whole = charged(&memory, 0);
    let slice = whole.slice(1, 1);
    let twice = whole.reindex(&Arc::new(Indices::new(vec![1, 1])));
    let live = whole.clone().select(crate::batch::Selection::new(vec![1]));
    drop(whole);
    assert!(reserved() >= LONG);
    for chunk in [slice.clone(), twice.clone(), live.clone(), live.clone().compact().expect("is")] {
        let held = chunk.columns()[1].values();
        assert_eq!(chunk.columns()[1].charge_of(held).map(Charge::bytes), Some(LONG));
    }
    // Texts are not copied with their rows.
    let array = live.live_array(1).expect("is");
    assert!(live.columns()[1].charge_of(&array).is_some());
    let copy: ArrayRef = Arc::new(array.as_string_view().gc());
    assert!(live.columns()[1].charge_of(&copy).is_none());
    drop((slice, live));
    assert!(reserved() >= LONG);
    drop(twice.project(&[0]).expect("has it"));
    let numbers = twice.project(&[0]).expect("has it");
    drop(twice);
    assert_eq!(reserved(), 0, "{numbers:?}");
}
