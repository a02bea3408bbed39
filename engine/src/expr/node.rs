//! The expression tree.

use std::fmt;

use arrow::datatypes::DataType;
use serde::{Deserialize, Serialize};

use super::function::{FunctionRef, Functions};
use super::literal::Literal;
use super::widening::widens;
use crate::error::Result;

/// Arithmetic on two numbers of the same kind, or on a date/timestamp and an interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArithmeticOp {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`; integers truncate, zero is an error except for floats.
    Divide,
    /// `%`; the sign follows the dividend.
    Modulo,
}

/// Comparisons of two values of the same type. NaN equals NaN and is greater than all other
/// floats; −0.0 equals 0.0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CompareOp {
    /// `=`
    Equal,
    /// `<>`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `IS DISTINCT FROM`: never NULL.
    Distinct,
    /// `IS NOT DISTINCT FROM`: never NULL.
    NotDistinct,
}

impl CompareOp {
    /// The comparison with its sides exchanged.
    pub fn mirrored(self) -> Self {
        match self {
            CompareOp::Less => CompareOp::Greater,
            CompareOp::LessOrEqual => CompareOp::GreaterOrEqual,
            CompareOp::Greater => CompareOp::Less,
            CompareOp::GreaterOrEqual => CompareOp::LessOrEqual,
            symmetric => symmetric,
        }
    }
}

/// How a pattern matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MatchKind {
    /// `LIKE`
    Like,
    /// `ILIKE`
    ILike,
}

/// An expression over the columns of one chunk. Types are resolved: operands have been cast, so
/// both sides of a comparison and of arithmetic have the same type up to decimal scale (decimal
/// arithmetic takes its operands' scales from their types).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expr {
    /// A column of the input.
    Column {
        /// Position.
        index: usize,
        /// Logical type.
        #[serde(rename = "type", with = "super::data_type")]
        data_type: DataType,
    },
    /// A constant.
    Literal(Literal),
    /// Arithmetic; overflow is an error.
    Arithmetic {
        /// What to do.
        op: ArithmeticOp,
        /// Left operand.
        left: Box<Expr>,
        /// Right operand.
        right: Box<Expr>,
        /// Result type.
        #[serde(rename = "type", with = "super::data_type")]
        data_type: DataType,
    },
    /// A comparison: Boolean.
    Compare {
        /// What to compare for.
        op: CompareOp,
        /// Left operand.
        left: Box<Expr>,
        /// Right operand.
        right: Box<Expr>,
    },
    /// Three-valued AND of at least one condition, in the order written.
    And(Vec<Expr>),
    /// Three-valued OR of at least one condition, in the order written.
    Or(Vec<Expr>),
    /// Three-valued NOT.
    Not(Box<Expr>),
    /// `IS NULL`: never NULL.
    IsNull(Box<Expr>),
    /// Unary minus; overflow is an error.
    Negate(Box<Expr>),
    /// A cast.
    Cast {
        /// What is cast.
        input: Box<Expr>,
        /// Target type.
        #[serde(rename = "type", with = "super::data_type")]
        data_type: DataType,
        /// Whether a value that cannot be cast becomes NULL (TRY_CAST) instead of an error.
        lenient: bool,
    },
    /// `CASE WHEN … THEN … ELSE … END`; only the branch taken is evaluated for a row.
    Case {
        /// Conditions and results, in order.
        branches: Vec<(Expr, Expr)>,
        /// The ELSE; NULL when absent.
        otherwise: Option<Box<Expr>>,
        /// Result type.
        #[serde(rename = "type", with = "super::data_type")]
        data_type: DataType,
    },
    /// `input [NOT] IN (constants)`, with SQL's rules for NULL in the list.
    InList {
        /// What is looked for.
        input: Box<Expr>,
        /// Constants of the input's type; NULLs allowed.
        list: Vec<Literal>,
        /// NOT IN.
        negated: bool,
    },
    /// `input [NOT] LIKE pattern`; `%` and `_`, backslash escapes unless `escape` says otherwise.
    Match {
        /// LIKE or ILIKE.
        kind: MatchKind,
        /// The string.
        input: Box<Expr>,
        /// The pattern.
        pattern: Box<Expr>,
        /// Escape character.
        escape: Option<char>,
        /// NOT LIKE.
        negated: bool,
    },
    /// A function that is not built in.
    Call {
        /// Which.
        function: FunctionRef,
        /// Its arguments, already of the types it takes.
        args: Vec<Expr>,
        /// Result type.
        #[serde(rename = "type", with = "super::data_type")]
        data_type: DataType,
    },
}

