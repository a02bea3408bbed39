//! Normalised sort keys: a few words per row whose order is the order of the rows.
//!
//! The words of a row, compared as unsigned numbers from the first to the last, order rows as
//! [`compare_rows`] does, as far as they go. Every key column gives a byte that places NULL (when
//! there may be some) and its value as bytes in big-endian order, inverted for descending. A string
//! gives as many bytes as there is room for and a byte that tells how long it is, so that words of
//! strings that fit are never equal unless the strings are. Where it is known how long strings
//! usually are, they give no more, and columns follow behind them; a row whose string is longer
//! gives nothing of those, so that its words decide nothing that its string has not. What the words
//! leave open is left to [`SortKey::compare_rest`].

use std::cmp::Ordering;

use arrow::buffer::Buffer;
use arrow::datatypes::i256;

use super::append::view_bytes;
use super::compare::{RowAt, RowOrder, compare_rows};
use super::fixed::INLINE_BYTES;
use super::layout::{Kind, RowLayout};
use crate::batch::{Half, Picked, Typed, float_key};
use crate::error::{Error, Result};

/// Bytes of a string prefix below which it is not worth its place.
const PREFIX_BYTES_MIN: usize = 4;

/// How rows of one layout become words; see the module documentation.
#[derive(Debug, Clone)]
pub struct SortKey {
    order: Vec<RowOrder>,
    parts: Vec<Part>,
    words: usize,
    /// Number of the first key column that the words do not decide, if any.
    rest: Option<usize>,
}

/// One key column in the words.
#[derive(Debug, Clone)]
struct Part {
    order: RowOrder,
    /// Byte of the key where it begins.
    offset: usize,
    /// Bytes of the value, the NULL byte not counted.
    width: usize,
    /// Whether the value may have more bytes.
    is_prefix: bool,
}

impl Part {
    fn end(&self) -> usize {
        self.offset + usize::from(self.order.nullable) + self.width
    }

    /// The last byte of a key where the value has more bytes than there are, or as many.
    fn is_longer(&self, tail: u8) -> bool {
        let tail = if self.order.descending { !tail } else { tail };
        tail == length_byte(self.width, usize::MAX)
    }
}

impl SortKey {
    /// Keys for rows of `layout` by the columns of `order`, in at most `words_max` words.
    ///
    /// # Errors
    /// `Internal` when a column is not in the layout.
    pub fn new(layout: &RowLayout, order: &[RowOrder], words_max: usize) -> Result<Self> {
        SortKey::with_lengths(layout, order, words_max, &[])
    }

    /// The same for strings that usually have at most so many bytes, by the columns of `order`;
    /// `None` where that is not known.
    ///
    /// # Errors
    /// As [`SortKey::new`].
    pub fn with_lengths(
        layout: &RowLayout,
        order: &[RowOrder],
        words_max: usize,
        lengths: &[Option<usize>],
    ) -> Result<Self> {
        let mut parts: Vec<Part> = Vec::new();
        let (mut end, room) = (0, words_max * 8);
        for (number, &by) in order.iter().enumerate() {
            let Some(column) = layout.columns.get(by.column) else {
                return Err(Error::internal(format!("no column {} in rows", by.column)));
            };
            let value = end + usize::from(by.nullable);
            let left = room.saturating_sub(value).min(usize::from(u8::MAX));
            let usual = lengths.get(number).copied().flatten().map(|bytes| bytes + 1);
            let is_prefix = column.kind.has_heap();
            let (width, is_whole) = match (is_prefix, usual) {
                (true, Some(usual)) if usual <= left => (usual, true),
                (true, _) => (left, false),
                (false, _) => (column.width, true),
            };
            let fits = value + width <= room && (is_whole || width > PREFIX_BYTES_MIN);
            if fits {
                parts.push(Part { order: by, offset: end, width, is_prefix });
                end = value + width;
            }
            if !fits || !is_whole {
                break;
            }
        }
        give_rest(&mut parts, room - end);
        let open = parts.iter().position(|part| part.is_prefix);
        let rest = open.or((parts.len() < order.len()).then_some(parts.len()));
        let words = parts.last().map_or(0, Part::end).div_ceil(8).max(1);
        Ok(SortKey { order: order.to_vec(), parts, words, rest })
    }

    /// Words per row.
    pub fn words(&self) -> usize {
        self.words
    }

    /// How many of the key's leading bytes depend on the first `columns` key columns alone; all of
    /// the words' when no other column is in them.
    pub fn prefix_bytes(&self, columns: usize) -> usize {
        self.parts.get(columns).map_or(usize::MAX, |part| part.offset)
    }

    /// Whether rows with equal words are equal on all key columns.
    pub fn is_exact(&self) -> bool {
        self.rest.is_none()
    }

