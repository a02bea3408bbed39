//! Membership in a list of constants.
//!
//! A short list is compared value by value in vector loops; a long one becomes a hash set. Values
//! are equal as in comparisons: decimals by value, NaN equals NaN, −0.0 equals 0.0.

use std::hash::Hash;

use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::DataType;
use hashbrown::HashSet;

use super::Operand;
use super::compare::compare;
use super::native::{Native, native};
use super::rows::bits_of;
use crate::error::{Error, Result};
use crate::expr::{CompareOp, Literal};

/// Up to this many constants of fixed width are compared one after the other (0.3 ns each, a look
/// into the hash set 1.3 ns).
const SHORT: usize = 4;
/// The same for strings (0.5 ns each, a look into the hash set 5 ns).
const SHORT_TEXT: usize = 10;

/// The constants of an IN list, in the form that is fastest to look values up in.
#[derive(Debug, Clone)]
pub(in crate::expr) struct Set {
    members: Members,
    has_null: bool,
}

#[derive(Debug, Clone)]
enum Members {
    /// Constants to compare with, each an array of one.
    Short(Vec<ArrayRef>),
    I32(HashSet<i32>),
    I64(HashSet<i64>),
    /// Decimals of one scale.
    Decimal(HashSet<i128>),
    /// Bit patterns; see [`canonical_bits`].
    F64(HashSet<u64>),
    Text(HashSet<Box<str>>),
}

impl Set {
    /// The set of the list's values.
    ///
    /// # Errors
    /// `Internal` when a constant's kind does not go with its type.
    pub fn new(list: &[Literal]) -> Result<Set> {
        let values: Vec<&Literal> = list.iter().filter(|l| !l.is_null()).collect();
        let has_null = values.len() < list.len();
        let arrays = values.iter().map(|literal| literal.to_array());
        let arrays: Vec<ArrayRef> = arrays.collect::<Result<_>>()?;
        let members = match arrays.first() {
            Some(first) if arrays.len() > short_limit(first) => long(&arrays),
            _ => None,
        };
        Ok(Set { members: members.unwrap_or(Members::Short(arrays)), has_null })
    }

    /// Whether each value is (or is not, when `negated`) in the list. NULL where the value is,
    /// and where the list holds a NULL and not the value.
    ///
    /// # Errors
    /// `Internal` when values and constants cannot be compared.
    pub fn contains(&self, input: &Operand, rows: usize, negated: bool) -> Result<BooleanArray> {
        let array = &input.array;
        let found = match (&self.members, native(array.as_ref())) {
            (Members::Short(constants), _) => short(constants, input, rows)?,
            (Members::I32(set), Native::I32(values)) => bits_of(values, |v| set.contains(&v)),
            (Members::I64(set), Native::I64(values)) => bits_of(values, |v| set.contains(&v)),
            (Members::Decimal(set), Native::I64(values)) => {
                bits_of(values, |v| set.contains(&i128::from(v)))
            }
            (Members::Decimal(set), Native::I128(values)) => bits_of(values, |v| set.contains(&v)),
            (Members::F64(set), Native::F64(values)) => {
                bits_of(values, |v| set.contains(&canonical_bits(v)))
            }
            (Members::Text(set), Native::Text(values)) => {
                BooleanBuffer::collect_bool(rows, |row| set.contains(values.value(row)))
            }
            _ => {
                return Err(Error::internal(format!(
                    "{} looked up in a list of another type",
                    array.data_type()
                )));
            }
        };
        let nulls = match self.has_null {
            true => NullBuffer::union(array.nulls(), Some(&NullBuffer::new(found.clone()))),
            false => array.nulls().cloned(),
        };
        Ok(BooleanArray::new(if negated { !&found } else { found }, nulls))
    }
}

fn short_limit(array: &ArrayRef) -> usize {
    if array.data_type().is_primitive() { SHORT } else { SHORT_TEXT }
}

fn short(constants: &[ArrayRef], input: &Operand, rows: usize) -> Result<BooleanBuffer> {
    let mut found = BooleanBuffer::new_unset(rows);
    for constant in constants {
        let constant = Operand { array: constant.clone(), constant: true };
        found = &found | compare(CompareOp::Equal, input, &constant, rows)?.values();
    }
    Ok(found)
}

/// The members as a hash set, when their type is on the short list.
fn long(arrays: &[ArrayRef]) -> Option<Members> {
    fn set<T: Hash + Eq>(
        arrays: &[ArrayRef],
        value: impl Fn(&ArrayRef) -> Option<T>,
    ) -> Option<HashSet<T>> {
        arrays.iter().map(value).collect()
    }
    match arrays.first()?.data_type() {
        data_type if data_type.is_decimal() => set(arrays, |a| match native(a.as_ref()) {
            Native::I64(v) => v.first().map(|&v| i128::from(v)),
            Native::I128(v) => v.first().copied(),
            _ => None,
        })
        .map(Members::Decimal),
        DataType::Float64 => set(arrays, |a| match native(a.as_ref()) {
            Native::F64(v) => v.first().map(|&v| canonical_bits(v)),
            _ => None,
        })
        .map(Members::F64),
        DataType::Utf8View => set(arrays, |a| match native(a.as_ref()) {
            Native::Text(v) => Some(v.value(0).into()),
            _ => None,
        })
        .map(Members::Text),
        _ => match native(arrays.first()?.as_ref()) {
            Native::I32(_) => set(arrays, |a| match native(a.as_ref()) {
                Native::I32(v) => v.first().copied(),
                _ => None,
            })
            .map(Members::I32),
            Native::I64(_) => set(arrays, |a| match native(a.as_ref()) {
                Native::I64(v) => v.first().copied(),
                _ => None,
            })
            .map(Members::I64),
            _ => None,
        },
    }
}

/// One bit pattern for all NaNs, and one for both zeros.
fn canonical_bits(value: f64) -> u64 {
    if value.is_nan() {
        f64::NAN.to_bits()
    } else if value == 0.0 {
        0
    } else {
        value.to_bits()
    }
}
