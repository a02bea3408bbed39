//! A list of words for every group: short ones take little, and all of them become a column of
//! binary values without being copied.
//!
//! A list stands where the column's views say: one word in the view itself, more of them in a
//! place of a page, whose size is a power of two. A list that outgrows its place moves to one of
//! twice the size, and the place is free for others. While lists grow, what is the prefix of a
//! value in a view says how large the place is.
//!
//! Memory: pages, which are as large as all before them, and a view for each group.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryViewArray};
use arrow::buffer::{Buffer, ScalarBuffer};

use crate::error::{Error, Result};

/// Bytes of a word.
const WORD: usize = size_of::<u64>();

/// Words of the first page, and the most of one that several lists share.
const PAGE_WORDS: (usize, usize) = (512, 1 << 17);

/// The most bytes of a value that is in its view.
const INLINE_BYTES: usize = 12;

/// See the module documentation.
#[derive(Default)]
pub(super) struct Lists {
    /// By group.
    views: Vec<u128>,
    pages: Vec<Vec<u64>>,
    /// By the power of two that is their size, places that no list has.
    free: Vec<Vec<Place>>,
    /// Words of all pages.
    words: usize,
}

/// Where a list is.
#[derive(Debug, Clone, Copy)]
struct Place {
    page: u32,
    /// Words of the page before it.
    start: u32,
}

impl Lists {
    /// Sees to it that there are lists of so many groups.
    pub(super) fn reach(&mut self, groups: usize) {
        if groups > self.views.len() {
            self.views.resize(groups, 0);
        }
    }

    pub(super) fn groups(&self) -> usize {
        self.views.len()
    }

    /// Words of the group's list.
    pub(super) fn len(&self, group: usize) -> usize {
        self.views[group] as u32 as usize / WORD
    }

    /// Words that the group's list has room for where it is.
    pub(super) fn room(&self, group: usize) -> usize {
        if self.len(group) > 1 { 1 << power_of(self.views[group]) } else { 1 }
    }

    /// Whether another word would take a larger place.
    pub(super) fn is_full(&self, group: usize) -> bool {
        let len = self.len(group);
        len > 0 && len == self.room(group)
    }

    /// The words of the group's list; `one` is where a single one is put.
    pub(super) fn words<'a>(&'a self, group: usize, one: &'a mut [u64; 1]) -> &'a [u64] {
        let view = self.views[group];
        match self.len(group) {
            0 => &[],
            1 => {
                *one = [(view >> 32) as u64];
                one
            }
            len => {
                let Place { page, start } = place_of(view);
                &self.pages[page as usize][start as usize..][..len]
            }
        }
    }

    /// The same to be changed, for lists of two words and more.
    pub(super) fn words_mut(&mut self, group: usize) -> &mut [u64] {
        match self.len(group) {
            0 | 1 => &mut [],
            len => {
                let Place { page, start } = place_of(self.views[group]);
                &mut self.pages[page as usize][start as usize..][..len]
            }
        }
    }

    /// Adds a word to the group's list.
    pub(super) fn push(&mut self, group: usize, word: u64) {
        let len = self.len(group);
        if len == 0 {
            self.views[group] = inline(word);
            return;
        }
        if self.is_full(group) {
            let mut one = [0];
            let mut words = self.words(group, &mut one).to_vec();
            words.push(word);
            return self.put(group, &words, words.len().next_power_of_two().ilog2());
        }
        let view = self.views[group];
        let Place { page, start } = place_of(view);
        self.pages[page as usize][start as usize + len] = word;
        self.views[group] = view + WORD as u128;
    }

    /// Makes these words the group's list; where they are several, with room for `room` words.
    pub(super) fn set(&mut self, group: usize, words: &[u64], room: usize) {
        match words {
            [] | [_] => {
                self.free_place(group);
                self.views[group] = words.first().map_or(0, |&word| inline(word));
            }
            _ => self.put(group, words, room.max(words.len()).next_power_of_two().ilog2()),
        }
    }

    /// Puts words, two at least, into a place of that size.
    fn put(&mut self, group: usize, words: &[u64], power: u32) {
        let view = self.views[group];
        let place = match self.len(group) > 1 && power_of(view) == power {
            true => place_of(view),
            false => {
                self.free_place(group);
                self.take_place(power)
            }
        };
        let Place { page, start } = place;
        self.pages[page as usize][start as usize..][..words.len()].copy_from_slice(words);
        let offset = u128::from(start) * WORD as u128;
        self.views[group] = (words.len() * WORD) as u128
            | u128::from(power) << 32
            | u128::from(page) << 64
            | offset << 96;
    }

