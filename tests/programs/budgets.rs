//! Random programs under random budgets: the answer is the one without a limit, and afterwards
//! nothing is held.

use gristmill::{Config, Session};
use gristmill_tests::random::Random;
use gristmill_tests::reference::value::canonical;
use gristmill_tests::reference::value::rows;

/// Rows of the table that the programs begin with.
const ROWS: usize = 30_000;

/// Steps that keep the columns `k`, `g`, `v`, `s`, and make no more rows than a few for each.
fn step(random: &mut Random, from: &str) -> String {
    let side = *random.pick(&["k", "k", "k, g", "s"]);
    let on: Vec<String> = side.split(", ").map(|c| format!("a.{c} = b.{c}")).collect();
    let on = on.join(" and ");
    let other = match random.below(3) {
        0 => "t".to_string(),
        1 => format!("(select * from t where k % {} = 0)", 2 + random.below(5)),
        _ => format!("(select distinct on (k) * from ({from}) order by k, s, v, g)"),
    };
    let part = *random.pick(&["g", "k % 100", "k", "v"]);
    match random.below(13) {
        0 => format!("select * from ({from}) where k % {} <> 1", 2 + random.below(9)),
        1 => {
            let divisor = *random.pick(&[1, 2, 10, 1000]);
            format!("select k / {divisor} k, max(g) g, sum(v) v, min(s) s from ({from}) group by 1")
        }
        2 => format!("select max(k) k, g, count(*) v, s from ({from}) group by g, s"),
        3 => format!("select distinct * from ({from})"),
        4 => format!(
            "select k, max(g) g, count(distinct s) + count(distinct v) v, max(s) s from ({from}) \
             group by k"
        ),
        5 => {
            let kind = *random.pick(&["join", "left join", "semi join", "anti join"]);
            let kind = kind.replace("semi", "left semi").replace("anti", "left anti");
            format!("select a.k, a.g, a.v, a.s from ({from}) a {kind} {other} b on {on}")
        }
        6 => format!(
            "select coalesce(a.k, b.k) k, a.g, coalesce(b.v, a.v) v, coalesce(a.s, b.s) s \
             from ({from}) a full join {other} b on {on}"
        ),
        7 => format!(
            "select k, g, row_number() over (partition by {part} order by s, k, v, g) v, s \
             from ({from})"
        ),
        8 => format!(
            "select k, g, v, max(s) over (partition by {part} order by k, s, v, g \
             rows between 5 preceding and 2 following) s from ({from})"
        ),
        9 => {
            let set = *random.pick(&["union", "union all", "intersect", "except", "except all"]);
            format!("select * from ({from}) {set} select * from (select * from t where k % 3 = 0)")
        }
        10 => format!(
            "select k, g, v, s from ({from}) order by s, k, v, g limit {}",
            100 + random.below(20_000)
        ),
        11 => format!(
            "select k / 50 k, min(g) g, sum(v) v, string_agg(s, ',' order by s) s from ({from}) \
             group by 1"
        ),
        _ => format!(
            "select k, g, v, s from ({from}) a where exists (select 1 from t b where b.k = a.k \
             and b.v < a.v) or v % 2 = 0"
        ),
    }
}

/// A program of a few steps, whose last one may be in order.
fn program(random: &mut Random) -> String {
    let mut text = "select * from t".to_string();
    for _ in 0..1 + random.below(3) {
        // A step may read the last one twice.
        if text.len() < 2_000 {
            text = step(random, &text);
        }
    }
    if random.chance(30) {
        text = format!("select * from ({text}) order by 4, 1, 3, 2");
    }
    text
}

fn answer(session: &Session, text: &str) -> gristmill::Result<Vec<String>> {
    let batches = session.collect(text)?;
    Ok(canonical(&batches.iter().flat_map(rows).collect::<Vec<_>>()))
}

fn bare_session(limit: Option<usize>, threads: usize) -> Session {
    let config = Config { threads: Some(threads), memory_limit: limit, ..Config::default() };
    Session::new(config).expect("starts")
}

