//! Expressions: column positions instead of names, resolved types, built-in operations where the
//! engine has them and calls of the front end's functions elsewhere.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion_common::config::ConfigOptions;
use datafusion_common::{DFSchema, ScalarValue};
use datafusion_expr::expr::{Between, Case, InList, Like, ScalarFunction as UdfCall};
use datafusion_expr::type_coercion::binary::BinaryTypeCoercer;
use datafusion_expr::{BinaryExpr, Expr as Logical, ExprSchemable, Operator, lit};
use datafusion_functions::regex::regexp_like;
use gristmill_engine::expr::{
    ArithmeticOp, CompareOp, Expr, FunctionRef, Literal, MatchKind, ScalarFunction,
};
use gristmill_engine::{Error, Result};

use super::literal::{call_of_constant, lower_literal, text_of_wide_decimal};
use super::scalar_function::{StringConcat, UdfFunction};
use crate::functions::{BoundScalar, called, is_opaque, list_operator};

/// An operator that looks for a regular expression.
struct PatternOp {
    negated: bool,
    ignores_case: bool,
}

impl PatternOp {
    fn of(op: Operator) -> Option<Self> {
        let (negated, ignores_case) = match op {
            Operator::RegexMatch => (false, false),
            Operator::RegexIMatch => (false, true),
            Operator::RegexNotMatch => (true, false),
            Operator::RegexNotIMatch => (true, true),
            _ => return None,
        };
        Some(PatternOp { negated, ignores_case })
    }
}

/// Lowers expressions over the columns of one schema.
pub(crate) struct ExprLowering<'a> {
    schema: &'a DFSchema,
    options: &'a Arc<ConfigOptions>,
}

/// The engine's expression for `expr` over the columns of `schema`.
///
/// # Errors
/// `Input`, by name, for what the engine does not evaluate; `Internal` for what analysis should
/// have replaced (subqueries, aggregates, wildcards).
pub(crate) fn lower_expr(
    expr: &Logical,
    schema: &DFSchema,
    options: &Arc<ConfigOptions>,
) -> Result<Expr> {
    ExprLowering { schema, options }.lower(expr)
}

