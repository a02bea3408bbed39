//! Numbers in ROLLUP, CUBE and GROUPING SETS: as in GROUP BY itself they are places of the SELECT
//! list, whose expressions are written in their stead.
//!
//! A column that is there twice is written once in each set: the binder wants them apart.

use datafusion_sql::sqlparser::ast::{Expr, GroupByExpr, Select, SelectItem, Value, ValueWithSpan};

/// Writes expressions for numbers; those that are no place stay.
pub(super) fn write_out(select: &mut Select) {
    let GroupByExpr::Expressions(keys, _) = &mut select.group_by else { return };
    for key in keys {
        if let Expr::Rollup(sets) | Expr::Cube(sets) | Expr::GroupingSets(sets) = key {
            for item in sets.iter_mut().flatten() {
                if let Some(meant) = meant(item, &select.projection) {
                    *item = meant;
                }
            }
        }
        once_in_sets(key);
    }
}

/// Writes ROLLUP and CUBE with something twice as their sets, and leaves out of sets what is there
/// already.
fn once_in_sets(key: &mut Expr) {
    let sets = match key {
        Expr::Rollup(items) if has_twice(items) => {
            (0..=items.len()).rev().map(|count| items[..count].concat()).collect()
        }
        Expr::Cube(items) if has_twice(items) && items.len() <= CUBE_MAX => {
            let set = |bits: usize| {
                let chosen = items.iter().enumerate().filter(|(at, _)| bits >> at & 1 == 1);
                chosen.flat_map(|(_, item)| item.clone()).collect()
            };
            (0..1usize << items.len()).rev().map(set).collect()
        }
        Expr::GroupingSets(sets) if sets.iter().any(|set| has_twice(std::slice::from_ref(set))) => {
            std::mem::take(sets)
        }
        _ => return,
    };
    let once = |set: Vec<Expr>| {
        let mut kept: Vec<Expr> = Vec::new();
        set.into_iter().for_each(|item| {
            if !kept.contains(&item) {
                kept.push(item);
            }
        });
        kept
    };
    let sets: Vec<Vec<Expr>> = sets;
    *key = Expr::GroupingSets(sets.into_iter().map(once).collect());
}

/// What CUBE takes at most: it has a set for each choice of its items.
const CUBE_MAX: usize = 12;

fn has_twice(items: &[Vec<Expr>]) -> bool {
    let all: Vec<&Expr> = items.iter().flatten().collect();
    all.iter().enumerate().any(|(at, item)| all[..at].contains(item))
}

fn meant(item: &Expr, projection: &[SelectItem]) -> Option<Expr> {
    let Expr::Value(ValueWithSpan { value: Value::Number(digits, _), .. }) = item else {
        return None;
    };
    let place = digits.parse::<usize>().ok()?.checked_sub(1)?;
    match projection.get(place)? {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
            Some(expr.clone())
        }
        _ => None,
    }
}
