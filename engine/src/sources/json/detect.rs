//! The shape of values from a sample of them.
//!
//! Integers are 64 bits wide, or decimals when they are longer; together with other numbers they
//! are doubles. Strings are dates or timestamps when all of them are, and text otherwise. Objects
//! and arrays become structs and lists of what was found in them. Booleans, numbers and strings
//! that are mixed are texts. Other values of different kinds, and objects with very many keys, are
//! taken as the JSON text that they are.

use std::collections::HashMap;

use arrow::datatypes::{DataType, TimeUnit};

use super::shape::Shape;
use super::string::unescaped;
use super::token::{Next, after_colon, blanks, byte, next, string, value};
use crate::sources::text::{number, time};

/// Digits that a decimal of 128 bits always holds.
const DECIMAL_DIGITS: u8 = 38;

/// More keys than this are names of things rather than of properties.
const KEYS_MAX: usize = 1_000;

/// Deepest nesting that becomes structs and lists.
const DEPTH_MAX: usize = 32;

/// The kinds of values that stand in one place.
#[derive(Debug, Clone, Default)]
pub(super) struct Kinds {
    boolean: bool,
    integer: bool,
    long_integer: bool,
    float: bool,
    date: bool,
    stamp: bool,
    zoned: bool,
    is_fine: bool,
    text: bool,
    list: Option<Box<Kinds>>,
    object: Option<Members>,
    /// Something nested too deep.
    is_deep: bool,
}

/// The kinds of the members of objects, in the order in which their keys were met.
#[derive(Debug, Clone, Default)]
pub(super) struct Members {
    pub(super) names: Vec<String>,
    kinds: Vec<Kinds>,
    by_name: HashMap<String, usize>,
}

impl Members {
    /// Adds the members of a well-formed object that begins at `at`.
    pub(super) fn add(&mut self, text: &str, at: usize, depth: usize) {
        let bytes = text.as_bytes();
        let mut at = blanks::<false>(bytes, at + 1);
        if byte(bytes, at) == b'}' {
            return;
        }
        loop {
            let Ok(end) = string(bytes, at) else { return };
            let name = unescaped(text.get(at + 1..end - 1).unwrap_or_default());
            let Ok(begin) = after_colon::<false>(bytes, end) else { return };
            let Ok(end) = value::<false>(bytes, begin) else { return };
            self.kinds(&name).add(text, begin, end, depth);
            match next::<false>(bytes, end, b'}') {
                Ok(Next::Another(begin)) => at = begin,
                _ => return,
            }
        }
    }

    fn kinds(&mut self, name: &str) -> &mut Kinds {
        let number = match self.by_name.get(name) {
            Some(&number) => number,
            None => {
                self.by_name.insert(name.to_string(), self.names.len());
                self.names.push(name.to_string());
                self.kinds.push(Kinds::default());
                self.names.len() - 1
            }
        };
        &mut self.kinds[number]
    }

    /// Adds what was found elsewhere.
    pub(super) fn merge(&mut self, other: &Members) {
        for (name, kinds) in other.names.iter().zip(&other.kinds) {
            self.kinds(name).merge(kinds);
        }
    }

    /// Names and shapes, in the order in which they were met.
    pub(super) fn shapes(&self) -> Vec<(String, Shape)> {
        let shapes = self.kinds.iter().map(Kinds::shape);
        self.names.iter().cloned().zip(shapes).collect()
    }
}

impl Kinds {
    /// Adds the well-formed value that stands at `begin..end`.
    fn add(&mut self, text: &str, begin: usize, end: usize, depth: usize) {
        let bytes = text.as_bytes();
        match byte(bytes, begin) {
            b'"' => self.add_text(&unescaped(text.get(begin + 1..end - 1).unwrap_or_default())),
            b't' | b'f' => self.boolean = true,
            b'{' | b'[' if depth >= DEPTH_MAX => self.is_deep = true,
            b'{' => self.object.get_or_insert_default().add(text, begin, depth + 1),
            b'[' => {
                let kinds = self.list.get_or_insert_default();
                let mut at = blanks::<false>(bytes, begin + 1);
                while byte(bytes, at) != b']' {
                    let Ok(end) = value::<false>(bytes, at) else { return };
                    kinds.add(text, at, end, depth + 1);
                    match next::<false>(bytes, end, b']') {
                        Ok(Next::Another(begin)) => at = begin,
                        _ => return,
                    }
                }
            }
            b'n' => {}
            _ => self.add_number(text.get(begin..end).unwrap_or_default().as_bytes()),
        }
    }

    fn add_number(&mut self, text: &[u8]) {
        match number::integer(text) {
            Some(value) if i64::try_from(value).is_ok() => self.integer = true,
            Some(_) if number::decimal(text, DECIMAL_DIGITS, 0).is_some() => {
                self.long_integer = true;
            }
            _ => self.float = true,
        }
    }

    fn add_text(&mut self, text: &str) {
        let text = text.as_bytes();
        if !text.first().is_some_and(u8::is_ascii_digit) {
            self.text = true;
        } else if time::date(text).is_some() {
            self.date = true;
        } else if let Some(stamp) = time::stamp(text) {
            self.stamp |= stamp.zone.is_none();
            self.zoned |= stamp.zone.is_some();
            self.is_fine |= stamp.fraction_digits > 6;
        } else {
            self.text = true;
        }
    }

