//! Which columns of files are one: those of one name, in any case. Where names of one file differ
//! in their case alone, or not at all, each goes to the column that is spelled like it, if there is
//! one, and then to the next that none of the file's has gone to.

use std::collections::{HashMap, HashSet};

use crate::sql::folded;

/// The names of columns that were met, by which those of more files are found.
#[derive(Default)]
pub(super) struct Places {
    count: usize,
    spelled: HashMap<String, Vec<usize>>,
    folded: HashMap<String, Vec<usize>>,
}

impl Places {
    /// The places of the columns of one file, which are made where there are none.
    pub(super) fn of<'a>(&mut self, names: impl Iterator<Item = &'a str> + Clone) -> Vec<usize> {
        let mut taken = HashSet::new();
        let spelled = names.clone().map(|name| free(self.spelled.get(name), &mut taken));
        let spelled: Vec<Option<usize>> = spelled.collect();
        let mut places = Vec::with_capacity(spelled.len());
        for (name, spelled) in names.zip(spelled) {
            let known = spelled.or_else(|| free(self.folded.get(&folded(name)), &mut taken));
            let place = known.unwrap_or_else(|| self.add(name));
            taken.insert(place);
            places.push(place);
        }
        places
    }

    fn add(&mut self, name: &str) -> usize {
        let place = self.count;
        self.spelled.entry(name.to_string()).or_default().push(place);
        self.folded.entry(folded(name)).or_default().push(place);
        self.count += 1;
        place
    }
}

/// The first place that is not taken, which it is then.
fn free(places: Option<&Vec<usize>>, taken: &mut HashSet<usize>) -> Option<usize> {
    places.into_iter().flatten().copied().find(|place| taken.insert(*place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_one_in_any_case_but_for_those_of_one_file() {
        let mut places = Places::default();
        let mut of = |names: &[&str]| places.of(names.iter().copied());
        assert_eq!(of(&["Id", "v"]), [0, 1]);
        assert_eq!(of(&["V", "ID"]), [1, 0]);
        assert_eq!(of(&["ID", "Id", "v"]), [2, 0, 1]);
        assert_eq!(of(&["ID"]), [2]);
        assert_eq!(of(&["id", "iD", "ID", "w"]), [0, 3, 2, 4]);
        assert_eq!(of(&["a", "a"]), [5, 6]);
        assert_eq!(of(&["a", "a", "A"]), [5, 6, 7]);
    }
}
