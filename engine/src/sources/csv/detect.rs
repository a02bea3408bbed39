//! The type of a column from a sample of its fields.

use arrow::datatypes::{DataType, TimeUnit};

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

impl Kind {
    /// The kind of a field, given without quotes and blanks around it.
    pub(super) fn of(text: &[u8]) -> Kind {
        let Some(&first) = text.first() else { return Kind::Empty };
        if let Some(word) = NULL_WORDS.iter().position(|word| word.as_bytes() == text) {
            return Kind::NullWord(word);
        }
        if text.eq_ignore_ascii_case(b"true") || text.eq_ignore_ascii_case(b"false") {
            return Kind::Boolean;
        }
        // Nearly all texts are told from numbers and dates by their first byte.
        if !(first.is_ascii_digit() || matches!(first, b'-' | b'+' | b'.')) {
            return if number::double(text).is_some() { Kind::FloatWord } else { Kind::Text };
        }
        if let Some(value) = number::integer(text) {
            return if i64::try_from(value).is_ok() {
                Kind::Integer
            } else if number::decimal(text, DECIMAL_DIGITS, 0).is_some() {
                Kind::LongInteger
            } else {
                Kind::Float
            };
        }
        if number::double(text).is_some() {
            return if text.iter().any(u8::is_ascii_digit) { Kind::Float } else { Kind::FloatWord };
        }
        if time::date(text).is_some() {
            return Kind::Date;
        }
        match time::stamp(text) {
            Some(stamp) => {
                Kind::Stamp { has_zone: stamp.zone.is_some(), is_fine: stamp.fraction_digits > 6 }
            }
            None => Kind::Text,
        }
    }

    /// Whether a field of this kind may be the name of a column.
    pub(super) fn may_be_name(self) -> bool {
        matches!(self, Kind::Empty | Kind::Text | Kind::FloatWord | Kind::NullWord(_))
    }
}

/// The kinds of fields that a column has.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Kinds {
    /// Bit `n` for word `n`.
    null_words: u8,
    boolean: bool,
    integer: bool,
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
        let number = self.integer || self.long_integer || self.float;
        let time = self.date || self.stamp || self.zoned;
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
            () if self.zoned && (self.stamp || self.date) => DataType::Utf8View,
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
        let mut kinds = Kinds::default();
        fields.iter().for_each(|field| kinds.add(Kind::of(field.as_bytes())));
        kinds.data_type(kinds.null_words())
    }

    #[test]
    fn types_hold_all_fields() {
        let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
        let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let nanos = DataType::Timestamp(TimeUnit::Nanosecond, None);
        let cases: [(&[&str], DataType); 20] = [
            (&[], DataType::Utf8View),
            (&["", ""], DataType::Utf8View),
            (&["1", "", "-2", "+3", "007"], DataType::Int64),
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
