//! Tests of sorts that distribute rows.

use std::sync::Arc;

use super::super::tests::{Random, Row, TYPES, chunk, compare, push, read, read_all};
use super::super::{
    BUILDER_MINIMUM, Check, DistributionPlan, Merger, Run, RunBuilder, RunSet, RunShape, Sorting,
    WINDOW_BYTES_MIN,
};
use crate::error::{Error, Result};
use crate::memory::rows::RowOrder;
use crate::memory::{Governor, GovernorOptions};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keys {
    Random,
    /// Words that are equal, of texts that are not; and NULLs.
    LongTexts,
    /// The first rows are nothing like those that follow, of which most are one group.
    GiantGroup,
    Equal,
    Sorted,
    Reversed,
}

const ALL_KEYS: [Keys; 6] =
    [Keys::Random, Keys::LongTexts, Keys::GiantGroup, Keys::Equal, Keys::Sorted, Keys::Reversed];

fn rows(random: &mut Random, count: usize, keys: Keys) -> Vec<Row> {
    let row = |at: usize| {
        let some = |below: u64, random: &mut Random| Some(random.below(below) as i32);
        let number = match keys {
            Keys::Random => some(1 << 30, random),
            Keys::LongTexts => some(2000, random).filter(|number| number % 50 != 7),
            Keys::GiantGroup if at > count / 4 && random.below(10) > 0 => Some(77),
            Keys::GiantGroup => some(1 << 30, random),
            Keys::Equal => Some(5),
            Keys::Sorted => Some(at as i32),
            Keys::Reversed => Some((count - at) as i32),
        };
        let text = match keys {
            Keys::LongTexts => {
                let text = format!("{}{:03}", "p".repeat(20), random.below(200));
                Some(text).filter(|_| random.below(9) > 0)
            }
            Keys::Equal => Some("same".to_owned()),
            _ => Some("x".repeat(at % 11)),
        };
        // Numbers that need more bytes as rows come.
        Row { number, text, float: 1.0, id: at as i64 * 977 }
    };
    (0..count).map(row).collect()
}

fn order() -> Vec<RowOrder> {
    let by = |column| RowOrder { column, descending: false, nulls_first: false, nullable: true };
    vec![by(0), by(1)]
}

fn plan() -> DistributionPlan {
    let mut plan = DistributionPlan::default();
    (plan.buffer_bytes, plan.ranges, plan.range_rows_max) = (160 << 10, 16, 4000);
    (plan.run_bytes, plan.limit_bytes_min) = (300 << 10, 0);
    plan
}

fn governor(limit_bytes: Option<usize>) -> Governor {
    Governor::new(GovernorOptions { limit_bytes, ..Default::default() })
}

struct Case {
    limit: Option<usize>,
    builders: usize,
    /// Of so many chunks, one is followed by a request for memory of the builder.
    given_up: Option<u64>,
    /// Whether some runs are written when all are formed.
    revoked: bool,
}

struct Outcome {
    rows: Vec<Row>,
    distributed: usize,
    spilled: usize,
}

