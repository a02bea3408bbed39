//! The chunk and its invariants.
//!
//! 1. Every column that is not constant has exactly `rows` rows.
//! 2. The selection, if any, names rows below `rows`, strictly increasing.
//! 3. Values in rows outside the selection are unspecified but valid: reading them is safe, an
//!    error they would cause is not to be reported.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;

use super::column::{Column, Composer, Form, Indices, NULL_INDEX};
use super::physical::{to_logical, to_physical};
use super::selection::Selection;
use crate::error::{Error, Result};

/// Where a chunk's rows stand in the order of the pipeline's input: the morsel its source took,
/// and the number of the chunk among those made from that morsel. The driver numbers the chunks
/// that each stage is given; what place a transform gives its output does not matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Place {
    /// Number of the morsel, increasing in file order.
    pub morsel: u64,
    /// Number of the chunk within the morsel.
    pub sequence: u32,
}

/// A few thousand rows of columns; see the module documentation. Cloning shares all data.
#[derive(Debug, Clone)]
pub struct Chunk {
    columns: Vec<Column>,
    rows: usize,
    selection: Option<Selection>,
    place: Place,
}

impl Chunk {
    /// A chunk whose rows are all live.
    pub fn new(columns: Vec<Column>, rows: usize, place: Place) -> Self {
        debug_assert!(columns.iter().all(|c| c.rows().is_none_or(|r| r == rows)), "invariant 1");
        Chunk { columns, rows, selection: None, place }
    }

    /// A chunk of a batch's columns, converted to their physical types.
    pub fn from_batch(batch: &RecordBatch, place: Place) -> Result<Self> {
        let columns = batch
            .columns()
            .iter()
            .map(|array| Ok(Column::flat(array.data_type().clone(), to_physical(array)?)));
        Ok(Chunk::new(columns.collect::<Result<_>>()?, batch.num_rows(), place))
    }

    /// The columns.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Column number `index`.
    ///
    /// # Errors
    /// `Internal` when there is none: plans are checked before they run.
    pub fn column(&self, index: usize) -> Result<&Column> {
        self.columns.get(index).ok_or_else(|| {
            Error::internal(format!("column {index} of a chunk of {}", self.columns.len()))
        })
    }

    /// Physical rows, live or not.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Live rows.
    pub fn live_rows(&self) -> usize {
        self.selection.as_ref().map_or(self.rows, Selection::len)
    }

    /// Whether no row is live.
    pub fn is_empty(&self) -> bool {
        self.live_rows() == 0
    }

    /// The live rows; `None` when all are.
    pub fn selection(&self) -> Option<&Selection> {
        self.selection.as_ref()
    }

    /// Position in the order of the input.
    pub fn place(&self) -> Place {
        self.place
    }

    /// The same rows at another place.
    pub fn with_place(mut self, place: Place) -> Self {
        self.place = place;
        self
    }

    /// The same rows with other columns, which must be aligned with this chunk's physical rows.
    pub fn with_columns(self, columns: Vec<Column>) -> Self {
        debug_assert!(columns.iter().all(|c| c.rows().is_none_or(|r| r == self.rows)));
        Chunk { columns, ..self }
    }

    /// The same rows with only these of the columns, in this order.
    ///
    /// # Errors
    /// `Internal` when there is no such column.
    pub fn project(&self, columns: &[usize]) -> Result<Chunk> {
        let columns = columns.iter().map(|&c| self.column(c).cloned());
        let columns: Vec<Column> = columns.collect::<Result<_>>()?;
        Ok(self.clone().with_columns(columns))
    }

    /// The same rows with `more` columns behind its own.
    pub fn widen(self, more: impl IntoIterator<Item = Column>) -> Chunk {
        let mut columns = self.columns.clone();
        columns.extend(more);
        self.with_columns(columns)
    }

    /// Keeps only the rows of `selection`: physical positions, all of them live now. Copies
    /// nothing.
    pub fn select(mut self, selection: Selection) -> Self {
        debug_assert!(selection.as_slice().last().is_none_or(|&r| (r as usize) < self.rows));
        self.selection = (selection.len() < self.rows).then_some(selection);
        self
    }

