//! What expressions begin with: columns, values, calls.

use super::bind::quoted;
use super::expr::{Expr, Exprs, Rank};

/// The column of that very name, capitals and spaces in it too.
pub fn col(name: &str) -> Expr {
    Expr::new(quoted(name), Rank::Atom)
}

/// A value: a number, a truth value, a string, or `None` for NULL.
///
/// ```
/// use gristmill::lit;
///
/// assert_eq!(lit("it's").to_string(), "'it''s'");
/// assert_eq!(lit(None::<i64>).to_string(), "NULL");
/// ```
pub fn lit(value: impl LitValue) -> Expr {
    value.expr()
}

/// Any expression, as SQL writes it.
pub fn sql_expr(text: &str) -> Expr {
    Expr::from(text)
}

/// The call of a function, an aggregate or a window function.
pub fn call(name: &str, arguments: impl Into<Exprs>) -> Expr {
    Expr::new(format!("{name}({})", arguments.into().text), Rank::Atom)
}

/// `count(*)`: the number of rows.
pub fn count_rows() -> Expr {
    Expr::new("count(*)", Rank::Atom)
}

/// A value that can be written in SQL.
pub trait LitValue {
    /// The value as an expression.
    fn expr(self) -> Expr;
}

macro_rules! integers {
    ($($of:ty)*) => {$(
        impl LitValue for $of {
            fn expr(self) -> Expr {
                match i128::from(self) {
                    // The parser knows numbers without a sign only.
                    value if value == i128::from(i64::MIN) => {
                        Expr::new(format!("CAST('{value}' AS BIGINT)"), Rank::Atom)
                    }
                    value if value < 0 => Expr::new(value.to_string(), Rank::Negate),
                    value => Expr::new(value.to_string(), Rank::Atom),
                }
            }
        }

        impl From<$of> for Expr {
            fn from(value: $of) -> Self {
                value.expr()
            }
        }
    )*};
}

integers!(i8 i16 i32 i64 u8 u16 u32 u64);

impl LitValue for f64 {
    /// A double, whatever it is: a number with a point alone would be a decimal.
    fn expr(self) -> Expr {
        Expr::new(format!("CAST('{self:e}' AS DOUBLE)"), Rank::Atom)
    }
}

impl LitValue for bool {
    fn expr(self) -> Expr {
        Expr::new(if self { "TRUE" } else { "FALSE" }, Rank::Atom)
    }
}

impl LitValue for &str {
    fn expr(self) -> Expr {
        Expr::new(format!("'{}'", self.replace('\'', "''")), Rank::Atom)
    }
}

impl LitValue for String {
    fn expr(self) -> Expr {
        self.as_str().expr()
    }
}

impl<T: LitValue> LitValue for Option<T> {
    fn expr(self) -> Expr {
        self.map_or_else(|| Expr::new("NULL", Rank::Atom), T::expr)
    }
}

impl From<f64> for Expr {
    fn from(value: f64) -> Self {
        value.expr()
    }
}

impl From<bool> for Expr {
    fn from(value: bool) -> Self {
        value.expr()
    }
}
