//! Random tables as rows of cells, and as chunks of every form.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, Decimal64Array, Decimal128Array,
    Float64Array, Float64Builder, Int32Array, Int64Array, ListArray, ListBuilder, StringViewArray,
    UInt64Array,
};
use arrow::datatypes::{
    DataType, Date32Type, Decimal64Type, Decimal128Type, Field, Float64Type, Int32Type, Int64Type,
    Schema, SchemaRef, UInt64Type,
};

use crate::batch::{Chunk, Column, Domain, Indices, NULL_INDEX, Place, Selection, gather};

/// A value.
#[derive(Debug, Clone)]
pub(super) enum Cell {
    Null,
    /// Integers, dates, and decimals without their point.
    Int(i128),
    Bool(bool),
    Float(f64),
    Text(String),
    List(Vec<f64>),
}

impl Cell {
    /// Whether two values are the same key; NULL is one.
    pub(super) fn same(&self, other: &Cell) -> bool {
        let float = |a: f64, b: f64| a == b || a.is_nan() && b.is_nan();
        match (self, other) {
            (Cell::Null, Cell::Null) => true,
            (Cell::Int(a), Cell::Int(b)) => a == b,
            (Cell::Bool(a), Cell::Bool(b)) => a == b,
            (Cell::Float(a), Cell::Float(b)) => float(*a, *b),
            (Cell::Text(a), Cell::Text(b)) => a == b,
            (Cell::List(a), Cell::List(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| float(*a, *b))
            }
            _ => false,
        }
    }
}

pub(super) type Row = Vec<Cell>;

/// Rows of these types.
pub(super) struct Table {
    pub(super) rows: Vec<Row>,
    pub(super) types: Vec<DataType>,
}

/// Numbers from a seed (a xorshift).
pub(super) struct Random {
    state: u64,
    /// Whether chunks get random forms.
    forms: bool,
}

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Random { state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, forms: true }
    }

    /// For chunks of flat columns without selection.
    pub(super) fn plain() -> Self {
        Random { forms: false, ..Random::new(1) }
    }

    fn next(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        (self.next() >> 11) as usize % end
    }
}

/// A type that a key may have.
pub(super) fn key_type(random: &mut Random) -> DataType {
    let item = Arc::new(Field::new_list_field(DataType::Float64, true));
    let types = [
        DataType::Int64,
        DataType::Int32,
        DataType::UInt64,
        DataType::Date32,
        DataType::Boolean,
        DataType::Decimal128(12, 2),
        DataType::Decimal128(38, 2),
        DataType::Float64,
        DataType::Utf8View,
        DataType::Utf8,
        DataType::List(item),
    ];
    types[random.below(types.len())].clone()
}

/// Keys of these types from about `spread` values each, and a number as the last column.
pub(super) fn table(keys: &[DataType], rows: usize, spread: usize, random: &mut Random) -> Table {
    let types: Vec<DataType> = keys.iter().cloned().chain([DataType::Int64]).collect();
    let row = |random: &mut Random| {
        let keys = keys.iter().map(|key| match random.below(12) {
            0 if spread > 1 => Cell::Null,
            _ => cell(key, random.below(spread), random),
        });
        let mut row: Row = keys.collect();
        row.push(Cell::Int(random.below(1000) as i128));
        row
    };
    Table { rows: (0..rows).map(|_| row(random)).collect(), types }
}

fn cell(data_type: &DataType, value: usize, random: &mut Random) -> Cell {
    let number = value as i128;
    match data_type {
        DataType::UInt64 => Cell::Int(number + (1 << 63) - 2),
        DataType::Boolean => Cell::Bool(value.is_multiple_of(2)),
        DataType::Decimal128(38, _) if value.is_multiple_of(3) => Cell::Int(number - (1 << 80)),
        DataType::Int64 | DataType::Int32 => Cell::Int(number - 10),
        DataType::Date32 | DataType::Decimal128(..) => Cell::Int(number * 100),
        DataType::Float64 => Cell::Float(float(value, random)),
        DataType::Utf8 | DataType::Utf8View => Cell::Text(match value % 3 {
            0 => format!("{value}"),
            1 => format!("a key of more than twelve bytes {value}"),
            _ => "x".repeat(value % 40),
        }),
        DataType::List(_) => Cell::List((0..value % 4).map(|i| float(i, random)).collect()),
        other => panic!("no cells of {other}"),
    }
}

