//! Tests of `runs`.

use std::cmp::Ordering;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int32Array, Int64Array, StringViewArray,
};
use arrow::datatypes::{DataType, Float64Type, Int32Type, Int64Type};

use super::*;
use crate::batch::{Chunk, Column, Place, Selection};
use crate::error::Error;
use crate::memory::rows::RowOrder;
use crate::memory::{Governor, GovernorOptions, Revocable};

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub(super) number: Option<i32>,
    pub(super) text: Option<String>,
    pub(super) float: f64,
    pub(super) id: i64,
}

pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        ((self.0 ^ (self.0 >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 16) % n
    }
}

/// How keys look.
#[derive(Debug, Clone, Copy)]
enum Keys {
    Few,
    Many,
    Equal,
    Sorted,
    LongPrefix,
}

fn rows(random: &mut Random, count: usize, keys: Keys) -> Vec<Row> {
    let floats = [f64::NAN, -0.0, 0.0, f64::INFINITY, f64::NEG_INFINITY, 2.5];
    let row = |id: usize| {
        let (number, text) = match keys {
            Keys::Few => (random.below(4) as i32, format!("t{}", random.below(3))),
            Keys::Many => (random.below(1 << 30) as i32, format!("{:09}", random.below(1 << 30))),
            Keys::Equal => (7, "same".to_owned()),
            Keys::Sorted => (id as i32, "x".repeat(id % 40)),
            Keys::LongPrefix => (1, format!("{}{:05}", "p".repeat(30), random.below(5000))),
        };
        let null = |random: &mut Random| random.below(9) == 0 && matches!(keys, Keys::Few);
        let (a, b) = (null(random), null(random));
        let float = match keys {
            Keys::Few => floats[random.below(6) as usize],
            _ => 1.0,
        };
        let (number, text) = ((!a).then_some(number), (!b).then_some(text));
        Row { number, text, float, id: id as i64 }
    };
    (0..count).map(row).collect()
}

pub(super) fn chunk(rows: &[Row], morsel: u64, sequence: u32) -> Chunk {
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from_iter(rows.iter().map(|r| r.number))),
        Arc::new(StringViewArray::from_iter(rows.iter().map(|r| r.text.as_deref()))),
        Arc::new(Float64Array::from_iter_values(rows.iter().map(|r| r.float))),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.id))),
    ];
    let columns = arrays.into_iter().map(|a| Column::flat(a.data_type().clone(), a)).collect();
    Chunk::new(columns, rows.len(), Place { morsel, sequence })
}

pub(super) const TYPES: [DataType; 4] =
    [DataType::Int32, DataType::Utf8View, DataType::Float64, DataType::Int64];

pub(super) fn compare(a: &Row, b: &Row, order: &[RowOrder]) -> Ordering {
    for by in order {
        let nulls = |a: bool, b: bool| match (a, b, by.nulls_first) {
            (true, true, _) => Some(Ordering::Equal),
            (true, false, first) => Some(if first { Ordering::Less } else { Ordering::Greater }),
            (false, true, first) => Some(if first { Ordering::Greater } else { Ordering::Less }),
            _ => None,
        };
        let float = |v: f64| if v.is_nan() { f64::NAN } else { v + 0.0 };
        let (null, ascending) = match by.column {
            0 => (nulls(a.number.is_none(), b.number.is_none()), a.number.cmp(&b.number)),
            1 => (nulls(a.text.is_none(), b.text.is_none()), a.text.cmp(&b.text)),
            _ => (None, float(a.float).total_cmp(&float(b.float))),
        };
        let directed = if by.descending { ascending.reverse() } else { ascending };
        let ordering = null.unwrap_or(directed);
        if ordering.is_ne() {
            return ordering;
        }
    }
    a.id.cmp(&b.id)
}

pub(super) fn read(merged: &Merged) -> Vec<Row> {
    let columns = &merged.columns;
    let (numbers, texts) = (columns[0].as_primitive::<Int32Type>(), columns[1].as_string_view());
    let (floats, ids) =
        (columns[2].as_primitive::<Float64Type>(), columns[3].as_primitive::<Int64Type>());
    let row = |r: usize| Row {
        number: numbers.is_valid(r).then(|| numbers.value(r)),
        text: texts.is_valid(r).then(|| texts.value(r).to_owned()),
        float: floats.value(r),
        id: ids.value(r),
    };
    (0..merged.rows).map(row).collect()
}

