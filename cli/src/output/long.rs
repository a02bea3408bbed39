//! Rows with long values, whose text is made piece by piece: a value may be as large as the memory
//! there is, and has been paid for by whoever made it, but its text has not.

use std::fmt;
use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::DataType;
use gristmill::formatter;

use super::Failure;

/// Bytes of values that are turned into text at once.
pub const PART_BYTES: usize = 1 << 20;

/// Bytes of a piece of text.
const PIECE_BYTES: usize = 64 << 10;

/// Some rows of a batch.
pub enum Part {
    /// Rows whose values have at most [`PART_BYTES`] together.
    Rows(RecordBatch),
    /// A row that has more.
    Long(RecordBatch),
}

/// Hands the rows of a batch on, in parts.
///
/// # Errors
/// What `each` reports.
pub fn parts(
    batch: &RecordBatch,
    each: &mut dyn FnMut(Part) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let rows = batch.num_rows();
    if batch.columns().iter().map(|column| bytes(column, 0..rows)).sum::<usize>() <= PART_BYTES {
        return each(Part::Rows(batch.clone()));
    }
    if rows == 1 {
        return each(Part::Long(batch.clone()));
    }
    parts(&batch.slice(0, rows / 2), each)?;
    parts(&batch.slice(rows / 2, rows - rows / 2), each)
}

/// Whether a value alone is more than a part.
pub fn is_long(array: &ArrayRef, row: usize) -> bool {
    bytes(array, row..row + 1) > PART_BYTES && !array.is_null(row)
}

/// About as many bytes as the text of the values has.
pub fn bytes(array: &ArrayRef, rows: Range<usize>) -> usize {
    use DataType as T;
    let between = |offsets: &[i32]| offsets[rows.start] as usize..offsets[rows.end] as usize;
    let between_large = |offsets: &[i64]| offsets[rows.start] as usize..offsets[rows.end] as usize;
    match array.data_type() {
        T::Utf8 => between(array.as_string::<i32>().value_offsets()).len(),
        T::LargeUtf8 => between_large(array.as_string::<i64>().value_offsets()).len(),
        // The length is the low half of the low half of a view.
        T::Utf8View => {
            array.as_string_view().views()[rows].iter().map(|&v| v as u32 as usize).sum()
        }
        T::Binary => 2 * between(array.as_binary::<i32>().value_offsets()).len(),
        T::LargeBinary => 2 * between_large(array.as_binary::<i64>().value_offsets()).len(),
        T::BinaryView => {
            2 * array.as_binary_view().views()[rows]
                .iter()
                .map(|&v| v as u32 as usize)
                .sum::<usize>()
        }
        T::List(_) => {
            let list = array.as_list::<i32>();
            bytes(list.values(), between(list.value_offsets()))
        }
        T::LargeList(_) => {
            let list = array.as_list::<i64>();
            bytes(list.values(), between_large(list.value_offsets()))
        }
        T::FixedSizeList(_, length) => {
            let length = *length as usize;
            bytes(array.as_fixed_size_list().values(), rows.start * length..rows.end * length)
        }
        T::Struct(_) => {
            let members = array.as_struct().columns();
            members.iter().map(|member| bytes(member, rows.clone())).sum()
        }
        T::Map(..) => {
            let map = array.as_map();
            let entries = between(map.value_offsets());
            bytes(map.keys(), entries.clone()) + bytes(map.values(), entries)
        }
        T::Dictionary(..) => {
            let keys = array.slice(rows.start, rows.len());
            let keys = keys.as_any_dictionary();
            let of_key = |key: usize| match keys.values().is_empty() {
                true => 0,
                false => bytes(keys.values(), key..key + 1),
            };
            keys.normalized_keys().into_iter().map(of_key).sum()
        }
        _ => 8 * rows.len(),
    }
}

/// Hands the text of a value on, piece by piece.
///
/// # Errors
/// When it has no text, and what `piece` reports.
pub fn write_value(
    array: &ArrayRef,
    row: usize,
    piece: impl FnMut(&str) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut pieces = Pieces { piece, held: String::new(), failure: None };
    let written = formatter(array)?.value(row).write(&mut pieces);
    if let Some(failure) = pieces.failure {
        return Err(failure);
    }
    written?;
    (pieces.piece)(&pieces.held)
}

