//! Functions of lists that take a lambda: its body is an expression of the engine over the elements
//! of all lists of a chunk, with what it reads of the rows around repeated for each of them.
//!
//! Memory: a body is evaluated over a slice of elements at a time, so that what it reads beside its
//! results is bounded; constants are not repeated before, and what is read of a row with a long
//! list is a constant in slices of that row alone. What it makes takes room before more is made, of
//! one row as of several: where several rows make more than is good, the call ends with
//! `OutOfMemory` and is tried again with fewer, and a row that has no room is refused as soon as it
//! has none. Calls in a body take their room out of the same budget.

use std::collections::BTreeSet;
use std::iter::repeat_n;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, ListArray, UInt32Array, new_empty_array};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{cast, concat, filter, prep_null_mask_filter, take};
use arrow::datatypes::{DataType, Field};
use datafusion_common::{Column, DFSchema};
use datafusion_expr::Expr as Logical;
use datafusion_expr::expr::{HigherOrderFunction, LambdaVariable};
use gristmill_engine::batch::{
    Chunk, Column as Values, Form, Indices, Place as ChunkPlace, to_logical, to_physical,
};
use gristmill_engine::expr::{
    Argument, Evaluator, Expr, FunctionRef, Growth, ScalarFunction, bytes_taken, content_bytes,
};
use gristmill_engine::{Error, Result};

use super::expr::ExprLowering;
use crate::functions::{OfElements, lambda_arguments, with_arguments};

/// The most elements that a body is evaluated over at once.
const SLICE_ELEMENTS: usize = 4096;
/// The most bytes of lists that a body reads besides, written for each element of several rows.
const SLICE_BYTES: usize = 256 << 10;
/// Bytes that an element of a slice takes: itself, its row and its place, and about as much that
/// the body makes and reads.
const SLICE_ELEMENT_BYTES: usize = 64;
/// Bytes of a text in its array.
const VIEW_BYTES: usize = 16;

/// Begins the names of what a lambda is given, among the columns that its body reads.
const GIVEN: &str = "!lambda_";

impl ExprLowering<'_> {
    /// The call of a function that takes a lambda.
    pub(super) fn lambda(&self, call: &HigherOrderFunction) -> Result<Expr> {
        let (Some(which), [list, Logical::Lambda(lambda)]) =
            (OfElements::of(&call.func), &call.args[..])
        else {
            let name = call.name();
            return Err(Error::input(format!("{name} takes a list and a lambda")));
        };
        let list = self.lower(list)?;
        let given = lambda_arguments(&list.data_type());
        let given = given.map_err(|e| Error::input(e.strip_backtrace()))?;
        // None that a lambda around this one has given.
        let is_free = |prefix: &String| !self.columns().any(|name| name.starts_with(prefix));
        let prefix = (0..).map(|number| format!("{GIVEN}{number}_")).find(is_free);
        let prefix = prefix.unwrap_or_default();
        let names: Vec<String> = (0..given.len()).map(|at| format!("{prefix}{at}")).collect();
        let column = |at: usize, _: &LambdaVariable| {
            let name = names.get(at).map_or(GIVEN, String::as_str);
            Logical::Column(Column::new_unqualified(name))
        };
        let body = with_arguments(lambda, &column).map_err(|e| Error::internal(e.to_string()))?;
        // What the body reads, in any order that is always the same.
        let read: BTreeSet<Column> = body.column_refs().into_iter().cloned().collect();
        let captured = read.iter().filter(|column| !names.contains(&column.name));
        let captured: Vec<Logical> = captured.cloned().map(Logical::Column).collect();
        let mut fields = Vec::with_capacity(captured.len() + given.len());
        let mut args = vec![list];
        for column in &captured {
            let lowered = self.lower(column)?;
            let Logical::Column(Column { relation, name, .. }) = column else { continue };
            let field = Field::new(name, lowered.data_type(), true);
            fields.push((relation.clone(), Arc::new(field)));
            args.push(lowered);
        }
        let given = given.iter().zip(&names);
        fields.extend(given.map(|(field, name)| {
            (None, Arc::new(Field::new(name, field.data_type().clone(), true)))
        }));
        let schema = DFSchema::new_with_metadata(fields, Default::default());
        let schema = schema.map_err(|e| Error::internal(e.to_string()))?;
        let body = self.over(&schema).lower(&body)?;
        let data_type = match which {
            OfElements::Transform => DataType::new_list(body.data_type(), true),
            OfElements::Filter => args[0].data_type(),
        };
        let function = Arc::new(ListLambda { which, name: call.name().to_string(), body });
        Ok(Expr::Call { function: FunctionRef::closure(function), args, data_type })
    }
}

