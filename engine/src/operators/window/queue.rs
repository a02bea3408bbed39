//! The total of a queue of values that cannot be taken off a total.
//!
//! Two stacks: values enter on the back one, whose total is kept; they leave from the front one,
//! where each place has the total of its value and all behind it in that stack. When the front one
//! is empty, the back one is turned over into it, so each value is moved once.
//!
//! Memory: places are charged, in steps, to the reservation that is handed in.

use crate::error::{Error, Result};
use crate::memory::Reservation;

/// Bytes that are charged at once, when there are many.
const STEP_BYTES: usize = 64 << 10;

/// See the module documentation.
pub(super) struct TwoStacks<T> {
    front: Vec<Place<T>>,
    back: Vec<Place<T>>,
    back_total: Option<T>,
    /// Bytes of the values, beside those of the places.
    value_bytes: usize,
    charged: usize,
}

struct Place<T> {
    position: u64,
    /// In the back stack the value, in the front stack the total from here on.
    total: T,
    bytes: usize,
}

type Both<'a, T> = &'a dyn Fn(&T, &T) -> Option<T>;

impl<T: Clone> TwoStacks<T> {
    pub(super) fn new() -> Self {
        TwoStacks {
            front: Vec::new(),
            back: Vec::new(),
            back_total: None,
            value_bytes: 0,
            charged: 0,
        }
    }

    /// Forgets all values.
    pub(super) fn clear(&mut self) {
        self.front.clear();
        self.back.clear();
        self.back_total = None;
        self.value_bytes = 0;
    }

    /// Adds the value of the row at `position`, which has `bytes` bytes elsewhere.
    ///
    /// # Errors
    /// `OutOfMemory` when there is no memory for it, `Input` when the total does not fit.
    pub(super) fn push(
        &mut self,
        position: u64,
        value: T,
        bytes: usize,
        both: Both<'_, T>,
        memory: &mut Reservation,
    ) -> Result<()> {
        self.value_bytes += bytes;
        let is_full = self.back.len() == self.back.capacity();
        let more = if is_full { self.back.len().max(16) } else { 0 };
        // Both are there while the places are moved.
        let moved = if is_full { (self.back.len() + more) * size_of::<Place<T>>() } else { 0 };
        let needed = self.bytes() + moved;
        if needed > self.charged {
            let step = needed - self.charged + (needed / 8).min(STEP_BYTES);
            memory.grow(step)?;
            self.charged += step;
        }
        self.back.reserve_exact(more);
        self.back_total = Some(merge(self.back_total.as_ref(), &value, both)?);
        self.back.push(Place { position, total: value, bytes });
        Ok(())
    }

    /// Removes the values of rows before `position`; how many they were.
    ///
    /// # Errors
    /// As [`TwoStacks::push`].
    pub(super) fn leave(
        &mut self,
        position: u64,
        both: Both<'_, T>,
        memory: &mut Reservation,
    ) -> Result<usize> {
        let mut left = 0;
        loop {
            while let Some(place) = self.front.last()
                && place.position < position
            {
                self.value_bytes -= place.bytes;
                self.front.pop();
                left += 1;
            }
            let is_next = self.back.first().is_some_and(|place| place.position < position);
            if !self.front.is_empty() || !is_next {
                return Ok(left);
            }
            self.turn(both, memory)?;
        }
    }

    /// The total of all values.
    ///
    /// # Errors
    /// `Input` when it does not fit.
    pub(super) fn total(&self, both: Both<'_, T>) -> Result<Option<T>> {
        match (self.front.last(), &self.back_total) {
            (Some(front), Some(back)) => Ok(Some(merge(Some(&front.total), back, both)?)),
            (front, back) => Ok(front.map(|place| &place.total).or(back.as_ref()).cloned()),
        }
    }

    /// Moves the back stack to the front.
    fn turn(&mut self, both: Both<'_, T>, memory: &mut Reservation) -> Result<()> {
        std::mem::swap(&mut self.front, &mut self.back);
        self.back_total = None;
        self.front.reverse();
        // The last value is now the lowest: totals are made from there.
        for at in 1..self.front.len() {
            let (behind, rest) = self.front.split_at_mut(at);
            if let (Some(behind), Some(place)) = (behind.last(), rest.first_mut()) {
                place.total = merge(Some(&place.total), &behind.total, both)?;
            }
        }
        let bytes = self.bytes();
        if self.charged > 4 * bytes + STEP_BYTES {
            memory.shrink(self.charged - bytes);
            self.charged = bytes;
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        (self.front.capacity() + self.back.capacity()) * size_of::<Place<T>>() + self.value_bytes
    }
}

fn merge<T: Clone>(a: Option<&T>, b: &T, both: Both<'_, T>) -> Result<T> {
    match a {
        None => Ok(b.clone()),
        Some(a) => both(a, b).ok_or_else(|| Error::overflow("a sum", "its type")),
    }
}
