//! Values for the parameters of a program.

use std::collections::BTreeMap;

/// Values for `$name`, `$1` and `?` in a program; `?` counts from `$1`.
///
/// ```
/// use gristmill::{Config, Parameters, Session};
///
/// # fn main() -> gristmill::Result<()> {
/// let session = Session::new(Config { threads: Some(1), ..Config::default() })?;
/// let parameters = Parameters::new().with("least", 2).with("1", "b");
/// let sql = "select * from (values (1, 'a'), (2, 'b')) t(n, s) where n >= $least and s = $1";
/// let mut rows = 0;
/// for batch in session.sql_with(sql, &parameters)? {
///     rows += batch?.num_rows();
/// }
/// assert_eq!(rows, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Parameters {
    values: BTreeMap<String, Parameter>,
}

/// The value of a parameter.
#[derive(Debug, Clone, PartialEq)]
pub enum Parameter {
    /// SQL's NULL.
    Null,
    /// A Boolean.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A double.
    Double(f64),
    /// A text, which becomes what the place wants where the parameter stands: beside a number a
    /// number, beside a date a date.
    Text(String),
}

impl Parameters {
    /// No values.
    pub fn new() -> Self {
        Parameters::default()
    }

    /// These values and one more; the last of a name counts.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<Parameter>) -> Self {
        self.values.insert(name.into(), value.into());
        self
    }

    /// The value of that name.
    pub fn get(&self, name: &str) -> Option<&Parameter> {
        self.values.get(name)
    }

    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }
}

impl From<bool> for Parameter {
    fn from(value: bool) -> Self {
        Parameter::Bool(value)
    }
}

impl From<i32> for Parameter {
    fn from(value: i32) -> Self {
        Parameter::Int(value.into())
    }
}

impl From<i64> for Parameter {
    fn from(value: i64) -> Self {
        Parameter::Int(value)
    }
}

impl From<f64> for Parameter {
    fn from(value: f64) -> Self {
        Parameter::Double(value)
    }
}

impl From<&str> for Parameter {
    fn from(value: &str) -> Self {
        Parameter::Text(value.to_string())
    }
}

impl From<String> for Parameter {
    fn from(value: String) -> Self {
        Parameter::Text(value)
    }
}

impl<T: Into<Parameter>> From<Option<T>> for Parameter {
    fn from(value: Option<T>) -> Self {
        value.map_or(Parameter::Null, Into::into)
    }
}
