//! Values in order, and what bounds say of rows beside a plain reading of the comparisons.

use arrow::datatypes::DataType;

use super::read::{common, prefix};
use super::*;
use crate::batch::{float_key, float_order};

#[test]
fn prefixes_have_the_order_of_texts() {
    let increasing = [
        "",
        "\0",
        "a",
        "a\0b",
        "aaaaaaaa",
        "aaaaaaab",
        "b",
        "item 17",
        "item 1700000000",
        "item 18",
        "item 9",
        "item 9\0",
        "zzzzzzzzz",
        "ß",
        "€",
    ];
    for beginning in ["", "a", "item ", "item 1", "zzzzzzzz", "\u{ff}"] {
        let prefix = |text: &str| prefix(text, beginning.as_bytes());
        assert!(increasing.windows(2).all(|pair| prefix(pair[0]) <= prefix(pair[1])));
    }
    assert!(prefix("a", b"") < prefix("b", b"") && prefix("z", b"") < prefix("ß", b""));
    assert_eq!(prefix("aaaaaaaab", b""), prefix("aaaaaaaac", b""));
    assert!(prefix("item number 17", b"item number ") < prefix("item number 18", b"item number "));
}

#[test]
fn texts_have_a_beginning_in_common() {
    let common = |texts: &[&str]| common(texts.iter().copied());
    assert_eq!(common(&["item 17", "item 18", "item"]), b"item");
    assert_eq!(common(&["item 17", "", "item 18"]), b"");
    assert_eq!(common(&["ß", "à"]), [0xc3]);
    assert_eq!(common(&["one"]), b"one");
    assert_eq!(common(&[]), b"");
}

fn ordinal(value: f64) -> i64 {
    float_order(float_key(value))
}

#[test]
fn doubles_have_the_order_of_their_ordinals() {
    let inf = f64::INFINITY;
    let increasing = [-inf, -1e300, -2.5, -1e-310, 0.0, 1e-310, 1.0, 7e200, inf, f64::NAN];
    assert!(increasing.windows(2).all(|pair| ordinal(pair[0]) < ordinal(pair[1])));
    assert_eq!(ordinal(-0.0), ordinal(0.0));
    assert_eq!(ordinal(-f64::NAN), ordinal(f64::NAN));
}

#[test]
fn ranges_have_all_rows_that_pass() {
    use CompareOp::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual};
    let (v, n) = (Known::Value, Known::Null);
    for rows in [
        vec![v(1), v(1), v(4), v(9), n, n],
        vec![v(4), v(-3), n, v(4)],
        vec![n, v(2)],
        vec![n, n],
        vec![],
    ] {
        let values = Values::of(rows.clone());
        for key in -4..11 {
            for op in [Equal, Less, LessOrEqual, Greater, GreaterOrEqual] {
                let passes = |known: &Known| match (known, op) {
                    (Known::Value(value), Equal) => *value == key,
                    (Known::Value(value), Less) => *value < key,
                    (Known::Value(value), LessOrEqual) => *value <= key,
                    (Known::Value(value), Greater) => *value > key,
                    (Known::Value(value), GreaterOrEqual) => *value >= key,
                    _ => false,
                };
                // The least and the greatest value tell all but whether there is an equal one.
                let (is_met, has_match) = (
                    values.probe_values(op).is_some_and(|keys| keys.contains(&key)),
                    rows.iter().any(passes),
                );
                assert!(is_met == has_match || is_met && op == Equal);
                let range = values.range(op, v(key), rows.len());
                let all = || rows.iter().enumerate();
                assert!(all().all(|(row, known)| !passes(known) || range.contains(&row)));
                if let Values::Sorted(_) = values {
                    assert!(all().all(|(row, known)| passes(known) == range.contains(&row)));
                }
            }
        }
        assert_eq!(values.range(Less, n, rows.len()), 0..0);
        assert_eq!(values.range(Less, Known::Beyond, rows.len()), 0..rows.len());
    }
    assert_eq!(Values::of(vec![v(1), Known::Beyond]), Values::Unknown);
}

#[test]
fn bounds_alone_decide_and_others_do_not() {
    let (v, n) = (Known::Value, Known::Null);
    let column = |index| Box::new(Expr::column(index, DataType::Int64));
    let compare = |op, left, right| Expr::Compare { op, left, right };
    let both = Expr::And(vec![
        compare(CompareOp::Less, column(0), column(2)),
        compare(CompareOp::LessOrEqual, column(3), column(1)),
    ]);
    let memory = Governor::unlimited();
    let bounds = Bounds::new(&both, 2, |_| true, &memory).expect("two bounds");
    let (first, second) = ([v(5), v(1), n, v(7), v(3)], [v(2), v(9), v(4), n, v(2)]);
    let sorted = [v(1), v(3), v(4), n, n];
    let probe = [vec![v(2), v(-9), n, v(4)], vec![v(4), v(9), v(3), v(2)]];
    let value = |known: Known| match known {
        Known::Value(value) => Some(value),
        _ => None,
    };
    let is_below = |a: Option<i64>, b: Option<i64>| a.zip(b).is_some_and(|(a, b)| a < b);
    let is_up_to = |a: Option<i64>, b: Option<i64>| a.zip(b).is_some_and(|(a, b)| a <= b);
    let passes = |build: [Known; 2], row: usize| {
        is_below(value(probe[0][row]), value(build[0]))
            && is_up_to(value(build[1]), value(probe[1][row]))
    };
    for group in [[first, second], [sorted, second], [second, sorted]] {
        let values = group.map(|known| Values::of(known.to_vec()));
        for row in 0..4 {
            let expected: Vec<u32> =
                (0..5).filter(|&at| passes(group.map(|g| g[at as usize]), row)).collect();
            let (mut found, range) = (vec![77], bounds.range(&values, &probe, row, 5));
            let has_match = bounds.has_match(&values, &probe, row, range.clone());
            assert_eq!(has_match, Some(!expected.is_empty()));
            assert!(bounds.matches(&values, &probe, row, range, &mut found));
            assert_eq!(found[1..], expected);
        }
        for at in 0..5 {
            let expected: Vec<u32> = [0, 2, 3]
                .into_iter()
                .filter(|&row| passes(group.map(|g| g[at]), row as usize))
                .collect();
            let found = bounds.matches_of_build(&values, at, &probe, &[0, 2, 3]);
            assert_eq!(found, Some(expected));
        }
    }
    let unknown = [Values::Unknown, Values::of(second.to_vec())];
    assert!(!bounds.matches(&unknown, &probe, 0, 0..5, &mut Vec::new()));
    assert_eq!(bounds.matches_of_build(&unknown, 0, &probe, &[0]), None);
    let beyond = [vec![Known::Beyond], vec![v(1)]];
    let values = [Values::of(first.to_vec()), Values::of(second.to_vec())];
    assert!(!bounds.matches(&values, &beyond, 0, 0..5, &mut Vec::new()));
    assert_eq!(bounds.matches_of_build(&values, 0, &beyond, &[0]), None);
    let more = Expr::And(vec![both, compare(CompareOp::NotEqual, column(0), column(2))]);
    let bounds = Bounds::new(&more, 2, |_| true, &memory).expect("two bounds");
    assert!(!bounds.matches(&values, &probe, 0, 0..5, &mut Vec::new()));
}
