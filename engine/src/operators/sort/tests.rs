//! Sorts and first rows on fake sources and sinks, in memory and spilled.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, AsArray, Int64Array, StringViewArray};
use arrow::datatypes::{DataType, Field as SchemaField, Int64Type, Schema};

use super::*;
use crate::batch::{Chunk, Column, Place};
use crate::memory::{Governor, GovernorOptions};
use crate::operators::SortAggregate;
use crate::pipeline::{
    Consumed, Context, Pull, Query, Run, Sink, SinkWorker, Source, SourceWorker,
};
use crate::scheduler::{Pool, Scheduler, Seeded, Token};

const MORSEL: usize = 500;

/// Gives `rows` rows of (key, id, text) in morsels.
#[derive(Clone)]
struct Rows {
    rows: usize,
    distinct: i64,
    /// The morsel at which the query is cancelled.
    cancel_at: u64,
    next: Arc<AtomicU64>,
}

fn key(id: usize, distinct: i64) -> i64 {
    ((id as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) as i64 % distinct
}

impl Source for Rows {
    fn name(&self) -> &str {
        "rows"
    }

    fn worker(&self, _: &Context) -> Result<Box<dyn SourceWorker>> {
        Ok(Box::new(self.clone()))
    }

    fn parallelism(&self) -> usize {
        4
    }

    fn reset(&self) -> Result<()> {
        self.next.store(0, Ordering::Relaxed);
        Ok(())
    }
}

impl SourceWorker for Rows {
    fn pull(&mut self, cx: &Context) -> Result<Pull> {
        let morsel = self.next.fetch_add(1, Ordering::Relaxed);
        if morsel == self.cancel_at {
            cx.query.cancel.interrupt();
        }
        let start = morsel as usize * MORSEL;
        if start >= self.rows {
            return Ok(Pull::Finished);
        }
        let ids = start..(start + MORSEL).min(self.rows);
        let distinct = self.distinct;
        let texts = ids.clone().map(|id| format!("text of row {:06} {}", id, "x".repeat(id % 60)));
        let columns: [ArrayRef; 3] = [
            Arc::new(Int64Array::from_iter_values(ids.clone().map(|id| key(id, distinct)))),
            Arc::new(Int64Array::from_iter_values(ids.clone().map(|id| id as i64))),
            Arc::new(StringViewArray::from_iter_values(texts)),
        ];
        let columns = columns.into_iter().map(|a| Column::flat(a.data_type().clone(), a));
        let place = Place { morsel, sequence: 0 };
        Ok(Pull::Chunk(Chunk::new(columns.collect(), ids.len(), place)))
    }
}

/// Keeps (place, key, id) of all rows; fails at the `fail_at`-th chunk, or cancels the query.
#[derive(Clone)]
struct Collect {
    found: Arc<Mutex<Vec<(Place, i64, i64)>>>,
    fail_at: u64,
    cancel_at: u64,
    chunks: Arc<AtomicU64>,
}

impl Sink for Collect {
    fn name(&self) -> &str {
        "collect"
    }

    fn worker(&self, _: &Context) -> Result<Box<dyn SinkWorker>> {
        Ok(Box::new(self.clone()))
    }

    fn prepare(&self, _: &Context) -> Result<usize> {
        Ok(0)
    }

    fn finish(&self, _: usize, _: &Context) -> Result<()> {
        Ok(())
    }

    fn reset(&self) -> Result<()> {
        Ok(())
    }
}

impl SinkWorker for Collect {
    fn consume(&mut self, input: Chunk, cx: &Context) -> Result<Consumed> {
        let number = self.chunks.fetch_add(1, Ordering::Relaxed);
        if number == self.fail_at {
            return Err(Error::input("the sink fails"));
        }
        if number == self.cancel_at {
            cx.query.cancel.interrupt();
        }
        let (keys, ids) = (input.live_array(0)?, input.live_array(1)?);
        let (keys, ids) = (keys.as_primitive::<Int64Type>(), ids.as_primitive::<Int64Type>());
        let rows = keys.values().iter().zip(ids.values());
        let mut found = self.found.lock().expect("lock");
        found.extend(rows.map(|(&key, &id)| (input.place(), key, id)));
        Ok(Consumed::NeedInput)
    }

    fn combine(&mut self, _: &Context) -> Result<Option<Token>> {
        Ok(None)
    }
}

struct Case {
    rows: usize,
    distinct: i64,
    limit_bytes: Option<usize>,
    /// Chunk of the output at which the sink fails.
    fail_at: u64,
    /// Morsel of the input, and chunk of the output, at which the query is cancelled.
    cancel_at: (u64, u64),
}

impl Case {
    fn new(rows: usize, distinct: i64, limit_bytes: Option<usize>) -> Case {
        Case { rows, distinct, limit_bytes, fail_at: u64::MAX, cancel_at: (u64::MAX, u64::MAX) }
    }

    /// The ids in the order they come out.
    fn run(&self, spec: &dyn Spec, scheduler: &Arc<dyn Scheduler>) -> Result<Vec<i64>> {
        let options = GovernorOptions { limit_bytes: self.limit_bytes, ..Default::default() };
        let governor = Governor::new(options);
        let query = Arc::new(Query::alone(governor.clone(), scheduler.threads()));
        let field = |name: &str, data_type| SchemaField::new(name, data_type, true);
        let fields = [("key", DataType::Int64), ("id", DataType::Int64), ("t", DataType::Utf8View)];
        let schema = Arc::new(Schema::new(fields.map(|(n, t)| field(n, t)).to_vec()));
        let source = Rows {
            rows: self.rows,
            distinct: self.distinct,
            cancel_at: self.cancel_at.0,
            next: Arc::default(),
        };
        let mut build = Build::new(query.clone());
        let stream = Stream::new(schema, Arc::new(source), Vec::new());
        let sorted = spec.build(vec![stream], &mut build)?;
        let (found, chunks) = (Arc::default(), Arc::default());
        let (fail_at, cancel_at) = (self.fail_at, self.cancel_at.1);
        let sink = Collect { found, fail_at, cancel_at, chunks };
        build.sink(sorted, Arc::new(sink.clone()));
        let run = Run::start(build.finish(), query, scheduler.clone())?;
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let token = run.token();
            if let Some(outcome) = run.outcome() {
                drop(run);
                assert_eq!(governor.reserved(), 0, "all is freed");
                assert_eq!(governor.spill().usage().used, 0);
                outcome?;
                break;
            }
            assert!(scheduler.wait(&[token], Some(until)), "the run does not end");
        }
        let mut found = std::mem::take(&mut *sink.found.lock().expect("lock"));
        found.sort_by_key(|&(place, ..)| place);
        Ok(found.into_iter().map(|(_, _, id)| id).collect())
    }

    fn expected(&self, descending: bool) -> Vec<i64> {
        let mut ids: Vec<usize> = (0..self.rows).collect();
        let direction = if descending { -1 } else { 1 };
        ids.sort_by_key(|&id| direction * key(id, self.distinct));
        ids.into_iter().map(|id| id as i64).collect()
    }
}

