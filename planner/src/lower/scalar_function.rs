//! The engine's function trait over the front end's functions.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, StringViewBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef};
use arrow::error::ArrowError;
use datafusion_common::config::ConfigOptions;
use datafusion_common::{DataFusionError, ScalarValue};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, Volatility};
use gristmill_engine::expr::{Argument, ScalarFunction, bytes_taken};
use gristmill_engine::{Error, Result};

use crate::functions::{result_bytes, writes_constants};
use crate::sql::with_types_spelled_out;

/// A scalar function of the front end, called with the types it declared.
pub(crate) struct UdfFunction {
    udf: Arc<ScalarUDF>,
    options: Arc<ConfigOptions>,
}

impl UdfFunction {
    /// An adapter that calls `udf` under these options (time zone and the like).
    pub(crate) fn new(udf: Arc<ScalarUDF>, options: Arc<ConfigOptions>) -> Self {
        UdfFunction { udf, options }
    }
}

impl ScalarFunction for UdfFunction {
    fn name(&self) -> &str {
        self.udf.name()
    }

    fn is_volatile(&self) -> bool {
        self.udf.signature().volatility == Volatility::Volatile
    }

    fn writes_constants(&self) -> bool {
        writes_constants(self.name())
    }

    fn result_bytes(&self, args: &[Argument], rows: usize) -> usize {
        result_bytes(self.name(), args, rows).unwrap_or_else(|| bytes_taken(args, 1))
    }

    fn invoke(&self, args: &[Argument], rows: usize, returns: &DataType) -> Result<ArrayRef> {
        let field = |arg: &Argument| -> FieldRef {
            let (Argument::Array(array) | Argument::Constant(array)) = arg;
            Arc::new(Field::new("argument", array.data_type().clone(), true))
        };
        let call = ScalarFunctionArgs {
            arg_fields: args.iter().map(field).collect(),
            args: args.iter().map(columnar).collect::<Result<_>>()?,
            number_rows: rows,
            return_field: Arc::new(Field::new(self.name(), returns.clone(), true)),
            config_options: self.options.clone(),
        };
        let failed = |e: DataFusionError| match &e {
            DataFusionError::ArrowError(arrow, _)
                if matches!(arrow.as_ref(), ArrowError::DivideByZero) =>
            {
                Error::division_by_zero()
            }
            _ => Error::input(format!("{}: {}{}", self.name(), reason(&e), self.help(&e))),
        };
        let result = self.udf.inner().invoke_with_args(call).map_err(failed)?;
        let array = result.into_array(rows).map_err(failed)?;
        // Some call the elements of lists by another name than they said.
        match array.data_type() != returns && array.data_type().equals_datatype(returns) {
            true => Ok(cast(&array, returns)?),
            false => Ok(array),
        }
    }
}

impl UdfFunction {
    /// What a function could have been asked for instead.
    fn help(&self, error: &DataFusionError) -> &'static str {
        match self.name() {
            "date_part" if reason(error).starts_with("Date part '") => {
                "; the parts are millennium, century, decade, year, isoyear, quarter, month, week, \
                 yearweek, day, dow, isodow, doy, hour, minute, second, millisecond, microsecond, \
                 nanosecond and epoch"
            }
            _ => "",
        }
    }
}

/// What a function says went wrong, without the kind of error that it made of it.
fn reason(error: &DataFusionError) -> String {
    let text = match error {
        DataFusionError::Execution(said)
        | DataFusionError::NotImplemented(said)
        | DataFusionError::Plan(said) => said.clone(),
        DataFusionError::ArrowError(arrow, _) => match arrow.as_ref() {
            ArrowError::ComputeError(said)
            | ArrowError::CastError(said)
            | ArrowError::ParseError(said)
            | ArrowError::ArithmeticOverflow(said)
            | ArrowError::InvalidArgumentError(said) => said.clone(),
            other => other.to_string(),
        },
        other => other.strip_backtrace(),
    };
    let said = text.split(DataFusionError::BACK_TRACE_SEP).next().unwrap_or_default();
    with_types_spelled_out(said)
}

fn columnar(arg: &Argument) -> Result<ColumnarValue> {
    Ok(match arg {
        Argument::Array(array) => ColumnarValue::Array(array.clone()),
        Argument::Constant(array) => {
            let scalar = ScalarValue::try_from_array(array, 0);
            ColumnarValue::Scalar(scalar.map_err(|e| Error::internal(e.to_string()))?)
        }
    })
}

/// SQL's `||` on strings, of texts or of bytes: NULL when either side is.
pub(crate) struct StringConcat;

impl ScalarFunction for StringConcat {
    fn name(&self) -> &str {
        "string_concat"
    }

    fn is_fallible(&self) -> bool {
        false
    }

    fn result_bytes(&self, args: &[Argument], rows: usize) -> usize {
        bytes_taken(args, rows)
    }

    fn invoke(&self, args: &[Argument], rows: usize, returns: &DataType) -> Result<ArrayRef> {
        let [left, right] = args else {
            return Err(Error::internal("|| takes two strings"));
        };
        // What texts have are bytes too: those of the two need not be texts.
        if returns.is_binary() || matches!(returns, DataType::FixedSizeBinary(_)) {
            return bytes_of_both(left, right, rows, returns);
        }
        let (left, right) = (Texts::new(left)?, Texts::new(right)?);
        let mut out = StringViewBuilder::with_capacity(rows);
        let mut text = String::new();
        for row in 0..rows {
            match (left.get(row), right.get(row)) {
                (Some(l), Some(r)) => {
                    text.clear();
                    text.push_str(l);
                    text.push_str(r);
                    out.append_value(&text);
                }
                _ => out.append_null(),
            }
        }
        Ok(cast(&out.finish(), returns)?)
    }
}

/// The bytes of one argument and of another behind them.
fn bytes_of_both(
    left: &Argument,
    right: &Argument,
    rows: usize,
    returns: &DataType,
) -> Result<ArrayRef> {
    let bytes = |arg: &Argument| -> Result<(ArrayRef, bool)> {
        let (Argument::Array(array) | Argument::Constant(array)) = arg;
        let is_constant = matches!(arg, Argument::Constant(_));
        Ok((cast(array, &DataType::Binary)?, is_constant))
    };
    let ((left, left_constant), (right, right_constant)) = (bytes(left)?, bytes(right)?);
    let (left, right) = (left.as_binary::<i32>(), right.as_binary::<i32>());
    let mut out = BinaryBuilder::with_capacity(rows, 0);
    let mut both = Vec::new();
    for row in 0..rows {
        let left_row = if left_constant { 0 } else { row };
        let right_row = if right_constant { 0 } else { row };
        if left.is_null(left_row) || right.is_null(right_row) {
            out.append_null();
            continue;
        }
        both.clear();
        both.extend_from_slice(left.value(left_row));
        both.extend_from_slice(right.value(right_row));
        out.append_value(&both);
    }
    Ok(cast(&out.finish(), returns)?)
}

/// The strings of an argument, one per row.
struct Texts {
    array: ArrayRef,
    constant: bool,
}

impl Texts {
    fn new(arg: &Argument) -> Result<Self> {
        let (array, constant) = match arg {
            Argument::Array(array) => (array, false),
            Argument::Constant(array) => (array, true),
        };
        Ok(Texts { array: cast(array, &DataType::Utf8View)?, constant })
    }

    fn get(&self, row: usize) -> Option<&str> {
        let row = if self.constant { 0 } else { row };
        let array = self.array.as_string_view();
        array.is_valid(row).then(|| array.value(row))
    }
}
