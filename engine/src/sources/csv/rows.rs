//! The columns of the records that are listed, parsed as the filters and the output ask for them.

use super::column::{self, Cells};
use super::facts::is_text;
use super::refuse::Refuse;
use super::scan::Shared;
use crate::batch::{Column, Selection};
use crate::error::Result;
use crate::sources::block::BlockColumns;
use crate::sources::text::values::Rows;

/// A block of listed records.
pub(super) struct RecordRows<'a> {
    pub(super) shared: &'a Shared,
    pub(super) rows: usize,
    /// Where the records are, and what to say when they are not as they should be.
    pub(super) refuse: Refuse<'a>,
}

impl BlockColumns for RecordRows<'_> {
    /// Parsing costs far more than leaving a row out.
    const THIN_BELOW: f64 = 0.75;

    fn read(&mut self, slot: usize, kept: Option<&Selection>) -> Result<Column> {
        let Shared { slots, columns, marks, nulls, declared_nulls, width, .. } = self.shared;
        let position = slots[slot];
        let column = &columns[position];
        let nulls = match is_text(&column.data_type) && !column.detected {
            true => declared_nulls,
            false => nulls,
        };
        let Refuse { window, records, .. } = self.refuse;
        let cells = Cells {
            window,
            records,
            marks,
            nulls,
            date_format: self.shared.date_format.as_ref(),
            timestamp_format: self.shared.timestamp_format.as_ref(),
            column: position,
            is_last: position + 1 == *width,
        };
        let rows = kept.map_or(Rows::All(self.rows), |kept| Rows::Some(kept.as_slice()));
        let data_type = &column.data_type;
        match column::parse(cells, rows, data_type)? {
            Ok(array) => Ok(Column::flat(data_type.clone(), array)),
            Err(unreadable) => Err(self.refuse.unreadable(position, &unreadable)),
        }
    }

    fn skip(&mut self, _: usize) -> Result<()> {
        Ok(())
    }
}