impl ExprLowering<'_> {
    /// The same over the columns of another schema.
    pub(super) fn over<'a>(&'a self, schema: &'a DFSchema) -> ExprLowering<'a> {
        ExprLowering { schema, options: self.options }
    }

    /// The names of the columns there are.
    pub(super) fn columns(&self) -> impl Iterator<Item = &str> {
        self.schema.fields().iter().map(|field| field.name().as_str())
    }

    pub(super) fn lower(&self, expr: &Logical) -> Result<Expr> {
        match expr {
            Logical::Alias(alias) => self.lower(&alias.expr),
            Logical::Column(column) => {
                let index = self.schema.maybe_index_of_column(column).ok_or_else(|| {
                    Error::internal(format!("no column {column} among {}", self.schema))
                })?;
                Ok(Expr::column(index, self.schema.field(index).data_type().clone()))
            }
            Logical::Literal(value, _) => self.constant(value),
            Logical::BinaryExpr(binary) => self.binary(binary),
            Logical::Like(like) => self.like(like),
            Logical::Not(e) => Ok(Expr::Not(self.boxed(e)?)),
            Logical::IsNull(e) | Logical::IsUnknown(e) => Ok(Expr::IsNull(self.boxed(e)?)),
            Logical::IsNotNull(e) | Logical::IsNotUnknown(e) => {
                Ok(Expr::Not(Box::new(Expr::IsNull(self.boxed(e)?))))
            }
            Logical::IsTrue(e) => self.truth(CompareOp::NotDistinct, e, true),
            Logical::IsFalse(e) => self.truth(CompareOp::NotDistinct, e, false),
            Logical::IsNotTrue(e) => self.truth(CompareOp::Distinct, e, true),
            Logical::IsNotFalse(e) => self.truth(CompareOp::Distinct, e, false),
            Logical::Negative(e) => Ok(Expr::Negate(self.boxed(e)?)),
            Logical::Between(between) => self.between(between),
            Logical::Case(case) => self.case(case),
            Logical::Cast(cast) => self.cast(&cast.expr, cast.field.data_type(), false),
            Logical::TryCast(cast) => self.cast(&cast.expr, cast.field.data_type(), true),
            Logical::ScalarFunction(call) => self.call(call, expr),
            Logical::InList(list) => self.in_list(list),
            Logical::HigherOrderFunction(call) => self.lambda(call),
            other => Err(Error::input(format!(
                "{} `{other}` is not supported here",
                other.variant_name()
            ))),
        }
    }

    fn constant(&self, value: &ScalarValue) -> Result<Expr> {
        let made = match (call_of_constant(value)?, text_of_wide_decimal(value)) {
            (Some(call), _) => self.lower(&call)?,
            (None, Some(text)) => Expr::Literal(text),
            (None, None) => return Ok(Expr::Literal(lower_literal(value)?)),
        };
        let data_type = value.data_type();
        // A list without elements does not say what it is a list of.
        Ok(match made.data_type() == data_type {
            true => made,
            false => Expr::Cast { input: Box::new(made), data_type, lenient: false },
        })
    }

    fn boxed(&self, expr: &Logical) -> Result<Box<Expr>> {
        Ok(Box::new(self.lower(expr)?))
    }

    fn truth(&self, op: CompareOp, expr: &Logical, wanted: bool) -> Result<Expr> {
        let right = Box::new(Expr::Literal(Literal::bool(wanted)));
        Ok(Expr::Compare { op, left: self.boxed(expr)?, right })
    }

    /// A chain of one connective becomes one node: long conditions stay shallow.
    fn binary(&self, binary: &BinaryExpr) -> Result<Expr> {
        if let Some(connective) = Connective::of(binary.op) {
            let mut terms = Vec::new();
            self.terms(binary, connective, &mut terms)?;
            return Ok(match connective {
                Connective::And => Expr::And(terms),
                Connective::Or => Expr::Or(terms),
            });
        }
        if let Some(pattern) = PatternOp::of(binary.op) {
            return self.matches(binary, pattern);
        }
        let (left, right) = (self.boxed(&binary.left)?, self.boxed(&binary.right)?);
        if let Some(op) = compare_op(binary.op) {
            return Ok(Expr::Compare { op, left, right });
        }
        let data_type = result_type(&left, binary.op, &right)?;
        if let Some(op) = arithmetic_op(binary.op) {
            return Ok(Expr::Arithmetic { op, left, right, data_type });
        }
        match binary.op {
            Operator::StringConcat => {
                let function = FunctionRef::registered(Arc::new(StringConcat));
                Ok(Expr::Call { function, args: vec![*left, *right], data_type })
            }
            op => Err(Error::input(format!("the operator `{op}` is not supported"))),
        }
    }

    /// `text ~ pattern` and its kin, which the borrowed rules also make of calls of `regexp_like`.
    fn matches(&self, binary: &BinaryExpr, op: PatternOp) -> Result<Expr> {
        let mut args = vec![binary.left.as_ref().clone(), binary.right.as_ref().clone()];
        if op.ignores_case {
            args.push(lit("i"));
        }
        let found = self.lower(&Logical::ScalarFunction(UdfCall::new_udf(regexp_like(), args)))?;
        Ok(if op.negated { Expr::Not(Box::new(found)) } else { found })
    }

    fn terms(
        &self,
        binary: &BinaryExpr,
        connective: Connective,
        terms: &mut Vec<Expr>,
    ) -> Result<()> {
        // Left-deep as parsed: walk down the left side, lower each right side on the way back.
        let mut rights = vec![binary.right.as_ref()];
        let mut left = binary.left.as_ref();
        while let Logical::BinaryExpr(inner) = left {
            if Connective::of(inner.op) != Some(connective) {
                break;
            }
            rights.push(inner.right.as_ref());
            left = &inner.left;
        }
        terms.push(self.lower(left)?);
        for right in rights.into_iter().rev() {
            match right {
                Logical::BinaryExpr(inner) if Connective::of(inner.op) == Some(connective) => {
                    self.terms(inner, connective, terms)?;
                }
                other => terms.push(self.lower(other)?),
            }
        }
        Ok(())
    }

    fn like(&self, like: &Like) -> Result<Expr> {
        Ok(Expr::Match {
            kind: if like.case_insensitive { MatchKind::ILike } else { MatchKind::Like },
            input: self.boxed(&like.expr)?,
            pattern: self.boxed(&like.pattern)?,
            escape: like.escape_char,
            negated: like.negated,
        })
    }

    fn between(&self, between: &Between) -> Result<Expr> {
        let input = self.boxed(&between.expr)?;
        if input.is_volatile() {
            return Err(Error::input(
                "BETWEEN would evaluate its volatile operand twice; compute it in a subquery first",
            ));
        }
        let low = self.boxed(&between.low)?;
        let high = self.boxed(&between.high)?;
        let range = Expr::And(vec![
            Expr::Compare { op: CompareOp::GreaterOrEqual, left: input.clone(), right: low },
            Expr::Compare { op: CompareOp::LessOrEqual, left: input, right: high },
        ]);
        Ok(if between.negated { Expr::Not(Box::new(range)) } else { range })
    }

    fn case(&self, case: &Case) -> Result<Expr> {
        let base = case.expr.as_ref().map(|e| self.boxed(e)).transpose()?;
        if base.as_ref().is_some_and(|base| base.is_volatile()) {
            return Err(Error::input(
                "CASE would evaluate its volatile operand twice; compute it in a subquery first",
            ));
        }
        let branches = case.when_then_expr.iter().map(|(when, then)| {
            let when = self.lower(when)?;
            let condition = match &base {
                Some(base) => Expr::Compare {
                    op: CompareOp::Equal,
                    left: base.clone(),
                    right: Box::new(when),
                },
                None => when,
            };
            Ok((condition, self.lower(then)?))
        });
        let branches: Vec<(Expr, Expr)> = branches.collect::<Result<_>>()?;
        let otherwise = case.else_expr.as_ref().map(|e| self.boxed(e)).transpose()?;
        let results = branches.iter().map(|(_, then)| then).chain(otherwise.as_deref());
        let data_type = results.map(Expr::data_type).find(|t| *t != DataType::Null);
        let data_type = data_type.unwrap_or(DataType::Null);
        Ok(Expr::Case { branches, otherwise, data_type })
    }

    fn cast(&self, expr: &Logical, data_type: &DataType, lenient: bool) -> Result<Expr> {
        let input = self.boxed(expr)?;
        if input.data_type() == *data_type {
            return Ok(*input);
        }
        Ok(Expr::Cast { input, data_type: data_type.clone(), lenient })
    }

    fn in_list(&self, list: &InList) -> Result<Expr> {
        let input = self.boxed(&list.expr)?;
        let items = list.list.iter().map(|item| self.lower(item));
        let items: Vec<Expr> = items.collect::<Result<_>>()?;
        let constants = items.iter().map(|item| match item {
            Expr::Literal(literal) => Some(literal.clone()),
            _ => None,
        });
        if let Some(list_of_constants) = constants.collect::<Option<Vec<Literal>>>() {
            return Ok(Expr::InList { input, list: list_of_constants, negated: list.negated });
        }
        let equals = items.into_iter().map(|item| Expr::Compare {
            op: CompareOp::Equal,
            left: input.clone(),
            right: Box::new(item),
        });
        let any = Expr::Or(equals.collect());
        Ok(if list.negated { Expr::Not(Box::new(any)) } else { any })
    }

    fn call(&self, call: &UdfCall, expr: &Logical) -> Result<Expr> {
        let own = BoundScalar::of(&call.func);
        if is_opaque(call.name())
            && let Some(meant) = call.args.first()
        {
            return self.lower(meant);
        }
        let args = call.args.iter().map(|arg| self.lower(arg));
        let mut args: Vec<Expr> = args.collect::<Result<_>>()?;
        if own.is_none()
            && let Some(plain) = checked_operation(call.name(), &mut args)?
        {
            return Ok(plain);
        }
        if own.is_none()
            && let (Some(op), [left, right]) = (list_operator(call.name()), &args[..])
            && let Some(op) = compare_op(op)
        {
            let (left, right) = (Box::new(left.clone()), Box::new(right.clone()));
            return Ok(Expr::Compare { op, left, right });
        }
        let data_type = expr
            .get_type(self.schema)
            .map_err(|e| Error::internal(format!("type of {expr}: {}", e.strip_backtrace())))?;
        let function: Arc<dyn ScalarFunction> = match own {
            Some(own) => Arc::new(own.clone()),
            None => Arc::new(UdfFunction::new(called(&call.func), self.options.clone())),
        };
        Ok(Expr::Call { function: FunctionRef::registered(function), args, data_type })
    }
}

