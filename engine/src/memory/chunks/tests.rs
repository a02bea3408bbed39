//! Tests of `chunks`: what is kept comes back, from memory and from tape.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryViewArray, BooleanArray, Decimal64Array, Decimal128Array,
    FixedSizeBinaryArray, Float64Array, Int32Array, Int64Array, ListArray, MapArray, NullArray,
    StringViewArray, StructArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Int32Type};

use super::block::{self, Put, Take};
use super::writer::SPILL_BYTES;
use super::{ChunkReader, ChunkStore};
use crate::batch::{CHUNK_ROWS, Chunk, Column, Place, Selection};
use crate::error::{Error, Result};
use crate::memory::{Governor, GovernorOptions};

/// Numbers without a pattern.
fn random(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below.max(1)
    }
}

fn some<T>(next: &mut impl FnMut(u64) -> u64, value: impl FnOnce(u64) -> T) -> Option<T> {
    let number = next(1 << 40);
    (!number.is_multiple_of(7)).then(|| value(number))
}

/// Arrays of this many rows, one of every kind that has buffers of its own.
fn arrays(rows: usize, seed: u64) -> Vec<ArrayRef> {
    let mut n = random(seed);
    let text = |n: u64| "x".repeat((n % 40) as usize) + &n.to_string();
    let ints: Int64Array = (0..rows).map(|_| some(&mut n, |v| v as i64 - (1 << 39))).collect();
    let bools: BooleanArray = (0..rows).map(|_| some(&mut n, |v| v % 2 == 0)).collect();
    let floats: Float64Array = (0..rows).map(|_| some(&mut n, |v| v as f64 / 3.0)).collect();
    let narrow: Decimal64Array = (0..rows).map(|_| some(&mut n, |v| v as i64)).collect();
    let wide: Decimal128Array = (0..rows).map(|_| some(&mut n, |v| i128::from(v) << 40)).collect();
    let texts: StringViewArray = (0..rows).map(|_| some(&mut n, text)).collect();
    let bytes: BinaryViewArray =
        (0..rows).map(|_| some(&mut n, |v| text(v).into_bytes())).collect();
    let fixed = (0..rows).map(|_| some(&mut n, |v| (v as u32).to_le_bytes()));
    let fixed = FixedSizeBinaryArray::try_from_sparse_iter_with_size(fixed, 4).expect("widths");
    let list =
        |n: &mut dyn FnMut(u64) -> u64| (0..n(5)).map(|_| Some(n(100) as i32)).collect::<Vec<_>>();
    let lists = (0..rows).map(|_| (n(9) > 0).then(|| list(&mut n))).collect::<Vec<_>>();
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>(lists);
    let inner: ArrayRef = Arc::new(texts.clone());
    let field = Arc::new(Field::new("t", DataType::Utf8View, true));
    let structs = StructArray::from(vec![(field, inner)]);
    vec![
        Arc::new(ints),
        Arc::new(bools),
        Arc::new(floats),
        Arc::new(narrow.with_precision_and_scale(18, 2).expect("fits")),
        Arc::new(wide.with_precision_and_scale(38, 4).expect("fits")),
        Arc::new(texts),
        Arc::new(bytes),
        Arc::new(fixed),
        Arc::new(lists),
        Arc::new(structs),
        Arc::new(map(rows, &mut n)),
        Arc::new(NullArray::new(rows)),
    ]
}

fn map(rows: usize, n: &mut impl FnMut(u64) -> u64) -> MapArray {
    let lengths: Vec<usize> = (0..rows).map(|_| n(3) as usize).collect();
    let total: usize = lengths.iter().sum();
    let keys = StringViewArray::from_iter_values((0..total).map(|i| format!("k{i}")));
    let values: Int32Array = (0..total as i32).map(Some).collect();
    let fields = vec![
        Arc::new(Field::new("keys", DataType::Utf8View, false)),
        Arc::new(Field::new("values", DataType::Int32, true)),
    ];
    let entries = StructArray::new(fields.into(), vec![Arc::new(keys), Arc::new(values)], None);
    let field = Arc::new(Field::new("entries", entries.data_type().clone(), false));
    MapArray::new(field, OffsetBuffer::from_lengths(lengths), entries, None, false)
}

impl Put for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.extend_from_slice(bytes);
        Ok(())
    }
}

/// Bytes that come in pieces of at most so many.
struct Pieces<'a> {
    rest: &'a [u8],
    piece: usize,
}

impl Take for Pieces<'_> {
    fn part(&mut self, most: usize) -> Result<&[u8]> {
        self.rest.part(most.min(self.piece))
    }
}

