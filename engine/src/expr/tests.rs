//! Expressions over chunks of every form: first that they give what SQL says, then that errors
//! come from live rows only.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, Decimal64Array, Float64Array, Int64Array, StringViewArray,
};
use arrow::datatypes::{
    DataType, Decimal64Type, Decimal128Type, Int64Type, IntervalUnit, TimeUnit,
};

use super::*;
use crate::batch::{Chunk, Column, Domain, Indices, NULL_INDEX, Place, Selection};
use crate::error::Error;
use crate::memory::Governor;

fn ints(values: &[Option<i64>]) -> Column {
    Column::flat(DataType::Int64, Arc::new(Int64Array::from(values.to_vec())))
}

fn chunk(columns: Vec<Column>, rows: usize) -> Chunk {
    Chunk::new(columns, rows, Place::default())
}

fn int_column(index: usize) -> Expr {
    Expr::column(index, DataType::Int64)
}

fn arithmetic(op: ArithmeticOp, left: Expr, right: Expr, data_type: DataType) -> Expr {
    Expr::Arithmetic { op, left: left.into(), right: right.into(), data_type }
}

fn compare(op: CompareOp, left: Expr, right: Expr) -> Expr {
    Expr::Compare { op, left: left.into(), right: right.into() }
}

fn evaluator(expr: Expr) -> Evaluator {
    Evaluator::new(&[expr], &Governor::new(Default::default()))
}

fn column(evaluator: &mut Evaluator, chunk: &Chunk) -> crate::Result<Column> {
    let Piece { value, rows, .. } = evaluator.evaluate(chunk, 0)?;
    assert!(rows.is_none(), "there is room for all");
    Ok(value[0].clone())
}

fn live(evaluator: &mut Evaluator, chunk: &Chunk) -> crate::Result<ArrayRef> {
    chunk.live_values(&column(evaluator, chunk)?)
}

fn live_ints(expr: Expr, chunk: &Chunk) -> crate::Result<Vec<Option<i64>>> {
    let array = live(&mut evaluator(expr), chunk)?;
    Ok(array.as_primitive::<Int64Type>().iter().collect())
}

fn live_bools(expr: Expr, chunk: &Chunk) -> crate::Result<Vec<Option<bool>>> {
    let array = live(&mut evaluator(expr), chunk)?;
    Ok(array.as_boolean().iter().collect())
}

#[test]
fn dead_rows_do_not_fail() {
    let quotient = arithmetic(ArithmeticOp::Divide, int_column(0), int_column(1), DataType::Int64);
    let columns = vec![ints(&[Some(8), Some(1), Some(9)]), ints(&[Some(2), Some(0), Some(3)])];
    let all = chunk(columns, 3);
    let error = live_ints(quotient.clone(), &all).expect_err("divides by zero");
    assert!(matches!(error, Error::Input { .. }), "{error:?}");
    let some = all.select(Selection::new(vec![0, 2]));
    assert_eq!(live_ints(quotient, &some).expect("live rows divide"), [Some(4), Some(3)]);
}

#[test]
fn a_condition_that_can_fail_stays_behind_its_guard() {
    let not_zero = compare(CompareOp::NotEqual, int_column(1), Expr::Literal(Literal::int(0)));
    let quotient = arithmetic(ArithmeticOp::Divide, int_column(0), int_column(1), DataType::Int64);
    let above = compare(CompareOp::Greater, quotient, Expr::Literal(Literal::int(1)));
    let b = [Some(2), Some(0), None, Some(9)];
    let chunk = chunk(vec![ints(&[Some(8), Some(1), Some(9), Some(9)]), ints(&b)], 4);
    let both = Expr::And(vec![not_zero.clone(), above.clone()]);
    let expected = [Some(true), Some(false), None, Some(false)];
    assert_eq!(live_bools(both.clone(), &chunk).expect("guarded"), expected);
    let mut filter = Conjunction::new(vec![both], &Governor::new(Default::default()));
    let selection = filter.select(&chunk).expect("guarded").expect("narrows");
    assert_eq!(selection.as_slice(), [0]);
    let is_zero = Expr::Not(not_zero.into());
    let either = Expr::Or(vec![is_zero, above]);
    let expected = [Some(true), Some(true), None, Some(false)];
    assert_eq!(live_bools(either, &chunk).expect("guarded"), expected);
}

