//! Partitions in the names of directories, as Hive has them: `year=2013/month=01/part.parquet`
//! gives every row of the file a `year` and a `month`.
//!
//! A column has the type that all its values have: integers, doubles, Booleans, dates, timestamps,
//! or text. `__HIVE_DEFAULT_PARTITION__` stands for NULL, and `%20` for a character by its number.

use std::path::{Component, Path};

use arrow::array::types::{Date32Type, TimestampMicrosecondType};
use arrow::compute::kernels::cast_utils::Parser;
use arrow::datatypes::{DataType, TimeUnit};
use gristmill_engine::expr::{Literal, Value};
use gristmill_engine::{Error, Result};

/// Whole numbers up to here are doubles exactly.
const EXACT_MAX: i64 = 1 << 53;

/// What stands for NULL in a path.
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// The columns that the paths of all files give, and their values, a row a file.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Partitions {
    pub(crate) columns: Vec<(String, DataType)>,
    pub(crate) values: Vec<Vec<Literal>>,
}

/// The partitions of files that are read together; none when no path has any.
///
/// # Errors
/// `Input` naming a file whose path has other keys than the first one's.
pub(crate) fn partitions(paths: &[impl AsRef<Path>]) -> Result<Partitions> {
    let pairs: Vec<Vec<(String, Option<String>)>> =
        paths.iter().map(|path| pairs(path.as_ref())).collect();
    let names = |pairs: &[(String, _)]| pairs.iter().map(|(k, _)| k.clone()).collect::<Vec<_>>();
    let Some(first) = pairs.first().map(|pairs| names(pairs)) else {
        return Ok(Partitions::default());
    };
    if let Some(other) = pairs.iter().position(|pairs| names(pairs) != first) {
        let (a, b) = (paths[0].as_ref().display(), paths[other].as_ref().display());
        let keys = |names: &[String]| match names {
            [] => "no partitions".to_string(),
            names => format!("the partitions {}", names.join(", ")),
        };
        return Err(Error::input(format!(
            "{a} has {} in its path, but {b} has {}; read them separately",
            keys(&first),
            keys(&names(&pairs[other]))
        )));
    }
    let mut partitions = Partitions { columns: Vec::new(), values: vec![Vec::new(); paths.len()] };
    for (number, name) in first.into_iter().enumerate() {
        let texts: Vec<Option<&str>> = pairs.iter().map(|p| p[number].1.as_deref()).collect();
        let data_type = type_of(&texts);
        for (values, text) in partitions.values.iter_mut().zip(texts) {
            let value = text.and_then(|text| value_of(text, &data_type)).unwrap_or(Value::Null);
            values.push(Literal { data_type: data_type.clone(), value });
        }
        partitions.columns.push((name, data_type));
    }
    Ok(partitions)
}

/// Keys and values in the names of the directories of a path.
fn pairs(path: &Path) -> Vec<(String, Option<String>)> {
    let directories = path.parent().into_iter().flat_map(Path::components);
    let pair = |component: Component<'_>| {
        let Component::Normal(name) = component else { return None };
        let (key, value) = name.to_str()?.split_once('=')?;
        (!key.is_empty()).then(|| (decoded(key), (value != NULL).then(|| decoded(value))))
    };
    directories.filter_map(pair).collect()
}

/// A text with its `%20` as characters.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        let hex = behind.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match hex.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(code) if byte == b'%' => {
                bytes.push(code);
                rest = &behind[2..];
            }
            _ => {
                bytes.push(byte);
                rest = behind;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_string())
}

/// The type that all values have.
fn type_of(texts: &[Option<&str>]) -> DataType {
    let candidates = [
        DataType::Int64,
        DataType::Float64,
        DataType::Boolean,
        DataType::Date32,
        DataType::Timestamp(TimeUnit::Microsecond, None),
    ];
    let holds = |data_type: &DataType| {
        texts.iter().flatten().all(|text| value_of(text, data_type).is_some())
    };
    let any = texts.iter().any(Option::is_some);
    let found = candidates.into_iter().find(|data_type| any && holds(data_type));
    found.unwrap_or(DataType::Utf8View)
}

