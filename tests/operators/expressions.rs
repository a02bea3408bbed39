//! Random expressions over random chunks, compared with their naive meaning row by row: values are
//! equal in live rows, and there is an error exactly when a live row has one.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Decimal64Array};
use arrow::datatypes::{DataType, Decimal128Type};
use gristmill_engine::batch::{
    Chunk, Column, Domain, Indices, NULL_INDEX, Place, Selection, to_physical, widen_decimal,
};
use gristmill_engine::expr::{
    ArithmeticOp, CompareOp, Conjunction, Evaluator, Expr, Literal, MatchKind, Value as Exact,
};
use gristmill_engine::memory::Governor;
use gristmill_engine::{Error, Result};
use gristmill_tests::generate;
use gristmill_tests::random::Random;
use gristmill_tests::reference::expr::{Failure, evaluate};
use gristmill_tests::reference::value::{self, Row, Value};

const SEEDS: u64 = 400;
const EXPRESSIONS: usize = 12;

const PRICE: DataType = DataType::Decimal128(9, 2);
const AMOUNT: DataType = DataType::Decimal128(30, 4);
const TYPES: &[DataType] = &[
    DataType::Boolean,
    DataType::Int32,
    DataType::Int64,
    DataType::Float64,
    DataType::Date32,
    PRICE,
    AMOUNT,
    DataType::Utf8View,
];

fn evaluator(expr: &Expr) -> Evaluator {
    Evaluator::new(std::slice::from_ref(expr), &Governor::new(Default::default()))
}

/// The value of a single expression, for all rows at once.
fn values_of(evaluator: &mut Evaluator, chunk: &Chunk) -> Result<Column> {
    let piece = evaluator.evaluate(chunk, 0)?;
    assert!(piece.rows.is_none());
    Ok(piece.value.into_iter().next().expect("one column"))
}

#[test]
fn expressions_mean_what_their_rows_say() {
    let mut errors = 0;
    for seed in 0..SEEDS {
        let mut random = Random::new(seed);
        let mut tables = Tables::new(&mut random);
        let exprs: Vec<Expr> = (0..EXPRESSIONS)
            .map(|_| {
                let wanted = random.pick(TYPES).clone();
                Generator { random: &mut random, types: &tables.types }.expr(&wanted, 4)
            })
            .collect();
        let mut evaluators: Vec<Evaluator> = exprs.iter().map(evaluator).collect();
        for round in 0..4 {
            let (chunk, rows) = tables.chunk(&mut random);
            for (expr, evaluator) in exprs.iter().zip(&mut evaluators) {
                let expected: Vec<_> = rows.iter().map(|row| evaluate(expr, row)).collect();
                let found = values_of(evaluator, &chunk).and_then(|c| chunk.live_values(&c));
                let found = found.map(|array| value::column(array.as_ref()));
                let context = format!("seed {seed}, round {round}: {expr}");
                errors += usize::from(found.is_err());
                check(found, &expected, &rows, &context);
            }
        }
    }
    assert!(errors > 100, "the generator makes expressions that fail: {errors}");
}

#[test]
fn conjunctions_pass_the_rows_for_which_all_is_true() {
    for seed in 0..SEEDS {
        let mut random = Random::new(seed ^ 0xf11e);
        let mut tables = Tables::new(&mut random);
        let count = 1 + random.below(4);
        let conditions: Vec<Expr> = (0..count)
            .map(|_| {
                let mut generator = Generator { random: &mut random, types: &tables.types };
                generator.expr(&DataType::Boolean, 3)
            })
            .collect();
        let mut filter = Conjunction::new(conditions.clone(), &Governor::new(Default::default()));
        for round in 0..40 {
            let (chunk, rows) = tables.chunk(&mut random);
            let expected: Vec<_> = rows.iter().map(|row| passes(&conditions, row)).collect();
            let found = filter.select(&chunk).map(|selection| {
                let before: Vec<u32> = live_rows(&chunk);
                let after = selection.map_or(before.clone(), |s| s.as_slice().to_vec());
                before.iter().map(|row| Value::Bool(after.contains(row))).collect()
            });
            let text: Vec<String> = conditions.iter().map(ToString::to_string).collect();
            let context = format!("seed {seed}, round {round}: {}", text.join(" AND "));
            check(found, &expected, &rows, &context);
        }
    }
}

