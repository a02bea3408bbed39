//! What is where in a row.

use std::sync::Arc;

use arrow::datatypes::{DECIMAL64_MAX_PRECISION, DataType, IntervalUnit};

use super::nested::NestedCodec;
use crate::batch::physical_type;
use crate::error::Result;

/// How the values of a column are held in a row.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    Bool,
    I8,
    I16,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
    F16,
    F32,
    F64,
    /// Decimals of at most 18 digits.
    Narrow,
    /// Other decimals of at most 38 digits.
    Wide,
    /// Decimals of more digits.
    Widest,
    DayTime,
    MonthDayNano,
    /// Strings and binary values.
    Bytes,
    /// Values whose `arrow-row` bytes are held like a binary value.
    Nested(Arc<NestedCodec>),
    Null,
}

impl Kind {
    fn of(logical: &DataType) -> Result<Kind> {
        use IntervalUnit::{DayTime, MonthDayNano, YearMonth};
        Ok(match logical {
            DataType::Null => Kind::Null,
            DataType::Boolean => Kind::Bool,
            DataType::Int8 => Kind::I8,
            DataType::Int16 => Kind::I16,
            DataType::Int32
            | DataType::Date32
            | DataType::Time32(_)
            | DataType::Interval(YearMonth) => Kind::I32,
            DataType::Int64
            | DataType::Date64
            | DataType::Time64(_)
            | DataType::Timestamp(..)
            | DataType::Duration(_) => Kind::I64,
            DataType::UInt8 => Kind::U8,
            DataType::UInt16 => Kind::U16,
            DataType::UInt32 => Kind::U32,
            DataType::UInt64 => Kind::U64,
            DataType::Float16 => Kind::F16,
            DataType::Float32 => Kind::F32,
            DataType::Float64 => Kind::F64,
            DataType::Decimal32(..) => Kind::Narrow,
            DataType::Decimal64(..) => Kind::Narrow,
            DataType::Decimal128(p, _) if *p <= DECIMAL64_MAX_PRECISION => Kind::Narrow,
            DataType::Decimal128(..) => Kind::Wide,
            DataType::Decimal256(..) => Kind::Widest,
            DataType::Interval(DayTime) => Kind::DayTime,
            DataType::Interval(MonthDayNano) => Kind::MonthDayNano,
            DataType::Utf8View | DataType::BinaryView => Kind::Bytes,
            other => match physical_type(other) {
                physical if physical != *other => Kind::of(&physical)?,
                physical => Kind::Nested(Arc::new(NestedCodec::new(physical)?)),
            },
        })
    }

    fn width(&self) -> usize {
        match self {
            Kind::Null => 0,
            Kind::Bool | Kind::I8 | Kind::U8 => 1,
            Kind::I16 | Kind::U16 | Kind::F16 => 2,
            Kind::I32 | Kind::U32 | Kind::F32 => 4,
            Kind::I64 | Kind::U64 | Kind::F64 | Kind::Narrow | Kind::DayTime => 8,
            Kind::Wide | Kind::MonthDayNano | Kind::Bytes | Kind::Nested(_) => 16,
            Kind::Widest => 32,
        }
    }

    /// Whether values are integers of at most 8 bytes.
    pub(super) fn is_integer(&self) -> bool {
        use Kind as K;
        matches!(self, K::Bool | K::I8 | K::I16 | K::I32 | K::I64 | K::Narrow)
            || matches!(self, K::U8 | K::U16 | K::U32 | K::U64)
    }

    /// Whether the value may have bytes in the page's heap.
    pub(super) fn has_heap(&self) -> bool {
        matches!(self, Kind::Bytes | Kind::Nested(_))
    }
}

/// Where the lowest byte of a hash is in its slot.
const HASH_LOW_BYTE: usize = if cfg!(target_endian = "little") { 0 } else { 7 };

/// Bits of a hash that are not kept in rows.
pub(super) const HASH_BITS_LOST: u64 = 0xff;

