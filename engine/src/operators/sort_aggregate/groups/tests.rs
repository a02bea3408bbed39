//! Tests of groups: whatever the batches and the memory, and what stays charged.

use std::collections::BTreeMap;

use arrow::array::{AsArray, BooleanArray, Float64Array, Int64Array, StringViewArray};
use arrow::datatypes::{Field, Float64Type, Int64Type};

use super::*;
use crate::expr::{OrderedCall, OrderedKind, SortKey};
use crate::memory::{Governor, GovernorOptions};

/// Of the columns that `spec` reads.
const TYPES: [DataType; 5] =
    [DataType::Int64, DataType::Int64, DataType::Boolean, DataType::Float64, DataType::Utf8];

fn call(function: OrderedKind, argument: usize, data_type: DataType) -> OrderedCall {
    OrderedCall { function, argument, filter: None, data_type }
}

/// `keeps` adds what has to keep all values.
fn spec(keeps: bool) -> SortAggregate {
    let list = DataType::List(Arc::new(Field::new_list_field(DataType::Int64, true)));
    let mut filtered = call(OrderedKind::Nth { position: -1 }, 1, DataType::Int64);
    filtered.filter = Some(2);
    let mut aggregates = vec![
        call(OrderedKind::PercentileCont { fraction: 0.5 }, 3, DataType::Float64),
        call(OrderedKind::PercentileDisc { fraction: 0.3 }, 1, DataType::Int64),
        filtered,
    ];
    if keeps {
        let concat = OrderedKind::Concat { separator: ",".into() };
        aggregates.push(call(OrderedKind::Collect, 1, list));
        aggregates.push(call(concat, 4, DataType::Utf8));
    }
    let order = vec![SortKey { column: 1, descending: false, nulls_first: false }];
    let names = (0..=aggregates.len()).map(|i| format!("c{i}")).collect();
    SortAggregate { keys: vec![0], order, aggregates, names }
}

/// Rows (group, value) in order, in batches: value, whether it is even, half of it, its text.
fn batches(rows: &[(i64, Option<i64>)], size: usize) -> Vec<Merged> {
    let batch = |rows: &[(i64, Option<i64>)]| {
        let values = || rows.iter().map(|row| row.1);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(rows.iter().map(|row| Some(row.0)).collect::<Int64Array>()),
            Arc::new(values().collect::<Int64Array>()),
            Arc::new(values().map(|v| v.map(|v| v % 2 == 0)).collect::<BooleanArray>()),
            Arc::new(values().map(|v| v.map(|v| v as f64 / 2.0)).collect::<Float64Array>()),
            Arc::new(values().map(|v| v.map(|v| v.to_string())).collect::<StringViewArray>()),
        ];
        Merged { columns, rows: rows.len() }
    };
    rows.chunks(size).map(batch).collect()
}

#[test]
fn groups_are_the_same_whatever_the_batches_and_the_memory() {
    let mut by_group: BTreeMap<i64, Vec<Option<i64>>> = BTreeMap::new();
    let mut rows = Vec::new();
    for (group, count) in [(1, 1), (2, 40), (3, 3), (4, 1000), (5, 1), (6, 2), (7, 300)] {
        for value in 0..count {
            let value = (group != 5 && value < count - count / 10).then_some(value * 3);
            rows.push((group, value));
            by_group.entry(group).or_default().push(value);
        }
    }
    for (size, little) in [(1, 20_000), (7, 20_000), (100, 20_000), (5000, 45_000)] {
        for limit in [None, Some(little)] {
            let options = GovernorOptions { limit_bytes: limit, ..Default::default() };
            let memory = Governor::new(options).reserve("test", 0).expect("fits");
            let mut groups =
                Groups::new(spec(limit.is_none()).into(), &TYPES, memory).expect("fits");
            groups.begin();
            let mut found = Vec::new();
            let mut at = 0;
            let mut passes = 1;
            loop {
                let mut batches = batches(&rows, size);
                let is_end = at == batches.len();
                let taken = match !is_end {
                    true => groups.take(batches.swap_remove(at)).expect("takes"),
                    false => groups.end(true).expect("ends"),
                };
                if taken == Taken::Again {
                    (at, passes) = (0, passes + 1);
                    continue;
                }
                found.extend(groups.results(is_end).expect("gives").map(arrays));
                if is_end {
                    break;
                }
                at += 1;
            }
            assert_eq!(passes > 1, limit.is_some(), "{size} {limit:?} {passes}");
            check(&found, &by_group);
        }
    }
}

