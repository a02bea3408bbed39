//! One field as it stands in the file: its quotes, and whether it is NULL.

use std::borrow::Cow;

use super::structure::Marks;

/// A field without its quotes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Field<'a> {
    /// Text that stood without quotes.
    Bare(&'a [u8]),
    /// Text that stood in quotes; owned when quotes were doubled or escaped.
    Quoted(Cow<'a, [u8]>),
    /// There is text behind the closing quote.
    Malformed,
}

/// Reads the bytes between two separators. `is_last` fields lose a `\r` at their end.
pub(super) fn read<'a>(raw: &'a [u8], is_last: bool, marks: &Marks) -> Field<'a> {
    let raw = match raw {
        [rest @ .., b'\r'] if is_last && marks.newline == b'\n' => rest,
        _ => raw,
    };
    let Some(quote) = marks.quote.filter(|quote| raw.first() == Some(quote)) else {
        return Field::Bare(raw);
    };
    let inner = &raw[1..];
    let special = |byte: &u8| *byte == quote || Some(*byte) == marks.escape;
    match inner.iter().position(special) {
        Some(at) if at + 1 == inner.len() && inner[at] == quote => {
            Field::Quoted(Cow::Borrowed(&inner[..at]))
        }
        _ => unescape(inner, quote, marks),
    }
}

/// Text with doubled or escaped quotes, from behind the opening quote.
#[cold]
fn unescape<'a>(inner: &[u8], quote: u8, marks: &Marks) -> Field<'a> {
    let mut text = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if Some(byte) == marks.escape {
            text.extend(bytes.next());
        } else if byte != quote {
            text.push(byte);
        } else if bytes.next_if_eq(&quote).is_some() {
            text.push(quote);
        } else {
            return match bytes.next() {
                None => Field::Quoted(Cow::Owned(text)),
                Some(_) => Field::Malformed,
            };
        }
    }
    Field::Malformed
}

/// The words that mean NULL.
#[derive(Debug, Clone)]
pub(super) struct Nulls {
    empty: bool,
    /// Whether one of the words could be a value as well, such as `-999`.
    pub(super) hide_values: bool,
    words: Vec<Box<[u8]>>,
}

impl Nulls {
    pub(super) fn new(words: &[String]) -> Self {
        let others = words.iter().filter(|word| !word.is_empty());
        Nulls {
            empty: words.iter().any(String::is_empty),
            hide_values: words.iter().any(|word| {
                word.bytes().any(|b| b.is_ascii_digit()) || word == "true" || word == "false"
            }),
            words: others.map(|word| word.as_bytes().into()).collect(),
        }
    }

    /// Whether a field with this text is NULL.
    #[inline]
    pub(super) fn contain(&self, text: &[u8]) -> bool {
        if text.is_empty() { self.empty } else { self.words.iter().any(|word| **word == *text) }
    }
}

/// Text without the blanks around it, which are no part of a number, a date or a Boolean.
pub(super) fn trim(text: &[u8]) -> &[u8] {
    text.trim_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKS: Marks =
        Marks { delimiter: b',', quote: Some(b'"'), escape: None, newline: b'\n', comment: None };

    fn quoted(text: &str) -> Field<'static> {
        Field::Quoted(Cow::Owned(text.as_bytes().to_vec()))
    }

    #[test]
    fn quotes_are_taken_off_and_doubled_ones_halved() {
        let cases = [
            ("", Field::Bare(b"")),
            ("a\"b", Field::Bare(b"a\"b")),
            ("\"\"", quoted("")),
            ("\"a\"", quoted("a")),
            ("\"a\"\"b\"", quoted("a\"b")),
            ("\"\"\"\"", quoted("\"")),
            ("\"a\"b", Field::Malformed),
            ("\"a\" ", Field::Malformed),
            ("\"", Field::Malformed),
        ];
        for (raw, field) in cases {
            assert_eq!(read(raw.as_bytes(), false, &MARKS), field, "{raw}");
        }
        assert_eq!(read(b"\"a\"\r", true, &MARKS), quoted("a"));
        assert_eq!(read(b"a\r", true, &MARKS), Field::Bare(b"a"));
        assert_eq!(read(b"a\r", false, &MARKS), Field::Bare(b"a\r"));
        let escaping = Marks { escape: Some(b'\\'), ..MARKS };
        assert_eq!(read(br#""a\"b\\""#, false, &escaping), quoted("a\"b\\"));
        assert_eq!(read(br#""a\""#, false, &escaping), Field::Malformed);
    }

    #[test]
    fn words_for_null() {
        let nulls = Nulls::new(&[String::new(), "NA".to_string()]);
        assert!(nulls.contain(b"") && nulls.contain(b"NA"));
        assert!(!nulls.hide_values && Nulls::new(&["-1".to_string()]).hide_values);
        assert!(!nulls.contain(b"na") && !Nulls::new(&[]).contain(b""));
    }
}
