//! Programs with words left out, doubled, swapped and mixed: planning them gives a plan or an error
//! with a reason. The targets in the folder `fuzz` do it for as long as one likes; `corrupt` does
//! it with files.

use gristmill_tests::fuzzed::{changed, program, session};
use gristmill_tests::random::Random;

/// Programs over the tables `t` and `u`, among them most clauses and kinds of expressions.
const PROGRAMS: [&str; 24] = [
    "select i, f * 2 as x, s || 'b' from t where i between -1 and 7 and s like 'a%' order by \
     x desc limit 3",
    "select s, count(*) n, sum(i) filter (where f > 0) from t group by s having count(*) > 1",
    "select * from t join u on t.i = u.i and t.f < u.f left join t v using (i)",
    "select i from t where exists (select 1 from u where u.i = t.i and u.s <> t.s)",
    "select i, (select max(f) from u where u.i = t.i) from t where i not in (select i from u)",
    "select row_number() over (partition by s order by i rows between 1 preceding and current \
     row) from t",
    "with a as (select i, s from t), b as (select * from a where i > 0) select * from a, b \
     where a.i = b.i",
    "select i from t union all select i + 1 from u except select 7 intersect select i from t",
    "select case when i > 0 then 'p' when i is null then null else s end, coalesce(s, 'x') \
     from t",
    "select cast(s as integer), try_cast(f as date), d + interval '1 month', extract(year \
     from d) from t",
    "select distinct on (s) s, i from t order by s, i desc nulls last",
    "select grouping(s), s, d, avg(f) from t group by rollup (s, d)",
    "select unnest([1, 2, i]) x, [i, 2][1], array_agg(s order by i) from t group by i",
    "from t |> where i > 1 |> aggregate count(*) as n group by s |> order by n",
    "create table w as select * from t; insert into w select * from u; select count(*) from \
     w; drop table w",
    "create view v as select i, s from t; select v.s from v where v.i = $1",
    "explain select sum(i) over (order by d range between interval '1 day' preceding and \
     current row) from t",
    "set memory_limit = '100MB'; show tables; describe t; reset memory_limit",
    "select sum(distinct i), count(distinct s), min(d), quantile_cont(f, 0.5) from t",
    "select * from (values (1, 'a'), (2, null)) x(a, b) natural join (select 1 as a) y",
    "select i from t where i = any (select i from u) or f > all (select f from u)",
    "select x.i, y.s from t x, lateral (select s from u where u.i = x.i limit 1) y",
    "select substr(s, 1, 2), date_trunc('month', d), round(f, 1), i % 3, -i, not (i = 2) from \
     t",
    "select * from range(1, 5) r(n) cross join generate_series(date '2020-01-01', date \
     '2020-01-03', interval '1 day')",
];

const CHANGES: usize = 120;

#[test]
fn changed_programs_are_planned_or_errors() {
    let session = session().expect("opens");
    for (number, text) in PROGRAMS.iter().enumerate() {
        session.script(text).expect(text);
        program(&session, text);
        for seed in 0..CHANGES {
            let mut random = Random::new((number * CHANGES + seed) as u64);
            let other = random.pick(&PROGRAMS);
            program(&session, &changed(text, other, &mut random));
        }
    }
}
