//! Expressions as values: SQL that is put together without quoting names and values by hand.
//!
//! An expression is its text in SQL, and the rank of its outermost operator, which tells where
//! parentheses are needed.

use std::fmt;
use std::ops;

/// How tightly the outermost operator binds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// A text, of which nothing is known.
    Text,
    Or,
    And,
    Not,
    Compare,
    Add,
    Multiply,
    Negate,
    /// A name, a value, a call.
    Atom,
}

/// An expression of SQL, for the steps of a [`DataFrame`](crate::DataFrame).
///
/// [`col`](crate::col), [`lit`](crate::lit), [`call`](crate::call) and
/// [`sql_expr`](crate::sql_expr) make one, operators and methods put
/// several together; every text that is given where an expression is wanted is one as well, as SQL
/// writes it: `"a + 1"` is the sum and `lit("a + 1")` the string. Numbers and truth values stand
/// for themselves.
///
/// ```
/// use gristmill::{call, col, lit, sql_expr};
///
/// let price = col("price") * (lit(1) - col("discount"));
/// assert_eq!(price.to_string(), r#""price" * (1 - "discount")"#);
/// let condition = col("name").eq(lit("O'Hara")).and(price.gt(100).or(sql_expr("a is null")));
/// assert_eq!(
///     condition.to_string(),
///     r#""name" = 'O''Hara' AND ("price" * (1 - "discount") > 100 OR (a is null))"#
/// );
/// assert_eq!(call("round", ["x", "2"]).alias("y").to_string(), r#"round(x, 2) AS "y""#);
/// ```
#[derive(Debug, Clone)]
pub struct Expr {
    text: String,
    rank: Rank,
}

impl Expr {
    pub(super) fn new(text: impl Into<String>, rank: Rank) -> Self {
        Expr { text: text.into(), rank }
    }

    /// The text as an operand of an operator of this rank.
    fn operand(&self, rank: Rank) -> String {
        if self.rank >= rank { self.text.clone() } else { format!("({})", self.text) }
    }

    /// `self op other`, where chains lean to the left.
    fn infix(&self, op: &str, other: impl Into<Expr>, rank: Rank) -> Expr {
        let tighter = match rank {
            Rank::Or => Rank::And,
            Rank::And => Rank::Not,
            Rank::Add => Rank::Multiply,
            _ => Rank::Negate,
        };
        // Comparisons are no chains.
        let left = if rank == Rank::Compare { Rank::Add } else { rank };
        let right = if rank == Rank::Compare { Rank::Add } else { tighter };
        let right = other.into().operand(right);
        Expr::new(format!("{} {op} {right}", self.operand(left)), rank)
    }

    fn postfix(&self, words: &str) -> Expr {
        Expr::new(format!("{} {words}", self.operand(Rank::Add)), Rank::Compare)
    }

    /// `self = other`
    pub fn eq(&self, other: impl Into<Expr>) -> Expr {
        self.infix("=", other, Rank::Compare)
    }

    /// `self <> other`
    pub fn not_eq(&self, other: impl Into<Expr>) -> Expr {
        self.infix("<>", other, Rank::Compare)
    }

    /// `self < other`
    pub fn lt(&self, other: impl Into<Expr>) -> Expr {
        self.infix("<", other, Rank::Compare)
    }

    /// `self <= other`
    pub fn lt_eq(&self, other: impl Into<Expr>) -> Expr {
        self.infix("<=", other, Rank::Compare)
    }

    /// `self > other`
    pub fn gt(&self, other: impl Into<Expr>) -> Expr {
        self.infix(">", other, Rank::Compare)
    }

    /// `self >= other`
    pub fn gt_eq(&self, other: impl Into<Expr>) -> Expr {
        self.infix(">=", other, Rank::Compare)
    }

    /// `self AND other`
    pub fn and(&self, other: impl Into<Expr>) -> Expr {
        self.infix("AND", other, Rank::And)
    }

    /// `self OR other`
    pub fn or(&self, other: impl Into<Expr>) -> Expr {
        self.infix("OR", other, Rank::Or)
    }

    /// `self IS NULL`
    pub fn is_null(&self) -> Expr {
        self.postfix("IS NULL")
    }

    /// `self IS NOT NULL`
    pub fn is_not_null(&self) -> Expr {
        self.postfix("IS NOT NULL")
    }

    /// `self LIKE pattern`
    pub fn like(&self, pattern: impl Into<Expr>) -> Expr {
        self.infix("LIKE", pattern, Rank::Compare)
    }

    /// `self BETWEEN low AND high`
    pub fn between(&self, low: impl Into<Expr>, high: impl Into<Expr>) -> Expr {
        let (low, high) = (low.into().operand(Rank::Add), high.into().operand(Rank::Add));
        self.postfix(&format!("BETWEEN {low} AND {high}"))
    }