/// Whether a row passes; conditions that can fail come last and are asked only if all before
/// them are true.
fn passes(conditions: &[Expr], row: &Row) -> Result<Value, Failure> {
    let mut flat = Vec::new();
    conditions.iter().for_each(|condition| flatten(condition, &mut flat));
    let (last, first): (Vec<&Expr>, Vec<&Expr>) = flat.into_iter().partition(|e| e.is_fallible());
    for condition in first.into_iter().chain(last) {
        if !matches!(evaluate(condition, row)?, Value::Bool(true)) {
            return Ok(Value::Bool(false));
        }
    }
    Ok(Value::Bool(true))
}

fn flatten<'a>(expr: &'a Expr, into: &mut Vec<&'a Expr>) {
    match expr {
        Expr::And(list) => list.iter().for_each(|expr| flatten(expr, into)),
        other => into.push(other),
    }
}

fn check(
    found: Result<Vec<Value>, Error>,
    expected: &[Result<Value, Failure>],
    rows: &[Row],
    context: &str,
) {
    let must_fail = expected.iter().any(|e| matches!(e, Err(Failure::Certain)));
    let may_fail = expected.iter().any(Result::is_err);
    match found {
        Err(Error::Input { .. }) if may_fail => {}
        Err(error) => panic!("{context}\nno row fails, but: {error}"),
        Ok(_) if must_fail => {
            let row = expected.iter().position(|e| matches!(e, Err(Failure::Certain)));
            panic!("{context}\nno error for {:?}", row.map(|row| &rows[row]));
        }
        Ok(found) => {
            assert_eq!(found.len(), expected.len(), "{context}");
            for ((found, expected), row) in found.iter().zip(expected).zip(rows) {
                let Ok(expected) = expected else { continue };
                let (found, expected) = (found.canonical(), expected.canonical());
                assert_eq!(found, expected, "{context}\nfor {row:?}");
            }
        }
    }
}

fn live_rows(chunk: &Chunk) -> Vec<u32> {
    match chunk.selection() {
        Some(selection) => selection.as_slice().to_vec(),
        None => (0..chunk.rows() as u32).collect(),
    }
}

/// Makes chunks of the same column types: every form of column, with and without a selection.
struct Tables {
    types: Vec<DataType>,
    dictionaries: HashMap<usize, (Domain, ArrayRef)>,
}

impl Tables {
    fn new(random: &mut Random) -> Tables {
        let count = 3 + random.below(5);
        let types = (0..count).map(|_| random.pick(TYPES).clone()).collect();
        Tables { types, dictionaries: HashMap::new() }
    }

    /// A chunk and the values of its live rows.
    fn chunk(&mut self, random: &mut Random) -> (Chunk, Vec<Row>) {
        let rows = *random.pick(&[0, 1, 3, 70, 70, 300, 1500]);
        let types = self.types.clone();
        let columns: Vec<Column> =
            types.iter().enumerate().map(|(i, t)| self.column(random, i, t, rows)).collect();
        let chunk = Chunk::new(columns, rows, Place::default());
        let chunk = match random.below(4) {
            0 => chunk,
            share => {
                let percent = [90, 30, 3][share - 1];
                let live = (0..rows as u32).filter(|_| random.chance(percent)).collect();
                chunk.select(Selection::new(live))
            }
        };
        let columns: Vec<Vec<Value>> = (0..types.len())
            .map(|i| value::column(chunk.live_array(i).expect("gathers").as_ref()))
            .collect();
        let row = |r: usize| columns.iter().map(|column| column[r].clone()).collect();
        let live = (0..chunk.live_rows()).map(row).collect();
        (chunk, live)
    }

