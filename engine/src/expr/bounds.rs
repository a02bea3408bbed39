//! What comparisons in the condition of a join say about the rows of a group of build rows that a
//! probe row can match.
//!
//! A condition that has to hold and compares an expression over the probe columns with one over the
//! build columns is a *bound*: `p.day >= b.first`, `p.x < b.x + 5`. Where a group's values of the
//! build expression increase, the rows that pass are a range that binary search finds; otherwise
//! the least and the greatest value say whether there are any. The others need not be looked at:
//! rows of an input that comes in the order of a bound ([`order_of_bounds`]) cost as little as
//! those of a join on sorted inputs, and a band or an interval has two bounds that are ordered
//! together.
//!
//! A condition that consists of bounds alone is decided by the values that are compared: each
//! side's expressions are computed once for each of its rows instead of once for each pair.
//!
//! Values are compared as ordinals, for which the types of both sides must be the same, and texts
//! by their first bytes, which rule out much and decide nothing.

use std::ops::Range;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Float64Type};

use super::pieces::Piece;
use super::{CompareOp, Evaluator, Expr};
use crate::batch::{Chunk, Column, Ordinals, Selection, float_key, float_order, has_ordinals};
use crate::error::{Error, Result};
use crate::memory::Governor;

/// Bounds of a join, at most: what is known of the rows of a chunk and of a group has to have room.
pub const BOUNDS_MAX: usize = 3;

/// A comparison that pairs must pass. What has another value each time is none: a row has one
/// value, whatever it meets.
#[derive(Debug, Clone)]
struct Bound {
    /// How the build value compares with the probe value.
    op: CompareOp,
    compared: By,
    /// Over the probe columns that the condition reads.
    probe: Expr,
    /// Over the build columns that the condition reads.
    build: Expr,
}

