//! A bound statement as optimized logical plans: its own and those it shares between its parts.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion_expr::LogicalPlan;
use gristmill_engine::{Position, Result};

use crate::rules::{
    DRAW_ONCE, EXPAND_DISTINCT_ON, EXPAND_SET_OPERATIONS, KEEP_CASTS, KEEP_IN_PLACE,
    KEEP_LISTS_APART, ORDER_JOINS, SHARE_SUBPLANS, UNNEST_SUBQUERIES, columns_read, draw_once,
    expand_distinct_on, keep_casts, keep_in_place, keep_lists_apart, narrowed, order_joins,
    parts_read, release, share_subplans, unnest_subqueries,
};
use crate::sql::{self, Binder, Planning, to_error};

/// The plans of one statement.
pub(crate) struct Prepared {
    /// The plan whose rows are the result.
    pub(crate) plan: LogicalPlan,
    /// Plans that the main one and each other read, by number.
    pub(crate) shared: Vec<SharedPlan>,
    /// The numbers of the shared plans that somebody reads, each before those that read it.
    pub(crate) order: Vec<usize>,
}

/// A plan that is computed once and read in several places.
#[derive(Default)]
pub(crate) struct SharedPlan {
    /// Its rows, with only the columns that somebody reads.
    pub(crate) plan: LogicalPlan,
    /// Which columns of the plan as it was bound those are.
    pub(crate) columns: Vec<usize>,
}

/// Takes a bound plan through analysis, sharing, unnesting, the borrowed rules and the join order.
///
/// # Errors
/// `Input`, with a place where one is known, for what is wrong or not supported.
pub(crate) fn prepare(
    plan: LogicalPlan,
    binder: &Binder<'_>,
    planning: &mut Planning,
    statement: &Position,
) -> Result<Prepared> {
    let failed = |e| to_error(&e, statement);
    let expanded = expand_distinct_on(plan).map_err(failed)?;
    note(planning, EXPAND_DISTINCT_ON, expanded.transformed);
    // Before parts are shared: their readers are bound to the types that they have then.
    let analyzed = sql::analyze(expanded.data, &binder.shared_options(), statement)?;
    note(planning, EXPAND_SET_OPERATIONS, analyzed.transformed);
    let (main, mut parts) = share_subplans(analyzed.data).map_err(failed)?;
    let schema = |part: &LogicalPlan| -> SchemaRef { Arc::new(part.schema().as_arrow().clone()) };
    let mut bound: Vec<SchemaRef> = parts.iter().map(schema).collect();
    let unnested = unnest_subqueries(main, &mut parts).map_err(failed)?;
    let mut fired = unnested.transformed;
    for number in 0..bound.len() {
        let part = std::mem::take(&mut parts[number]);
        let part = unnest_subqueries(part, &mut parts).map_err(failed)?;
        fired |= part.transformed;
        parts[number] = part.data;
    }
    note(planning, UNNEST_SUBQUERIES, fired);
    bound.extend(parts[bound.len()..].iter().map(schema));
    note(planning, SHARE_SUBPLANS, !parts.is_empty());
    let plan = optimize(unnested.data, planning, statement)?;
    let shared: Vec<SharedPlan> = parts.iter().map(|_| SharedPlan::default()).collect();
    let mut prepared = Prepared { plan, shared, order: Vec::new() };
    while let Some(number) = next_part(&prepared, &parts).map_err(failed)? {
        let part = std::mem::take(&mut parts[number]);
        let readers: Vec<&LogicalPlan> = std::iter::once(&prepared.plan)
            .chain(prepared.shared.iter().map(|s| &s.plan))
            .collect();
        let columns = columns_read(number, &readers).map_err(failed)?;
        let plan = narrowed(part, &bound[number], &columns).map_err(failed)?;
        let plan = optimize(plan, planning, statement)?;
        prepared.shared[number] = SharedPlan { plan, columns };
        prepared.order.push(number);
    }
    prepared.order.reverse();
    Ok(prepared)
}

/// A part that is read, and of which all readers are known.
fn next_part(
    prepared: &Prepared,
    parts: &[LogicalPlan],
) -> datafusion_common::Result<Option<usize>> {
    let done = |number: &usize| prepared.order.contains(number);
    // Parts that nobody reads any more do not count as readers.
    let (mut live, mut waits) = (parts_read(&prepared.plan)?, Vec::new());
    let mut at = 0;
    while let Some(&number) = live.get(at) {
        let read = match done(&number) {
            true => parts_read(&prepared.shared[number].plan)?,
            false => parts_read(&parts[number])?,
        };
        if !done(&number) {
            waits.extend(&read);
        }
        live.extend(read.into_iter().filter(|number| !live.contains(number)).collect::<Vec<_>>());
        at += 1;
    }
    Ok(live.into_iter().find(|number| !done(number) && !waits.contains(number)))
}

