//! Which pipelines of a query have nothing to do with each other.
//!
//! Pipelines are of one *part* when one waits for the other, or both end in a sink that somebody
//! reads, directly or through others. A sink that nobody reads, as the one that hands the rows of
//! a union to the caller, ties its arms to nothing but their order: their parts may run side by
//! side, and one after the other as long as that is the order of the sink. So parts are numbered in
//! that order; where the arms of two parts take turns, all is one part.

use super::tree::Pipelines;

/// The number of the part that each pipeline is of, from 0. `sinks` are the numbers of the sinks of
/// each pipeline; `is_last` says of each sink whether nobody waits for it.
pub(super) fn parts_of(pipelines: &Pipelines, sinks: &[&[usize]], is_last: &[bool]) -> Vec<usize> {
    let tied = tied(pipelines, sinks, is_last);
    let mut arms: Vec<Vec<usize>> = vec![Vec::new(); is_last.len()];
    for (id, sinks) in sinks.iter().enumerate() {
        sinks.iter().filter(|sink| is_last[**sink]).for_each(|sink| arms[*sink].push(id));
    }
    for arms in &mut arms {
        arms.sort_by_key(|&arm| pipelines.list[arm].first_morsel);
    }
    let everything = 0..tied.len();
    let mut number: Vec<Option<usize>> = vec![None; tied.len()];
    let mut numbers = 0..;
    for id in arms.iter().flatten().copied().chain(everything) {
        let number = &mut number[tied[id]];
        *number = number.or_else(|| numbers.next());
    }
    let part = |id: usize| number[tied[id]].unwrap_or(0);
    if arms.iter().all(|arms| arms.is_sorted_by_key(|&arm| part(arm))) {
        (0..tied.len()).map(part).collect()
    } else {
        vec![0; tied.len()]
    }
}

/// Of each pipeline the lowest number among those that it is of one part with.
fn tied(pipelines: &Pipelines, sinks: &[&[usize]], is_last: &[bool]) -> Vec<usize> {
    let mut lowest: Vec<usize> = (0..sinks.len()).collect();
    let mut lowest_at: Vec<usize> = vec![usize::MAX; is_last.len()];
    let mut changes = true;
    while changes {
        changes = false;
        for (id, pipeline) in pipelines.list.iter().enumerate() {
            let joint = || sinks[id].iter().copied().filter(|&sink| !is_last[sink]);
            let befores = || pipeline.after.iter().map(|before| before.0);
            let low = befores().map(|before| lowest[before]);
            let low = low.chain(joint().map(|sink| lowest_at[sink])).fold(lowest[id], usize::min);
            let mut lower = |place: &mut usize| changes |= std::mem::replace(place, low) != low;
            joint().for_each(|sink| lower(&mut lowest_at[sink]));
            befores().chain([id]).for_each(|kin| lower(&mut lowest[kin]));
        }
    }
    lowest
}

#[cfg(test)]
mod tests {
    use super::super::tests::fakes::{Keep, script, sink};
    use super::*;
    use crate::pipeline::{Pipeline, PipelineId};

    /// Pipelines with the first morsel, the sinks and those that they come after.
    fn parts(list: &[(u64, &[usize], &[usize])], is_last: &[bool]) -> Vec<usize> {
        let (_, tree) = sink(Keep::new());
        let pipeline = |(first_morsel, _, after): &(u64, &[usize], &[usize])| Pipeline {
            source: script([]),
            first_morsel: *first_morsel,
            tree: tree.clone(),
            after: after.iter().map(|&id| PipelineId(id)).collect(),
        };
        let sinks: Vec<&[usize]> = list.iter().map(|(_, sinks, _)| *sinks).collect();
        parts_of(&Pipelines { list: list.iter().map(pipeline).collect() }, &sinks, is_last)
    }

    #[test]
    fn what_waits_for_each_other_or_shares_a_sink_is_one_part() {
        assert!(parts(&[], &[]).is_empty());
        let list: &[(u64, &[usize], &[usize])] =
            &[(0, &[0], &[]), (0, &[1], &[]), (0, &[2], &[0]), (0, &[1], &[]), (0, &[3], &[3, 1])];
        assert_eq!(parts(list, &[false, false, true, true]), [0, 1, 0, 1, 1]);
        // Through a chain that is found late.
        let chain: &[(u64, &[usize], &[usize])] =
            &[(0, &[0], &[1]), (0, &[1], &[2]), (0, &[2], &[3]), (0, &[2], &[])];
        assert_eq!(parts(chain, &[false, false, false]), [0, 0, 0, 0]);
    }

    #[test]
    fn parts_are_numbered_in_the_order_of_the_sink_that_they_share() {
        // The arms of sink 0 come after pipelines 0, 1 and 2, in another order than those.
        let list: &[(u64, &[usize], &[usize])] = &[
            (0, &[1], &[]),
            (0, &[2], &[]),
            (0, &[3], &[]),
            (20, &[0], &[0]),
            (10, &[0], &[2]),
            (0, &[0], &[1]),
        ];
        let is_last = [true, false, false, false];
        assert_eq!(parts(list, &is_last), [2, 0, 1, 2, 1, 0]);
        // The first and the third arm are of one part: the second cannot wait for all of it.
        let mut turns = list.to_vec();
        turns[3] = (20, &[0], &[1]);
        turns[4] = (10, &[0], &[0]);
        assert_eq!(parts(&turns, &is_last), [0; 6]);
    }
}
