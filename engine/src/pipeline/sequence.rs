//! In which order pipelines begin when not all of them may run at once.
//!
//! Depth first: all that one arm of a union, one output of a set or one side of a join waits for,
//! then itself, then the next. So the least is held at once, and what was made is read as soon as
//! it can be. A pipeline comes behind those that it waits for and behind those before it in the
//! order of its group (see `graph`): sinks take few rows that come too early, so that who runs may
//! wait for the rows of those, which therefore must have begun.

use super::tree::Pipelines;

/// All pipelines as they begin; `None` when some wait for each other, by their order or otherwise.
/// `groups` are those of each.
pub(super) fn sequence(pipelines: &Pipelines, groups: &[usize]) -> Option<Vec<usize>> {
    let count = groups.len();
    let mut befores: Vec<Vec<usize>> = vec![Vec::new(); count];
    let mut by_order: Vec<usize> = (0..count).collect();
    by_order.sort_by_key(|&id| (groups[id], pipelines.list[id].first_morsel));
    for pair in by_order.windows(2).filter(|pair| groups[pair[0]] == groups[pair[1]]) {
        befores[pair[1]].push(pair[0]);
    }
    let mut is_last = vec![true; count];
    for (id, pipeline) in pipelines.list.iter().enumerate() {
        befores[id].extend(pipeline.after.iter().map(|before| before.0));
        befores[id].iter().for_each(|&before| is_last[before] = false);
    }
    let mut state = vec![State::New; count];
    let mut sequence = Vec::with_capacity(count);
    for last in (0..count).filter(|&id| is_last[id]) {
        // Not by recursion: a union may have thousands of arms, each behind the one before it.
        let mut open = vec![last];
        while let Some(&id) = open.last() {
            let seen = std::mem::replace(&mut state[id], State::Open);
            let before = befores[id].iter().copied().find(|&before| state[before] != State::Done);
            match (seen, before) {
                (State::New | State::Open, Some(before)) if state[before] == State::New => {
                    open.push(before);
                }
                (_, Some(_)) => return None,
                (seen, None) => {
                    open.pop();
                    state[id] = State::Done;
                    sequence.extend((seen != State::Done).then_some(id));
                }
            }
        }
    }
    (sequence.len() == count).then_some(sequence)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    /// What it comes behind is looked at.
    Open,
    Done,
}

#[cfg(test)]
mod tests {
    use super::super::tests::fakes::{Keep, script, sink};
    use super::*;
    use crate::pipeline::{Pipeline, PipelineId};

    /// Pipelines with the first morsel, the group and those that they come after.
    fn of(list: &[(u64, usize, &[usize])]) -> Option<Vec<usize>> {
        let (_, tree) = sink(Keep::new());
        let pipeline = |first_morsel: u64, after: &[usize]| Pipeline {
            source: script([]),
            first_morsel,
            tree: tree.clone(),
            after: after.iter().map(|&id| PipelineId(id)).collect(),
        };
        let groups: Vec<usize> = list.iter().map(|line| line.1).collect();
        let list = list.iter().map(|line| pipeline(line.0, line.2)).collect();
        sequence(&Pipelines { list }, &groups)
    }

    #[test]
    fn arms_come_one_by_one_each_behind_what_it_waits_for() {
        assert_eq!(of(&[]), Some(vec![]));
        // 0, 1 and 2 are what the arms 3, 4 and 5 wait for; 6 reads what they have filled.
        let arms: [(u64, usize, &[usize]); 7] = [
            (0, 0, &[]),
            (0, 1, &[]),
            (0, 2, &[]),
            (0, 3, &[2]),
            (10, 3, &[0]),
            (20, 3, &[1]),
            (0, 6, &[3, 4, 5]),
        ];
        assert_eq!(of(&arms), Some(vec![2, 3, 0, 4, 1, 5, 6]));
        // Nobody reads them, and they are in another order.
        let arms = [(0, 0, &[] as &[usize]), (0, 1, &[]), (10, 3, &[0]), (0, 3, &[1])];
        assert_eq!(of(&arms), Some(vec![1, 3, 0, 2]));
    }

    #[test]
    fn who_waits_for_each_other_has_no_sequence() {
        assert_eq!(of(&[(0, 0, &[1]), (0, 1, &[0])]), None);
        assert_eq!(of(&[(0, 0, &[0])]), None);
        // The second of a group waits for nothing, the first for the second.
        assert_eq!(of(&[(10, 0, &[]), (0, 0, &[0])]), None);
        // A circle beside something else.
        assert_eq!(of(&[(0, 0, &[]), (0, 1, &[2]), (0, 2, &[1])]), None);
    }

    #[test]
    fn thousands_of_arms_are_no_burden() {
        let arms: Vec<(u64, usize, &[usize])> = (0..50_000).map(|arm| (arm, 0, &[][..])).collect();
        assert_eq!(of(&arms), Some((0..50_000).collect()));
    }
}
