//! Tables of random files of several formats against the rows they were written from.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex};

use arrow::array::{Array, Int64Array, RecordBatch, StringViewArray};
use arrow::compute::concat_batches;
use parquet::arrow::ArrowWriter;

use super::super::json::{JsonColumn, Layout, Shape};
use super::super::parquet::Footer;
use super::scan::Scan;
use super::*;
use crate::expr::CompareOp;
use crate::memory::Governor;
use crate::pipeline::{Context, Order, Pull, Query, Source};
use crate::scheduler::Cancel;
use crate::sources::{JsonScan, ParquetScan};

fn query(threads: usize) -> Arc<Query> {
    let (cancel, memory) = (Cancel::new(), Governor::unlimited());
    Arc::new(Query { cancel, ..Query::alone(memory, threads) })
}

/// All rows in the order of their morsels.
fn rows(scan: &FilesScan, threads: usize) -> Result<RecordBatch> {
    let query = query(threads);
    let schema = scan.schema(&[])?;
    let source = Scan::new(scan.clone().pruned(&query.memory)?, &mut Build::new(query.clone()))?;
    let found: Mutex<BTreeMap<u64, Vec<RecordBatch>>> = Mutex::default();
    let work = |worker: usize| -> Result<()> {
        let cx = Context { query: query.clone(), order: Order::new(), worker };
        let mut worker = source.worker(&cx)?;
        let mut last = 0;
        loop {
            let morsel = match worker.pull(&cx)? {
                Pull::Finished => return Ok(()),
                Pull::Blocked(_) => {
                    std::thread::yield_now();
                    continue;
                }
                Pull::Morsel(morsel) => morsel,
                Pull::Chunk(chunk) => {
                    let mut found = found.lock().expect("no panic");
                    let morsel = chunk.place().morsel;
                    found.entry(morsel).or_default().push(chunk.to_batch(&schema)?);
                    morsel
                }
            };
            assert!(morsel >= last, "morsels of a worker increase");
            last = morsel;
        }
    };
    std::thread::scope(|scope| {
        let work = &work;
        let handles: Vec<_> = (0..threads).map(|w| scope.spawn(move || work(w))).collect();
        handles.into_iter().try_for_each(|handle| handle.join().expect("no panic"))
    })?;
    let batches: Vec<_> = found.into_inner().expect("no panic").into_values().flatten().collect();
    Ok(concat_batches(&schema, &batches)?)
}

fn column(name: &str, data_type: DataType) -> TableColumn {
    TableColumn { name: name.to_string(), data_type, nullable: true }
}

/// A file of rows `from..to` with a column of numbers, and one of texts where it has any.
fn file(path: &Path, from: i64, to: i64, has_text: bool) -> RecordBatch {
    let numbers = Arc::new(Int64Array::from_iter_values(from..to)) as Arc<dyn Array>;
    let texts: StringViewArray = (from..to).map(|n| Some(format!("text {n}"))).collect();
    let mut columns = vec![("n", numbers, true)];
    if has_text {
        columns.insert(0, ("t", Arc::new(texts), true));
    }
    let batch = RecordBatch::try_from_iter_with_nullable(columns).expect("a batch");
    if path.extension().is_some_and(|e| e == "parquet") {
        let to = File::create(path).expect("creates");
        let mut writer = ArrowWriter::try_new(to, batch.schema(), None).expect("a writer");
        writer.write(&batch).expect("writes");
        writer.close().expect("closes");
    } else {
        let line = |n| match has_text {
            true => format!("{{\"t\":\"text {n}\",\"n\":{n}}}\n"),
            false => format!("{{\"n\":{n}}}\n"),
        };
        std::fs::write(path, (from..to).map(line).collect::<String>()).expect("writes");
    }
    batch
}

fn parquet(path: &Path) -> Reader {
    let file = FileRef::of(path).expect("is there");
    let footer = Footer::read(&file, &Governor::unlimited()).expect("reads");
    let columns = match footer.schema().fields().len() {
        2 => vec![PartColumn::Stored(1), PartColumn::Stored(0), PartColumn::Constant(0)],
        _ => vec![PartColumn::Stored(0), PartColumn::Missing, PartColumn::Constant(0)],
    };
    let scan = FileScan::Parquet(ParquetScan::new(Vec::new(), footer.schema()));
    Reader { scan, columns }
}

fn json(path: &Path) -> Reader {
    let shape = |name: &str, data_type| JsonColumn {
        name: name.to_string(),
        shape: Shape::Plain(data_type),
        detected: true,
    };
    let columns = vec![shape("t", DataType::Utf8View), shape("n", DataType::Int64)];
    let file = FileRef::of(path).expect("is there");
    let scan = FileScan::Json(JsonScan::new(file, Layout::Lines, columns));
    let columns = vec![PartColumn::Stored(1), PartColumn::Stored(0), PartColumn::Constant(0)];
    Reader { scan, columns }
}

struct Table {
    _directory: tempfile::TempDir,
    scan: FilesScan,
    /// Number, text and part of each row.
    expected: Vec<(i64, Option<String>, i64)>,
}