impl Expr {
    /// A column reference.
    pub fn column(index: usize, data_type: DataType) -> Self {
        Expr::Column { index, data_type }
    }

    /// The logical type of the result.
    pub fn data_type(&self) -> DataType {
        match self {
            Expr::Column { data_type, .. }
            | Expr::Arithmetic { data_type, .. }
            | Expr::Cast { data_type, .. }
            | Expr::Case { data_type, .. }
            | Expr::Call { data_type, .. } => data_type.clone(),
            Expr::Literal(literal) => literal.data_type.clone(),
            Expr::Negate(input) => input.data_type(),
            Expr::Compare { .. }
            | Expr::And(_)
            | Expr::Or(_)
            | Expr::Not(_)
            | Expr::IsNull(_)
            | Expr::InList { .. }
            | Expr::Match { .. } => DataType::Boolean,
        }
    }

    /// The direct parts of the expression, in order.
    pub fn children(&self) -> Vec<&Expr> {
        match self {
            Expr::Column { .. } | Expr::Literal(_) => Vec::new(),
            Expr::Arithmetic { left, right, .. } | Expr::Compare { left, right, .. } => {
                vec![left, right]
            }
            Expr::And(list) | Expr::Or(list) => list.iter().collect(),
            Expr::Not(e) | Expr::IsNull(e) | Expr::Negate(e) => vec![e],
            Expr::Cast { input, .. } | Expr::InList { input, .. } => vec![input],
            Expr::Case { branches, otherwise, .. } => {
                let branches = branches.iter().flat_map(|(when, then)| [when, then]);
                branches.chain(otherwise.as_deref()).collect()
            }
            Expr::Match { input, pattern, .. } => vec![input, pattern],
            Expr::Call { args, .. } => args.iter().collect(),
        }
    }

    /// The direct parts, to change.
    pub fn children_mut(&mut self) -> Vec<&mut Expr> {
        match self {
            Expr::Column { .. } | Expr::Literal(_) => Vec::new(),
            Expr::Arithmetic { left, right, .. } | Expr::Compare { left, right, .. } => {
                vec![left, right]
            }
            Expr::And(list) | Expr::Or(list) => list.iter_mut().collect(),
            Expr::Not(e) | Expr::IsNull(e) | Expr::Negate(e) => vec![e],
            Expr::Cast { input, .. } | Expr::InList { input, .. } => vec![input],
            Expr::Case { branches, otherwise, .. } => {
                let branches = branches.iter_mut().flat_map(|(when, then)| [when, then]);
                branches.chain(otherwise.as_deref_mut()).collect()
            }
            Expr::Match { input, pattern, .. } => vec![input, pattern],
            Expr::Call { args, .. } => args.iter_mut().collect(),
        }
    }

    /// Whether evaluation can fail on some row. Conservative: arithmetic on anything but floats
    /// may overflow, and casts fail that do not widen.
    pub fn is_fallible(&self) -> bool {
        let own = match self {
            Expr::Arithmetic { data_type, .. } => !data_type.is_floating(),
            Expr::Negate(input) => !input.data_type().is_floating(),
            Expr::Cast { input, data_type, lenient } => {
                !lenient && !widens(&input.data_type(), data_type)
            }
            Expr::Call { function, .. } => function.get().is_ok_and(|f| f.is_fallible()),
            _ => false,
        };
        own || self.children().into_iter().any(Expr::is_fallible)
    }

    /// Whether equal input may give different results.
    pub fn is_volatile(&self) -> bool {
        let own = match self {
            Expr::Call { function, .. } => function.get().is_ok_and(|f| f.is_volatile()),
            _ => false,
        };
        own || self.children().into_iter().any(Expr::is_volatile)
    }