    fn take_place(&mut self, power: u32) -> Place {
        if let Some(place) = self.free.get_mut(power as usize).and_then(Vec::pop) {
            return place;
        }
        let words = 1 << power;
        let has_room = |page: &Vec<u64>| page.capacity() - page.len() >= words;
        if !self.pages.last().is_some_and(has_room) {
            let (least, most) = PAGE_WORDS;
            let page = self.words.clamp(least, most).max(words);
            self.pages.push(Vec::with_capacity(page));
            self.words += page;
        }
        let number = self.pages.len() - 1;
        let page = &mut self.pages[number];
        let start = page.len();
        page.resize(start + words, 0);
        Place { page: number as u32, start: start as u32 }
    }

    fn free_place(&mut self, group: usize) {
        if self.len(group) > 1 {
            let (power, place) = (power_of(self.views[group]), place_of(self.views[group]));
            if self.free.len() <= power as usize {
                self.free.resize(power as usize + 1, Vec::new());
            }
            self.free[power as usize].push(place);
        }
    }

    /// All lists as binary values, a row per group.
    ///
    /// # Errors
    /// `Internal` for views that are none.
    pub(super) fn take_column(&mut self) -> Result<ArrayRef> {
        let Lists { mut views, pages, .. } = std::mem::take(self);
        for view in &mut views {
            if *view as u32 as usize > INLINE_BYTES {
                let Place { page, start } = place_of(*view);
                let prefix = pages[page as usize][start as usize] as u32;
                *view = *view & !(u128::from(u32::MAX) << 32) | u128::from(prefix) << 32;
            }
        }
        let buffers: Vec<Buffer> = pages.into_iter().map(Buffer::from_vec).collect();
        Ok(Arc::new(BinaryViewArray::try_new(ScalarBuffer::from(views), buffers, None)?))
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        let free: usize = self.free.iter().map(Vec::capacity).sum();
        self.views.capacity() * size_of::<u128>()
            + self.words * WORD
            + free * size_of::<Place>()
            + self.pages.capacity() * size_of::<Vec<u64>>()
    }
}

/// Gives the words of each state, a value that was a list, with its group.
///
/// # Errors
/// `Internal` when the states are no binary values.
pub(super) fn each_state(
    states: &[ArrayRef],
    groups: &[u32],
    mut merge: impl FnMut(usize, &[u64]),
) -> Result<()> {
    let states = states.first().and_then(|states| states.as_binary_view_opt());
    let states = states.ok_or_else(|| Error::internal("states that are no binary values"))?;
    let mut words = Vec::new();
    for (state, &group) in states.iter().zip(groups) {
        words.clear();
        words.extend(words_of(state.unwrap_or_default()));
        merge(group as usize, &words);
    }
    Ok(())
}

/// The words of a value that was a list.
fn words_of(value: &[u8]) -> impl Iterator<Item = u64> {
    let (words, _) = value.as_chunks::<WORD>();
    words.iter().map(|word| u64::from_le_bytes(*word))
}

/// The view of a list of one word.
fn inline(word: u64) -> u128 {
    WORD as u128 | u128::from(word) << 32
}

/// The size of the place of a list that is not in its view, as a power of two.
fn power_of(view: u128) -> u32 {
    (view >> 32) as u32
}

fn place_of(view: u128) -> Place {
    Place { page: (view >> 64) as u32, start: ((view >> 96) as u32) / WORD as u32 }
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;

    use super::*;

    #[test]
    fn lists_grow_shrink_and_become_values_with_their_words() {
        let mut lists = Lists::default();
        let mut expected = vec![Vec::new(); 300];
        lists.reach(300);
        for step in 0..40_000_u64 {
            let group = (step * step % 300) as usize;
            lists.push(group, step);
            expected[group].push(step);
            if expected[group].len() == 100 {
                let left = (step % 4) as usize;
                expected[group].truncate(left);
                lists.set(group, &expected[group], 0);
            }
            let mut one = [0];
            assert_eq!(lists.words(group, &mut one), expected[group]);
        }
        let words: usize = expected.iter().map(Vec::len).sum();
        assert!(lists.bytes() < 8 * words * size_of::<u64>() + 300 * 16, "places are used again");
        let column = lists.take_column().expect("are values");
        assert_eq!((lists.groups(), column.len()), (0, 300));
        let column = column.as_binary_view();
        for (group, words) in expected.iter().enumerate() {
            assert!(words_of(column.value(group)).eq(words.iter().copied()), "{group}");
        }
    }
}
