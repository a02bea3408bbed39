//! Kernels over one chunk: conditions, arithmetic, hashes of keys, gathering.

use std::hint::black_box;

use arrow::datatypes::DataType;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gristmill::Result;
use gristmill_benches::{or_exit, rows};
use gristmill_engine::batch::{Chunk, Indices, KeyHasher, MAX_CHUNK_ROWS, Place, gather};
use gristmill_engine::expr::{
    ArithmeticOp, CompareOp, Conjunction, Evaluator, Expr, Literal, MatchKind, Value,
};
use gristmill_engine::memory::Governor;

const KEY: usize = 0;
const BUCKET: usize = 1;
const AMOUNT: usize = 2;
const MEASURE: usize = 3;
const NAME: usize = 5;

fn column(chunk: &Chunk, index: usize) -> Result<Expr> {
    Ok(Expr::column(index, chunk.column(index)?.logical().clone()))
}

fn compare(op: CompareOp, left: Expr, right: Literal) -> Expr {
    Expr::Compare { op, left: left.into(), right: Expr::Literal(right).into() }
}

fn conditions(c: &mut Criterion) -> Result<()> {
    let chunk = Chunk::from_batch(&rows(MAX_CHUNK_ROWS, 1)?, Place::default())?;
    let half = MAX_CHUNK_ROWS as i64 / 2;
    let half = || compare(CompareOp::Less, Expr::column(KEY, DataType::Int64), Literal::int(half));
    let text =
        |text: &str| Literal { value: Value::Text(text.into()), data_type: DataType::Utf8View };
    let like = |pattern: &str| -> Result<Expr> {
        Ok(Expr::Match {
            kind: MatchKind::Like,
            input: column(&chunk, NAME)?.into(),
            pattern: Expr::Literal(text(pattern)).into(),
            escape: None,
            negated: false,
        })
    };
    let is_name = compare(CompareOp::Equal, column(&chunk, NAME)?, text("name 7xxx"));
    let cases = [
        ("key < half", half()),
        ("key < half AND name = text", Expr::And(vec![half(), is_name.clone()])),
        ("key < half OR name = text", Expr::Or(vec![half(), is_name])),
        ("measure IS NULL", Expr::IsNull(column(&chunk, MEASURE)?.into())),
        ("name LIKE 'name 7%'", like("name 7%")?),
        ("name LIKE '%7x%xx%'", like("%7x%xx%")?),
    ];
    let mut group = c.benchmark_group("conditions");
    group.throughput(Throughput::Elements(MAX_CHUNK_ROWS as u64));
    for (name, condition) in cases {
        let mut filter = Conjunction::new(vec![condition], &Governor::new(Default::default()));
        group.bench_function(name, |b| b.iter(|| black_box(filter.select(&chunk))));
    }
    group.finish();
    Ok(())
}

fn arithmetic(c: &mut Criterion) -> Result<()> {
    let chunk = Chunk::from_batch(&rows(MAX_CHUNK_ROWS, 1)?, Place::default())?;
    let of = |op: ArithmeticOp, index: usize, data_type: DataType| -> Result<Expr> {
        let side = column(&chunk, index)?;
        Ok(Expr::Arithmetic { op, left: side.clone().into(), right: side.into(), data_type })
    };
    let cases = [
        ("key + key", of(ArithmeticOp::Add, KEY, DataType::Int64)?),
        ("measure * measure", of(ArithmeticOp::Multiply, MEASURE, DataType::Float64)?),
        ("amount * amount", of(ArithmeticOp::Multiply, AMOUNT, DataType::Decimal128(31, 4))?),
    ];
    let mut group = c.benchmark_group("arithmetic");
    group.throughput(Throughput::Elements(MAX_CHUNK_ROWS as u64));
    for (name, expr) in cases {
        let mut evaluator = Evaluator::new(&[expr], &Governor::new(Default::default()));
        group.bench_function(name, |b| b.iter(|| black_box(evaluator.evaluate(&chunk, 0)).is_ok()));
    }
    group.finish();
    Ok(())
}

fn keys(c: &mut Criterion) -> Result<()> {
    let chunk = Chunk::from_batch(&rows(MAX_CHUNK_ROWS, 1)?, Place::default())?;
    let all: Vec<u32> = (0..MAX_CHUNK_ROWS as u32).collect();
    let cases = [("key", vec![KEY]), ("bucket, key", vec![BUCKET, KEY]), ("name", vec![NAME])];
    let mut group = c.benchmark_group("hashes");
    group.throughput(Throughput::Elements(MAX_CHUNK_ROWS as u64));
    for (name, columns) in cases {
        let columns = columns.into_iter().map(|index| chunk.column(index));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let (mut hasher, mut hashes) = (KeyHasher::new(), Vec::new());
        group.bench_function(name, |b| {
            b.iter(|| black_box(hasher.hash(&columns, &all, &mut hashes)).is_ok());
        });
    }
    group.finish();
    let mut group = c.benchmark_group("gather");
    group.throughput(Throughput::Elements(MAX_CHUNK_ROWS as u64));
    let indices = Indices::new(all.into_iter().rev().collect::<Vec<_>>());
    for (name, index) in [("key", KEY), ("amount", AMOUNT), ("name", NAME)] {
        let values = chunk.column(index)?.values().clone();
        group.bench_function(name, |b| b.iter(|| black_box(gather(&values, &indices)).is_ok()));
    }
    group.finish();
    Ok(())
}

fn all(c: &mut Criterion) {
    for part in [conditions, arithmetic, keys] {
        or_exit(part(c));
    }
}

criterion_group!(kernels, all);
criterion_main!(kernels);
