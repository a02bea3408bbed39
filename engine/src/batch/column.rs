//! One column of a chunk: a logical type and a physical form.
//!
//! Forms:
//! * **flat**: an Arrow array, one value a row;
//! * **constant**: one value for all rows;
//! * **indexed**: `indices[row]` is the position in a shared base array. A join that repeats,
//!   drops or reorders rows only gives its columns new indices. Dictionary data is the same form
//!   with a [`Domain`] on its base: whoever computes something per value may do it once per
//!   distinct value and remember it under the domain.
//!
//! Invariants:
//! 1. The array's type is one that [`super::is_physical`] allows for the logical type.
//! 2. Every index is below the base's length or [`NULL_INDEX`], the latter only when
//!    `Indices::has_nulls`.
//! 3. Nothing stands under the NULLs of nested values (see [`super::settled`]).
//! 4. Two columns with the same domain have the same base values at the same positions.
//! 5. A column that holds on to the values of another has its charge (see [`super::charge`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{Array, ArrayRef, new_null_array};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::DataType;

use super::charge::{Charge, shares};
use super::gather::gather;
use super::physical::{is_physical, physical_type};
use super::selection::Selection;
use super::settled::is_settled;
use crate::error::{Error, Result};

/// The index that stands for NULL.
pub const NULL_INDEX: u32 = u32::MAX;

/// Positions in a base array.
#[derive(Debug, Clone)]
pub struct Indices {
    rows: ScalarBuffer<u32>,
    has_nulls: bool,
}

impl Indices {
    /// Positions without [`NULL_INDEX`].
    pub fn new(rows: impl Into<ScalarBuffer<u32>>) -> Self {
        Indices { rows: rows.into(), has_nulls: false }
    }

    /// Positions of which some may be [`NULL_INDEX`].
    pub fn with_nulls(rows: impl Into<ScalarBuffer<u32>>) -> Self {
        let rows = rows.into();
        let has_nulls = rows.contains(&NULL_INDEX);
        Indices { rows, has_nulls }
    }

    /// The positions.
    pub fn as_slice(&self) -> &[u32] {
        &self.rows
    }

    /// The positions without copying them.
    pub fn buffer(&self) -> &ScalarBuffer<u32> {
        &self.rows
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Whether [`NULL_INDEX`] occurs.
    pub fn has_nulls(&self) -> bool {
        self.has_nulls
    }

    /// `self[outer[row]]` for each row of `outer`.
    pub fn compose(&self, outer: &Indices) -> Indices {
        let inner = self.as_slice();
        let pick = |&row: &u32| inner.get(row as usize).copied().unwrap_or(NULL_INDEX);
        let rows: Vec<u32> = outer.as_slice().iter().map(pick).collect();
        let has_nulls = outer.has_nulls || (self.has_nulls && rows.contains(&NULL_INDEX));
        Indices { rows: rows.into(), has_nulls }
    }
}

impl From<&Selection> for Indices {
    fn from(selection: &Selection) -> Self {
        Indices::new(selection.buffer().clone())
    }
}

/// A stable name for a base array whose values are (mostly) distinct and few: a dictionary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Domain(u64);

impl Domain {
    /// A domain that no other base array has.
    pub fn unique() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Domain(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// Indices over a shared base array.
#[derive(Debug, Clone)]
pub struct Indexed {
    /// Position of each row's value in `base`.
    pub indices: Arc<Indices>,
    /// The values.
    pub base: ArrayRef,
    /// Set when `base` is a dictionary.
    pub domain: Option<Domain>,
}

/// How a column holds its values.
#[derive(Debug, Clone)]
pub enum Form {
    /// One value a row.
    Flat(ArrayRef),
    /// An array of length one, for all rows.
    Constant(ArrayRef),
    /// Indices over a base array.
    Indexed(Indexed),
}

/// One column of a chunk; see the module documentation. Cloning shares all data.
#[derive(Debug, Clone)]
pub struct Column {
    logical: DataType,
    form: Form,
    charge: Option<Charge>,
}

/// Remembers compositions of index vectors by the identity of the inner one, so that the columns
/// that went through the same join share one.
pub(super) struct Composer<'a> {
    outer: &'a Arc<Indices>,
    done: Vec<(*const Indices, Arc<Indices>)>,
}

impl<'a> Composer<'a> {
    pub(super) fn new(outer: &'a Arc<Indices>) -> Self {
        Composer { outer, done: Vec::new() }
    }