#[test]
fn arrays_and_slices_of_them_survive_as_blocks() {
    for (rows, seed) in [(0, 1), (1, 2), (77, 3), (1000, 4)] {
        for array in arrays(rows, seed) {
            for (from, len) in [(0, rows), (rows / 3, rows / 2)] {
                let slice = array.slice(from, len);
                for given in [slice.clone(), block::owned(&slice).expect("copies")] {
                    let mut bytes = Vec::new();
                    block::encode(&given, &mut bytes).expect("encodes");
                    for piece in [usize::MAX, 64, 3] {
                        let mut pieces = Pieces { rest: &bytes, piece };
                        let back = block::decode(array.data_type(), &mut pieces);
                        let back = back.expect("decodes");
                        assert_eq!(&back, &slice, "{}", array.data_type());
                        let mut cut = Pieces { rest: &bytes[..bytes.len() - 1], piece };
                        let cut = block::decode(array.data_type(), &mut cut);
                        assert!(cut.is_err(), "{}", array.data_type());
                    }
                }
            }
        }
    }
}

#[test]
fn what_is_kept_pins_little_more_than_its_rows() {
    let texts: StringViewArray =
        (0..10_000).map(|n| Some(format!("a long text {n:>20}"))).collect();
    let numbers: Int64Array = (0..10_000).map(Some).collect();
    let nested: ArrayRef = Arc::new(StructArray::from(vec![(
        Arc::new(Field::new("t", DataType::Utf8View, true)),
        Arc::new(texts.clone()) as ArrayRef,
    )]));
    for array in [Arc::new(texts) as ArrayRef, Arc::new(numbers), nested] {
        let kept = block::owned(&array.slice(5_000, 10)).expect("copies");
        assert!(kept.get_array_memory_size() < 4_000, "{}", kept.get_array_memory_size());
    }
}

/// The types that arrays of [`arrays`] have as columns.
fn types() -> Vec<DataType> {
    arrays(0, 0).iter().map(|array| array.data_type().clone()).collect()
}

fn chunk(rows: usize, place: Place, seed: u64) -> Chunk {
    let columns = arrays(rows, seed).into_iter();
    let columns = columns.map(|array| Column::flat(array.data_type().clone(), array));
    Chunk::new(columns.collect(), rows, place)
}

/// Rows as text, column by column.
fn rows_of(chunks: &[Chunk]) -> Vec<Vec<String>> {
    let width = chunks.first().map_or(0, |chunk| chunk.columns().len());
    let mut columns = vec![Vec::new(); width];
    for chunk in chunks {
        for (at, column) in columns.iter_mut().enumerate() {
            let array = chunk.live_array(at).expect("a column");
            column.extend((0..array.len()).map(|row| format!("{:?}", array.slice(row, 1))));
        }
    }
    columns
}

fn governor(limit: Option<usize>) -> Governor {
    Governor::new(GovernorOptions { limit_bytes: limit, ..Default::default() })
}

#[test]
fn chunks_come_back_in_order_from_memory_and_from_tape() {
    for limit in [None, Some(400 << 10)] {
        let governor = governor(limit);
        let store = ChunkStore::new("kept", types(), &governor).expect("opens");
        let mut given = Vec::new();
        let mut writers = [store.writer().expect("opens"), store.writer().expect("opens")];
        let mut n = random(9);
        for morsel in 0..24 {
            let writer = &mut writers[n(2) as usize];
            for sequence in 0..3 {
                let rows = [3, 700, 2500][n(3) as usize];
                let chunk = chunk(rows, Place { morsel, sequence }, n(1000));
                let live = (0..rows as u32).filter(|_| n(4) > 0).collect::<Vec<_>>();
                let chunk = chunk.select(Selection::new(live));
                writer.push(chunk.clone()).expect("keeps");
                given.push(chunk);
            }
        }
        for writer in writers {
            store.add(writer).expect("keeps");
        }
        store.seal();
        assert_eq!(governor.spill().usage().used > 0, limit.is_some());
        assert!(limit.is_none_or(|limit| governor.usage().peak_reserved <= limit));
        let live: usize = given.iter().map(Chunk::live_rows).sum();
        assert_eq!(store.rows(), live as u64);
        for columns in [(0..12).collect::<Vec<_>>(), vec![5, 0], vec![9], vec![]] {
            let mut reader = ChunkReader::new(store.clone(), columns.clone());
            let read = |n| reader.read(n, Place::default()).expect("reads");
            let back: Vec<Chunk> = (0..store.chunks()).map(read).collect();
            assert!(back.iter().all(|chunk| chunk.rows() <= CHUNK_ROWS));
            assert_eq!(back.iter().map(Chunk::rows).sum::<usize>(), live);
            let expected = rows_of(&given);
            let found = rows_of(&back);
            for (at, &column) in columns.iter().enumerate() {
                assert_eq!(found[at], expected[column], "column {column}");
            }
        }
        drop(store);
        assert_eq!((governor.reserved(), governor.spill().usage().used), (0, 0));
    }
}