/// A lambda over lists: the first argument is the list, the others are what its body reads besides.
struct ListLambda {
    which: OfElements,
    name: String,
    body: Expr,
}

impl ScalarFunction for ListLambda {
    fn name(&self) -> &str {
        &self.name
    }

    fn is_volatile(&self) -> bool {
        self.body.is_volatile()
    }

    fn writes_constants(&self) -> bool {
        false
    }

    /// The lists that are made, and what stands beside a slice of them.
    fn result_bytes(&self, args: &[Argument], rows: usize) -> usize {
        let Ok(lists) = Lists::of(args, rows) else { return bytes_taken(args, rows) };
        let results = match self.which {
            OfElements::Transform => {
                let width = self.body.data_type().primitive_width().unwrap_or(VIEW_BYTES);
                lists.elements().saturating_mul(width)
            }
            OfElements::Filter => args.first().map_or(0, |list| list.content_bytes(rows)),
        };
        let slice = lists.elements().min(SLICE_ELEMENTS) * SLICE_ELEMENT_BYTES;
        results.saturating_add(slice + size_of::<i32>() * rows)
    }

    fn invoke(&self, _: &[Argument], _: usize, _: &DataType) -> Result<ArrayRef> {
        Err(Error::internal("a lambda is evaluated where there is room for what it makes"))
    }

    fn invoke_growing(
        &self,
        args: &[Argument],
        rows: usize,
        returns: &DataType,
        growth: &Growth<'_>,
    ) -> Result<ArrayRef> {
        let DataType::List(field) = returns else {
            return Err(Error::internal("a lambda over something that is no list"));
        };
        let lists = Lists::of(args, rows)?;
        let captured = args.get(1..).unwrap_or_default();
        let mut body = Body {
            data_type: self.body.data_type(),
            evaluator: Evaluator::new(std::slice::from_ref(&self.body), growth.memory()),
            growth,
        };
        let mut lengths = vec![0; rows];
        let mut made: Vec<ArrayRef> = Vec::new();
        let (mut bytes, mut count) = (0usize, 0);
        let mut next = Place { row: 0, element: 0 };
        while let Some(mut slice) = lists.slice(&mut next, captured) {
            let (values, results) = body.made(&mut slice, &lists, captured, bytes)?;
            let values = match self.which {
                OfElements::Transform => {
                    slice.rows.iter().for_each(|row| lengths[*row as usize] += 1);
                    results
                }
                OfElements::Filter => slice.filtered(&values, &results, &mut lengths)?,
            };
            let values = cast(&values, field.data_type())?;
            bytes = bytes.saturating_add(content_bytes(&values));
            growth.reach(bytes)?;
            count += values.len();
            if count > i32::MAX as usize {
                return Err(Error::OutOfMemory {
                    who: format!("the function {}", self.name),
                    asked_bytes: bytes,
                    detail: format!("lists of {rows} rows have at most {} elements", i32::MAX),
                });
            }
            made.push(values);
        }
        let values = match &made[..] {
            [] => new_empty_array(field.data_type()),
            [one] => one.clone(),
            several => concat(&several.iter().map(|a| a.as_ref()).collect::<Vec<_>>())?,
        };
        let offsets = OffsetBuffer::from_lengths(lengths);
        Ok(Arc::new(ListArray::try_new(field.clone(), offsets, values, lists.nulls(rows))?))
    }
}

/// A body that is evaluated slice by slice.
struct Body<'a> {
    data_type: DataType,
    evaluator: Evaluator,
    growth: &'a Growth<'a>,
}

