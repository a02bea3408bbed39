//! Aggregates as programs write them: a state for one group.
//!
//! The rows of a batch are put in the order of their groups, and each group is given its own.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, UInt32Array};
use arrow::compute::{concat, take};
use arrow::datatypes::DataType;
use gristmill_engine::{Error, Result};

use super::aggregate::{AggregateFunction, GroupStates};
use super::arguments::Arguments;

/// The state of an aggregate for one group; see [`AggregateFunction`] for when it is called.
pub trait Accumulator: Send {
    /// Adds `rows` rows: every argument is an array of so many values.
    ///
    /// # Errors
    /// `Input` for values that the function is not defined on; any error ends the query.
    fn update(&mut self, arguments: &[ArrayRef], rows: usize) -> Result<()>;

    /// The state as columns of one row, from which [`Accumulator::merge`] can make it again: it may
    /// be written to disk. The number of columns and their types are always the same.
    ///
    /// # Errors
    /// Any error ends the query.
    fn state(&self) -> Result<Vec<ArrayRef>>;

    /// Adds states as [`Accumulator::state`] gave them, one a row.
    ///
    /// # Errors
    /// As [`Accumulator::update`].
    fn merge(&mut self, states: &[ArrayRef]) -> Result<()>;

    /// The result: an array of one value.
    ///
    /// # Errors
    /// Any error ends the query.
    fn evaluate(&self) -> Result<ArrayRef>;

    /// Bytes held on the heap beside the state itself; they count against the memory limit.
    fn heap_bytes(&self) -> usize {
        0
    }
}

type Make = dyn Fn() -> Box<dyn Accumulator> + Send + Sync;

/// An [`AggregateFunction`] that has a state of its own for each group.
///
/// ```
/// use std::sync::Arc;
///
/// use gristmill::arrow::array::{ArrayRef, AsArray, Float64Array};
/// use gristmill::arrow::datatypes::{DataType, Float64Type};
/// use gristmill::{Accumulator, AggregateDef, Config, Result, Session};
///
/// /// The product of all values that are not NULL.
/// struct Product(f64);
///
/// impl Accumulator for Product {
///     fn update(&mut self, arguments: &[ArrayRef], _: usize) -> Result<()> {
///         let factors = arguments[0].as_primitive::<Float64Type>();
///         self.0 *= factors.iter().flatten().product::<f64>();
///         Ok(())
///     }
///
///     fn state(&self) -> Result<Vec<ArrayRef>> {
///         Ok(vec![self.evaluate()?])
///     }
///
///     fn merge(&mut self, states: &[ArrayRef]) -> Result<()> {
///         self.update(states, states[0].len())
///     }
///
///     fn evaluate(&self) -> Result<ArrayRef> {
///         Ok(Arc::new(Float64Array::from(vec![self.0])))
///     }
/// }
///
/// # fn main() -> Result<()> {
/// let session = Session::new(Config::default())?;
/// let double = DataType::Float64;
/// let product = AggregateDef::new("product_of", [double.clone()], double, || Product(1.0));
/// session.register_aggregate(product)?;
/// let rows = session.collect("select product_of(n) as p from (values (2), (3), (7)) t(n)")?;
/// assert_eq!(rows[0].column(0).as_primitive::<Float64Type>().value(0), 42.0);
/// # Ok(())
/// # }
/// ```
pub struct AggregateDef {
    name: String,
    arguments: Arguments,
    returns: DataType,
    make: Arc<Make>,
    /// Bytes of a state, without its heap.
    state_bytes: usize,
}

impl AggregateDef {
    /// An aggregate whose groups begin with what `make` gives.
    pub fn new<A: Accumulator + 'static>(
        name: impl Into<String>,
        arguments: impl Into<Arguments>,
        returns: DataType,
        make: impl Fn() -> A + Send + Sync + 'static,
    ) -> Self {
        AggregateDef {
            name: name.into(),
            arguments: arguments.into(),
            returns,
            make: Arc::new(move || Box::new(make())),
            state_bytes: size_of::<A>() + size_of::<Box<dyn Accumulator>>(),
        }
    }
}

impl AggregateFunction for AggregateDef {
    fn name(&self) -> &str {
        &self.name
    }

