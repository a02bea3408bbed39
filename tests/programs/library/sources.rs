//! Sources and sinks of the program's own.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use gristmill::{BatchSink, BatchSource, Batches, Error, Result};

use super::data::{error, register, rows, session, small_session, table, text};

/// The numbers from 0 on, in partitions of batches.
struct Numbers {
    partitions: usize,
    batches: usize,
    rows: usize,
    /// Whether batches have the columns that are read only.
    narrow: bool,
    columns_read: Arc<AtomicUsize>,
}

impl Numbers {
    fn new(partitions: usize, batches: usize, rows: usize) -> Self {
        Numbers { partitions, batches, rows, narrow: false, columns_read: Arc::default() }
    }
}

fn numbers_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("n", DataType::Int64, false),
        Field::new("half", DataType::Int64, true),
        Field::new("s", DataType::Utf8, false),
    ]))
}

impl BatchSource for Numbers {
    fn schema(&self) -> SchemaRef {
        numbers_schema()
    }

    fn partitions(&self) -> usize {
        self.partitions
    }

    fn read(&self, partition: usize, columns: &[usize]) -> Result<Batches> {
        assert!(columns.is_sorted());
        let first = (partition * self.batches * self.rows) as i64;
        let (rows, narrow, columns) = (self.rows as i64, self.narrow, columns.to_vec());
        let columns_read = self.columns_read.clone();
        Ok(Box::new((0..self.batches as i64).map(move |batch| {
            let numbers = first + batch * rows..first + (batch + 1) * rows;
            let half = numbers.clone().map(|n| (n % 2 == 0).then_some(n / 2));
            let s: StringArray = numbers.clone().map(|n| Some(format!("{n}"))).collect();
            let all: [ArrayRef; 3] = [
                Arc::new(numbers.map(Some).collect::<Int64Array>()),
                Arc::new(half.collect::<Int64Array>()),
                Arc::new(s),
            ];
            let batch = RecordBatch::try_new(numbers_schema(), all.to_vec())?;
            columns_read.fetch_max(columns.len(), Ordering::Relaxed);
            Ok(if narrow { batch.project(&columns)? } else { batch })
        })))
    }
}

#[test]
fn rows_come_in_the_order_of_partitions_and_batches() {
    for threads in [1, 2, 4] {
        for (partitions, batches, rows_each) in
            [(1, 200, 100), (7, 3, 5_000), (200, 1, 10), (3, 40, 1), (2, 2, 40_000), (4, 0, 1)]
        {
            for narrow in [false, true] {
                let session = session(threads);
                let numbers = Numbers::new(partitions, batches, rows_each);
                session.register_source("t", Numbers { narrow, ..numbers }).expect("is new");
                let expected = (partitions * batches * rows_each) as i64;
                let mut next = 0;
                for batch in session.collect("select n, s from t where n >= 0").expect("reads") {
                    let (numbers, texts) = (batch.column(0), batch.column(1));
                    let both = numbers.as_primitive::<Int64Type>().values().iter();
                    for (&number, text) in both.zip(texts.as_string_view().iter()) {
                        assert_eq!((number, text), (next, Some(next.to_string().as_str())));
                        next += 1;
                    }
                }
                assert_eq!(next, expected);
                let count = rows(&session, "select count(*) c from t");
                assert!(count.contains(&format!("| {expected} ")), "{count}");
            }
        }
    }
}

#[test]
fn sources_are_tables_like_others() {
    let session = session(3);
    let numbers = Numbers { narrow: true, ..Numbers::new(3, 20, 500) };
    let columns_read = numbers.columns_read.clone();
    session.register_source("t", numbers).expect("is new");
    let table = rows(&session, "select count(*) c, sum(n) s from t where half < 100");
    assert!(table.contains("| 100 | 9900 |"), "{table}");
    assert_eq!(columns_read.load(Ordering::Relaxed), 2, "the text is not read");
    let table = rows(&session, "select count(*) c from t a join t b on a.half = b.n");
    assert!(table.contains("| 15000 |"), "{table}");
    // A limit stops it, though workers share its only partition.
    session.register_source("long", Numbers::new(1, 1_000_000, 100)).expect("is new");
    let table = rows(&session, "select n from long where n % 2 = 1 limit 3");
    assert!(table.contains("| 1 |\n| 3 |\n| 5 |"), "{table}");
    let plan = rows(&session, "explain select n from t where half > 5");
    assert!(plan.contains("batch_scan") && plan.contains("#1 > 5"), "{plan}");
    let statement = session.script("select n from t").expect("parses").remove(0);
    assert!(session.plan_json(&statement).expect("has JSON").contains("\"batch_scan\""));
}

