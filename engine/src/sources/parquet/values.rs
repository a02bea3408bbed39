//! Builds arrays of fixed-width values from what pages hold: plain values or dictionary codes.
//!
//! The stored and the logical width may differ: small integers and narrow decimals are stored wider
//! or narrower than they are held.

use arrow::array::{Array, ArrayData, ArrayRef, make_array};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, ScalarBuffer};
use arrow::datatypes::{ArrowNativeType, DataType};
use parquet::basic::Type as PhysicalType;
use parquet::schema::types::ColumnDescriptor;

use super::runs::Broken;
use crate::error::Result;

/// An array under construction.
pub(super) trait Values: Send {
    /// Bytes of a stored value.
    fn width(&self) -> usize;

    /// Sets the dictionary that codes refer to.
    fn set_dictionary(&mut self, dictionary: &ArrayRef);

    /// Rows so far.
    fn len(&self) -> usize;

    /// Appends stored values.
    fn plain(&mut self, stored: &[u8]);

    /// Appends the stored values number `start + position - base` for each of `positions`.
    fn plain_at(&mut self, stored: &[u8], positions: &[u32], base: usize) -> Result<(), Broken>;

    /// Appends the values of codes.
    fn lookup(&mut self, codes: &[u32]) -> Result<(), Broken>;

    /// Puts the values from row `from` on, which are those of valid rows only, into their places.
    fn spread(&mut self, from: usize, valid: &BooleanBuffer);

    /// Of the rows from `from` on keeps those that `positions`, counted from `base`, name.
    fn retain(&mut self, from: usize, positions: &[u32], base: usize);

    /// The array, and begins a new one.
    fn finish(&mut self, nulls: Option<NullBuffer>) -> Result<ArrayRef>;
}

/// Puts `out[from..]`, the values of the rows set in `valid`, at those rows; `filler` elsewhere.
pub(super) fn spread<T: Copy>(out: &mut Vec<T>, from: usize, valid: &BooleanBuffer, filler: T) {
    let mut next = out.len();
    out.resize(from + valid.len(), filler);
    for row in (0..valid.len()).rev() {
        if valid.value(row) {
            next -= 1;
            out[from + row] = out[next];
        } else {
            out[from + row] = filler;
        }
    }
}

/// Of `out[from..]` keeps the rows `positions`, which increase and count from `base`.
pub(super) fn retain<T: Copy>(out: &mut Vec<T>, from: usize, positions: &[u32], base: usize) {
    for (i, &position) in positions.iter().enumerate() {
        out[from + i] = out[from + position as usize - base];
    }
    out.truncate(from + positions.len());
}

/// How a value is stored and held.
trait Layout: Send {
    type Native: ArrowNativeType + Default;

    fn width(&self) -> usize;

    /// The value in `stored`, which has [`Layout::width`] bytes.
    fn decode(&self, stored: &[u8]) -> Self::Native;

    /// Appends all values in `stored`.
    fn decode_all(&self, stored: &[u8], out: &mut Vec<Self::Native>) {
        out.extend(stored.chunks_exact(self.width()).map(|bytes| self.decode(bytes)));
    }
}

/// The values of `descr` as an array of type `held`; `None` when the engine has no decoder.
pub(super) fn values_for(descr: &ColumnDescriptor, held: &DataType) -> Option<Box<dyn Values>> {
    use DataType::*;
    let width = usize::try_from(descr.type_length()).unwrap_or(0);
    Some(match (descr.physical_type(), held) {
        (PhysicalType::INT32, Int32 | Date32 | Time32(_)) => Fixed::boxed(I32, held),
        (PhysicalType::INT32, Decimal64(..)) => Fixed::boxed(I32AsI64, held),
        (PhysicalType::INT32, Int8) => Fixed::boxed(I32AsI8, held),
        (PhysicalType::INT32, Int16) => Fixed::boxed(I32AsI16, held),
        (PhysicalType::INT32, UInt8) => Fixed::boxed(I32AsU8, held),
        (PhysicalType::INT32, UInt16) => Fixed::boxed(I32AsU16, held),
        (PhysicalType::INT32, UInt32) => Fixed::boxed(I32AsU32, held),
        (PhysicalType::INT64, Int64 | Timestamp(..) | Time64(_) | Duration(_) | Decimal64(..)) => {
            Fixed::boxed(I64, held)
        }
        (PhysicalType::INT64, UInt64) => Fixed::boxed(I64AsU64, held),
        (PhysicalType::FLOAT, Float32) => Fixed::boxed(F32, held),
        (PhysicalType::DOUBLE, Float64) => Fixed::boxed(F64, held),
        (PhysicalType::FIXED_LEN_BYTE_ARRAY, Decimal64(..)) if (1..=8).contains(&width) => {
            Fixed::boxed(BytesAsI64(width), held)
        }
        (PhysicalType::FIXED_LEN_BYTE_ARRAY, Decimal128(..)) if (1..=16).contains(&width) => {
            Fixed::boxed(BytesAsI128(width), held)
        }
        _ => return None,
    })
}