#[test]
fn decimals_widen_when_they_must() {
    let price = DataType::Decimal128(15, 2);
    let product = DataType::Decimal128(31, 4);
    let column = |values: Vec<i64>| {
        let array = Decimal64Array::from(values).with_precision_and_scale(15, 2).expect("valid");
        Column::flat(price.clone(), Arc::new(array))
    };
    let a = Expr::column(0, price.clone());
    let b = Expr::column(1, price.clone());
    let times = arithmetic(ArithmeticOp::Multiply, a, b, product);
    let small = chunk(vec![column(vec![150, -205]), column(vec![95, 100])], 2);
    let mut evaluator = evaluator(times);
    let array = live(&mut evaluator, &small).expect("multiplies");
    assert_eq!(array.as_primitive::<Decimal64Type>().values(), &[14_250, -20_500]);
    let most = 999_999_999_999_999;
    let large = chunk(vec![column(vec![most, 1]), column(vec![-most, 1])], 2);
    let array = live(&mut evaluator, &large).expect("multiplies");
    let expected = [-i128::from(most) * i128::from(most), 1];
    assert_eq!(array.as_primitive::<Decimal128Type>().values(), &expected);
}

#[test]
fn dictionaries_are_computed_once_and_fail_by_row_only() {
    let base: ArrayRef = Arc::new(StringViewArray::from(vec!["1", "x", "3"]));
    let domain = Domain::unique();
    let over = |indices: Vec<u32>| {
        let rows = indices.len();
        let indices = Arc::new(Indices::with_nulls(indices));
        let column = Column::indexed(DataType::Utf8View, indices, base.clone(), Some(domain));
        chunk(vec![column], rows)
    };
    let text = || Box::new(Expr::column(0, DataType::Utf8View));
    let cast = Expr::Cast { input: text(), data_type: DataType::Int64, lenient: false };
    let fine = over(vec![0, 2, NULL_INDEX, 0]);
    assert_eq!(
        live_ints(cast.clone(), &fine).expect("no row is `x`"),
        [Some(1), Some(3), None, Some(1)]
    );
    let error = live_ints(cast, &over(vec![1])).expect_err("`x` is no number");
    assert!(error.to_string().contains('x'), "{error}");
    let is_null = Expr::IsNull(text());
    let mut evaluator = evaluator(is_null.clone());
    for _ in 0..2 {
        let column = column(&mut evaluator, &fine).expect("evaluates");
        assert!(matches!(column.form(), crate::batch::Form::Indexed(i) if i.domain.is_some()));
        let array = fine.live_values(&column).expect("gathers");
        let expected = BooleanArray::from(vec![false, false, true, false]);
        assert_eq!(array.as_boolean(), &expected);
    }
    let selected = Conjunction::new(vec![is_null], &Governor::new(Default::default()))
        .select(&fine)
        .expect("selects");
    assert_eq!(selected.expect("narrows").as_slice(), [2]);
}

#[test]
fn branches_of_a_case_see_their_own_rows() {
    let zero = compare(CompareOp::Equal, int_column(1), Expr::Literal(Literal::int(0)));
    let quotient = arithmetic(ArithmeticOp::Divide, int_column(0), int_column(1), DataType::Int64);
    let case = Expr::Case {
        branches: vec![(zero, Expr::Literal(Literal::int(-1)))],
        otherwise: Some(quotient.into()),
        data_type: DataType::Int64,
    };
    let columns = vec![ints(&[Some(8), Some(1), None]), ints(&[Some(2), Some(0), Some(0)])];
    let chunk = chunk(columns, 3);
    assert_eq!(live_ints(case, &chunk).expect("guarded"), [Some(4), Some(-1), Some(-1)]);
}