    /// The rows that `indices` names by **physical** position, in that order, all live. Copies no
    /// value: every column gets the new indices, and columns that shared indices share their
    /// composition.
    pub fn reindex(&self, indices: &Arc<Indices>) -> Chunk {
        let mut composer = Composer::new(indices);
        let columns = self.columns.iter().map(|c| c.reindex(&mut composer)).collect();
        crate::observe::count_compositions(composer.compositions());
        Chunk { columns, rows: indices.len(), selection: None, place: self.place }
    }

    /// Live rows `[offset, offset + len)`. Copies no value.
    pub fn slice(&self, offset: usize, len: usize) -> Chunk {
        match &self.selection {
            Some(selection) => self.clone().select_exactly(selection.slice(offset, len)),
            None => Chunk {
                columns: self.columns.iter().map(|c| c.slice(offset, len)).collect(),
                rows: len,
                selection: None,
                place: self.place,
            },
        }
    }

    fn select_exactly(mut self, selection: Selection) -> Self {
        self.selection = Some(selection);
        self
    }

    /// The live values of column `index` as one flat physical array, densely.
    pub fn live_array(&self, index: usize) -> Result<ArrayRef> {
        self.live_values(self.column(index)?)
    }

    /// The live values of `column`, aligned with this chunk, as one flat physical array.
    pub fn live_values(&self, column: &Column) -> Result<ArrayRef> {
        match &self.selection {
            Some(selection) => column.gather(&Indices::from(selection)),
            None => column.to_array(self.rows),
        }
    }

    /// The values of `column`, one for each physical row of this chunk, as one flat physical array.
    /// Lists and values like them, which may be long, are those of the live rows alone; the others
    /// are NULL.
    pub fn aligned(&self, column: &Column) -> Result<ArrayRef> {
        let is_long = column.logical().is_nested() && !matches!(column.form(), Form::Flat(_));
        let Some(selection) = self.selection.as_ref().filter(|_| is_long) else {
            return column.to_array(self.rows);
        };
        let mut rows = vec![NULL_INDEX; self.rows];
        selection.as_slice().iter().for_each(|&row| rows[row as usize] = row);
        column.gather(&Indices::with_nulls(rows))
    }

    /// The live rows copied together: flat columns, no selection. Free when nothing is to be done.
    pub fn compact(self) -> Result<Chunk> {
        let live = self.live_rows();
        let columns = self.columns.iter().map(|column| Ok(column.taken(self.live_values(column)?)));
        Ok(Chunk::new(columns.collect::<Result<_>>()?, live, self.place))
    }

    /// The same rows, all of them live, with flat columns, but that lists and values like them,
    /// which may be long, stay where they are held once for several rows.
    pub fn flatten(self) -> Result<Chunk> {
        debug_assert!(self.selection.is_none());
        let columns = self.columns.iter().map(|column| match column.logical().is_nested() {
            true => Ok(column.clone()),
            false => Ok(column.taken(column.to_array(self.rows)?)),
        });
        Ok(Chunk::new(columns.collect::<Result<_>>()?, self.rows, self.place))
    }

    /// The live rows copied together where that saves dragging dead ones along: no selection, but
    /// constants and dictionary columns stay what they are. Free when all rows are live.
    pub fn copy_live(self) -> Result<Chunk> {
        let Some(selection) = &self.selection else { return Ok(self) };
        let rows = Indices::from(selection);
        let columns = self.columns.iter().map(|column| column.copy_rows(&rows));
        Ok(Chunk::new(columns.collect::<Result<_>>()?, rows.len(), self.place))
    }

