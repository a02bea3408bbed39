//! An aggregate of the program's own as the front end declares it and the engine calls it.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, UInt32Array, new_empty_array};
use arrow::compute::take;
use arrow::datatypes::DataType;
use datafusion_common::{Result as FrontEnd, internal_err};
use datafusion_expr::function::AccumulatorArgs;
use datafusion_expr::{
    Accumulator as FrontEndAccumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility,
};
use gristmill_engine::batch::{logical_type, to_logical};
use gristmill_engine::expr::{
    AggregateFunction as EngineFunction, GroupStates as EngineStates, Literal,
};
use gristmill_engine::{Error, Result};

use super::aggregate::{AggregateFunction, GroupStates};
use super::bound::Bound;
use super::guard::{checked, guarded, to_front_end};

/// See the module documentation.
pub(crate) type BoundAggregate = Bound<dyn AggregateFunction>;

impl BoundAggregate {
    /// # Errors
    /// `Input` when the function panics about its own name.
    pub(crate) fn new(function: Arc<dyn AggregateFunction>) -> Result<Self> {
        let (name, arguments) =
            guarded("of the program", || Ok((function.name().to_string(), function.arguments())))?;
        let signature = Signature::user_defined(Volatility::Immutable);
        Ok(Bound { name, arguments, signature, function })
    }

    /// The function behind a name of the front end, if it is one of the program's own.
    pub(crate) fn of(function: &AggregateUDF) -> Option<&BoundAggregate> {
        function.inner().downcast_ref::<BoundAggregate>()
    }

    /// The type that the function gives for arguments that it sees so.
    fn own_type(&self, seen: &[DataType]) -> Result<DataType> {
        guarded(&self.name, || self.function.return_type(seen))
    }
}

impl EngineFunction for BoundAggregate {
    fn name(&self) -> &str {
        &self.name
    }

    fn states(
        &self,
        args: &[DataType],
        _: &[Literal],
        returns: &DataType,
    ) -> Result<Box<dyn EngineStates>> {
        let seen = self.arguments.seen(args);
        let state_types = guarded(&self.name, || {
            let columns = self.function.states(&seen)?.state()?;
            Ok(columns.iter().map(|column| column.data_type().clone()).collect())
        })?;
        Ok(Box::new(BoundStates {
            state_types,
            name: self.name.clone(),
            own_type: self.own_type(&seen)?,
            returns: returns.clone(),
            states: guarded(&self.name, || self.function.states(&seen))?,
            seen,
            groups: 0,
            bytes: 0,
        }))
    }
}

struct BoundStates {
    name: String,
    /// The types of the arguments and the result, as the function sees them.
    seen: Vec<DataType>,
    own_type: DataType,
    state_types: Vec<DataType>,
    returns: DataType,
    states: Box<dyn GroupStates>,
    groups: usize,
    /// What the states said last.
    bytes: usize,
}

impl EngineStates for BoundStates {
    fn update(
        &mut self,
        args: &[ArrayRef],
        groups: &[u32],
        filter: Option<&BooleanArray>,
        group_count: usize,
    ) -> Result<()> {
        self.groups = group_count;
        let arguments = args.iter().zip(&self.seen).map(|(array, seen)| to_logical(array, seen));
        let arguments = arguments.collect::<Result<Vec<_>>>()?;
        let states = &mut self.states;
        self.bytes = match filter {
            None => guarded(&self.name, || {
                states.update(&arguments, groups, group_count)?;
                Ok(states.size_bytes())
            })?,
            Some(filter) => {
                let (arguments, groups) = counted(&arguments, groups, filter)?;
                guarded(&self.name, || {
                    states.update(&arguments, &groups, group_count)?;
                    Ok(states.size_bytes())
                })?
            }
        };
        Ok(())
    }

    fn merge(&mut self, columns: &[ArrayRef], groups: &[u32], group_count: usize) -> Result<()> {
        self.groups = group_count;
        let states = &mut self.states;
        self.bytes = guarded(&self.name, || {
            states.merge(columns, groups, group_count)?;
            Ok(states.size_bytes())
        })?;
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ArrayRef>> {
        let groups = std::mem::take(&mut self.groups);
        self.bytes = 0;
        let columns = guarded(&self.name, || self.states.state())?;
        if columns.len() != self.state_types.len() {
            let (name, columns, types) = (&self.name, columns.len(), self.state_types.len());
            let message =
                format!("the function {name} gave {columns} columns of states, not {types}");
            return Err(Error::input(message));
        }
        for (column, data_type) in columns.iter().zip(&self.state_types) {
            checked(&self.name, column, groups, data_type)?;
        }
        Ok(columns)
    }

    fn evaluate(&mut self) -> Result<ArrayRef> {
        let groups = std::mem::take(&mut self.groups);
        self.bytes = 0;
        if groups == 0 {
            return Ok(new_empty_array(&self.returns));
        }
        let results = guarded(&self.name, || self.states.evaluate())?;
        checked(&self.name, &results, groups, &self.own_type)?;
        to_logical(&results, &self.returns)
    }

    fn size_bytes(&self) -> usize {
        self.bytes
    }
}

/// The rows whose filter is true.
fn counted(
    arguments: &[ArrayRef],
    groups: &[u32],
    filter: &BooleanArray,
) -> Result<(Vec<ArrayRef>, Vec<u32>)> {
    let rows = (0..groups.len()).filter(|&row| filter.is_valid(row) && filter.value(row));
    let rows: Vec<u32> = rows.map(|row| row as u32).collect();
    let groups = rows.iter().map(|&row| groups[row as usize]).collect();
    let rows = UInt32Array::from(rows);
    let arguments = arguments.iter().map(|array| Ok(take(array, &rows, None)?));
    Ok((arguments.collect::<Result<_>>()?, groups))
}

impl AggregateUDFImpl for BoundAggregate {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> FrontEnd<Vec<DataType>> {
        self.arguments.planned(&self.name, given).map_err(to_front_end)
    }

    fn return_type(&self, planned: &[DataType]) -> FrontEnd<DataType> {
        let own = self.own_type(&self.arguments.seen(planned));
        own.map(|own| logical_type(&own)).map_err(to_front_end)
    }

    fn accumulator(&self, _: AccumulatorArgs) -> FrontEnd<Box<dyn FrontEndAccumulator>> {
        internal_err!("{} is computed by the engine", self.name)
    }
}
