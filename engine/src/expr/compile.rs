//! From an expression to the nodes that are evaluated: constants become columns, patterns and
//! lists are made ready, costs are guessed, and it is decided where results are remembered.
//!
//! Conditions that cannot fail come before those that can, within an AND or OR; both in the order
//! written.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::DataType;

use super::kernels::in_list::Set;
use super::kernels::pattern::Pattern;
use super::memo::{Dictionaries, Memo};
use super::{ArithmeticOp, CompareOp, Expr, Literal, MatchKind, ScalarFunction};
use crate::batch::{Column, physical_type};
use crate::error::Result;

/// An expression ready to be evaluated by one worker.
pub(super) struct Node {
    pub kind: Kind,
    /// Logical type of the result.
    pub data_type: DataType,
    /// Positions of the columns read, each once.
    pub reads: Vec<usize>,
    /// Whether it can fail on some row.
    pub fallible: bool,
    /// Guess at the time a row takes, in tenths of a nanosecond.
    pub cost: usize,
    /// Results remembered between chunks.
    pub memo: Memo,
    /// Set once rows that are not live have made the kernel fail: from then on it gets the live
    /// ones only.
    pub careful: bool,
}

/// What a node computes.
pub(super) enum Kind {
    Column(usize),
    Literal(Column),
    Arithmetic { op: ArithmeticOp, operands: [Box<Node>; 2] },
    Compare { op: CompareOp, operands: [Box<Node>; 2] },
    And(Vec<Node>),
    Or(Vec<Node>),
    Not(Box<Node>),
    IsNull(Box<Node>),
    Negate(Box<Node>),
    Cast { input: Box<Node>, lenient: bool },
    Case { branches: Vec<(Node, Node)>, otherwise: Option<Box<Node>> },
    InList { input: Box<Node>, set: Set, negated: bool },
    Like { input: Box<Node>, pattern: Pattern, negated: bool },
    LikeEach { kind: MatchKind, escape: Option<char>, operands: [Box<Node>; 2], negated: bool },
    Call { function: Arc<dyn ScalarFunction>, args: Vec<Node> },
}

impl Node {
    /// Prepares an expression.
    ///
    /// # Errors
    /// `Internal` when a constant's kind does not go with its type, or a function was not
    /// resolved.
    pub fn new(expr: &Expr) -> Result<Node> {
        Node::within(expr, false)
    }

    /// Prepares a part of an expression; `remembered` when a node around it remembers its results.
    fn within(expr: &Expr, remembered: bool) -> Result<Node> {
        let data_type = expr.data_type();
        let reads = expr.columns();
        let memo = match (expr, &reads[..]) {
            (Expr::Column { .. } | Expr::Literal(_), _) => Memo::Nothing,
            _ if remembered || expr.is_volatile() => Memo::Nothing,
            (_, []) => Memo::Constant(None),
            (_, [column]) => Memo::Dictionaries(Dictionaries::new(*column)),
            _ => Memo::Nothing,
        };
        let remembered = remembered || !matches!(memo, Memo::Nothing);
        let kind = Kind::new(expr, remembered)?;
        let cost = own_cost(expr) + kind.children().map(|child| child.cost).sum::<usize>();
        let fallible = expr.is_fallible();
        Ok(Node { kind, data_type, reads, fallible, cost, memo, careful: false })
    }
}

impl Kind {
    fn new(expr: &Expr, remembered: bool) -> Result<Kind> {
        let one = |expr: &Expr| Node::within(expr, remembered).map(Box::new);
        Ok(match expr {
            Expr::Column { index, .. } => Kind::Column(*index),
            Expr::Literal(literal) => Kind::Literal(literal.to_column()?),
            Expr::Arithmetic { op, left, right, .. } => {
                Kind::Arithmetic { op: *op, operands: [one(left)?, one(right)?] }
            }
            Expr::Compare { op, left, right } => {
                Kind::Compare { op: *op, operands: [one(left)?, one(right)?] }
            }
            Expr::And(list) => Kind::And(conditions(list, remembered)?),
            Expr::Or(list) => Kind::Or(conditions(list, remembered)?),
            Expr::Not(input) => Kind::Not(one(input)?),
            Expr::IsNull(input) => Kind::IsNull(one(input)?),
            Expr::Negate(input) => Kind::Negate(one(input)?),
            Expr::Cast { input, lenient, .. } => {
                Kind::Cast { input: one(input)?, lenient: *lenient }
            }
            Expr::Case { branches, otherwise, .. } => {
                let branches = branches.iter().map(|(when, then)| {
                    Ok((Node::within(when, remembered)?, Node::within(then, remembered)?))
                });
                let branches = branches.collect::<Result<_>>()?;
                Kind::Case { branches, otherwise: otherwise.as_deref().map(one).transpose()? }
            }
            // Nothing is in an empty list, not even NULL.
            Expr::InList { list, negated, .. } if list.is_empty() => {
                Kind::Literal(Literal::bool(*negated).to_column()?)
            }
            Expr::InList { input, list, negated } => {
                Kind::InList { input: one(input)?, set: Set::new(list)?, negated: *negated }
            }
            Expr::Match { kind, input, pattern, escape, negated } => match constant_text(pattern) {
                Some(text) => Kind::Like {
                    input: one(input)?,
                    pattern: Pattern::new(*kind, &text, *escape),
                    negated: *negated,
                },
                None => Kind::LikeEach {
                    kind: *kind,
                    escape: *escape,
                    operands: [one(input)?, one(pattern)?],
                    negated: *negated,
                },
            },
            Expr::Call { function, args, .. } => {
                let args = args.iter().map(|arg| Node::within(arg, remembered));
                Kind::Call { function: function.get()?.clone(), args: args.collect::<Result<_>>()? }
            }
        })
    }

