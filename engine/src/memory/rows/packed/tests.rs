//! Tests of `packed`.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryViewArray, BooleanArray, Decimal128Array, Float64Array, Int16Array, Int32Array,
    Int64Array, ListArray, NullArray, StringViewArray, UInt8Array, UInt64Array,
};
use arrow::datatypes::{DataType, Int32Type};

use super::*;
use crate::batch::{Column, all_rows, pick};
use crate::memory::rows::{RowLayout, RowOrder, RowPages, compare_rows};
use crate::memory::{Governor, GovernorOptions, Reservation};

const ROWS: usize = 1000;

fn text(row: usize) -> Option<String> {
    match row % 11 {
        0 => None,
        1 => Some(String::new()),
        2 => Some("x".repeat(12)),
        3 => Some("y".repeat(13)),
        4 => Some("z".repeat(254 + row % 3)),
        5 if row == 500 => Some("w".repeat(70_000)),
        _ => Some(format!("{}-{}", row % 7, row % 3)),
    }
}

fn columns() -> Vec<Column> {
    let lists = (0..ROWS).map(|r| (r % 5 > 0).then(|| (0..r as i32 % 4).map(Some)));
    let texts: Vec<Option<String>> = (0..ROWS).map(text).collect();
    let floats = [f64::NAN, -0.0, 0.0, f64::INFINITY, -1.5, f64::NEG_INFINITY];
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values((0..ROWS as i64).map(|r| r * 7 % 13 - 5))),
        Arc::new(Int32Array::from_iter((0..ROWS as i32).map(|r| (r % 3 > 0).then_some(r % 9)))),
        Arc::new(StringViewArray::from_iter(texts.iter().map(|t| t.as_deref()))),
        Arc::new(BooleanArray::from_iter((0..ROWS).map(|r| (r % 4 > 0).then_some(r % 2 == 0)))),
        Arc::new(Float64Array::from_iter_values((0..ROWS).map(|r| floats[r % 6]))),
        Arc::new(Int16Array::from_iter_values((0..ROWS).map(|r| -(r as i16 % 5)))),
        Arc::new(
            Decimal128Array::from_iter_values((0..ROWS).map(|r| (r as i128 % 17) << 80))
                .with_precision_and_scale(38, 2)
                .expect("fits"),
        ),
        Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(lists)),
        Arc::new(NullArray::new(ROWS)),
        Arc::new(BinaryViewArray::from_iter_values((0..ROWS).map(|r| vec![r as u8; r % 20]))),
    ];
    arrays.into_iter().map(|a| Column::flat(a.data_type().clone(), a)).collect()
}

fn types(columns: &[Column]) -> Vec<DataType> {
    columns.iter().map(|c| c.logical().clone()).collect()
}

fn store(
    columns: &[Column],
    first: &[usize],
    memory: &mut Reservation,
) -> (PackedPages, Vec<PackedRef>) {
    let layout = Arc::new(PackedLayout::new(&types(columns), first).expect("storable"));
    let mut pages = PackedPages::new(layout, 64 << 10);
    let (picked, mut refs) = (pick(columns, all_rows(ROWS)), Vec::new());
    for (start, mark) in [(0, 0), (100, 255), (200, 256), (900, u64::MAX)] {
        let end =
            if start == 0 { 100 } else { if start == 100 { 200 } else { (start + 700).min(ROWS) } };
        let stored = pages.append(&picked, start..end, mark, memory, &mut refs, false);
        assert_eq!(stored.expect("fits"), end - start);
    }
    (pages, refs)
}

