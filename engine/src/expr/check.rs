//! Whether an expression fits the schema it is to be evaluated over.

use arrow::datatypes::{DataType, Schema};

use super::Expr;
use crate::batch::{is_physical, physical_type};
use crate::error::{Error, Result};

impl Expr {
    /// Checks that every column exists in `input` and has the type the expression takes it for.
    ///
    /// # Errors
    /// `Internal` for the first column that does not: the planner resolved it against another
    /// schema.
    pub fn check(&self, input: &Schema) -> Result<()> {
        if let Expr::Column { index, data_type } = self {
            let Some(field) = input.fields().get(*index) else {
                let count = input.fields().len();
                return Err(Error::internal(format!("column #{index} of an input of {count}")));
            };
            if !same_values(field.data_type(), data_type) {
                let found = field.data_type();
                return Err(Error::internal(format!("column #{index}: {found}, not {data_type}")));
            }
        }
        self.children().into_iter().try_for_each(|child| child.check(input))
    }

    /// Checks that the expression is a condition over `input`.
    ///
    /// # Errors
    /// As [`Expr::check`], and `Internal` when the result is not Boolean.
    pub fn check_condition(&self, input: &Schema) -> Result<()> {
        match self.data_type() {
            DataType::Boolean => self.check(input),
            other => Err(Error::internal(format!("`{self}` is no condition but {other}"))),
        }
    }
}

/// Types that share their values: strings of any layout, a dictionary and its values.
fn same_values(a: &DataType, b: &DataType) -> bool {
    a == b || physical_type(a) == physical_type(b) || is_physical(&physical_type(a), b)
}
