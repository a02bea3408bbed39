//! What is dropped has enough rows before it, whatever the keys and however little room there is.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int32Array, StringViewArray};
use arrow::datatypes::{Field, Schema};

use super::*;
use crate::batch::{Column, Place};
use crate::memory::{Governor, GovernorOptions};
use crate::pipeline::{Order, Query};

fn context(limit_bytes: Option<usize>) -> Context {
    let memory = Governor::new(GovernorOptions { limit_bytes, ..Default::default() });
    let query = Query::alone(memory, 1);
    Context { query: Arc::new(query), order: Order::new(), worker: 0 }
}

/// Numbers without a pattern.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % end
    }
}

/// A partition, a text of it and a key of each kind; small numbers, the order of which is that of
/// the values, and `None` for NULL.
type Row = [Option<u64>; 3];

fn text(value: u64) -> String {
    // Some are longer than words and differ at their end only.
    if value.is_multiple_of(3) { format!("{:0>60}", value) } else { format!("~{value:03}") }
}

/// By which numbers texts are ordered.
fn text_rank(value: u64) -> u64 {
    if value.is_multiple_of(3) { value } else { 1000 + value }
}

fn chunk(rows: &[Row], morsel: u64) -> Chunk {
    let ints: Int32Array = rows.iter().map(|r| r[0].map(|v| v as i32)).collect();
    let texts: StringViewArray = rows.iter().map(|r| r[1].map(text)).collect();
    let floats: Float64Array = rows.iter().map(|r| r[2].map(|v| v as f64 / 4.0)).collect();
    let arrays: [ArrayRef; 3] = [Arc::new(ints), Arc::new(texts), Arc::new(floats)];
    let columns = arrays.map(|array| Column::flat(logical(&array), array));
    Chunk::new(columns.into(), rows.len(), Place { morsel, sequence: 0 })
}

fn logical(array: &ArrayRef) -> DataType {
    match array.data_type() {
        DataType::Utf8View => DataType::Utf8,
        other => other.clone(),
    }
}

/// Whether `a` is before `b`, or after it, by the keys.
fn compare(spec: &PartitionTopK, a: &Row, b: &Row) -> std::cmp::Ordering {
    let by = |key: &SortKey| {
        let value = |row: &Row| match key.column {
            1 => row[1].map(text_rank),
            other => row[other],
        };
        let (a, b) = (value(a), value(b));
        let nulls = match key.nulls_first {
            true => a.is_some().cmp(&b.is_some()),
            false => a.is_none().cmp(&b.is_none()),
        };
        nulls.then(if key.descending { b.cmp(&a) } else { a.cmp(&b) })
    };
    spec.keys.iter().map(by).fold(std::cmp::Ordering::Equal, std::cmp::Ordering::then)
}

/// Whether the row of this number, of all rows in order, may be left out.
fn may_be_dropped(spec: &PartitionTopK, rows: &[Row], number: usize) -> bool {
    let own = &rows[number];
    let is_same = |row: &&Row| spec.partition.iter().all(|&column| row[column] == own[column]);
    let before: Vec<&Row> =
        rows.iter().filter(is_same).filter(|row| compare(spec, row, own).is_lt()).collect();
    let count = match spec.counted {
        Counted::Others => before.len(),
        Counted::Rows => {
            let peers = rows[..number].iter().filter(is_same);
            before.len() + peers.filter(|row| compare(spec, row, own).is_eq()).count()
        }
        Counted::Groups => {
            let mut groups: Vec<&Row> = Vec::new();
            for row in before {
                if !groups.iter().any(|group| compare(spec, group, row).is_eq()) {
                    groups.push(row);
                }
            }
            groups.len()
        }
    };
    count as u64 >= spec.count
}

fn random_spec(numbers: &mut Numbers) -> PartitionTopK {
    let counted = [Counted::Rows, Counted::Others, Counted::Groups];
    let mut key = |column: usize| SortKey {
        column,
        descending: numbers.below(2) == 0,
        nulls_first: numbers.below(2) == 0,
    };
    let keys = [vec![], vec![key(2)], vec![key(1)], vec![key(2), key(1)], vec![key(1), key(2)]];
    let partitions = [vec![], vec![0], vec![1], vec![0, 1], vec![1, 0]];
    PartitionTopK {
        partition: partitions[numbers.below(5) as usize].clone(),
        keys: keys[numbers.below(5) as usize].clone(),
        count: 1 + numbers.below(4),
        counted: counted[numbers.below(3) as usize],
    }
}