/// The bounds in a condition over `probe_width` probe columns, which build columns follow.
fn bounds_of(condition: &Expr, probe_width: usize) -> Vec<Bound> {
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
enum By {
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
fn conditions(condition: &Expr) -> usize {
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

/// A value as it is compared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Known {
    /// Its ordinal.
    Value(i64),
    /// It passes no comparison.
    Null,
    /// It may pass any.
    Beyond,
}

/// One worker's bounds.
pub struct Bounds {
    ops: Vec<CompareOp>,
    /// Whether the condition says nothing else.
    is_whole: bool,
    /// Whether expressions are more than columns.
    computes: bool,
    /// The build columns that they read, increasing.
    build_columns: Vec<usize>,
    probe: Evaluator,
    build: Evaluator,
    ordinals: Ordinals,
}

/// The build values of a group for one bound.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// They may be anything.
    Unknown,
    /// Values that increase, of the first rows; NULLs follow.
    Sorted(Vec<i64>),
    /// Values in any order, between the least and the greatest; NULLs among them.
    Between(Vec<Known>, i64, i64),
}

impl Bounds {
    /// The bounds of a condition over `probe_width` probe columns, those only that read build
    /// columns of types that `reads` takes; `None` without any.
    pub fn new(
        condition: &Expr,
        probe_width: usize,
        reads: impl Fn(usize) -> bool,
        memory: &Governor,
    ) -> Option<Self> {
        let mut bounds = bounds_of(condition, probe_width);
        bounds.retain(|bound| bound.build.columns().into_iter().all(&reads));
        bounds.truncate(BOUNDS_MAX);
        let (probe, build): (Vec<Expr>, Vec<Expr>) =
            bounds.iter().map(|bound| (bound.probe.clone(), bound.build.clone())).unzip();
        let mut build_columns: Vec<usize> = build.iter().flat_map(Expr::columns).collect();
        build_columns.sort_unstable();
        build_columns.dedup();
        (!bounds.is_empty()).then(|| Bounds {
            build_columns,
            is_whole: bounds.len() == conditions(condition)
                && bounds.iter().all(|bound| bound.compared == By::Ordinal),
            computes: probe.iter().chain(&build).any(|e| !matches!(e, Expr::Column { .. })),
            ops: bounds.iter().map(|bound| bound.op).collect(),
            probe: Evaluator::new(&probe, memory),
            build: Evaluator::new(&build, memory),
            ordinals: Ordinals::default(),
        })
    }

    /// The probe values of each bound, by physical row; none where they cannot be computed for all
    /// rows: those that matter say why when the condition is evaluated.
    ///
    /// # Errors
    /// What is not the fault of the values.
    pub fn of_probe(&mut self, chunk: &Chunk) -> Result<Vec<Vec<Known>>> {
        match values(&mut self.probe, self.ops.len(), chunk, &mut self.ordinals) {
            Err(Error::Input { .. }) => Ok(Vec::new()),
            values => values,
        }
    }

    /// The build values of each bound, by physical row; `None` where they cannot be computed for
    /// all rows.
    ///
    /// # Errors
    /// As [`Bounds::of_probe`].
    pub fn of_build(&mut self, chunk: &Chunk) -> Result<Option<Vec<Vec<Known>>>> {
        match values(&mut self.build, self.ops.len(), chunk, &mut self.ordinals) {
            Err(Error::Input { .. }) => Ok(None),
            values => values.map(Some),
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.ops.len()
    }

    /// Whether values are computed, and not only read.
    pub fn computes(&self) -> bool {
        self.computes
    }

    /// The build columns that the bounds read.
    pub fn build_columns(&self) -> &[usize] {
        &self.build_columns
    }

    /// The rows of a group of `rows` that row `row` of the probe chunk can match, by the values of
    /// each bound.
    pub fn range(
        &self,
        values: &[Values],
        probe: &[Vec<Known>],
        row: usize,
        rows: usize,
    ) -> Range<usize> {
        let mut range = 0..rows;
        for ((op, values), probe) in self.ops.iter().zip(values).zip(probe) {
            let own = values.range(*op, probe[row], rows);
            range = range.start.max(own.start)..range.end.min(own.end);
            if range.is_empty() {
                break;
            }
        }
        if range.is_empty() { 0..0 } else { range }
    }

    /// Adds to `found` the rows that row `row` of the probe chunk matches, of those that
    /// [`Bounds::range`] leaves to it; false, without any, where the values do not tell.
    pub fn matches(
        &self,
        values: &[Values],
        probe: &[Vec<Known>],
        row: usize,
        range: Range<usize>,
        found: &mut Vec<u32>,
    ) -> bool {
        if !self.decides(values, probe, row) {
            return false;
        }
        let start = found.len();
        found.extend(range.start as u32..range.end as u32);
        for ((op, values), probe) in self.ops.iter().zip(values).zip(probe) {
            // The range has no other rows of sorted values than those that match.
            let Values::Between(known, ..) = values else { continue };
            let mut count = start;
            for at in start..found.len() {
                let build = found[at];
                found[count] = build;
                count += usize::from(passes(*op, known[build as usize], probe[row]));
            }
            found.truncate(count);
        }
        true
    }

    /// Whether row `row` of the probe chunk matches a row of those that [`Bounds::range`] leaves to
    /// it; `None` where the values do not tell.
    pub fn has_match(
        &self,
        values: &[Values],
        probe: &[Vec<Known>],
        row: usize,
        mut range: Range<usize>,
    ) -> Option<bool> {
        if !self.decides(values, probe, row) {
            return None;
        }
        let others = self.ops.iter().zip(values).zip(probe);
        Some(range.any(|at| {
            others.clone().all(|((op, values), probe)| match values {
                Values::Between(known, ..) => passes(*op, known[at], probe[row]),
                _ => true,
            })
        }))
    }

    /// Whether the values tell which rows match row `row` of the probe chunk.
    fn decides(&self, values: &[Values], probe: &[Vec<Known>], row: usize) -> bool {
        let is_known = |(values, probe): (&Values, &Vec<Known>)| {
            !matches!(values, Values::Unknown) && probe[row] != Known::Beyond
        };
        self.is_whole && values.iter().zip(probe).all(is_known)
    }

    /// The rows of the probe chunk, of these, that row `at` of a group matches; `None` where the
    /// values do not tell.
    pub fn matches_of_build(
        &self,
        values: &[Values],
        at: usize,
        probe: &[Vec<Known>],
        rows: &[u32],
    ) -> Option<Vec<u32>> {
        if !self.is_whole {
            return None;
        }
        let mut found = rows.to_vec();
        for ((op, values), probe) in self.ops.iter().zip(values).zip(probe) {
            let build = match values {
                Values::Unknown => return None,
                Values::Sorted(sorted) => sorted.get(at).map_or(Known::Null, |&v| Known::Value(v)),
                Values::Between(known, ..) => known[at],
            };
            if found.iter().any(|&row| probe[row as usize] == Known::Beyond) {
                return None;
            }
            found.retain(|&row| passes(*op, build, probe[row as usize]));
        }
        Some(found)
    }
}

/// Whether a build value and a probe value, neither of them beyond, compare as `op` says.
fn passes(op: CompareOp, build: Known, probe: Known) -> bool {
    let (Known::Value(build), Known::Value(probe)) = (build, probe) else { return false };
    match op {
        CompareOp::Less => build < probe,
        CompareOp::LessOrEqual => build <= probe,
        CompareOp::Greater => build > probe,
        CompareOp::GreaterOrEqual => build >= probe,
        _ => build == probe,
    }
}

impl Values {
    /// What is known of the values of a group.
    pub fn of(known: Vec<Known>) -> Self {
        let mut valid = Vec::with_capacity(known.len());
        let mut nulls_follow = true;
        for (row, known) in known.iter().enumerate() {
            match known {
                Known::Beyond => return Values::Unknown,
                Known::Null => {}
                Known::Value(value) => {
                    nulls_follow &= valid.len() == row;
                    valid.push(*value);
                }
            }
        }
        if nulls_follow && valid.is_sorted() {
            return Values::Sorted(valid);
        }
        let (least, greatest) = (valid.iter().min(), valid.iter().max());
        match least.zip(greatest) {
            Some((&least, &greatest)) => Values::Between(known, least, greatest),
            None => Values::Sorted(valid),
        }
    }

    /// The rows whose values may compare with the one of a probe row as `op` says.
    fn range(&self, op: CompareOp, probe: Known, rows: usize) -> Range<usize> {
        let key = match probe {
            Known::Value(key) => key,
            Known::Null => return 0..0,
            Known::Beyond => return 0..rows,
        };
        match self {
            Values::Unknown => 0..rows,
            Values::Sorted(values) => {
                let before = || count_while(values, |value| value < key);
                let until = || count_while(values, |value| value <= key);
                match op {
                    CompareOp::Less => 0..before(),
                    CompareOp::LessOrEqual => 0..until(),
                    CompareOp::Greater => until()..values.len(),
                    CompareOp::GreaterOrEqual => before()..values.len(),
                    CompareOp::Equal => before()..until(),
                    _ => 0..rows,
                }
            }
            Values::Between(_, least, greatest) => {
                let some = match op {
                    CompareOp::Less => *least < key,
                    CompareOp::LessOrEqual => *least <= key,
                    CompareOp::Greater => *greatest > key,
                    CompareOp::GreaterOrEqual => *greatest >= key,
                    CompareOp::Equal => (*least..=*greatest).contains(&key),
                    _ => true,
                };
                if some { 0..rows } else { 0..0 }
            }
        }
    }
}

/// How many of sorted values hold, of which the first ones do. Of groups in the order of their
/// values most lie on one side of a key.
fn count_while(values: &[i64], holds: impl Fn(i64) -> bool) -> usize {
    match (values.first(), values.last()) {
        (Some(&first), _) if !holds(first) => 0,
        (_, Some(&last)) if holds(last) => values.len(),
        _ => values.partition_point(|&value| holds(value)),
    }
}

/// The values of `count` expressions for a chunk, by physical row; NULL where a row is not live.
fn values(
    evaluator: &mut Evaluator,
    count: usize,
    chunk: &Chunk,
    ordinals: &mut Ordinals,
) -> Result<Vec<Vec<Known>>> {
    let mut all = vec![vec![Known::Null; chunk.rows()]; count];
    let mut from = 0;
    while from < chunk.live_rows() {
        let piece = evaluator.evaluate(chunk, from)?;
        let Piece { value: columns, rows, until } = piece;
        let live = rows.as_ref().map_or(chunk.live_positions(), Selection::as_slice);
        for (column, known) in columns.iter().zip(&mut all) {
            read(column, chunk.rows(), live, ordinals, known)?;
        }
        from = until;
    }
    Ok(all)
}

/// Reads the values of the live rows of a column.
fn read(
    column: &Column,
    rows: usize,
    live: &[u32],
    ordinals: &mut Ordinals,
    known: &mut [Known],
) -> Result<()> {
    if *column.logical() == DataType::Float64 {
        let array = column.to_array(rows)?;
        let array = array.as_primitive_opt::<Float64Type>();
        let array = array.ok_or_else(|| Error::internal("doubles that are none"))?;
        for &row in live {
            known[row as usize] = match array.is_valid(row as usize) {
                true => Known::Value(float_order(float_key(array.value(row as usize)))),
                false => Known::Null,
            };
        }
        return Ok(());
    }
    if column.values().data_type() == &DataType::Utf8View {
        let array = column.to_array(rows)?;
        let texts = array.as_string_view();
        for &row in live {
            known[row as usize] = match texts.is_valid(row as usize) {
                true => Known::Value(prefix(texts.value(row as usize))),
                false => Known::Null,
            };
        }
        return Ok(());
    }
    ordinals.read(column, rows, Some(&Selection::new(live.to_vec())))?;
    for (&row, &value) in live.iter().zip(&ordinals.values) {
        known[row as usize] = Known::Value(value);
    }
    ordinals.nulls.iter().for_each(|&at| known[live[at as usize] as usize] = Known::Null);
    ordinals.beyond.iter().for_each(|&at| known[live[at as usize] as usize] = Known::Beyond);
    Ok(())
}

/// The first bytes of a text, in the order of texts.
fn prefix(text: &str) -> i64 {
    let mut bytes = [0; 8];
    let count = text.len().min(bytes.len());
    bytes[..count].copy_from_slice(&text.as_bytes()[..count]);
    // The order of integers without sign.
    i64::from_be_bytes(bytes) ^ i64::MIN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_have_the_order_of_texts() {
        let increasing =
            ["", "\0", "a", "a\0b", "aaaaaaaa", "aaaaaaab", "b", "zzzzzzzzz", "ß", "€"];
        assert!(increasing.windows(2).all(|pair| prefix(pair[0]) <= prefix(pair[1])));
        assert!(prefix("a") < prefix("b") && prefix("z") < prefix("ß"));
        assert_eq!(prefix("aaaaaaaab"), prefix("aaaaaaaac"));
    }

    fn ordinal(value: f64) -> i64 {
        float_order(float_key(value))
    }

    #[test]
    fn doubles_have_the_order_of_their_ordinals() {
        let inf = f64::INFINITY;
        let increasing = [-inf, -1e300, -2.5, -1e-310, 0.0, 1e-310, 1.0, 7e200, inf, f64::NAN];
        assert!(increasing.windows(2).all(|pair| ordinal(pair[0]) < ordinal(pair[1])));
        assert_eq!(ordinal(-0.0), ordinal(0.0));
        assert_eq!(ordinal(-f64::NAN), ordinal(f64::NAN));
    }

    #[test]
    fn ranges_have_all_rows_that_pass() {
        use CompareOp::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual};
        let (v, n) = (Known::Value, Known::Null);
        for rows in [
            vec![v(1), v(1), v(4), v(9), n, n],
            vec![v(4), v(-3), n, v(4)],
            vec![n, v(2)],
            vec![n, n],
            vec![],
        ] {
            let values = Values::of(rows.clone());
            for key in -4..11 {
                for op in [Equal, Less, LessOrEqual, Greater, GreaterOrEqual] {
                    let passes = |known: &Known| match (known, op) {
                        (Known::Value(value), Equal) => *value == key,
                        (Known::Value(value), Less) => *value < key,
                        (Known::Value(value), LessOrEqual) => *value <= key,
                        (Known::Value(value), Greater) => *value > key,
                        (Known::Value(value), GreaterOrEqual) => *value >= key,
                        _ => false,
                    };
                    let range = values.range(op, v(key), rows.len());
                    let all = || rows.iter().enumerate();
                    assert!(all().all(|(row, known)| !passes(known) || range.contains(&row)));
                    if let Values::Sorted(_) = values {
                        assert!(all().all(|(row, known)| passes(known) == range.contains(&row)));
                    }
                }
            }
            assert_eq!(values.range(Less, n, rows.len()), 0..0);
            assert_eq!(values.range(Less, Known::Beyond, rows.len()), 0..rows.len());
        }
        assert_eq!(Values::of(vec![v(1), Known::Beyond]), Values::Unknown);
    }

    #[test]
    fn bounds_alone_decide_and_others_do_not() {
        let (v, n) = (Known::Value, Known::Null);
        let column = |index| Box::new(Expr::column(index, DataType::Int64));
        let compare = |op, left, right| Expr::Compare { op, left, right };
        let both = Expr::And(vec![
            compare(CompareOp::Less, column(0), column(2)),
            compare(CompareOp::LessOrEqual, column(3), column(1)),
        ]);
        let memory = Governor::unlimited();
        let bounds = Bounds::new(&both, 2, |_| true, &memory).expect("two bounds");
        let (first, second) = ([v(5), v(1), n, v(7), v(3)], [v(2), v(9), v(4), n, v(2)]);
        let sorted = [v(1), v(3), v(4), n, n];
        let probe = [vec![v(2), v(-9), n, v(4)], vec![v(4), v(9), v(3), v(2)]];
        let value = |known: Known| match known {
            Known::Value(value) => Some(value),
            _ => None,
        };
        let is_below = |a: Option<i64>, b: Option<i64>| a.zip(b).is_some_and(|(a, b)| a < b);
        let is_up_to = |a: Option<i64>, b: Option<i64>| a.zip(b).is_some_and(|(a, b)| a <= b);
        let passes = |build: [Known; 2], row: usize| {
            is_below(value(probe[0][row]), value(build[0]))
                && is_up_to(value(build[1]), value(probe[1][row]))
        };
        for group in [[first, second], [sorted, second], [second, sorted]] {
            let values = group.map(|known| Values::of(known.to_vec()));
            for row in 0..4 {
                let expected: Vec<u32> =
                    (0..5).filter(|&at| passes(group.map(|g| g[at as usize]), row)).collect();
                let (mut found, range) = (vec![77], bounds.range(&values, &probe, row, 5));
                let has_match = bounds.has_match(&values, &probe, row, range.clone());
                assert_eq!(has_match, Some(!expected.is_empty()));
                assert!(bounds.matches(&values, &probe, row, range, &mut found));
                assert_eq!(found[1..], expected);
            }
            for at in 0..5 {
                let expected: Vec<u32> = [0, 2, 3]
                    .into_iter()
                    .filter(|&row| passes(group.map(|g| g[at]), row as usize))
                    .collect();
                let found = bounds.matches_of_build(&values, at, &probe, &[0, 2, 3]);
                assert_eq!(found, Some(expected));
            }
        }
        let unknown = [Values::Unknown, Values::of(second.to_vec())];
        assert!(!bounds.matches(&unknown, &probe, 0, 0..5, &mut Vec::new()));
        assert_eq!(bounds.matches_of_build(&unknown, 0, &probe, &[0]), None);
        let beyond = [vec![Known::Beyond], vec![v(1)]];
        let values = [Values::of(first.to_vec()), Values::of(second.to_vec())];
        assert!(!bounds.matches(&values, &beyond, 0, 0..5, &mut Vec::new()));
        assert_eq!(bounds.matches_of_build(&values, 0, &beyond, &[0]), None);
        let more = Expr::And(vec![both, compare(CompareOp::NotEqual, column(0), column(2))]);
        let bounds = Bounds::new(&more, 2, |_| true, &memory).expect("two bounds");
        assert!(!bounds.matches(&values, &probe, 0, 0..5, &mut Vec::new()));
    }
}