/// A table of files with `sizes` rows each, of both formats, some without texts.
fn table(sizes: &[i64]) -> Table {
    let directory = tempfile::tempdir().expect("directory");
    let (mut readers, mut parts, mut expected) = (Vec::new(), Vec::new(), Vec::new());
    let mut next = 0;
    for (number, &size) in sizes.iter().enumerate() {
        let ending = if number % 3 == 2 { "ndjson" } else { "parquet" };
        let has_text = number % 2 == 0 || ending == "ndjson";
        let path = directory.path().join(format!("{number:04}.{ending}"));
        file(&path, next, next + size, has_text);
        readers.push(if ending == "ndjson" { json(&path) } else { parquet(&path) });
        let file = FileRef::of(&path).expect("is there");
        let constants = vec![Literal::int(number as i64 % 4)];
        parts.push(Part { file, reader: number, constants });
        let text = |n| has_text.then(|| format!("text {n}"));
        expected.extend((next..next + size).map(|n| (n, text(n), number as i64 % 4)));
        next += size;
    }
    let columns = vec![
        column("n", DataType::Int64),
        column("t", DataType::Utf8View),
        column("part", DataType::Int64),
    ];
    let files = parts.len();
    let scan = FilesScan {
        readers,
        parts,
        columns,
        projection: vec![0, 1, 2],
        predicates: Vec::new(),
        key_filters: Vec::new(),
        files,
    };
    Table { _directory: directory, scan, expected }
}

fn batch_of(rows: &[(i64, Option<String>, i64)], schema: &SchemaRef) -> RecordBatch {
    let numbers = Int64Array::from_iter_values(rows.iter().map(|row| row.0));
    let texts: StringViewArray = rows.iter().map(|row| row.1.as_deref()).collect();
    let parts = Int64Array::from_iter_values(rows.iter().map(|row| row.2));
    let columns: Vec<Arc<dyn Array>> = vec![Arc::new(numbers), Arc::new(texts), Arc::new(parts)];
    RecordBatch::try_new(schema.clone(), columns).expect("a batch")
}

fn compare(op: CompareOp, column: usize, value: i64) -> Expr {
    Expr::Compare {
        op,
        left: Box::new(Expr::column(column, DataType::Int64)),
        right: Box::new(Expr::Literal(Literal::int(value))),
    }
}

#[test]
fn rows_of_all_files_come_in_order_with_constants_and_missing_columns() {
    for sizes in [&[][..], &[5], &[0, 0, 0], &[10, 0, 4000, 1, 9000, 3, 0, 50]] {
        let mut table = table(sizes);
        let schema = table.scan.table_schema();
        let all = batch_of(&table.expected, &schema);
        for threads in [1, 2, 5] {
            assert_eq!(rows(&table.scan, threads).expect("reads"), all, "{sizes:?}");
        }
        table.scan.projection = vec![2, 0, 0];
        let some = all.project(&[2, 0, 0]).expect("projects");
        assert_eq!(rows(&table.scan, 3).expect("reads"), some);
        table.scan.projection = vec![2];
        table.scan.predicates = vec![compare(CompareOp::Less, 0, 3000)];
        let passed = table.expected.iter().filter(|row| row.0 < 3000).count();
        assert_eq!(rows(&table.scan, 3).expect("reads").num_rows(), passed);
        table.scan.predicates = vec![Expr::IsNull(Box::new(Expr::column(1, DataType::Utf8View)))];
        let passed = table.expected.iter().filter(|row| row.1.is_none()).count();
        assert_eq!(rows(&table.scan, 3).expect("reads").num_rows(), passed);
    }
}

#[test]
fn files_that_their_constants_rule_out_are_not_opened() {
    let mut table = table(&[10, 20, 30, 40, 50]);
    table.scan.predicates =
        vec![compare(CompareOp::Equal, 2, 0), compare(CompareOp::GreaterOrEqual, 0, 5)];
    // These would fail if they were opened.
    for part in table.scan.parts.iter().filter(|part| part.constants != [Literal::int(0)]) {
        std::fs::remove_file(&part.file.path).expect("removes");
    }
    let expected: Vec<_> =
        table.expected.iter().filter(|row| row.2 == 0 && row.0 >= 5).cloned().collect();
    let expected = batch_of(&expected, &table.scan.table_schema());
    assert_eq!(rows(&table.scan, 2).expect("reads"), expected);
    assert_eq!(
        table.scan.clone().pruned(&Governor::new(Default::default())).expect("prunes").parts.len(),
        2
    );
    table.scan.predicates.clear();
    assert!(matches!(rows(&table.scan, 1), Err(Error::Io { .. })));
}

#[test]
fn plans_survive_json_and_name_files() {
    let table = table(&[1, 2, 3, 4, 5]);
    let json = table.scan.to_json().expect("writes");
    let read = FilesScan::from_json(json, &Functions::default()).expect("reads");
    let any: &dyn std::any::Any = read.as_ref();
    let read = any.downcast_ref::<FilesScan>().expect("a scan");
    assert_eq!(read.parts, table.scan.parts);
    assert_eq!(rows(read, 2).expect("reads"), rows(&table.scan, 2).expect("reads"));
    let explained: BTreeMap<_, _> = table.scan.explain().into_iter().collect();
    assert!(explained["files"].starts_with("5 parquet"), "{explained:?}");
    assert!(explained["paths"].ends_with("and 2 more"), "{explained:?}");
}
