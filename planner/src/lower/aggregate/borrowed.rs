//! The engine's trait for aggregates over the front end's: those that are neither the engine's own
//! nor made of them. Approximate ones have the engine's states.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, new_empty_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion_common::{DataFusionError, ScalarValue};
use datafusion_expr::function::AccumulatorArgs;
use datafusion_expr::{AggregateUDF, EmitTo, GroupsAccumulator};
use datafusion_functions_aggregate_common::aggregate::groups_accumulator::GroupsAccumulatorAdapter;
use datafusion_functions_aggregate_common::tdigest::DEFAULT_MAX_SIZE;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::{Column, Literal as Constant};
use gristmill_engine::expr::{
    AggregateFunction, DistinctStates, GroupStates, Literal, QuantileStates, Quantiles,
};
use gristmill_engine::{Error, Result};

/// An aggregate of the front end.
pub(in crate::lower) struct BorrowedAggregate {
    function: Arc<AggregateUDF>,
}

impl BorrowedAggregate {
    /// An adapter for `function`.
    pub(in crate::lower) fn new(function: Arc<AggregateUDF>) -> Self {
        BorrowedAggregate { function }
    }
}

impl AggregateFunction for BorrowedAggregate {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn states(
        &self,
        args: &[DataType],
        parameters: &[Literal],
        returns: &DataType,
    ) -> Result<Box<dyn GroupStates>> {
        let constants = parameters.iter().map(|parameter| {
            let value = parameter.to_array()?;
            ScalarValue::try_from_array(&value, 0).map_err(|e| Error::internal(e.to_string()))
        });
        let constants: Vec<ScalarValue> = constants.collect::<Result<_>>()?;
        if let (Some(("approx_distinct", data_type)), []) = (self.named(args), &constants[..])
            && !data_type.is_null()
        {
            return Ok(Box::new(DistinctStates::new(returns.clone())));
        }
        let call = Call::new(self.function.clone(), args, &constants, returns);
        let failed = |e: DataFusionError| failed(self.name(), &e);
        if let Some(quantiles) = self.quantiles(args, &constants, returns) {
            // Asked for all the same: it says what is wrong with the constants.
            call.with_args(|args| self.function.accumulator(args)).map_err(failed)?;
            return Ok(Box::new(QuantileStates::new(quantiles)));
        }
        let states: Box<dyn GroupsAccumulator> = if call
            .with_args(|args| self.function.groups_accumulator_supported(args))
        {
            call.with_args(|args| self.function.create_groups_accumulator(args)).map_err(failed)?
        } else {
            // Asked for here, so that what is wrong with the arguments is heard at once.
            call.with_args(|args| self.function.accumulator(args)).map_err(failed)?;
            let make = move || call.with_args(|args| call.function.accumulator(args));
            Box::new(GroupsAccumulatorAdapter::new(make))
        };
        Ok(Box::new(BorrowedStates {
            name: self.name().to_string(),
            states,
            constants,
            returns: returns.clone(),
            groups: 0,
        }))
    }
}

impl BorrowedAggregate {
    /// Its name, and the type of its first argument.
    fn named<'a>(&'a self, args: &'a [DataType]) -> Option<(&'a str, &'a DataType)> {
        Some((self.function.name(), args.first()?))
    }

    /// The percentile that is asked for, if one is.
    fn quantiles(
        &self,
        args: &[DataType],
        constants: &[ScalarValue],
        returns: &DataType,
    ) -> Option<Quantiles> {
        let (name, data_type) = self.named(args)?;
        let before = match name {
            "approx_median" | "approx_percentile_cont" => 1,
            "approx_percentile_cont_with_weight" => 2,
            _ => return None,
        };
        if data_type.is_null() || args.len() != before {
            return None;
        }
        let number = |at: usize| match constants.get(at)?.cast_to(&DataType::Float64).ok()? {
            ScalarValue::Float64(number) => number,
            _ => None,
        };
        let (percentile, means) = match name {
            "approx_median" => (0.5, None),
            _ => (number(0)?, constants.get(1).map(|_| number(1))),
        };
        Some(Quantiles {
            name: name.to_string(),
            percentile,
            means: means.map_or(Some(DEFAULT_MAX_SIZE), |means| Some(means? as usize))?,
            returns: returns.clone(),
        })
    }
}