fn optimize(
    plan: LogicalPlan,
    planning: &mut Planning,
    statement: &Position,
) -> Result<LogicalPlan> {
    let failed = |e| to_error(&e, statement);
    let drawn = draw_once(plan).map_err(failed)?;
    note(planning, DRAW_ONCE, drawn.transformed);
    let casts = keep_casts(drawn.data).map_err(failed)?;
    note(planning, KEEP_CASTS, casts.transformed);
    let apart = keep_lists_apart(casts.data).map_err(failed)?;
    note(planning, KEEP_LISTS_APART, apart.transformed);
    let kept = keep_in_place(apart.data).map_err(failed)?;
    note(planning, KEEP_IN_PLACE, kept.transformed);
    let plan = sql::before_join_order(kept.data, planning).map_err(failed)?;
    let ordered = order_joins(plan).map_err(failed)?;
    note(planning, ORDER_JOINS, ordered.transformed);
    let plan = if kept.transformed { release(ordered.data).map_err(failed)? } else { ordered.data };
    sql::after_join_order(plan, planning).map_err(failed)
}

fn note(planning: &mut Planning, rule: &str, fired: bool) {
    if fired {
        planning.note(rule);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{FunctionTable, statements};
    use crate::testing::{bound, tpch};

    fn prepared(text: &str) -> Result<Prepared> {
        let (catalog, functions) = (tpch(), FunctionTable::default());
        let binder = Binder::new(&catalog, &functions);
        let statement = statements(text)?.remove(0);
        sql::with_stack_for(statement.depth(), || {
            let bound = bound(&statement, &binder)?;
            let mut planning = Planning::new(binder.shared_options(), false);
            prepare(bound, &binder, &mut planning, statement.position())
        })
    }

    fn text_of(text: &str) -> String {
        let prepared = prepared(text).expect(text);
        let mut out = prepared.plan.display_indent().to_string();
        for (number, shared) in prepared.shared.iter().enumerate() {
            out += &format!("\n-- shared {number} {:?}\n{}", shared.columns, shared.plan);
        }
        out
    }

    fn error_of(text: &str) -> String {
        prepared(text).err().expect(text).to_string()
    }

    fn tpch_query(number: usize) -> String {
        let file =
            format!("{}/../benches/queries/tpch/q{number:02}.sql", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(&file).expect(&file)
    }

    #[test]
    fn all_queries_of_tpch_plan_without_cross_products() {
        for number in 1..=22 {
            let plan = text_of(&tpch_query(number));
            let crosses = plan.matches("Join:  Filter").count() + plan.matches("Cross").count();
            // Two queries compare with the one row of a scalar subquery.
            assert_eq!(crosses, usize::from([11, 22].contains(&number)), "q{number}\n{plan}");
        }
    }

    #[test]
    fn equalities_over_three_tables_are_keys() {
        for sum in ["n_nationkey + r_regionkey", "n_name || r_name"] {
            let side = if sum.contains('+') { "s_suppkey" } else { "s_name" };
            for from in [
                format!(
                    "nation, region, supplier where n_nationkey = r_regionkey and {side} = {sum}"
                ),
                format!(
                    "nation join region on n_nationkey = r_regionkey \
                     join supplier on {sum} = {side}"
                ),
            ] {
                let plan = text_of(&format!("select 1 from {from}"));
                assert!(!plan.contains("Filter:"), "{plan}");
            }
        }
    }

    #[test]
    fn trees_are_narrow_after_one_walk() {
        let (catalog, functions) = (tpch(), FunctionTable::default());
        let binder = Binder::new(&catalog, &functions);
        let others = [
            "select a + b from (select x + 1 a, x + 1 b, y from (select n_nationkey x, n_name y,
               n_regionkey z from nation) n) m where y like 'A%' order by a limit 3",
            "select sum(r) over (order by k), k from (select r_regionkey k, r_regionkey * 2 r,
               upper(r_name) u from region) x where r > 0",
            "select c from (select count(*) c, max(s) m, k from (select n_regionkey k, n_name s,
               n_comment from nation union all select r_regionkey, r_name, r_comment from region)
               group by k) x join region on k = r_regionkey and c + 1 > r_regionkey * 2",
        ];
        for text in (1..=22).map(tpch_query).chain(others.map(str::to_string)) {
            let prepared = prepared(&text).expect(&text);
            let shared = prepared.shared.into_iter().map(|shared| shared.plan);
            for plan in std::iter::once(prepared.plan).chain(shared) {
                let mut planning = Planning::new(binder.shared_options(), false);
                let again = sql::after_join_order(plan.clone(), &mut planning).expect(&text);
                let text = |plan: &LogicalPlan| plan.display_indent().to_string();
                assert_eq!(text(&again), text(&plan));
            }
        }
    }

    #[test]
    fn the_first_relations_joined_are_the_selective_ones() {
        let plan = text_of(&tpch_query(3));
        let order = ["TableScan: lineitem", "TableScan: orders", "TableScan: customer"];
        let places: Vec<_> = order.iter().map(|t| plan.find(t).expect("a scan")).collect();
        assert!(places.is_sorted(), "lineitem probes what orders and customer leave\n{plan}");
        let plan = text_of(&tpch_query(18));
        let semi = plan.find("LeftSemi").expect("a semi join");
        let orders = plan.find("TableScan: orders").expect("a scan");
        assert!(plan[semi..orders].lines().count() == 2, "on top of orders\n{plan}");
    }

    #[test]
    fn a_cte_used_twice_is_planned_once() {
        let plan = text_of(&tpch_query(15));
        assert_eq!(plan.matches("TableScan: lineitem").count(), 1, "{plan}");
        assert_eq!(plan.matches("TableScan: __shared_0").count(), 2, "{plan}");
        let plan = text_of(
            "with a as (select n_regionkey r, count(*) n, max(n_name) m from nation group by 1),
                  b as (select n as r, sum(r) n from a group by n)
             select x.n from b x join b y on x.r = y.r join a on a.r = x.r",
        );
        assert!(plan.contains("shared 0 [0, 1]") && plan.contains("shared 1 [0, 1]"), "{plan}");
        assert!(!plan.contains("max(nation.n_name)"), "nobody reads it\n{plan}");
        let plan = text_of("with a as (select * from nation) select * from a x, a y");
        assert!(!plan.contains("__shared"), "a scan is not worth it\n{plan}");
    }

    #[test]
    fn definitions_over_definitions_do_not_double() {
        let next = |n: usize| {
            let last = n - 1;
            format!(", c{n} as (select a.x from c{last} a join c{last} b on a.x = b.x)")
        };
        let definitions: String = (1..=40).map(next).collect();
        let text =
            format!("with c0 as (select n_name x from nation){definitions} select * from c40");
        let prepared = prepared(&text).expect("it plans");
        assert_eq!(prepared.order.len(), 39, "the last is read once, the first is a scan");
    }

    #[test]
    fn parts_that_nobody_reads_wait_for_nothing() {
        let plan = text_of(
            "with c as (select n_regionkey r, count(*) n from nation group by 1),
                  d as (select x.r, y.n from c x join c y on x.n = y.n)
             select c.r from c left join d x on false left join d y on false",
        );
        assert_eq!(plan.matches("TableScan: nation").count(), 1, "{plan}");
    }

    #[test]
    fn joins_with_merged_columns_are_ordered_as_others() {
        let scans = |conditions: [&str; 2]| -> Vec<String> {
            let [first, second] = conditions;
            let plan = text_of(&format!(
                "select s_name, c_name from (select n_nationkey k, n_name from nation) n
                 join (select c_nationkey k, c_name from customer) c {first}
                 join (select s_nationkey k, s_name from supplier) s {second}
                 where n_name = 'PERU'"
            ));
            let lines = plan.lines().filter_map(|line| line.split("TableScan: ").nth(1));
            lines.map(|line| line.split(' ').next().unwrap_or_default().to_string()).collect()
        };
        let on = scans(["on n.k = c.k", "on n.k = s.k"]);
        assert_eq!(scans(["using (k)", "using (k)"]), on);
    }

    #[test]
    fn volatile_definitions_are_computed_once_each() {
        let plan = text_of("with a as (select random() r) select x.r, y.r from a x, a y");
        assert_eq!(plan.matches("random()").count(), 1, "{plan}");
        let plan = text_of(
            "select * from (select random() r) x union all select * from (select random() r) x",
        );
        assert!(!plan.contains("__shared"), "two definitions\n{plan}");
    }

    #[test]
    fn equal_group_bys_are_planned_once() {
        let plan = text_of(
            "select (select max(n) from (select count(*) n from nation group by n_regionkey) x),
                    (select min(n) from (select count(*) n from nation group by n_regionkey) x)",
        );
        assert_eq!(plan.matches("TableScan: nation").count(), 1, "{plan}");
    }

    #[test]
    fn folded_overflow_is_left_to_execution() {
        let plan = text_of("select 9223372036854775807 + 1 as a, 2 * 3 as b, -(5 - 7) as c");
        assert!(plan.contains("checked_add(Int64(9223372036854775807), Int64(1)) AS a"), "{plan}");
        assert!(plan.contains("Int64(6) AS b, Int64(2) AS c"), "{plan}");
        let plan = text_of("select coalesce(9223372036854775807, n_nationkey) + 1 from nation");
        assert!(plan.contains("checked_add"), "{plan}");
        let plan = text_of("select a + 1 from (select 9223372036854775807 as a)");
        assert!(!plan.contains("-9223372036854775808"), "{plan}");
    }

    #[test]
    fn conditions_that_can_fail_stay_behind_the_joins() {
        let plan = text_of(
            "select 1 from nation, region where n_regionkey = r_regionkey and \
             10 / r_regionkey > 1 and n_nationkey > 2",
        );
        let filter = plan.find("Filter: Int64(10) / region.r_regionkey").expect(&plan);
        assert!(filter < plan.find("Inner Join").expect(&plan), "{plan}");
        assert!(plan.contains("full_filters=[nation.n_nationkey > Int64(2)]"), "{plan}");
        assert!(!plan.contains("Barrier"), "{plan}");
        let plan = text_of("select 1 from region where r_regionkey <> 0 and 10 / r_regionkey > 1");
        let pushed = "full_filters=[region.r_regionkey != Int64(0), Int64(10) /";
        assert!(plan.contains(pushed), "{plan}");
        let plan = text_of(
            "select * from (select n_name, r_regionkey k from nation, region \
             where n_regionkey = r_regionkey and n_nationkey > 2) v where 10 / k > 1",
        );
        let filter = plan.find("Filter: Int64(10) /").expect(&plan);
        assert!(filter < plan.find("Inner Join").expect(&plan), "{plan}");
        assert!(plan.contains("full_filters=[nation.n_nationkey > Int64(2)]"), "{plan}");
    }

    #[test]
    fn scalar_subqueries_of_several_rows_fail_when_run() {
        let plan = text_of(
            "select 1 from nation where n_regionkey = (select r_regionkey from \
                            region where r_name = 'ASIA')",
        );
        assert!(plan.contains("Single Join"), "{plan}");
        let plan = text_of(
            "select 1 from nation where n_regionkey = (select max(r_regionkey) \
                            from region)",
        );
        assert!(!plan.contains("Single Join"), "{plan}");
    }

    #[test]
    fn show() {
        for number in 1..=22 {
            println!("== q{number}\n{}", text_of(&tpch_query(number)));
        }
    }

    #[test]
    fn names_that_do_not_exist_have_places_and_neighbours() {
        let error = error_of("select\n  n_nam from nation");
        assert!(
            error.contains("line 2, column 3: there is no column n_nam; did you mean"),
            "{error}"
        );
        let error = error_of("select 1\nfrom nations");
        assert!(
            error.contains("line 2, column 6: there is no table nations; did you mean nation?"),
            "{error}"
        );
        let error = error_of("select nation.x from nation");
        assert!(error.contains("line 1, column 8") && error.contains("columns are"), "{error}");
        let error = error_of("select sume(n_nationkey) from nation");
        assert!(error.contains("line 1, column 8") && error.contains("'sum'"), "{error}");
        let error = error_of("select 1 + 'a' from nation");
        assert!(error.starts_with("line 1"), "{error}");
    }

    #[test]
    fn pipes_and_bare_from_select_everything() {
        let plan = text_of("from nation");
        assert!(plan.contains("n_comment"), "{plan}");
        let plan = text_of("from nation |> where n_nationkey > 3 |> select n_name |> limit 2");
        assert!(plan.contains("n_nationkey > Int64(3)") && !plan.contains("n_comment"), "{plan}");
    }

    #[test]
    fn long_expressions_plan_or_are_refused() {
        let plan = text_of(&format!("select {}1 as a", "1 + ".repeat(250)));
        assert!(plan.contains("Int64(251) AS a"), "{plan}");
        assert!(error_of(&format!("select {}1 as a", "1 + ".repeat(12_000))).contains("split it"));
        let terms: Vec<String> = (0..2_000).map(|n| format!("n_nationkey = {n}")).collect();
        text_of(&format!("select 1 from nation where {}", terms.join(" or ")));
    }
}
