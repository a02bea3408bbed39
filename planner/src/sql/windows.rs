//! Windows by name, and functions that have none.
//!
//! `WINDOW w AS (…)` names a window for the SELECT list, QUALIFY and ORDER BY of its query. The
//! binder looks it up in the SELECT list alone, takes a function over another's name for one
//! without OVER elsewhere, and passes over the name in `OVER (w ORDER BY …)`. So names are replaced
//! by what they stand for; those that are left have no meaning and are refused.
//!
//! Sound: a name stands for its definition. One that extends another has no PARTITION BY of its
//! own, an ORDER BY only if the other has none, and does not extend a frame.

use std::ops::ControlFlow;

use datafusion_sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, NamedWindowDefinition,
    NamedWindowExpr, OrderByKind, Query, Select, SetExpr, Spanned, Value, ValueWithSpan, Visit,
    VisitMut, Visitor, WindowFrameBound, WindowSpec, WindowType, visit_expressions_mut,
};
use gristmill_engine::{Error, Result};

use super::diagnose::at;
use super::syntax::plain_name;

/// Replaces the names of a SELECT's windows in its list and conditions.
pub(super) fn resolve_in_select(select: &mut Select) {
    let definitions = std::mem::take(&mut select.named_window);
    if !definitions.is_empty() {
        resolve(&mut select.projection, &definitions);
        resolve(&mut select.qualify, &definitions);
        resolve(&mut select.distinct, &definitions);
    }
    select.named_window = definitions;
}

/// Writes the numbers in a frame's bounds without exponents: they are to stay plain numbers.
pub(super) fn write_bounds_plainly(expr: &mut Expr) {
    use WindowFrameBound::{Following, Preceding};
    let Expr::Function(Function { over: Some(WindowType::WindowSpec(spec)), .. }) = expr else {
        return;
    };
    let Some(frame) = &mut spec.window_frame else { return };
    for bound in std::iter::once(&mut frame.start_bound).chain(&mut frame.end_bound) {
        let (Preceding(Some(offset)) | Following(Some(offset))) = bound else { continue };
        if let Expr::Interval(interval) = offset.as_mut()
            && let Expr::Value(ValueWithSpan { value, .. }) = interval.value.as_mut()
            && let Value::Number(digits, _) = value
        {
            *value = Value::SingleQuotedString(std::mem::take(digits));
        }
        if let Expr::Value(ValueWithSpan { value: Value::Number(digits, _), .. }) = offset.as_mut()
            && digits.contains(['e', 'E'])
            && let Ok(number) = digits.parse::<f64>()
        {
            *digits = number.to_string();
        }
    }
}

/// Functions that may leave out NULLs.
const LEAVE_OUT_NULLS: [&str; 9] = [
    "any_value",
    "array_agg",
    "first",
    "first_value",
    "lag",
    "last",
    "last_value",
    "lead",
    "nth_value",
];

/// Gives `IGNORE NULLS` behind the last argument to the function whose argument that is: the parser
/// gives it to a call that the argument ends with, which takes none.
pub(super) fn place_null_treatment(expr: &mut Expr) {
    let Expr::Function(function) = expr else { return };
    if function.null_treatment.is_some() || !leaves_out_nulls(function) {
        return;
    }
    let FunctionArguments::List(list) = &mut function.args else { return };
    let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(last))) = list.args.last_mut() else {
        return;
    };
    let mut at = last;
    while let Expr::BinaryOp { right: next, .. } | Expr::UnaryOp { expr: next, .. } = at {
        at = next;
    }
    if let Expr::Function(inner) = at
        && inner.over.is_none()
        && !leaves_out_nulls(inner)
    {
        function.null_treatment = inner.null_treatment.take();
    }
}

fn leaves_out_nulls(function: &Function) -> bool {
    plain_name(&function.name)
        .is_some_and(|name| LEAVE_OUT_NULLS.iter().any(|known| name.eq_ignore_ascii_case(known)))
}

/// Replaces the names of a query's windows in its ORDER BY.
pub(super) fn resolve_in_order(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_ref() else { return };
    if let Some(order) = &mut query.order_by
        && let OrderByKind::Expressions(keys) = &mut order.kind
    {
        resolve(keys, &select.named_window);
    }
}

fn resolve(part: &mut impl VisitMut, definitions: &[NamedWindowDefinition]) {
    let _: ControlFlow<()> = visit_expressions_mut(part, |expr| {
        if let Expr::Function(Function { over: Some(over), .. }) = expr {
            let resolved = match over {
                WindowType::NamedWindow(name) => window_of(name, definitions, definitions.len()),
                WindowType::WindowSpec(spec) => extended(spec, definitions, definitions.len()),
            };
            if let Some(spec) = resolved {
                *over = WindowType::WindowSpec(spec);
            }
        }
        ControlFlow::Continue(())
    });
}

/// What a name stands for. Definitions refer to other ones, at most so many times in turn.
fn window_of(
    name: &Ident,
    definitions: &[NamedWindowDefinition],
    steps: usize,
) -> Option<WindowSpec> {
    let steps = steps.checked_sub(1)?;
    let found = definitions.iter().find(|definition| is_same(&definition.0, name))?;
    match &found.1 {
        NamedWindowExpr::NamedWindow(other) => window_of(other, definitions, steps),
        NamedWindowExpr::WindowSpec(spec) => extended(spec, definitions, steps),
    }
}

/// A window without the name of another in front; `None` when it cannot extend that.
fn extended(
    spec: &WindowSpec,
    definitions: &[NamedWindowDefinition],
    steps: usize,
) -> Option<WindowSpec> {
    let Some(name) = &spec.window_name else { return Some(spec.clone()) };
    let mut base = window_of(name, definitions, steps + 1)?;
    let keeps_order = base.order_by.is_empty() || spec.order_by.is_empty();
    if !spec.partition_by.is_empty() || !keeps_order || base.window_frame.is_some() {
        return None;
    }
    if !spec.order_by.is_empty() {
        base.order_by = spec.order_by.clone();
    }
    base.window_frame = spec.window_frame.clone();
    Some(base)
}

fn is_same(a: &Ident, b: &Ident) -> bool {
    let plain = |ident: &Ident| match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    };
    plain(a) == plain(b)
}

/// What is wrong with a window that has a name left.
pub(super) fn unresolved(over: &WindowType) -> Option<String> {
    match over {
        WindowType::NamedWindow(name) => Some(format!("there is no window {name}")),
        WindowType::WindowSpec(WindowSpec { window_name: Some(name), .. }) => Some(format!(
            "there is no window {name} that can be extended like this: its PARTITION BY, ORDER BY \
             and frame stay what they are"
        )),
        WindowType::WindowSpec(_) => None,
    }
}

/// Refuses OVER behind functions of one row: the binder would leave it out.
///
/// # Errors
/// `Input` with the place of the first one.
pub(super) fn refuse_scalars(query: &Query, is_scalar: &dyn Fn(&str) -> bool) -> Result<()> {
    match query.visit(&mut Scalars { is_scalar }) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Scalars<'a> {
    is_scalar: &'a dyn Fn(&str) -> bool,
}

impl Visitor for Scalars<'_> {
    type Break = Error;

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Error> {
        if let Expr::Function(Function { name, over: Some(_), .. }) = expr
            && (self.is_scalar)(&name.to_string().to_lowercase())
        {
            let start = name.span().start;
            let message = format!("{name} is no window function: it takes no OVER");
            return ControlFlow::Break(Error::input_at(message, at(start.line, start.column)));
        }
        ControlFlow::Continue(())
    }
}
