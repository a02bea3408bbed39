//! Aggregates of ours, as the binder has to know them: their names and types. Lowering computes
//! them by what the engine has.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion_common::{Result, internal_err, plan_err};
use datafusion_expr::function::AccumulatorArgs;
use datafusion_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Signature, TypeSignature, Volatility,
};

/// Which one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Declared {
    /// `median(x)`
    Median,
    /// `percentile_cont(x, fraction)`
    PercentileCont,
    /// `percentile_disc(x, fraction)`
    PercentileDisc,
    /// `mode(x)`
    Mode,
    /// `arg_min(x, y)`: the x of the row with the least y, where neither is NULL.
    ArgMin,
    /// `arg_max(x, y)`
    ArgMax,
    /// `string_agg(x, separator)`; a comma separates where nothing else does.
    StringAgg,
    /// `count_if(condition)`
    CountIf,
}

impl Declared {
    const ALL: [Declared; 8] = [
        Declared::Median,
        Declared::PercentileCont,
        Declared::PercentileDisc,
        Declared::Mode,
        Declared::ArgMin,
        Declared::ArgMax,
        Declared::StringAgg,
        Declared::CountIf,
    ];

    /// The function behind a name of the front end, if it is one of these.
    pub(crate) fn of(function: &AggregateUDF) -> Option<Declared> {
        function.inner().downcast_ref::<DeclaredAggregate>().map(|declared| declared.which)
    }

    /// Whether it is a value by its rank, or between two.
    pub(crate) fn is_percentile(self) -> bool {
        matches!(self, Declared::Median | Declared::PercentileCont | Declared::PercentileDisc)
    }

    fn names(self) -> &'static [&'static str] {
        match self {
            Declared::Median => &["median"],
            Declared::PercentileCont => &["percentile_cont", "quantile_cont"],
            Declared::PercentileDisc => &["percentile_disc", "quantile_disc", "quantile"],
            Declared::Mode => &["mode"],
            Declared::ArgMin => &["arg_min", "argmin", "min_by"],
            Declared::ArgMax => &["arg_max", "argmax", "max_by"],
            Declared::StringAgg => &["string_agg", "listagg", "group_concat"],
            Declared::CountIf => &["count_if", "countif"],
        }
    }

    /// Whether this percentile, which is of such a type, may be between two values; the median of
    /// texts is one of them.
    pub(crate) fn is_between(self, data_type: &DataType) -> bool {
        match self {
            Declared::Median => between(data_type).as_ref() == Some(data_type),
            _ => self == Declared::PercentileCont,
        }
    }

    fn arguments(self) -> TypeSignature {
        match self {
            Declared::Median | Declared::PercentileCont => TypeSignature::UserDefined,
            Declared::Mode => TypeSignature::Any(1),
            Declared::CountIf => TypeSignature::Exact(vec![DataType::Boolean]),
            Declared::StringAgg => {
                TypeSignature::OneOf(vec![TypeSignature::Any(1), TypeSignature::Any(2)])
            }
            _ => TypeSignature::Any(2),
        }
    }
}

/// The functions, for the table of names.
pub(crate) fn declared_aggregates() -> Vec<AggregateUDF> {
    Declared::ALL.into_iter().map(declared).collect()
}

/// One of them.
pub(crate) fn declared(which: Declared) -> AggregateUDF {
    let aliases = which.names().iter().skip(1).map(|name| name.to_string()).collect();
    let signature = Signature::new(which.arguments(), Volatility::Immutable);
    AggregateUDF::from(DeclaredAggregate { which, signature, aliases })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct DeclaredAggregate {
    which: Declared,
    signature: Signature,
    aliases: Vec<String>,
}

impl AggregateUDFImpl for DeclaredAggregate {
    fn name(&self) -> &str {
        self.which.names().first().copied().unwrap_or_default()
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Of the functions that give what is between two values: decimals are doubles there, as whole
    /// numbers are, since the digits of their type may be too few.
    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let count = if self.which == Declared::Median { 1 } else { 2 };
        if arguments.len() != count {
            let (name, given) = (self.name(), arguments.len());
            let takes = if count == 1 { "one argument" } else { "a value and a fraction" };
            return plan_err!("{name} takes {takes}, not {given} arguments");
        }
        let mut types = arguments.to_vec();
        if types[0].is_decimal() {
            types[0] = DataType::Float64;
        }
        Ok(types)
    }

    fn return_type(&self, args: &[DataType]) -> Result<DataType> {
        let Some(first) = args.first() else {
            return plan_err!("{} needs an argument", self.name());
        };
        Ok(match self.which {
            Declared::Median | Declared::PercentileCont => match between(first) {
                Some(data_type) => data_type,
                None if self.which == Declared::Median && !has_distances(first) => first.clone(),
                None => {
                    let other = "quantile_disc gives one of the values";
                    return plan_err!("{} is not defined for {first}; {other}", self.name());
                }
            },
            Declared::CountIf => DataType::Int64,
            Declared::StringAgg => DataType::Utf8View,
            Declared::PercentileDisc | Declared::Mode | Declared::ArgMin | Declared::ArgMax => {
                first.clone()
            }
        })
    }

    fn is_nullable(&self) -> bool {
        self.which != Declared::CountIf
    }

    fn supports_within_group_clause(&self) -> bool {
        matches!(self.which, Declared::PercentileCont | Declared::PercentileDisc | Declared::Mode)
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        internal_err!("{} is computed by the engine", self.name())
    }
}

/// Whether something lies between values that cannot be told here.
fn has_distances(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => has_distances(values),
        DataType::Time32(_) | DataType::Time64(_) | DataType::Interval(_) => true,
        _ => false,
    }
}

/// The type of what is between two values of a type.
fn between(data_type: &DataType) -> Option<DataType> {
    Some(match data_type {
        DataType::Dictionary(_, values) => between(values)?,
        DataType::Null => DataType::Float64,
        number if number.is_integer() || number.is_decimal() => DataType::Float64,
        DataType::Date32 | DataType::Date64 => DataType::Timestamp(TimeUnit::Microsecond, None),
        DataType::Float16
        | DataType::Float32
        | DataType::Float64
        | DataType::Timestamp(..)
        | DataType::Duration(_) => data_type.clone(),
        _ => return None,
    })
}
