//! The type of a column from a sample of its fields.

use arrow::datatypes::{DataType, TimeUnit};

use super::format::Format;
use crate::sources::text::{number, time};

/// Words that may stand for NULL. One that turns up in a column whose other fields are numbers,
/// dates or Booleans is what the file writes for NULL.
pub(super) const NULL_WORDS: [&str; 8] =
    ["NA", "N/A", "n/a", "#N/A", "NULL", "null", "\\N", "None"];

/// Digits that a decimal of 128 bits always holds.
const DECIMAL_DIGITS: u8 = 38;

/// What one field can be read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Empty,
    /// One of [`NULL_WORDS`], by position.
    NullWord(usize),
    Boolean,
    Integer,
    /// An integer that is a date in the form that dates are said to have.
    DateInteger,
    /// An integer that only a decimal holds.
    LongInteger,
    Float,
    /// `NaN` or an infinity: a float among numbers, a word elsewhere.
    FloatWord,
    Date,
    Stamp {
        has_zone: bool,
        is_fine: bool,
    },
    Text,
}

/// The forms in which dates and timestamps are said to be written.
#[derive(Debug, Clone, Default)]
pub(super) struct Forms {
    pub(super) date: Option<Format>,
    pub(super) timestamp: Option<Format>,
}

impl Forms {
    fn is_date(&self, text: &[u8]) -> bool {
        match &self.date {
            Some(format) => format.read_date(text).is_some(),
            None => time::date(text).is_some(),
        }
    }

    fn stamp(&self, text: &[u8]) -> Option<Kind> {
        let stamp = match &self.timestamp {
            Some(format) => format.read_stamp(text),
            None => time::stamp(text),
        };
        let stamp = stamp?;
        Some(Kind::Stamp { has_zone: stamp.zone.is_some(), is_fine: stamp.fraction_digits > 6 })
    }

    /// Whether a text that begins with a letter may be a date or a timestamp.
    fn may_begin_with_letter(&self) -> bool {
        self.date.is_some() || self.timestamp.is_some()
    }
}

impl Kind {
    /// The kind of a field, given without quotes and blanks around it.
    pub(super) fn of(text: &[u8], forms: &Forms) -> Kind {
        let Some(&first) = text.first() else { return Kind::Empty };
        if let Some(word) = NULL_WORDS.iter().position(|word| word.as_bytes() == text) {
            return Kind::NullWord(word);
        }
        if text.eq_ignore_ascii_case(b"true") || text.eq_ignore_ascii_case(b"false") {
            return Kind::Boolean;
        }
        // Nearly all texts are told from numbers and dates by their first byte.
        if !(first.is_ascii_digit() || matches!(first, b'-' | b'+' | b'.')) {
            if number::double(text).is_some() {
                return Kind::FloatWord;
            }
            return if forms.may_begin_with_letter() {
                time_or_text(text, forms)
            } else {
                Kind::Text
            };
        }
        if let Some(value) = number::integer(text) {
            return if forms.date.is_some() && forms.is_date(text) {
                Kind::DateInteger
            } else if is_padded(text) {
                Kind::Text
            } else if i64::try_from(value).is_ok() {
                Kind::Integer
            } else if number::decimal(text, DECIMAL_DIGITS, 0).is_some() {
                Kind::LongInteger
            } else {
                Kind::Float
            };
        }
        if number::double(text).is_some() {
            return match text.iter().any(u8::is_ascii_digit) {
                true if is_padded(text) => Kind::Text,
                true => Kind::Float,
                false => Kind::FloatWord,
            };
        }
        time_or_text(text, forms)
    }

    /// Whether a field of this kind may be the name of a column.
    pub(super) fn may_be_name(self) -> bool {
        matches!(self, Kind::Empty | Kind::Text | Kind::FloatWord | Kind::NullWord(_))
    }
}

/// Whether digits stand behind a zero, as in postal codes and the like: a number would lose it.
fn is_padded(number: &[u8]) -> bool {
    matches!(number, [b'0', second, ..] if second.is_ascii_digit())
}

fn time_or_text(text: &[u8], forms: &Forms) -> Kind {
    if forms.is_date(text) {
        return Kind::Date;
    }
    forms.stamp(text).unwrap_or(Kind::Text)
}

/// The kinds of fields that a column has.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Kinds {
    /// Bit `n` for word `n`.
    null_words: u8,
    boolean: bool,
    integer: bool,
    date_integer: bool,
    long_integer: bool,
    float: bool,
    float_word: bool,
    date: bool,
    stamp: bool,
    zoned: bool,
    is_fine: bool,
    text: bool,
}

impl Kinds {
    pub(super) fn add(&mut self, kind: Kind) {
        match kind {
            Kind::Empty => {}
            Kind::NullWord(word) => self.null_words |= 1 << word,
            Kind::Boolean => self.boolean = true,
            Kind::Integer => self.integer = true,
            Kind::DateInteger => self.date_integer = true,
            Kind::LongInteger => self.long_integer = true,
            Kind::Float => self.float = true,
            Kind::FloatWord => self.float_word = true,
            Kind::Date => self.date = true,
            Kind::Stamp { has_zone, is_fine } => {
                self.stamp |= !has_zone;
                self.zoned |= has_zone;
                self.is_fine |= is_fine;
            }
            Kind::Text => self.text = true,
        }
    }

