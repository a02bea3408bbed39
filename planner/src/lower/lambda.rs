//! Functions of lists that take a lambda: its body is an expression of the engine over the elements
//! of all lists of a chunk, with what it reads of the rows around repeated for each of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, ListArray, UInt32Array, new_empty_array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{cast, concat, filter, prep_null_mask_filter, take};
use arrow::datatypes::{DataType, Field, UInt32Type};
use datafusion_common::{Column, DFSchema};
use datafusion_expr::Expr as Logical;
use datafusion_expr::expr::{HigherOrderFunction, LambdaVariable};
use gristmill_engine::batch::{Chunk, Column as Values, Place, to_logical, to_physical};
use gristmill_engine::expr::{Argument, Evaluator, Expr, FunctionRef, ScalarFunction};
use gristmill_engine::memory::Governor;
use gristmill_engine::{Error, Result};

use super::expr::ExprLowering;
use crate::functions::{OfElements, lambda_arguments, with_arguments};

/// Begins the names of what a lambda is given, among the columns that its body reads.
const GIVEN: &str = "!lambda_";

impl ExprLowering<'_> {
    /// The call of a function that takes a lambda.
    pub(super) fn lambda(&self, call: &HigherOrderFunction) -> Result<Expr> {
        let (Some(which), [list, Logical::Lambda(lambda)]) =
            (OfElements::of(&call.func), &call.args[..])
        else {
            let name = call.name();
            return Err(Error::input(format!("{name} takes a list and a lambda")));
        };
        let list = self.lower(list)?;
        let given = lambda_arguments(&list.data_type());
        let given = given.map_err(|e| Error::input(e.strip_backtrace()))?;
        // None that a lambda around this one has given.
        let is_free = |prefix: &String| !self.columns().any(|name| name.starts_with(prefix));
        let prefix = (0..).map(|number| format!("{GIVEN}{number}_")).find(is_free);
        let prefix = prefix.unwrap_or_default();
        let names: Vec<String> = (0..given.len()).map(|at| format!("{prefix}{at}")).collect();
        let column = |at: usize, _: &LambdaVariable| {
            let name = names.get(at).map_or(GIVEN, String::as_str);
            Logical::Column(Column::new_unqualified(name))
        };
        let body = with_arguments(lambda, &column).map_err(|e| Error::internal(e.to_string()))?;
        // What the body reads, in any order that is always the same.
        let read: BTreeSet<Column> = body.column_refs().into_iter().cloned().collect();
        let captured = read.iter().filter(|column| !names.contains(&column.name));
        let captured: Vec<Logical> = captured.cloned().map(Logical::Column).collect();
        let mut fields = Vec::with_capacity(captured.len() + given.len());
        let mut args = vec![list];
        for column in &captured {
            let lowered = self.lower(column)?;
            let Logical::Column(Column { relation, name, .. }) = column else { continue };
            let field = Field::new(name, lowered.data_type(), true);
            fields.push((relation.clone(), Arc::new(field)));
            args.push(lowered);
        }
        let given = given.iter().zip(&names);
        fields.extend(given.map(|(field, name)| {
            (None, Arc::new(Field::new(name, field.data_type().clone(), true)))
        }));
        let schema = DFSchema::new_with_metadata(fields, Default::default());
        let schema = schema.map_err(|e| Error::internal(e.to_string()))?;
        let body = self.over(&schema).lower(&body)?;
        let data_type = match which {
            OfElements::Transform => DataType::new_list(body.data_type(), true),
            OfElements::Filter => args[0].data_type(),
        };
        let function = Arc::new(ListLambda { which, name: call.name().to_string(), body });
        Ok(Expr::Call { function: FunctionRef::closure(function), args, data_type })
    }
}

/// A lambda over lists: the first argument is the list, the others are what its body reads besides.
struct ListLambda {
    which: OfElements,
    name: String,
    body: Expr,
}

impl ScalarFunction for ListLambda {
    fn name(&self) -> &str {
        &self.name
    }

    fn is_volatile(&self) -> bool {
        self.body.is_volatile()
    }

