//! Parameters in a statement: `$name`, `$1`, `?`.
//!
//! * Where a path stands (`FROM $file`, `COPY … TO $file`), the text is put in among the tokens.
//! * Numbers, Booleans and NULL are put in as constants in the syntax tree.
//! * Texts wait until names and types are bound, since what they are is told by their place: beside
//!   a number a text is the number that it writes, beside a date it is that date, in LIMIT a count,
//!   elsewhere a text.

use std::ops::ControlFlow;

use arrow::datatypes::DataType;
use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion_common::{DataFusionError, Result as DfResult, ScalarValue};
use datafusion_expr::expr::Placeholder;
use datafusion_expr::{Expr, LogicalPlan, LogicalPlanBuilder, lit};
use datafusion_sql::parser::{CopyToSource, Statement as Parsed};
use datafusion_sql::sqlparser::ast::{
    Expr as Syntax, UnaryOperator, Value, ValueWithSpan, VisitMut, VisitorMut,
};
use datafusion_sql::sqlparser::keywords::Keyword;
use datafusion_sql::sqlparser::tokenizer::{Token, TokenWithSpan};
use gristmill_engine::{Error, Result};

use super::diagnose::{at, nearest};
use super::renewed::renewed;
use super::syntax::double;
use crate::parameters::{Parameter, Parameters};

/// Numbers `?`, puts texts in where paths stand, and sees to it that every parameter has a value.
/// Without `parameters`, for a look at the syntax alone, any will do.
///
/// # Errors
/// `Input` with its place for a parameter without value.
pub(super) fn fill_tokens(
    tokens: &mut [TokenWithSpan],
    parameters: Option<&Parameters>,
) -> Result<()> {
    let mut count = 0;
    let mut is_path = false;
    for token in tokens {
        if let Token::Placeholder(text) = &mut token.token {
            if text == "?" {
                count += 1;
                *text = format!("${count}");
            }
            let value = parameters.map(|all| all.get(name_of(text)));
            let text_value = match value {
                None => Some(text.clone()),
                Some(Some(Parameter::Text(text))) => Some(text.clone()),
                Some(Some(_)) => None,
                Some(None) => {
                    let place = at(token.span.start.line, token.span.start.column);
                    let message = missing(text, parameters);
                    return Err(Error::input_at(message, place));
                }
            };
            if is_path && let Some(path) = text_value {
                token.token = Token::SingleQuotedString(path);
            }
        }
        is_path = matches!(&token.token, Token::Word(word) if matches!(
            word.keyword,
            Keyword::TO | Keyword::FROM | Keyword::JOIN | Keyword::LOCATION
        ));
    }
    Ok(())
}

/// The name of a parameter.
pub(super) fn name_of(placeholder: &str) -> &str {
    placeholder.get(1..).unwrap_or_default()
}

fn missing(placeholder: &str, parameters: Option<&Parameters>) -> String {
    let name = name_of(placeholder);
    let mut message = format!("there is no value for the parameter {placeholder}");
    match parameters.and_then(|all| nearest(name, all.names())) {
        Some(near) => message.push_str(&format!("; did you mean ${near}?")),
        None => message.push_str(&format!("; give it as --param {name}=VALUE")),
    }
    message
}

/// Puts in what has a type of its own.
pub(super) fn fill_syntax(statement: &mut Parsed, parameters: &Parameters) {
    let mut filler = Filler { parameters };
    match statement {
        Parsed::Statement(statement) => {
            let _ = statement.visit(&mut filler);
        }
        Parsed::CopyTo(copy) => {
            if let CopyToSource::Query(query) = &mut copy.source {
                let _ = query.visit(&mut filler);
            }
        }
        Parsed::Explain(explain) => fill_syntax(&mut explain.statement, parameters),
        Parsed::CreateExternalTable(_) | Parsed::Reset(_) => {}
    }
}

struct Filler<'a> {
    parameters: &'a Parameters,
}

impl VisitorMut for Filler<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Syntax) -> ControlFlow<()> {
        if let Syntax::Value(ValueWithSpan { value: Value::Placeholder(name), span }) = expr
            && let Some(value) = self.parameters.get(name_of(name))
        {
            let constant = |value| Syntax::Value(ValueWithSpan { value, span: *span });
            *expr = match value {
                Parameter::Text(_) => return ControlFlow::Continue(()),
                Parameter::Null => constant(Value::Null),
                Parameter::Bool(value) => constant(Value::Boolean(*value)),
                Parameter::Double(value) => double(format!("{value:?}"), *span),
                Parameter::Int(value) => {
                    let digits = constant(Value::Number(value.unsigned_abs().to_string(), false));
                    match value {
                        ..0 => Syntax::UnaryOp { op: UnaryOperator::Minus, expr: digits.into() },
                        _ => digits,
                    }
                }
            };
        }
        ControlFlow::Continue(())
    }
}

