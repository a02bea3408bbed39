//! Which comparisons of a join's condition are bounds.

use arrow::datatypes::DataType;

use crate::batch::has_ordinals;
use crate::expr::{CompareOp, Expr};

/// A comparison that pairs must pass. What has another value each time is none: a row has one
/// value, whatever it meets.
#[derive(Debug, Clone)]
pub(super) struct Bound {
    /// How the build value compares with the probe value.
    pub(super) op: CompareOp,
    pub(super) compared: By,
    /// Over the probe columns that the condition reads.
    pub(super) probe: Expr,
    /// Over the build columns that the condition reads.
    pub(super) build: Expr,
}

/// The bounds in a condition over `probe_width` probe columns, which build columns follow.
pub(super) fn bounds_of(condition: &Expr, probe_width: usize) -> Vec<Bound> {
    let mut bounds = Vec::new();
    match condition {
        Expr::And(conditions) => {
            bounds.extend(conditions.iter().flat_map(|c| bounds_of(c, probe_width)));
        }
        Expr::Compare { op, left, right } => {
            let reads = |expr: &Expr| {
                let columns = expr.columns();
                let of_probe = columns.iter().filter(|&&column| column < probe_width).count();
                (of_probe > 0, of_probe < columns.len())
            };
            let sides = match (reads(left), reads(right)) {
                ((true, false), (false, true)) => Some((op.mirrored(), left, right)),
                ((false, true), (true, false)) => Some((*op, right, left)),
                _ => None,
            };
            if let Some((op, probe, build)) = sides.filter(|(op, ..)| can_bound(*op))
                && !condition.is_volatile()
                && let Some(compared) = compared_by(&probe.data_type(), &build.data_type())
            {
                let op = if compared == By::Prefix { or_equal(op) } else { op };
                let build = build.as_ref().clone().map_columns(&|column| column - probe_width);
                bounds.push(Bound { op, compared, probe: probe.as_ref().clone(), build });
            }
        }
        _ => {}
    }
    bounds
}

/// What values are compared by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum By {
    Ordinal,
    /// The first bytes of texts.
    Prefix,
}

/// What values of two types are compared by, if they can be.
fn compared_by(probe: &DataType, build: &DataType) -> Option<By> {
    let is_text = |logical: &DataType| {
        matches!(logical, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
    };
    match probe == build && (has_ordinals(probe) || *probe == DataType::Float64) {
        true => Some(By::Ordinal),
        false => (is_text(probe) && is_text(build)).then_some(By::Prefix),
    }
}

/// What holds of prefixes where a comparison holds of all.
fn or_equal(op: CompareOp) -> CompareOp {
    match op {
        CompareOp::Less => CompareOp::LessOrEqual,
        CompareOp::Greater => CompareOp::GreaterOrEqual,
        other => other,
    }
}

/// How many conditions have to hold for a condition to hold.
pub(super) fn conditions(condition: &Expr) -> usize {
    match condition {
        Expr::And(all) => all.iter().map(conditions).sum(),
        _ => 1,
    }
}

/// Whether a comparison leaves a range of sorted values.
fn can_bound(op: CompareOp) -> bool {
    use CompareOp::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual};
    matches!(op, Equal | Less | LessOrEqual | Greater | GreaterOrEqual)
}

/// The build column whose order is that of a bound, or most likely is: the only one that it reads.
pub fn order_of_bounds(condition: &Expr, probe_width: usize) -> Option<usize> {
    let bounds = bounds_of(condition, probe_width).into_iter();
    bounds.map(|bound| bound.build.columns()).find(|read| read.len() == 1)?.pop()
}