fn sort(rows: &[Row], case: &Case, seed: u64) -> Result<Outcome> {
    let (governor, mut random) = (governor(case.limit), Random(seed));
    let check: Check<'_> = &|| Ok(());
    let (shape, plan) = (RunShape::grouped(&TYPES, &order(), 1)?, plan());
    let builder = |number: usize| {
        let memory = governor.reserve("sort", BUILDER_MINIMUM)?;
        let builder = RunBuilder::new(shape.clone(), number as u32, memory)?;
        Ok(builder.with_plan(plan.clone()))
    };
    let mut builders = (0..case.builders).map(builder).collect::<Result<Vec<_>>>()?;
    for (morsel, rows) in rows.chunks(1700).enumerate() {
        let builder = &mut builders[random.below(case.builders as u64) as usize];
        for (sequence, rows) in rows.chunks(900).enumerate() {
            push(builder, &chunk(rows, 10 + 200 * morsel as u64, sequence as u32), check)?;
            if case.given_up.is_some_and(|chunks| random.below(chunks) == 0) {
                builder.give_up(random.below(1 << 20) as usize)?;
            }
        }
    }
    let mut runs = Vec::new();
    for builder in builders {
        runs.extend(builder.finish(check)?);
    }
    let distributed = runs.iter().filter(|run| !run.is_in_order()).count();
    for run in runs.iter_mut().filter(|run| case.revoked && !run.is_spilled()) {
        if random.below(2) == 0 {
            *run = run.spill(governor.spill(), check)?;
        }
    }
    let spilled = runs.iter().filter(|run| run.is_spilled()).count();
    assert_eq!(runs.iter().map(Run::rows).sum::<u64>(), rows.len() as u64);
    let set = Arc::new(RunSet::new(shape, &mut runs, governor.reserve("sort", 0)?, check)?);
    let mut merger = Merger::new(set.clone(), WINDOW_BYTES_MIN, governor.reserve("sort", 0)?)?;
    let mut found = vec![Vec::new(); set.ranges()];
    for range in (0..set.ranges()).rev() {
        merger.start(range, check)?;
        while let Some(merged) = merger.next_rows()? {
            found[range].extend(read(&merged));
        }
    }
    let groups = found.iter().filter_map(|rows| Some((rows.first()?, rows.last()?)));
    let groups: Vec<_> = groups.collect();
    for next in groups.windows(2) {
        assert_ne!(next[0].1.number, next[1].0.number, "a group is in two ranges");
    }
    drop((merger, set));
    assert_eq!((governor.reserved(), governor.spill().usage().used), (0, 0));
    Ok(Outcome { rows: found.concat(), distributed, spilled })
}

fn sorted(rows: &[Row]) -> Vec<Row> {
    let mut expected = rows.to_vec();
    expected.sort_by(|a, b| compare(a, b, &order()));
    expected
}

#[test]
fn distributed_rows_come_out_in_order_whoever_wants_memory_meanwhile() {
    let mut random = Random(3);
    // Below 16 MB no range is gathered: runs are merged.
    let limits = [None, Some(8 << 20)];
    for keys in ALL_KEYS {
        let rows = rows(&mut random, 24_000, keys);
        let expected = sorted(&rows);
        let (mut distributed, mut spilled) = (0, 0);
        for builders in [1, 3] {
            for limit in limits {
                for (given_up, revoked) in
                    [(None, false), (Some(40), false), (Some(9), true), (None, true)]
                {
                    let case = Case { limit, builders, given_up, revoked };
                    let outcome = sort(&rows, &case, random.below(1 << 40)).expect("sorts");
                    let what = format!("{keys:?} {builders} {limit:?} {given_up:?} {revoked}");
                    assert!(outcome.rows == expected, "{what}");
                    distributed += outcome.distributed;
                    spilled += outcome.spilled;
                }
            }
        }
        assert!(spilled > 0, "{keys:?}");
        let is_spread = matches!(keys, Keys::Random | Keys::LongTexts);
        assert!(distributed > 0 || !is_spread, "{keys:?}");
    }
}