macro_rules! little_endian {
    ($($layout:ident: $stored:ty => $held:ty),* $(,)?) => {$(
        struct $layout;

        impl Layout for $layout {
            type Native = $held;

            fn width(&self) -> usize {
                size_of::<$stored>()
            }

            #[inline(always)]
            fn decode(&self, stored: &[u8]) -> $held {
                let mut bytes = [0; size_of::<$stored>()];
                bytes.copy_from_slice(&stored[..size_of::<$stored>()]);
                // Writers store narrower integers without loss; what does not fit is cut off.
                <$stored>::from_le_bytes(bytes) as $held
            }

            fn decode_all(&self, stored: &[u8], out: &mut Vec<$held>) {
                let (values, _) = stored.as_chunks::<{ size_of::<$stored>() }>();
                out.extend(values.iter().map(|&bytes| <$stored>::from_le_bytes(bytes) as $held));
            }
        }
    )*};
}

little_endian! {
    I32: i32 => i32,
    I32AsI64: i32 => i64,
    I32AsI8: i32 => i8,
    I32AsI16: i32 => i16,
    I32AsU8: i32 => u8,
    I32AsU16: i32 => u16,
    I32AsU32: i32 => u32,
    I64: i64 => i64,
    I64AsU64: i64 => u64,
    F32: f32 => f32,
    F64: f64 => f64,
}

/// Big-endian integers of a width that the file fixes.
struct BytesAsI64(usize);
struct BytesAsI128(usize);

macro_rules! big_endian {
    ($layout:ident, $held:ty) => {
        impl Layout for $layout {
            type Native = $held;

            fn width(&self) -> usize {
                self.0
            }

            #[inline(always)]
            fn decode(&self, stored: &[u8]) -> $held {
                // The sign goes into the bytes that are not stored.
                let negative = stored.first().is_some_and(|&byte| byte >= 0x80);
                let mut bytes = [if negative { 0xff } else { 0 }; size_of::<$held>()];
                bytes[size_of::<$held>() - self.0..].copy_from_slice(&stored[..self.0]);
                <$held>::from_be_bytes(bytes)
            }
        }
    };
}

big_endian!(BytesAsI64, i64);
big_endian!(BytesAsI128, i128);

struct Fixed<L: Layout> {
    layout: L,
    data_type: DataType,
    dictionary: ScalarBuffer<L::Native>,
    out: Vec<L::Native>,
}

impl<L: Layout + 'static> Fixed<L> {
    fn boxed(layout: L, data_type: &DataType) -> Box<dyn Values> {
        let dictionary = Vec::new().into();
        Box::new(Fixed { layout, data_type: data_type.clone(), dictionary, out: Vec::new() })
    }
}

impl<L: Layout> Values for Fixed<L> {
    fn width(&self) -> usize {
        self.layout.width()
    }

    fn set_dictionary(&mut self, dictionary: &ArrayRef) {
        let data = dictionary.to_data();
        self.dictionary = ScalarBuffer::new(data.buffers()[0].clone(), data.offset(), data.len());
    }

    fn len(&self) -> usize {
        self.out.len()
    }

    fn plain(&mut self, stored: &[u8]) {
        self.layout.decode_all(stored, &mut self.out);
    }

    fn plain_at(&mut self, stored: &[u8], positions: &[u32], base: usize) -> Result<(), Broken> {
        let width = self.layout.width();
        for &position in positions {
            let start = (position as usize - base) * width;
            let value = stored.get(start..start + width).ok_or(Broken)?;
            self.out.push(self.layout.decode(value));
        }
        Ok(())
    }

    fn lookup(&mut self, codes: &[u32]) -> Result<(), Broken> {
        let dictionary: &[L::Native] = &self.dictionary;
        if codes.iter().fold(0, |max, &code| max.max(code)) as usize >= dictionary.len() {
            return if codes.is_empty() { Ok(()) } else { Err(Broken) };
        }
        self.out.extend(codes.iter().map(|&code| dictionary[code as usize]));
        Ok(())
    }

    fn spread(&mut self, from: usize, valid: &BooleanBuffer) {
        spread(&mut self.out, from, valid, L::Native::default());
    }

    fn retain(&mut self, from: usize, positions: &[u32], base: usize) {
        retain(&mut self.out, from, positions, base);
    }

    fn finish(&mut self, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        let out = std::mem::take(&mut self.out);
        let data = ArrayData::builder(self.data_type.clone())
            .len(out.len())
            .nulls(nulls)
            .add_buffer(Buffer::from_vec(out));
        Ok(make_array(data.build()?))
    }
}