    /// `inner` composed with the outer indices, computed at most once per `inner`.
    fn compose(&mut self, inner: &Arc<Indices>) -> Arc<Indices> {
        let key = Arc::as_ptr(inner);
        if let Some((_, composed)) = self.done.iter().find(|(k, _)| *k == key) {
            return composed.clone();
        }
        let composed = Arc::new(inner.compose(self.outer));
        self.done.push((key, composed.clone()));
        composed
    }

    pub(super) fn compositions(&self) -> usize {
        self.done.len()
    }
}

impl Column {
    /// A flat column; `array` must be a physical array for `logical` (see [`super::to_physical`]).
    pub fn flat(logical: DataType, array: ArrayRef) -> Self {
        debug_assert!(is_settled(&array), "values under the NULLs of {logical}");
        Self::of(logical, Form::Flat(array))
    }

    /// A column that has the value of the one-row `array` in every row.
    pub fn constant(logical: DataType, array: ArrayRef) -> Self {
        debug_assert_eq!(array.len(), 1, "a constant has one value");
        Self::of(logical, Form::Constant(array))
    }

    /// A column that is NULL in every row.
    pub fn null(logical: DataType) -> Self {
        let array = new_null_array(&physical_type(&logical), 1);
        Self::of(logical, Form::Constant(array))
    }

    /// A column of positions in `base`.
    pub fn indexed(
        logical: DataType,
        indices: Arc<Indices>,
        base: ArrayRef,
        domain: Option<Domain>,
    ) -> Self {
        Self::of(logical, Form::Indexed(Indexed { indices, base, domain }))
    }

    fn of(logical: DataType, form: Form) -> Self {
        let column = Column { logical, form, charge: None };
        debug_assert!(
            is_physical(column.values().data_type(), &column.logical),
            "{} cannot hold {}",
            column.values().data_type(),
            column.logical
        );
        column
    }

    /// The same column, whose values are charged: see [`super::charge`].
    pub fn charged(self, charge: Option<Charge>) -> Self {
        Column { charge, ..self }
    }

    /// What the values are charged to, if they are.
    pub fn charge(&self) -> Option<&Charge> {
        self.charge.as_ref()
    }

    /// The charge of values that were taken out of this column as `array`, where that holds on to
    /// them; `None` for a copy.
    pub fn charge_of(&self, array: &ArrayRef) -> Option<&Charge> {
        self.charge.as_ref().filter(|_| shares(array, self.values()))
    }

    /// A flat column of values that were taken out of this one.
    pub(super) fn taken(&self, array: ArrayRef) -> Column {
        let charge = self.charge_of(&array).cloned();
        Column::flat(self.logical.clone(), array).charged(charge)
    }

    /// The same values in another form.
    fn with_form(&self, form: Form) -> Column {
        Column { logical: self.logical.clone(), form, charge: self.charge.clone() }
    }

    /// The type SQL knows.
    pub fn logical(&self) -> &DataType {
        &self.logical
    }

    /// How the values are held.
    pub fn form(&self) -> &Form {
        &self.form
    }

    /// The array behind the column: all values (flat), the one value (constant), or the base.
    pub fn values(&self) -> &ArrayRef {
        match &self.form {
            Form::Flat(a) | Form::Constant(a) => a,
            Form::Indexed(i) => &i.base,
        }
    }

    /// Number of rows, unless the column is constant.
    pub fn rows(&self) -> Option<usize> {
        match &self.form {
            Form::Flat(a) => Some(a.len()),
            Form::Constant(_) => None,
            Form::Indexed(i) => Some(i.indices.len()),
        }
    }