    /// Whether two rows that both have these words may differ: then ask
    /// [`SortKey::compare_rest`].
    pub fn may_differ(&self, words: &[u64]) -> bool {
        let is_longer = |part: &Part| {
            let last = part.end() - 1;
            let word = words.get(last / 8).copied().unwrap_or_default();
            part.is_longer(word.to_be_bytes()[last % 8])
        };
        self.parts.len() < self.order.len()
            || self.parts.iter().any(|part| part.is_prefix && is_longer(part))
    }

    /// The key columns from the first on that the words may not decide.
    pub fn rest(&self) -> &[RowOrder] {
        self.rest.and_then(|rest| self.order.get(rest..)).unwrap_or(&[])
    }

    /// The order of two rows whose words are equal.
    pub fn compare_rest(&self, layout: &RowLayout, a: RowAt<'_>, b: RowAt<'_>) -> Ordering {
        match self.rest {
            Some(rest) => compare_rows(layout, &self.order[rest..], a, b),
            None => Ordering::Equal,
        }
    }

    /// Adds the words of each picked row to `words`. There is one picked column for each column of
    /// the order.
    ///
    /// # Errors
    /// `Internal` for a NULL in a column that was said to have none, and for foreign types.
    pub fn encode(
        &self,
        layout: &RowLayout,
        keys: &[Picked<'_>],
        words: &mut Vec<u64>,
    ) -> Result<()> {
        let rows = keys.first().map_or(0, Picked::len);
        let stride = self.words * 8;
        let mut bytes = vec![0; rows * stride];
        // Rows whose words end with a string that is longer.
        let mut ended = Vec::new();
        for (number, (part, picked)) in self.parts.iter().zip(keys).enumerate() {
            let unexpected = picked.has_nulls() && !part.order.nullable;
            if unexpected && (0..rows).any(|row| picked.is_null(row)) {
                return Err(Error::internal("NULL in a sort key that is never NULL"));
            }
            let kind = layout.columns.get(part.order.column).map(|column| &column.kind);
            let kind = kind.ok_or_else(|| Error::internal("a sort key of another layout"))?;
            Encode { part, picked, bytes: &mut bytes, stride, ended: &ended }.run(kind)?;
            if part.is_prefix && number + 1 < self.parts.len() {
                ended.resize(rows, false);
                let tails = bytes.iter().skip(part.end() - 1).step_by(stride);
                ended
                    .iter_mut()
                    .zip(tails)
                    .for_each(|(ended, &tail)| *ended |= part.is_longer(tail));
            }
        }
        let (eights, _) = bytes.as_chunks::<8>();
        words.extend(eights.iter().map(|eight| u64::from_be_bytes(*eight)));
        Ok(())
    }
}

/// Bytes of the longest of these strings; `None` where there are none.
pub fn longest(picked: &Picked<'_>) -> Option<usize> {
    let Typed::Views(views, _) = Typed::of(picked.array()) else { return None };
    let length = |&at: &u32| views[at as usize] as u32 as usize;
    let valid = picked.at().iter().enumerate().filter(|&(row, _)| !picked.is_null(row));
    valid.map(|(_, at)| length(at)).max()
}

/// Gives the bytes that are left to the last string: others may be longer.
fn give_rest(parts: &mut [Part], bytes: usize) {
    let Some(last) = parts.iter().rposition(|part| part.is_prefix) else { return };
    let given = bytes.min(usize::from(u8::MAX) - parts[last].width);
    parts[last].width += given;
    parts[last + 1..].iter_mut().for_each(|part| part.offset += given);
}

/// The byte behind a string prefix: the length, or that the string is longer than the prefix.
fn length_byte(width: usize, len: usize) -> u8 {
    len.min(width) as u8
}

/// One key column of some rows.
struct Encode<'a> {
    part: &'a Part,
    picked: &'a Picked<'a>,
    bytes: &'a mut [u8],
    stride: usize,
    /// Rows that give nothing more; none when empty.
    ended: &'a [bool],
}