/// Adds a chunk, in a turn of its own.
pub(super) fn push(builder: &mut RunBuilder, chunk: &Chunk, check: Check<'_>) -> Result<()> {
    let governor = builder.reservation().governor().clone();
    builder.push(chunk, &mut governor.turns().beside(check)?, check)
}

struct Case {
    limit: Option<usize>,
    builders: usize,
    target: usize,
    spill: bool,
    fan_in_bytes: usize,
    /// Runs of a builder of which some are merged when they are more.
    runs_max: usize,
}

const CASE: Case = Case {
    limit: None,
    builders: 2,
    target: 8,
    spill: false,
    fan_in_bytes: 0,
    runs_max: usize::MAX,
};

/// Sorts rows through builders, a pool and a set, and gives the ids in order with what happened.
fn sort(rows: &[Row], order: &[RowOrder], case: &Case, seed: u64) -> Result<(Vec<Row>, usize)> {
    let options = GovernorOptions { limit_bytes: case.limit, ..Default::default() };
    let governor = Governor::new(options);
    let check: Check<'_> = &|| Ok(());
    let mut random = Random(seed);
    let shape = RunShape::new(&TYPES, order)?;
    let mut builders = Vec::new();
    for number in 0..case.builders {
        let memory = governor.reserve("sort", BUILDER_MINIMUM)?;
        let mut builder = RunBuilder::new(shape.clone(), number as u32, memory)?;
        builder.runs_max = case.runs_max;
        builders.push(builder);
    }
    for (morsel, rows) in rows.chunks(700).enumerate() {
        let builder = random.below(case.builders as u64) as usize;
        for (sequence, rows) in rows.chunks(300).enumerate() {
            push(
                &mut builders[builder],
                &chunk(rows, 10 + 3 * morsel as u64, sequence as u32),
                check,
            )?;
        }
    }
    let mut runs = Vec::new();
    for builder in builders {
        runs.extend(builder.finish(check)?);
    }
    let formed = runs.len();
    let space = governor.spill().clone();
    let pool = RunPool::new(shape.clone(), space, runs, case.target, case.spill);
    let mut memory = governor.reserve("sort", SPILL_BYTES + case.fan_in_bytes)?;
    memory.grow(SPILL_BYTES)?;
    pool.work(0, &mut memory, check)?;
    let mut runs = pool.finish();
    assert!(runs.len() <= case.target.max(2) || formed < 2);
    assert!(!case.spill || runs.iter().all(Run::is_spilled));
    let set = Arc::new(RunSet::new(shape, &mut runs, governor.reserve("sort", 0)?, check)?);
    assert_eq!(set.rows(), rows.len() as u64);
    let charge = governor.reserve("sort", 0)?;
    let mut merger = Merger::new(set.clone(), WINDOW_BYTES_MIN, charge)?;
    let mut found = vec![Vec::new(); set.ranges()];
    // Ranges in any order.
    for range in (0..set.ranges()).rev() {
        merger.start(range, check)?;
        while let Some(merged) = merger.next_rows()? {
            found[range].extend(read(&merged));
        }
    }
    drop((merger, set, memory));
    assert_eq!((governor.reserved(), governor.spill().usage().used), (0, 0));
    Ok((found.concat(), formed))
}

fn orders() -> Vec<Vec<RowOrder>> {
    let by = |column, descending, nulls_first| RowOrder {
        column,
        descending,
        nulls_first,
        nullable: column < 2,
    };
    vec![
        vec![by(0, false, false)],
        vec![by(1, true, true), by(2, false, false)],
        vec![by(2, true, false), by(0, true, true), by(1, false, false)],
        vec![],
    ]
}

#[test]
fn rows_come_out_in_order_and_equal_ones_in_the_order_they_came() {
    let memory = || Case { builders: 3, target: 9, ..CASE };
    let cases = [
        memory(),
        Case { spill: true, ..memory() },
        Case { limit: Some(6 << 20), target: 3, fan_in_bytes: 60 << 10, spill: true, ..CASE },
    ];
    let mut random = Random(5);
    for keys in [Keys::Few, Keys::Many, Keys::Equal, Keys::Sorted, Keys::LongPrefix] {
        for count in [0, 1, 699, 9_000] {
            let rows = rows(&mut random, count, keys);
            for order in orders() {
                let mut expected = rows.clone();
                expected.sort_by(|a, b| compare(a, b, &order));
                for (number, case) in cases.iter().enumerate() {
                    let (found, _) = sort(&rows, &order, case, count as u64).expect("sorts");
                    let ids = |rows: &[Row]| rows.iter().map(|r| r.id).collect::<Vec<_>>();
                    assert_eq!(ids(&found), ids(&expected), "{keys:?} {count} {order:?} {number}");
                    assert_eq!(format!("{found:?}"), format!("{expected:?}"));
                }
            }
        }
    }
}