    /// All `rows` values as one flat physical array; free for a flat column.
    pub fn to_array(&self, rows: usize) -> Result<ArrayRef> {
        match &self.form {
            Form::Flat(a) if a.len() == rows => Ok(a.clone()),
            Form::Constant(a) => gather(a, &Indices::new(vec![0u32; rows])),
            Form::Indexed(i) if i.indices.len() == rows => gather(&i.base, &i.indices),
            _ => Err(Error::internal(format!(
                "a column of {:?} rows in a chunk of {rows}",
                self.rows()
            ))),
        }
    }

    /// The values of the rows `indices` names as one flat physical array: one copy at most.
    pub fn gather(&self, indices: &Indices) -> Result<ArrayRef> {
        match &self.form {
            Form::Flat(a) => gather(a, indices),
            Form::Constant(a) if !indices.has_nulls() => {
                gather(a, &Indices::new(vec![0u32; indices.len()]))
            }
            Form::Constant(a) => {
                let zero_or_null = |&i: &u32| if i == NULL_INDEX { NULL_INDEX } else { 0 };
                let rows: Vec<u32> = indices.as_slice().iter().map(zero_or_null).collect();
                gather(a, &Indices::with_nulls(rows))
            }
            Form::Indexed(i) => gather(&i.base, &i.indices.compose(indices)),
        }
    }

    /// The values of the rows `indices` names, copied together into a flat column; a dictionary
    /// column copies its indices only and stays one, and so does one of lists, which may be long.
    pub fn copy_rows(&self, indices: &Indices) -> Result<Column> {
        Ok(match &self.form {
            Form::Constant(_) if !indices.has_nulls() => self.clone(),
            Form::Indexed(i) if i.domain.is_some() || i.base.data_type().is_nested() => {
                let indices = Arc::new(i.indices.compose(indices));
                let (base, domain) = (i.base.clone(), i.domain);
                self.with_form(Form::Indexed(Indexed { indices, base, domain }))
            }
            _ => self.taken(self.gather(indices)?),
        })
    }

    /// The value of one physical row, as a constant; copies nothing.
    pub fn constant_of(&self, row: usize) -> Column {
        let constant = match &self.form {
            Form::Flat(a) => a.slice(row, 1),
            Form::Constant(a) => a.clone(),
            Form::Indexed(i) => match i.indices.as_slice().get(row) {
                Some(&at) if at != NULL_INDEX => i.base.slice(at as usize, 1),
                _ => new_null_array(i.base.data_type(), 1),
            },
        };
        self.with_form(Form::Constant(constant))
    }

    /// The column's rows in the order `composer`'s outer indices name; copies no value.
    pub(super) fn reindex(&self, composer: &mut Composer<'_>) -> Column {
        let form = match &self.form {
            Form::Constant(a) if !composer.outer.has_nulls() => Form::Constant(a.clone()),
            Form::Constant(a) => {
                let zero_or_null = |&i: &u32| if i == NULL_INDEX { NULL_INDEX } else { 0 };
                let rows: Vec<u32> = composer.outer.as_slice().iter().map(zero_or_null).collect();
                let indices = Arc::new(Indices::with_nulls(rows));
                Form::Indexed(Indexed { indices, base: a.clone(), domain: None })
            }
            Form::Flat(a) => Form::Indexed(Indexed {
                indices: composer.outer.clone(),
                base: a.clone(),
                domain: None,
            }),
            Form::Indexed(i) => Form::Indexed(Indexed {
                indices: composer.compose(&i.indices),
                base: i.base.clone(),
                domain: i.domain,
            }),
        };
        self.with_form(form)
    }

    /// Rows `[offset, offset + len)`; copies no value.
    pub fn slice(&self, offset: usize, len: usize) -> Column {
        let form = match &self.form {
            Form::Flat(a) => Form::Flat(a.slice(offset, len)),
            Form::Constant(a) => Form::Constant(a.clone()),
            Form::Indexed(i) => {
                let indices = Indices {
                    rows: i.indices.rows.slice(offset, len),
                    has_nulls: i.indices.has_nulls,
                };
                Form::Indexed(Indexed {
                    indices: Arc::new(indices),
                    base: i.base.clone(),
                    domain: i.domain,
                })
            }
        };
        self.with_form(form)
    }
}