impl Encode<'_> {
    fn run(mut self, kind: &Kind) -> Result<()> {
        use Kind as K;
        use Typed as T;
        let flip64 = |v: i64| (v ^ i64::MIN).to_be_bytes();
        let flip128 = |v: i128| (v ^ i128::MIN).to_be_bytes();
        match (kind, Typed::of(self.picked.array())) {
            (K::Bool, T::Bool(v)) => self.fixed(|at| [u8::from(v.value(at))]),
            (K::I8, T::I8(v)) => self.fixed(|at| (v[at] ^ i8::MIN).to_be_bytes()),
            (K::I16, T::I16(v)) => self.fixed(|at| (v[at] ^ i16::MIN).to_be_bytes()),
            (K::I32, T::I32(v)) => self.fixed(|at| (v[at] ^ i32::MIN).to_be_bytes()),
            (K::I64 | K::Narrow, T::I64(v)) => self.fixed(|at| flip64(v[at])),
            (K::U8, T::U8(v)) => self.fixed(|at| v[at].to_be_bytes()),
            (K::U16, T::U16(v)) => self.fixed(|at| v[at].to_be_bytes()),
            (K::U32, T::U32(v)) => self.fixed(|at| v[at].to_be_bytes()),
            (K::U64, T::U64(v)) => self.fixed(|at| v[at].to_be_bytes()),
            (K::F16, T::F16(v)) => self.fixed(|at| {
                let bits = Half::from_f64(float_key(v[at].into())).to_bits();
                let mask = if bits >> 15 == 1 { u16::MAX } else { 1 << 15 };
                (bits ^ mask).to_be_bytes()
            }),
            (K::F32, T::F32(v)) => self.fixed(|at| float32_bytes(v[at])),
            (K::F64, T::F64(v)) => self.fixed(|at| float64_bytes(v[at])),
            (K::Narrow, T::I128(v)) => self.fixed(|at| flip64(v[at] as i64)),
            (K::Wide, T::I64(v)) => self.fixed(|at| flip128(v[at].into())),
            (K::Wide, T::I128(v)) => self.fixed(|at| flip128(v[at])),
            (K::Widest, T::I64(v)) => self.fixed(|at| wide_bytes(i256::from_i128(v[at].into()))),
            (K::Widest, T::I128(v)) => self.fixed(|at| wide_bytes(i256::from_i128(v[at]))),
            (K::Widest, T::I256(v)) => self.fixed(|at| wide_bytes(v[at])),
            (K::DayTime, T::DayTime(v)) => self.fixed(|at| {
                let (days, rest) = (v[at].days, v[at].milliseconds);
                flip64((i64::from(days) << 32) | i64::from((rest ^ i32::MIN) as u32))
            }),
            (K::MonthDayNano, T::MonthDayNano(v)) => self.fixed(|at| {
                let (months, days) = (v[at].months ^ i32::MIN, v[at].days ^ i32::MIN);
                let high = (u128::from(months as u32) << 32) | u128::from(days as u32);
                let low = (v[at].nanoseconds ^ i64::MIN) as u64;
                ((high << 64) | u128::from(low)).to_be_bytes()
            }),
            (K::Bytes, T::Views(views, buffers)) => self.views(views, buffers),
            (K::Nested(codec), _) => {
                let rows = codec.encode_keys(self.picked)?;
                self.each(|to, row| put_prefix(to, rows.row(row).as_ref()));
            }
            (K::Null, _) => self.each(|_, _| ()),
            _ => return Err(Error::internal("a sort key of a foreign type")),
        }
        Ok(())
    }

    /// Calls `put` with the value's bytes and the number of the row, where it is not NULL.
    fn each(&mut self, put: impl Fn(&mut [u8], usize)) {
        let Part { order, offset, width, .. } = *self.part;
        let value = offset + usize::from(order.nullable);
        for (row, key) in self.bytes.chunks_exact_mut(self.stride).enumerate() {
            if self.ended.get(row).is_some_and(|ended| *ended) {
                continue;
            }
            let null = order.nullable && self.picked.is_null(row);
            if order.nullable {
                key[offset] = u8::from(null != order.nulls_first);
            }
            if !null {
                let value = &mut key[value..value + width];
                put(value, row);
                if order.descending {
                    value.iter_mut().for_each(|byte| *byte = !*byte);
                }
            }
        }
    }

    fn fixed<const W: usize>(&mut self, bytes: impl Fn(usize) -> [u8; W]) {
        let picked = self.picked;
        let at = picked.at();
        self.each(|to, row| to.copy_from_slice(&bytes(at[row] as usize)));
    }

    fn views(&mut self, views: &[u128], buffers: &[Buffer]) {
        let picked = self.picked;
        let at = picked.at();
        self.each(|to, row| {
            let view = views[at[row] as usize];
            let inline = view.to_le_bytes();
            match view as u32 as usize {
                len @ ..=INLINE_BYTES => put_prefix(to, &inline[4..4 + len]),
                _ => put_prefix(to, view_bytes(view, buffers)),
            }
        });
    }
}

/// Writes the front of a string and its length byte over all of `to`, which is zero.
fn put_prefix(to: &mut [u8], value: &[u8]) {
    let width = to.len();
    let room = width - 1;
    let front = &value[..value.len().min(room)];
    to[..front.len()].copy_from_slice(front);
    to[room] = length_byte(width, value.len());
}

fn float64_bytes(value: f64) -> [u8; 8] {
    let bits = float_key(value).to_bits();
    let mask = if bits >> 63 == 1 { u64::MAX } else { 1 << 63 };
    (bits ^ mask).to_be_bytes()
}

fn float32_bytes(value: f32) -> [u8; 4] {
    let bits = if value.is_nan() { 0x7fc0_0000 } else { (value + 0.0).to_bits() };
    let mask = if bits >> 31 == 1 { u32::MAX } else { 1 << 31 };
    (bits ^ mask).to_be_bytes()
}

fn wide_bytes(value: i256) -> [u8; 32] {
    let mut bytes = value.to_be_bytes();
    bytes[0] ^= 0x80;
    bytes
}
