//! Numbers in ROLLUP, CUBE and GROUPING SETS: as in GROUP BY itself they are places of the SELECT
//! list, whose expressions are written in their stead. Numbers with a minus are none: they become
//! sums, which the binder does not take for places. Nor is the name of a number one,
//! `SELECT 2024 AS year … GROUP BY year`, which becomes a cast.
//!
//! Several columns together in GROUP BY, `(a, b)`, are keys like others there.
//!
//! A column that is there twice is written once in each set: the binder wants them apart. Several
//! columns together in ROLLUP and CUBE, `rollup((a, b), c)`, become the sets that these stand for.
//! So do several items of which one is ROLLUP, CUBE or GROUPING SETS, `a, rollup(b)`: beside such
//! the binder groups in all sets by what it believes a plain key to decide on.

use datafusion_common::Result;
use datafusion_expr::{Expr as Bound, GroupingSet};
use datafusion_sql::sqlparser::ast::{
    BinaryOperator, DataType, Expr, GroupByExpr, Ident, Select, SelectItem, UnaryOperator, Value,
    ValueWithSpan,
};
use datafusion_sql::sqlparser::keywords::Keyword;
use datafusion_sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::clauses::of_item;
use super::syntax::{binary, cast, is_word, nested, number};
use super::using::plain;

/// Puts expressions that begin with a parenthesis into another one, `rollup(((a + 1) * 2))`: the
/// parser would take what is in the first for several columns.
pub(super) fn enclose(tokens: &mut Vec<TokenWithSpan>) {
    let begins = |tokens: &[TokenWithSpan], at: usize| {
        let sets = [Keyword::ROLLUP, Keyword::CUBE, Keyword::SETS];
        sets.iter().any(|word| is_word(&tokens[at], *word))
            && tokens.get(at + 1).is_some_and(|next| next.token == Token::LParen)
    };
    let mut at = 0;
    while at + 1 < tokens.len() {
        let mut item = at + 2;
        let is_list = begins(tokens, at);
        at += 1;
        while is_list && item < tokens.len() {
            let Some(end) = item_end(tokens, item) else { break };
            let is_last = tokens[end].token == Token::RParen;
            let first_close = close_of(tokens, item);
            let is_enclosed = first_close.is_some_and(|close| close + 1 < end);
            if is_enclosed {
                let span = tokens[item].span;
                tokens.insert(end, TokenWithSpan::new(Token::RParen, span));
                tokens.insert(item, TokenWithSpan::new(Token::LParen, span));
            }
            item = end + 1 + if is_enclosed { 2 } else { 0 };
            if is_last {
                break;
            }
        }
    }
}

/// Where the parenthesis that opens at a place is closed.
fn close_of(tokens: &[TokenWithSpan], mut at: usize) -> Option<usize> {
    if tokens.get(at)?.token != Token::LParen {
        return None;
    }
    at += 1;
    loop {
        let end = item_end(tokens, at)?;
        if tokens[end].token == Token::RParen {
            return Some(end);
        }
        at = end + 1;
    }
}

/// The comma or the closing parenthesis behind an item of a list.
fn item_end(tokens: &[TokenWithSpan], begin: usize) -> Option<usize> {
    let mut depth = 0usize;
    for (at, token) in tokens.iter().enumerate().skip(begin) {
        match token.token {
            Token::LParen | Token::LBracket | Token::LBrace => depth += 1,
            Token::RParen | Token::RBracket | Token::RBrace if depth > 0 => depth -= 1,
            Token::RParen => return Some(at),
            Token::Comma if depth == 0 => return Some(at),
            _ => {}
        }
    }
    None
}

/// Writes expressions for numbers; those that are no place stay.
pub(super) fn write_out(select: &mut Select) {
    let GroupByExpr::Expressions(keys, _) = &mut select.group_by else { return };
    *keys = std::mem::take(keys).into_iter().flat_map(members).collect();
    let is_name = |alias: &Ident| {
        let is_it = |key: &Expr| matches!(key, Expr::Identifier(key) if plain(key) == plain(alias));
        keys.iter().any(is_it)
    };
    for item in &mut select.projection {
        if let SelectItem::ExprWithAlias { expr, alias } = item
            && is_whole(expr)
            && is_name(alias)
        {
            let whole = std::mem::replace(expr, Expr::value(Value::Null));
            *expr = cast(whole, DataType::BigInt(None));
        }
    }
    for key in keys.iter_mut() {
        if is_negative(key) {
            let key_alone = nested(std::mem::replace(key, Expr::value(Value::Null)));
            *key = binary(key_alone, BinaryOperator::Plus, number("0"));
        }
        if let Expr::Rollup(sets) | Expr::Cube(sets) | Expr::GroupingSets(sets) = key {
            for item in sets.iter_mut().flatten() {
                if let Some(meant) = meant(item, &select.projection) {
                    *item = meant;
                }
            }
        }
        once_in_sets(key);
    }
    let is_set =
        |key: &Expr| matches!(key, Expr::Rollup(_) | Expr::Cube(_) | Expr::GroupingSets(_));
    if keys.len() > 1
        && keys.iter().any(is_set)
        && let Some(sets) = combined(keys, &select.projection)
    {
        *keys = vec![Expr::GroupingSets(sets)];
    }
}