#[test]
fn rows_that_are_spread_are_all_distributed_and_others_are_not() {
    let case = Case { limit: None, builders: 1, given_up: None, revoked: false };
    let formed = |keys| {
        let rows = rows(&mut Random(8), 60_000, keys);
        let (governor, check): (_, Check<'_>) = (governor(case.limit), &|| Ok(()));
        let shape = RunShape::new(&TYPES, &order()).expect("can be compared");
        let memory = governor.reserve("sort", BUILDER_MINIMUM).expect("fits");
        let mut builder = RunBuilder::new(shape, 0, memory).expect("fits").with_plan(plan());
        for (morsel, rows) in rows.chunks(900).enumerate() {
            push(&mut builder, &chunk(rows, morsel as u64, 0), check).expect("fits");
        }
        let runs = builder.finish(check).expect("fits");
        runs.iter().map(|run| (run.is_in_order(), run.rows())).collect::<Vec<_>>()
    };
    // One run in order, then one of each form and size; the numbers grow by two bytes.
    let spread = formed(Keys::Random);
    assert!(spread[0].0 && (4..=12).contains(&spread.len()), "{spread:?}");
    assert!(spread[1..].iter().all(|(is_in_order, _)| !is_in_order), "{spread:?}");
    for keys in [Keys::Sorted, Keys::GiantGroup, Keys::Equal] {
        let rest = formed(keys);
        let is_in_order = rest.iter().skip(4).all(|(is_in_order, _)| *is_in_order);
        assert!(rest.len() > 6 && is_in_order, "{keys:?}: {rest:?}");
    }
}

#[test]
fn memory_is_refused_at_any_time_and_the_first_reader_has_room() {
    let rows = rows(&mut Random(4), 40_000, Keys::Random);
    let expected = sorted(&rows);
    let mut in_memory = 0;
    for refused_from in (2..=47).step_by(3) {
        let (governor, check): (_, Check<'_>) = (governor(Some(24 << 20)), &|| Ok(()));
        let sorting = Sorting::new("sort", TYPES.to_vec(), &order(), 1).expect("can be compared");
        let sorting = Arc::new(sorting.with_plan(plan()));
        let mut builders: Vec<_> =
            (0..2).map(|_| sorting.builder(&governor, check).expect("fits")).collect();
        let mut other = governor.reserve("other", 0).expect("fits");
        for (morsel, rows) in rows.chunks(900).enumerate() {
            if morsel == refused_from {
                // What others hold does not become less, and they may ask for more.
                let free = governor.limit() - governor.reserved();
                other.grow(free - (free / 8) * (refused_from % 2)).expect("is free");
            }
            builders[morsel % 2].push(&chunk(rows, morsel as u64, 0), check).expect("has room");
        }
        for builder in builders {
            builder.finish(&sorting, check).expect("fits");
        }
        for task in 0..sorting.prepare(&governor, 2) {
            sorting.finish(task, &governor, check).expect("fits");
        }
        // Small tables, and windows over many runs on tape, are not set aside.
        let is_spilled = governor.spill().usage().used > 0;
        let left = if is_spilled { 4 << 20 } else { 100 << 10 };
        other.settle();
        let mut all = governor.reserve("other", 0).expect("fits");
        if is_spilled {
            other.shrink(left);
            other.settle();
        }
        let free = governor.limit() - governor.reserved();
        all.grow(free.saturating_sub(left)).expect("is free");
        let mut reader = sorting.reader(&governor, check).expect("room was set aside");
        if !is_spilled {
            in_memory += 1;
            let second = sorting.reader(&governor, check).err();
            assert!(matches!(second, Some(Error::OutOfMemory { .. })), "{second:?}");
        }
        let mut found = Vec::new();
        for range in 0..reader.ranges {
            reader.merger.start(range, check).expect("reads");
            while let Some(merged) = reader.merger.next_rows().expect("reads") {
                found.extend(read(&merged));
            }
        }
        assert!(found == expected, "refused from {refused_from}");
        drop((reader, other, all));
        sorting.clear();
        assert_eq!(governor.reserved(), 0);
    }
    assert!((1..10).contains(&in_memory), "{in_memory} sorts in memory");
}

#[test]
fn a_sort_that_is_run_again_decides_again() {
    let (governor, check): (_, Check<'_>) = (governor(None), &|| Ok(()));
    let sorting = Sorting::new("sort", TYPES.to_vec(), &order(), 1).expect("can be compared");
    let sorting = Arc::new(sorting.with_plan(plan()));
    for (seed, keys) in [(1, Keys::Random), (2, Keys::LongTexts), (3, Keys::Random)] {
        let rows = rows(&mut Random(seed), 20_000, keys);
        let mut builder = sorting.builder(&governor, check).expect("fits");
        for (morsel, rows) in rows.chunks(900).enumerate() {
            builder.push(&chunk(rows, morsel as u64, 0), check).expect("fits");
        }
        builder.finish(&sorting, check).expect("fits");
        assert_eq!(sorting.prepare(&governor, 1), 0);
        let mut reader = sorting.reader(&governor, check).expect("has room");
        assert_eq!(read_all(&mut reader), rows.len());
        drop(reader);
        sorting.clear();
    }
}