/// Results without what they are charged to.
fn arrays((columns, rows): (Results, usize)) -> (Vec<ArrayRef>, usize) {
    (columns.into_iter().map(|(array, _)| array).collect(), rows)
}

/// Folds rows that are given to it in batches, in one range.
fn fold(rows: &[(i64, Option<i64>)], limit: usize) -> Result<Vec<(Vec<ArrayRef>, usize)>> {
    let options = GovernorOptions { limit_bytes: Some(limit), ..Default::default() };
    let memory = Governor::new(options).reserve("test", 0)?;
    let mut spec = spec(true);
    // Without those that may read a group twice.
    spec.aggregates.drain(..3);
    spec.names.drain(..3);
    let mut groups = Groups::new(spec.into(), &TYPES, memory)?;
    groups.begin();
    let mut found = Vec::new();
    for batch in batches(rows, 100) {
        assert_eq!(groups.take(batch)?, Taken::All);
        found.extend(groups.results(false)?.map(arrays));
    }
    assert_eq!(groups.end(true)?, Taken::All);
    found.extend(groups.results(true)?.map(arrays));
    Ok(found)
}

#[test]
fn results_go_out_before_the_open_group_is_refused_its_room() {
    let rows: Vec<(i64, Option<i64>)> = (0..8_000).map(|n| (n / 200, Some(n))).collect();
    let found = fold(&rows, 40_000).expect("each group has room");
    assert!(found.len() > 2, "{}", found.len());
    let lists = found.iter().flat_map(|(columns, _)| columns[1].as_list::<i32>().iter());
    let lists: Vec<ArrayRef> = lists.flatten().collect();
    assert_eq!(lists.len(), 40);
    let values = lists.iter().flat_map(|l| l.as_primitive::<Int64Type>().values().to_vec());
    assert!(values.eq(0..8_000));
    let one_group: Vec<(i64, Option<i64>)> = (0..8_000).map(|n| (1, Some(n))).collect();
    let error = fold(&one_group, 40_000).expect_err("has no room").to_string();
    assert!(error.contains(" of one group takes ") && error.contains("KB"), "{error}");
    let found = fold(&one_group, 10 << 20).expect("has room");
    let text = found[0].0[2].as_string_view().value(0).to_string();
    assert_eq!(text, (0..8_000).map(|n| n.to_string()).collect::<Vec<_>>().join(","));
}

#[test]
fn what_the_open_group_holds_stays_charged_when_results_go_out() {
    let memory = Governor::unlimited().reserve("test", 0).expect("fits");
    let mut groups = Groups::new(spec(true).into(), &TYPES, memory).expect("fits");
    groups.begin();
    let rows: Vec<(i64, Option<i64>)> = (0..6_000).map(|n| (n / 90, Some(n))).collect();
    let mut given = 0;
    for batch in batches(&rows, 50) {
        assert_eq!(groups.take(batch).expect("takes"), Taken::All);
        // Results are few, and enough for other reasons at times.
        groups.is_short = groups.arrays() >= ARRAYS_MAX;
        let Some((_, rows)) = groups.results(false).expect("gives") else { continue };
        given += rows;
        assert!(!groups.is_short, "said once");
        let held: usize = groups.folds.iter_mut().map(Fold::held_bytes).sum();
        assert!(held > 0 && groups.memory.bytes() >= held, "{:?} {held}", groups.memory);
    }
    assert!(given > 0);
}

