//! Functions from the values of a row to a value, as programs write them.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use gristmill_engine::Result;

use super::arguments::Arguments;

/// A function from the values of a row to a value. [`ScalarDef`] makes one of a closure.
///
/// ```
/// use std::sync::Arc;
///
/// use gristmill::arrow::array::{ArrayRef, AsArray, StringArray};
/// use gristmill::arrow::datatypes::DataType;
/// use gristmill::{Arguments, Config, Result, ScalarFunction, Session};
///
/// /// Greets everybody, and those without a name too.
/// struct Greet {
///     word: String,
/// }
///
/// impl ScalarFunction for Greet {
///     fn name(&self) -> &str {
///         "greet"
///     }
///
///     fn arguments(&self) -> Arguments {
///         [DataType::Utf8].into()
///     }
///
///     fn return_type(&self, _: &[DataType]) -> Result<DataType> {
///         Ok(DataType::Utf8)
///     }
///
///     fn invoke(&self, arguments: &[ArrayRef], _: usize) -> Result<ArrayRef> {
///         let names = arguments[0].as_string::<i32>().iter();
///         let names = names.map(|name| name.unwrap_or("stranger"));
///         let greetings = names.map(|name| Some(format!("{} {name}", self.word)));
///         Ok(Arc::new(greetings.collect::<StringArray>()))
///     }
/// }
///
/// # fn main() -> Result<()> {
/// let session = Session::new(Config::default())?;
/// session.register_scalar(Greet { word: "Hello".into() })?;
/// let rows = session.collect("select greet(who) as g from (values ('Ada'), (null)) t(who)")?;
/// assert_eq!(rows[0].column(0).as_string_view().value(1), "Hello stranger");
/// # Ok(())
/// # }
/// ```
///
/// **NULL** is a value like others: functions see it, and decide what they make of it.
///
/// **Rows** come in batches of a size that may differ from call to call, on several threads at
/// once. Rows that conditions left out before are not among them.
pub trait ScalarFunction: Send + Sync {
    /// Its name in SQL, which is found in capitals too.
    fn name(&self) -> &str;

    /// Which arguments it takes.
    fn arguments(&self) -> Arguments;

    /// The type of its results, for arguments of the types that [`ScalarFunction::invoke`] gets.
    ///
    /// # Errors
    /// `Input` when it is not defined for these types.
    fn return_type(&self, arguments: &[DataType]) -> Result<DataType>;

    /// Whether equal arguments may give different results: such a function is called for every row
    /// of the place where it was written, and never ahead of time.
    fn is_volatile(&self) -> bool {
        false
    }

    /// The results for `rows` rows, one a row: every argument is an array of so many values, and
    /// so is the answer. For constants a function is called with one row, or when the statement is
    /// planned.
    ///
    /// # Errors
    /// `Input` for values that it is not defined on; any error ends the query.
    fn invoke(&self, arguments: &[ArrayRef], rows: usize) -> Result<ArrayRef>;
}

/// A [`ScalarFunction`] that is a closure.
///
/// ```
/// use std::sync::Arc;
///
/// use gristmill::arrow::array::{AsArray, Int64Array};
/// use gristmill::arrow::datatypes::{DataType, Int64Type};
/// use gristmill::{Config, ScalarDef, Session};
///
/// # fn main() -> gristmill::Result<()> {
/// let session = Session::new(Config::default())?;
/// let int = DataType::Int64;
/// session.register_scalar(ScalarDef::new("plus_one", [int.clone()], int, |arguments, _rows| {
///     let numbers = arguments[0].as_primitive::<Int64Type>().iter();
///     Ok(Arc::new(numbers.map(|n| n.map(|n| n + 1)).collect::<Int64Array>()))
/// }))?;
/// let rows = session.collect("select plus_one(n) as m from (values (1), (41)) t(n)")?;
/// assert_eq!(rows[0].column(0).as_primitive::<Int64Type>().values(), &[2, 42]);
/// # Ok(())
/// # }
/// ```
pub struct ScalarDef<F> {
    name: String,
    arguments: Arguments,
    returns: DataType,
    volatile: bool,
    invoke: F,
}

impl<F> ScalarDef<F> {
    /// The function `invoke` under a name; see [`ScalarFunction`] for what its parts mean.
    pub fn new(
        name: impl Into<String>,
        arguments: impl Into<Arguments>,
        returns: DataType,
        invoke: F,
    ) -> Self
    where
        F: Fn(&[ArrayRef], usize) -> Result<ArrayRef> + Send + Sync,
    {
        let (name, arguments) = (name.into(), arguments.into());
        ScalarDef { name, arguments, returns, volatile: false, invoke }
    }

    /// The function as one that may give different results for equal arguments.
    pub fn volatile(self) -> Self {
        ScalarDef { volatile: true, ..self }
    }
}

impl<F> ScalarFunction for ScalarDef<F>
where
    F: Fn(&[ArrayRef], usize) -> Result<ArrayRef> + Send + Sync,
{
    fn name(&self) -> &str {
        &self.name
    }

    fn arguments(&self) -> Arguments {
        self.arguments.clone()
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.returns.clone())
    }

    fn is_volatile(&self) -> bool {
        self.volatile
    }

    fn invoke(&self, arguments: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        (self.invoke)(arguments, rows)
    }
}
