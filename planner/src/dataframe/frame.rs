//! Frames and their steps.

use std::sync::Arc;

use super::expr::{Expr, Exprs};
use super::join::{JoinKind, On, Pairs};
use super::step::{Over, SetOperation, Step, What};
use crate::session::Session;

/// A query that is put together step by step. It holds no rows: they are made when they are asked
/// for, each time anew.
///
/// ```
/// use gristmill::{Config, JoinKind, Session, col, lit};
///
/// # fn main() -> gristmill::Result<()> {
/// let session = Session::new(Config::default())?;
/// session.run_script(
///     "create table parts as select * from (values (1, 'bolt'), (2, 'nut')) t(id, name);
///      create table sold as select * from (values (1, 5), (1, 7), (2, 0)) t(part, amount)",
/// )?;
/// let sold = session
///     .table("sold")
///     .filter(col("amount").gt(0))
///     .aggregate("part", "sum(amount) as total, count(*) as orders");
/// let report = session
///     .table("parts")
///     .join(sold, JoinKind::Left, [("id", "part")])
///     .select(["name", "coalesce(total, 0) as total"])
///     .sort("total desc");
/// assert_eq!(
///     report.show(10)?,
///     "\
/// +------+-------+
/// | name | total |
/// +------+-------+
/// | bolt | 12    |
/// | nut  | 0     |
/// +------+-------+"
/// );
/// # Ok(())
/// # }
/// ```
///
/// **Expressions** are texts in SQL, or are put together from [`col`](crate::col),
/// [`lit`](crate::lit) and others (see [`Expr`]); whatever SQL has can stand in them: functions,
/// the program's own too, windows, subqueries over the session's tables.
///
/// **Errors** come when rows, the schema or a plan are asked for, not before. They name the step
/// and, where they are about a text, the place in it.
///
/// **Names**: the columns of a frame have different names. Where a step would make two of one
/// name, the second gets a number behind it, `a_1`. Expressions call columns by their names alone,
/// or with that of the frame in front, which is the name of its table, what [`DataFrame::alias`]
/// says, or `frame`.
///
/// **Order**: rows keep their order through all steps but joins, aggregates and those of sets;
/// after [`DataFrame::sort`] they have the one that was asked for.
#[derive(Clone)]
pub struct DataFrame<'s> {
    pub(super) session: &'s Session,
    pub(super) step: Arc<Step>,
}

impl<'s> DataFrame<'s> {
    pub(super) fn new(session: &'s Session, step: Arc<Step>) -> Self {
        DataFrame { session, step }
    }

    fn over(self, over: Over) -> Self {
        let name = self.step.name.clone();
        DataFrame { step: Step::new(What::Over(self.step, over), name), ..self }
    }

    fn unnamed(self, what: impl FnOnce(Arc<Step>) -> What) -> Self {
        DataFrame { step: Step::new(what(self.step), None), ..self }
    }

    /// These columns: what stands behind SELECT in SQL. Aggregates without groups make one row of
    /// all.
    ///
    /// ```
    /// # use gristmill::{Config, Session, col};
    /// # fn main() -> gristmill::Result<()> {
    /// let session = Session::new(Config::default())?;
    /// let numbers = session.query("select 4 as a, 2 as b");
    /// let frame = numbers.select("a, a + b as sum, row_number() over (order by a) as number");
    /// assert_eq!(frame.schema()?.fields().len(), 3);
    /// let frame = numbers.select([col("a"), (col("a") * col("b")).alias("product")]);
    /// assert_eq!(frame.schema()?.field(1).name(), "product");
    /// # Ok(())
    /// # }
    /// ```
    pub fn select(&self, items: impl Into<Exprs>) -> Self {
        self.clone().over(Over::Select(items.into().text))
    }

    /// The rows for which a condition is true.
    pub fn filter(&self, condition: impl Into<Expr>) -> Self {
        self.clone().over(Over::Filter(condition.into().to_string()))
    }