    fn invoke(&self, args: &[Argument], rows: usize, returns: &DataType) -> Result<ArrayRef> {
        let all = |argument: &Argument| -> Result<ArrayRef> {
            Ok(match argument {
                Argument::Array(array) => array.clone(),
                Argument::Constant(one) => take(one, &UInt32Array::from(vec![0; rows]), None)?,
            })
        };
        let (Some(lists), captured) = (args.first(), args.get(1..).unwrap_or_default()) else {
            return Err(Error::internal("a lambda without a list"));
        };
        let lists = all(lists)?;
        let lists = lists.as_list::<i32>();
        let elements = Elements::of(lists)?;
        let mut columns = Vec::with_capacity(captured.len() + 2);
        for argument in captured {
            columns.push(take(&all(argument)?, &elements.rows, None)?);
        }
        columns.push(elements.values.clone());
        columns.push(Arc::new(elements.places.clone()));
        let made = self.made(columns, elements.values.len())?;
        let nulls = lists.nulls().cloned();
        let (values, lengths) = match self.which {
            OfElements::Transform => (made, elements.lengths),
            OfElements::Filter => elements.filtered(&made)?,
        };
        let DataType::List(field) = returns else {
            return Err(Error::internal("a lambda over something that is no list"));
        };
        let values = cast(&values, field.data_type())?;
        let offsets = OffsetBuffer::from_lengths(lengths);
        Ok(Arc::new(ListArray::try_new(field.clone(), offsets, values, nulls)?))
    }
}

impl ListLambda {
    /// What the body makes of rows with these columns.
    fn made(&self, columns: Vec<ArrayRef>, rows: usize) -> Result<ArrayRef> {
        let values = columns
            .iter()
            .map(|array| Ok(Values::flat(array.data_type().clone(), to_physical(array)?)));
        let chunk = Chunk::new(values.collect::<Result<_>>()?, rows, Place::default());
        // The results are among those of the call, which has been given room for.
        let mut evaluator =
            Evaluator::new(std::slice::from_ref(&self.body), &Governor::unlimited());
        let mut made = Vec::new();
        let mut from = 0;
        while from < rows {
            let piece = evaluator.evaluate(&chunk, from)?;
            for column in &piece.value {
                let array = column.to_array(rows)?.slice(from, piece.until - from);
                made.push(to_logical(&array, &self.body.data_type())?);
            }
            from = piece.until;
        }
        match &made[..] {
            [] => Ok(new_empty_array(&self.body.data_type())),
            [one] => Ok(one.clone()),
            several => Ok(concat(&several.iter().map(|a| a.as_ref()).collect::<Vec<_>>())?),
        }
    }
}

/// The elements of lists in a row.
struct Elements {
    values: ArrayRef,
    /// The row of each.
    rows: UInt32Array,
    /// Where each is in its list, from 1 on.
    places: Int64Array,
    lengths: Vec<usize>,
}

impl Elements {
    /// Those of lists that are NULL are none.
    fn of(lists: &ListArray) -> Result<Elements> {
        let mut at = Vec::new();
        let mut rows = Vec::new();
        let mut places = Vec::new();
        let mut lengths = Vec::with_capacity(lists.len());
        for (row, ends) in lists.value_offsets().windows(2).enumerate() {
            let elements = if lists.is_valid(row) { ends[0]..ends[1] } else { 0..0 };
            lengths.push(elements.len());
            rows.extend(elements.clone().map(|_| row as u32));
            places.extend(elements.clone().enumerate().map(|(place, _)| place as i64 + 1));
            at.extend(elements.map(|place| place as u32));
        }
        let values = take(lists.values(), &UInt32Array::from(at), None)?;
        Ok(Elements { values, rows: rows.into(), places: places.into(), lengths })
    }

    /// Those for which a condition is true, and how many of each list.
    fn filtered(self, condition: &ArrayRef) -> Result<(ArrayRef, Vec<usize>)> {
        let condition = cast(condition, &DataType::Boolean)?;
        let condition = condition.as_boolean();
        let kept = match condition.null_count() {
            0 => condition.clone(),
            _ => prep_null_mask_filter(condition),
        };
        let mut lengths = vec![0; self.lengths.len()];
        let rows = filter(&self.rows, &kept)?;
        for &row in rows.as_primitive::<UInt32Type>().values() {
            lengths[row as usize] += 1;
        }
        Ok((filter(&self.values, &kept)?, lengths))
    }
}