/// What a source does wrong.
#[derive(Clone, Copy)]
enum Wrong {
    Type,
    Width,
    Null,
    Error,
    Panic,
    PanicAtOnce,
}

struct Misbehaving(Wrong);

impl BatchSource for Misbehaving {
    fn schema(&self) -> SchemaRef {
        Numbers::new(1, 1, 1).schema()
    }

    fn partitions(&self) -> usize {
        2
    }

    fn read(&self, partition: usize, columns: &[usize]) -> Result<Batches> {
        let good = Numbers::new(2, 50, 100).read(partition, columns)?;
        let wrong = self.0;
        if matches!(wrong, Wrong::PanicAtOnce) && partition == 1 {
            panic!("cannot open");
        }
        Ok(Box::new(good.enumerate().map(move |(number, batch)| {
            if number < 30 || partition == 0 {
                return batch;
            }
            let ints: ArrayRef = Arc::new(Int64Array::from(vec![Some(1)]));
            let no: ArrayRef = Arc::new(Int64Array::from(vec![None::<i64>]));
            let s: ArrayRef = Arc::new(StringArray::from(vec!["a"]));
            let columns = match wrong {
                Wrong::Type => vec![("n", ints.clone()), ("half", s), ("s", ints)],
                Wrong::Width => vec![("n", ints)],
                Wrong::Null => vec![("n", no.clone()), ("half", no), ("s", s)],
                Wrong::Error => return Err(Error::input("the line is dead")),
                Wrong::Panic | Wrong::PanicAtOnce => panic!("cannot read on"),
            };
            Ok(RecordBatch::try_from_iter(columns)?)
        })))
    }
}

#[test]
fn what_a_source_does_wrong_ends_the_query() {
    for threads in [1, 3] {
        let session = session(threads);
        for (wrong, said) in [
            (
                Wrong::Type,
                "the source of t: a batch has VARCHAR in the column half, which is BIGINT",
            ),
            (Wrong::Width, "the source of t: a batch of 1 columns; 2 were asked for of its 3"),
            (Wrong::Null, "the source of t: a batch has NULL in the column n, which has none"),
            (Wrong::Error, "the line is dead"),
            (Wrong::Panic, "the source of t panicked: cannot read on"),
            (Wrong::PanicAtOnce, "the source of t panicked: cannot open"),
        ] {
            session.register_source("t", Misbehaving(wrong)).expect("is new");
            let met = error(&session, "select sum(n), sum(half) from t");
            assert!(met.contains(said), "{met}");
            assert_eq!(session.engine().memory().reserved(), 0);
        }
    }
}

/// Rows that a channel brings.
struct Lines(Mutex<Option<Receiver<i64>>>);

impl BatchSource for Lines {
    fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]))
    }

    fn read(&self, _: usize, _: &[usize]) -> Result<Batches> {
        let mut receiver = self.0.lock().map_err(|_| Error::input("is broken"))?;
        let receiver = receiver.take().ok_or_else(|| Error::input("was read before"))?;
        Ok(Box::new(receiver.into_iter().map(|n| {
            let column: ArrayRef = Arc::new(Int64Array::from(vec![n]));
            Ok(RecordBatch::try_from_iter([("n", column)])?)
        })))
    }
}

#[test]
fn a_source_that_blocks_leaves_the_other_threads_alone() {
    let session = session(2);
    register(&session, "other", 9, 10_000, 10);
    let (sender, receiver) = channel();
    session.register_source("lines", Lines(Mutex::new(Some(receiver)))).expect("is new");
    let mut running = session.sql("select n * 2 as m from lines").expect("starts");
    sender.send(4).expect("is read");
    // The source waits on one thread: the other one has room for this.
    assert!(rows(&session, "select count(*) c from other").contains("10000"));
    sender.send(5).expect("is read");
    drop(sender);
    let mut all = Vec::new();
    for batch in running.by_ref() {
        let batch = batch.expect("comes");
        all.extend(batch.column(0).as_primitive::<Int64Type>().values().to_vec());
    }
    assert_eq!(all, [8, 10]);
    assert!(error(&session, "select * from lines").contains("was read before"));
}

