//! `coalesce`, `make_array`, `greatest` and `least` of texts that are constants and of numbers,
//! moments, intervals or Booleans: the texts are read as what the others are (when the types are
//! settled, by a cast around each). Other texts are refused: the borrowed functions find no common
//! type, or make numbers of whole columns.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion_common::{Result, plan_err};
use datafusion_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
};

use super::common_type::{Meeting, common_type};
use crate::sql::type_name;

#[derive(Debug, PartialEq, Eq, Hash)]
struct WithTexts {
    borrowed: Arc<ScalarUDF>,
}

/// The function in place of the borrowed one.
pub(super) fn with_texts(borrowed: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(WithTexts { borrowed }))
}

/// What the others among values with texts are, where that is what the texts are read as.
fn beside_texts(types: &[&DataType]) -> Result<Option<DataType>> {
    let (texts, others): (Vec<&DataType>, Vec<&DataType>) =
        types.iter().filter(|t| !t.is_null()).partition(|t| t.is_string());
    let is_read = |t: &&DataType| t.is_numeric() || t.is_temporal() || **t == DataType::Boolean;
    if texts.is_empty() || others.is_empty() || !others.iter().all(is_read) {
        return Ok(None);
    }
    common_type(&others, Meeting::Chosen)
}

impl WithTexts {
    /// The types of arguments for which the borrowed function knows none.
    fn met(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        if arguments.is_empty() {
            return plan_err!("{} takes one value or more", self.name());
        }
        let types: Vec<&DataType> = arguments.iter().collect();
        if let Some(common) = common_type(&types, Meeting::Chosen)? {
            return Ok(vec![common; arguments.len()]);
        }
        let mut names: Vec<String> = Vec::new();
        for data_type in types.into_iter().filter(|t| !t.is_null()) {
            let name = type_name(data_type).to_string();
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let names = names.join(" and ");
        plan_err!("{} takes values of one type, not {names}; cast some of them", self.name())
    }
}

impl ScalarUDFImpl for WithTexts {
    as_borrowed!(name, aliases, signature, return_type);

    /// Texts stay, for the types do not say which are constants.
    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let Some(wanted) = beside_texts(&arguments.iter().collect::<Vec<_>>())? else {
            return self.borrowed.coerce_types(arguments).or_else(|_| self.met(arguments));
        };
        let met = |t: &DataType| if t.is_string() { t.clone() } else { wanted.clone() };
        Ok(arguments.iter().map(met).collect())
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let types: Vec<&DataType> = arguments.arg_fields.iter().map(|f| f.data_type()).collect();
        let Some(wanted) = beside_texts(&types)? else {
            return self.borrowed.return_field_from_args(arguments);
        };
        let given = arguments.arg_fields.iter().zip(arguments.scalar_arguments);
        let fields = given.map(|(field, constant)| match field.data_type() {
            text if text.is_string() && constant.is_none() => plan_err!(
                "{} takes values of one type, not {} and {}; cast one of them",
                self.name(),
                type_name(&wanted),
                type_name(text)
            ),
            _ => Ok(Arc::new(field.as_ref().clone().with_data_type(wanted.clone()))),
        });
        let arg_fields: Vec<FieldRef> = fields.collect::<Result<_>>()?;
        let scalar_arguments = arguments.scalar_arguments;
        let known = ReturnFieldArgs { arg_fields: &arg_fields, scalar_arguments };
        self.borrowed.return_field_from_args(known)
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        self.borrowed.simplify(args, info)
    }

    fn short_circuits(&self) -> bool {
        self.borrowed.short_circuits()
    }

    fn conditional_arguments<'a>(
        &self,
        args: &'a [Expr],
    ) -> Option<(Vec<&'a Expr>, Vec<&'a Expr>)> {
        self.borrowed.conditional_arguments(args)
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.borrowed.inner().invoke_with_args(call)
    }
}
