//! Structures and maps in expressions, as calls: `{'a': 1}` and `struct_pack(a := 1)`,
//! `MAP {'k': 1}`, and the parts of values that have names: `s['a']`, `(s).a`, `l[1].a`.
//!
//! The binder knows names behind names by itself, `s.a` and `t.s.a`, but not behind what a lambda
//! is given: in its body `x.a` is `(x).a`.

use std::ops::ControlFlow;

use datafusion_sql::sqlparser::ast::{
    AccessExpr, Expr, Function, FunctionArg, FunctionArgExpr, Ident, LambdaFunction, Subscript,
    Value, visit_expressions_mut,
};

use super::synonyms::{args_of_call, plain_args};
use super::syntax::{call, nested, plain_name, text, written};
use super::using::plain;

/// The function that takes a part out of a structure or a map.
pub(super) const PART: &str = "get_field";

/// Writes a structure, a map, or a part of one as a call; leaves others.
pub(super) fn write_out(expr: &mut Expr) {
    if let Expr::Lambda(lambda) = expr {
        part_arguments(lambda);
    }
    // One part after another.
    while let Some(meant) = meaning(expr) {
        *expr = meant;
    }
}

/// Writes the parts of what a lambda is given as those of a value, and not of a table.
fn part_arguments(lambda: &mut LambdaFunction) {
    let given: Vec<String> = lambda.params.iter().map(|param| plain(&param.name)).collect();
    let _ = visit_expressions_mut(&mut lambda.body, |expr| {
        match expr {
            Expr::CompoundIdentifier(names)
                if names.len() > 1 && given.contains(&plain(&names[0])) =>
            {
                let mut names = std::mem::take(names).into_iter().map(Expr::Identifier);
                let root = Box::new(nested(names.next().unwrap_or(Expr::value(Value::Null))));
                let access_chain = names.map(AccessExpr::Dot).collect();
                *expr = Expr::CompoundFieldAccess { root, access_chain };
            }
            Expr::CompoundFieldAccess { root, .. } => match root.as_mut() {
                Expr::Identifier(name) if given.contains(&plain(name)) => {
                    **root = nested(Expr::Identifier(name.clone()));
                }
                _ => {}
            },
            _ => {}
        }
        ControlFlow::<()>::Continue(())
    });
}

fn meaning(expr: &mut Expr) -> Option<Expr> {
    Some(match expr {
        Expr::Dictionary(fields) if !fields.is_empty() => {
            let fields = fields.iter().map(|field| (field.key.value.clone(), &*field.value));
            structure(fields)
        }
        Expr::Map(map) => {
            let list = |part: &dyn Fn(usize) -> Expr| {
                call("make_array", (0..map.entries.len()).map(part).collect())
            };
            let keys = list(&|at| map.entries[at].key.as_ref().clone());
            let values = list(&|at| map.entries[at].value.as_ref().clone());
            call("map", vec![keys, values])
        }
        Expr::Function(function) => {
            let name = plain_name(&function.name).unwrap_or_default();
            if name.eq_ignore_ascii_case("struct_pack") {
                structure(named_args(function)?.into_iter())
            } else if name.eq_ignore_ascii_case("struct_extract") {
                call(PART, plain_args(function).filter(|args| args.len() == 2)?)
            } else {
                return None;
            }
        }
        Expr::CompoundFieldAccess { root, access_chain } => {
            let at = first_part(root, access_chain)?;
            let name = name_of_part(&access_chain[at])?;
            let root = std::mem::replace(root.as_mut(), Expr::value(Value::Null));
            let mut before = std::mem::take(access_chain);
            let behind = before.split_off(at + 1);
            before.pop();
            let part = call(PART, vec![accessed(root, before), text(&name)]);
            accessed(part, behind)
        }
        _ => return None,
    })
}

fn structure<'a>(fields: impl Iterator<Item = (String, &'a Expr)>) -> Expr {
    let args = fields.flat_map(|(name, value)| [text(&name), value.clone()]);
    call("named_struct", args.collect())
}

/// The arguments of a call that is nothing but one, all of which have names.
fn named_args(function: &Function) -> Option<Vec<(String, &Expr)>> {
    let fields = args_of_call(function)?.iter().map(named).collect::<Option<Vec<_>>>();
    fields.filter(|fields| !fields.is_empty())
}

/// The name and the value of `name := value`.
fn named(arg: &FunctionArg) -> Option<(String, &Expr)> {
    match arg {
        FunctionArg::Named { name, arg: FunctionArgExpr::Expr(value), .. } => {
            Some((given(name), value))
        }
        FunctionArg::ExprNamed {
            name: Expr::Identifier(name),
            arg: FunctionArgExpr::Expr(value),
            ..
        } => Some((given(name), value)),
        _ => None,
    }
}

/// The name that a part gets.
fn given(name: &Ident) -> String {
    match name.quote_style {
        Some(_) => name.value.clone(),
        None => plain(name),
    }
}

/// A part of a value; the names of a column are left in one.
fn accessed(root: Expr, access_chain: Vec<AccessExpr>) -> Expr {
    let dots = access_chain.iter().map(|access| match access {
        AccessExpr::Dot(Expr::Identifier(name)) => Some(name.clone()),
        _ => None,
    });
    match (root, dots.collect::<Option<Vec<_>>>()) {
        (root, Some(names)) if names.is_empty() => root,
        (Expr::Identifier(first), Some(names)) => {
            Expr::CompoundIdentifier([vec![first], names].concat())
        }
        (root, _) => Expr::CompoundFieldAccess { root: Box::new(root), access_chain },
    }
}

/// The first part with a name behind the name of a column, `t.a` in `t.a[1]`.
fn first_part(root: &Expr, parts: &[AccessExpr]) -> Option<usize> {
    let is_named = matches!(root, Expr::Identifier(_) | Expr::CompoundIdentifier(_));
    let is_dot = |part: &&AccessExpr| matches!(part, AccessExpr::Dot(_));
    let names = if is_named { parts.iter().take_while(is_dot).count() } else { 0 };
    let found = parts.iter().skip(names).position(|part| name_of_part(part).is_some())?;
    Some(names + found)
}

fn name_of_part(access: &AccessExpr) -> Option<String> {
    match access {
        AccessExpr::Dot(Expr::Identifier(name)) => Some(plain(name)),
        AccessExpr::Dot(name) => written(name).map(str::to_string),
        AccessExpr::Subscript(Subscript::Index { index }) => written(index).map(str::to_string),
        AccessExpr::Subscript(_) => None,
    }
}