/// The value of a type that a text is; `None` when it is none, or another text than the value's.
fn value_of(text: &str, data_type: &DataType) -> Option<Value> {
    let is_number = |extra: &str| {
        let number = |c: char| c.is_ascii_digit() || extra.contains(c);
        text.starts_with(|c: char| c.is_ascii_digit() || c == '-') && text.chars().all(number)
    };
    match data_type {
        DataType::Int64 if is_number("-") => text.parse().ok().map(Value::Int),
        // Of whole numbers those that doubles are exactly.
        DataType::Float64 if is_number("-") => {
            let whole = text.parse::<i64>().ok().filter(|whole| whole.abs() <= EXACT_MAX);
            whole.map(|whole| Value::Float(whole as f64))
        }
        DataType::Float64 if is_number("-.eE+") => {
            text.parse().ok().filter(|number: &f64| number.is_finite()).map(Value::Float)
        }
        DataType::Boolean => match text {
            "true" => Some(Value::Bool(true)),
            "false" => Some(Value::Bool(false)),
            _ => None,
        },
        DataType::Date32 if text.len() == 10 => {
            Date32Type::parse(text).map(|days| Value::Int(days.into()))
        }
        DataType::Timestamp(TimeUnit::Microsecond, None) if is_stamp(text) => {
            TimestampMicrosecondType::parse(text).map(Value::Int)
        }
        DataType::Utf8View => Some(Value::Text(text.to_string())),
        _ => None,
    }
}

/// Whether a text may be a timestamp without a time zone, in microseconds at most.
fn is_stamp(text: &str) -> bool {
    let fraction = text.split_once('.').map_or(0, |(_, digits)| digits.len());
    let stands = |c: char| c.is_ascii_digit() || "-T :.".contains(c);
    text.len() >= 10 && fraction <= 6 && text.chars().all(stands) && text.matches('-').count() == 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_the_type_of_all() {
        let cases: [(&[&str], DataType, &[&str]); 11] = [
            (&["99999999999999999999"], DataType::Utf8View, &["'99999999999999999999'"]),
            (&["9007199254740993", "1.5"], DataType::Utf8View, &["'9007199254740993'", "'1.5'"]),
            (&["2013-01-02T03%3A04%3A05Z"], DataType::Utf8View, &["'2013-01-02T03:04:05Z'"]),
            (&["2013", "-1", "007"], DataType::Int64, &["2013", "-1", "7"]),
            (&["1", "2.5"], DataType::Float64, &["1.0", "2.5"]),
            (&["1", "x"], DataType::Utf8View, &["'1'", "'x'"]),
            (&["true", "false"], DataType::Boolean, &["true", "false"]),
            (&["2013-01-02"], DataType::Date32, &["2013-01-02"]),
            (&["1", NULL], DataType::Int64, &["1", "NULL"]),
            (&[NULL, ""], DataType::Utf8View, &["NULL", "''"]),
            (&["a%20b%2Fc", "ž%"], DataType::Utf8View, &["'a b/c'", "'ž%'"]),
        ];
        for (texts, data_type, values) in cases {
            let paths: Vec<String> = texts.iter().map(|t| format!("d/k={t}/f.csv")).collect();
            let found = partitions(&paths).expect("partitions");
            assert_eq!(found.columns, [("k".to_string(), data_type)], "{texts:?}");
            let found: Vec<String> = found.values.iter().map(|v| v[0].to_string()).collect();
            assert_eq!(found, values);
        }
        let stamps = partitions(&["k=2013-01-01 10%3A00%3A00/a", "k=2013-01-02/a"]).expect("some");
        let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
        assert_eq!(stamps.columns, [("k".to_string(), micros)]);
    }

    #[test]
    fn all_files_have_the_same_keys() {
        let found = partitions(&["y=1/m=2/a", "y=1/m=3/b"]).expect("partitions");
        assert_eq!(found.columns.len(), 2);
        assert_eq!(
            partitions(&["a/b", "c"]).expect("none"),
            Partitions { columns: Vec::new(), values: vec![Vec::new(), Vec::new()] }
        );
        assert_eq!(partitions(&[""; 0]).expect("none"), Partitions::default());
        let error = partitions(&["y=1/a", "y=1/m=2/b"]).expect_err("differ").to_string();
        assert!(error.contains("y=1/a has the partitions y in its path"), "{error}");
        assert!(error.contains("y=1/m=2/b has the partitions y, m"), "{error}");
    }
}
