//! What breakers do with columns: sort keys and aggregate calls, as plain data.

use std::fmt;

use arrow::datatypes::DataType;
use serde::{Deserialize, Serialize};

use super::function::AggregateRef;

/// A column to sort by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SortKey {
    /// Position of the column.
    pub column: usize,
    /// From great to small.
    pub descending: bool,
    /// NULL before all values, whatever the direction.
    pub nulls_first: bool,
}

/// Which aggregate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AggregateKind {
    /// `count(*)`: no argument.
    CountRows,
    /// `count(x)`: values that are not NULL.
    Count,
    /// `sum(x)`; overflow is an error, NULL when there is no value.
    Sum,
    /// `min(x)`
    Min,
    /// `max(x)`
    Max,
    /// `avg(x)`: of decimals a decimal, of anything else a double.
    Average,
    /// One that is not built in.
    Custom(AggregateRef),
}

/// An aggregate over columns of the input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AggregateCall {
    /// Which.
    pub function: AggregateKind,
    /// Positions of its arguments.
    pub arguments: Vec<usize>,
    /// Position of a Boolean column: only rows where it is true count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<usize>,
    /// Result type.
    #[serde(rename = "type", with = "super::data_type")]
    pub data_type: DataType,
}

impl fmt::Display for SortKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.column)?;
        if self.descending {
            f.write_str(" DESC")?;
        }
        // Said only where it is not what SQL takes for granted.
        match (self.descending, self.nulls_first) {
            (false, true) => f.write_str(" NULLS FIRST"),
            (true, false) => f.write_str(" NULLS LAST"),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for AggregateKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AggregateKind::CountRows | AggregateKind::Count => "count",
            AggregateKind::Sum => "sum",
            AggregateKind::Min => "min",
            AggregateKind::Max => "max",
            AggregateKind::Average => "avg",
            AggregateKind::Custom(function) => function.name(),
        })
    }
}

impl fmt::Display for AggregateCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns: Vec<String> = self.arguments.iter().map(|c| format!("#{c}")).collect();
        let columns = if columns.is_empty() { "*".to_string() } else { columns.join(", ") };
        write!(f, "{}({columns})", self.function)?;
        self.filter.map_or(Ok(()), |filter| write!(f, " FILTER (#{filter})"))
    }
}