    fn column(
        &mut self,
        random: &mut Random,
        number: usize,
        data_type: &DataType,
        rows: usize,
    ) -> Column {
        let logical = data_type.clone();
        match random.below(5) {
            0 => {
                let value = some_width(random, values(random_clone(random), data_type, 1));
                Column::constant(logical, value)
            }
            1 => {
                let base = values(random_clone(random), data_type, rows / 3 + 1);
                Column::indexed(logical, indices(random, rows, base.len()), base, None)
            }
            2 => {
                // Usually the dictionary of the chunk before.
                let fresh = random.chance(20);
                let len = 1 + random.below(60);
                let make = || (Domain::unique(), values(random_clone(random), data_type, len));
                if fresh {
                    self.dictionaries.insert(number, make());
                }
                let (domain, base) = self.dictionaries.entry(number).or_insert_with(make).clone();
                Column::indexed(logical, indices(random, rows, base.len()), base, Some(domain))
            }
            _ => {
                let array = values(random_clone(random), data_type, rows);
                Column::flat(logical, some_width(random, array))
            }
        }
    }
}

/// A generator of its own, so that closures can hold it.
fn random_clone(random: &Random) -> Random {
    let mut own = random.clone();
    Random::new(own.bits())
}

fn indices(random: &mut Random, rows: usize, len: usize) -> Arc<Indices> {
    let nulls = *random.pick(&[0, 0, 20]);
    // Leave some values without a row.
    let len = if random.chance(50) { len.div_ceil(2) } else { len };
    let row = |random: &mut Random| {
        if random.chance(nulls) { NULL_INDEX } else { random.below(len) as u32 }
    };
    Arc::new(Indices::with_nulls((0..rows).map(|_| row(random)).collect::<Vec<_>>()))
}

fn values(mut random: Random, data_type: &DataType, rows: usize) -> ArrayRef {
    to_physical(&generate::array(&mut random, data_type, rows)).expect("converts")
}

/// A decimal in 64 or 128 bits, whatever its type.
fn some_width(random: &mut Random, array: ArrayRef) -> ArrayRef {
    match array.data_type() {
        DataType::Decimal64(..) if random.chance(30) => widen_decimal(&array),
        DataType::Decimal128(_, scale) if random.chance(50) => {
            let wide = array.as_primitive::<Decimal128Type>();
            let narrow: Result<Decimal64Array, _> = wide.try_unary(i64::try_from);
            match narrow.map(|n| n.with_precision_and_scale(18, *scale)) {
                Ok(Ok(narrow)) => Arc::new(narrow),
                _ => array,
            }
        }
        _ => array,
    }
}

/// Makes expressions over columns of these types.
struct Generator<'a> {
    random: &'a mut Random,
    types: &'a [DataType],
}