    fn arguments(&self) -> Arguments {
        self.arguments.clone()
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.returns.clone())
    }

    fn states(&self, _: &[DataType]) -> Result<Box<dyn GroupStates>> {
        let (make, state_bytes) = (self.make.clone(), self.state_bytes);
        Ok(Box::new(Accumulators { make, groups: Vec::new(), state_bytes, heap_bytes: 0 }))
    }
}

struct Accumulators {
    make: Arc<Make>,
    groups: Vec<Box<dyn Accumulator>>,
    state_bytes: usize,
    heap_bytes: usize,
}

impl Accumulators {
    /// Gives every group its rows of these columns.
    fn give(
        &mut self,
        columns: &[ArrayRef],
        groups: &[u32],
        group_count: usize,
        add: impl Fn(&mut dyn Accumulator, &[ArrayRef], usize) -> Result<()>,
    ) -> Result<()> {
        while self.groups.len() < group_count {
            let new = (self.make)();
            self.heap_bytes += new.heap_bytes();
            self.groups.push(new);
        }
        let mut order: Vec<u32> = (0..groups.len() as u32).collect();
        let sorted = match groups.is_sorted() {
            true => columns.to_vec(),
            false => {
                order.sort_by_key(|&row| groups[row as usize]);
                let order = UInt32Array::from(order.clone());
                let sorted = columns.iter().map(|column| Ok(take(column, &order, None)?));
                sorted.collect::<Result<_>>()?
            }
        };
        let mut start = 0;
        for run in order.chunk_by(|&a, &b| groups[a as usize] == groups[b as usize]) {
            let own: Vec<ArrayRef> =
                sorted.iter().map(|column| column.slice(start, run.len())).collect();
            let group = self.groups.get_mut(groups[run[0] as usize] as usize);
            let group = group.ok_or_else(|| Error::internal("a row of no group"))?;
            let before = group.heap_bytes();
            add(group.as_mut(), &own, run.len())?;
            self.heap_bytes = (self.heap_bytes + group.heap_bytes()).saturating_sub(before);
            start += run.len();
        }
        Ok(())
    }

    fn take_out(&mut self) -> Vec<Box<dyn Accumulator>> {
        self.heap_bytes = 0;
        std::mem::take(&mut self.groups)
    }
}

impl GroupStates for Accumulators {
    fn update(&mut self, arguments: &[ArrayRef], groups: &[u32], count: usize) -> Result<()> {
        self.give(arguments, groups, count, |group, own, rows| group.update(own, rows))
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[u32], count: usize) -> Result<()> {
        self.give(states, groups, count, |group, own, _| group.merge(own))
    }

    fn state(&mut self) -> Result<Vec<ArrayRef>> {
        let groups = self.take_out();
        if groups.is_empty() {
            // One state tells the types.
            let columns = (self.make)().state()?;
            return Ok(columns.iter().map(|column| column.slice(0, 0)).collect());
        }
        let rows = groups.iter().map(|group| group.state()).collect::<Result<Vec<_>>>()?;
        let width = rows.first().map_or(0, Vec::len);
        if rows.iter().any(|row| row.len() != width) {
            return Err(Error::input("a state that is not always of as many columns"));
        }
        (0..width).map(|column| together(rows.iter().map(|row| &row[column]))).collect()
    }

    fn evaluate(&mut self) -> Result<ArrayRef> {
        let groups = self.take_out();
        let values = groups.iter().map(|group| group.evaluate()).collect::<Result<Vec<_>>>()?;
        together(values.iter())
    }

    fn size_bytes(&self) -> usize {
        self.groups.len() * self.state_bytes + self.heap_bytes
    }
}

/// The values of several groups as one column.
fn together<'a>(values: impl Iterator<Item = &'a ArrayRef>) -> Result<ArrayRef> {
    let values: Vec<&dyn Array> = values.map(|value| value.as_ref()).collect();
    if let Some(wrong) = values.iter().find(|value| value.len() != 1) {
        let message = format!("{} values for a group, where there is to be one", wrong.len());
        return Err(Error::input(message));
    }
    if let Some(two) = values.windows(2).find(|two| two[0].data_type() != two[1].data_type()) {
        let (one, other) = (two[0].data_type(), two[1].data_type());
        return Err(Error::input(format!("{one} for a group, and {other} for another")));
    }
    Ok(concat(&values)?)
}
