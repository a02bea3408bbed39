//! Expressions over chunks of every form: first that they give what SQL says, then that errors
//! come from live rows only.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, Decimal64Array, Float64Array, Int64Array, StringViewArray,
};
use arrow::datatypes::{DataType, Decimal64Type, Decimal128Type, Int64Type};

use super::*;
use crate::batch::{Chunk, Column, Domain, Indices, NULL_INDEX, Place, Selection};
use crate::error::Error;

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

fn live(evaluator: &mut Evaluator, chunk: &Chunk) -> crate::Result<ArrayRef> {
    let column = evaluator.evaluate(chunk)?;
    chunk.live_values(&column)
}

fn live_ints(expr: Expr, chunk: &Chunk) -> crate::Result<Vec<Option<i64>>> {
    let array = live(&mut Evaluator::new(expr), chunk)?;
    Ok(array.as_primitive::<Int64Type>().iter().collect())
}

fn live_bools(expr: Expr, chunk: &Chunk) -> crate::Result<Vec<Option<bool>>> {
    let array = live(&mut Evaluator::new(expr), chunk)?;
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
    let mut filter = Conjunction::new(vec![both]);
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
    let mut evaluator = Evaluator::new(times);
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
    let mut evaluator = Evaluator::new(is_null.clone());
    for _ in 0..2 {
        let column = evaluator.evaluate(&fine).expect("evaluates");
        assert!(matches!(column.form(), crate::batch::Form::Indexed(i) if i.domain.is_some()));
        let array = fine.live_values(&column).expect("gathers");
        let expected = BooleanArray::from(vec![false, false, true, false]);
        assert_eq!(array.as_boolean(), &expected);
    }
    let selected = Conjunction::new(vec![is_null]).select(&fine).expect("selects");
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
