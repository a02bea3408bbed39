//! What is said about records that cannot be read: where, what, and what to do about it.

use std::sync::Arc;

use arrow::datatypes::DataType;

use super::column::{Unreadable, Why};
use super::field::{self, Field};
use super::records::{Ragged, Records};
use super::scan::Shared;
use super::window::Window;
use crate::error::Error;
use crate::sources::InputFile;
use crate::sources::text::locate::{Locator, shown};

/// Where the records are.
#[derive(Clone, Copy)]
pub(super) struct Refuse<'a> {
    pub(super) shared: &'a Shared,
    pub(super) file: &'a Arc<InputFile>,
    pub(super) window: &'a Window,
    pub(super) records: &'a Records,
}

impl Refuse<'_> {
    /// A record has a wrong number of fields.
    pub(super) fn ragged(&self, ragged: &Ragged) -> Error {
        let Shared { columns, width, marks, .. } = self.shared;
        let delimiter = char::from(marks.delimiter);
        let Ragged { at, fields } = *ragged;
        let message = if *width == columns.len() {
            let plural = if fields == 1 { "" } else { "s" };
            let advice = match fields == width + 1 {
                true => "; if a delimiter ends every record, say so with trailing_delimiter",
                false => "",
            };
            format!(
                "this record has {fields} field{plural}, but there are {width} columns; put quotes \
                 around fields that hold {delimiter:?} or a line end{advice}"
            )
        } else {
            format!(
                "this record does not end with {delimiter:?} behind its {} fields, as others do",
                columns.len()
            )
        };
        Locator::new(self.file).error(self.window.offset(at), message)
    }

    /// A field cannot be read.
    pub(super) fn unreadable(&self, position: usize, field: &Unreadable) -> Error {
        let Shared { columns, width, marks, .. } = self.shared;
        let (begin, end) = self.records.field(field.row, position);
        let raw = self.window.bytes().get(begin..end).unwrap_or_default();
        let column = &columns[position];
        let name = &column.name;
        let text = match field::read(raw, position + 1 == *width, marks) {
            Field::Bare(text) => shown(text),
            Field::Quoted(text) => shown(&text),
            Field::Malformed => shown(raw),
        };
        let message = match field.why {
            Why::Type => {
                let data_type = type_name(&column.data_type);
                let origin =
                    if column.detected { "found from a sample of the file" } else { "declared" };
                format!(
                    "`{text}` is no {data_type}, the type of column `{name}` ({origin}); declare \
                     the column as VARCHAR or another type that holds it, or name `{text}` as a \
                     null string{}",
                    self.format_advice(&column.data_type)
                )
            }
            Why::Quotes => format!(
                "`{text}` in column `{name}` has text behind its closing quote; double the quotes \
                 that are part of the text, or read the file with another quote"
            ),
            Why::Encoding => {
                format!("`{text}` in column `{name}` is not UTF-8; convert the file to UTF-8")
            }
            Why::Zero => format!(
                "`{text}` in column `{name}` has a byte that is zero; the file is damaged, or no \
                 text in UTF-8"
            ),
        };
        Locator::new(self.file).error(self.window.offset(begin), message)
    }

    fn format_advice(&self, data_type: &DataType) -> &'static str {
        let Shared { date_format, timestamp_format, .. } = self.shared;
        match data_type {
            DataType::Date32 if date_format.is_none() => ", or give the date_format",
            DataType::Timestamp(..) if timestamp_format.is_none() => {
                ", or give the timestamp_format"
            }
            _ => "",
        }
    }
}

/// A type as people call it.
fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".to_string(),
        other => other.to_string(),
    }
}
