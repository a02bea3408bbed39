//! Timestamps that a cast makes coarser, and texts that it makes timestamps of seconds or
//! milliseconds: the nearest ones, also where constants are folded. The borrowed casts cut digits
//! off, which before 1970 leads to a later moment.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion_common::{DataFusionError, Result, exec_err};
use datafusion_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use gristmill_engine::expr::in_coarser_unit;

use super::each::each;

#[derive(Debug, PartialEq, Eq, Hash)]
struct Coarser {
    unit: TimeUnit,
    signature: Signature,
}

/// Timestamps in a coarser unit.
pub(crate) fn coarser(moments: Expr, unit: TimeUnit) -> Expr {
    let signature = Signature::any(1, Volatility::Immutable);
    ScalarUDF::from(Coarser { unit, signature }).call(vec![moments])
}

/// The unit that values of a type are read in before they have the unit of the other, where that is
/// coarser.
pub(crate) fn finer_unit(from: &DataType, target: &DataType) -> Option<TimeUnit> {
    match (from, target) {
        (DataType::Timestamp(from, _), DataType::Timestamp(unit, _)) => {
            Some(*from).filter(|from| from > unit)
        }
        (from, DataType::Timestamp(unit, _)) if from.is_string() => {
            Some(TimeUnit::Microsecond).filter(|from| from > unit)
        }
        _ => None,
    }
}

impl ScalarUDFImpl for Coarser {
    fn name(&self) -> &str {
        "coarser"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments {
            [DataType::Timestamp(_, zone)] => Ok(DataType::Timestamp(self.unit, zone.clone())),
            _ => exec_err!("only timestamps become coarser"),
        }
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match call.args.first() {
            Some(moments) => each(moments, |moments| {
                in_coarser_unit(moments, self.unit)
                    .map_err(|error| DataFusionError::External(Box::new(error)))
            }),
            None => exec_err!("only timestamps become coarser"),
        }
    }
}