impl Body<'_> {
    /// The elements of a slice, and what the body makes of them, beside `before` bytes that are
    /// there already.
    fn made(
        &mut self,
        slice: &mut Slice,
        lists: &Lists,
        captured: &[Argument],
        before: usize,
    ) -> Result<(ArrayRef, ArrayRef)> {
        let column = |array: ArrayRef| -> Result<Values> {
            Ok(Values::flat(array.data_type().clone(), to_physical(&array)?))
        };
        let at = UInt32Array::from(std::mem::take(&mut slice.at));
        let values = take(lists.lists.values(), &at, None)?;
        let rows = UInt32Array::from(slice.rows.clone());
        let constant = |one: &ArrayRef| -> Result<Values> {
            Ok(Values::constant(one.data_type().clone(), to_physical(one)?))
        };
        let mut columns = Vec::with_capacity(captured.len() + 2);
        for argument in captured {
            columns.push(match (argument, slice.only_row()) {
                (Argument::Array(array), Some(row)) => constant(&array.slice(row, 1))?,
                (Argument::Array(array), None) => column(take(array, &rows, None)?)?,
                (Argument::Constant(one), _) => constant(one)?,
            });
        }
        columns.push(column(values.clone())?);
        let places = std::mem::take(&mut slice.places);
        columns.push(column(Arc::new(Int64Array::from(places)))?);
        let count = slice.rows.len();
        let chunk = Chunk::new(columns, count, ChunkPlace::default());
        let mut made = Vec::new();
        let (mut from, mut bytes) = (0, before);
        while from < count {
            let piece = self.evaluator.evaluate(&chunk, from)?;
            let rows = piece.until - from;
            for column in &piece.value {
                if let Form::Constant(one) = column.form() {
                    // It is written for each element now.
                    let written = content_bytes(one).saturating_mul(rows);
                    self.growth.reach(bytes.saturating_add(written))?;
                }
                let array = match &piece.rows {
                    Some(rows) => column.gather(&Indices::from(rows))?,
                    None => column.to_array(count)?,
                };
                bytes = bytes.saturating_add(content_bytes(&array));
                self.growth.reach(bytes)?;
                made.push(to_logical(&array, &self.data_type)?);
            }
            from = piece.until;
        }
        let made = match &made[..] {
            [one] => one.clone(),
            several => concat(&several.iter().map(|a| a.as_ref()).collect::<Vec<_>>())?,
        };
        Ok((values, made))
    }
}

/// The lists of rows.
struct Lists {
    lists: ListArray,
    /// One list is that of all rows.
    is_one: bool,
    rows: usize,
}

/// The next element, of the list of a row.
struct Place {
    row: usize,
    element: usize,
}

/// Some elements, in the order of the rows.
#[derive(Default)]
struct Slice {
    /// Where each is among the elements of all lists.
    at: Vec<u32>,
    /// The row of each.
    rows: Vec<u32>,
    /// Where each is in its list, from 1 on.
    places: Vec<i64>,
}

impl Lists {
    fn of(args: &[Argument], rows: usize) -> Result<Lists> {
        let (lists, is_one) = match args.first() {
            Some(Argument::Array(lists)) => (lists, false),
            Some(Argument::Constant(list)) => (list, true),
            None => return Err(Error::internal("a lambda without a list")),
        };
        let lists = lists.as_list_opt::<i32>();
        let lists = lists.ok_or_else(|| Error::internal("a lambda over what is no list"))?;
        Ok(Lists { lists: lists.clone(), is_one, rows })
    }

    /// Where the elements of a row are; a list that is NULL has none.
    fn ends(&self, row: usize) -> Range<usize> {
        let row = if self.is_one { 0 } else { row };
        let offsets = self.lists.value_offsets();
        match self.lists.is_valid(row) {
            true => offsets[row] as usize..offsets[row + 1] as usize,
            false => 0..0,
        }
    }