#[test]
fn many_runs_are_merged_in_passes_and_ranges_follow_each_other() {
    let mut random = Random(9);
    let rows = rows(&mut random, 400_000, Keys::Many);
    let order = &orders()[0];
    let mut expected = rows.clone();
    expected.sort_by(|a, b| compare(a, b, order));
    let limit = 3 << 20;
    let passes = Case { limit: Some(limit), fan_in_bytes: 90 << 10, spill: true, ..CASE };
    let (found, formed) = sort(&rows, order, &passes, 1).expect("sorts");
    assert!(formed > 16, "{formed} runs");
    assert_eq!(found.len(), expected.len());
    assert!(found.iter().zip(&expected).all(|(a, b)| a.id == b.id));
    // Builders merge some as they go, and have no more in the end than these and one each.
    let early = Case { runs_max: 4, ..passes };
    let (found, formed) = sort(&rows, order, &early, 1).expect("sorts");
    assert!(formed <= 2 * (4 + 1), "{formed} runs");
    assert!(found.iter().zip(&expected).all(|(a, b)| a.id == b.id));
}

#[test]
fn large_buffers_become_blocks_that_are_read_and_spilled_like_others() {
    let mut random = Random(23);
    let row = |id: usize| Row {
        number: Some(random.below(1 << 14) as i32),
        text: Some("x".repeat(180 + id % 90)),
        float: 1.0,
        id: id as i64,
    };
    let rows: Vec<Row> = (0..400_000).map(row).collect();
    let order =
        [RowOrder { column: 0, descending: false, nulls_first: false, nullable: true }].to_vec();
    let mut expected = rows.clone();
    expected.sort_by(|a, b| compare(a, b, &order));
    for (limit, spill) in [(None, false), (None, true), (Some(200 << 20), true)] {
        let case = Case { limit, builders: 1, target: 64, spill, fan_in_bytes: 1 << 20, ..CASE };
        let (found, formed) = sort(&rows, &order, &case, 5).expect("sorts");
        // Buffers that are used again are filled again before they are runs.
        assert!((3..=5).contains(&formed), "{formed} runs");
        assert!(found == expected, "limit {limit:?}, spilled {spill}");
    }
}

#[test]
fn selections_are_followed_and_values_larger_than_the_budget_are_refused() {
    let governor =
        Governor::new(GovernorOptions { limit_bytes: Some(8 << 20), ..Default::default() });
    let order = &orders()[0];
    let shape = RunShape::new(&TYPES, order).expect("storable");
    let memory = governor.reserve("sort", BUILDER_MINIMUM).expect("fits");
    let mut builder = RunBuilder::new(shape.clone(), 0, memory).expect("fits");
    let mut random = Random(3);
    let rows = rows(&mut random, 50, Keys::Many);
    let selected = chunk(&rows, 0, 0).select(Selection::new(vec![1, 5, 49]));
    push(&mut builder, &selected, &|| Ok(())).expect("fits");
    let text = |bytes: usize| Row { text: Some("z".repeat(bytes)), ..rows[0].clone() };
    for bytes in [300_000, 900_000, 1_500_000, 100, 1_500_000] {
        push(&mut builder, &chunk(&[text(bytes)], 1, 0), &|| Ok(()))
            .expect("a large row has its place");
    }
    let error =
        push(&mut builder, &chunk(&[text(9_000_000)], 2, 0), &|| Ok(())).expect_err("too large");
    assert!(matches!(error, Error::OutOfMemory { .. }), "{error}");
    let mut runs = builder.finish(&|| Ok(())).expect("the rest is whole");
    assert_eq!(runs.iter().map(Run::rows).sum::<u64>(), 8);
    let charge = governor.reserve("sort", 0).expect("fits");
    let set = RunSet::new(shape, &mut runs, charge, &|| Ok(())).expect("reads");
    let charge = governor.reserve("sort", 0).expect("fits");
    let mut merger = Merger::new(Arc::new(set), WINDOW_BYTES_MIN, charge).expect("fits");
    merger.start(0, &|| Ok(())).expect("reads");
    let mut lens = Vec::new();
    while let Some(merged) = merger.next_rows().expect("reads") {
        lens.extend(read(&merged).iter().map(|r| r.text.as_ref().map_or(0, String::len)));
    }
    lens.sort_unstable();
    assert_eq!(lens, [9, 9, 9, 100, 300_000, 900_000, 1_500_000, 1_500_000]);
}

