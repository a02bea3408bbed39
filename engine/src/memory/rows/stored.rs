//! From the values of an array to the form they have in a row, for kinds of fixed width.

use super::fixed::Fixed;
use super::layout::Kind;
use crate::batch::Typed;
use arrow::datatypes::i256;

/// Does something with the stored form of values, whatever its type.
pub(super) trait StoredVisitor {
    /// `value` gives the stored form of the value at a position of the array.
    fn visit<T: Fixed>(self, value: impl Fn(usize) -> T);
}

/// Calls the visitor with the stored form of `values` in a column of this kind. False when the
/// kind has no fixed form, or values of another type. Decimals must fit (see `append`).
pub(super) fn visit_stored<V: StoredVisitor>(kind: &Kind, values: Typed<'_>, visitor: V) -> bool {
    use Kind as K;
    use Typed as T;
    match (kind, values) {
        (K::Bool, T::Bool(v)) => visitor.visit(|at| u8::from(v.value(at))),
        (K::I8, T::I8(v)) => visitor.visit(|at| v[at]),
        (K::I16, T::I16(v)) => visitor.visit(|at| v[at]),
        (K::I32, T::I32(v)) => visitor.visit(|at| v[at]),
        (K::I64 | K::Narrow, T::I64(v)) => visitor.visit(|at| v[at]),
        (K::U8, T::U8(v)) => visitor.visit(|at| v[at]),
        (K::U16, T::U16(v)) => visitor.visit(|at| v[at]),
        (K::U32, T::U32(v)) => visitor.visit(|at| v[at]),
        (K::U64, T::U64(v)) => visitor.visit(|at| v[at]),
        (K::F16, T::F16(v)) => visitor.visit(|at| v[at]),
        (K::F32, T::F32(v)) => visitor.visit(|at| v[at]),
        (K::F64, T::F64(v)) => visitor.visit(|at| v[at]),
        (K::Narrow, T::I128(v)) => visitor.visit(|at| v[at] as i64),
        (K::Narrow, T::I256(v)) => visitor.visit(|at| v[at].as_i128() as i64),
        (K::Wide, T::I64(v)) => visitor.visit(|at| i128::from(v[at])),
        (K::Wide, T::I128(v)) => visitor.visit(|at| v[at]),
        (K::Wide, T::I256(v)) => visitor.visit(|at| v[at].as_i128()),
        (K::Widest, T::I64(v)) => visitor.visit(|at| i256::from_i128(v[at].into())),
        (K::Widest, T::I128(v)) => visitor.visit(|at| i256::from_i128(v[at])),
        (K::Widest, T::I256(v)) => visitor.visit(|at| v[at]),
        (K::DayTime, T::DayTime(v)) => visitor.visit(|at| v[at]),
        (K::MonthDayNano, T::MonthDayNano(v)) => visitor.visit(|at| v[at]),
        _ => return false,
    }
    true
}