    /// The words that stand for NULL here, if all other fields have one type that is not text.
    pub(super) fn null_words(&self) -> u8 {
        if self.type_of_values() == DataType::Utf8View { 0 } else { self.null_words }
    }

    /// The type that holds all fields; the words in `null_words` are NULL.
    pub(super) fn data_type(&self, null_words: u8) -> DataType {
        if self.null_words & !null_words != 0 {
            return DataType::Utf8View;
        }
        self.type_of_values()
    }

    fn type_of_values(&self) -> DataType {
        let other_number = self.integer || self.long_integer || self.float || self.float_word;
        let date = self.date || (self.date_integer && !other_number);
        let number = self.integer || self.long_integer || self.float || self.date_integer && !date;
        let time = date || self.stamp || self.zoned;
        let classes = [self.boolean, number || self.float_word, time, self.text];
        if classes.iter().filter(|&&there| there).count() != 1 {
            return DataType::Utf8View;
        }
        let unit = if self.is_fine { TimeUnit::Nanosecond } else { TimeUnit::Microsecond };
        match () {
            () if self.boolean => DataType::Boolean,
            () if self.text => DataType::Utf8View,
            () if number && (self.float || self.float_word) => DataType::Float64,
            () if self.long_integer => DataType::Decimal128(DECIMAL_DIGITS, 0),
            () if number => DataType::Int64,
            () if self.float_word => DataType::Utf8View,
            () if self.zoned && (self.stamp || date) => DataType::Utf8View,
            () if self.zoned => DataType::Timestamp(unit, Some("UTC".into())),
            () if self.stamp => DataType::Timestamp(unit, None),
            () => DataType::Date32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detect(fields: &[&str]) -> DataType {
        detect_in(fields, &Forms::default())
    }

    fn detect_in(fields: &[&str], forms: &Forms) -> DataType {
        let mut kinds = Kinds::default();
        fields.iter().for_each(|field| kinds.add(Kind::of(field.as_bytes(), forms)));
        kinds.data_type(kinds.null_words())
    }

    #[test]
    fn dates_in_the_form_that_is_said() {
        let forms = |date: &str, stamp: Option<&str>| Forms {
            date: Some(Format::date(date).expect(date)),
            timestamp: stamp.map(|stamp| Format::timestamp(stamp).expect(stamp)),
        };
        let german = forms("%d.%m.%Y", Some("%d.%m.%Y %H:%M"));
        let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
        assert_eq!(detect_in(&["1.2.2003", ""], &german), DataType::Date32);
        assert_eq!(detect_in(&["2003-02-01"], &german), DataType::Utf8View);
        assert_eq!(detect_in(&["1.2.2003 10:00"], &german), micros);
        let packed = forms("%Y%m%d", None);
        assert_eq!(detect_in(&["20030201", "20040229"], &packed), DataType::Date32);
        assert_eq!(detect_in(&["20030201", "5"], &packed), DataType::Int64);
        assert_eq!(detect_in(&["20030201", "x"], &packed), DataType::Utf8View);
        let named = forms("%B %d, %Y", None);
        assert_eq!(detect_in(&["May 1, 2003", "NA"], &named), DataType::Date32);
    }

    #[test]
    fn types_hold_all_fields() {
        let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
        let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let nanos = DataType::Timestamp(TimeUnit::Nanosecond, None);
        let cases: [(&[&str], DataType); 22] = [
            (&[], DataType::Utf8View),
            (&["", ""], DataType::Utf8View),
            (&["1", "", "-2", "+3", "0"], DataType::Int64),
            (&["1", "007"], DataType::Utf8View),
            (&["01.5", "2"], DataType::Utf8View),
            (&["1", "2.5"], DataType::Float64),
            (&["1", "1e3"], DataType::Float64),
            (&["1", "NaN"], DataType::Float64),
            (&["NaN", "inf"], DataType::Utf8View),
            (&["9223372036854775808", "1"], DataType::Decimal128(38, 0)),
            (&["99999999999999999999999999999999999999999"], DataType::Float64),
            (&["true", "FALSE"], DataType::Boolean),
            (&["true", "1"], DataType::Utf8View),
            (&["1999-01-02", ""], DataType::Date32),
            (&["1999-01-02", "x"], DataType::Utf8View),
            (&["1999-01-02", "1999-01-02 12:00"], micros),
            (&["1999-01-02T12:00:00Z"], utc),
            (&["1999-01-02T12:00:00Z", "1999-01-02T12:00:00"], DataType::Utf8View),
            (&["1999-01-02T12:00:00.123456789"], nanos),
            (&["NA", "1"], DataType::Int64),
            (&["NA", "NULL"], DataType::Utf8View),
            (&["NA", "DE"], DataType::Utf8View),
        ];
        for (fields, expected) in cases {
            assert_eq!(detect(fields), expected, "{fields:?}");
        }
    }
}
