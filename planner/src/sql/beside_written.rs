//! Texts that are constants, in a column of VALUES or in a list in which another value is written
//! as a moment, an interval or a Boolean: they are read as that. The binder has no type for such a
//! column. Only what is written so is seen.

use datafusion_sql::sqlparser::ast::{DataType, Expr, TypedString, Value, ValueWithSpan};

use super::syntax::{cast, written};

/// Casts the texts among values to the type that another one is written in.
pub(super) fn read_texts(values: &mut [&mut Expr]) {
    if !values.iter().any(|value| written(plainly(value)).is_some()) {
        return;
    }
    let types = || values.iter().filter_map(|value| written_type(value));
    // Dates beside timestamps are timestamps.
    let Some(wanted) = types().find(is_timestamp).or_else(|| types().next()) else { return };
    for value in values {
        if written(plainly(value)).is_some() {
            let text = std::mem::replace(&mut **value, Expr::value(Value::Null));
            **value = cast(text, wanted.clone());
        }
    }
}

fn plainly(value: &Expr) -> &Expr {
    match value {
        Expr::Nested(value) => plainly(value),
        value => value,
    }
}

/// The type that a value is written in, if that is none of numbers and texts.
fn written_type(value: &Expr) -> Option<DataType> {
    match plainly(value) {
        Expr::TypedString(TypedString { data_type, .. }) | Expr::Cast { data_type, .. } => {
            let is_moment = matches!(
                data_type,
                DataType::Date | DataType::Time(..) | DataType::Interval { .. } | DataType::Boolean
            );
            (is_moment || is_timestamp(data_type)).then(|| data_type.clone())
        }
        Expr::Interval(_) => Some(DataType::Interval { fields: None, precision: None }),
        Expr::Value(ValueWithSpan { value: Value::Boolean(_), .. }) => Some(DataType::Boolean),
        _ => None,
    }
}

fn is_timestamp(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(..) | DataType::TimestampNtz(_) | DataType::Datetime(_))
}