fn everywhere(mut test: impl FnMut(&Arc<dyn Scheduler>)) {
    for seed in 0..3 {
        test(&(Arc::new(Seeded::new(seed, 1 + seed as usize)) as Arc<dyn Scheduler>));
    }
    test(&Pool::new(2).expect("starts").scheduler());
}

fn by_key(descending: bool) -> Vec<SortKey> {
    vec![SortKey { column: 0, descending, nulls_first: false }]
}

#[test]
fn in_memory_and_spilled_sorts_give_the_same_order_everywhere() {
    everywhere(|scheduler| {
        for (rows, distinct) in [(0, 1), (1, 1), (3000, 1), (60_000, 50), (60_000, 1 << 40)] {
            for limit in [None, Some(5 << 20)] {
                let case = Case::new(rows, distinct, limit);
                let descending = distinct == 50;
                let found = case.run(&Sort { keys: by_key(descending) }, scheduler);
                assert!(found.expect("sorts") == case.expected(descending), "{rows} {distinct}");
            }
        }
    });
}

#[test]
fn large_sorts_are_cut_into_ranges() {
    let pool = Pool::new(3).expect("starts");
    for limit in [None, Some(16 << 20)] {
        let case = Case::new(500_000, 1 << 40, limit);
        let found = case.run(&Sort { keys: by_key(false) }, &pool.scheduler()).expect("sorts");
        assert!(found == case.expected(false));
    }
}