#[test]
fn every_type_comes_back_with_its_mark() {
    let columns = columns();
    let governor = Governor::unlimited();
    let mut memory = governor.reserve("rows", 0).expect("no limit");
    for (first, is_narrow) in [(&[][..], false), (&[9, 2], false), (&[], true), (&[2], true)] {
        let (pages, refs) = store(&columns, first, &mut memory);
        assert_eq!((pages.rows(), refs.len()), (ROWS, ROWS));
        assert!(refs.is_sorted(), "references are in the order of arrival");
        let marks = [(0, 0), (99, 0), (150, 255), (200, 256), (899, 256), (999, u64::MAX)];
        for (row, mark) in marks {
            assert_eq!(pages.row(refs[row]).mark(), mark);
        }
        let form = match is_narrow {
            true => PackedForm::narrow(pages.layout(), pages.facts()),
            false => PackedForm::narrow(pages.layout(), &[]),
        };
        // Backwards and through copies with other marks, in one heap of bytes.
        let (mut copies, mut offsets) = (Vec::new(), Vec::new());
        for (n, &row) in refs.iter().enumerate().rev() {
            offsets.push(copies.len());
            let mark = (n as u64) << 20;
            let expected = copies.len() + pages.row(row).bytes_as(&form, mark);
            pages.row(row).copy_as(pages.layout(), &form, mark, &mut copies);
            assert_eq!(copies.len(), expected);
        }
        offsets.reverse();
        let mut unpacker = Unpacker::new(pages.layout().clone(), ROWS);
        for (n, group) in offsets.chunks(UNPACK_ROWS_MAX).enumerate() {
            let rows: Vec<_> = group.iter().map(|&at| PackedRow::at(&copies, at, &form)).collect();
            unpacker.push(&rows, |column| pages.facts()[column].nulls);
            assert_eq!(rows[7].mark(), ((n * UNPACK_ROWS_MAX + 7) as u64) << 20);
        }
        assert_eq!(unpacker.rows(), ROWS);
        let arrays = unpacker.finish().expect("whole");
        for (column, array) in columns.iter().zip(&arrays) {
            assert_eq!(column.values(), array);
        }
        assert_eq!(unpacker.rows(), 0);
    }
}

#[test]
fn integers_take_as_many_bytes_as_their_range() {
    let wide = [i64::MIN, i64::MAX, 0, -1];
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(wide.to_vec())),
        Arc::new(Int64Array::from(vec![i64::MAX, i64::MAX - 255, i64::MAX - 3, i64::MAX])),
        Arc::new(Int64Array::from(vec![Some(-70_000), None, Some(3), Some(-1)])),
        Arc::new(Int32Array::from(vec![-200, -100, -150, -120])),
        Arc::new(UInt64Array::from(vec![u64::MAX, u64::MAX - 1, u64::MAX - 300, u64::MAX])),
        Arc::new(UInt64Array::from(vec![u64::MAX, 0, 1 << 63, 5])),
        Arc::new(UInt8Array::from(vec![9, 9, 9, 9])),
        Arc::new(Int16Array::from(vec![i16::MIN, i16::MAX, -1, 0])),
        Arc::new(BooleanArray::from(vec![Some(true), None, Some(false), Some(true)])),
    ];
    let columns: Vec<Column> =
        arrays.into_iter().map(|a| Column::flat(a.data_type().clone(), a)).collect();
    let governor = Governor::unlimited();
    let mut memory = governor.reserve("rows", 0).expect("no limit");
    let layout = Arc::new(PackedLayout::new(&types(&columns), &[]).expect("storable"));
    let mut pages = PackedPages::new(layout.clone(), 64 << 10);
    let mut refs = Vec::new();
    let picked = pick(&columns, all_rows(4));
    let stored = pages.append(&picked, 0..4, 7, &mut memory, &mut refs, false).expect("fits");
    assert_eq!(stored, 4);
    let form = PackedForm::narrow(&layout, pages.facts());
    let mut copies = Vec::new();
    let mut starts = Vec::new();
    for &row in &refs {
        starts.push(copies.len());
        pages.row(row).copy_as(&layout, &form, 7, &mut copies);
    }
    // Length, columns, NULL bits, mark.
    assert_eq!(copies.len(), 4 * (2 + (8 + 1 + 3 + 1 + 2 + 8 + 2 + 1) + 2 + 2));
    let rows: Vec<_> = starts.iter().map(|&at| PackedRow::at(&copies, at, &form)).collect();
    let mut unpacker = Unpacker::new(layout.clone(), 4);
    unpacker.push(&rows, |column| pages.facts()[column].nulls);
    for (column, array) in columns.iter().zip(unpacker.finish().expect("whole")) {
        assert_eq!(column.values(), &array);
    }
    for (column, by) in (0..columns.len()).flat_map(|c| [(c, false), (c, true)]) {
        let order = [RowOrder { column, descending: by, nulls_first: by, nullable: true }];
        for (a, &x) in rows.iter().zip(&refs) {
            for (b, &y) in rows.iter().zip(&refs) {
                let plain = pages.row(x).compare(&pages.row(y), &layout, &order);
                assert_eq!(a.compare(b, &layout, &order), plain);
                assert_eq!(a.compare(&pages.row(y), &layout, &order), plain);
            }
        }
    }
}

