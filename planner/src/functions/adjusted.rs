//! Borrowed aggregates with other types: those that take no bare NULL, which has no type, and those
//! that count without a sign.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::function::{
    AccumulatorArgs, AggregateFunctionSimplification, StateFieldsArgs,
};
use datafusion_expr::type_coercion::functions::fields_with_udf;
use datafusion_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, Signature, Volatility,
};

/// A borrowed aggregate. It is computed as the borrowed one is.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Adjusted {
    borrowed: Arc<AggregateUDF>,
    /// A NULL without a type is an integer.
    signature: Signature,
}

/// The aggregate in place of a borrowed one.
pub(crate) fn adjusted(borrowed: Arc<AggregateUDF>) -> Arc<AggregateUDF> {
    let names = ["approx_distinct", "bit_and", "bit_or", "bit_xor", "regr_count", "sum"];
    if !names.contains(&borrowed.name()) {
        return borrowed;
    }
    let signature = Signature::user_defined(Volatility::Immutable);
    Arc::new(AggregateUDF::from(Adjusted { borrowed, signature }))
}

impl Adjusted {
    /// The type of a result, which for counts has a sign.
    fn signed(&self, data_type: DataType) -> DataType {
        match self.name() {
            "approx_distinct" | "regr_count" => DataType::Int64,
            _ => data_type,
        }
    }
}

impl AggregateUDFImpl for Adjusted {
    fn name(&self) -> &str {
        self.borrowed.name()
    }

    fn aliases(&self) -> &[String] {
        self.borrowed.aliases()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let field = |argument: &DataType| -> FieldRef {
            let known = if argument.is_null() { &DataType::Int64 } else { argument };
            Arc::new(Field::new(self.name(), known.clone(), true))
        };
        let fields: Vec<FieldRef> = arguments.iter().map(field).collect();
        let fields = fields_with_udf(&fields, self.borrowed.as_ref())?;
        Ok(fields.iter().map(|field| field.data_type().clone()).collect())
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        Ok(self.signed(self.borrowed.return_type(arguments)?))
    }

    fn is_nullable(&self) -> bool {
        self.borrowed.is_nullable()
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        self.borrowed.default_value(data_type)?.cast_to(data_type)
    }

    fn simplify(&self) -> Option<AggregateFunctionSimplification> {
        self.borrowed.simplify()
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.borrowed.state_fields(args)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.borrowed.accumulator(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        self.borrowed.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        self.borrowed.create_groups_accumulator(args)
    }
}