#[test]
fn a_pressed_builder_gives_its_memory_and_stopping_stops() {
    let governor =
        Governor::new(GovernorOptions { limit_bytes: Some(8 << 20), ..Default::default() });
    let shape = RunShape::new(&TYPES, &orders()[0]).expect("storable");
    let memory = governor.reserve("sort", BUILDER_MINIMUM).expect("fits");
    let mut builder = RunBuilder::new(shape, 0, memory).expect("fits");
    let mut random = Random(3);
    let rows = rows(&mut random, 60_000, Keys::Many);
    for (morsel, rows) in rows.chunks(3000).enumerate() {
        push(&mut builder, &chunk(rows, morsel as u64, 0), &|| Ok(())).expect("fits");
    }
    assert!(builder.bytes() > 3 << 20);
    let mut other = governor.reserve("other", 0).expect("fits");
    assert!(other.grow(5 << 20).is_err());
    push(&mut builder, &chunk(&rows[..1], 30, 0), &|| Ok(())).expect("fits");
    assert!(builder.bytes() < 2 << 20);
    other.grow(5 << 20).expect("there is room now");
    let stop = || Err(Error::Cancelled { reason: "interrupted" });
    let stopped = push(&mut builder, &chunk(&rows[..1], 31, 0), &stop).expect_err("stopped");
    assert!(matches!(stopped, Error::Cancelled { .. }));
    drop(builder);
    assert_eq!(governor.spill().usage().used, 0);
}

#[test]
fn a_limit_keeps_the_first_rows_and_tells_the_others() {
    let mut random = Random(11);
    for keys in [Keys::Few, Keys::Many, Keys::Equal, Keys::Sorted, Keys::LongPrefix] {
        let rows = rows(&mut random, 30_000, keys);
        for (order, limit) in orders().iter().zip([1, 100, 9000, 40_000]) {
            let mut expected = rows.clone();
            expected.sort_by(|a, b| compare(a, b, order));
            expected.truncate(limit);
            let governor =
                Governor::new(GovernorOptions { limit_bytes: Some(5 << 20), ..Default::default() });
            let shape = RunShape::new(&TYPES, order).expect("storable");
            let bound = Bound::new();
            let mut builders: Vec<RunBuilder> = (0..2)
                .map(|number| {
                    let memory = governor.reserve("top k", BUILDER_MINIMUM).expect("fits");
                    let builder = RunBuilder::new(shape.clone(), number, memory).expect("fits");
                    builder.with_limit(limit as u64, bound.clone())
                })
                .collect();
            for (morsel, rows) in rows.chunks(3000).enumerate() {
                let builder = &mut builders[random.below(2) as usize];
                push(builder, &chunk(rows, morsel as u64, 0), &|| Ok(())).expect("fits");
            }
            let mut runs = Vec::new();
            for builder in builders {
                runs.extend(builder.finish(&|| Ok(())).expect("fits"));
            }
            assert_eq!(bound.first_key().is_some(), limit < 10_000 && !order.is_empty());
            let charge = governor.reserve("top k", 0).expect("fits");
            let set = Arc::new(RunSet::new(shape, &mut runs, charge, &|| Ok(())).expect("reads"));
            let charge = governor.reserve("top k", 0).expect("fits");
            let mut merger = Merger::new(set, WINDOW_BYTES_MIN, charge).expect("fits");
            merger.start(0, &|| Ok(())).expect("reads");
            let mut found = Vec::new();
            while let Some(merged) = merger.next_rows().expect("reads") {
                found.extend(read(&merged));
            }
            assert!(found.len() >= expected.len());
            let ids = |rows: &[Row]| rows.iter().map(|r| r.id).collect::<Vec<_>>();
            assert_eq!(ids(&found[..expected.len()]), ids(&expected), "{keys:?} {order:?} {limit}");
        }
    }
}