#[test]
fn the_first_rows_are_those_of_the_whole_order() {
    everywhere(|scheduler| {
        for (rows, distinct) in [(0, 1), (3000, 1), (40_000, 50), (40_000, 1 << 40)] {
            for count in [0u64, 1, 10, 700, 39_999, 50_000] {
                let case = Case::new(rows, distinct, Some(6 << 20));
                let found = case.run(&TopK { keys: by_key(true), count }, scheduler);
                let mut expected = case.expected(true);
                expected.truncate(count as usize);
                assert!(found.expect("sorts") == expected, "{rows} {distinct} {count}");
            }
        }
    });
}

#[test]
fn groups_are_folded_in_order_and_none_is_cut_in_two() {
    let median = crate::expr::OrderedCall {
        function: crate::expr::OrderedKind::PercentileDisc { fraction: 0.5 },
        argument: 1,
        filter: None,
        data_type: DataType::Int64,
    };
    let spec = SortAggregate {
        keys: vec![0],
        order: vec![SortKey { column: 1, descending: true, nulls_first: false }],
        aggregates: vec![median],
        names: vec!["key".into(), "median".into()],
    };
    let expected = |case: &Case| {
        let mut groups = std::collections::BTreeMap::<i64, Vec<i64>>::new();
        for id in 0..case.rows {
            groups.entry(key(id, case.distinct)).or_default().push(id as i64);
        }
        groups.into_values().map(|ids| ids[ids.len() / 2]).collect::<Vec<i64>>()
    };
    everywhere(|scheduler| {
        for (rows, distinct) in [(0, 1), (1, 1), (9000, 1), (60_000, 50), (60_000, 20_000)] {
            for limit in [None, Some(6 << 20)] {
                let case = Case::new(rows, distinct, limit);
                let found = case.run(&spec, scheduler).expect("folds");
                assert!(found == expected(&case), "{rows} {distinct} {limit:?}");
            }
        }
    });
    let pool = Pool::new(3).expect("starts");
    for (distinct, limit) in [(3, 16 << 20), (40, 16 << 20)] {
        let case = Case::new(500_000, distinct, Some(limit));
        let found = case.run(&spec, &pool.scheduler()).expect("folds");
        assert!(found == expected(&case), "{distinct}");
    }
}

#[test]
fn an_error_behind_the_sort_frees_everything() {
    everywhere(|scheduler| {
        for fail_at in [0, 5] {
            let case = Case { fail_at, ..Case::new(60_000, 1000, Some(5 << 20)) };
            let error = case.run(&Sort { keys: by_key(false) }, scheduler).expect_err("fails");
            assert_eq!(error.to_string(), "the sink fails");
        }
        let case = Case::new(60_000, 1000, Some(300 << 10));
        let error = case.run(&Sort { keys: by_key(false) }, scheduler).expect_err("too small");
        assert!(matches!(error, Error::OutOfMemory { .. }), "{error}");
    });
}

#[test]
fn a_cancelled_sort_frees_everything_in_every_phase() {
    let never = u64::MAX;
    everywhere(|scheduler| {
        for limit in [None, Some(5 << 20)] {
            // Forming runs, their end, merging.
            for cancel_at in [(0, never), (70, never), (120, never), (never, 0), (never, 7)] {
                let case = Case { cancel_at, ..Case::new(60_000, 1000, limit) };
                let error = case.run(&Sort { keys: by_key(false) }, scheduler);
                let error = error.expect_err("cancelled");
                assert!(matches!(error, Error::Cancelled { .. }), "{error}");
            }
        }
    });
}

#[test]
fn specs_check_their_columns_and_go_through_json() {
    let schema = Arc::new(Schema::new(vec![SchemaField::new("a", DataType::Int64, true)]));
    let sort = Sort { keys: by_key(true) };
    assert_eq!(sort.explain(), [("by", "#0 DESC NULLS LAST".to_owned())]);
    assert_eq!(sort.schema(std::slice::from_ref(&schema)).expect("fits"), schema);
    let wrong = Sort { keys: vec![SortKey { column: 1, descending: false, nulls_first: false }] };
    assert!(wrong.schema(&[schema]).is_err());
    let top = TopK { keys: by_key(false), count: 3 };
    let read = crate::plan::from_fields::<TopK>(top.to_json().expect("writes")).expect("reads");
    assert_eq!(read.explain(), top.explain());
}