fn float(value: usize, random: &mut Random) -> f64 {
    match value % 5 {
        0 if random.below(2) == 0 => -0.0,
        0 => 0.0,
        1 if random.below(2) == 0 => -f64::NAN,
        1 => f64::NAN,
        _ => value as f64 / 4.0,
    }
}

/// The schema of a table; everything is nullable.
pub(super) fn schema(table: &Table) -> SchemaRef {
    let field = |(i, t): (usize, &DataType)| Field::new(format!("c{i}"), t.clone(), true);
    Arc::new(Schema::new(table.types.iter().enumerate().map(field).collect::<Vec<_>>()))
}

/// The table as chunks of up to `most` live rows, with columns of all forms and dead rows, a few
/// chunks a morsel.
pub(super) fn chunks(table: &Table, most: usize, random: &mut Random) -> Vec<Chunk> {
    let mut rest = &table.rows[..];
    let (mut out, mut morsel) = (Vec::new(), 0);
    while !rest.is_empty() {
        let rows = if random.forms { 1 + random.below(most) } else { most };
        let (own, after) = rest.split_at(rows.min(rest.len()));
        rest = after;
        if random.below(3) == 0 {
            morsel += 1 + random.below(2) as u64;
        }
        out.push(chunk(own, &table.types, Place { morsel, sequence: 0 }, random));
    }
    out
}

fn chunk(rows: &[Row], types: &[DataType], place: Place, random: &mut Random) -> Chunk {
    let with_dead = random.forms && random.below(2) == 0;
    let (mut all, mut live) = (Vec::new(), Vec::new());
    for row in rows {
        while with_dead && random.below(3) == 0 {
            all.push(rows[random.below(rows.len())].clone());
        }
        live.push(all.len() as u32);
        all.push(row.clone());
    }
    let columns = types.iter().enumerate().map(|(i, t)| {
        let cells: Vec<&Cell> = all.iter().map(|row| &row[i]).collect();
        column(&cells, t, random)
    });
    let chunk = Chunk::new(columns.collect(), all.len(), place);
    if live.len() < all.len() { chunk.select(Selection::new(live)) } else { chunk }
}

fn column(cells: &[&Cell], data_type: &DataType, random: &mut Random) -> Column {
    let flat = array(cells, data_type, random);
    let rows = cells.len();
    match random.below(4) {
        0 | 1 if random.forms => {
            // Values in another order, some twice, and NULLs by index or by value.
            let mut order: Vec<u32> = (0..rows as u32).chain(0..rows as u32 / 2).collect();
            (1..order.len()).for_each(|i| order.swap(i, random.below(i + 1)));
            let base = gather(&flat, &Indices::new(order.clone())).expect("gathers");
            let find = |row: usize| match cells[row] {
                Cell::Null if row.is_multiple_of(2) => NULL_INDEX,
                _ => order.iter().position(|&o| o as usize == row).expect("present") as u32,
            };
            let indices = Indices::with_nulls((0..rows).map(find).collect::<Vec<_>>());
            let domain = (random.below(2) == 0).then(Domain::unique);
            Column::indexed(data_type.clone(), Arc::new(indices), base, domain)
        }
        2 if cells.windows(2).all(|w| w[0].same(w[1])) => {
            Column::constant(data_type.clone(), flat.slice(0, 1))
        }
        _ => Column::flat(data_type.clone(), flat),
    }
}

