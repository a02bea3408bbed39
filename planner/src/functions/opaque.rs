//! Functions that mean their first argument and that no borrowed rule looks into.
//!
//! * `in_place(condition, anchor)` is a condition of a join that must not see rows of one input
//!   before they have met their partners: it reads a column of the other input, the anchor, so that
//!   no rule moves it there.
//! * `three_valued(mark)` is the mark of a null-aware join. The borrowed schema of mark joins says
//!   that marks are never NULL, and rules would conclude from that.
//! * `kept(cast)` is a cast that stays where it is compared.
//! * `apart(operand, number)` is the operand of an IN list that is not merged with those of other
//!   numbers.
//!
//! Lowering puts the first argument in their place.

use arrow::datatypes::DataType;
use datafusion_common::{Result, internal_err};
use datafusion_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, lit,
};

const IN_PLACE: &str = "in_place";
const THREE_VALUED: &str = "three_valued";
const KEPT: &str = "kept";
const APART: &str = "apart";

#[derive(Debug, PartialEq, Eq, Hash)]
struct Opaque {
    name: &'static str,
    signature: Signature,
}

fn opaque(name: &'static str, args: Vec<Expr>) -> Expr {
    let signature = Signature::any(args.len(), Volatility::Immutable);
    ScalarUDF::from(Opaque { name, signature }).call(args)
}

/// A condition that stays where it is; `anchor` is of the input that it must not be moved to.
pub(crate) fn in_place(condition: Expr, anchor: Expr) -> Expr {
    opaque(IN_PLACE, vec![condition, anchor])
}

/// A mark that may be NULL.
pub(crate) fn three_valued(mark: Expr) -> Expr {
    opaque(THREE_VALUED, vec![mark])
}

/// A cast that stays where it is compared.
pub(crate) fn kept(cast: Expr) -> Expr {
    opaque(KEPT, vec![cast])
}

/// The operand of an IN list that is merged with lists of the same number alone.
pub(crate) fn apart(operand: Expr, number: usize) -> Expr {
    opaque(APART, vec![operand, lit(number as u64)])
}

/// What an expression means, without such functions around it.
pub(crate) fn meant(expr: &Expr) -> &Expr {
    match expr {
        Expr::ScalarFunction(call) if is_opaque(call.name()) => {
            call.args.first().map_or(expr, meant)
        }
        _ => expr,
    }
}

/// Whether a function of this name means its first argument.
pub(crate) fn is_opaque(name: &str) -> bool {
    [IN_PLACE, THREE_VALUED, KEPT, APART].contains(&name)
}

impl ScalarUDFImpl for Opaque {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[DataType]) -> Result<DataType> {
        args.first().cloned().map_or_else(|| internal_err!("{} without argument", self.name), Ok)
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if args.args.is_empty() {
            return internal_err!("{} without argument", self.name);
        }
        Ok(args.args.swap_remove(0))
    }
}
