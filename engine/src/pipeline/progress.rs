//! How far the pipelines of a query are: an estimate.
//!
//! A pipeline is as many steps as its source has morsels. Where that shows only when it starts, an
//! eighth of the steps of what it waits for stands for it. Of a pipeline that runs, the morsels
//! below the low mark of its order are done.

use super::tree::Pipelines;

/// What a pipeline is thought to be of what it waits for, when its source does not say.
const SHARE_OF_WAITING: f64 = 0.125;

/// Steps of work; see the module documentation.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Steps {
    /// Those that are behind.
    pub done: f64,
    /// All of them.
    pub all: f64,
}

impl Steps {
    /// Adds work of which a part is done.
    pub(super) fn add(&mut self, all: f64, share_done: f64) {
        self.all += all;
        self.done += all * share_done.clamp(0.0, 1.0);
    }
}

/// The steps of each pipeline.
pub(super) fn steps_of(pipelines: &Pipelines) -> Vec<f64> {
    let list = &pipelines.list;
    let known = |morsels: u64| morsels.max(1) as f64;
    let mut steps: Vec<Option<f64>> =
        list.iter().map(|pipeline| pipeline.source.morsels().map(known)).collect();
    // None waits for itself, so there is one more with each round that knows all it waits for.
    while steps.iter().any(Option::is_none) {
        let mut found = false;
        for (id, pipeline) in list.iter().enumerate() {
            let before = || pipeline.after.iter().map(|id| steps.get(id.0).copied().flatten());
            if steps[id].is_none()
                && let Some(sum) = before().sum::<Option<f64>>()
            {
                steps[id] = Some((sum * SHARE_OF_WAITING).max(1.0));
                found = true;
            }
        }
        if !found {
            break;
        }
    }
    steps.into_iter().map(|steps| steps.unwrap_or(1.0)).collect()
}
