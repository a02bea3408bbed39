//! Window calls as plain data: a function over the rows around each row.
//!
//! A call says by how many of its operator's leading sort keys its partitions and its peers are
//! told apart: rows that are equal in the first `partition` keys are one partition, rows of it that
//! are equal in the first `order` keys are peers. So calls with different `PARTITION BY` and
//! `ORDER BY` can share one order of the rows.

use std::fmt;

use arrow::datatypes::DataType;
use serde::{Deserialize, Serialize};

use super::calls::{AggregateKind, OrderedKind};
use super::literal::Literal;

/// Which function.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WindowKind {
    /// `row_number()`: 1, 2, 3 …
    RowNumber,
    /// `rank()`: one more than the rows before the first peer.
    Rank,
    /// `dense_rank()`: one more than the groups of peers before.
    DenseRank,
    /// `percent_rank()`: `(rank - 1) / (rows - 1)`, 0 in a partition of one row.
    PercentRank,
    /// `cume_dist()`: the share of rows up to the last peer.
    CumeDist,
    /// `ntile(n)`: the number of the row's part among `n` parts, the first ones one row longer.
    Ntile,
    /// `lag(x, n, default)`: the value `n` rows before.
    Lag,
    /// `lead(x, n, default)`: the value `n` rows behind.
    Lead,
    /// `first_value(x)`: of the frame.
    FirstValue,
    /// `last_value(x)`: of the frame.
    LastValue,
    /// `nth_value(x, n)`: of the frame, counted from 1.
    NthValue,
    /// An aggregate of the frame.
    Aggregate(AggregateKind),
    /// A percentile of the frame's values, in their own order.
    Percentile(OrderedKind),
    /// The value that is most often in the frame; of several the least. Values go by those of a
    /// second column, where there is one.
    Mode,
}

/// An argument of a window call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WindowArgument {
    /// A column of the input.
    Column(usize),
    /// The same value for all rows.
    Constant(Literal),
}

/// How many leading sort keys of the operator tell partitions and peers apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Over {
    /// Keys of the partition.
    pub partition: usize,
    /// Keys of peers, those of the partition included.
    pub order: usize,
}

/// What the bounds of a frame count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FrameUnits {
    /// Rows.
    Rows,
    /// Differences of the one key behind those of the partition.
    Range,
    /// Groups of peers.
    Groups,
}

/// One end of a frame; offsets are not negative.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FrameBound {
    /// The first row of the partition.
    UnboundedPreceding,
    /// So many units before.
    Preceding(Literal),
    /// The row itself; with RANGE and GROUPS its peers.
    CurrentRow,
    /// So many units behind.
    Following(Literal),
    /// The last row of the partition.
    UnboundedFollowing,
}

/// The rows of the partition that a function sees.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Frame {
    /// What is counted.
    pub units: FrameUnits,
    /// Its first row.
    pub start: FrameBound,
    /// Its last row.
    pub end: FrameBound,
}

/// A window function, its arguments and its window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WindowCall {
    /// Which.
    pub function: WindowKind,
    /// Its arguments.
    pub arguments: Vec<WindowArgument>,
    /// Position of a Boolean column: an aggregate sees only rows where it is true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<usize>,
    /// Whether an aggregate sees equal values of its argument once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub distinct: bool,
    /// Whether rows where the first argument is NULL are passed over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ignore_nulls: bool,
    /// Its partitions and peers.
    pub over: Over,
    /// Its frame; functions of the whole partition do not look at it.
    pub frame: Frame,
    /// Result type.
    #[serde(rename = "type", with = "super::data_type")]
    pub data_type: DataType,
}

impl Frame {
    /// All rows of the partition.
    pub fn whole() -> Self {
        Frame {
            units: FrameUnits::Rows,
            start: FrameBound::UnboundedPreceding,
            end: FrameBound::UnboundedFollowing,
        }
    }
}

impl WindowKind {
    /// Whether the frame matters: otherwise the function is about the partition.
    pub fn has_frame(&self) -> bool {
        matches!(
            self,
            WindowKind::FirstValue
                | WindowKind::LastValue
                | WindowKind::NthValue
                | WindowKind::Aggregate(_)
                | WindowKind::Percentile(_)
                | WindowKind::Mode
        )
    }

    /// Whether the result can be NULL.
    pub fn is_nullable(&self) -> bool {
        use AggregateKind::{Count, CountRows};
        match self {
            WindowKind::RowNumber
            | WindowKind::Rank
            | WindowKind::DenseRank
            | WindowKind::PercentRank
            | WindowKind::CumeDist
            | WindowKind::Ntile => false,
            WindowKind::Aggregate(kind) => !matches!(kind, Count | CountRows),
            _ => true,
        }
    }
}

impl fmt::Display for WindowKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WindowKind::RowNumber => "row_number",
            WindowKind::Rank => "rank",
            WindowKind::DenseRank => "dense_rank",
            WindowKind::PercentRank => "percent_rank",
            WindowKind::CumeDist => "cume_dist",
            WindowKind::Ntile => "ntile",
            WindowKind::Lag => "lag",
            WindowKind::Lead => "lead",
            WindowKind::FirstValue => "first_value",
            WindowKind::LastValue => "last_value",
            WindowKind::NthValue => "nth_value",
            WindowKind::Aggregate(kind) => return kind.fmt(f),
            WindowKind::Percentile(OrderedKind::PercentileCont { .. }) => "percentile_cont",
            WindowKind::Percentile(OrderedKind::PercentileDisc { .. }) => "percentile_disc",
            WindowKind::Percentile(_) => "percentile",
            WindowKind::Mode => "mode",
        })
    }
}

impl fmt::Display for WindowArgument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WindowArgument::Column(column) => write!(f, "#{column}"),
            WindowArgument::Constant(literal) => write!(f, "{literal}"),
        }
    }
}

impl fmt::Display for FrameBound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameBound::UnboundedPreceding => f.write_str("UNBOUNDED PRECEDING"),
            FrameBound::Preceding(offset) => write!(f, "{offset} PRECEDING"),
            FrameBound::CurrentRow => f.write_str("CURRENT ROW"),
            FrameBound::Following(offset) => write!(f, "{offset} FOLLOWING"),
            FrameBound::UnboundedFollowing => f.write_str("UNBOUNDED FOLLOWING"),
        }
    }
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = match self.units {
            FrameUnits::Rows => "ROWS",
            FrameUnits::Range => "RANGE",
            FrameUnits::Groups => "GROUPS",
        };
        write!(f, "{units} BETWEEN {} AND {}", self.start, self.end)
    }
}

/// The function with its arguments; the window is told with the keys of its operator.
impl fmt::Display for WindowCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut arguments: Vec<String> = self.arguments.iter().map(|a| a.to_string()).collect();
        if let WindowKind::Percentile(
            OrderedKind::PercentileCont { fraction } | OrderedKind::PercentileDisc { fraction },
        ) = &self.function
        {
            arguments.push(fraction.to_string());
        }
        let arguments = match (&self.function, arguments.is_empty()) {
            (WindowKind::Aggregate(_), true) => "*".to_string(),
            _ => arguments.join(", "),
        };
        let distinct = if self.distinct { "DISTINCT " } else { "" };
        write!(f, "{}({distinct}{arguments})", self.function)?;
        if self.ignore_nulls {
            f.write_str(" IGNORE NULLS")?;
        }
        self.filter.map_or(Ok(()), |filter| write!(f, " FILTER (#{filter})"))
    }
}