/// One column of a row.
#[derive(Debug, Clone)]
pub(super) struct ColumnLayout {
    /// The physical type that gathering gives.
    pub(super) physical: DataType,
    pub(super) kind: Kind,
    pub(super) offset: usize,
    pub(super) width: usize,
    /// Byte of the row with the NULL bit, and the bit in it.
    pub(super) null_byte: usize,
    pub(super) null_mask: u8,
}

/// Some bytes of a row that belong to the owner of the pages; zero in a new row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// Where it begins in the row.
    pub offset: usize,
    /// How many bytes it has.
    pub width: usize,
}

/// What is where in a row; see the module documentation.
#[derive(Debug)]
pub struct RowLayout {
    pub(super) columns: Vec<ColumnLayout>,
    slots: Vec<Slot>,
    width: usize,
    has_heap: bool,
}

impl RowLayout {
    /// The layout for columns of these logical types and slots of these widths in bytes.
    ///
    /// # Errors
    /// `Input` when a type cannot be stored.
    pub fn new(columns: &[DataType], slots: &[usize]) -> Result<Self> {
        RowLayout::lay_out(columns, slots, false)
    }

    /// The same where the first slot is a hash of 8 bytes, to be read and set as one (see
    /// [`RowPages::hash`]): its lowest bits are left to what says which columns are NULL, where
    /// that is at most a byte, so that it takes no room of its own.
    ///
    /// # Errors
    /// As [`RowLayout::new`].
    ///
    /// [`RowPages::hash`]: super::RowPages::hash
    pub fn with_hash(columns: &[DataType], slots: &[usize]) -> Result<Self> {
        RowLayout::lay_out(columns, slots, true)
    }

    fn lay_out(columns: &[DataType], slots: &[usize], has_hash: bool) -> Result<Self> {
        let mut kinds = columns.iter().map(Kind::of).collect::<Result<Vec<_>>>()?;
        let mut parts: Vec<(usize, usize)> =
            kinds.iter().map(Kind::width).chain(slots.iter().copied()).enumerate().collect();
        // Widest first keeps every part aligned to its width, up to 8, without padding.
        parts.sort_by_key(|&(part, width)| (std::cmp::Reverse(width), part));
        let mut offsets = vec![0; parts.len()];
        let mut end = 0;
        for (part, width) in parts {
            offsets[part] = end;
            end += width;
        }
        let nulls = match columns.len() <= 8 && has_hash {
            true => offsets[columns.len()] + HASH_LOW_BYTE,
            false => end,
        };
        let columns: Vec<ColumnLayout> = kinds
            .drain(..)
            .zip(columns)
            .enumerate()
            .map(|(number, (kind, logical))| ColumnLayout {
                physical: physical_type(logical),
                offset: offsets[number],
                width: kind.width(),
                kind,
                null_byte: nulls + number / 8,
                null_mask: 1 << (number % 8),
            })
            .collect();
        let slots = slots
            .iter()
            .zip(&offsets[columns.len()..])
            .map(|(&width, &offset)| Slot { offset, width })
            .collect();
        if nulls == end {
            end += columns.len().div_ceil(8);
        }
        let width = end.max(1).next_multiple_of(8);
        let has_heap = columns.iter().any(|c| c.kind.has_heap());
        Ok(RowLayout { columns, slots, width, has_heap })
    }

    /// Bytes of a row without what it has in the heap; a multiple of 8.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns.len()
    }

    /// The owner's slot number `index`, in the order they were asked for; an empty one when there
    /// is none.
    pub fn slot(&self, index: usize) -> Slot {
        self.slots.get(index).copied().unwrap_or(Slot { offset: 0, width: 0 })
    }

    /// The physical type that column number `index` is gathered as.
    pub fn physical(&self, index: usize) -> Option<&DataType> {
        self.columns.get(index).map(|column| &column.physical)
    }

    /// Whether rows may have bytes in the heap.
    pub fn has_heap(&self) -> bool {
        self.has_heap
    }
}
