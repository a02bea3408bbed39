//! What an expression is evaluated over: columns, and the rows that count.
//!
//! A [`View`] is a chunk as one part of an expression sees it: fewer rows may be live (a branch of
//! a CASE, a condition behind others), or the live rows may have been copied together because
//! there are few. Columns computed in a view are aligned with its physical rows.

use std::sync::Arc;

use super::room::Room;
use crate::batch::{Chunk, Column, Form, Indices, Selection};
use crate::error::{Error, Result};
use arrow::array::ArrayRef;

/// What a value costs to copy together, in tenths of a nanosecond; together with the costs of
/// expressions it decides when few live rows are worth copying.
const GATHER_COST: usize = 10;
/// What setting up a copy and spreading the result costs, in tenths of a nanosecond.
const GATHER_START: usize = 5_000;

/// Columns and live rows; see the module documentation.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    columns: Columns<'a>,
    rows: usize,
    selection: Option<&'a Selection>,
    room: &'a Room,
}

#[derive(Clone, Copy)]
enum Columns<'a> {
    All(&'a [Column]),
    /// Those that are needed, with their positions.
    Some(&'a [(usize, Column)]),
}

impl<'a> View<'a> {
    /// All of a chunk, and the room for what functions make of it.
    pub fn of(chunk: &'a Chunk, room: &'a Room) -> View<'a> {
        View {
            columns: Columns::All(chunk.columns()),
            rows: chunk.rows(),
            selection: chunk.selection(),
            room,
        }
    }

    /// Some columns with all their rows, in the same room.
    pub fn dense<'b>(&self, columns: &'b [(usize, Column)], rows: usize) -> View<'b>
    where
        'a: 'b,
    {
        View { columns: Columns::Some(columns), rows, selection: None, room: self.room }
    }

    /// The same columns with fewer rows live.
    pub fn narrowed<'b>(&self, selection: &'b Selection) -> View<'b>
    where
        'a: 'b,
    {
        View { selection: Some(selection), ..*self }
    }

    /// The room for what functions make.
    pub fn room(&self) -> &'a Room {
        self.room
    }

    /// Physical rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Live rows.
    pub fn live(&self) -> usize {
        self.selection.map_or(self.rows, Selection::len)
    }

    /// The live rows, unless all are.
    pub fn selection(&self) -> Option<&'a Selection> {
        self.selection
    }

    /// The live rows, all of them if need be.
    pub fn live_rows(&self) -> Selection {
        match self.selection {
            Some(selection) => selection.clone(),
            None => Selection::new((0..self.rows as u32).collect()),
        }
    }

    /// Column number `index` of the chunk.
    pub fn column(&self, index: usize) -> Result<&'a Column> {
        let column = match self.columns {
            Columns::All(columns) => columns.get(index),
            Columns::Some(columns) => columns.iter().find(|(i, _)| *i == index).map(|(_, c)| c),
        };
        column.ok_or_else(|| Error::internal(format!("column {index} is not in the chunk")))
    }

    /// Whether it is cheaper to copy the live values of `columns` columns together first than to
    /// compute something that costs `cost` tenths of a nanosecond a row for all rows.
    pub fn is_thin(&self, cost: usize, columns: usize) -> bool {
        let live = self.live();
        let together = GATHER_START + live * (cost + columns * GATHER_COST);
        self.selection.is_some() && together < self.rows * cost
    }

    /// The live values of some columns, copied together. Dictionaries stay dictionaries.
    pub fn gather(&self, columns: &[usize]) -> Result<Vec<(usize, Column)>> {
        let rows = self.selection.map(Indices::from);
        let gathered = columns.iter().map(|&index| {
            let column = self.column(index)?;
            match &rows {
                Some(rows) => Ok((index, column.copy_rows(rows)?)),
                None => Ok((index, column.clone())),
            }
        });
        gathered.collect()
    }

    /// The live values of a column aligned with this view's physical rows.
    pub fn live_values(&self, column: &Column) -> Result<ArrayRef> {
        match self.selection {
            Some(selection) => column.gather(&Indices::from(selection)),
            None => column.to_array(self.rows),
        }
    }

    /// A column of the live rows only, aligned with the physical rows: every live row points at
    /// its value, the others at the first.
    pub fn spread(&self, column: Column) -> Column {
        let Some(selection) = self.selection else { return column };
        let mut positions = vec![0u32; self.rows];
        let live = selection.as_slice();
        let (base, domain, indices) = match column.form() {
            Form::Constant(_) => return column,
            Form::Flat(values) => {
                live.iter().enumerate().for_each(|(i, &row)| positions[row as usize] = i as u32);
                (values, None, Indices::new(positions))
            }
            Form::Indexed(i) => {
                let inner = i.indices.as_slice();
                live.iter().zip(inner).for_each(|(&row, &at)| positions[row as usize] = at);
                let indices = match i.indices.has_nulls() {
                    true => Indices::with_nulls(positions),
                    false => Indices::new(positions),
                };
                (&i.base, i.domain, indices)
            }
        };
        if base.is_empty() {
            return Column::null(column.logical().clone());
        }
        Column::indexed(column.logical().clone(), Arc::new(indices), base.clone(), domain)
    }
}