/// The functions that stand for arithmetic while constants are folded become arithmetic again: the
/// engine's own is checked.
fn checked_operation(name: &str, args: &mut Vec<Expr>) -> Result<Option<Expr>> {
    let op = match name {
        "checked_add" => Operator::Plus,
        "checked_subtract" => Operator::Minus,
        "checked_multiply" => Operator::Multiply,
        "checked_negate" => return Ok(args.pop().map(|input| Expr::Negate(Box::new(input)))),
        _ => return Ok(None),
    };
    let (Some(right), Some(left), Some(arithmetic)) = (args.pop(), args.pop(), arithmetic_op(op))
    else {
        return Err(Error::internal(format!("{name} takes two operands")));
    };
    let data_type = result_type(&left, op, &right)?;
    let (left, right) = (Box::new(left), Box::new(right));
    Ok(Some(Expr::Arithmetic { op: arithmetic, left, right, data_type }))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Connective {
    And,
    Or,
}

impl Connective {
    fn of(op: Operator) -> Option<Self> {
        match op {
            Operator::And => Some(Connective::And),
            Operator::Or => Some(Connective::Or),
            _ => None,
        }
    }
}

fn compare_op(op: Operator) -> Option<CompareOp> {
    Some(match op {
        Operator::Eq => CompareOp::Equal,
        Operator::NotEq => CompareOp::NotEqual,
        Operator::Lt => CompareOp::Less,
        Operator::LtEq => CompareOp::LessOrEqual,
        Operator::Gt => CompareOp::Greater,
        Operator::GtEq => CompareOp::GreaterOrEqual,
        Operator::IsDistinctFrom => CompareOp::Distinct,
        Operator::IsNotDistinctFrom => CompareOp::NotDistinct,
        _ => return None,
    })
}

fn arithmetic_op(op: Operator) -> Option<ArithmeticOp> {
    Some(match op {
        Operator::Plus => ArithmeticOp::Add,
        Operator::Minus => ArithmeticOp::Subtract,
        Operator::Multiply => ArithmeticOp::Multiply,
        Operator::Divide => ArithmeticOp::Divide,
        Operator::Modulo => ArithmeticOp::Modulo,
        _ => return None,
    })
}

/// The type of an operation, from the types of its lowered operands: asking the front end about
/// the whole expression at every level would take quadratic time on deep ones.
fn result_type(left: &Expr, op: Operator, right: &Expr) -> Result<DataType> {
    let (left, right) = (left.data_type(), right.data_type());
    BinaryTypeCoercer::new(&left, &op, &right)
        .get_result_type()
        .map_err(|e| Error::internal(format!("type of {left} {op} {right}: {e}")))
}