#[test]
fn a_reader_that_has_no_room_leaves_all_rows_to_a_later_one() {
    let options = GovernorOptions { limit_bytes: Some(16 << 20), ..Default::default() };
    let governor = Governor::new(options);
    let order =
        vec![RowOrder { column: 3, descending: false, nulls_first: false, nullable: false }];
    let sorting = Sorting::new("sort", TYPES.to_vec(), &order, 1).expect("can be compared");
    let sorting = Arc::new(sorting);
    let rows = rows(&mut Random(3), 5000, Keys::Many);
    let mut builder = sorting.builder(&governor, &|| Ok(())).expect("fits");
    builder.push(&chunk(&rows, 0, 0), &|| Ok(())).expect("fits");
    builder.finish(&sorting, &|| Ok(())).expect("fits");
    assert_eq!(sorting.prepare(&governor, 2), 0);
    let mut all = governor.reserve("other", 0).expect("fits");
    all.grow(governor.limit() - governor.reserved()).expect("is free");
    let refused = sorting.reader(&governor, &|| Ok(())).err();
    assert!(matches!(refused, Some(Error::OutOfMemory { .. })), "{refused:?}");
    drop(all);
    let mut reader = sorting.reader(&governor, &|| Ok(())).expect("has room");
    let mut all = governor.reserve("other", 0).expect("fits");
    all.grow(governor.limit() - governor.reserved()).expect("is free");
    let refused = sorting.reader(&governor, &|| Ok(())).err();
    assert!(matches!(refused, Some(Error::OutOfMemory { .. })), "{refused:?}");
    assert_eq!(read_all(&mut reader), rows.len());
}

/// Number of rows.
pub(super) fn read_all(reader: &mut SortReader) -> usize {
    let mut found = 0;
    for range in 0..reader.ranges {
        reader.merger.start(range, &|| Ok(())).expect("reads");
        while let Some(merged) = reader.merger.next_rows().expect("reads") {
            found += merged.rows;
        }
    }
    found
}

/// Sorts by text, in a budget.
fn text_sorting(limit: usize) -> (Governor, Arc<Sorting>) {
    let options = GovernorOptions { limit_bytes: Some(limit), ..Default::default() };
    let sorting = Sorting::new("sort", TYPES.to_vec(), &orders()[1], 1).expect("can be compared");
    (Governor::new(options), Arc::new(sorting))
}

#[test]
fn a_collector_gives_way_to_a_row_that_cannot_do_without_and_not_to_others() {
    let (governor, sorting) = text_sorting(8 << 20);
    let mut random = Random(3);
    let rows = rows(&mut random, 60_000, Keys::Many);
    let mut full = sorting.builder(&governor, &|| Ok(())).expect("fits");
    for (morsel, rows) in rows.chunks(3000).enumerate() {
        full.push(&chunk(rows, morsel as u64, 0), &|| Ok(())).expect("fits");
    }
    let mut other = governor.reserve("other", 0).expect("fits");
    assert!(!other.try_grow(4 << 20), "who can do without does");
    let mut large = sorting.builder(&governor, &|| Ok(())).expect("fits");
    let text = Row { text: Some("z".repeat(4 << 20)), ..rows[0].clone() };
    large.push(&chunk(&[text], 20, 0), &|| Ok(())).expect("the other's rows are written for it");
    assert!(governor.spill().usage().used > 0);
    large.finish(&sorting, &|| Ok(())).expect("fits");
    full.finish(&sorting, &|| Ok(())).expect("fits");
    for task in 0..sorting.prepare(&governor, 1) {
        sorting.finish(task, &governor, &|| Ok(())).expect("fits");
    }
    let mut reader = sorting.reader(&governor, &|| Ok(())).expect("has room");
    assert_eq!(read_all(&mut reader), 60_001);
}

