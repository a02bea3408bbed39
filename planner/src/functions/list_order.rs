//! `<`, `<=`, `>` and `>=` of lists and structures: elements that are NULL are behind all others.
//! The borrowed constant folder has them in front. Lowering turns the calls back into comparisons.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, BooleanArray};
use arrow::datatypes::DataType;
use datafusion_common::{Result, exec_err};
use datafusion_expr::{
    BinaryExpr, ColumnarValue, Expr, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};
use gristmill_engine::batch::nested_order;

use super::each::{is_constant, results};
use super::user::to_front_end;

/// A comparison of two nested values of one type.
#[derive(Debug, PartialEq, Eq, Hash)]
struct ListOrder {
    op: Operator,
    signature: Signature,
}

/// The operators, and what their functions are called.
const OPERATORS: [(Operator, &str); 4] = [
    (Operator::Lt, "list_less"),
    (Operator::LtEq, "list_less_or_equal"),
    (Operator::Gt, "list_greater"),
    (Operator::GtEq, "list_greater_or_equal"),
];

/// The call for a comparison, if it is one by order.
pub(crate) fn list_order(left: &Expr, op: Operator, right: &Expr) -> Option<Expr> {
    OPERATORS.iter().find(|(known, _)| *known == op)?;
    let signature = Signature::any(2, Volatility::Immutable);
    Some(ScalarUDF::from(ListOrder { op, signature }).call(vec![left.clone(), right.clone()]))
}

/// The operator that a function of this name stands for.
pub(crate) fn list_operator(name: &str) -> Option<Operator> {
    OPERATORS.iter().find(|(_, known)| *known == name).map(|(op, _)| *op)
}

impl ScalarUDFImpl for ListOrder {
    fn name(&self) -> &str {
        let found = OPERATORS.iter().find(|(op, _)| *op == self.op);
        found.map_or("list_less", |(_, name)| name)
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        match args {
            [left, right] => {
                Ok(format!("{} {} {}", left.schema_name(), self.op, right.schema_name()))
            }
            _ => exec_err!("{} takes two operands", self.name()),
        }
    }

    fn display_name(&self, args: &[Expr]) -> Result<String> {
        match args {
            [left, right] => {
                let (left, right) = (left.clone().into(), right.clone().into());
                Ok(BinaryExpr::new(left, self.op, right).to_string())
            }
            _ => exec_err!("{} takes two operands", self.name()),
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_constant = is_constant(&call.args);
        let arrays = ColumnarValue::values_to_arrays(&call.args)?;
        let [left, right] = &arrays[..] else {
            return exec_err!("{} takes two operands", self.name());
        };
        let order = nested_order(left, right).map_err(to_front_end)?;
        let holds = |ordering: Ordering| match self.op {
            Operator::Lt => ordering.is_lt(),
            Operator::LtEq => ordering.is_le(),
            Operator::Gt => ordering.is_gt(),
            _ => ordering.is_ge(),
        };
        let is_known = |row: usize| left.is_valid(row) && right.is_valid(row);
        let found: BooleanArray =
            (0..left.len()).map(|row| is_known(row).then(|| holds(order(row, row)))).collect();
        results(Arc::new(found), is_constant)
    }
}