#[test]
fn batches_of_all_types_are_tables() {
    let session = small_session(64);
    let (schema, batches) = table(10, 100_000, 50);
    session.register_batches("t", schema.clone(), batches.clone()).expect("is new");
    let given = session.collect("select * from t").expect("reads");
    assert_eq!(text(&given), text(&batches));
    session.register_batches("none", schema.clone(), Vec::new()).expect("is new");
    assert!(rows(&session, "select count(*) c, sum(n) s from none").contains("| 0 |   |"));
    let other = RecordBatch::new_empty(Arc::new(Schema::empty()));
    assert!(session.register_batches("u", schema, vec![other]).is_err());
    let twice = vec![Field::new("a", DataType::Int64, true), Field::new("a", DataType::Utf8, true)];
    let refused = session.register_batches("u", Arc::new(Schema::new(twice)), Vec::new());
    assert!(refused.expect_err("two columns").to_string().contains("two columns with the name a"));
    assert_eq!(session.engine().memory().reserved(), 0);
}

/// Notes its calls, and fails at one of them.
#[derive(Default)]
struct Noting {
    calls: Vec<String>,
    rows: usize,
    fails_at: &'static str,
}

impl Noting {
    fn note(&mut self, call: &str) -> Result<()> {
        if self.calls.last().is_none_or(|last| last != call) {
            self.calls.push(call.to_string());
        }
        match self.fails_at == call {
            true => Err(Error::input("the sink is full")),
            false => Ok(()),
        }
    }
}

impl BatchSink for Noting {
    fn begin(&mut self, schema: &SchemaRef) -> Result<()> {
        assert_eq!(schema.field(0).name(), "n");
        self.note("begin")
    }

    fn write(&mut self, batch: RecordBatch) -> Result<()> {
        self.rows += batch.num_rows();
        self.note("write")
    }

    fn finish(&mut self) -> Result<()> {
        self.note("finish")
    }

    fn abort(&mut self, error: &Error) {
        self.calls.push(format!("abort: {error}"));
    }
}

#[test]
fn sinks_are_told_how_it_ends() {
    let session = session(2);
    register(&session, "t", 11, 100_000, 10);
    let run = |query: &str, fails_at| {
        let mut sink = Noting { fails_at, ..Noting::default() };
        let rows = session.write(query, &mut sink);
        assert_eq!(session.engine().memory().reserved(), 0);
        (rows.map_err(|error| error.to_string()), sink)
    };
    let (rows, sink) = run("select n from t", "");
    assert_eq!((rows, sink.rows), (Ok(100_000), 100_000));
    assert_eq!(sink.calls, ["begin", "write", "finish"]);
    let (rows, sink) = run("select n from t where n < 0", "");
    assert_eq!((rows, sink.calls), (Ok(0), vec!["begin".to_string(), "finish".to_string()]));
    let full = "abort: the sink is full";
    let (rows, sink) = run("select n from t", "begin");
    assert_eq!((rows, sink.calls), (Err("the sink is full".into()), vec!["begin".to_string()]));
    let (_, sink) = run("select n from t", "write");
    assert_eq!(sink.calls, ["begin", "write", full]);
    let (_, sink) = run("select n from t", "finish");
    assert_eq!(sink.calls, ["begin", "write", "finish", full]);
    let (rows, sink) = run("select 1 / (x - x)::bigint as n from t", "");
    assert!(rows.expect_err("it fails").contains("division by zero"));
    assert!(sink.calls.last().expect("a call").starts_with("abort: division by zero"));
    let mut count = 0;
    let mut counting = |batch: RecordBatch| {
        count += batch.num_rows();
        Ok(())
    };
    session.write("select n from t limit 7", &mut counting).expect("writes");
    assert_eq!(count, 7);
}
