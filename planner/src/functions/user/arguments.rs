//! Which types a function takes, and what the planner casts to them.

use arrow::datatypes::DataType;
use gristmill_engine::batch::logical_type;
use gristmill_engine::{Error, Result};

use crate::sql::type_name;

/// What a function takes. An array of types stands for [`Arguments::Exact`].
///
/// Given another type, the planner casts where values keep their meaning: between integers, from
/// numbers to floating point and decimals, between strings, between dates and timestamps, and from
/// NULL to anything. A value that does not fit (a large integer for a small one) fails when it is
/// met. Other types are refused when the statement is planned.
///
/// The function gets arrays of the very types that are declared here: a `StringArray` for
/// `DataType::Utf8`, a `StringViewArray` for `DataType::Utf8View`. The latter is the form that the
/// engine has at hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arguments {
    /// As many as there are types, of these types.
    Exact(Vec<DataType>),
    /// One or more, all of this type.
    Variadic(DataType),
    /// So many, of any type. Strings come as `Utf8View`, binaries as `BinaryView`.
    Any(usize),
}

impl<const N: usize> From<[DataType; N]> for Arguments {
    fn from(types: [DataType; N]) -> Self {
        Arguments::Exact(types.to_vec())
    }
}

impl From<Vec<DataType>> for Arguments {
    fn from(types: Vec<DataType>) -> Self {
        Arguments::Exact(types)
    }
}

impl Arguments {
    /// The declared type of an argument, where one is declared.
    fn declared(&self, number: usize) -> Option<&DataType> {
        match self {
            Arguments::Exact(types) => types.get(number),
            Arguments::Variadic(data_type) => Some(data_type),
            Arguments::Any(_) => None,
        }
    }

    /// The types that the function sees where the planner has these.
    pub(super) fn seen(&self, planned: &[DataType]) -> Vec<DataType> {
        let seen = planned.iter().enumerate();
        seen.map(|(number, planned)| self.declared(number).unwrap_or(planned).clone()).collect()
    }

    /// The types that the planner casts arguments of these types to.
    ///
    /// # Errors
    /// `Input` when they are too many, too few, or of types that are not cast.
    pub(super) fn planned(&self, name: &str, given: &[DataType]) -> Result<Vec<DataType>> {
        let wanted = match self {
            Arguments::Exact(types) => types.len(),
            Arguments::Variadic(_) => given.len().max(1),
            Arguments::Any(count) => *count,
        };
        if given.len() != wanted {
            let is_least = matches!(self, Arguments::Variadic(_));
            let many = if wanted == 1 && !is_least { "argument" } else { "arguments" };
            let least = if is_least { " or more" } else { "" };
            let message = format!("{name} takes {wanted}{least} {many}, not {}", given.len());
            return Err(Error::input(message));
        }
        let planned = given.iter().enumerate().map(|(number, given)| {
            let Some(declared) = self.declared(number) else { return Ok(logical_type(given)) };
            let wanted = logical_type(declared);
            if is_cast(&logical_type(given), &wanted) {
                return Ok(wanted);
            }
            let (wanted, given) = (type_name(&wanted), type_name(given));
            let number = number + 1;
            Err(Error::input(format!("{name} takes {wanted} as argument {number}, not {given}")))
        });
        planned.collect()
    }
}

/// Whether a type is cast to another one without being asked.
fn is_cast(from: &DataType, to: &DataType) -> bool {
    let is_time = |data_type: &DataType| {
        matches!(data_type, DataType::Date32 | DataType::Date64 | DataType::Timestamp(..))
    };
    let is_exact = |data_type: &DataType| data_type.is_integer() || data_type.is_decimal();
    from == to
        || from.is_null()
        || (from.is_integer() && to.is_integer())
        || (from.is_numeric() && to.is_floating())
        || (is_exact(from) && to.is_decimal())
        || (is_time(from) && matches!(to, DataType::Timestamp(..) | DataType::Date64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use DataType as T;

    #[test]
    fn types_are_cast_where_values_keep_their_meaning() {
        let both = Arguments::from([T::Int32, T::Utf8]);
        let planned = both.planned("f", &[T::Int64, T::LargeUtf8]).expect("are cast");
        assert_eq!(planned, [T::Int32, T::Utf8View]);
        assert_eq!(both.seen(&planned), [T::Int32, T::Utf8]);
        assert_eq!(both.planned("f", &[T::Null, T::Null]).expect("are cast"), planned);
        let refused = both.planned("f", &[T::Float64, T::Utf8]).expect_err("a fraction");
        assert_eq!(refused.to_string(), "f takes INTEGER as argument 1, not DOUBLE");
        let refused = both.planned("f", &[T::Int32]).expect_err("one is missing");
        assert_eq!(refused.to_string(), "f takes 2 arguments, not 1");
        let many = Arguments::Variadic(T::Float64);
        assert_eq!(many.planned("f", &[T::Int8, T::Decimal128(9, 2)]).expect("are cast").len(), 2);
        let refused = many.planned("f", &[]).expect_err("none");
        assert_eq!(refused.to_string(), "f takes 1 or more arguments, not 0");
        assert_eq!(Arguments::Any(1).planned("f", &[T::Utf8]).expect("any"), [T::Utf8View]);
    }
}