fn array(cells: &[&Cell], data_type: &DataType, random: &mut Random) -> ArrayRef {
    let int = |cell: &&Cell| match cell {
        Cell::Int(v) => Some(*v),
        _ => None,
    };
    let ints = || cells.iter().map(int);
    match data_type {
        DataType::Int64 => Arc::new(Int64Array::from_iter(ints().map(|v| v.map(|v| v as i64)))),
        DataType::Int32 => Arc::new(Int32Array::from_iter(ints().map(|v| v.map(|v| v as i32)))),
        DataType::UInt64 => Arc::new(UInt64Array::from_iter(ints().map(|v| v.map(|v| v as u64)))),
        DataType::Date32 => Arc::new(Date32Array::from_iter(ints().map(|v| v.map(|v| v as i32)))),
        DataType::Boolean => Arc::new(BooleanArray::from_iter(cells.iter().map(|c| match c {
            Cell::Bool(v) => Some(*v),
            _ => None,
        }))),
        DataType::Decimal128(p, s) => {
            let narrow = ints().flatten().all(|v| i64::try_from(v).is_ok());
            if narrow && random.below(2) == 0 {
                let values = ints().map(|v| v.map(|v| v as i64));
                let array: Decimal64Array = values.collect();
                Arc::new(array.with_precision_and_scale((*p).min(18), *s).expect("valid"))
            } else {
                let array: Decimal128Array = ints().collect();
                Arc::new(array.with_precision_and_scale(*p, *s).expect("valid"))
            }
        }
        DataType::Float64 => Arc::new(Float64Array::from_iter(cells.iter().map(|c| match c {
            Cell::Float(v) => Some(*v),
            _ => None,
        }))),
        DataType::Utf8 | DataType::Utf8View => {
            Arc::new(StringViewArray::from_iter(cells.iter().map(|c| match c {
                Cell::Text(v) => Some(v.as_str()),
                _ => None,
            })))
        }
        DataType::List(_) => list(cells),
        other => panic!("no arrays of {other}"),
    }
}

fn list(cells: &[&Cell]) -> ArrayRef {
    let mut builder = ListBuilder::new(Float64Builder::new());
    for cell in cells {
        match cell {
            Cell::List(values) => {
                values.iter().for_each(|v| builder.values().append_value(*v));
                builder.append(true);
            }
            _ => builder.append(false),
        }
    }
    let list: ListArray = builder.finish();
    Arc::new(list)
}

/// The live rows of a chunk.
pub(super) fn cells(chunk: &Chunk) -> Vec<Row> {
    assert!(chunk.rows() <= crate::batch::MAX_CHUNK_ROWS);
    let mut rows = vec![Row::new(); chunk.live_rows()];
    for index in 0..chunk.columns().len() {
        let array = chunk.live_array(index).expect("gathers");
        rows.iter_mut().enumerate().for_each(|(i, row)| row.push(cell_of(&array, i)));
    }
    rows
}

fn cell_of(array: &ArrayRef, row: usize) -> Cell {
    if array.is_null(row) {
        return Cell::Null;
    }
    let int = |v: i64| Cell::Int(v.into());
    match array.data_type() {
        DataType::Int64 => int(array.as_primitive::<Int64Type>().value(row)),
        DataType::Int32 => int(array.as_primitive::<Int32Type>().value(row).into()),
        DataType::UInt64 => Cell::Int(array.as_primitive::<UInt64Type>().value(row).into()),
        DataType::Date32 => int(array.as_primitive::<Date32Type>().value(row).into()),
        DataType::Decimal64(..) => int(array.as_primitive::<Decimal64Type>().value(row)),
        DataType::Decimal128(..) => Cell::Int(array.as_primitive::<Decimal128Type>().value(row)),
        DataType::Boolean => Cell::Bool(array.as_boolean().value(row)),
        DataType::Float64 => Cell::Float(array.as_primitive::<Float64Type>().value(row)),
        DataType::Utf8View => Cell::Text(array.as_string_view().value(row).to_string()),
        DataType::List(_) => {
            let values = array.as_list::<i32>().value(row);
            Cell::List(values.as_primitive::<Float64Type>().values().to_vec())
        }
        other => panic!("no cells of {other}"),
    }
}
