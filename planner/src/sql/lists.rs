//! Lists in expressions: `list || list`, `list || element`, `list[1]`, `list[1:2]`; `map[key]`.
//!
//! `||` is NULL when one of its lists is, as on texts; an element that is NULL is added.

use arrow::datatypes::DataType;
use datafusion_common::utils::list_ndims;
use datafusion_common::{DFSchema, DataFusionError, Result, ScalarValue};
use datafusion_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr, RawFieldAccessExpr};
use datafusion_expr::{Expr, ExprSchemable, GetFieldAccess, cast, lit};
use datafusion_functions_nested::concat::{array_append_udf, array_concat_udf, array_prepend_udf};
use datafusion_functions_nested::expr_fn::array_slice;
use datafusion_sql::sqlparser::ast::BinaryOperator;
use gristmill_engine::Error;

use super::structs::PART;
use super::type_names::type_name;
use crate::functions::{element, key_type, list_append, strict, values_of_key};

/// `||` in a chain that was put together in another shape than it was written in.
pub(super) const CHAINED_CONCAT: &str = "||";

/// See the module documentation.
#[derive(Debug)]
pub(super) struct ListPlanner;

impl ExprPlanner for ListPlanner {
    fn plan_binary_op(
        &self,
        expr: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        let is_chained = match &expr.op {
            BinaryOperator::StringConcat => false,
            BinaryOperator::Custom(op) if op == CHAINED_CONCAT => true,
            _ => return Ok(PlannerResult::Original(expr)),
        };
        let RawBinaryExpr { left, right, .. } = expr;
        // What has no type is told by those who look names up.
        let types = [left.get_type(schema), right.get_type(schema)].map(|t| t.ok());
        let depths = types.each_ref().map(|t| t.as_ref().map_or(0, list_ndims));
        if depths == [0, 0] {
            let op = BinaryOperator::StringConcat;
            return Ok(PlannerResult::Original(RawBinaryExpr { op, left, right }));
        }
        if let [Some(DataType::Null), Some(list)] | [Some(list), Some(DataType::Null)] = &types {
            return Ok(PlannerResult::Planned(Expr::Literal(ScalarValue::try_from(list)?, None)));
        }
        let (function, lists): (_, &'static [usize]) = match depths {
            [left, right] if left == right => (array_concat_udf(), &[0, 1]),
            _ if is_chained => return refused("a chain of || this long takes lists alone"),
            [left, right] if left > right => (list_append(array_append_udf()), &[0]),
            _ => (list_append(array_prepend_udf()), &[1]),
        };
        Ok(PlannerResult::Planned(strict(function, lists).call(vec![left, right])))
    }

    fn plan_field_access(
        &self,
        access: RawFieldAccessExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawFieldAccessExpr>> {
        let RawFieldAccessExpr { field_access, expr } = access;
        let data_type = expr.get_type(schema);
        if let (Ok(DataType::Map(..)), GetFieldAccess::ListIndex { key }) =
            (&data_type, &field_access)
        {
            let values = values_of_key(expr, key.as_ref().clone());
            return Ok(PlannerResult::Planned(element(values, lit(1_i64))));
        }
        if let Ok(data_type) = data_type
            && list_ndims(&data_type) == 0
            && !data_type.is_null()
        {
            let found = type_name(&data_type);
            return refused(&format!("[ ] takes an element of a list, and this is {found}"));
        }
        Ok(match field_access {
            GetFieldAccess::ListIndex { key } => PlannerResult::Planned(element(expr, *key)),
            GetFieldAccess::ListRange { start, stop, stride } => {
                PlannerResult::Planned(array_slice(expr, *start, *stop, Some(*stride)))
            }
            field_access @ GetFieldAccess::NamedStructField { .. } => {
                PlannerResult::Original(RawFieldAccessExpr { field_access, expr })
            }
        })
    }
}

/// What a map has for a text, which is read as one of its keys; other expressions are left alone.
pub(super) fn by_key(expr: Expr, schema: &DFSchema) -> Expr {
    let Expr::ScalarFunction(call) = &expr else { return expr };
    let [map, key] = &call.args[..] else { return expr };
    match map.get_type(schema).as_ref().map(key_type) {
        Ok(Some(data_type)) if call.name() == PART => {
            // A map without entries does not say what its keys are.
            let key = match data_type.is_null() {
                true => key.clone(),
                false => cast(key.clone(), data_type.clone()),
            };
            let values = values_of_key(map.clone(), key);
            element(values, lit(1_i64))
        }
        _ => expr,
    }
}

fn refused<T>(what: &str) -> Result<T> {
    Err(DataFusionError::External(Box::new(Error::input(what))))
}
