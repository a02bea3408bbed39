//! Texts of all lengths: blocks are cut by what they take, and pages have room before they are
//! read.

use std::sync::Mutex;

use super::*;
use crate::memory::{GovernorOptions, Reservation, Revocable};

/// Row `i` has a number, and a text of one of several lengths that go on for many rows.
fn texts(rows: usize) -> RecordBatch {
    let length = |i: usize| match i / 500 {
        0 | 3 | 7 => 5,
        1 | 6 => 20_000 + noise(i, 3000) as usize,
        2 => noise(i, 2500) as usize,
        _ => noise(i, 60) as usize,
    };
    let text = |i: usize| (noise(i, 26) as u8 + b'a') as char;
    let strings = with_nulls(rows, 11, |i| text(i).to_string().repeat(length(i)));
    let lists = strings.iter().map(|s| s.as_ref().map(|s| vec![Some(s.len() as i32); s.len() % 5]));
    let columns: Vec<ArrayRef> = vec![
        Arc::new((0..rows as i64).collect::<Int64Array>()),
        Arc::new(strings.iter().map(Option::as_deref).collect::<StringArray>()),
        Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(lists)),
    ];
    let fields: Vec<Field> = ["i", "s", "l"]
        .iter()
        .zip(&columns)
        .map(|(name, column)| Field::new(*name, column.data_type().clone(), true))
        .collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("batch")
}

fn properties(page_bytes: usize) -> WriterProperties {
    WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_dictionary_enabled(false)
        .set_data_page_size_limit(page_bytes)
        .set_write_batch_size(16)
        .set_max_row_group_row_count(Some(3700))
        .build()
}

fn text_bytes(chunk: &Chunk) -> usize {
    let array = chunk.column(1).expect("text").to_array(chunk.rows()).expect("array");
    let strings = array.as_string_view();
    strings.iter().map(|s| s.map_or(0, str::len)).sum()
}

#[test]
fn blocks_have_few_long_texts_and_many_short_ones() {
    let directory = tempfile::tempdir().expect("directory");
    let batch = texts(5000);
    for page_bytes in [10_000, 200_000, 100 << 20] {
        let file = write(
            &directory.path().join("f"),
            std::slice::from_ref(&batch),
            properties(page_bytes),
        );
        let mut scan = scan_of(&file);
        let all = expected(std::slice::from_ref(&batch), &scan);
        assert_eq!(rows(&scan, 2).expect("reads"), all, "{page_bytes}");
        let chunks = chunks(&open(&scan).expect("opens"), 1).expect("reads");
        // Where a page has all sizes, nothing says which are where.
        let most = if page_bytes > 1 << 20 { usize::MAX } else { (1 << 20) + 2 * page_bytes };
        let largest = chunks.iter().map(text_bytes).max().unwrap_or(0);
        assert!(largest <= most, "{largest} {page_bytes}");
        assert!(chunks.len() > 20 && chunks.iter().any(|chunk| chunk.rows() > 100));
        for limit in [40, 1_700, 4_400] {
            let literal = Literal { data_type: DataType::Int64, value: ExprValue::Int(limit) };
            let column = Expr::column(0, DataType::Int64);
            scan.predicates = vec![compare(CompareOp::GreaterOrEqual, column, literal)];
            let from = limit as usize;
            assert_eq!(rows(&scan, 2).expect("reads"), all.slice(from, 5000 - from), "{limit}");
        }
    }
}

#[test]
fn a_page_has_room_before_it_is_read_and_workers_that_have_none_do_not_begin() {
    let directory = tempfile::tempdir().expect("directory");
    let file = write(&directory.path().join("f"), &[texts(3000)], properties(100 << 20));
    let scan = scan_of(&file);
    let begin = |limit_bytes: usize| {
        let options = GovernorOptions { limit_bytes: Some(limit_bytes), ..Default::default() };
        let (cancel, memory) = (Cancel::new(), Governor::new(options));
        let query = Arc::new(Query { cancel, ..Query::alone(memory, 2) });
        let cx = Context { query: query.clone(), order: Order::new(), worker: 0 };
        let source = Scan::open(&scan, &mut Build::new(query)).expect("opens");
        let first = source.worker(&cx).map(drop);
        let both = source.worker(&cx).and_then(|first| Ok((first, source.worker(&cx)?)));
        (first, both.map(drop), cx.memory().reserved())
    };
    // The texts of 500 rows of 20,000 bytes, and more, in one page.
    let (first, both, _) = begin(8 << 20);
    let error = first.expect_err("no room").to_string();
    assert!(error.contains("pages") && error.contains("MB") && both.is_err(), "{error}");
    let (first, both, left) = begin(15 << 20);
    first.expect("has room");
    let error = both.expect_err("no room for two");
    assert!(matches!(error, Error::OutOfMemory { .. }), "{error}");
    assert_eq!(left, 0);
    let (first, both, _) = begin(60 << 20);
    first.and(both).expect("room for two");
}

