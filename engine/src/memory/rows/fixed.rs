//! Values of fixed width and byte values as they are in a row.

use arrow::datatypes::{IntervalDayTime, IntervalMonthDayNano, i256};

use crate::batch::Half;

/// A value of fixed width in a row: of a column, or of an owner's slot of the same width.
pub trait Fixed: Copy {
    /// Writes the value at the front of `to`.
    fn put(self, to: &mut [u8]);
    /// Reads the value at the front of `from`.
    fn take(from: &[u8]) -> Self;
    /// An integer of at most 8 bytes, as one of 8 bytes; 0 for others.
    #[inline]
    fn integer(self) -> i64 {
        0
    }
}

macro_rules! fixed_number {
    ($($number:ty $(=> $integer:ty)?),*) => { $(
        impl Fixed for $number {
            #[inline]
            fn put(self, to: &mut [u8]) {
                to[..size_of::<$number>()].copy_from_slice(&self.to_le_bytes());
            }

            #[inline]
            fn take(from: &[u8]) -> Self {
                let bytes = from.first_chunk();
                bytes.map_or_else(Default::default, |bytes| Self::from_le_bytes(*bytes))
            }
            $(
                #[inline]
                fn integer(self) -> i64 {
                    self as $integer
                }
            )?
        }
    )* };
}

fixed_number!(i8 => i64, i16 => i64, i32 => i64, i64 => i64, i128, u128, Half, f32, f64);
fixed_number!(u8 => i64, u16 => i64, u32 => i64, u64 => i64);

impl Fixed for i256 {
    fn put(self, to: &mut [u8]) {
        to[..32].copy_from_slice(&self.to_le_bytes());
    }

    fn take(from: &[u8]) -> Self {
        from.first_chunk().map_or(i256::ZERO, |bytes| i256::from_le_bytes(*bytes))
    }
}

impl Fixed for IntervalDayTime {
    fn put(self, to: &mut [u8]) {
        self.days.put(to);
        self.milliseconds.put(&mut to[4..]);
    }

    fn take(from: &[u8]) -> Self {
        IntervalDayTime::new(i32::take(from), i32::take(&from[4..]))
    }
}

impl Fixed for IntervalMonthDayNano {
    fn put(self, to: &mut [u8]) {
        self.months.put(to);
        self.days.put(&mut to[4..]);
        self.nanoseconds.put(&mut to[8..]);
    }

    fn take(from: &[u8]) -> Self {
        let (months, days) = (i32::take(from), i32::take(&from[4..]));
        IntervalMonthDayNano::new(months, days, i64::take(&from[8..]))
    }
}

/// Bytes of a value that are in the row itself when it has no more.
pub(super) const INLINE_BYTES: usize = 12;

/// A byte value in a row: 4 bytes length and 12 bytes value (then equal to an Arrow view), or 4
/// bytes length, 8 bytes prefix, and 4 bytes distance of the value from the end of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ByteSlot(pub(super) u128);

impl ByteSlot {
    /// The slot of a value that is inline.
    pub(super) fn inline(value: &[u8]) -> Self {
        let mut slot = [0; 16];
        slot[..4].copy_from_slice(&(value.len() as u32).to_le_bytes());
        slot[4..4 + value.len()].copy_from_slice(value);
        ByteSlot(u128::from_le_bytes(slot))
    }

    /// The slot of a value in the heap.
    pub(super) fn in_heap(value: &[u8], end_distance: u32) -> Self {
        ByteSlot(Self::head(value) | (u128::from(end_distance) << 96))
    }

    /// Length and prefix of a value that is not inline, as they are in its slot.
    #[inline]
    pub(super) fn head(value: &[u8]) -> u128 {
        let prefix = value.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        value.len() as u32 as u128 | (u128::from(prefix) << 32)
    }

    /// Length and prefix of this slot, in the form of [`ByteSlot::head`].
    #[inline]
    pub(super) fn own_head(self) -> u128 {
        self.0 & ((1 << 96) - 1)
    }

    #[inline]
    pub(super) fn len(self) -> usize {
        self.0 as u32 as usize
    }

    #[inline]
    pub(super) fn is_inline(self) -> bool {
        self.len() <= INLINE_BYTES
    }

    pub(super) fn end_distance(self) -> usize {
        (self.0 >> 96) as usize
    }

    /// The same value, moved in the heap.
    pub(super) fn moved(self, end_distance: u32) -> Self {
        ByteSlot(self.own_head() | (u128::from(end_distance) << 96))
    }

    /// The value's bytes in the heap of its page; not for inline values.
    #[inline]
    pub(super) fn heap(self, page: &[u8]) -> &[u8] {
        let start = page.len().saturating_sub(self.end_distance());
        &page[start..][..self.len()]
    }

    #[inline]
    pub(super) fn take(from: &[u8]) -> Self {
        ByteSlot(from.first_chunk().map_or(0, |bytes| u128::from_le_bytes(*bytes)))
    }

    #[inline]
    pub(super) fn put(self, to: &mut [u8]) {
        to[..16].copy_from_slice(&self.0.to_le_bytes());
    }
}

/// The bytes of an inline slot.
#[inline]
pub(super) fn inline_bytes(slot: &[u8]) -> &[u8] {
    let len = ByteSlot::take(slot).len().min(INLINE_BYTES);
    &slot[4..4 + len]
}

/// The bytes of the value whose slot is `slot`, in a page of these bytes.
#[inline]
pub(super) fn value_bytes<'a>(slot: &'a [u8], page: &'a [u8]) -> &'a [u8] {
    let value = ByteSlot::take(slot);
    if value.is_inline() { inline_bytes(slot) } else { value.heap(page) }
}
