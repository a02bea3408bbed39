//! Aggregates as programs write them: states of all groups at once.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use gristmill_engine::Result;

use super::arguments::Arguments;

/// A function from the rows of a group to a value. [`AggregateDef`](crate::AggregateDef) makes one
/// of a state for one group, which is simpler; here the states of all groups are in one hand, which
/// is faster where there are many.
///
/// It can be called with DISTINCT, with FILTER, with GROUP BY and without, and OVER a window. It
/// takes no ORDER BY: the rows of a group come in no order, on several threads at once, each with
/// states of its own which are merged.
///
/// **NULL** is a value like others: functions see it, and decide what they make of it. With
/// DISTINCT they see it once. For a group without rows (no row at all, or none that FILTER lets
/// through) they say what the result of nothing is.
pub trait AggregateFunction: Send + Sync {
    /// Its name in SQL, which is found in capitals too.
    fn name(&self) -> &str;

    /// Which arguments it takes.
    fn arguments(&self) -> Arguments;

    /// The type of its results, for arguments of the types that [`GroupStates::update`] gets.
    ///
    /// # Errors
    /// `Input` when it is not defined for these types.
    fn return_type(&self, arguments: &[DataType]) -> Result<DataType>;

    /// States of no groups yet.
    ///
    /// # Errors
    /// Any error ends the query.
    fn states(&self, arguments: &[DataType]) -> Result<Box<dyn GroupStates>>;
}

/// The states of an aggregate for groups numbered from 0.
///
/// States may be written to disk and read back: [`GroupStates::state`] gives them as columns, and
/// [`GroupStates::merge`] takes such columns in.
pub trait GroupStates: Send {
    /// Adds rows: row `i` belongs to group `groups[i] < group_count`. There may be new groups, and
    /// groups without a row.
    ///
    /// # Errors
    /// `Input` for values that the function is not defined on; any error ends the query.
    fn update(&mut self, arguments: &[ArrayRef], groups: &[u32], group_count: usize) -> Result<()>;

    /// Adds states of the same function, as [`GroupStates::state`] gave them: row `i` is the state
    /// of a part of group `groups[i] < group_count`.
    ///
    /// # Errors
    /// As [`GroupStates::update`].
    fn merge(&mut self, states: &[ArrayRef], groups: &[u32], group_count: usize) -> Result<()>;

    /// Takes all states out, as columns with a row for each group; afterwards there are no groups.
    /// The number of columns and their types are always the same, also for no groups.
    ///
    /// # Errors
    /// Any error ends the query.
    fn state(&mut self) -> Result<Vec<ArrayRef>>;

    /// Takes all results out, a row for each group; afterwards there are no groups.
    ///
    /// # Errors
    /// Any error ends the query.
    fn evaluate(&mut self) -> Result<ArrayRef>;

    /// Bytes held, which count against the memory limit: when that is short, states are written
    /// out. It is asked after every batch, so it should be known and not be counted anew.
    fn size_bytes(&self) -> usize;
}
