//! `grouping(a, b, …)` as a function of the column that tells grouping sets apart.

use arrow::array::{Int32Array, UInt64Array};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion_common::{Result, internal_err};
use datafusion_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// Some bits of a number, the first one as the highest.
#[derive(Debug, PartialEq, Eq, Hash)]
struct GroupingBits {
    /// Places of the bits, counted from the lowest.
    places: Vec<u32>,
    /// Tells functions of several places apart.
    name: String,
    signature: Signature,
}

/// The bits of `id` at these places, as one 32-bit integer.
pub(crate) fn grouping_bits(id: Expr, places: Vec<u32>) -> Expr {
    let signature = Signature::any(1, Volatility::Immutable);
    let name = places.iter().map(|place| format!("_{place}")).collect::<String>();
    let name = format!("grouping_bits{name}");
    ScalarUDF::new_from_impl(GroupingBits { places, name, signature }).call(vec![id])
}

impl ScalarUDFImpl for GroupingBits {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int32)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [ids] = &args.args[..] else { return internal_err!("one argument") };
        let ids = cast(&ids.to_array(args.number_rows)?, &DataType::UInt64)?;
        let ids = datafusion_common::cast::as_uint64_array(&ids)?;
        Ok(ColumnarValue::Array(std::sync::Arc::new(self.bits(ids))))
    }
}

impl GroupingBits {
    fn bits(&self, ids: &UInt64Array) -> Int32Array {
        ids.unary(|id| {
            self.places.iter().fold(0, |bits, place| (bits << 1) | ((id >> place) & 1) as i32)
        })
    }
}