#[test]
fn idle_chunks_give_way_and_are_still_read() {
    let governor = governor(Some(1 << 20));
    let store = ChunkStore::new("kept", vec![DataType::Int64], &governor).expect("opens");
    let mut writer = store.writer().expect("opens");
    for morsel in 0..20u32 {
        let values: Int64Array = (0..4096).map(|v| Some(v + i64::from(morsel))).collect();
        let column = Column::flat(DataType::Int64, Arc::new(values));
        let place = Place { morsel: u64::from(morsel), sequence: 0 };
        writer.push(Chunk::new(vec![column], 4096, place)).expect("keeps");
    }
    store.add(writer).expect("keeps");
    store.seal();
    let held = store.memory_bytes();
    assert!(held > 600 << 10 && governor.spill().usage().used == 0, "{held}");
    let mut other = governor.reserve("other", 0).expect("opens");
    assert!(other.try_grow(500 << 10), "idle chunks are moved out");
    assert!(store.memory_bytes() < held && governor.spill().usage().used > 0);
    let mut reader = ChunkReader::new(store.clone(), vec![0]);
    for number in 0..store.chunks() {
        let chunk = reader.read(number, Place::default()).expect("reads");
        let values = chunk.live_array(0).expect("a column");
        let first = Int64Array::from_iter_values([number as i64]);
        assert_eq!(&values.slice(0, 1), &(Arc::new(first) as ArrayRef));
    }
    drop((reader, store, other));
    assert_eq!((governor.reserved(), governor.spill().usage().used), (0, 0));
}

#[test]
fn decimals_of_two_widths_are_kept_side_by_side() {
    let governor = governor(None);
    let logical = DataType::Decimal128(30, 2);
    let store = ChunkStore::new("kept", vec![logical.clone()], &governor).expect("opens");
    let mut writer = store.writer().expect("opens");
    let narrow = Decimal64Array::from(vec![150]).with_precision_and_scale(18, 2).expect("fits");
    let wide = Decimal128Array::from(vec![1 << 80]).with_precision_and_scale(38, 2).expect("fits");
    for (sequence, array) in [Arc::new(narrow) as ArrayRef, Arc::new(wide)].into_iter().enumerate()
    {
        let column = Column::flat(logical.clone(), array);
        let place = Place { morsel: 0, sequence: sequence as u32 };
        writer.push(Chunk::new(vec![column], 1, place)).expect("keeps");
    }
    store.add(writer).expect("keeps");
    store.seal();
    assert_eq!((store.rows(), store.chunks()), (2, 2));
}

#[test]
fn chunks_are_kept_over_every_budget_beside_somebody_who_takes_the_rest() {
    let text = |row: usize| "wide ".repeat(row % 3 * 1000) + &row.to_string();
    let chunk = |morsel: usize, rows: usize| {
        let texts: StringViewArray = (0..rows).map(|row| Some(text(row + morsel))).collect();
        let numbers: Int64Array = (0..rows).map(|row| Some((row * morsel) as i64)).collect();
        let columns = vec![
            Column::flat(DataType::Utf8View, Arc::new(texts)),
            Column::flat(DataType::Int64, Arc::new(numbers)),
        ];
        Chunk::new(columns, rows, Place { morsel: morsel as u64 / 4, sequence: morsel as u32 % 4 })
    };
    let given: Vec<Chunk> = (0..40).map(|n| chunk(n, [3, 40, 700][n % 3])).collect();
    let expected = rows_of(&given);
    // The store and its writer each have a minimum, and a reader has its window.
    let minimum = 2 * SPILL_BYTES;
    for budget in [60, 150, 191, 192, 193, 256, 400, 800, 2000, 20_000].map(|kb| kb << 10) {
        let governor = governor(Some(budget));
        let run = || -> Result<Arc<ChunkStore>> {
            let types = vec![DataType::Utf8View, DataType::Int64];
            let store = ChunkStore::new("kept", types, &governor)?;
            let mut writer = store.writer()?;
            for chunk in &given {
                // Others take what there is, and leave some of it again.
                let mut other = governor.reserve("other", 0)?;
                while other.grow(4 << 10).is_ok() {}
                writer.push(chunk.clone())?;
            }
            store.add(writer)?;
            store.seal();
            Ok(store)
        };
        let store = match run() {
            Ok(store) => store,
            Err(Error::OutOfMemory { .. }) if budget < minimum => continue,
            Err(error) => panic!("{budget}: {error}"),
        };
        assert!(budget >= minimum, "{budget}");
        assert!(governor.usage().peak_reserved <= budget);
        let mut reader = ChunkReader::new(store.clone(), vec![0, 1]);
        let read = |n| reader.read(n, Place::default()).expect("reads");
        let back: Vec<Chunk> = (0..store.chunks()).map(read).collect();
        assert_eq!(rows_of(&back), expected, "{budget}");
        drop((reader, store));
        assert_eq!((governor.reserved(), governor.spill().usage().used), (0, 0));
    }
}
