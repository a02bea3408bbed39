//! Functions that make much of few constants. Folded, a list would be written out in the plan,
//! element by element, and a text would be made where no budget holds: they are called when rows
//! are made.
//!
//! * Those of lists are never folded: to the borrowed rules they are volatile.
//! * Those of texts are folded when their result is short. lpad() and rpad() to less than no
//!   letter give none.
//! * A series of dates is one of timestamps: a step may be of hours.
//! * The rows of a series of whole numbers between constants are no list at all: the engine counts.

use std::sync::Arc;

use arrow::array::{AsArray, Int64Array};
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type, IntervalUnit, TimeUnit};
use datafusion_common::tree_node::TreeNode;
use datafusion_common::types::{NativeType, logical_date, logical_interval_mdn, logical_string};
use datafusion_common::{Result, ScalarValue, exec_err};
use datafusion_expr::logical_plan::{LogicalPlan, Unnest};
use datafusion_expr::{
    Coercion, ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, TypeSignature, TypeSignatureClass, Volatility,
};
use gristmill_engine::sources::Series;

use super::sizes::constant_bytes;
use super::stamps::{stamps, stamps_type};

/// Functions that make lists.
const SERIES: [&str; 4] = ["array_repeat", "array_resize", "generate_series", "range"];
/// Functions that make texts.
const TEXTS: [&str; 4] = ["lpad", "repeat", "replace", "rpad"];
/// What is folded of texts, in bytes.
const SHORT_BYTES: usize = 64 << 10;

/// A function that is not folded, or when its result is short alone.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Unfolded {
    inner: Arc<ScalarUDF>,
    signature: Signature,
    /// What a call makes at most, in bytes.
    most: Option<usize>,
}

impl Unfolded {
    /// What the function makes of timestamps, where that is ours to make.
    fn stamps_type(&self, start: Option<&DataType>) -> Option<DataType> {
        match self.name() {
            "generate_series" | "range" => stamps_type(start),
            _ => None,
        }
    }
}

/// The function as the borrowed rules shall see it.
pub(super) fn unfolded(function: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    let mut signature = function.signature().clone();
    let most = match function.name() {
        name if SERIES.contains(&name) => None,
        name if TEXTS.contains(&name) => Some(SHORT_BYTES),
        _ => return function,
    };
    if most.is_none() {
        signature.volatility = Volatility::Volatile;
    }
    if matches!(function.name(), "generate_series" | "range") {
        signature.type_signature = of_moments(signature.type_signature);
    }
    Arc::new(ScalarUDF::from(Unfolded { inner: function, signature, most }))
}

/// What a series takes when dates are timestamps: of the borrowed choices those of numbers remain.
fn of_moments(borrowed: TypeSignature) -> TypeSignature {
    let TypeSignature::OneOf(mut choices) = borrowed else { return borrowed };
    let takes = |choice: &TypeSignature, class: TypeSignatureClass| {
        let TypeSignature::Coercible(takes) = choice else { return false };
        takes.iter().any(|one| *one.desired_type() == class)
    };
    let interval = TypeSignatureClass::Native(logical_interval_mdn());
    choices.retain(|choice| !takes(choice, interval.clone()));
    let moment = Coercion::new_implicit(
        TypeSignatureClass::Timestamp,
        vec![
            TypeSignatureClass::Native(logical_date()),
            TypeSignatureClass::Native(logical_string()),
        ],
        NativeType::Timestamp(TimeUnit::Microsecond, None),
    );
    let step = Coercion::new_implicit(
        interval,
        vec![TypeSignatureClass::Interval],
        NativeType::Interval(IntervalUnit::MonthDayNano),
    );
    choices.push(TypeSignature::Coercible(vec![moment.clone(), moment, step]));
    TypeSignature::OneOf(choices)
}

/// The function that is called, which is as volatile as it is.
pub(crate) fn called(function: &Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    match function.inner().downcast_ref::<Unfolded>() {
        Some(Unfolded { inner, .. }) => {
            let signature = inner.signature().clone();
            Arc::new(ScalarUDF::from(Unfolded { inner: inner.clone(), signature, most: None }))
        }
        None => function.clone(),
    }
}

