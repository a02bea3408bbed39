//! Gives every row once for each element of its lists.
//!
//! No value is copied: the other columns get indices, and so do the elements, which stand in the
//! lists' own arrays. A row with more elements than a chunk has rows comes out in several chunks.
//!
//! Memory: the indices of one chunk, and a place for each list of the chunk at hand.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field as ArrowField, FieldRef, Schema, SchemaRef};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::batch::{CHUNK_ROWS, Chunk, Column, Indices, NULL_INDEX, to_physical};
use crate::error::{Error, Result};
use crate::pipeline::{Context, Pushed, Step, Transform, TransformWorker};
use crate::plan::{Build, Field, Intake, Spec, Stream, take_inputs, to_fields};

/// Every row as often as the longest of its lists has elements, with an element of each instead of
/// the list, and NULL where a list has no more. Rows whose lists are all NULL or empty do not come
/// out, or once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Unnest {
    /// Positions of the lists, ascending.
    pub columns: Vec<usize>,
    /// Whether rows without elements come out, with NULLs for them.
    #[serde(default)]
    pub outer: bool,
}

impl Spec for Unnest {
    fn name(&self) -> &'static str {
        "unnest"
    }

    fn schema(&self, inputs: &[SchemaRef]) -> Result<SchemaRef> {
        let [input] = &take_inputs(inputs.to_vec(), "unnest")?;
        if self.columns.is_empty() || !self.columns.is_sorted_by(|a, b| a < b) {
            return Err(Error::input(format!("unnest of columns {:?}", self.columns)));
        }
        let mut fields: Vec<FieldRef> = input.fields().iter().cloned().collect();
        for &column in &self.columns {
            let field = fields.get_mut(column);
            let field =
                field.ok_or_else(|| Error::input(format!("there is no column #{column}")))?;
            let element = element_of(field.data_type()).ok_or_else(|| {
                Error::input(format!("unnest takes lists, not {}", field.data_type()))
            })?;
            *field = Arc::new(ArrowField::new(field.name(), element.data_type().clone(), true));
        }
        Ok(Arc::new(Schema::new(fields)))
    }

    fn explain(&self) -> Vec<Field> {
        let columns: Vec<String> = self.columns.iter().map(|c| format!("#{c}")).collect();
        let mut fields = vec![("lists", columns.join(", "))];
        if self.outer {
            fields.push(("keeps", "rows without elements".to_string()));
        }
        fields
    }

    fn to_json(&self) -> Result<Value> {
        to_fields(self)
    }

    fn intake(&self) -> Intake {
        Intake::Passes
    }

    fn build(&self, inputs: Vec<Stream>, _: &mut Build) -> Result<Stream> {
        let [input] = take_inputs(inputs, "unnest")?;
        let schema = self.schema(std::slice::from_ref(&input.schema))?;
        Ok(input.then(schema, Arc::new(UnnestTransform { spec: self.clone() })))
    }
}

struct UnnestTransform {
    spec: Unnest,
}

impl Transform for UnnestTransform {
    fn name(&self) -> &str {
        "unnest"
    }

    fn worker(&self, _: &Context) -> Result<Box<dyn TransformWorker>> {
        Ok(Box::new(UnnestWorker { spec: self.spec.clone(), input: None }))
    }

    fn reset(&self) -> Result<()> {
        Ok(())
    }
}

struct UnnestWorker {
    spec: Unnest,
    input: Option<Rows>,
}

/// The chunk at hand, and what of it is done.
struct Rows {
    /// The columns that are no lists.
    others: Chunk,
    lists: Vec<Lists>,
    /// By live row, where it is, and the length of its longest list.
    positions: Vec<u32>,
    lengths: Vec<u32>,
    /// The live row that comes next, and the first element of it.
    row: usize,
    element: u32,
}

/// The lists of one column.
struct Lists {
    column: usize,
    element: DataType,
    elements: ArrayRef,
    /// By live row, where its elements begin and how many they are.
    spans: Vec<(u32, u32)>,
}

impl TransformWorker for UnnestWorker {
    fn push(&mut self, input: Chunk, cx: &Context) -> Result<Pushed> {
        let unnested = &self.spec.columns;
        let lists = unnested.iter().map(|&column| Lists::of(&input, column));
        let lists: Vec<Lists> = lists.collect::<Result<_>>()?;
        let positions = input.live_positions().to_vec();
        let least = u32::from(self.spec.outer);
        let longest = |row: usize| lists.iter().map(|l| l.spans[row].1).fold(least, u32::max);
        let lengths = (0..positions.len()).map(longest).collect();
        let others: Vec<usize> =
            (0..input.columns().len()).filter(|column| !unnested.contains(column)).collect();
        let others = input.project(&others)?;
        let mut rows = Rows { others, lists, positions, lengths, row: 0, element: 0 };
        let Some(chunk) = rows.next(cx)? else { return Ok(Pushed::NeedInput) };
        if rows.is_done() {
            return Ok(Pushed::Chunk(chunk));
        }
        self.input = Some(rows);
        Ok(Pushed::HaveMore(chunk))
    }

