//! Random plans over random tables: the engine's answer is the naive one, for every number of
//! threads and any cut into chunks and morsels, and with tasks in any order.

use std::sync::Arc;

use arrow::array::RecordBatch;
use gristmill_engine::memory::Governor;
use gristmill_engine::plan::Plan;
use gristmill_engine::query::{Engine, EngineOptions, RunOptions};
use gristmill_engine::scheduler::Seeded;
use gristmill_engine::{Error, Result};
use gristmill_tests::generate;
use gristmill_tests::plans::{PlanGenerator, RandomPlan};
use gristmill_tests::random::Random;
use gristmill_tests::reference::expr::Failure;
use gristmill_tests::reference::plan::run;
use gristmill_tests::reference::value::{Row, canonical, in_order, rows};

fn answer(engine: &Engine, plan: &Plan) -> Result<Vec<Row>> {
    let batches = engine.run(plan, &RunOptions::default())?.collect::<Result<Vec<_>>>()?;
    Ok(batches.iter().flat_map(rows).collect())
}

/// Compares one plan's answer with the naive one; `context` says how to find it again.
fn check(case: &RandomPlan, tables: &[Vec<Row>], engine: &Engine, context: &str) {
    let expected = run(&case.relation, tables);
    let found = answer(engine, &case.plan);
    let explain = || case.plan.explain().expect("explains");
    match (expected, found) {
        (Ok(expected), Ok(found)) => {
            let lines = if case.is_ordered { in_order } else { canonical };
            assert_eq!(lines(&found), lines(&expected), "{context}\n{}", explain());
        }
        (Err(Failure::Certain), Err(Error::Input { .. })) => {}
        (Err(Failure::Possible), Ok(_) | Err(Error::Input { .. })) => {}
        (Err(_), Ok(_)) if case.may_stop_early => {}
        (expected, found) => {
            panic!("{context}: expected {expected:?}, found {found:?}\n{}", explain())
        }
    }
    assert_eq!(engine.memory().reserved(), 0, "{context}: memory is left\n{}", explain());
}

fn tables(random: &mut Random) -> Vec<RecordBatch> {
    let table = |random: &mut Random| {
        let rows = *random.pick(&[0, 1, 7, 40, 150]);
        let columns = 1 + random.below(5);
        generate::table(random, columns, rows)
    };
    (0..3).map(|_| table(random)).collect()
}

#[test]
fn random_plans_agree_on_any_number_of_threads() {
    let engines = [1, 2, 4].map(|threads| {
        let options = EngineOptions { threads: Some(threads), ..EngineOptions::default() };
        Engine::new(options).expect("starts")
    });
    for seed in 0..1500 {
        let mut random = Random::new(seed);
        let tables = tables(&mut random);
        let values: Vec<Vec<Row>> = tables.iter().map(rows).collect();
        let depth = 1 + random.below(4);
        let case = PlanGenerator::generate(&mut random, &tables, depth);
        let engine = &engines[random.below(3)];
        check(&case, &values, engine, &format!("seed {seed}, {} threads", engine.threads()));
    }
}

#[test]
fn random_plans_agree_in_any_order_of_tasks() {
    for seed in 0..500 {
        let mut random = Random::new(seed ^ 0xABCD);
        let tables = tables(&mut random);
        let values: Vec<Vec<Row>> = tables.iter().map(rows).collect();
        let case = PlanGenerator::generate(&mut random, &tables, 3);
        let engine = Engine::on(Arc::new(Seeded::new(seed, 3)), Governor::unlimited());
        check(&case, &values, &engine, &format!("order {seed}"));
    }
}