#[test]
fn what_the_first_merger_needs_is_kept_when_it_has_no_room() {
    let (governor, sorting) = text_sorting(16 << 20);
    let rows = rows(&mut Random(3), 4000, Keys::Many);
    for (morsel, rows) in rows.chunks(100).enumerate() {
        let mut builder = sorting.builder(&governor, &|| Ok(())).expect("fits");
        builder.push(&chunk(rows, morsel as u64, 0), &|| Ok(())).expect("fits");
        builder.finish(&sorting, &|| Ok(())).expect("fits");
        // More of them than there is room for windows.
        let written = sorting.revoke(usize::MAX).expect("can be written");
        assert!(written > 0, "what was handed over can be revoked");
    }
    assert_eq!(sorting.prepare(&governor, 1), 0);
    let held = governor.reserved();
    assert!(held > merger_bytes(governor.limit()));
    let mut all = governor.reserve("other", 0).expect("fits");
    all.grow(governor.limit() - held).expect("is free");
    for _ in 0..2 {
        let refused = sorting.reader(&governor, &|| Ok(())).err();
        assert!(matches!(refused, Some(Error::OutOfMemory { .. })), "{refused:?}");
        assert!(governor.reserved() >= held + all.bytes(), "nothing is given away");
    }
    // Nearly all of it is there: no others have to give more than what windows take.
    all.shrink(1 << 20);
    all.settle();
    let mut reader = sorting.reader(&governor, &|| Ok(())).expect("has room");
    assert_eq!(read_all(&mut reader), rows.len());
}

#[test]
fn long_rows_are_merged_within_the_budget_however_many_they_are() {
    let (governor, sorting) = text_sorting(12 << 20);
    let mut random = Random(5);
    let mut builder = sorting.builder(&governor, &|| Ok(())).expect("fits");
    for morsel in 0..60 {
        let mut row = rows(&mut random, 1, Keys::Many).remove(0);
        row.text = Some(format!("{} {}", random.below(1000), "z".repeat(1 << 20)));
        builder.push(&chunk(&[row], morsel, 0), &|| Ok(())).expect("fits");
    }
    builder.finish(&sorting, &|| Ok(())).expect("fits");
    for task in 0..sorting.prepare(&governor, 2) {
        sorting.finish(task, &governor, &|| Ok(())).expect("fits");
    }
    assert_eq!(sorting.parallelism(), 1);
    let mut reader = sorting.reader(&governor, &|| Ok(())).expect("has room");
    assert_eq!(read_all(&mut reader), 60);
    let most = governor.usage().peak_reserved;
    assert!(most <= 12 << 20, "{most}");
}

#[test]
fn runs_are_never_without_an_owner_while_somebody_is_alone() {
    let (governor, sorting) = text_sorting(16 << 20);
    let rows = rows(&mut Random(3), 4000, Keys::Many);
    let mut builder = sorting.builder(&governor, &|| Ok(())).expect("fits");
    builder.push(&chunk(&rows, 0, 0), &|| Ok(())).expect("fits");
    let asked = AtomicUsize::new(0);
    let stop = || match asked.fetch_add(1, Relaxed) {
        0 => Ok(()),
        _ => Err(Error::internal("stopped")),
    };
    let ask = || {
        let mut turn = governor.turns().beside(&|| Ok(()))?;
        assert!(turn.be_alone(&stop).is_err(), "runs are on their way");
        Ok(())
    };
    builder.finish(&sorting, &ask).expect("fits");
    assert!(asked.load(Relaxed) > 1);
    assert!(sorting.revocable_bytes() > 0);
}

#[test]
fn long_rows_of_many_collectors_have_room_in_turn() {
    const WORKERS: u64 = 6;
    for seed in 0..5 {
        let (governor, sorting) = text_sorting(10 << 20);
        std::thread::scope(|scope| {
            for worker in 0..WORKERS {
                let (governor, sorting) = (&governor, sorting.clone());
                scope.spawn(move || {
                    let mut random = Random(seed * WORKERS + worker);
                    let mut collector = sorting.builder(governor, &|| Ok(())).expect("fits");
                    for step in 0..40 {
                        let mut row = rows(&mut random, 1, Keys::Many).remove(0);
                        row.text = Some("z".repeat(random.below(2 << 20) as usize));
                        let chunk = chunk(&[row], step * WORKERS + worker, 0);
                        collector.push(&chunk, &|| Ok(())).expect("has room in its turn");
                    }
                    collector.finish(&sorting, &|| Ok(())).expect("fits");
                });
            }
        });
        assert!(governor.usage().peak_reserved <= 10 << 20);
        sorting.clear();
        assert_eq!((governor.reserved(), governor.spill().usage().used), (0, 0));
    }
}
