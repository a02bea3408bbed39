//! What SQL calls the types.

use arrow::datatypes::DataType;

/// The name of a type in SQL, as CREATE TABLE takes it where there is one.
pub(crate) fn type_name(data_type: &DataType) -> String {
    use DataType as T;
    let plain = match data_type {
        T::Null => "NULL",
        T::Boolean => "BOOLEAN",
        T::Int8 => "TINYINT",
        T::Int16 => "SMALLINT",
        T::Int32 => "INTEGER",
        T::Int64 => "BIGINT",
        T::UInt8 => "TINYINT UNSIGNED",
        T::UInt16 => "SMALLINT UNSIGNED",
        T::UInt32 => "INTEGER UNSIGNED",
        T::UInt64 => "BIGINT UNSIGNED",
        T::Float16 | T::Float32 => "REAL",
        T::Float64 => "DOUBLE",
        T::Utf8 | T::LargeUtf8 | T::Utf8View => "VARCHAR",
        T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_) => "BYTEA",
        T::Date32 | T::Date64 => "DATE",
        T::Time32(_) | T::Time64(_) => "TIME",
        T::Timestamp(_, None) => "TIMESTAMP",
        T::Timestamp(_, Some(_)) => "TIMESTAMP WITH TIME ZONE",
        T::Interval(_) | T::Duration(_) => "INTERVAL",
        T::Decimal32(p, s) | T::Decimal64(p, s) | T::Decimal128(p, s) | T::Decimal256(p, s) => {
            return format!("DECIMAL({p},{s})");
        }
        T::Dictionary(_, values) => return type_name(values),
        T::List(item) | T::LargeList(item) | T::ListView(item) | T::LargeListView(item) => {
            return format!("{}[]", type_name(item.data_type()));
        }
        T::FixedSizeList(item, length) => {
            return format!("{}[{length}]", type_name(item.data_type()));
        }
        T::Struct(fields) => {
            let field = |name: &str, t: &T| format!("{name} {}", type_name(t));
            let fields = fields.iter().map(|f| field(f.name(), f.data_type()));
            return format!("STRUCT({})", fields.collect::<Vec<_>>().join(", "));
        }
        T::Map(entries, _) => {
            return match entries.data_type() {
                T::Struct(fields) => {
                    let types = fields.iter().map(|field| type_name(field.data_type()));
                    format!("MAP({})", types.collect::<Vec<_>>().join(", "))
                }
                _ => "MAP".to_string(),
            };
        }
        other => return other.to_string(),
    };
    plain.to_string()
}

/// A message of the front end in which the types have their names in SQL. What is quoted is the
/// program's own.
pub(crate) fn with_type_names(message: &str) -> String {
    renamed(message, &|_| true)
}

/// The same of a message of anybody, a program's function among them: what could be a word of its
/// prose stays as it is.
pub(crate) fn with_types_spelled_out(message: &str) -> String {
    renamed(message, &is_no_prose)
}

/// Whether a type is written as no word is.
fn is_no_prose(spelled: &str) -> bool {
    let has_hump = spelled.chars().skip(1).any(|c| c.is_ascii_uppercase());
    let is_plural = spelled.ends_with("(s)") && !spelled.starts_with("Time");
    (has_hump || spelled.contains(|c: char| c.is_ascii_digit() || c == '(')) && !is_plural
}

fn renamed(message: &str, is_type: &dyn Fn(&str) -> bool) -> String {
    let mut out = String::with_capacity(message.len());
    let mut rest = message;
    while let Some(first) = rest.chars().next() {
        let word_end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let end = match first {
            // Up to the same quote, if it is one and no apostrophe.
            '\'' | '"' | '`' if !out.ends_with(char::is_alphanumeric) => {
                rest[1..].find(first).map_or(rest.len(), |end| end + 2)
            }
            _ if word_end == 0 => first.len_utf8(),
            _ => match type_at(&out, rest, word_end) {
                Some((data_type, end)) if is_type(&rest[..end]) => {
                    out.push_str(&type_name(&data_type));
                    rest = &rest[end..];
                    continue;
                }
                _ => word_end,
            },
        };
        out.push_str(&rest[..end]);
        rest = &rest[end..];
    }
    out
}