    /// How many elements the lists of all rows have.
    fn elements(&self) -> usize {
        match self.is_one {
            true => self.rows.saturating_mul(self.ends(0).len()),
            false => (0..self.rows).map(|row| self.ends(row).len()).sum(),
        }
    }

    fn nulls(&self, rows: usize) -> Option<NullBuffer> {
        match self.is_one {
            true => self.lists.is_null(0).then(|| NullBuffer::new_null(rows)),
            false => self.lists.nulls().cloned(),
        }
    }

    /// The elements from a place on that are worked on at once; `None` behind the last. The place
    /// becomes that of the next one. Lists that are captured are written once for each element of
    /// several rows, so that there are fewer rows where those are long.
    fn slice(&self, next: &mut Place, captured: &[Argument]) -> Option<Slice> {
        let is_long = |arg: &&Argument| match arg {
            Argument::Array(array) => array.data_type().is_nested(),
            Argument::Constant(_) => false,
        };
        let has_long = captured.iter().any(|arg| is_long(&arg));
        let mut slice = Slice::default();
        let mut bytes = 0usize;
        while next.row < self.rows {
            let ends = self.ends(next.row);
            let one_row = |arg: &Argument| match arg {
                Argument::Array(array) => content_bytes(&array.slice(next.row, 1)),
                Argument::Constant(_) => 0,
            };
            let row_bytes: usize = match has_long && !ends.is_empty() {
                true => captured.iter().filter(is_long).map(one_row).sum(),
                false => 0,
            };
            while next.element < ends.len() {
                let room = SLICE_ELEMENTS - slice.rows.len();
                let bytes_left = SLICE_BYTES.saturating_sub(bytes);
                let left = ends.len() - next.element;
                let is_within = row_bytes.saturating_mul(left) <= bytes_left;
                // A row with more is worked on alone, where nothing is written.
                if room == 0 || !(is_within || slice.rows.is_empty()) {
                    return Some(slice);
                }
                let count = room.min(left);
                let first = ends.start + next.element;
                slice.at.extend(first as u32..(first + count) as u32);
                slice.rows.extend(repeat_n(next.row as u32, count));
                slice.places.extend(next.element as i64 + 1..=(next.element + count) as i64);
                next.element += count;
                bytes = bytes.saturating_add(row_bytes.saturating_mul(count));
                if !is_within {
                    return Some(slice);
                }
            }
            *next = Place { row: next.row + 1, element: 0 };
        }
        (!slice.rows.is_empty()).then_some(slice)
    }
}

impl Slice {
    /// The row, when all elements are of one.
    fn only_row(&self) -> Option<usize> {
        match (self.rows.first(), self.rows.last()) {
            (Some(first), Some(last)) if first == last => Some(*first as usize),
            _ => None,
        }
    }

    /// The elements for which a condition is true; how many of each row is added.
    fn filtered(
        &self,
        values: &ArrayRef,
        condition: &ArrayRef,
        lengths: &mut [usize],
    ) -> Result<ArrayRef> {
        let condition = cast(condition, &DataType::Boolean)?;
        let condition = condition.as_boolean();
        let kept = match condition.null_count() {
            0 => condition.clone(),
            _ => prep_null_mask_filter(condition),
        };
        for at in kept.values().set_indices() {
            lengths[self.rows[at] as usize] += 1;
        }
        Ok(filter(values, &kept)?)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use arrow::array::StringViewArray;
    use arrow::datatypes::Int64Type;
    use gristmill_engine::memory::{Governor, GovernorOptions};

    use super::*;

    fn list(elements: i64) -> ArrayRef {
        let list = Some((0..elements).map(Some));
        Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>([list]))
    }

    /// The sizes of all slices.
    fn slices(args: &[Argument], rows: usize) -> Vec<usize> {
        let lists = Lists::of(args, rows).expect("lists");
        let mut next = Place { row: 0, element: 0 };
        let slices = std::iter::from_fn(|| lists.slice(&mut next, &args[1..]));
        slices.map(|slice| slice.rows.len()).collect()
    }