    fn resume(&mut self, cx: &Context) -> Result<Step> {
        let Some(rows) = &mut self.input else { return Ok(Step::Exhausted) };
        let chunk = rows.next(cx)?;
        if chunk.is_none() {
            self.input = None;
        }
        Ok(chunk.map_or(Step::Exhausted, Step::Chunk))
    }
}

impl Rows {
    fn is_done(&self) -> bool {
        self.row == self.lengths.len()
    }

    fn next(&mut self, cx: &Context) -> Result<Option<Chunk>> {
        cx.check()?;
        let mut rows: Vec<u32> = Vec::new();
        let mut elements: Vec<Vec<u32>> = vec![Vec::new(); self.lists.len()];
        while rows.len() < CHUNK_ROWS && !self.is_done() {
            let (first, length) = (self.element, self.lengths[self.row]);
            let room = (CHUNK_ROWS - rows.len()) as u32;
            let end = length.min(first.saturating_add(room));
            rows.resize(rows.len() + (end - first) as usize, self.positions[self.row]);
            for (lists, elements) in self.lists.iter().zip(&mut elements) {
                let (start, own) = lists.spans[self.row];
                let at = |element| if element < own { start + element } else { NULL_INDEX };
                elements.extend((first..end).map(at));
            }
            self.element = end;
            if end == length {
                (self.row, self.element) = (self.row + 1, 0);
            }
        }
        if rows.is_empty() {
            return Ok(None);
        }
        let count = rows.len();
        let others = self.others.reindex(&Arc::new(Indices::new(rows)));
        let mut columns = others.columns().to_vec();
        for (lists, elements) in self.lists.iter().zip(elements) {
            columns.insert(lists.column, lists.column_of(elements));
        }
        Ok(Some(Chunk::new(columns, count, others.place())))
    }
}

impl Lists {
    fn of(input: &Chunk, column: usize) -> Result<Self> {
        let logical = input.column(column)?.logical().clone();
        let array = input.live_array(column)?;
        let element = element_of(&logical);
        let element = element.ok_or_else(|| Error::internal(format!("{logical} is no list")))?;
        let (elements, spans) = spans(&array)?;
        let elements = to_physical(&elements)?;
        Ok(Lists { column, element: element.data_type().clone(), elements, spans })
    }

    /// The elements at these places.
    fn column_of(&self, places: Vec<u32>) -> Column {
        let indices = Indices::with_nulls(places);
        if indices.as_slice().iter().all(|&place| place == NULL_INDEX) {
            return Column::null(self.element.clone());
        }
        Column::indexed(self.element.clone(), Arc::new(indices), self.elements.clone(), None)
    }
}

/// What the elements of lists are.
fn element_of(data_type: &DataType) -> Option<&FieldRef> {
    match data_type {
        DataType::List(element)
        | DataType::LargeList(element)
        | DataType::FixedSizeList(element, _) => Some(element),
        _ => None,
    }
}

