//! Joins of frames: what they may be, and their statement.

use std::fmt;

use datafusion_expr::LogicalPlan;
use gristmill_engine::{Error, Result};

use super::bind::{LEFT, RIGHT, column_named, names, quoted};

/// Which rows a join gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JoinKind {
    /// Pairs of rows that match.
    Inner,
    /// And rows of the left side that match none, with NULL for the columns of the right.
    Left,
    /// And rows of the right side that match none, with NULL for the columns of the left.
    Right,
    /// And rows of both sides that match none.
    Full,
    /// Rows of the left side that match some row, once each, without the columns of the right.
    Semi,
    /// Rows of the left side that match none, without the columns of the right.
    Anti,
}

impl JoinKind {
    fn words(self) -> &'static str {
        match self {
            JoinKind::Inner => "INNER JOIN",
            JoinKind::Left => "LEFT JOIN",
            JoinKind::Right => "RIGHT JOIN",
            JoinKind::Full => "FULL JOIN",
            JoinKind::Semi => "LEFT SEMI JOIN",
            JoinKind::Anti => "LEFT ANTI JOIN",
        }
    }

    fn gives_right(self) -> bool {
        !matches!(self, JoinKind::Semi | JoinKind::Anti)
    }
}

/// The columns by which rows match: those of equal values, of which neither is NULL.
///
/// Made from the name of a column of both sides, an array of such names, or an array of pairs of a
/// name of the left side and one of the right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pairs(pub(super) Vec<(String, String)>);

impl From<&str> for Pairs {
    fn from(name: &str) -> Self {
        Pairs(vec![(name.to_string(), name.to_string())])
    }
}

impl<const N: usize> From<[&str; N]> for Pairs {
    fn from(names: [&str; N]) -> Self {
        Pairs(names.iter().map(|name| (name.to_string(), name.to_string())).collect())
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Pairs {
    fn from(pairs: [(&str, &str); N]) -> Self {
        Pairs(pairs.iter().map(|(left, right)| (left.to_string(), right.to_string())).collect())
    }
}

impl From<Vec<(String, String)>> for Pairs {
    fn from(pairs: Vec<(String, String)>) -> Self {
        Pairs(pairs)
    }
}

/// When rows match.
#[derive(Debug, Clone)]
pub(super) enum On {
    Columns(Pairs),
    Condition(String),
    /// Always.
    Nothing,
}

impl fmt::Display for On {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            On::Columns(Pairs(pairs)) => {
                let pair = |(left, right): &(String, String)| format!("{left} = {right}");
                f.write_str(&pairs.iter().map(pair).collect::<Vec<_>>().join(", "))
            }
            On::Condition(condition) => f.write_str(condition),
            On::Nothing => f.write_str("cross"),
        }
    }
}

/// The statement of a join by columns. A key that has one name on both sides is there once.
pub(super) fn by_columns(
    left: &LogicalPlan,
    right: &LogicalPlan,
    kind: JoinKind,
    pairs: &Pairs,
) -> Result<String> {
    if pairs.0.is_empty() {
        return Err(Error::input("a join by no columns; for all pairs of rows use cross_join"));
    }
    let mut keys = Vec::with_capacity(pairs.0.len());
    for (l, r) in &pairs.0 {
        keys.push((column_named(left, l, "left side")?, column_named(right, r, "right side")?));
    }
    let both = |name: &str| format!("l.{0}, r.{0}", quoted(name));
    let left_item = |name: &String| {
        let is_merged = keys.iter().any(|(l, r)| l == name && r == name);
        match kind {
            JoinKind::Right if is_merged => format!("r.{}", quoted(name)),
            JoinKind::Full if is_merged => {
                format!("coalesce({}) AS {}", both(name), quoted(name))
            }
            _ => format!("l.{}", quoted(name)),
        }
    };
    let mut items: Vec<String> = names(left).iter().map(left_item).collect();
    if kind.gives_right() {
        let own = names(right).into_iter();
        let own = own.filter(|name| !keys.iter().any(|(l, r)| l == name && r == name));
        let taken = names(left);
        for name in own {
            items.push(match taken.contains(&name) {
                true => format!("r.{} AS {}", quoted(&name), quoted(&free(&name, &taken, right))),
                false => format!("r.{}", quoted(&name)),
            });
        }
    }
    let on = keys.iter().map(|(l, r)| format!("l.{} = r.{}", quoted(l), quoted(r)));
    let (items, on) = (items.join(", "), on.collect::<Vec<_>>().join(" AND "));
    let words = kind.words();
    Ok(format!("SELECT {items} FROM {LEFT} AS l {words} {RIGHT} AS r ON {on}"))
}

/// A name with a number behind it that no column has.
fn free(name: &str, taken: &[String], right: &LogicalPlan) -> String {
    let others = names(right);
    let numbered = (1..).map(|number: usize| format!("{name}_{number}"));
    let mut free = numbered.filter(|name| !taken.contains(name) && !others.contains(name));
    free.next().unwrap_or_default()
}

/// The statement of a join by a condition, up to the latter.
///
/// # Errors
/// `Input` when both sides have one name.
pub(super) fn by_condition(
    left: Option<&str>,
    right: Option<&str>,
    kind: JoinKind,
) -> Result<String> {
    let (l, r) = (left.unwrap_or("l"), right.unwrap_or("r"));
    if l == r {
        return Err(Error::input(format!(
            "both sides are called {l}; give one of them another name by alias"
        )));
    }
    let (l, r, words) = (quoted(l), quoted(r), kind.words());
    Ok(format!("SELECT * FROM {LEFT} AS {l} {words} {RIGHT} AS {r} ON "))
}