#[test]
fn floats_have_one_order() {
    let array = Float64Array::from(vec![0.0, f64::NAN, f64::INFINITY, -0.0]);
    let chunk = chunk(vec![Column::flat(DataType::Float64, Arc::new(array))], 4);
    let column = || Expr::column(0, DataType::Float64);
    let literal =
        |v| Expr::Literal(Literal { data_type: DataType::Float64, value: Value::Float(v) });
    for (op, value, expected) in [
        (CompareOp::Equal, f64::NAN, [false, true, false, false]),
        (CompareOp::Equal, -0.0, [true, false, false, true]),
        (CompareOp::Greater, f64::INFINITY, [false, true, false, false]),
        (CompareOp::LessOrEqual, f64::NAN, [true, true, true, true]),
        (CompareOp::Less, 0.0, [false, false, false, false]),
    ] {
        let found = live_bools(compare(op, column(), literal(value)), &chunk).expect("compares");
        assert_eq!(found, expected.map(Some), "{op} {value}");
    }
}

#[test]
fn empty_and_constant_input() {
    let sum = arithmetic(
        ArithmeticOp::Add,
        Expr::Literal(Literal::int(i64::MAX)),
        Expr::Literal(Literal::int(1)),
        DataType::Int64,
    );
    let empty = chunk(vec![], 0);
    assert!(live_ints(sum.clone(), &empty).expect("no row fails").is_empty());
    assert!(live_ints(sum, &chunk(vec![], 3)).is_err());
    let fine = arithmetic(
        ArithmeticOp::Add,
        Expr::Literal(Literal::int(1)),
        Expr::Literal(Literal::null(DataType::Int64)),
        DataType::Int64,
    );
    assert_eq!(live_ints(fine, &chunk(vec![], 2)).expect("adds"), [None, None]);
}

/// A literal through JSON's kinds.
fn literal(data_type: DataType, value: Value) -> Expr {
    Expr::Literal(Literal { data_type, value })
}

fn text_of(expr: Expr) -> crate::Result<String> {
    let one = chunk(vec![], 1);
    let array = live(&mut evaluator(expr), &one)?;
    Ok(arrow::util::display::array_value_to_string(&array, 0).expect("prints"))
}

fn interval(months: i32, days: i32, nanoseconds: i64) -> Expr {
    let data_type = DataType::Interval(IntervalUnit::MonthDayNano);
    literal(data_type, Value::Interval { months, days, nanoseconds })
}

#[test]
fn dates_and_times() {
    let date = |days| literal(DataType::Date32, Value::Int(days));
    let plus = |left, right, data_type| arithmetic(ArithmeticOp::Add, left, right, data_type);
    let minus = |left, right, data_type| arithmetic(ArithmeticOp::Subtract, left, right, data_type);
    // 1994-01-31
    let january = || date(8796);
    for (expr, expected) in [
        (plus(january(), interval(1, 0, 0), DataType::Date32), "1994-02-28"),
        (plus(interval(0, 1, 0), january(), DataType::Date32), "1994-02-01"),
        (minus(january(), interval(12, 0, 0), DataType::Date32), "1993-01-31"),
        (minus(january(), date(8700), DataType::Int64), "96"),
    ] {
        assert_eq!(text_of(expr.clone()).expect("computes"), expected, "{expr}");
    }
    let moment = DataType::Timestamp(TimeUnit::Microsecond, None);
    let at = |value| literal(moment.clone(), Value::Int(value));
    let later = plus(at(0), interval(0, 1, 1_000_000), moment.clone());
    assert_eq!(text_of(later).expect("computes"), "1970-01-02T00:00:00.001");
    let between = minus(at(5), at(3), DataType::Duration(TimeUnit::Microsecond));
    assert_eq!(text_of(between).expect("computes"), "PT0.000002S");
    let clock = DataType::Time64(TimeUnit::Microsecond);
    let time = literal(clock.clone(), Value::Int(23 * 3_600_000_000));
    let late = plus(time, interval(0, 5, 2 * 3_600_000_000_000), clock);
    assert_eq!(text_of(late).expect("computes"), "01:00:00");
    let never = plus(date(i64::from(i32::MAX)), interval(0, 1, 0), DataType::Date32);
    assert!(matches!(text_of(never), Err(Error::Input { .. })));
}