/// Puts texts in, as what their places want.
pub(super) fn fill_plan(plan: LogicalPlan, parameters: &Parameters) -> DfResult<LogicalPlan> {
    if !has_placeholders(&plan)? {
        return Ok(plan);
    }
    plan.transform_up_with_subqueries(|node| {
        let counts = matches!(node, LogicalPlan::Limit(_));
        let filled = renewed(node, |e| match e {
            Expr::Placeholder(place) => Ok(Transformed::yes(constant(&place, counts, parameters)?)),
            other => Ok(Transformed::no(other)),
        })?;
        // A constant may have another type than the place it stands in was given.
        filled.map_data(|node| match node {
            LogicalPlan::Values(values) => LogicalPlanBuilder::values(values.values)?.build(),
            other => other.recompute_schema(),
        })
    })
    .data()
}

fn has_placeholders(plan: &LogicalPlan) -> DfResult<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        for expr in node.expressions() {
            found |= expr.exists(|e| Ok(matches!(e, Expr::Placeholder(_))))?;
        }
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

/// The constant for a parameter whose value is a text.
fn constant(place: &Placeholder, counts: bool, parameters: &Parameters) -> DfResult<Expr> {
    let text = match parameters.get(name_of(&place.id)) {
        Some(Parameter::Text(text)) => text,
        // Those that are written with a colon are no tokens of their own.
        None => return Err(external(Error::input(missing(&place.id, Some(parameters))))),
        Some(_) => {
            let message = format!("the parameter {} has no text", place.id);
            return Err(external(Error::internal(message)));
        }
    };
    let wanted = place.field.as_ref().map(|field| field.data_type());
    let no = |what: &str| {
        let message = format!("the parameter {} stands for {what}, and '{text}' is none", place.id);
        external(Error::input(message))
    };
    match wanted {
        _ if counts => match text.trim().parse::<i64>() {
            Ok(count) => Ok(lit(count)),
            Err(_) => Err(no("a number of rows")),
        },
        Some(number) if number.is_numeric() => numeric(text).ok_or_else(|| no("a number")),
        None | Some(DataType::Null | DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) => {
            Ok(lit(text.as_str()))
        }
        Some(other) => {
            let value = ScalarValue::from(text.as_str()).cast_to(other);
            let value = value.map_err(|_| no(&format!("a value of type {other}")))?;
            Ok(Expr::Literal(value, None))
        }
    }
}

fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// The number that a text writes, of the type that the same constant has in a program.
fn numeric(text: &str) -> Option<Expr> {
    let text = text.trim();
    if let Ok(number) = text.parse::<i64>() {
        return Some(lit(number));
    }
    if let Ok(number) = text.parse::<u64>() {
        return Some(lit(number));
    }
    if let Some(decimal) = decimal(text) {
        return Some(Expr::Literal(decimal, None));
    }
    text.parse::<f64>().ok().map(lit)
}

fn decimal(text: &str) -> Option<ScalarValue> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let value: i128 = digits.parse().ok()?;
    let value = if text.starts_with('-') { -value } else { value };
    let scale = i8::try_from(fraction.len()).ok()?;
    let precision = digits.trim_start_matches('0').len().max(fraction.len()).max(1);
    let precision = u8::try_from(precision).ok().filter(|&precision| precision <= 38)?;
    Some(ScalarValue::Decimal128(Some(value), precision, scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_become_the_numbers_they_write() {
        let shown = |text: &str| numeric(text).map(|expr| expr.to_string());
        assert_eq!(shown(" -5 ").as_deref(), Some("Int64(-5)"));
        assert_eq!(shown("18446744073709551615").as_deref(), Some("UInt64(18446744073709551615)"));
        assert_eq!(shown("-1.075").as_deref(), Some("Decimal128(-1.075,4,3)"));
        assert_eq!(shown(".5").as_deref(), Some("Decimal128(0.5,1,1)"));
        assert_eq!(shown("1e3").as_deref(), Some("Float64(1000)"));
        for none in ["", "x", "1.2.3", "-", "1,5"] {
            assert_eq!(shown(none), None, "{none}");
        }
    }
}
