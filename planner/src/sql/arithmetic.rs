//! Exact arithmetic that never wraps.
//!
//! The borrowed constant folder adds, subtracts, multiplies and negates integers modulo 2^n, and
//! lets decimals have more digits than their type. Right after the types are known, every such
//! operation on integers, and those on constant decimals whose type is as wide as it gets, become
//! functions that fail on overflow: the folder calls them, leaves a failing call alone, and
//! execution reports the overflow if a row gets there. Lowering turns the calls back into plain
//! arithmetic. Operators of bits become functions too, and stay so.
//!
//! Sound: the functions print and name their columns exactly as the operators they stand for, and
//! nothing but folding looks inside them.

use arrow::array::{ArrayRef, Datum, Decimal128Array};
use arrow::compute::kernels::numeric;
use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType};
use datafusion_common::config::ConfigOptions;
use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion_common::{Result, ScalarValue, exec_err, internal_err};
use datafusion_expr::expr::ScalarFunction;
use datafusion_expr::type_coercion::binary::BinaryTypeCoercer;
use datafusion_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion_optimizer::analyzer::AnalyzerRule;

use super::renewed::{any_expression, renewed, schema_below};
use crate::functions::{named_operation, of_bits, shown_operation};

/// `+`, `-` and `*` on two integers of one type, or on decimals.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct CheckedArithmetic {
    op: Operator,
    /// Of the result.
    data_type: DataType,
    signature: Signature,
}

/// Unary minus on an integer.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct CheckedNegation {
    signature: Signature,
}

/// The rule that puts them in.
#[derive(Debug)]
pub(super) struct CheckArithmetic;