/// The elements of all lists, and by row where they begin and how many they are. The lists may be
/// a small part of an array: only their own elements are given.
fn spans(array: &ArrayRef) -> Result<(ArrayRef, Vec<(u32, u32)>)> {
    let too_long = || Error::input("lists of more than 4 billion elements in one chunk");
    let (values, bounds): (&ArrayRef, Vec<(usize, usize)>) = match array.data_type() {
        DataType::List(_) => {
            let lists = array.as_list::<i32>();
            let ends = lists.value_offsets().windows(2);
            (lists.values(), ends.map(|ends| (ends[0] as usize, ends[1] as usize)).collect())
        }
        DataType::LargeList(_) => {
            let lists = array.as_list::<i64>();
            let ends = lists.value_offsets().windows(2);
            (lists.values(), ends.map(|ends| (ends[0] as usize, ends[1] as usize)).collect())
        }
        DataType::FixedSizeList(..) => {
            let lists = array.as_fixed_size_list();
            let width = lists.value_length() as usize;
            let row = |row: usize| (row * width, (row + 1) * width);
            (lists.values(), (0..lists.len()).map(row).collect())
        }
        other => return Err(Error::internal(format!("{other} is no list"))),
    };
    let first = bounds.iter().map(|&(start, _)| start).min().unwrap_or(0);
    let last = bounds.iter().map(|&(_, end)| end).max().unwrap_or(first);
    if last - first >= NULL_INDEX as usize {
        return Err(too_long());
    }
    let span = |(row, (start, end)): (usize, (usize, usize))| {
        let length = if array.is_null(row) { 0 } else { end - start };
        ((start - first) as u32, length as u32)
    };
    let spans = bounds.into_iter().enumerate().map(span).collect();
    Ok((values.slice(first, last - first), spans))
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use arrow::array::{Int64Array, ListArray};
    use arrow::datatypes::Int64Type;

    use super::*;
    use crate::batch::{Place, Selection, hash_word};
    use crate::memory::Governor;
    use crate::pipeline::{Order, Query};

    type List = Option<Vec<Option<i64>>>;

    fn lists(rows: &[List]) -> ArrayRef {
        Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(rows.to_vec()))
    }

    fn values(chunk: &Chunk, column: usize) -> Vec<Option<i64>> {
        let array = chunk.live_array(column).expect("a column");
        array.as_primitive::<Int64Type>().iter().collect()
    }

    #[test]
    fn rows_come_once_for_each_element_and_shorter_lists_end_in_null() {
        let mut drawn = 0;
        let mut below = |most: u64| {
            drawn += 1;
            hash_word(drawn) % most
        };
        for round in 0..40 {
            let rows = below(40) as usize;
            let mut list = |_| -> List {
                let most = if below(50) == 0 { 10_000 } else { 5 };
                let length = below(most);
                let element = |_| match below(5) {
                    0 => None,
                    _ => Some(below(9) as i64),
                };
                let list: Vec<Option<i64>> = (0..length).map(element).collect();
                (below(5) > 0).then_some(list)
            };
            let a: Vec<List> = (0..rows).map(&mut list).collect();
            let b: Vec<List> = (0..rows).map(&mut list).collect();
            let kept: Vec<u32> = (0..rows as u32).filter(|row| row % 3 != round % 3).collect();
            let column = |array: ArrayRef| Column::flat(array.data_type().clone(), array);
            let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows as i64));
            let columns = vec![column(lists(&a)), column(numbers), column(lists(&b))];
            let chunk = Chunk::new(columns, rows, Place::default());
            let chunk = chunk.select(Selection::new(kept.clone()));

            let outer = round % 2 == 1;
            let mut expected: VecDeque<[Option<i64>; 3]> = VecDeque::new();
            for row in kept.iter().map(|&row| row as usize) {
                let (a, b) = (a[row].as_deref(), b[row].as_deref());
                let (a, b) = (a.unwrap_or(&[]), b.unwrap_or(&[]));
                for at in 0..a.len().max(b.len()).max(usize::from(outer)) {
                    let of = |list: &[Option<i64>]| list.get(at).copied().flatten();
                    expected.push_back([of(a), Some(row as i64), of(b)]);
                }
            }
            let query = Query::alone(Governor::unlimited(), 1);
            let cx = Context { query: Arc::new(query), order: Order::new(), worker: 0 };
            let spec = Unnest { columns: vec![0, 2], outer };
            let mut worker = UnnestWorker { spec, input: None };
            let mut check = |chunk: Chunk| {
                assert!(chunk.rows() <= CHUNK_ROWS);
                let [a, number, b] = [0, 1, 2].map(|column| values(&chunk, column));
                for ((a, number), b) in a.into_iter().zip(number).zip(b) {
                    assert_eq!(Some([a, number, b]), expected.pop_front());
                }
            };
            match worker.push(chunk, &cx).expect("unnests") {
                Pushed::Chunk(chunk) => check(chunk),
                Pushed::HaveMore(chunk) => {
                    check(chunk);
                    while let Step::Chunk(chunk) = worker.resume(&cx).expect("unnests") {
                        check(chunk);
                    }
                }
                _ => (),
            }
            assert!(expected.is_empty());
        }
    }

    #[test]
    fn what_is_no_list_is_refused() {
        let schema = |data_type| Arc::new(Schema::new(vec![ArrowField::new("a", data_type, true)]));
        let unnest = Unnest { columns: vec![0], outer: false };
        let error = unnest.schema(&[schema(DataType::Int64)]).expect_err("no list");
        assert!(error.to_string().contains("unnest takes lists, not Int64"), "{error}");
        let list = DataType::new_list(DataType::Utf8, true);
        let given = unnest.schema(&[schema(list)]).expect("a list");
        assert_eq!(*given.field(0).data_type(), DataType::Utf8);
        assert!(Unnest { columns: vec![1], outer: false }.schema(&[given]).is_err());
    }
}