/// What stands behind words that are types and words of prose.
const NOUNS: [&str; 8] = [
    "array",
    "condition",
    "expression",
    "function",
    "literal",
    "operation",
    "operator",
    "predicate",
];

/// The type that a text behind another one begins with, and where that ends.
fn type_at(before: &str, text: &str, word_end: usize) -> Option<(DataType, usize)> {
    let behind = &text[word_end..];
    let is_of_name = before.ends_with(['/', '\\', '.', '-'])
        || behind.starts_with(['/', '\\', '-'])
        || behind.strip_prefix('.').is_some_and(|rest| rest.starts_with(char::is_alphanumeric));
    let is_prose =
        |noun: &&str| behind.strip_prefix(' ').is_some_and(|rest| rest.starts_with(*noun));
    if is_of_name || NOUNS.iter().any(is_prose) {
        return None;
    }
    let is_capital = text.starts_with(|c: char| c.is_ascii_uppercase());
    let mut depth = 0usize;
    let mut end = word_end;
    if text[word_end..].starts_with('(') {
        let closes = |(at, c): (usize, char)| {
            match c {
                '(' => depth += 1,
                ')' => depth -= 1,
                _ => {}
            }
            (depth == 0).then_some(at + c.len_utf8())
        };
        end += text[word_end..].char_indices().find_map(closes)?;
    }
    let data_type = text[..end].parse().ok().filter(|_| is_capital)?;
    (data_type != DataType::Null).then_some((data_type, end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::{Field, Fields};

    #[test]
    fn types_in_messages_get_the_names_of_sql() {
        let cases = [
            ("Utf8 + Interval(MonthDayNano) to", "VARCHAR + INTERVAL to"),
            (
                "cast 'Int64 Utf8' to Int32, Decimal128(15, 2).",
                "cast 'Int64 Utf8' to INTEGER, DECIMAL(15,2).",
            ),
            ("can't add List(Int64)", "can't add BIGINT[]"),
            ("Int64(1), MyInt64, Null and int64", "Int64(1), MyInt64, Null and int64"),
            ("a µ ‘Date32’ (Timestamp(µs)", "a µ ‘DATE’ (TIMESTAMP"),
            ("Decimal128(1", "Decimal128(1"),
            ("Binary operators, Boolean expression", "Binary operators, Boolean expression"),
            ("of Binary, to Boolean.", "of BYTEA, to BOOLEAN."),
            ("in data/Utf8/x.csv and Int64.csv", "in data/Utf8/x.csv and Int64.csv"),
        ];
        for (said, wanted) in cases {
            assert_eq!(with_type_names(said), wanted);
        }
    }

    #[test]
    fn words_of_prose_are_no_types_in_messages_of_anybody() {
        let same = [
            "Binary data is bad",
            "Boolean, Date32x, Date and Null",
            "a Struct, Map, Union or Dictionary; Duration",
            "Duration(s) of List",
        ];
        for said in same {
            assert_eq!(with_types_spelled_out(said), said);
        }
        let said = "Utf8View, LargeUtf8 to Int64: Timestamp(s), Decimal128(15, 2), List(Int64), \
                    Interval(MonthDayNano), Dictionary(Int32, Utf8) or LargeBinary, not 'Int64'";
        let wanted = "VARCHAR, VARCHAR to BIGINT: TIMESTAMP, DECIMAL(15,2), BIGINT[], INTERVAL, \
                      VARCHAR or BYTEA, not 'Int64'";
        assert_eq!(with_types_spelled_out(said), wanted);
    }

    #[test]
    fn types_have_names_of_sql() {
        let number = Field::new("n", DataType::Int32, true);
        let text = Field::new("t", DataType::Utf8View, true);
        let pair = DataType::Struct(Fields::from(vec![number.clone(), text]));
        let list = DataType::List(number.into());
        let map = DataType::Map(Field::new("entries", pair.clone(), false).into(), false);
        let names = [
            (DataType::Decimal128(15, 2), "DECIMAL(15,2)"),
            (list, "INTEGER[]"),
            (pair, "STRUCT(n INTEGER, t VARCHAR)"),
            (map, "MAP(INTEGER, VARCHAR)"),
            (DataType::Dictionary(DataType::Int32.into(), DataType::Utf8.into()), "VARCHAR"),
        ];
        for (data_type, name) in names {
            assert_eq!(type_name(&data_type), name);
        }
    }
}