#[test]
fn rows_compare_as_in_row_pages() {
    let columns = columns();
    let governor = Governor::unlimited();
    let mut memory = governor.reserve("rows", 0).expect("no limit");
    let (pages, refs) = store(&columns, &[], &mut memory);
    let layout = Arc::new(RowLayout::new(&types(&columns), &[]).expect("storable"));
    let mut other = RowPages::new(layout.clone(), 64 << 10);
    let mut other_refs = Vec::new();
    let all: Vec<&Column> = columns.iter().collect();
    other.append(&all, all_rows(ROWS), &mut memory, &mut other_refs).expect("fits");
    let mut unequal = 0;
    for column in 0..columns.len() {
        for (descending, nulls_first) in [(false, false), (true, false), (false, true)] {
            let by = RowOrder { column, descending, nulls_first, nullable: true };
            let last = RowOrder { column: 0, descending: false, nulls_first, nullable: true };
            for (a, b) in (0..ROWS).step_by(7).zip((0..ROWS).step_by(3)) {
                let (x, y) = (pages.row(refs[a]), pages.row(refs[b]));
                let order = x.compare(&y, pages.layout(), &[by, last]);
                let (x, y) = (other.at(other_refs[a]), other.at(other_refs[b]));
                assert_eq!(order, compare_rows(&layout, &[by, last], x, y), "{by:?} {a} {b}");
                unequal += usize::from(order != Ordering::Equal);
            }
        }
    }
    assert!(unequal > 1000);
}

#[test]
fn a_refusal_stops_between_rows_and_pages_are_used_again() {
    let columns = columns();
    let options = GovernorOptions { limit_bytes: Some(100 << 10), ..Default::default() };
    let governor = Governor::new(options);
    let mut memory = governor.reserve("rows", 0).expect("fits");
    let layout = Arc::new(PackedLayout::new(&types(&columns), &[]).expect("storable"));
    let mut pages = PackedPages::new(layout, 16 << 10);
    let picked = pick(&columns, all_rows(ROWS));
    let (mut done, mut rounds) = (0, 0);
    while done < ROWS {
        let mut refs = Vec::new();
        let stored =
            pages.append(&picked, done..ROWS, 1, &mut memory, &mut refs, false).expect("fits");
        assert_eq!(stored, refs.len());
        assert_eq!(memory.bytes(), pages.bytes());
        assert!(stored > 0 || done == 500, "only the large row may need all the memory");
        done += stored;
        rounds += 1;
        if stored > 0 {
            pages.clear(&mut memory)
        } else {
            pages.free(&mut memory)
        }
        assert!(pages.is_empty() && memory.bytes() <= 100 << 10);
    }
    assert!(rounds > 1);
    pages.free(&mut memory);
    assert_eq!((pages.bytes(), memory.bytes()), (0, 0));
}

#[test]
fn rows_keep_their_places_when_empty_pages_before_them_are_freed() {
    let governor = Governor::unlimited();
    let mut memory = governor.reserve("test", 0).expect("fits");
    let array: ArrayRef = Arc::new(StringViewArray::from(vec!["x".repeat(10), "y".repeat(50_000)]));
    let layout = Arc::new(PackedLayout::new(&[DataType::Utf8], &[]).expect("a layout"));
    let mut pages = PackedPages::new(layout, 16 << 10);
    let columns = [Column::flat(DataType::Utf8, array)];
    let picked = pick(&columns, all_rows(2));
    let mut refs = Vec::new();
    pages.append(&picked, 0..1, 1, &mut memory, &mut refs, false).expect("fits");
    pages.clear(&mut memory);
    refs.clear();
    // The page that is kept has no room for it.
    pages.append(&picked, 1..2, 1, &mut memory, &mut refs, false).expect("fits");
    let before = pages.row(refs[0]).bytes().to_vec();
    pages.trim(&mut memory);
    assert_eq!(pages.row(refs[0]).bytes(), before);
    assert_eq!(memory.bytes(), pages.bytes());
}
