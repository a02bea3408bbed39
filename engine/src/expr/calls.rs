//! What breakers do with columns: sort keys and aggregate calls, as plain data.

use std::fmt;

use arrow::datatypes::DataType;
use serde::{Deserialize, Serialize};

use super::function::AggregateRef;
use super::literal::Literal;

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

/// Which aggregate. Unless said otherwise NULLs are left out, and the result is NULL when there is
/// no value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AggregateKind {
    /// `count(*)`: no argument.
    CountRows,
    /// `count(x)`: values that are not NULL.
    Count,
    /// `sum(x)`; overflow is an error.
    Sum,
    /// `min(x)`
    Min,
    /// `max(x)`
    Max,
    /// `avg(x)`: of decimals a decimal, of anything else a double.
    Average,
    /// `bit_and(x)` and its like, over integers.
    Bits(BitOp),
    /// `var_samp(x)` and its like, over doubles.
    Spread(Spread),
    /// `corr(y, x)` and its like, over pairs of doubles without NULL.
    Pairs(PairStatistic),
    /// The value of the first row in this order; of rows that are equal in it, of the one that
    /// came first. NULLs are values here.
    First {
        /// What decides; empty for the order of the input.
        order: Vec<SortKey>,
    },
    /// The value of the last row in this order; of rows that are equal in it, of the one that
    /// came last. NULLs are values here.
    Last {
        /// What decides; empty for the order of the input.
        order: Vec<SortKey>,
    },
    /// One that is not built in.
    Custom {
        /// Which.
        function: AggregateRef,
        /// Constants that it is made with.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        parameters: Vec<Literal>,
    },
}

/// Which aggregate of a group's rows in order. NULLs are left out unless said otherwise, and the
/// result is NULL when no row counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderedKind {
    /// `array_agg(x)`: a list of all values, NULLs among them.
    Collect,
    /// `string_agg(x, separator)`: all strings, one behind the other.
    Concat {
        /// What stands between them.
        separator: String,
    },
    /// `percentile_cont(fraction)`: the value at this part of the way from the first to the last,
    /// between two values where none is there.
    PercentileCont {
        /// From 0 to 1.
        fraction: f64,
    },
    /// `percentile_disc(fraction)`: the first value at or behind this part of all values.
    PercentileDisc {
        /// From 0 to 1.
        fraction: f64,
    },
    /// `nth_value(x, n)`: the value of row `n`, from 1 on; from the end when negative. NULLs count.
    Nth {
        /// Which; not 0.
        position: i64,
    },
}

/// An aggregate of a group's rows in order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OrderedCall {
    /// Which.
    pub function: OrderedKind,
    /// Position of its argument.
    pub argument: usize,
    /// Position of a Boolean column: only rows where it is true count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<usize>,
    /// Result type.
    #[serde(rename = "type", with = "super::data_type")]
    pub data_type: DataType,
}

impl OrderedKind {
    /// Whether NULL is no value for it.
    pub fn skips_nulls(&self) -> bool {
        !matches!(self, OrderedKind::Collect | OrderedKind::Nth { .. })
    }
}

impl fmt::Display for OrderedCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let argument = self.argument;
        match &self.function {
            OrderedKind::Collect => write!(f, "array_agg(#{argument})"),
            OrderedKind::Concat { separator } => {
                write!(f, "string_agg(#{argument}, '{}')", separator.replace('\'', "''"))
            }
            OrderedKind::PercentileCont { fraction } => {
                write!(f, "percentile_cont(#{argument}, {fraction})")
            }
            OrderedKind::PercentileDisc { fraction } => {
                write!(f, "percentile_disc(#{argument}, {fraction})")
            }
            OrderedKind::Nth { position } => write!(f, "nth_value(#{argument}, {position})"),
        }?;
        self.filter.map_or(Ok(()), |filter| write!(f, " FILTER (#{filter})"))
    }
}

/// An operation on the bits of two integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BitOp {
    /// Bits set in both.
    And,
    /// Bits set in either.
    Or,
    /// Bits set in one of them.
    Xor,
}