/// How a function is called: columns, then constants.
struct Call {
    function: Arc<AggregateUDF>,
    schema: Schema,
    exprs: Vec<Arc<dyn PhysicalExpr>>,
    fields: Vec<FieldRef>,
    returns: FieldRef,
}

impl Call {
    fn new(
        function: Arc<AggregateUDF>,
        args: &[DataType],
        constants: &[ScalarValue],
        returns: &DataType,
    ) -> Self {
        let types = args.iter().cloned().chain(constants.iter().map(ScalarValue::data_type));
        let fields: Vec<FieldRef> = types
            .enumerate()
            .map(|(number, data_type)| Arc::new(Field::new(format!("a{number}"), data_type, true)))
            .collect();
        let column = |(number, field): (usize, &FieldRef)| -> Arc<dyn PhysicalExpr> {
            match number.checked_sub(args.len()).and_then(|constant| constants.get(constant)) {
                Some(constant) => Arc::new(Constant::new(constant.clone())),
                None => Arc::new(Column::new(field.name(), number)),
            }
        };
        Call {
            exprs: fields.iter().enumerate().map(column).collect(),
            schema: Schema::new(fields.clone()),
            returns: Arc::new(Field::new(function.name(), returns.clone(), true)),
            fields,
            function,
        }
    }

    fn with_args<R>(&self, use_args: impl FnOnce(AccumulatorArgs<'_>) -> R) -> R {
        use_args(AccumulatorArgs {
            return_field: self.returns.clone(),
            schema: &self.schema,
            ignore_nulls: false,
            order_bys: &[],
            is_reversed: false,
            name: self.function.name(),
            is_distinct: false,
            exprs: &self.exprs,
            expr_fields: &self.fields,
        })
    }
}

struct BorrowedStates {
    name: String,
    states: Box<dyn GroupsAccumulator>,
    constants: Vec<ScalarValue>,
    returns: DataType,
    groups: usize,
}

impl BorrowedStates {
    fn failed(&self, error: &DataFusionError) -> Error {
        failed(&self.name, error)
    }
}

impl GroupStates for BorrowedStates {
    fn update(
        &mut self,
        args: &[ArrayRef],
        groups: &[u32],
        filter: Option<&BooleanArray>,
        group_count: usize,
    ) -> Result<()> {
        self.groups = group_count;
        let constants = self.constants.iter().map(|value| value.to_array_of_size(groups.len()));
        let constants = constants.collect::<Result<Vec<_>, _>>().map_err(|e| self.failed(&e))?;
        let values: Vec<ArrayRef> = args.iter().cloned().chain(constants).collect();
        let groups: Vec<usize> = groups.iter().map(|&group| group as usize).collect();
        let updated = self.states.update_batch(&values, &groups, filter, group_count);
        updated.map_err(|e| self.failed(&e))
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[u32], group_count: usize) -> Result<()> {
        self.groups = group_count;
        let groups: Vec<usize> = groups.iter().map(|&group| group as usize).collect();
        let merged = self.states.merge_batch(states, &groups, group_count);
        merged.map_err(|e| self.failed(&e))
    }

    fn state(&mut self) -> Result<Vec<ArrayRef>> {
        self.groups = 0;
        self.states.state(EmitTo::All).map_err(|e| self.failed(&e))
    }

    fn evaluate(&mut self) -> Result<ArrayRef> {
        if std::mem::take(&mut self.groups) == 0 {
            return Ok(new_empty_array(&self.returns));
        }
        let results = self.states.evaluate(EmitTo::All).map_err(|e| self.failed(&e))?;
        // Counts have no sign there.
        match *results.data_type() == DataType::UInt64 && self.returns == DataType::Int64 {
            true => Ok(cast(&results, &self.returns)?),
            false => Ok(results),
        }
    }

    fn size_bytes(&self) -> usize {
        self.states.size()
    }
}

fn failed(name: &str, error: &DataFusionError) -> Error {
    Error::input(format!("{name}: {}", error.strip_backtrace()))
}