fn check(found: &[(Vec<ArrayRef>, usize)], expected: &BTreeMap<i64, Vec<Option<i64>>>) {
    let mut groups = expected.iter();
    for (columns, rows) in found {
        for row in 0..*rows {
            let (group, all) = groups.next().expect("no more groups than there are");
            assert_eq!(columns[0].as_primitive::<Int64Type>().value(row), *group);
            let some: Vec<i64> = all.iter().flatten().copied().collect();
            let double = columns[1].as_primitive::<Float64Type>();
            let median = match some.len() {
                0 => None,
                n => Some((some[(n - 1) / 2] + some[n / 2]) as f64 / 4.0),
            };
            assert_eq!(double.is_valid(row).then(|| double.value(row)), median, "{group}");
            let integer = |column: usize| {
                let column = columns[column].as_primitive::<Int64Type>();
                column.is_valid(row).then(|| column.value(row))
            };
            let rank = ((some.len() as f64 * 0.3).ceil() as usize).saturating_sub(1);
            assert_eq!(integer(2), some.get(rank).copied(), "{group}");
            assert_eq!(integer(3), some.iter().rev().find(|v| *v % 2 == 0).copied());
            if columns.len() == 4 {
                continue;
            }
            let list = columns[4].as_list::<i32>().value(row);
            let list: Vec<Option<i64>> = list.as_primitive::<Int64Type>().iter().collect();
            assert_eq!(&list, all, "{group}");
            let texts: Vec<String> = some.iter().map(i64::to_string).collect();
            let text = columns[5].as_string_view();
            let text = text.is_valid(row).then(|| text.value(row).to_string());
            assert_eq!(text, (!texts.is_empty()).then(|| texts.join(",")), "{group}");
        }
    }
    assert!(groups.next().is_none(), "a group is missing");
}

#[test]
fn the_charge_of_a_large_result_goes_with_it() {
    let rows: Vec<(i64, Option<i64>)> = (0..400_000).map(|n| (1, Some(n))).collect();
    let run = |limit: usize, minimum: usize| -> Result<(usize, usize)> {
        let options = GovernorOptions { limit_bytes: Some(limit), ..Default::default() };
        let governor = Governor::new(options);
        let memory = governor.reserve("test", minimum).expect("fits");
        let list = DataType::List(Arc::new(Field::new_list_field(DataType::Int64, true)));
        let aggregates = vec![call(OrderedKind::Collect, 1, list)];
        let names = vec!["c0".into(), "c1".into()];
        let spec = SortAggregate { keys: vec![0], order: vec![], aggregates, names };
        let mut groups = Groups::new(spec.into(), &TYPES, memory)?;
        groups.begin();
        for batch in batches(&rows, 8192) {
            assert_eq!(groups.take(batch)?, Taken::All);
        }
        assert_eq!(groups.end(true)?, Taken::All);
        let (columns, _) = groups.results(true)?.expect("has");
        assert!(columns[0].1.is_none(), "is small");
        let (array, charge) = &columns[1];
        let (bytes, charged) =
            (array.get_array_memory_size(), charge.as_ref().expect("is").bytes());
        assert!(groups.memory.bytes() < LARGE_BYTES, "{:?}", groups.memory);
        assert!(charged + minimum >= bytes && governor.reserved() >= bytes, "{charged} {bytes}");
        // The group's maker need not be there, and keeps what it can do with at any rate.
        assert!(groups.memory.minimum() == minimum && governor.reserved() >= charged + minimum);
        drop(groups);
        assert!((charged..charged + LARGE_BYTES).contains(&governor.reserved()));
        let other = charge.clone();
        drop(columns);
        assert!(governor.reserved() >= charged);
        drop(other);
        assert_eq!(governor.reserved(), 0);
        Ok((charged, bytes))
    };
    run(usize::MAX, HELD_BYTES_MIN).expect("fits");
    let (charged, bytes) = run(usize::MAX, 0).expect("fits");
    // Not twice: what is copied is freed.
    assert!(charged < bytes + bytes / 8, "{charged} {bytes}");
    let refused = run(bytes / 2, 0).expect_err("has no room").to_string();
    assert!(refused.contains("array_agg(#1) of one group takes"), "{refused}");
}