/// Rows that somebody works on, who takes what memory there is.
struct AtWork(Mutex<Reservation>);

impl AtWork {
    /// Takes all but so many bytes.
    fn take_all_but(&self, left: usize) {
        let mut held = self.0.lock().expect("free");
        let memory = held.governor().clone();
        let free = memory.limit() - memory.reserved();
        let _ = held.grow(free.saturating_sub(left));
    }
}

impl Revocable for AtWork {
    fn revocable_bytes(&self) -> usize {
        self.0.try_lock().map_or(0, |held| held.bytes())
    }

    fn revoke(&self, wanted: usize) -> Result<usize> {
        let Ok(mut held) = self.0.try_lock() else { return Ok(0) };
        let freed = wanted.min(held.bytes());
        held.shrink(freed);
        held.settle();
        Ok(freed)
    }

    fn is_at_work(&self) -> bool {
        true
    }
}

#[test]
fn all_workers_but_one_give_way_where_pages_take_the_memory_of_others() {
    let directory = tempfile::tempdir().expect("directory");
    let batch = texts(30_000);
    let file = write(&directory.path().join("f"), &[batch], properties(200_000));
    let scan = scan_of(&file);
    for (left, enough) in [(16 << 10, false), (8 << 20, true)] {
        let options = GovernorOptions { limit_bytes: Some(60 << 20), ..Default::default() };
        let query = Arc::new(Query::alone(Governor::new(options), 3));
        let cx = Context { query: query.clone(), order: Order::new(), worker: 0 };
        let source = Scan::open(&scan, &mut Build::new(query)).expect("opens");
        let workers: Result<Vec<_>> = (0..3).map(|_| source.worker(&cx)).collect();
        let mut workers: Vec<_> = workers.expect("have room").into_iter().map(Some).collect();
        let held = cx.memory().reserve("rows", 0).expect("asks for nothing");
        let at_work = Arc::new(AtWork(Mutex::new(held)));
        let state: Arc<dyn Revocable> = at_work.clone();
        at_work.0.lock().expect("free").offer(Arc::downgrade(&state));
        let (mut rows, mut alone) = (0, 0);
        while workers.iter().any(Option::is_some) {
            for worker in 0..workers.len() {
                let is_alone = workers.iter().flatten().count() == 1;
                let Some(own) = &mut workers[worker] else { continue };
                at_work.take_all_but(left);
                match own.pull(&cx).expect("others give way") {
                    Pull::Finished => workers[worker] = None,
                    Pull::Chunk(chunk) => {
                        rows += chunk.live_rows();
                        alone += usize::from(is_alone) * chunk.live_rows();
                    }
                    _ => {}
                }
            }
        }
        assert_eq!(rows, 30_000);
        assert_eq!(alone < 10_000, enough, "{alone} rows by one alone");
    }
}

#[test]
fn workers_begin_where_the_largest_pages_of_all_columns_have_room_for_each() {
    let directory = tempfile::tempdir().expect("directory");
    // Columns of 600 KB for each row group, in one page, and the same in small pages.
    let column = |seed: usize| -> ArrayRef {
        Arc::new((0..150_000).map(|i| noise(i + seed, 1 << 40) as i64).collect::<Int64Array>())
    };
    let columns: Vec<(String, ArrayRef)> =
        (0..10).map(|c| (format!("c{c}"), column(c * 7))).collect();
    let batch = RecordBatch::try_from_iter(columns).expect("batch");
    for (page_bytes, together) in [(100 << 20, false), (20 << 10, true)] {
        let properties = WriterProperties::builder()
            .set_dictionary_enabled(false)
            .set_data_page_size_limit(page_bytes)
            .set_write_batch_size(512)
            .set_data_page_row_count_limit(usize::MAX)
            .set_max_row_group_row_count(Some(75_000))
            .build();
        let file = write(&directory.path().join("f"), std::slice::from_ref(&batch), properties);
        let scan = scan_of(&file);
        let options = GovernorOptions { limit_bytes: Some(22 << 20), ..Default::default() };
        let query = Arc::new(Query::alone(Governor::new(options), 2));
        let cx = Context { query: query.clone(), order: Order::new(), worker: 0 };
        let source = Scan::open(&scan, &mut Build::new(query)).expect("opens");
        let mut first = source.worker(&cx).expect("has room");
        let second = source.worker(&cx);
        assert_eq!(second.is_ok(), together, "{page_bytes}");
        drop(second);
        let mut rows = 0;
        loop {
            match first.pull(&cx).expect("has room") {
                Pull::Finished => break,
                Pull::Chunk(chunk) => rows += chunk.live_rows(),
                _ => {}
            }
        }
        assert_eq!(rows, 150_000);
    }
}