impl Generator<'_> {
    fn expr(&mut self, wanted: &DataType, depth: usize) -> Expr {
        if depth == 0 || self.random.chance(15) {
            return self.leaf(wanted);
        }
        if self.random.chance(12) {
            return self.case(wanted, depth - 1);
        }
        match wanted {
            DataType::Boolean => self.condition(depth - 1),
            DataType::Int32 | DataType::Int64 => match self.random.below(4) {
                0 => {
                    let from = self.random.pick(TYPES).clone();
                    self.cast_from(&from, wanted, depth - 1)
                }
                1 => Expr::Negate(self.expr(wanted, depth - 1).into()),
                _ => self.arithmetic(wanted, depth - 1),
            },
            DataType::Float64 => match self.random.below(3) {
                0 => {
                    let from = self.random.pick(&[DataType::Int64, PRICE, AMOUNT]).clone();
                    self.cast_from(&from, wanted, depth - 1)
                }
                1 => Expr::Negate(self.expr(wanted, depth - 1).into()),
                _ => self.arithmetic(wanted, depth - 1),
            },
            DataType::Decimal128(..) => {
                let inner = self.decimal(depth - 1);
                self.cast(inner, wanted)
            }
            DataType::Utf8View => {
                let from = self.random.pick(&[DataType::Int64, DataType::Int32]).clone();
                self.cast_from(&from, wanted, depth - 1)
            }
            _ => self.leaf(wanted),
        }
    }

    fn leaf(&mut self, wanted: &DataType) -> Expr {
        let columns: Vec<usize> =
            (0..self.types.len()).filter(|&i| self.types[i] == *wanted).collect();
        if !columns.is_empty() && self.random.chance(80) {
            return Expr::column(*self.random.pick(&columns), wanted.clone());
        }
        Expr::Literal(self.literal(wanted))
    }

    fn literal(&mut self, wanted: &DataType) -> Literal {
        let array = values(random_clone(self.random), wanted, 1);
        self.random.bits();
        let value = match value::column(array.as_ref()).remove(0) {
            Value::Null => Exact::Null,
            Value::Bool(v) => Exact::Bool(v),
            Value::Int(v) if wanted.is_decimal() => Exact::Decimal(v),
            Value::Int(v) => Exact::Int(v as i64),
            Value::Float(v) => Exact::Float(v),
            Value::Text(v) => Exact::Text(v),
        };
        Literal { data_type: wanted.clone(), value }
    }

    fn case(&mut self, wanted: &DataType, depth: usize) -> Expr {
        let branches = (0..1 + self.random.below(2))
            .map(|_| (self.expr(&DataType::Boolean, depth), self.expr(wanted, depth)))
            .collect();
        let otherwise = self.random.chance(70).then(|| self.expr(wanted, depth).into());
        Expr::Case { branches, otherwise, data_type: wanted.clone() }
    }

    fn cast_from(&mut self, from: &DataType, to: &DataType, depth: usize) -> Expr {
        // Dates convert to dates only, and doubles only to numbers.
        let from = match from {
            DataType::Date32 => &DataType::Int64,
            other => other,
        };
        let input = self.expr(from, depth);
        self.cast(input, to)
    }

    fn cast(&mut self, input: Expr, to: &DataType) -> Expr {
        let lenient = self.random.chance(30);
        Expr::Cast { input: input.into(), data_type: to.clone(), lenient }
    }

    fn operator(&mut self) -> ArithmeticOp {
        *self.random.pick(&[
            ArithmeticOp::Add,
            ArithmeticOp::Subtract,
            ArithmeticOp::Multiply,
            ArithmeticOp::Divide,
            ArithmeticOp::Modulo,
        ])
    }

    fn arithmetic(&mut self, wanted: &DataType, depth: usize) -> Expr {
        let op = self.operator();
        let (left, right) = (self.expr(wanted, depth), self.expr(wanted, depth));
        Expr::Arithmetic { op, left: left.into(), right: right.into(), data_type: wanted.clone() }
    }

    /// A decimal of the type that arithmetic gives it.
    fn decimal(&mut self, depth: usize) -> Expr {
        if depth == 0 {
            let from = self.random.pick(&[PRICE, AMOUNT, DataType::Int64, DataType::Float64]);
            let from = from.clone();
            let leaf = self.leaf(&from);
            return if from.is_decimal() { leaf } else { self.cast(leaf, &PRICE) };
        }
        if self.random.chance(10) {
            return Expr::Negate(self.decimal(depth - 1).into());
        }
        let op = self.operator();
        let (left, right) = (self.decimal(depth - 1), self.decimal(depth - 1));
        match decimal_type(op, &left.data_type(), &right.data_type()) {
            Some(data_type) => {
                Expr::Arithmetic { op, left: left.into(), right: right.into(), data_type }
            }
            None => left,
        }
    }

    fn condition(&mut self, depth: usize) -> Expr {
        match self.random.below(9) {
            0 => Expr::Not(self.expr(&DataType::Boolean, depth).into()),
            1 => {
                let of = self.random.pick(TYPES).clone();
                Expr::IsNull(self.expr(&of, depth).into())
            }
            2 => Expr::And(self.conditions(depth)),
            3 => Expr::Or(self.conditions(depth)),
            4 => {
                let of = self.random.pick(&TYPES[1..]).clone();
                let input = self.expr(&of, depth).into();
                let count = *self.random.pick(&[1, 3, 12]);
                let list = (0..count).map(|_| self.literal(&of)).collect();
                Expr::InList { input, list, negated: self.random.chance(30) }
            }
            5 => self.like(depth),
            _ => self.comparison(depth),
        }
    }

    fn conditions(&mut self, depth: usize) -> Vec<Expr> {
        (0..2 + self.random.below(2)).map(|_| self.expr(&DataType::Boolean, depth)).collect()
    }

    fn like(&mut self, depth: usize) -> Expr {
        let patterns = ["%a%", "a%", "%b", "_", "%_b%c%", "", "%", "grist", "long %", "\\%_\\\\"];
        let pattern = match self.random.chance(85) {
            true => Expr::Literal(Literal::text(*self.random.pick(&patterns))),
            false => self.expr(&DataType::Utf8View, depth),
        };
        Expr::Match {
            kind: *self.random.pick(&[MatchKind::Like, MatchKind::ILike]),
            input: self.expr(&DataType::Utf8View, depth).into(),
            pattern: pattern.into(),
            escape: None,
            negated: self.random.chance(30),
        }
    }

    fn comparison(&mut self, depth: usize) -> Expr {
        let op = *self.random.pick(&[
            CompareOp::Equal,
            CompareOp::NotEqual,
            CompareOp::Less,
            CompareOp::LessOrEqual,
            CompareOp::Greater,
            CompareOp::GreaterOrEqual,
            CompareOp::Distinct,
            CompareOp::NotDistinct,
        ]);
        let of = self.random.pick(TYPES).clone();
        let (left, right) = (self.expr(&of, depth), self.expr(&of, depth));
        Expr::Compare { op, left: left.into(), right: right.into() }
    }
}