/// The numbers that are the only rows of an UNNEST, where they are known: those of a series between
/// constants that stands by itself.
pub(crate) fn series_of(unnest: &Unnest) -> Option<Series> {
    let LogicalPlan::Projection(lists) = unnest.input.as_ref() else { return None };
    let is_alone =
        matches!(lists.input.as_ref(), LogicalPlan::EmptyRelation(row) if row.produce_one_row);
    let is_unnested = matches!(&unnest.list_type_columns[..], [(0, list)] if list.depth == 1);
    let ([list], [field]) = (&lists.expr[..], &unnest.schema.fields()[..]) else { return None };
    let Expr::ScalarFunction(call) = list.clone().unalias() else { return None };
    if !is_alone || !is_unnested || call.func.inner().downcast_ref::<Unfolded>().is_none() {
        return None;
    }
    let with_stop = match call.func.name() {
        "generate_series" => true,
        "range" => false,
        _ => return None,
    };
    let number = |expr: &Expr| match expr {
        Expr::Literal(ScalarValue::Int64(number), _) => *number,
        _ => None,
    };
    let numbers: Vec<i64> = call.args.iter().map(number).collect::<Option<_>>()?;
    let (first, stop, step) = match numbers[..] {
        [stop] => (0, stop, 1),
        [first, stop] => (first, stop, 1),
        [first, stop, step] => (first, stop, step),
        _ => return None,
    };
    Series::new(field.name(), first, stop, step, with_stop)
}

/// Whether an expression may have another value each time.
pub(crate) fn is_random(expr: &Expr) -> bool {
    expr.exists(|e| Ok(is_random_call(e))).unwrap_or(true)
}

/// Whether an expression is a call of what may give another value each time.
pub(crate) fn is_random_call(expr: &Expr) -> bool {
    match expr {
        Expr::ScalarFunction(call) if call.func.inner().downcast_ref::<Unfolded>().is_some() => {
            false
        }
        other => other.is_volatile_node(),
    }
}

/// Lengths, of which those below zero are zero: the borrowed functions panic there.
fn at_least_none(lengths: &ColumnarValue) -> Result<ColumnarValue> {
    let lengths = lengths.cast_to(&DataType::Int64, None)?;
    Ok(match lengths {
        ColumnarValue::Scalar(ScalarValue::Int64(length)) => {
            ColumnarValue::Scalar(ScalarValue::Int64(length.map(|length| length.max(0))))
        }
        ColumnarValue::Array(lengths) => {
            let lengths = lengths.as_primitive::<Int64Type>();
            let lengths: Int64Array = lengths.unary(|length| length.max(0));
            ColumnarValue::Array(Arc::new(lengths))
        }
        other => other,
    })
}

impl ScalarUDFImpl for Unfolded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        if let Some(stamps) = self.stamps_type(arguments.first()) {
            return Ok(stamps);
        }
        self.inner.return_type(arguments)
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let start = arguments.arg_fields.first().map(|field| field.data_type());
        if let Some(stamps) = self.stamps_type(start) {
            return Ok(Arc::new(Field::new(self.name(), stamps, true)));
        }
        self.inner.return_field_from_args(arguments)
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(arguments)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let mut arguments = arguments;
        if matches!(self.name(), "lpad" | "rpad")
            && let Some(length) = arguments.args.get_mut(1)
        {
            *length = at_least_none(length)?;
        }
        if let Some(most) = self.most {
            let arrays = ColumnarValue::values_to_arrays(&arguments.args)?;
            if constant_bytes(self.name(), &arrays) > most {
                return exec_err!("{} is called when rows are made", self.name());
            }
        }
        let start = arguments.args.first().map(ColumnarValue::data_type);
        if self.stamps_type(start.as_ref()).is_some() {
            let arrays = ColumnarValue::values_to_arrays(&arguments.args)?;
            let includes_stop = self.name() == "generate_series";
            return Ok(ColumnarValue::Array(stamps(&arrays, includes_stop)?));
        }
        self.inner.invoke_with_args(arguments)
    }
}
