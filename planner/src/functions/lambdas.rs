//! Functions of lists that take a lambda, as the binder has to know them: their names, what their
//! lambdas are given, and their types. Lowering computes them (`lower::lambda`), and no rule does.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion_common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion_common::{Result, exec_err, plan_err};
use datafusion_expr::expr::{HigherOrderFunction, Lambda, LambdaVariable};
use datafusion_expr::{
    ColumnarValue, Expr, HigherOrderFunctionArgs, HigherOrderReturnFieldArgs, HigherOrderSignature,
    HigherOrderUDF, HigherOrderUDFImpl, LambdaParametersProgress, ValueOrLambda, Volatility,
};

use crate::sql::type_name;

/// What becomes of the elements of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum OfElements {
    /// Each becomes what the lambda makes of it.
    Transform,
    /// Those stay for which the lambda is true.
    Filter,
}

const TRANSFORM: [&str; 5] =
    ["list_transform", "array_transform", "list_apply", "array_apply", "apply"];
const FILTER: [&str; 3] = ["list_filter", "array_filter", "filter"];

/// The names of the functions.
pub(crate) fn lambda_functions() -> impl Iterator<Item = &'static str> {
    TRANSFORM.into_iter().chain(FILTER)
}

/// The function of a name, if it takes a lambda.
pub(crate) fn lambda_function(name: &str) -> Option<Arc<HigherOrderUDF>> {
    let which = match name {
        name if TRANSFORM.contains(&name) => OfElements::Transform,
        name if FILTER.contains(&name) => OfElements::Filter,
        _ => return None,
    };
    let arguments = vec![ValueOrLambda::Value(()), ValueOrLambda::Lambda(())];
    let signature = HigherOrderSignature::exact(arguments, Volatility::Immutable);
    Some(Arc::new(HigherOrderUDF::new_from_impl(ListLambda { which, signature })))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ListLambda {
    which: OfElements,
    signature: HigherOrderSignature,
}

impl OfElements {
    /// What a function of the front end does, if it is one of these.
    pub(crate) fn of(function: &HigherOrderUDF) -> Option<OfElements> {
        match function.name() {
            name if name == TRANSFORM[0] => Some(OfElements::Transform),
            name if name == FILTER[0] => Some(OfElements::Filter),
            _ => None,
        }
    }
}

/// What a lambda over a list of this type is given: an element, and its place from 1 on.
///
/// # Errors
/// `Plan` when it is no list.
pub(crate) fn lambda_arguments(list: &DataType) -> Result<[FieldRef; 2]> {
    let DataType::List(element) = list else {
        return plan_err!("a lambda takes the elements of a list, not {}", type_name(list));
    };
    Ok([element.clone(), Arc::new(Field::new("place", DataType::Int64, false))])
}

/// The body of a lambda with others in place of what it is given, by their numbers.
///
/// # Errors
/// None of its own.
pub(crate) fn with_arguments(
    lambda: &Lambda,
    given: &dyn Fn(usize, &LambdaVariable) -> Expr,
) -> Result<Expr> {
    let body = lambda.body.as_ref().clone().transform_down(|expr| {
        Ok(match &expr {
            Expr::LambdaVariable(variable) => {
                match lambda.params.iter().position(|name| *name == variable.name) {
                    Some(at) => Transformed::yes(given(at, variable)),
                    None => Transformed::no(expr),
                }
            }
            // A lambda inside that calls its own the same does not mean these.
            Expr::Lambda(inner) if inner.params.iter().any(|p| lambda.params.contains(p)) => {
                let is_own = |name: &String| inner.params.contains(name);
                let others = lambda.params.iter();
                let others = others.map(|n| if is_own(n) { String::new() } else { n.clone() });
                let others = Lambda { params: others.collect(), body: inner.body.clone() };
                let body = Box::new(with_arguments(&others, given)?);
                let inner = Expr::Lambda(Lambda { params: inner.params.clone(), body });
                Transformed::new(inner, true, TreeNodeRecursion::Jump)
            }
            _ => Transformed::no(expr),
        })
    });
    Ok(body?.data)
}

/// A call whose lambda knows the types of what it is given, when its list is of this type.
///
/// # Errors
/// `Plan` when that is no list.
pub(crate) fn with_types(mut call: HigherOrderFunction, list: &DataType) -> Result<Expr> {
    let [_, Expr::Lambda(lambda)] = &mut call.args[..] else {
        return Ok(Expr::HigherOrderFunction(call));
    };
    let list = list_type(list).unwrap_or_else(|| list.clone());
    let fields = lambda_arguments(&list)?;
    let typed = |at: usize, variable: &LambdaVariable| {
        let field = fields.get(at).map(|field| field.as_ref().clone().with_name(&variable.name));
        Expr::LambdaVariable(LambdaVariable { field: field.map(Arc::new), ..variable.clone() })
    };
    *lambda.body = with_arguments(lambda, &typed)?;
    Ok(Expr::HigherOrderFunction(call))
}

/// The type that lists of others become for these functions.
fn list_type(data_type: &DataType) -> Option<DataType> {
    Some(match data_type {
        DataType::Null => DataType::new_list(DataType::Null, true),
        DataType::List(_) => data_type.clone(),
        DataType::LargeList(element)
        | DataType::ListView(element)
        | DataType::LargeListView(element)
        | DataType::FixedSizeList(element, _) => DataType::List(element.clone()),
        _ => return None,
    })
}

impl HigherOrderUDFImpl for ListLambda {
    fn name(&self) -> &str {
        match self.which {
            OfElements::Transform => TRANSFORM[0],
            OfElements::Filter => FILTER[0],
        }
    }

    fn signature(&self) -> &HigherOrderSignature {
        &self.signature
    }

    fn coerce_value_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let [list] = arguments else {
            return plan_err!("{} takes a list and a lambda", self.name());
        };
        match list_type(list) {
            Some(list) => Ok(vec![list]),
            None => plan_err!("{} takes a list, not {}", self.name(), type_name(list)),
        }
    }

    fn lambda_parameters(
        &self,
        _: usize,
        arguments: &[ValueOrLambda<FieldRef, Option<FieldRef>>],
    ) -> Result<LambdaParametersProgress> {
        let [ValueOrLambda::Value(list), ValueOrLambda::Lambda(_)] = arguments else {
            return plan_err!("{} takes a list and a lambda", self.name());
        };
        let given = lambda_arguments(list.data_type())?;
        Ok(LambdaParametersProgress::Complete(vec![given.into()]))
    }

    fn return_field_from_args(&self, call: HigherOrderReturnFieldArgs) -> Result<FieldRef> {
        let [ValueOrLambda::Value(list), ValueOrLambda::Lambda(made)] = call.arg_fields else {
            return plan_err!("{} takes a list and a lambda", self.name());
        };
        let data_type = match self.which {
            OfElements::Transform => DataType::new_list(made.data_type().clone(), true),
            OfElements::Filter => match made.data_type() {
                DataType::Boolean | DataType::Null => list.data_type().clone(),
                other => {
                    let other = type_name(other);
                    return plan_err!("the lambda of {} is a condition, not {other}", self.name());
                }
            },
        };
        Ok(Arc::new(Field::new(self.name(), data_type, true)))
    }

    fn invoke_with_args(&self, _: HigherOrderFunctionArgs) -> Result<ColumnarValue> {
        exec_err!("{} is computed by the engine", self.name())
    }
}
