//! Joins with residuals, and what residuals mean.

use arrow::datatypes::DataType;

use super::data::{self, Cell, Random, Table};
use super::{KINDS, check, join};
use crate::expr::{ArithmeticOp, CompareOp, Expr, Literal, Value};

/// Whether a residual is true of a pair.
pub(super) fn holds(residual: &Expr, pair: &[&Cell]) -> bool {
    let number = |expr: &Expr| number(expr, pair);
    match residual {
        Expr::And(all) => all.iter().all(|one| holds(one, pair)),
        Expr::Compare { op, left, right } => match (number(left), number(right), op) {
            (Some(left), Some(right), CompareOp::Less) => left < right,
            (Some(left), Some(right), CompareOp::GreaterOrEqual) => left >= right,
            (Some(_), Some(_), op) => panic!("{op:?} in a residual"),
            _ => false,
        },
        other => panic!("{other:?} in a residual"),
    }
}

fn number(expr: &Expr, pair: &[&Cell]) -> Option<i128> {
    match expr {
        Expr::Arithmetic { left, right, .. } => Some(number(left, pair)? + number(right, pair)?),
        Expr::Column { index, .. } => match pair[*index] {
            Cell::Int(value) => Some(*value),
            _ => None,
        },
        Expr::Literal(Literal { value: Value::Int(value), .. }) => Some((*value).into()),
        other => panic!("{other:?} in a residual"),
    }
}

fn sum(left: Expr, right: Expr) -> Expr {
    let (left, right) = (Box::new(left), Box::new(right));
    Expr::Arithmetic { op: ArithmeticOp::Add, left, right, data_type: DataType::Int64 }
}

/// `probe.x < build.x`, over the last columns.
pub(super) fn residual(probe: &Table, build: &Table) -> Expr {
    let (p, b) = (probe.types.len() - 1, build.types.len() - 1);
    Expr::Compare {
        op: CompareOp::Less,
        left: Box::new(Expr::column(p, DataType::Int64)),
        right: Box::new(Expr::column(p + 1 + b, DataType::Int64)),
    }
}

/// `build.x >= probe.x - below AND build.x < probe.x + above`, over the last columns.
fn band(probe: &Table, build: &Table, below: i64, above: i64) -> Expr {
    let (p, b) = (probe.types.len() - 1, probe.types.len() + build.types.len() - 1);
    let end = |by: i64| sum(Expr::column(p, DataType::Int64), Expr::Literal(Literal::int(by)));
    let compare = |op, by| Expr::Compare {
        op,
        left: Box::new(Expr::column(b, DataType::Int64)),
        right: Box::new(end(by)),
    };
    let (from, until) = (CompareOp::GreaterOrEqual, CompareOp::Less);
    Expr::And(vec![compare(from, -below), compare(until, above)])
}

/// `probe.x + build.x < probe.x`, over the last columns.
fn mixed(probe: &Table, build: &Table) -> Expr {
    let (p, b) = (probe.types.len() - 1, probe.types.len() + build.types.len() - 1);
    let (p, b) = (Expr::column(p, DataType::Int64), Expr::column(b, DataType::Int64));
    let (left, right) = (Box::new(sum(p.clone(), b)), Box::new(p));
    Expr::Compare { op: CompareOp::Less, left, right }
}

#[test]
fn large_groups_are_followed_within_the_bounds_of_the_residual() {
    let mut random = Random::new(12);
    let types = [DataType::Int64];
    for (rows, spread, width) in [(700, 3, 10), (700, 3, 0), (900, 12, 300), (400, 1, 2000)] {
        let probe = data::table(&types, 200, spread, &mut random);
        let mut build = data::table(&types, rows, spread, &mut random);
        for row in build.rows.iter_mut().filter(|_| random.below(9) == 0) {
            row[1] = Cell::Null;
        }
        for kind in KINDS {
            let mut spec = join(kind, 1, &probe, &build);
            let band = band(&probe, &build, width, width / 2 + 1);
            spec.residual = Some(band.clone());
            check(&spec, &probe, &build, &mut random);
            // Values of one side alone do not decide.
            spec.residual = Some(Expr::And(vec![band, mixed(&probe, &build)]));
            check(&spec, &probe, &build, &mut random);
            // Of some probe rows most of a group is left, of others little.
            let above = residual(&probe, &build);
            spec.residual = Some(Expr::And(vec![above, mixed(&probe, &build)]));
            check(&spec, &probe, &build, &mut random);
        }
    }
}