impl CheckedArithmetic {
    fn new(op: Operator, data_type: DataType) -> Self {
        CheckedArithmetic { op, data_type, signature: Signature::any(2, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for CheckedArithmetic {
    fn name(&self) -> &str {
        match self.op {
            Operator::Plus => "checked_add",
            Operator::Minus => "checked_subtract",
            _ => "checked_multiply",
        }
    }

    fn display_name(&self, args: &[Expr]) -> Result<String> {
        shown_operation(self.op, args)
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        named_operation(self.op, args)
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.data_type.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [left, right] = &args.args[..] else { return internal_err!("two operands") };
        let kernel = match self.op {
            Operator::Plus => numeric::add,
            Operator::Minus => numeric::sub,
            _ => numeric::mul,
        };
        let (left, right) = (operand(left)?, operand(right)?);
        let fits = |result: &ArrayRef| match result.as_any().downcast_ref::<Decimal128Array>() {
            Some(decimals) => decimals.validate_decimal_precision(decimals.precision()).is_ok(),
            None => true,
        };
        match kernel(&*left, &*right) {
            Ok(result) if fits(&result) => columnar(result, &*left, &*right),
            _ => {
                exec_err!("overflow: the result of {} does not fit {}", self.op, self.data_type)
            }
        }
    }
}

impl ScalarUDFImpl for CheckedNegation {
    fn name(&self) -> &str {
        "checked_negate"
    }

    fn display_name(&self, args: &[Expr]) -> Result<String> {
        let [operand] = args else { return internal_err!("one operand") };
        Ok(format!("(- {operand})"))
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        let [operand] = args else { return internal_err!("one operand") };
        Ok(format!("(- {})", operand.schema_name()))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[DataType]) -> Result<DataType> {
        args.first().cloned().map_or_else(|| internal_err!("one operand"), Ok)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [value] = &args.args[..] else { return internal_err!("one operand") };
        let value = operand(value)?;
        let array = value.get().0;
        let result = numeric::neg(array).or_else(|_| {
            exec_err!("overflow: the result of - does not fit {}", array.data_type())
        })?;
        columnar(result, &*value, &*value)
    }
}

fn operand(value: &ColumnarValue) -> Result<Box<dyn Datum>> {
    Ok(match value {
        ColumnarValue::Array(array) => Box::new(array.clone()),
        ColumnarValue::Scalar(scalar) => Box::new(scalar.to_scalar()?),
    })
}

/// A scalar when both operands are.
fn columnar(result: ArrayRef, left: &dyn Datum, right: &dyn Datum) -> Result<ColumnarValue> {
    if left.get().1 && right.get().1 {
        return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?));
    }
    Ok(ColumnarValue::Array(result))
}

impl AnalyzerRule for CheckArithmetic {
    fn name(&self) -> &str {
        "check_arithmetic"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(|node| {
            if !any_expression(&node, has_arithmetic) {
                return Ok(Transformed::no(node));
            }
            let schema = schema_below(&node);
            // Windows are named after their keys, and aggregates after their filters, in a form
            // that shows functions as such.
            match node {
                LogicalPlan::Window(_) | LogicalPlan::Aggregate(_) => {
                    renewed(node, |e| checked(e, &schema))
                }
                _ => node.map_expressions(|expr| expr.transform_up(|e| checked(e, &schema))),
            }
        })
        .data()
    }
}

fn is_checkable(op: Operator) -> bool {
    matches!(op, Operator::Plus | Operator::Minus | Operator::Multiply)
}

fn has_arithmetic(expr: &Expr) -> bool {
    let found = expr.exists(|e| {
        Ok(match e {
            Expr::BinaryExpr(binary) => is_checkable(binary.op) || of_bits(binary.op).is_some(),
            Expr::Negative(_) => true,
            _ => false,
        })
    });
    found.unwrap_or(true)
}

fn checked(expr: Expr, schema: &datafusion_common::DFSchema) -> Result<Transformed<Expr>> {
    match expr {
        // Both operands have one type by now; the right one of a long chain is the shallow one.
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_checkable(op) => {
            let data_type = right.get_type(schema)?;
            let result = if data_type.is_integer() {
                same_type(&left, &right, schema).then_some(data_type)
            } else if data_type.is_decimal() {
                widest_constant(&left, op, &right, schema)
            } else {
                None
            };
            match result {
                Some(result) => {
                    let function = CheckedArithmetic::new(op, result);
                    Ok(Transformed::yes(call(function, vec![*left, *right])))
                }
                None => Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right }))),
            }
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match of_bits(op) {
            Some(function) if same_type(&left, &right, schema) => {
                let function = ScalarFunction::new_udf(function.into(), vec![*left, *right]);
                Ok(Transformed::yes(Expr::ScalarFunction(function)))
            }
            _ => Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right }))),
        },
        Expr::Negative(operand) if operand.get_type(schema)?.is_integer() => {
            let signature = Signature::any(1, Volatility::Immutable);
            Ok(Transformed::yes(call(CheckedNegation { signature }, vec![*operand])))
        }
        other => Ok(Transformed::no(other)),
    }
}

/// The type of an operation on constant decimals, if it has no digit to spare.
fn widest_constant(
    left: &Expr,
    op: Operator,
    right: &Expr,
    schema: &datafusion_common::DFSchema,
) -> Option<DataType> {
    if right.any_column_refs() || left.any_column_refs() {
        return None;
    }
    let (left, right) = (left.get_type(schema).ok()?, right.get_type(schema).ok()?);
    let result = BinaryTypeCoercer::new(&left, &op, &right).get_result_type().ok()?;
    matches!(result, DataType::Decimal128(DECIMAL128_MAX_PRECISION, _)).then_some(result)
}

/// Whether `left` is an integer of the right operand's type. Calls put in before are of the type
/// of their right operand, so that a chain is not walked again at each of its levels.
fn same_type(left: &Expr, right: &Expr, schema: &datafusion_common::DFSchema) -> bool {
    let mut shallow = left;
    while let Expr::ScalarFunction(function) = shallow
        && function.func.inner().downcast_ref::<CheckedArithmetic>().is_some()
        && let [_, operand] = &function.args[..]
    {
        shallow = operand;
    }
    matches!((shallow.get_type(schema), right.get_type(schema)), (Ok(a), Ok(b)) if a == b)
}

fn call(function: impl ScalarUDFImpl + 'static, args: Vec<Expr>) -> Expr {
    let function = std::sync::Arc::new(ScalarUDF::new_from_impl(function));
    Expr::ScalarFunction(ScalarFunction::new_udf(function, args))
}
