//! The filters of a scan, divided into stages: each reads a few columns and decides which rows the
//! next stage still has to look at.
//!
//! Conjuncts over the same columns make one stage, and so does each key filter that a join
//! publishes. Stages that cannot fail come first and may change places: the cheaper and the more
//! selective a stage, the earlier. Conjuncts that can fail come after them, in the order written,
//! each seeing only the rows that passed all stages before it.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::batch::KeyFilterSlot;
use crate::expr::Expr;

/// A test and the columns it reads.
pub(crate) struct Stage {
    /// Slots of the columns, in increasing order.
    pub(crate) slots: Vec<usize>,
    /// Which rows pass.
    pub(super) test: Test,
    /// Whether the test can fail on some row.
    fallible: bool,
    /// What all workers measured so far.
    measured: Measured,
}

/// Which rows pass a stage.
pub(super) enum Test {
    /// Those that pass all of these, which name columns by position in the stage's slots.
    Conjuncts(Vec<Expr>),
    /// Those that may have a match in a join; the keys by position in the stage's slots.
    Keys(KeyFilterSlot, Vec<usize>),
}

#[derive(Debug, Default)]
struct Measured {
    rows_in: AtomicU64,
    rows_out: AtomicU64,
    nanos: AtomicU64,
}

/// Rows after which measurements count more than the guess.
const MEASURED_ROWS_MIN: u64 = 16_384;

impl Stage {
    /// The stages for `conjuncts` and for key filters, all of which name columns by slot.
    pub(crate) fn divide(conjuncts: &[Expr], keys: Vec<(KeyFilterSlot, Vec<usize>)>) -> Vec<Stage> {
        let mut stages: Vec<Stage> = Vec::new();
        for conjunct in conjuncts.iter().filter(|c| !c.is_fallible()) {
            let slots = conjunct.columns();
            let local = localise(conjunct, &slots);
            let same = stages.iter_mut().find(|stage| stage.slots == slots);
            match same.map(|stage| &mut stage.test) {
                Some(Test::Conjuncts(list)) => list.push(local),
                _ => stages.push(Stage::new(slots, Test::Conjuncts(vec![local]), false)),
            }
        }
        for (filter, keys) in keys {
            let mut slots = keys.clone();
            slots.sort_unstable();
            slots.dedup();
            let local = keys.iter().map(|key| slots.binary_search(key).unwrap_or(0)).collect();
            stages.push(Stage::new(slots, Test::Keys(filter, local), false));
        }
        for conjunct in conjuncts.iter().filter(|c| c.is_fallible()) {
            let slots = conjunct.columns();
            let test = Test::Conjuncts(vec![localise(conjunct, &slots)]);
            stages.push(Stage::new(slots, test, true));
        }
        stages
    }

    fn new(slots: Vec<usize>, test: Test, fallible: bool) -> Stage {
        Stage { slots, test, fallible, measured: Measured::default() }
    }

    /// Notes what the stage did with a block.
    pub(super) fn measure(&self, rows_in: usize, rows_out: usize, nanos: u128) {
        let Measured { rows_in: total_in, rows_out: total_out, nanos: total } = &self.measured;
        total_in.fetch_add(rows_in as u64, Ordering::Relaxed);
        total_out.fetch_add(rows_out as u64, Ordering::Relaxed);
        total.fetch_add(u64::try_from(nanos).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Nanoseconds to rid of one row; `None` before enough was measured.
    fn price(&self) -> Option<f64> {
        let rows_in = self.measured.rows_in.load(Ordering::Relaxed);
        if rows_in < MEASURED_ROWS_MIN {
            return None;
        }
        let dropped = rows_in.saturating_sub(self.measured.rows_out.load(Ordering::Relaxed));
        Some(self.measured.nanos.load(Ordering::Relaxed) as f64 / (dropped as f64).max(0.5))
    }
}

/// The order in which to run the stages now. `bytes` are the stored bytes of each slot's column,
/// the guess at what reading it costs.
pub(crate) fn order(stages: &[Stage], bytes: impl Fn(usize) -> u64) -> Vec<usize> {
    let free = stages.iter().filter(|stage| !stage.fallible).count();
    let mut order: Vec<usize> = (0..stages.len()).collect();
    let prices: Option<Vec<f64>> = stages[..free].iter().map(Stage::price).collect();
    let guess = |stage: &Stage| stage.slots.iter().map(|&slot| bytes(slot)).sum::<u64>();
    match prices {
        Some(prices) => order[..free].sort_by(|&a, &b| prices[a].total_cmp(&prices[b])),
        None => order[..free].sort_by_key(|&stage| guess(&stages[stage])),
    }
    order
}

/// The conjunct over positions in `slots`, which has all columns it names.
fn localise(conjunct: &Expr, slots: &[usize]) -> Expr {
    conjunct.clone().map_columns(&|slot| slots.binary_search(&slot).unwrap_or(0))
}
