//! Types by names that the binder does not know, or takes for another type than others do.
//!
//! TIMESTAMP counts microseconds, as elsewhere: nanoseconds hold the years from 1677 to 2262 only.
//! `TIMESTAMP(0)`, `(3)`, `(6)`, `(9)` are as precise as they say, and so are `TIMESTAMP_S`, `_MS`,
//! `_US` and `_NS`. UTINYINT, USMALLINT, UINTEGER and UBIGINT are integers without a sign.

use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use datafusion_common::Result;
use datafusion_expr::planner::TypePlanner;
use datafusion_sql::sqlparser::ast::{DataType as Written, TimezoneInfo};
use datafusion_sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::map_types::map_type;

/// Timestamps named after their precision, and its digits.
const STAMPS: [(&str, TimeUnit, &str); 4] = [
    ("timestamp_s", TimeUnit::Second, "0"),
    ("timestamp_ms", TimeUnit::Millisecond, "3"),
    ("timestamp_us", TimeUnit::Microsecond, "6"),
    ("timestamp_ns", TimeUnit::Nanosecond, "9"),
];

/// Whole numbers without a sign, by the names that are one word.
const UNSIGNED: [(&str, DataType); 4] = [
    ("utinyint", DataType::UInt8),
    ("usmallint", DataType::UInt16),
    ("uinteger", DataType::UInt32),
    ("ubigint", DataType::UInt64),
];

/// See the module documentation.
#[derive(Debug, Clone)]
pub(super) struct WrittenTypes {
    /// The zone of timestamps that have one.
    pub(super) zone: Option<String>,
}

impl TypePlanner for WrittenTypes {
    fn plan_type_field(&self, written: &Written) -> Result<Option<FieldRef>> {
        let data_type = match written {
            Written::Timestamp(None, zone) => {
                let has_zone = matches!(zone, TimezoneInfo::Tz | TimezoneInfo::WithTimeZone);
                let zone = self.zone.as_ref().filter(|_| has_zone);
                DataType::Timestamp(TimeUnit::Microsecond, zone.map(|zone| zone.as_str().into()))
            }
            Written::TimestampNtz(None) | Written::Datetime(None) => {
                DataType::Timestamp(TimeUnit::Microsecond, None)
            }
            Written::Custom(name, options) if options.is_empty() => {
                let name = name.to_string().to_lowercase();
                let unsigned = UNSIGNED.iter().find(|(unsigned, _)| *unsigned == name);
                match (STAMPS.iter().find(|(stamp, ..)| *stamp == name), unsigned) {
                    (Some((_, unit, _)), _) => DataType::Timestamp(*unit, None),
                    (None, Some((_, unsigned))) => unsigned.clone(),
                    (None, None) => return Ok(None),
                }
            }
            Written::Map(key, value) => map_type(key, value, self)?,
            Written::UTinyInt => DataType::UInt8,
            Written::USmallInt => DataType::UInt16,
            Written::UBigInt => DataType::UInt64,
            _ => return Ok(None),
        };
        Ok(Some(FieldRef::new(Field::new("", data_type, true))))
    }
}

/// `TIMESTAMP_NS 'text'` as `TIMESTAMP(9) 'text'`: the parser takes no other names before a text.
pub(super) fn name_stamps(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 0;
    while at + 1 < tokens.len() {
        let is_text = matches!(tokens[at + 1].token, Token::SingleQuotedString(_));
        let digits = match &tokens[at].token {
            Token::Word(word) if is_text && word.quote_style.is_none() => {
                let is_it =
                    |(name, ..): &&(&str, TimeUnit, &str)| word.value.eq_ignore_ascii_case(name);
                STAMPS.iter().find(is_it).map(|(.., digits)| *digits)
            }
            _ => None,
        };
        if let Some(digits) = digits {
            let span = tokens[at].span;
            let written = [
                Token::make_keyword("TIMESTAMP"),
                Token::LParen,
                Token::Number(digits.to_string(), false),
                Token::RParen,
            ];
            let written = written.map(|token| TokenWithSpan::new(token, span));
            tokens.splice(at..=at, written);
            at += 4;
        }
        at += 1;
    }
}