    fn merge(&mut self, other: &Kinds) {
        self.boolean |= other.boolean;
        self.integer |= other.integer;
        self.long_integer |= other.long_integer;
        self.float |= other.float;
        self.date |= other.date;
        self.stamp |= other.stamp;
        self.zoned |= other.zoned;
        self.is_fine |= other.is_fine;
        self.text |= other.text;
        self.is_deep |= other.is_deep;
        if let Some(list) = &other.list {
            self.list.get_or_insert_default().merge(list);
        }
        if let Some(object) = &other.object {
            self.object.get_or_insert_default().merge(object);
        }
    }

    /// The shape that holds all values.
    fn shape(&self) -> Shape {
        let number = self.integer || self.long_integer || self.float;
        let text = self.text || self.date || self.stamp || self.zoned;
        let (list, object) = (self.list.is_some(), self.object.is_some());
        let classes = [self.boolean, number, text, list, object];
        match classes.iter().filter(|&&there| there).count() {
            0 if !self.is_deep => return Shape::Plain(DataType::Utf8View),
            1 if !self.is_deep => {}
            _ if !self.is_deep && !list && !object => return Shape::Plain(DataType::Utf8View),
            _ => return Shape::Json,
        }
        if let Some(items) = &self.list {
            return Shape::List(Box::new(items.shape()));
        }
        if let Some(members) = &self.object {
            let few = (1..=KEYS_MAX).contains(&members.names.len());
            return if few { Shape::Struct(members.shapes()) } else { Shape::Json };
        }
        Shape::Plain(self.plain_type())
    }

    /// The type of values that are all Booleans, numbers or strings.
    fn plain_type(&self) -> DataType {
        let unit = if self.is_fine { TimeUnit::Nanosecond } else { TimeUnit::Microsecond };
        match () {
            () if self.boolean => DataType::Boolean,
            () if self.float => DataType::Float64,
            () if self.long_integer => DataType::Decimal128(DECIMAL_DIGITS, 0),
            () if self.integer => DataType::Int64,
            () if self.text => DataType::Utf8View,
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

    fn shape_of(values: &[&str]) -> Shape {
        let mut members = Members::default();
        for value in values {
            let text = format!("{{\"a\":{value}}}{}", "\0".repeat(64));
            members.add(&text, 0, 0);
        }
        members.shapes().remove(0).1
    }

    #[test]
    fn shapes_hold_all_values() {
        let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
        let nanos = DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
        let plain: [(&[&str], DataType); 15] = [
            (&["null"], DataType::Utf8View),
            (&["1", "null", "-2"], DataType::Int64),
            (&["1", "2.5"], DataType::Float64),
            (&["1", "1e3"], DataType::Float64),
            (&["9223372036854775808", "1"], DataType::Decimal128(38, 0)),
            (&["true", "null"], DataType::Boolean),
            (&["\"1\"", "\"x\""], DataType::Utf8View),
            (&["\"1\""], DataType::Utf8View),
            (&["\"\"", "\"2020-01-01\""], DataType::Utf8View),
            (&["\"2020-01-01\""], DataType::Date32),
            (&["\"2020-01-01\"", "\"2020-01-01 10:00\""], micros),
            (&["\"2020-01-01T10:00:00.1234567Z\""], nanos),
            (&["\"2020-01-01T10:00:00Z\"", "\"2020-01-01\""], DataType::Utf8View),
            (&["\"2020-02-30\""], DataType::Utf8View),
            (&["99999999999999999999999999999999999999999999"], DataType::Float64),
        ];
        for (values, expected) in plain {
            assert_eq!(shape_of(values), Shape::Plain(expected), "{values:?}");
        }
        for values in [["1", "\"x\""], ["true", "1"]] {
            assert_eq!(shape_of(&values), Shape::Plain(DataType::Utf8View), "{values:?}");
        }
        for values in [["1", "[]"], ["[]", "{\"a\":1}"], ["{}", "null"]] {
            assert_eq!(shape_of(&values), Shape::Json, "{values:?}");
        }
    }

    #[test]
    fn nested_values_have_nested_shapes() {
        let int = || Shape::Plain(DataType::Int64);
        let text = || Shape::Plain(DataType::Utf8View);
        assert_eq!(shape_of(&["[]", "[1]", "null"]), Shape::List(Box::new(int())));
        assert_eq!(shape_of(&["[]"]), Shape::List(Box::new(text())));
        assert_eq!(shape_of(&["[[1],[\"x\"]]"]).data_type().to_string(), "List(List(Utf8View))");
        let found = shape_of(&["{\"x\":1}", "{\"y\":[{\"z\":null}],\"x\":2}"]);
        let inner = Shape::Struct(vec![("z".into(), text())]);
        let members = vec![("x".into(), int()), ("y".into(), Shape::List(Box::new(inner)))];
        assert_eq!(found, Shape::Struct(members));
        let deep = format!("{}{}", "[".repeat(60), "]".repeat(60));
        let mut shape = &shape_of(&[&deep]);
        while let Shape::List(item) = shape {
            shape = item;
        }
        assert_eq!(*shape, Shape::Json);
    }
}