fn session(limit: Option<usize>, threads: usize) -> Session {
    let session = bare_session(limit, threads);
    let table = format!(
        "create table t as select x * 7919 % {ROWS} k, 'group ' || (x % 1000) g, x % 97 v, \
         repeat('text ', 40) || (x * 31 % {ROWS}) s from range({ROWS}) r(x)"
    );
    session.run_script(&table).expect("makes a table");
    session
}

#[test]
fn random_programs_agree_under_random_budgets() {
    let unlimited = session(None, 2);
    let held = unlimited.engine().memory().reserved();
    let mut spilled = 0;
    for seed in 0..200 {
        let mut random = Random::new(seed);
        let text = program(&mut random);
        let limit = (20 << 20) + random.below(12 << 20);
        let threads = *random.pick(&[1, 2, 4]);
        let context = format!("seed {seed}, {limit} bytes, {threads} threads:\n{text}");
        let expected = answer(&unlimited, &text).expect(&context);
        assert_eq!(unlimited.engine().memory().reserved(), held, "{context}");
        let limited = session(Some(limit), threads);
        let before = limited.engine().memory().reserved();
        let found = answer(&limited, &text).expect(&context);
        assert_eq!(found, expected, "{context}");
        let memory = limited.engine().memory();
        assert!(memory.reserved() <= before.max(held), "{context}");
        spilled += u32::from(memory.spill().usage().written > 0);
    }
    assert!(spilled > 100, "{spilled} of 200 programs spilled");
}

#[test]
fn functions_of_long_values_ask_for_what_they_give() {
    let (unlimited, limited) = (bare_session(None, 2), bare_session(Some(20 << 20), 2));
    let long =
        "from (select x * 7919 % 30000 k, repeat('text ', 40) || x s from range(40000) r(x))";
    for text in [
        "select md5(string_agg(s, ',' order by k)) {long}",
        "select sha256(string_agg(s, ',' order by k)) {long}",
        "select left(string_agg(s, ',' order by k), 10) {long}",
        "select len(array_agg(x order by x)) from range(800000) r(x)",
    ] {
        let text = text.replace("{long}", long);
        let expected = answer(&unlimited, &text).expect(&text);
        assert_eq!(answer(&limited, &text).expect(&text), expected, "{text}");
    }
    assert_eq!(limited.engine().memory().reserved(), 0);
}

#[test]
fn long_values_are_charged_once_on_their_way_to_the_caller() {
    let (unlimited, limited) = (bare_session(None, 2), bare_session(Some(20 << 20), 2));
    let long = "from (select repeat('text ', 40) || x s, x from range(60000) r(x))";
    for text in [
        "select string_agg(s, ',' order by x) {long}",
        "select string_agg(s, ',' order by x), 1 from (select * {long}) group by x > 100",
        "select string_agg(s, ',' order by x), string_agg(s, '-' order by x) {long} \
         where x < 25000",
    ] {
        let text = text.replace("{long}", long);
        let expected = answer(&unlimited, &text).expect(&text);
        assert!(answer(&limited, &text).expect(&text) == expected, "{text}");
    }
    assert_eq!(limited.engine().memory().reserved(), 0);
}

#[test]
fn approximate_aggregates_of_many_groups_keep_to_the_budget() {
    let (unlimited, limited) = (bare_session(None, 2), bare_session(Some(20 << 20), 2));
    for call in [
        "approx_count_distinct(x % 3 = 0)",
        "approx_count_distinct((x % 100)::smallint)",
        "approx_count_distinct(x::text)",
        "approx_median(x)",
        "approx_quantile(x, 0.9)",
    ] {
        let text = format!(
            "select count(*), sum(c) from (select x % 250000 g, {call} c from range(1000000) r(x) \
             group by 1)"
        );
        let expected = answer(&unlimited, &text).expect(&text);
        assert_eq!(answer(&limited, &text).expect(&text), expected, "{text}");
    }
}