    #[test]
    fn bodies_are_evaluated_over_slices_that_are_bounded() {
        let constant = [Argument::Constant(list(3000))];
        assert_eq!(slices(&constant, 3), [SLICE_ELEMENTS, SLICE_ELEMENTS, 808]);
        // The long list that is read besides takes 80 kB, and is not written where it is alone.
        let two = |first: i64, second: i64| {
            let rows = [first, second].map(|elements| Some((0..elements).map(Some)));
            Argument::Array(Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(rows)))
        };
        let long = |first, second| slices(&[two(first, second), two(10_000, 10)], 2);
        assert_eq!(long(6, 5), [6, 5]);
        assert_eq!(long(3, 2), [5]);
        assert_eq!(long(5000, 2), [SLICE_ELEMENTS, 904, 2]);
        assert_eq!(slices(&[two(3, 6), two(10, 10_000)], 2), [3, 6]);
        let once = [Argument::Array(list(6)), Argument::Constant(list(10_000))];
        assert_eq!(slices(&once, 1), [6]);
        assert!(slices(&[Argument::Array(list(0))], 1).is_empty());
        let none = ListArray::new_null(Arc::new(Field::new_list_field(DataType::Int64, true)), 1);
        assert!(slices(&[Argument::Constant(Arc::new(none))], 5).is_empty());
    }

    #[test]
    fn room_is_taken_for_a_constant_list_of_each_row() {
        let body = Expr::Column { index: 0, data_type: DataType::Int64 };
        let function =
            ListLambda { which: OfElements::Transform, name: "list_transform".to_string(), body };
        let bytes = function.result_bytes(&[Argument::Constant(list(1000))], 500);
        assert!(bytes >= 8 * 1000 * 500, "{bytes}");
    }

    /// Texts of 10 kB; how many were made.
    #[derive(Default)]
    struct Long {
        made: AtomicUsize,
    }

    const LONG: usize = 10_000;

    impl ScalarFunction for Long {
        fn name(&self) -> &str {
            "long"
        }

        fn result_bytes(&self, _: &[Argument], rows: usize) -> usize {
            rows * (LONG + VIEW_BYTES)
        }

        fn invoke(&self, _: &[Argument], rows: usize, _: &DataType) -> Result<ArrayRef> {
            self.made.fetch_add(rows, Ordering::Relaxed);
            let text = "x".repeat(LONG);
            Ok(Arc::new(StringViewArray::from_iter_values(repeat_n(&text, rows))))
        }
    }

    #[test]
    fn a_row_that_has_no_room_is_refused_before_it_is_made() {
        const LIMIT: usize = 8 << 20;
        let texts = |elements: i64, memory: &Governor| {
            let long = Arc::new(Long::default());
            let data_type = DataType::Utf8View;
            let args = vec![Expr::column(0, DataType::Int64)];
            let function = FunctionRef::closure(long.clone());
            let body = Expr::Call { function, args, data_type: data_type.clone() };
            let name = "list_transform".to_string();
            let lambda = ListLambda { which: OfElements::Transform, name, body };
            let lists = list(elements);
            let call = Expr::Call {
                function: FunctionRef::closure(Arc::new(lambda)),
                args: vec![Expr::column(0, lists.data_type().clone())],
                data_type: DataType::new_list(data_type, true),
            };
            let column = Values::flat(lists.data_type().clone(), lists);
            let chunk = Chunk::new(vec![column], 1, ChunkPlace::default());
            let made = Evaluator::new(&[call], memory).evaluate(&chunk, 0);
            (made, long.made.load(Ordering::Relaxed))
        };
        let options = GovernorOptions { limit_bytes: Some(LIMIT), ..Default::default() };
        let memory = Governor::new(options);
        // 100 MB of one row.
        let (refused, made) = texts(10_000, &memory);
        let error = refused.expect_err("has no room");
        assert!(matches!(error, Error::OutOfMemory { .. }), "{error}");
        assert!(error.to_string().contains("the function list_transform"), "{error}");
        // Some were made twice, with fewer after them.
        assert!(made * LONG < 2 * LIMIT, "{made}");
        assert_eq!(memory.reserved(), 0);
        assert!(texts(100, &memory).0.is_ok());
    }
}