#[test]
fn casts_fail_on_the_value_and_not_on_the_type() {
    let cast = |value: &str, data_type: DataType, lenient| Expr::Cast {
        input: Expr::Literal(Literal::text(value)).into(),
        data_type,
        lenient,
    };
    let price = DataType::Decimal128(5, 2);
    assert_eq!(text_of(cast("-12.345", price.clone(), false)).expect("casts"), "-12.35");
    for (value, data_type) in [
        ("123456", price.clone()),
        ("x", DataType::Float64),
        ("1994-02-30", DataType::Date32),
        ("300", DataType::Int8),
    ] {
        let error = text_of(cast(value, data_type.clone(), false)).expect_err("does not fit");
        assert!(matches!(error, Error::Input { .. }), "{value} {data_type}: {error:?}");
        assert_eq!(text_of(cast(value, data_type, true)).expect("lenient"), "");
    }
    let wide = DataType::Decimal256(60, 1);
    let sum = arithmetic(
        ArithmeticOp::Multiply,
        literal(wide.clone(), Value::Decimal(i128::MAX)),
        literal(wide, Value::Decimal(10)),
        DataType::Decimal256(76, 2),
    );
    let text = text_of(sum).expect("multiplies");
    assert_eq!(text, "17014118346046923173168730371588410572.70");
}

/// Counts its calls; the sum of an integer and the number of the call's row.
struct Numbered {
    calls: std::sync::Mutex<Vec<usize>>,
    volatile: bool,
}

impl ScalarFunction for Numbered {
    fn name(&self) -> &str {
        "numbered"
    }

    fn is_volatile(&self) -> bool {
        self.volatile
    }

    fn invoke(&self, args: &[Argument], rows: usize, _: &DataType) -> crate::Result<ArrayRef> {
        self.calls.lock().expect("no panic").push(rows);
        let value = |row: usize| match args {
            [Argument::Array(array)] => array.as_primitive::<Int64Type>().value(row),
            [Argument::Constant(array)] => array.as_primitive::<Int64Type>().value(0),
            _ => -1,
        };
        let values = (0..rows).map(|row| value(row) + if self.volatile { row as i64 } else { 0 });
        Ok(Arc::new(Int64Array::from_iter_values(values)))
    }
}

#[test]
fn functions_see_live_rows_and_constants_once() {
    let run = |volatile: bool, arg: Expr| {
        let function = Arc::new(Numbered { calls: Default::default(), volatile });
        let call = Expr::Call {
            function: FunctionRef::registered(function.clone()),
            args: vec![arg],
            data_type: DataType::Int64,
        };
        let values: Vec<Option<i64>> = (0..10).map(Some).collect();
        let chunk = chunk(vec![ints(&values)], 10).select(Selection::new(vec![2, 4, 9]));
        let values = live_ints(call, &chunk).expect("calls");
        let calls = function.calls.lock().expect("no panic").clone();
        (values, calls)
    };
    let constant = || Expr::Literal(Literal::int(7));
    assert_eq!(run(false, int_column(0)), (vec![Some(2), Some(4), Some(9)], vec![3]));
    assert_eq!(run(false, constant()), (vec![Some(7); 3], vec![1]));
    assert_eq!(run(true, constant()), (vec![Some(7), Some(8), Some(9)], vec![3]));
}

#[test]
fn lists_with_null_and_without_anything() {
    let values = chunk(vec![ints(&[Some(1), Some(2), None])], 3);
    let within =
        |list: Vec<Literal>, negated| Expr::InList { input: int_column(0).into(), list, negated };
    let with_null = || vec![Literal::int(1), Literal::null(DataType::Int64)];
    let found = live_bools(within(with_null(), false), &values).expect("looks up");
    assert_eq!(found, [Some(true), None, None]);
    let found = live_bools(within(with_null(), true), &values).expect("looks up");
    assert_eq!(found, [Some(false), None, None]);
    let found = live_bools(within(Vec::new(), true), &values).expect("looks up");
    assert_eq!(found, [Some(true); 3]);
}