    /// The columns read, each once, in increasing order.
    pub fn columns(&self) -> Vec<usize> {
        fn collect(expr: &Expr, into: &mut Vec<usize>) {
            if let Expr::Column { index, .. } = expr {
                into.push(*index);
            }
            for child in expr.children() {
                collect(child, into);
            }
        }
        let mut columns = Vec::new();
        collect(self, &mut columns);
        columns.sort_unstable();
        columns.dedup();
        columns
    }

    /// The same expression with every column position replaced by `map(position)`.
    pub fn map_columns(mut self, map: &impl Fn(usize) -> usize) -> Self {
        fn visit(expr: &mut Expr, map: &impl Fn(usize) -> usize) {
            if let Expr::Column { index, .. } = expr {
                *index = map(*index);
            }
            for child in expr.children_mut() {
                visit(child, map);
            }
        }
        visit(&mut self, map);
        self
    }

    /// Finds all functions by name, after the expression was read from a plan.
    ///
    /// # Errors
    /// `Input` when a function is not registered.
    pub fn resolve(&mut self, functions: &Functions) -> Result<()> {
        if let Expr::Call { function, .. } = self {
            function.resolve(functions)?;
        }
        self.children_mut().into_iter().try_for_each(|child| child.resolve(functions))
    }
}

impl fmt::Display for ArithmeticOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ArithmeticOp::Add => "+",
            ArithmeticOp::Subtract => "-",
            ArithmeticOp::Multiply => "*",
            ArithmeticOp::Divide => "/",
            ArithmeticOp::Modulo => "%",
        })
    }
}

impl fmt::Display for CompareOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CompareOp::Equal => "=",
            CompareOp::NotEqual => "<>",
            CompareOp::Less => "<",
            CompareOp::LessOrEqual => "<=",
            CompareOp::Greater => ">",
            CompareOp::GreaterOrEqual => ">=",
            CompareOp::Distinct => "IS DISTINCT FROM",
            CompareOp::NotDistinct => "IS NOT DISTINCT FROM",
        })
    }
}

/// As in SQL, with columns as `#position`.
impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expr::Column { index, .. } => write!(f, "#{index}"),
            Expr::Literal(literal) => write!(f, "{literal}"),
            Expr::Arithmetic { op, left, right, .. } => write!(f, "({left} {op} {right})"),
            Expr::Compare { op, left, right } => write!(f, "{left} {op} {right}"),
            Expr::And(list) => write!(f, "({})", Joined(list, " AND ")),
            Expr::Or(list) => write!(f, "({})", Joined(list, " OR ")),
            Expr::Not(e) => write!(f, "NOT ({e})"),
            Expr::IsNull(e) => write!(f, "{e} IS NULL"),
            Expr::Negate(e) => write!(f, "-({e})"),
            Expr::Cast { input, data_type, lenient } => {
                let name = if *lenient { "TRY_CAST" } else { "CAST" };
                write!(f, "{name}({input} AS {data_type})")
            }
            Expr::Case { branches, otherwise, .. } => {
                f.write_str("CASE")?;
                for (when, then) in branches {
                    write!(f, " WHEN {when} THEN {then}")?;
                }
                if let Some(otherwise) = otherwise {
                    write!(f, " ELSE {otherwise}")?;
                }
                f.write_str(" END")
            }
            Expr::InList { input, list, negated } => {
                let not = if *negated { "NOT " } else { "" };
                write!(f, "{input} {not}IN ({})", Joined(list, ", "))
            }
            Expr::Match { kind, input, pattern, negated, .. } => {
                let not = if *negated { "NOT " } else { "" };
                let name = if *kind == MatchKind::Like { "LIKE" } else { "ILIKE" };
                write!(f, "{input} {not}{name} {pattern}")
            }
            Expr::Call { function, args, .. } => {
                write!(f, "{}({})", function.name(), Joined(args, ", "))
            }
        }
    }
}

/// Items with a separator between them.
struct Joined<'a, T>(&'a [T], &'a str);

impl<T: fmt::Display> fmt::Display for Joined<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, item) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(self.1)?;
            }
            write!(f, "{item}")?;
        }
        Ok(())
    }
}