/// The type of decimal arithmetic, if it has one.
fn decimal_type(op: ArithmeticOp, left: &DataType, right: &DataType) -> Option<DataType> {
    let (DataType::Decimal128(p1, s1), DataType::Decimal128(p2, s2)) = (left, right) else {
        return None;
    };
    let (p1, s1, p2, s2) = (*p1 as i32, i32::from(*s1), *p2 as i32, i32::from(*s2));
    let scale = s1.max(s2);
    let (precision, scale) = match op {
        ArithmeticOp::Add | ArithmeticOp::Subtract => (scale + (p1 - s1).max(p2 - s2) + 1, scale),
        ArithmeticOp::Multiply => (p1 + p2 + 1, s1 + s2),
        ArithmeticOp::Divide => {
            let result = (s1 + 4).min(38);
            (p1 + result - s1 + s2, result)
        }
        ArithmeticOp::Modulo => (scale + (p1 - s1).min(p2 - s2), scale),
    };
    let precision = precision.min(38);
    (scale <= precision && precision > 0)
        .then_some(DataType::Decimal128(precision as u8, scale as i8))
}

#[test]
fn dictionaries_may_be_empty() {
    let base = values(Random::new(1), &DataType::Int64, 0);
    let indices = Arc::new(Indices::with_nulls(vec![NULL_INDEX; 3]));
    let column = Column::indexed(DataType::Int64, indices, base, Some(Domain::unique()));
    let chunk = Chunk::new(vec![column], 3, Place::default());
    let expr = Expr::IsNull(Expr::column(0, DataType::Int64).into());
    let column = values_of(&mut evaluator(&expr), &chunk).expect("evaluates");
    let array = chunk.live_values(&column).expect("gathers");
    assert_eq!(array.as_boolean().true_count(), 3);
}