/// How far values are from their mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spread {
    /// The variance of a sample: NULL for less than two values.
    VarianceSample,
    /// The variance of all there is.
    VariancePopulation,
    /// The square root of [`Spread::VarianceSample`].
    DeviationSample,
    /// The square root of [`Spread::VariancePopulation`].
    DeviationPopulation,
}

/// How the two values `(y, x)` of the rows go together: the functions of SQL:2003, 10.9.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PairStatistic {
    /// `covar_samp`: NULL for less than two pairs.
    CovarianceSample,
    /// `covar_pop`
    CovariancePopulation,
    /// `corr`: NULL when all values of one side are equal.
    Correlation,
    /// `regr_count`: pairs.
    Count,
    /// `regr_avgx`
    MeanX,
    /// `regr_avgy`
    MeanY,
    /// `regr_sxx`
    SquaresX,
    /// `regr_syy`
    SquaresY,
    /// `regr_sxy`
    Products,
    /// `regr_slope`: NULL when all x are equal.
    Slope,
    /// `regr_intercept`: NULL when all x are equal.
    Intercept,
    /// `regr_r2`: NULL when all x are equal, 1 when only all y are.
    R2,
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

impl AggregateKind {
    /// Whether the result is a number of rows, and never NULL.
    pub fn is_count(&self) -> bool {
        use AggregateKind as A;
        matches!(self, A::CountRows | A::Count | A::Pairs(PairStatistic::Count))
    }

    /// What decides on the row, for those that pick one.
    pub fn order(&self) -> &[SortKey] {
        match self {
            AggregateKind::First { order } | AggregateKind::Last { order } => order,
            _ => &[],
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
            AggregateKind::Bits(BitOp::And) => "bit_and",
            AggregateKind::Bits(BitOp::Or) => "bit_or",
            AggregateKind::Bits(BitOp::Xor) => "bit_xor",
            AggregateKind::Spread(Spread::VarianceSample) => "var_samp",
            AggregateKind::Spread(Spread::VariancePopulation) => "var_pop",
            AggregateKind::Spread(Spread::DeviationSample) => "stddev_samp",
            AggregateKind::Spread(Spread::DeviationPopulation) => "stddev_pop",
            AggregateKind::Pairs(statistic) => statistic.name(),
            AggregateKind::First { .. } => "first",
            AggregateKind::Last { .. } => "last",
            AggregateKind::Custom { function, .. } => function.name(),
        })
    }
}

impl PairStatistic {
    fn name(self) -> &'static str {
        match self {
            PairStatistic::CovarianceSample => "covar_samp",
            PairStatistic::CovariancePopulation => "covar_pop",
            PairStatistic::Correlation => "corr",
            PairStatistic::Count => "regr_count",
            PairStatistic::MeanX => "regr_avgx",
            PairStatistic::MeanY => "regr_avgy",
            PairStatistic::SquaresX => "regr_sxx",
            PairStatistic::SquaresY => "regr_syy",
            PairStatistic::Products => "regr_sxy",
            PairStatistic::Slope => "regr_slope",
            PairStatistic::Intercept => "regr_intercept",
            PairStatistic::R2 => "regr_r2",
        }
    }
}

impl fmt::Display for AggregateCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns: Vec<String> = self.arguments.iter().map(|c| format!("#{c}")).collect();
        let columns = if columns.is_empty() { "*".to_string() } else { columns.join(", ") };
        write!(f, "{}({columns}", self.function)?;
        if let AggregateKind::Custom { parameters, .. } = &self.function {
            parameters.iter().try_for_each(|parameter| write!(f, ", {parameter}"))?;
        }
        let order: Vec<String> = self.function.order().iter().map(SortKey::to_string).collect();
        if !order.is_empty() {
            write!(f, " ORDER BY {}", order.join(", "))?;
        }
        f.write_str(")")?;
        self.filter.map_or(Ok(()), |filter| write!(f, " FILTER (#{filter})"))
    }
}