    /// All columns and one more, behind them; a column of that name is replaced in its place.
    pub fn with_column(&self, name: &str, value: impl Into<Expr>) -> Self {
        let (name, value) = (name.to_string(), value.into().to_string());
        self.clone().over(Over::WithColumn(name, value))
    }

    /// All columns, one of them under another name.
    pub fn rename(&self, from: &str, to: &str) -> Self {
        self.clone().over(Over::Rename(from.to_string(), to.to_string()))
    }

    /// All columns but these.
    pub fn drop<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> Self {
        self.clone().over(Over::Drop(names.into_iter().map(str::to_string).collect()))
    }

    /// A row for each group: the groups' expressions, then the aggregates. Without groups, `()`,
    /// one row of all rows; without aggregates the distinct groups.
    pub fn aggregate(&self, groups: impl Into<Exprs>, aggregates: impl Into<Exprs>) -> Self {
        let over = Over::Aggregate(groups.into().text, aggregates.into().text);
        self.clone().unnamed(|step| What::Over(step, over))
    }

    /// The rows in the order of these keys: what stands behind ORDER BY in SQL.
    pub fn sort(&self, keys: impl Into<Exprs>) -> Self {
        self.clone().over(Over::Sort(keys.into().text))
    }

    /// The first rows.
    pub fn limit(&self, count: u64) -> Self {
        self.clone().over(Over::Limit(count))
    }

    /// The rows without the first ones.
    pub fn offset(&self, count: u64) -> Self {
        self.clone().over(Over::Offset(count))
    }

    /// Of equal rows one.
    pub fn distinct(&self) -> Self {
        self.clone().over(Over::Distinct)
    }

    /// The frame under a name by which expressions may call its rows, in small letters.
    pub fn alias(&self, name: &str) -> Self {
        let what = What::Over(self.step.clone(), Over::Named);
        DataFrame::new(self.session, Step::new(what, Some(name.to_lowercase())))
    }

    /// Rows of both frames that match: where these columns are equal. The columns are those of this
    /// frame and then those of the other; a key that has one name on both sides is there once.
    pub fn join(&self, other: DataFrame<'_>, kind: JoinKind, on: impl Into<Pairs>) -> Self {
        self.joined(other, kind, On::Columns(on.into()))
    }

    /// Rows of both frames that match: where a condition is true. It calls columns that both sides
    /// have by the frames' names; those of frames without one are `l`, this, and `r`, the other.
    pub fn join_on(&self, other: DataFrame<'_>, kind: JoinKind, on: impl Into<Expr>) -> Self {
        self.joined(other, kind, On::Condition(on.into().to_string()))
    }

    /// All pairs of rows.
    pub fn cross_join(&self, other: DataFrame<'_>) -> Self {
        self.joined(other, JoinKind::Inner, On::Nothing)
    }

    fn joined(&self, other: DataFrame<'_>, kind: JoinKind, on: On) -> Self {
        self.clone().unnamed(|left| What::Join { left, right: other.step, kind, on })
    }

    /// The rows of this frame and those of another one with as many columns; columns go by place.
    pub fn union_all(&self, other: DataFrame<'_>) -> Self {
        self.combined(other, SetOperation::UnionAll)
    }

    /// As [`DataFrame::union_all`], of equal rows one.
    pub fn union(&self, other: DataFrame<'_>) -> Self {
        self.combined(other, SetOperation::Union)
    }

    /// The distinct rows that are in both frames.
    pub fn intersect(&self, other: DataFrame<'_>) -> Self {
        self.combined(other, SetOperation::Intersect)
    }

    /// The distinct rows of this frame that are not in the other one.
    pub fn except(&self, other: DataFrame<'_>) -> Self {
        self.combined(other, SetOperation::Except)
    }

    fn combined(&self, other: DataFrame<'_>, how: SetOperation) -> Self {
        self.clone().unnamed(|left| What::Combined { left, right: other.step, how })
    }
}
