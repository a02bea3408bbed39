//! `s.a`: a part of a structure by its name in any case, where no other part has that name but for
//! its case. Once types are known, it is called as it is spelled (see [`with_spelled_parts`]).

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion_common::{Column, DFSchema, Result, ScalarValue, TableReference, plan_err};
use datafusion_expr::expr::ScalarFunction;
use datafusion_expr::planner::{ExprPlanner, PlannerResult};
use datafusion_expr::{
    ColumnarValue, Expr, ExprSchemable, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, lit,
};
use datafusion_functions::core::get_field;

use crate::sql::in_any_case;

#[derive(Debug, PartialEq, Eq, Hash)]
struct Part {
    borrowed: Arc<ScalarUDF>,
}

/// The function in place of the borrowed one.
pub(super) fn part(borrowed: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(Part { borrowed }))
}

impl ScalarUDFImpl for Part {
    as_borrowed!(name, aliases, signature, return_type, coerce_types);

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        self.borrowed.schema_name(args)
    }

    fn return_field_from_args(&self, call: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let (Some(base), [_, Some(name)]) = (call.arg_fields.first(), call.scalar_arguments) else {
            return self.borrowed.return_field_from_args(call);
        };
        let name = spelled(base.data_type(), name)?;
        let scalar_arguments = &[None, Some(&name)];
        self.borrowed.return_field_from_args(ReturnFieldArgs { scalar_arguments, ..call })
    }

    fn invoke_with_args(&self, mut call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if let [base, ColumnarValue::Scalar(name)] = &mut call.args[..] {
            *name = spelled(&base.data_type(), name)?;
        }
        self.borrowed.inner().invoke_with_args(call)
    }
}

/// The name of a part as the structure spells it. What is no structure has keys, or nothing.
fn spelled(base: &DataType, name: &ScalarValue) -> Result<ScalarValue> {
    let (DataType::Struct(fields), Some(Some(wanted))) = (base, name.try_as_str()) else {
        return Ok(name.clone());
    };
    let names = fields.iter().map(|field| field.name().as_str());
    match in_any_case(names.clone(), wanted) {
        Some(spelled) => Ok(ScalarValue::from(spelled)),
        None => {
            let names = names.collect::<Vec<_>>().join(", ");
            plan_err!("the structure has no part {wanted}; its parts are {names}")
        }
    }
}

/// A call for a part as one of the borrowed function, which rules know, by the spelled name.
///
/// # Errors
/// When there is no such part.
pub(crate) fn with_spelled_parts(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    let Expr::ScalarFunction(call) = &expr else { return Ok(expr) };
    let (Some(part), [base, Expr::Literal(name, _)]) =
        (call.func.inner().downcast_ref::<Part>(), &call.args[..])
    else {
        return Ok(expr);
    };
    let name = spelled(&base.get_type(schema)?, name)?;
    let args = vec![base.clone(), lit(name)];
    Ok(Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(&part.borrowed), args)))
}

/// Plans the parts of columns that have a name.
#[derive(Debug)]
pub(crate) struct Parts;

impl ExprPlanner for Parts {
    fn plan_compound_identifier(
        &self,
        field: &Field,
        qualifier: Option<&TableReference>,
        names: &[String],
    ) -> Result<PlannerResult<Vec<Expr>>> {
        let mut expr = Expr::Column(Column::from((qualifier, field)));
        let mut data_type = Some(field.data_type());
        for name in names {
            let mut name = ScalarValue::from(name.as_str());
            // What is not there is refused by the call.
            if let Some(spelled) = data_type.and_then(|known| spelled(known, &name).ok()) {
                name = spelled;
            }
            data_type = match data_type {
                Some(DataType::Struct(fields)) => fields
                    .iter()
                    .find(|field| name.try_as_str() == Some(Some(field.name())))
                    .map(|field| field.data_type()),
                _ => None,
            };
            let args = vec![expr, lit(name)];
            expr = Expr::ScalarFunction(ScalarFunction::new_udf(part(get_field()), args));
        }
        Ok(PlannerResult::Planned(expr))
    }
}