/// A text in pieces.
pub fn pieces(mut text: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        let (piece, rest) = text.split_at(text.floor_char_boundary(PIECE_BYTES));
        text = rest;
        Some(piece).filter(|piece| !piece.is_empty())
    })
}

/// Puts small texts together, and takes large ones apart.
struct Pieces<F> {
    piece: F,
    held: String,
    /// Why it stopped: a formatter's error would not say.
    failure: Option<Failure>,
}

impl<F: FnMut(&str) -> Result<(), Failure>> Pieces<F> {
    fn add(&mut self, text: &str) -> Result<(), Failure> {
        if self.held.len() + text.len() <= PIECE_BYTES {
            self.held.push_str(text);
            return Ok(());
        }
        (self.piece)(&self.held)?;
        self.held.clear();
        pieces(text).try_for_each(&mut self.piece)
    }
}

impl<F: FnMut(&str) -> Result<(), Failure>> fmt::Write for Pieces<F> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.add(text).map_err(|failure| {
            self.failure = Some(failure);
            fmt::Error
        })
    }
}

/// The text of a value, of which no more than the first `most` bytes are wanted.
///
/// # Errors
/// When it has no text.
pub fn front(array: &ArrayRef, row: usize, most: usize) -> Result<String, Failure> {
    let mut text = String::new();
    let taken = write_value(array, row, |piece| {
        let left = most - text.len();
        text.push_str(&piece[..piece.floor_char_boundary(left)]);
        // Nobody sees this error: it ends the text.
        if piece.len() > left { Err(Failure::ClosedPipe) } else { Ok(()) }
    });
    match taken {
        Err(Failure::ClosedPipe) => Ok(text),
        taken => taken.map(|()| text),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::Arc;

    use arrow::array::{
        BinaryArray, Int64Array, LargeStringArray, ListBuilder, MapBuilder, StringArray,
        StringBuilder, StringViewArray, StructArray,
    };
    use arrow::datatypes::{Field, Int64Type};
    use gristmill::{CsvText, JsonText};

    use super::*;
    use crate::output::screen::one_line;
    use crate::output::{Format, printer};

    /// A text with everything that has a meaning in some format, `times` times.
    fn special(times: usize) -> String {
        "a\"b,\tc\\d|é\n\u{1}\u{8}\u{c}日\u{7f}\r".repeat(times)
    }

    /// A row with values of all types that may be long.
    fn row(times: usize) -> RecordBatch {
        let text = special(times);
        let mut list = ListBuilder::new(StringBuilder::new());
        list.append_value([Some("x,y"), None, Some(text.as_str()), Some("")]);
        let mut map =
            MapBuilder::new(None, StringBuilder::new(), ListBuilder::new(StringBuilder::new()));
        map.keys().append_value("k\"1");
        map.values().append_value([Some(text.as_str())]);
        map.keys().append_value(&text);
        map.values().append(false);
        map.append(true).expect("a map");
        let member: ArrayRef = Arc::new(StringArray::from(vec![text.as_str()]));
        let nothing: ArrayRef = Arc::new(Int64Array::from(vec![None]));
        let field =
            |name, array: &ArrayRef| Arc::new(Field::new(name, array.data_type().clone(), true));
        let members =
            vec![(field("m\"", &member), member.clone()), (field("n", &nothing), nothing.clone())];
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("n", Arc::new(Int64Array::from(vec![-7]))),
            ("plain", Arc::new(StringArray::from(vec!["a long text of words ".repeat(times)]))),
            ("view", Arc::new(StringViewArray::from(vec![text.as_str()]))),
            ("large", Arc::new(LargeStringArray::from(vec![text.as_str()]))),
            ("none", Arc::new(StringArray::from(vec![None::<&str>]))),
            ("bytes", Arc::new(BinaryArray::from(vec![text.as_bytes()]))),
            ("list", Arc::new(list.finish())),
            ("map", Arc::new(map.finish())),
            ("members", Arc::new(StructArray::from(members))),
            ("end\"", Arc::new(Int64Array::from(vec![None]))),
        ];
        RecordBatch::try_from_iter(columns).expect("a batch")
    }

    /// What was written, and the most at once.
    #[derive(Default)]
    struct Written(Vec<u8>, usize);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.extend_from_slice(bytes);
            self.1 = self.1.max(bytes.len());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn printed(format: Format, batch: &RecordBatch) -> String {
        let mut printer = printer(format, batch.schema(), None);
        let mut out = Written::default();
        printer.batch(batch, &mut out).expect("prints");
        printer.finish(&mut out).expect("prints");
        assert!(out.1 <= PART_BYTES, "{format:?}: {} at once", out.1);
        String::from_utf8(out.0).expect("text")
    }

    /// The last line but so many.
    fn line(text: &str, behind: usize) -> &str {
        text.lines().rev().nth(behind).expect("a line")
    }

    #[test]
    fn long_values_are_printed_in_pieces_as_they_are_at_once() {
        let batch = row(60_000);
        assert!((1..9).all(|column| column == 4 || is_long(batch.column(column), 0)));
        for (format, delimiter) in [(Format::Csv, ','), (Format::Tsv, '\t')] {
            let mut whole = Vec::new();
            let lines = CsvText::new(delimiter, "").expect("a delimiter");
            lines.rows(batch.columns(), 1, &mut whole).expect("has a text");
            let found = printed(format, &batch);
            let (_, found) = found.split_once('\n').expect("a header");
            assert!(found.as_bytes() == whole, "{format:?}");
        }
        let mut whole = Vec::new();
        let schema = batch.schema();
        let lines = JsonText::new(schema.fields().iter().map(|field| field.name().as_str()));
        lines.rows(batch.columns(), 1, &mut whole).expect("has a text");
        let whole = String::from_utf8(whole).expect("text");
        assert!(printed(Format::Ndjson, &batch) == whole);
        assert!(printed(Format::Json, &batch) == format!("[{}]\n", whole.trim_end()));
        let cell = |column| one_line(front(column, 0, usize::MAX).expect("has a text"));
        let cells: Vec<String> = batch.columns().iter().map(cell).collect();
        assert!(line(&printed(Format::Table, &batch), 1) == cells.join("  "));
        let escaped = cells.join(" \u{0} ").replace('\\', "\\\\").replace('|', "\\|");
        let expected = format!("| {} |", escaped.replace('\u{0}', "|"));
        assert!(line(&printed(Format::Markdown, &batch), 0) == expected);
    }

    #[test]
    fn parts_have_all_rows_in_order() {
        let text = |at: usize| "x".repeat(if at == 5 { PART_BYTES + 1 } else { PART_BYTES / 3 });
        let texts: ArrayRef = Arc::new(StringViewArray::from_iter_values((0..9).map(text)));
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..9));
        let batch = RecordBatch::try_from_iter([("t", texts), ("n", numbers)]).expect("a batch");
        let (mut rows, mut long) = (Vec::new(), Vec::new());
        parts(&batch, &mut |part| {
            let (batch, is_long) = match part {
                Part::Rows(rows) => (rows, false),
                Part::Long(row) => (row, true),
            };
            for &number in batch.column(1).as_primitive::<Int64Type>().values() {
                rows.push(number);
                long.extend(is_long.then_some(number));
            }
            Ok(())
        })
        .expect("no error");
        assert_eq!(rows, (0..9).collect::<Vec<_>>());
        assert_eq!(long, [5]);
    }

    #[test]
    fn the_front_of_a_value_ends_between_characters() {
        let text = "é".repeat(PART_BYTES);
        let column: ArrayRef = Arc::new(StringArray::from(vec![text.as_str()]));
        assert_eq!(front(&column, 0, 5).expect("has a text"), "éé");
        assert!(front(&column, 0, usize::MAX).expect("has a text") == text);
    }
}
