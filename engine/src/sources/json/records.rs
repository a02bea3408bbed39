//! The records of a file, a few thousand at a time: where the values of the wanted columns are.

use serde::{Deserialize, Serialize};

use super::members::{Keys, Span};
use super::token::{Fault, blanks, byte};

/// How records follow each other in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// One object a line.
    Lines,
    /// Objects one behind the other, each over as many lines as it likes.
    Values,
    /// The items of one array.
    Array,
}

/// What comes next in an array of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Ahead {
    /// The opening bracket.
    #[default]
    Open,
    /// The first record, or the closing bracket.
    First,
    /// A comma and a record, or the closing bracket.
    Another,
    /// Nothing more.
    Nothing,
}

/// Positions of values; see the module documentation.
#[derive(Debug, Default)]
pub(super) struct Records {
    /// A slot for each wanted column, row by row.
    spans: Vec<Span>,
    width: usize,
    rows: usize,
    /// In an array.
    pub(super) ahead: Ahead,
}

impl Records {
    /// Records with so many wanted columns.
    pub(super) fn new(width: usize) -> Self {
        Records { width, ..Records::default() }
    }

    /// Records listed.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// The slots of all listed records.
    pub(super) fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// Slots a record.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// Heap bytes held.
    pub(super) fn heap_bytes(&self) -> usize {
        self.spans.capacity() * size_of::<Span>()
    }

    /// Lists up to `rows_max` records that begin at `from` or behind and end before `stop`. Gives
    /// the position where to go on; `stop` when there are no more.
    pub(super) fn fill(
        &mut self,
        text: &str,
        (from, stop): (usize, usize),
        layout: Layout,
        keys: &mut Keys,
        rows_max: usize,
    ) -> Result<usize, Fault> {
        self.rows = 0;
        self.spans.clear();
        let bytes = text.as_bytes();
        let mut at = from;
        while self.rows < rows_max {
            at = match layout {
                Layout::Lines => first_of_lines(bytes, at, stop),
                Layout::Values => blanks::<false>(bytes, at),
                Layout::Array => self.next_item(bytes, at)?,
            };
            if at >= stop {
                return Ok(stop);
            }
            let begin = self.rows * self.width;
            self.spans.resize(begin + self.width, Span::MISSING);
            let spans = self.spans.get_mut(begin..).unwrap_or_default();
            at = match layout {
                Layout::Lines => {
                    let end = keys.read::<true>(text, at, spans)?;
                    after_line(bytes, end, stop)?
                }
                Layout::Values | Layout::Array => keys.read::<false>(text, at, spans)?,
            };
            self.rows += 1;
        }
        Ok(at)
    }

    /// The next record of an array, or what is behind it.
    fn next_item(&mut self, bytes: &[u8], at: usize) -> Result<usize, Fault> {
        let mut at = blanks::<false>(bytes, at);
        loop {
            let found = byte(bytes, at);
            (self.ahead, at) = match (self.ahead, found) {
                // The end of the window.
                (_, 0) => return Ok(at),
                (Ahead::Open, b'[') => (Ahead::First, blanks::<false>(bytes, at + 1)),
                (Ahead::First | Ahead::Another, b']') => {
                    (Ahead::Nothing, blanks::<false>(bytes, at + 1))
                }
                (Ahead::First, _) => {
                    self.ahead = Ahead::Another;
                    return Ok(at);
                }
                (Ahead::Another, b',') => {
                    let begin = blanks::<false>(bytes, at + 1);
                    return match byte(bytes, begin) {
                        0 => Err(Fault::malformed(begin, "a record is missing behind a comma")),
                        _ => Ok(begin),
                    };
                }
                (Ahead::Open, _) => {
                    return Err(Fault::malformed(at, "an array of objects was expected"));
                }
                (Ahead::Another, _) => {
                    return Err(Fault::malformed(at, "a comma or a closing bracket is missing"));
                }
                (Ahead::Nothing, _) => {
                    return Err(Fault::malformed(at, "text behind the end of the array"));
                }
            };
        }
    }
}

/// The first byte of the next line that is not blank.
fn first_of_lines(bytes: &[u8], mut at: usize, stop: usize) -> usize {
    loop {
        at = blanks::<true>(bytes, at);
        if at >= stop || byte(bytes, at) != b'\n' {
            return at;
        }
        at += 1;
    }
}

/// The byte behind the line end, which is all that may come behind a record.
#[inline]
fn after_line(bytes: &[u8], end: usize, stop: usize) -> Result<usize, Fault> {
    let at = blanks::<true>(bytes, end);
    match byte(bytes, at) {
        b'\n' => Ok(at + 1),
        _ if at >= stop => Ok(stop),
        _ => Err(Fault::malformed(at, "text behind the object; a line holds one object")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str, layout: Layout, rows_max: usize) -> Result<Vec<String>, Fault> {
        let padded = format!("{text}{}", "\0".repeat(64));
        let mut keys = Keys::new([("a", Some(0))], true);
        let mut records = Records::new(1);
        let (mut at, mut found) = (0, Vec::new());
        while at < text.len() {
            at = records.fill(&padded, (at, text.len()), layout, &mut keys, rows_max)?;
            let value = |span: &Span| padded[span.range()].to_string();
            found.extend(records.spans().iter().map(value));
        }
        Ok(found)
    }

    #[test]
    fn records_of_all_layouts_are_listed() {
        for rows_max in [1, 2, 100] {
            for (layout, text) in [
                (Layout::Lines, "{\"a\":1}\n\n \t\r\n{\"a\":\"x\"}\r\n  {}  \n"),
                (Layout::Lines, "{\"a\":1}\n{\"a\":\"x\"}\n{}"),
                (Layout::Values, "{\"a\":\n1} {\"a\":\"x\"}{}\n"),
                (Layout::Array, " [{\"a\":1},{\"a\"\n:\"x\"}\n,{}\n]\n"),
            ] {
                assert_eq!(
                    rows(text, layout, rows_max),
                    Ok(vec!["1".into(), "\"x\"".into(), String::new()]),
                    "{text}"
                );
            }
            for text in ["[]", "[ ] "] {
                assert_eq!(rows(text, Layout::Array, rows_max), Ok(Vec::new()));
            }
        }
    }

    #[test]
    fn what_stands_between_records_is_checked() {
        for (layout, text, at) in [
            (Layout::Lines, "{\"a\":1} {\"a\":2}\n", 8),
            (Layout::Lines, "{\"a\":1},\n", 7),
            (Layout::Lines, "{\"a\":1\n}\n", 6),
            (Layout::Array, "{\"a\":1}", 0),
            (Layout::Array, "[{\"a\":1} {\"a\":2}]", 9),
            (Layout::Array, "[{\"a\":1},]", 9),
            (Layout::Array, "[,{\"a\":1}]", 1),
            (Layout::Array, "[{\"a\":1}] x", 10),
        ] {
            assert_eq!(rows(text, layout, 9).expect_err(text).begin, at, "{text}");
        }
    }
}