    fn children(&self) -> Box<dyn Iterator<Item = &Node> + '_> {
        match self {
            Kind::Column(_) | Kind::Literal(_) => Box::new(std::iter::empty()),
            Kind::Arithmetic { operands, .. }
            | Kind::Compare { operands, .. }
            | Kind::LikeEach { operands, .. } => Box::new(operands.iter().map(|node| &**node)),
            Kind::And(list) | Kind::Or(list) | Kind::Call { args: list, .. } => {
                Box::new(list.iter())
            }
            Kind::Not(input)
            | Kind::IsNull(input)
            | Kind::Negate(input)
            | Kind::Cast { input, .. }
            | Kind::InList { input, .. }
            | Kind::Like { input, .. } => Box::new(std::iter::once(&**input)),
            Kind::Case { branches, otherwise } => {
                let branches = branches.iter().flat_map(|(when, then)| [when, then]);
                Box::new(branches.chain(otherwise.as_deref()))
            }
        }
    }
}

/// The conditions of an AND or OR: first those that cannot fail, then those that can.
pub(super) fn conditions(list: &[Expr], remembered: bool) -> Result<Vec<Node>> {
    let nodes = list.iter().map(|expr| Node::within(expr, remembered));
    let mut nodes: Vec<Node> = nodes.collect::<Result<_>>()?;
    nodes.sort_by_key(|node| node.fallible);
    Ok(nodes)
}

fn constant_text(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Literal(literal) if !literal.is_null() => text_of(literal),
        _ => None,
    }
}

fn text_of(literal: &Literal) -> Option<String> {
    let array = literal.to_array().ok()?;
    array.as_string_view_opt().map(|text| text.value(0).to_string())
}

/// Tenths of a nanosecond that a row takes in the node itself, measured on one machine: only the
/// proportions matter.
fn own_cost(expr: &Expr) -> usize {
    let is_fixed = |data_type: &DataType| physical_type(data_type).is_primitive();
    match expr {
        Expr::Column { .. } | Expr::Literal(_) => 0,
        Expr::Not(_) | Expr::IsNull(_) => 1,
        Expr::And(list) | Expr::Or(list) => list.len(),
        Expr::Negate(_) => 3,
        Expr::Compare { op, left, .. } => match left.data_type() {
            DataType::Int32 | DataType::Date32 | DataType::Boolean => 2,
            data_type if is_fixed(&data_type) => 5,
            _ if matches!(op, CompareOp::Equal | CompareOp::NotEqual) => 6,
            _ => 30,
        },
        Expr::Arithmetic { op, left, data_type, .. } => match (op, data_type) {
            (ArithmeticOp::Divide | ArithmeticOp::Modulo, _) => 30,
            (_, data_type) if data_type.is_decimal() => 5,
            (_, data_type) if left.data_type() == *data_type => 5,
            // Dates and intervals.
            _ => 200,
        },
        Expr::Case { branches, .. } => 30 * branches.len(),
        Expr::InList { input, list, .. } => {
            if is_fixed(&input.data_type()) {
                3 * list.len().min(5)
            } else {
                5 * list.len().min(10)
            }
        }
        Expr::Match { pattern, .. } => match constant_text(pattern) {
            Some(text) if !text.starts_with('%') => 20,
            Some(_) => 100,
            None => 500,
        },
        Expr::Cast { input, data_type, .. } => {
            if is_fixed(&input.data_type()) && is_fixed(data_type) { 6 } else { 400 }
        }
        Expr::Call { .. } => 500,
    }
}