/// The numbers of the rows that come out.
fn kept(spec: &PartitionTopK, chunks: &[(Vec<Row>, u64)], cx: &Context) -> Vec<usize> {
    let types = [DataType::Int32, DataType::Utf8, DataType::Float64];
    let fields = types.into_iter().enumerate();
    let fields: Vec<Field> = fields.map(|(i, t)| Field::new(format!("c{i}"), t, true)).collect();
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    let partition = spec.partition.iter().map(|&column| SortKey {
        column,
        descending: false,
        nulls_first: true,
    });
    let transform = PartitionTopKTransform {
        partition: Arc::new(Normal::new(partition, &schema, PARTITION_WORDS).expect("words")),
        order: Arc::new(Normal::new(spec.keys.iter().copied(), &schema, 2).expect("words")),
        count: spec.count,
        counted: spec.counted,
    };
    let mut worker = transform.worker(cx).expect("a worker");
    let (mut kept, mut first) = (Vec::new(), 0);
    for (rows, morsel) in chunks {
        match worker.push(chunk(rows, *morsel), cx).expect("pushes") {
            Pushed::Chunk(out) => {
                kept.extend(out.live_positions().iter().map(|&row| first + row as usize));
            }
            Pushed::NeedInput => {}
            _ => panic!("rows or none"),
        }
        first += rows.len();
    }
    kept
}

fn chunks_of(numbers: &mut Numbers, rows: &[Row]) -> Vec<(Vec<Row>, u64)> {
    let (mut chunks, mut rest, mut morsel) = (Vec::new(), rows, 0);
    while !rest.is_empty() {
        let (front, behind) = rest.split_at((1 + numbers.below(60) as usize).min(rest.len()));
        chunks.push((front.to_vec(), morsel));
        morsel += numbers.below(2);
        rest = behind;
    }
    chunks
}

#[test]
fn what_is_dropped_has_enough_rows_before_it() {
    let mut dropped = 0;
    for seed in 0..400 {
        let mut numbers = Numbers(seed);
        let spec = random_spec(&mut numbers);
        let (partitions, values) = (1 + numbers.below(150), 1 + numbers.below(40));
        let mut value = |end| Some(numbers.below(end)).filter(|_| numbers.below(9) > 0);
        let rows: Vec<Row> =
            (0..400).map(|_| [value(partitions), value(values), value(values)]).collect();
        let chunks = chunks_of(&mut numbers, &rows);
        // At times there is room for a few partitions, or for none.
        let limit = [None, Some(1 << 20), Some(400 << 10), Some(1000)][seed as usize % 4];
        let cx = context(limit);
        let kept = kept(&spec, &chunks, &cx);
        dropped += rows.len() - kept.len();
        for number in (0..rows.len()).filter(|number| !kept.contains(number)) {
            assert!(may_be_dropped(&spec, &rows, number), "seed {seed} row {number}\n{spec:?}");
        }
        assert_eq!(cx.memory().reserved(), 0, "memory is left");
    }
    assert!(dropped > 20_000, "{dropped} of 160000 rows were dropped");
}

#[test]
fn rows_of_a_morsel_before_those_seen_are_not_behind_their_peers() {
    let spec =
        PartitionTopK { partition: vec![0], keys: Vec::new(), count: 1, counted: Counted::Rows };
    let rows: Vec<Row> = vec![[Some(1), None, None]; 3];
    let chunks = [(rows.clone(), 5), (rows.clone(), 5), (rows.clone(), 4), (rows, 6)];
    assert_eq!(kept(&spec, &chunks, &context(None)), [0, 6]);
}

#[test]
fn it_stops_where_every_row_is_before_the_others() {
    let spec = PartitionTopK {
        partition: Vec::new(),
        keys: vec![SortKey { column: 0, descending: true, nulls_first: false }],
        count: 2,
        counted: Counted::Rows,
    };
    let rows = (0..TRIAL_ROWS as u64 + 1000).map(|n| [Some(n), None, None]);
    let rows: Vec<Row> = rows.collect();
    let mut chunks: Vec<(Vec<Row>, u64)> = rows.chunks(2000).map(|c| (c.to_vec(), 0)).collect();
    // Behind all of them: passes, because nobody looks any more.
    chunks.push((vec![[Some(0), None, None]], 0));
    let kept = kept(&spec, &chunks, &context(None));
    assert_eq!(kept.len(), rows.len() + 1);
}