    /// The live rows as a record batch of the declared types.
    ///
    /// # Errors
    /// `Input` when a decimal does not fit its declared precision, `Internal` when the columns do
    /// not match the schema.
    pub fn to_batch(&self, schema: &SchemaRef) -> Result<RecordBatch> {
        let arrays = self
            .columns
            .iter()
            .zip(schema.fields())
            .map(|(column, field)| to_logical(&self.live_values(column)?, field.data_type()));
        let options = RecordBatchOptions::new().with_row_count(Some(self.live_rows()));
        let arrays = arrays.collect::<Result<_>>()?;
        RecordBatch::try_new_with_options(schema.clone(), arrays, &options)
            .map_err(|e| Error::internal(e.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Domain, NULL_INDEX, copied_bytes};
    use arrow::array::{Array, AsArray, Int64Array, ListArray, StringViewArray};
    use arrow::datatypes::{DataType, Int64Type};

    fn ints(values: impl IntoIterator<Item = i64>) -> Column {
        let array = Int64Array::from_iter_values(values);
        Column::flat(DataType::Int64, Arc::new(array))
    }

    #[test]
    fn reindexing_copies_no_value_and_composes_once_per_index_vector() {
        let columns = (0..10).map(|c| ints((0..100).map(|r| r * c))).collect();
        let mut chunk = Chunk::new(columns, 100, Place::default());
        let copied = copied_bytes();
        for (step, rows) in [80u32, 60, 240].into_iter().enumerate() {
            let before = crate::observe::compositions();
            let indices: Vec<u32> = (0..rows).map(|r| r % 60).collect();
            chunk = chunk.reindex(&Arc::new(Indices::new(indices)));
            let composed = crate::observe::compositions() - before;
            assert_eq!(composed, usize::from(step > 0) as u64, "one composition for ten columns");
        }
        assert_eq!(copied_bytes(), copied);
        let last = chunk.live_array(9).expect("gathers");
        let expected: Vec<i64> = (0..240).map(|r| i64::from(r % 60) * 9).collect();
        assert_eq!(last.as_primitive::<Int64Type>().values(), &expected[..]);
        assert!(copied_bytes() > copied);
    }

    #[test]
    fn null_indices_survive_composition() {
        let dictionary: ArrayRef = Arc::new(StringViewArray::from(vec!["a", "b"]));
        let codes = Arc::new(Indices::with_nulls(vec![0, NULL_INDEX, 1]));
        let column = Column::indexed(DataType::Utf8View, codes, dictionary, Some(Domain::unique()));
        let chunk = Chunk::new(vec![column, Column::null(DataType::Int64)], 3, Place::default());
        let outer = Arc::new(Indices::with_nulls(vec![2, NULL_INDEX, 1, 0]));
        let out = chunk.reindex(&outer);
        let text = out.live_array(0).expect("gathers");
        let text: Vec<_> = text.as_string_view().iter().collect();
        assert_eq!(text, [Some("b"), None, None, Some("a")]);
        assert_eq!(out.live_array(1).expect("gathers").null_count(), 4);
    }

    #[test]
    fn aligned_lists_are_those_of_live_rows() {
        let long = vec![Some(vec![Some(7); 1000]), None, Some(vec![Some(1), Some(2)])];
        let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(long));
        let indices = Arc::new(Indices::new(vec![0, 2, 0, 1, 2, 0]));
        let column = Column::indexed(lists.data_type().clone(), indices, lists.clone(), None);
        let constant = Column::constant(lists.data_type().clone(), lists.slice(0, 1));
        let chunk = Chunk::new(vec![column.clone(), constant], 6, Place::default());
        let all = chunk.aligned(&column).expect("copies");
        assert_eq!(all.as_list::<i32>().values().len(), 3004);
        let chunk = chunk.select(Selection::new(vec![1, 3, 5]));
        for (column, elements, nulls) in [(0, 1002, 4), (1, 3000, 3)] {
            let column = &chunk.columns()[column];
            let aligned = chunk.aligned(column).expect("copies");
            let list = aligned.as_list::<i32>();
            assert_eq!((list.len(), list.values().len()), (6, elements));
            assert_eq!(list.null_count(), nulls);
            let live = Indices::new(vec![1, 3, 5]);
            let live = Column::flat(column.logical().clone(), aligned).gather(&live);
            assert_eq!(&live.expect("copies"), &chunk.live_values(column).expect("copies"));
        }
    }

    #[test]
    fn selection_slices_and_compacts() {
        let chunk = Chunk::new(vec![ints(0..10)], 10, Place::default());
        let chunk = chunk.select(Selection::new(vec![1, 3, 5, 7]));
        let part = chunk.slice(1, 2).compact().expect("compacts");
        let part = part.live_array(0).expect("flat");
        assert_eq!(part.as_primitive::<Int64Type>().values(), &[3, 5]);
        assert!(chunk.slice(4, 0).is_empty());
    }
}
