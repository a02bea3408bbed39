//! md5() and sha256() of texts and of bytes, as hexadecimal texts.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringViewBuilder};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion_common::{Result, exec_err, plan_err};
use datafusion_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use md5::Md5;
use sha2::{Digest, Sha256};

use super::each::each;

/// A function that makes a digest.
#[derive(Debug, PartialEq, Eq, Hash)]
struct DigestOf {
    which: Which,
    signature: Signature,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Which {
    Md5,
    Sha256,
}

/// The functions.
pub(super) fn digests() -> impl Iterator<Item = ScalarUDF> {
    [Which::Md5, Which::Sha256].into_iter().map(|which| {
        let signature = Signature::user_defined(Volatility::Immutable);
        ScalarUDF::from(DigestOf { which, signature })
    })
}

impl ScalarUDFImpl for DigestOf {
    fn name(&self) -> &str {
        match self.which {
            Which::Md5 => "md5",
            Which::Sha256 => "sha256",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        match arguments {
            [text] if text.is_string() || text.is_null() => Ok(vec![DataType::Utf8View]),
            [bytes] if bytes.is_binary() => Ok(vec![DataType::BinaryView]),
            [DataType::Dictionary(_, values)] => self.coerce_types(&[values.as_ref().clone()]),
            _ => plan_err!("{} takes one text", self.name()),
        }
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match call.args.first() {
            Some(values) => each(values, |values| self.of(values)),
            None => exec_err!("{} of nothing", self.name()),
        }
    }
}

impl DigestOf {
    fn of(&self, values: &ArrayRef) -> Result<ArrayRef> {
        let bytes = cast(values, &DataType::BinaryView)?;
        let mut out = StringViewBuilder::with_capacity(bytes.len());
        let mut text = String::new();
        for bytes in bytes.as_binary_view() {
            let Some(bytes) = bytes else {
                out.append_null();
                continue;
            };
            text.clear();
            match self.which {
                Which::Md5 => write_hex(&Md5::digest(bytes), &mut text),
                Which::Sha256 => write_hex(&Sha256::digest(bytes), &mut text),
            }
            out.append_value(&text);
        }
        Ok(Arc::new(out.finish()))
    }
}

fn write_hex(digest: &[u8], text: &mut String) {
    for byte in digest {
        // Nothing fails that is written to a text.
        let _ = write!(text, "{byte:02x}");
    }
}