    /// `self IN (items)`
    pub fn in_list(&self, items: impl Into<Exprs>) -> Expr {
        self.postfix(&format!("IN ({})", items.into().text))
    }

    /// `CAST(self AS data_type)`, the type as SQL calls it.
    pub fn cast(&self, data_type: &str) -> Expr {
        Expr::new(format!("CAST({} AS {data_type})", self.text), Rank::Atom)
    }

    /// `self AS "name"`: the expression as a column of that name.
    pub fn alias(&self, name: &str) -> Expr {
        Expr::new(format!("{} AS {}", self.text, super::bind::quoted(name)), Rank::Text)
    }

    /// `self ASC`: a key to sort by, from small to great.
    pub fn asc(&self) -> Expr {
        Expr::new(format!("{} ASC", self.text), Rank::Text)
    }

    /// `self DESC`: a key to sort by, from great to small, NULL first.
    pub fn desc(&self) -> Expr {
        Expr::new(format!("{} DESC", self.text), Rank::Text)
    }

    /// `self NULLS FIRST`, behind the key's direction.
    pub fn nulls_first(&self) -> Expr {
        Expr::new(format!("{} NULLS FIRST", self.text), Rank::Text)
    }

    /// `self NULLS LAST`, behind the key's direction.
    pub fn nulls_last(&self) -> Expr {
        Expr::new(format!("{} NULLS LAST", self.text), Rank::Text)
    }

    /// `self FILTER (WHERE condition)`, of the call of an aggregate.
    pub fn filter(&self, condition: impl Into<Expr>) -> Expr {
        Expr::new(format!("{} FILTER (WHERE {})", self.text, condition.into().text), Rank::Atom)
    }

    /// `self OVER (window)`, of the call of a window function or an aggregate: the window as SQL
    /// writes it, such as `partition by a order by b`.
    pub fn over(&self, window: &str) -> Expr {
        Expr::new(format!("{} OVER ({window})", self.text), Rank::Atom)
    }
}

/// The expression as SQL.
impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

macro_rules! operator {
    ($($of:ident, $method:ident, $op:literal, $rank:ident;)*) => {$(
        impl<T: Into<Expr>> ops::$of<T> for Expr {
            type Output = Expr;

            fn $method(self, other: T) -> Expr {
                self.infix($op, other, Rank::$rank)
            }
        }
    )*};
}

operator! {
    Add, add, "+", Add;
    Sub, sub, "-", Add;
    Mul, mul, "*", Multiply;
    Div, div, "/", Multiply;
    Rem, rem, "%", Multiply;
}

impl ops::Neg for Expr {
    type Output = Expr;

    fn neg(self) -> Expr {
        // Two signs in a row begin a comment.
        Expr::new(format!("-{}", self.operand(Rank::Atom)), Rank::Negate)
    }
}

impl ops::Not for Expr {
    type Output = Expr;

    fn not(self) -> Expr {
        Expr::new(format!("NOT {}", self.operand(Rank::Not)), Rank::Not)
    }
}

/// A text is SQL.
impl From<&str> for Expr {
    fn from(text: &str) -> Self {
        Expr::new(text, Rank::Text)
    }
}

/// A text is SQL.
impl From<String> for Expr {
    fn from(text: String) -> Self {
        Expr::new(text, Rank::Text)
    }
}

/// Several expressions, with commas between them: one text, one [`Expr`], an array or a vector of
/// them. `()` stands for none.
#[derive(Debug, Clone)]
pub struct Exprs {
    pub(super) text: String,
}

impl From<()> for Exprs {
    fn from(_: ()) -> Self {
        Exprs { text: String::new() }
    }
}

impl From<&str> for Exprs {
    fn from(text: &str) -> Self {
        Exprs { text: text.to_string() }
    }
}

impl From<String> for Exprs {
    fn from(text: String) -> Self {
        Exprs { text }
    }
}

impl From<Expr> for Exprs {
    fn from(expr: Expr) -> Self {
        Exprs { text: expr.text }
    }
}

impl<T: Into<Expr>, const N: usize> From<[T; N]> for Exprs {
    fn from(exprs: [T; N]) -> Self {
        exprs.into_iter().collect()
    }
}

impl<T: Into<Expr>> From<Vec<T>> for Exprs {
    fn from(exprs: Vec<T>) -> Self {
        exprs.into_iter().collect()
    }
}

impl<T: Into<Expr>> FromIterator<T> for Exprs {
    fn from_iter<I: IntoIterator<Item = T>>(exprs: I) -> Self {
        let texts: Vec<String> = exprs.into_iter().map(|expr| expr.into().text).collect();
        Exprs { text: texts.join(", ") }
    }
}
