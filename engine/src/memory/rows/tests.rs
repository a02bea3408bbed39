//! Rows against the values they were made from, and against Arrow's own comparison.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryViewArray, BooleanArray, Decimal64Array, Decimal128Array, Float16Array,
    Float32Array, Float64Array, Int64Array, IntervalMonthDayNanoArray, ListArray, StringViewArray,
    make_comparator, new_empty_array,
};
use arrow::compute::{SortOptions, cast};
use arrow::datatypes::{DataType, Float64Type, IntervalMonthDayNano, IntervalUnit, TimeUnit};

use super::*;
use crate::batch::{
    Column, Half, Indices, KeyHasher, NULL_INDEX, all_rows, gather, physical_type, pick,
    with_float_keys,
};
use crate::memory::{Governor, GovernorOptions, Reservation};

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (self.0 ^ (self.0 >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 16
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn maybe<T>(&mut self, value: T) -> Option<T> {
        (self.below(5) > 0).then_some(value)
    }

    fn integer(&mut self) -> i64 {
        match self.below(8) {
            0 => i64::MIN,
            1 => i64::MAX,
            2 => (self.next() << 20) as i64,
            _ => self.below(7) as i64 - 3,
        }
    }

    fn float(&mut self) -> f64 {
        let special = [f64::NAN, -f64::NAN, 0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, 1.5, -1.5];
        special[self.below(8) as usize]
    }

    fn bytes(&mut self) -> Vec<u8> {
        let base = b"abcdefghijklmnopqrstuvwxyz\0\0";
        let len = [0, 1, 3, 11, 12, 13, 20, 28][self.below(8) as usize];
        let mut bytes = base[..len].to_vec();
        if let (true, Some(last)) = (self.below(2) == 0, bytes.last_mut()) {
            *last = b'a' + self.below(3) as u8;
        }
        bytes
    }
}

/// A logical type with a physical array of random values.
fn random_array(random: &mut Random, kind: usize, rows: usize) -> (DataType, ArrayRef) {
    let text = |random: &mut Random| {
        let value = random.bytes();
        random.maybe(String::from_utf8(value).expect("ascii"))
    };
    let int64 = |random: &mut Random, to: &DataType| -> ArrayRef {
        let values = (0..rows).map(|_| {
            let value = random.integer();
            random.maybe(value)
        });
        cast(&(Arc::new(Int64Array::from_iter(values)) as ArrayRef), to).expect("casts")
    };
    let small = |random: &mut Random, to: &DataType| -> ArrayRef {
        let values = (0..rows).map(|_| {
            let value = random.below(100) as i32;
            random.maybe(value)
        });
        cast(&(Arc::new(arrow::array::Int32Array::from_iter(values)) as ArrayRef), to)
            .expect("casts")
    };
    let timestamp = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    match kind {
        0 => (DataType::Int64, int64(random, &DataType::Int64)),
        1 => (timestamp.clone(), int64(random, &timestamp)),
        2 => (DataType::Date32, small(random, &DataType::Date32)),
        3 => (DataType::UInt16, small(random, &DataType::UInt16)),
        4 => (DataType::Int8, small(random, &DataType::Int8)),
        5 => {
            let values = (0..rows).map(|_| {
                let value = random.below(2) == 0;
                random.maybe(value)
            });
            (DataType::Boolean, Arc::new(BooleanArray::from_iter(values)))
        }
        6 => {
            let values = (0..rows).map(|_| {
                let value = random.float();
                random.maybe(value)
            });
            (DataType::Float64, Arc::new(Float64Array::from_iter(values)))
        }
        7 => {
            let values = (0..rows).map(|_| random.float() as f32).collect::<Vec<_>>();
            (DataType::Float32, Arc::new(Float32Array::from(values)))
        }
        8 => {
            let values = (0..rows).map(|_| Half::from_f64(random.float())).collect::<Vec<_>>();
            (DataType::Float16, Arc::new(Float16Array::from(values)))
        }
        9 => {
            let values = (0..rows).map(|_| text(random));
            (DataType::Utf8, Arc::new(StringViewArray::from_iter(values)))
        }
        10 => {
            let values = (0..rows).map(|_| Some(random.bytes()));
            (DataType::BinaryView, Arc::new(BinaryViewArray::from_iter(values)))
        }
        11 | 12 => {
            // The same logical type in both widths.
            let values: Vec<_> = (0..rows).map(|_| random.below(20) as i64 - 10).collect();
            let wide = Decimal128Array::from_iter_values(values.iter().map(|&v| i128::from(v)));
            let narrow = Decimal64Array::from(values);
            let logical = DataType::Decimal128(if kind == 11 { 12 } else { 30 }, 2);
            let array: ArrayRef = match random.below(2) {
                0 => Arc::new(wide.with_precision_and_scale(30, 2).expect("fits")),
                _ => Arc::new(narrow.with_precision_and_scale(18, 2).expect("fits")),
            };
            (logical, array)
        }
        13 => {
            let values = (0..rows).map(|_| {
                let (months, days) = (random.below(3) as i32 - 1, random.below(3) as i32 - 1);
                let value = IntervalMonthDayNano::new(months, days, random.integer());
                random.maybe(value)
            });
            let values = IntervalMonthDayNanoArray::from_iter(values);
            (DataType::Interval(IntervalUnit::MonthDayNano), Arc::new(values))
        }
        14 => {
            let lists = (0..rows).map(|_| {
                let items: Vec<_> = (0..random.below(3))
                    .map(|_| {
                        let value = random.float();
                        random.maybe(value)
                    })
                    .collect();
                random.maybe(items)
            });
            let array = ListArray::from_iter_primitive::<Float64Type, _, _>(lists);
            (array.data_type().clone(), Arc::new(array))
        }
        _ => (DataType::Null, arrow::array::new_null_array(&DataType::Null, rows)),
    }
}

const KINDS: usize = 16;

/// The array in a random form, with the rows it then has as a flat array.
fn random_form(random: &mut Random, logical: DataType, array: ArrayRef) -> (Column, ArrayRef) {
    let rows = array.len();
    let indices: Vec<u32> = (0..rows)
        .map(|_| match random.below(6) {
            0 => NULL_INDEX,
            _ => random.below(rows as u64) as u32,
        })
        .collect();
    match random.below(3) {
        0 => (Column::flat(logical, array.clone()), array),
        1 => {
            let one = array.slice(random.below(rows as u64) as usize, 1);
            let all = gather(&one, &Indices::new(vec![0; rows])).expect("gathers");
            (Column::constant(logical, one), all)
        }
        _ => {
            let indices = Arc::new(Indices::with_nulls(indices));
            let all = gather(&array, &indices).expect("gathers");
            (Column::indexed(logical, indices, array, None), all)
        }
    }
}

fn memory() -> Reservation {
    Governor::unlimited().reserve("test", 0).expect("unlimited")
}

/// Values as their logical type has them: decimals of one width.
fn canonical(logical: &DataType, array: &ArrayRef) -> ArrayRef {
    cast(array, &physical_type(logical)).expect("casts")
}

struct Table {
    logical: Vec<DataType>,
    columns: Vec<Column>,
    flat: Vec<ArrayRef>,
}

fn random_table(random: &mut Random, rows: usize) -> Table {
    let mut table = Table { logical: vec![], columns: vec![], flat: vec![] };
    for _ in 0..1 + random.below(9) {
        let kind = random.below(KINDS as u64) as usize;
        let (logical, array) = random_array(random, kind, rows);
        let (column, flat) = random_form(random, logical.clone(), array);
        table.flat.push(canonical(&logical, &flat));
        table.columns.push(column);
        table.logical.push(logical);
    }
    table
}

#[test]
fn rows_give_back_what_was_stored_wherever_their_pages_went() {
    for seed in 0..60 {
        let mut random = Random(seed);
        let rows = [1, 2, 100, 700][random.below(4) as usize];
        let table = random_table(&mut random, rows);
        let has_hash = seed % 2 == 1;
        let layout = match has_hash {
            true => RowLayout::with_hash(&table.logical, &[8, 4]),
            false => RowLayout::new(&table.logical, &[8, 4]),
        };
        let layout = Arc::new(layout.expect("a layout"));
        let mut pages = RowPages::new(layout.clone(), 4096);
        let mut memory = memory();
        let columns: Vec<&Column> = table.columns.iter().collect();
        let (mut refs, mut first) = (Vec::new(), Vec::new());
        let live: Vec<u32> = (0..rows as u32).filter(|_| random.below(3) > 0).collect();
        pages.append(&columns, &live, &mut memory, &mut first).expect("appends");
        pages.append(&columns, all_rows(rows), &mut memory, &mut refs).expect("appends");
        assert_eq!(memory.bytes(), pages.bytes());
        let slot = layout.slot(0);
        let hashes: Vec<u64> = (0..rows as u64).map(|i| (i * i) << 50 | i).collect();
        match has_hash {
            true => pages.set_hashes(&refs, slot, &hashes),
            false => pages.set_slots(&refs, slot, &hashes),
        }

        // Copy row by row, move by image, absorb.
        let mut copies = RowPages::new(layout.clone(), 4096);
        let mut copied = Vec::new();
        copies.append_rows(&pages, &refs, 0, &mut memory, &mut copied).expect("copies");
        let mut moved = RowPages::new(layout.clone(), 4096);
        for page in 0..copies.pages() {
            let image = copies.image(page).expect("a page");
            let bytes = [image.fixed, image.heap].concat();
            moved.push_image(image.rows, bytes).expect("a page");
        }
        let moved: Vec<RowRef> = {
            let behind = pages.absorb(moved);
            copied.iter().map(|row| row.behind(behind)).collect()
        };
        assert_eq!(pages.rows(), live.len() + 2 * rows);
        assert_eq!(pages.refs().count(), pages.rows());
        for (c, flat) in table.flat.iter().enumerate() {
            let stored = gather(flat, &Indices::new(live.clone())).expect("gathers");
            let got = pages.gather(c, &first).expect("gathers");
            got.to_data().validate_full().expect("valid");
            assert_eq!(&got, &stored, "seed {seed}, column {c}");
            assert_eq!(&pages.gather(c, &refs).expect("gathers"), flat, "seed {seed}");
            assert_eq!(&pages.gather(c, &moved).expect("gathers"), flat, "seed {seed}");
            let none = pages.gather(c, &[RowRef::NONE, refs[0]]).expect("gathers");
            let indices = Indices::with_nulls(vec![NULL_INDEX, 0]);
            assert_eq!(&none, &gather(flat, &indices).expect("gathers"));
        }
        assert!(moved.iter().zip(&hashes).all(|(&row, &hash)| match has_hash {
            true => pages.hash(row, slot) == hash >> 8 << 8,
            false => pages.slot(row, slot) == hash,
        }));
        let longest = moved.iter().map(|&row| pages.stored_bytes(row) - layout.width()).max();
        assert!(longest.is_none_or(|longest| longest <= copies.longest_heap()));
        assert!(copies.longest_heap() <= pages.longest_heap());
        assert!(pages.longest_heap() <= pages.longest_value());
    }
}

#[test]
fn equality_and_hashes_agree_with_the_order_of_keys() {
    for seed in 0..60 {
        let mut random = Random(1000 + seed);
        let table = random_table(&mut random, 60);
        // The same values again in another form, to be looked up.
        let other: Vec<Column> = table
            .logical
            .iter()
            .zip(&table.flat)
            .map(|(logical, flat)| match logical {
                DataType::Decimal128(..) => {
                    let wide = cast(flat, &DataType::Decimal128(38, 2)).expect("casts");
                    Column::flat(logical.clone(), wide)
                }
                _ => random_form(&mut random, logical.clone(), flat.clone()).0,
            })
            .collect();
        let keyed: Vec<Column> = table
            .logical
            .iter()
            .zip(&table.flat)
            .map(|(t, flat)| Column::flat(t.clone(), with_float_keys(flat).expect("keys")))
            .collect();
        let layout = Arc::new(RowLayout::new(&table.logical, &[]).expect("a layout"));
        let mut pages = RowPages::new(layout.clone(), 4096);
        let (mut refs, mut memory) = (Vec::new(), memory());
        let columns: Vec<&Column> = keyed.iter().collect();
        pages.append(&columns, all_rows(60), &mut memory, &mut refs).expect("appends");
        let (mut left, mut right) = (Vec::new(), Vec::new());
        let probes: Vec<&Column> = other.iter().collect();
        KeyHasher::new().hash(&columns, all_rows(60), &mut left).expect("hashes");
        KeyHasher::new().hash(&probes, all_rows(60), &mut right).expect("hashes");

        let order: Vec<RowOrder> = (0..columns.len())
            .map(|column| RowOrder {
                column,
                descending: false,
                nulls_first: false,
                nullable: true,
            })
            .collect();
        let mut probe_pages = RowPages::new(layout.clone(), 4096);
        let mut probe_refs = Vec::new();
        let probe_keys: Vec<Column> = other
            .iter()
            .map(|c| {
                let array = with_float_keys(&c.to_array(60).expect("flat")).expect("keys");
                Column::flat(c.logical().clone(), array)
            })
            .collect();
        let probe_keys: Vec<&Column> = probe_keys.iter().collect();
        probe_pages
            .append(&probe_keys, all_rows(60), &mut memory, &mut probe_refs)
            .expect("appends");

        let picked = pick(&other, all_rows(60));
        let keys: Vec<_> = picked.iter().zip(0..).collect();
        for shift in 0..60 {
            let candidates_of: Vec<RowRef> = (0..60).map(|i| refs[(i + shift) % 60]).collect();
            for nulls_equal in [true, false] {
                let (mut candidates, mut rejected) = ((0..60).collect::<Vec<u32>>(), Vec::new());
                pages
                    .split_equal(&keys, &candidates_of, nulls_equal, &mut candidates, &mut rejected)
                    .expect("compares");
                assert_eq!(candidates.len() + rejected.len(), 60);
                for i in 0..60 {
                    let stored = (i + shift) % 60;
                    let (a, b) = (probe_pages.at(probe_refs[i]), pages.at(refs[stored]));
                    let same = compare_rows(&layout, &order, a, b) == Ordering::Equal;
                    if same {
                        assert_eq!(left[stored], right[i], "seed {seed}: equal keys, other hashes");
                    }
                    let some_null = picked.iter().any(|p| p.is_null(i));
                    let equal = same && (nulls_equal || !some_null);
                    let found = candidates.contains(&(i as u32));
                    assert_eq!(found, equal, "seed {seed}, row {i}, {:?}", table.logical);
                }
            }
        }
    }
}

#[test]
fn sort_keys_and_rows_are_in_the_order_that_arrow_has() {
    for seed in 0..120 {
        let mut random = Random(5000 + seed);
        let rows = 50;
        let table = random_table(&mut random, rows);
        let layout = Arc::new(RowLayout::new(&table.logical, &[]).expect("a layout"));
        let mut pages = RowPages::new(layout.clone(), 4096);
        let (mut refs, mut memory) = (Vec::new(), memory());
        let keyed: Vec<Column> = (table.logical.iter().zip(&table.flat))
            .map(|(t, flat)| Column::flat(t.clone(), with_float_keys(flat).expect("keys")))
            .collect();
        let keyed: Vec<&Column> = keyed.iter().collect();
        pages.append(&keyed, all_rows(rows), &mut memory, &mut refs).expect("appends");
        let columns: Vec<&Column> = table.columns.iter().collect();
        // A list that is reversed has its NULL items first in Arrow, as have its own NULLs.
        let order: Vec<RowOrder> = (0..columns.len())
            .map(|column| {
                let nested = table.logical[column].is_nested();
                let descending = !nested && random.below(2) == 0;
                let nulls_first = !nested && random.below(2) == 0;
                RowOrder { column, descending, nulls_first, nullable: true }
            })
            .collect();
        let picked = pick(columns.iter().copied(), all_rows(rows));
        // Texts are as long as is said, or longer.
        let usual = |picked| longest(picked).map(|bytes| bytes.min(random.below(12) as usize));
        let lengths: Vec<Option<usize>> = picked.iter().map(usual).collect();
        let words_max = 1 + random.below(6) as usize;
        let key = match random.below(3) {
            0 => SortKey::new(&layout, &order, words_max),
            _ => SortKey::with_lengths(&layout, &order, words_max, &lengths),
        };
        let (key, mut words) = (key.expect("a key"), Vec::new());
        key.encode(&layout, &picked, &mut words).expect("encodes");
        let comparators: Vec<_> = order
            .iter()
            .zip(&table.flat)
            .map(|(by, flat)| {
                let flat = with_float_keys(flat).expect("keys");
                let (descending, nulls_first) = (by.descending, by.nulls_first);
                make_comparator(&flat, &flat, SortOptions { descending, nulls_first })
                    .expect("comparable")
            })
            .collect();
        let n = key.words();
        for a in 0..rows {
            for b in 0..rows {
                let expected = comparators.iter().map(|c| c(a, b)).find(|o| o.is_ne());
                let expected = expected.unwrap_or(Ordering::Equal);
                let (left, right) = (pages.at(refs[a]), pages.at(refs[b]));
                let got = compare_rows(&layout, &order, left, right);
                assert_eq!(got, expected, "seed {seed} rows {a} {b} {:?} {order:?}", table.logical);
                let (x, y) = (&words[a * n..][..n], &words[b * n..][..n]);
                let by_words = x.cmp(y);
                if by_words.is_ne() || !key.may_differ(x) {
                    assert_eq!(by_words, expected, "seed {seed} {:?} {order:?}", table.logical);
                } else {
                    assert_eq!(key.compare_rest(&layout, left, right), expected);
                }
            }
        }
    }
}

#[test]
fn large_values_have_pages_of_their_own_and_a_refusal_keeps_what_is_stored() {
    let layout = Arc::new(RowLayout::new(&[DataType::Utf8, DataType::Int64], &[]).expect("fits"));
    let texts: Vec<String> =
        (0..40).map(|i| "x".repeat(if i % 10 == 3 { 100_000 } else { i * 20 })).collect();
    let text = Column::flat(
        DataType::Utf8,
        Arc::new(StringViewArray::from(texts.iter().map(String::as_str).collect::<Vec<_>>())),
    );
    let number = Column::flat(DataType::Int64, Arc::new(Int64Array::from_iter_values(0..40)));
    let options = GovernorOptions { limit_bytes: Some(250_000), ..Default::default() };
    let governor = Governor::new(options);
    let mut memory = governor.reserve("rows", 0).expect("fits");
    let mut pages = RowPages::new(layout, 16 << 10);
    let mut refs = Vec::new();
    let stored = pages.append(&[&text, &number], all_rows(40), &mut memory, &mut refs);
    let stored = stored.expect("no error");
    assert!((4..33).contains(&stored), "{stored}");
    assert_eq!((refs.len(), pages.rows()), (stored, stored));
    assert!(pages.refs().eq(refs.iter().copied()), "in the order in which they came");
    let back = pages.gather(0, &refs).expect("gathers");
    assert_eq!(&back, &text.to_array(40).expect("flat").slice(0, stored));
    assert_eq!(memory.bytes(), pages.bytes());
    let bytes = pages.bytes();
    pages.clear();
    memory.shrink(bytes);
    let rest: Vec<u32> = (stored as u32..30).collect();
    refs.clear();
    let again = pages.append(&[&text, &number], &rest, &mut memory, &mut refs).expect("no error");
    assert_eq!(again, rest.len());
    assert_eq!(pages.gather(1, &refs[..1]).expect("gathers").len(), 1);
}

#[test]
fn a_decimal_beyond_its_precision_is_an_error_and_empty_input_is_nothing() {
    let logical = DataType::Decimal128(18, 0);
    let layout = Arc::new(RowLayout::new(std::slice::from_ref(&logical), &[]).expect("fits"));
    let mut pages = RowPages::new(layout, DEFAULT_PAGE_BYTES);
    let wide = Decimal128Array::from(vec![1_i128 << 90]).with_precision_and_scale(38, 0);
    let column = Column::flat(logical, Arc::new(wide.expect("fits")));
    let (mut memory, mut refs) = (memory(), Vec::new());
    assert!(pages.append(&[&column], &[0], &mut memory, &mut refs).is_err());
    assert_eq!(pages.append(&[&column], &[], &mut memory, &mut refs).expect("nothing"), 0);
    assert_eq!(pages.bytes(), 0);
    let empty = pages.gather(0, &[]).expect("empty");
    assert_eq!(&empty, &new_empty_array(&DataType::Decimal64(18, 0)));
}

#[test]
fn which_columns_are_null_takes_no_room_beside_a_hash_unless_they_are_many() {
    let width = |columns: usize, has_hash: bool| {
        let types = vec![DataType::Int64; columns];
        let layout = match has_hash {
            true => RowLayout::with_hash(&types, &[8]),
            false => RowLayout::new(&types, &[8]),
        };
        layout.expect("is one").width()
    };
    assert_eq!((width(1, true), width(1, false)), (16, 24));
    assert_eq!((width(8, true), width(8, false)), (72, 80));
    assert_eq!((width(9, true), width(9, false)), (88, 88));
}
