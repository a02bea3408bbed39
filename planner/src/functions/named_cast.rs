//! Casts that have a name of their own: a cast is called as what it casts, and the binder refuses
//! `sum(k)` beside `sum(CAST(k AS DOUBLE))`, which it would call the same.

use arrow::datatypes::{DataType, FieldRef};
use datafusion_common::{Result, plan_err};
use datafusion_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

/// What the function is called in the syntax tree.
pub(crate) const NAMED_CAST: &str = "named_cast";

/// `named_cast(CAST(x AS t))` is its argument.
#[derive(Debug, PartialEq, Eq, Hash)]
struct NamedCast {
    signature: Signature,
}

/// The function.
pub(super) fn named_cast() -> ScalarUDF {
    ScalarUDF::from(NamedCast { signature: Signature::any(1, Volatility::Immutable) })
}

impl ScalarUDFImpl for NamedCast {
    fn name(&self) -> &str {
        NAMED_CAST
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        Ok(match args {
            [Expr::Cast(cast)] => {
                format!("CAST({} AS {})", cast.expr.schema_name(), cast.field.data_type())
            }
            [Expr::TryCast(cast)] => {
                format!("TRY_CAST({} AS {})", cast.expr.schema_name(), cast.field.data_type())
            }
            [other] => format!("CAST({})", other.schema_name()),
            _ => NAMED_CAST.to_string(),
        })
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[DataType]) -> Result<DataType> {
        match args {
            [cast] => Ok(cast.clone()),
            _ => plan_err!("{NAMED_CAST} takes a cast"),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        match args.arg_fields {
            [cast] => Ok(cast.clone()),
            _ => plan_err!("{NAMED_CAST} takes a cast"),
        }
    }

    fn simplify(&self, mut args: Vec<Expr>, _: &SimplifyContext) -> Result<ExprSimplifyResult> {
        Ok(match (args.pop(), args.is_empty()) {
            (Some(cast), true) => ExprSimplifyResult::Simplified(cast),
            (last, _) => {
                args.extend(last);
                ExprSimplifyResult::Original(args)
            }
        })
    }

    fn invoke_with_args(&self, mut call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match call.args.pop() {
            Some(cast) => Ok(cast),
            None => plan_err!("{NAMED_CAST} takes a cast"),
        }
    }
}