/// The sets that items of GROUP BY stand for together; `None` when they are too many.
fn combined(keys: &[Expr], projection: &[SelectItem]) -> Option<Vec<Vec<Expr>>> {
    let mut all = vec![Vec::new()];
    for key in keys {
        let own = match key {
            Expr::Rollup(items) => rolled_up(items),
            Expr::Cube(items) if items.len() <= CUBE_MAX => chosen(items),
            Expr::Cube(_) => return None,
            Expr::GroupingSets(sets) => sets.clone(),
            Expr::Tuple(items) => vec![items.clone()],
            key => vec![vec![meant(key, projection).unwrap_or_else(|| key.clone())]],
        };
        if all.len() * own.len() > 1 << CUBE_MAX {
            return None;
        }
        let each = |set: &Vec<Expr>| own.iter().map(|own| once([&set[..], own].concat())).collect();
        all = all.iter().flat_map(|set: &Vec<Expr>| -> Vec<Vec<Expr>> { each(set) }).collect();
    }
    Some(all)
}

fn rolled_up(items: &[Vec<Expr>]) -> Vec<Vec<Expr>> {
    (0..=items.len()).rev().map(|count| items[..count].concat()).collect()
}

fn chosen(items: &[Vec<Expr>]) -> Vec<Vec<Expr>> {
    let set = |bits: usize| {
        let chosen = items.iter().enumerate().filter(|(at, _)| bits >> at & 1 == 1);
        chosen.flat_map(|(_, item)| item.clone()).collect()
    };
    (0..1usize << items.len()).rev().map(set).collect()
}

fn once(set: Vec<Expr>) -> Vec<Expr> {
    let mut kept: Vec<Expr> = Vec::new();
    set.into_iter().for_each(|item| {
        if !kept.contains(&item) {
            kept.push(item);
        }
    });
    kept
}

/// What a key with several columns together, `(a, b)`, has.
fn members(key: Expr) -> Vec<Expr> {
    match key {
        Expr::Nested(inner) if matches!(*inner, Expr::Tuple(_)) => members(*inner),
        Expr::Tuple(all) if !all.is_empty() => all,
        key => vec![key],
    }
}

/// Whether an expression is a number without fraction that a BIGINT holds.
fn is_whole(expr: &Expr) -> bool {
    match expr {
        Expr::Nested(inner) => is_whole(inner),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => is_whole(expr),
        Expr::Value(ValueWithSpan { value: Value::Number(digits, _), .. }) => {
            digits.parse::<i64>().is_ok()
        }
        _ => false,
    }
}

/// Whether a key is a number with a minus.
fn is_negative(key: &Expr) -> bool {
    match key {
        Expr::Nested(inner) => is_negative(inner),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => matches!(&**expr, Expr::Value(_)),
        _ => false,
    }
}

/// Writes ROLLUP and CUBE with something twice as their sets, and leaves out of sets what is there
/// already.
fn once_in_sets(key: &mut Expr) {
    let sets = match key {
        Expr::Rollup(items) if (has_twice(items) || has_several(items)) => rolled_up(items),
        Expr::Cube(items)
            if (has_twice(items) || has_several(items)) && items.len() <= CUBE_MAX =>
        {
            chosen(items)
        }
        Expr::GroupingSets(sets) if sets.iter().any(|set| has_twice(std::slice::from_ref(set))) => {
            std::mem::take(sets)
        }
        _ => return,
    };
    let sets: Vec<Vec<Expr>> = sets;
    *key = Expr::GroupingSets(sets.into_iter().map(once).collect());
}

/// A bound key, or each of those in grouping sets, as another.
///
/// # Errors
/// Those of `change`.
pub(super) fn in_sets(key: Bound, change: &impl Fn(Bound) -> Result<Bound>) -> Result<Bound> {
    let all = |keys: Vec<Bound>| keys.into_iter().map(change).collect::<Result<Vec<Bound>>>();
    Ok(match key {
        Bound::GroupingSet(set) => Bound::GroupingSet(match set {
            GroupingSet::Rollup(keys) => GroupingSet::Rollup(all(keys)?),
            GroupingSet::Cube(keys) => GroupingSet::Cube(all(keys)?),
            GroupingSet::GroupingSets(sets) => {
                GroupingSet::GroupingSets(sets.into_iter().map(all).collect::<Result<_>>()?)
            }
        }),
        key => change(key)?,
    })
}

/// What CUBE takes at most: it has a set for each choice of its items.
const CUBE_MAX: usize = 12;

fn has_twice(items: &[Vec<Expr>]) -> bool {
    let all: Vec<&Expr> = items.iter().flatten().collect();
    all.iter().enumerate().any(|(at, item)| all[..at].contains(item))
}

fn has_several(items: &[Vec<Expr>]) -> bool {
    items.iter().any(|item| item.len() != 1)
}

/// What a number in a list of keys stands for; nothing behind `*`, where columns have other
/// numbers.
pub(super) fn meant(key: &Expr, projection: &[SelectItem]) -> Option<Expr> {
    item_at(key, projection).and_then(of_item).cloned()
}

/// The item of a list that a number stands for, as [`meant`].
pub(super) fn item_at<'a>(key: &Expr, projection: &'a [SelectItem]) -> Option<&'a SelectItem> {
    let Expr::Value(ValueWithSpan { value: Value::Number(digits, _), .. }) = key else {
        return None;
    };
    let place = digits.parse::<usize>().ok()?.checked_sub(1)?;
    projection.iter().take_while(|item| of_item(item).is_some()).nth(place)
}
