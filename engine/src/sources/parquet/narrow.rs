//! Which rows of a row group are worth reading: what its statistics, its Bloom filters and its page
//! index say about the conditions of the scan and about the keys that joins have published.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::datatypes::DataType;
use parquet::bloom_filter::Sbbf;

use super::bounds::{Bounds, rescale, stored_bytes};
use super::bytes::FileBytes;
use super::error::{from_parquet, guarded};
use super::footer::Footer;
use super::page_index::{intersect, rows_that_may_pass};
use super::prune::{may_pass, needed_values};
use crate::batch::KeyFilter;
use crate::error::Result;
use crate::expr::{CompareOp, Expr, Literal, Value};
use crate::sources::file::InputFile;

/// Row groups after which the page index is given up when it has hardly ruled anything out.
const JUDGED_AFTER: u64 = 16;

/// One file of a scan, and the column of each slot in it.
pub(super) struct Group<'a> {
    pub footer: &'a Footer,
    /// Position in the file of each slot's column.
    pub columns: &'a [usize],
    pub row_group: usize,
}

impl Group<'_> {
    fn leaf(&self, slot: usize) -> Option<usize> {
        self.columns.get(slot).and_then(|&column| self.footer.leaf(column))
    }

    fn bounds(&self, slot: usize, data_type: &DataType) -> Option<Bounds> {
        let group = self.footer.metadata().row_group(self.row_group);
        Some(Bounds::of_chunk(group.column(self.leaf(slot)?), data_type))
    }

    /// Whether some row may pass all `conditions`, as far as the row group's statistics say.
    pub fn may_pass(&self, conditions: &[Expr]) -> bool {
        conditions.iter().all(|c| may_pass(c, &|slot, data_type| self.bounds(slot, data_type)))
    }

    /// Whether Bloom filters rule out that any row passes.
    pub fn bloom_rules_out(&self, file: &Arc<InputFile>, conditions: &[Expr]) -> Result<bool> {
        for condition in conditions {
            let Some((slot, data_type, values)) = needed_values(condition) else { continue };
            let Some(leaf) = self.leaf(slot) else { continue };
            let chunk = self.footer.metadata().row_group(self.row_group).column(leaf);
            if chunk.bloom_filter_offset().is_none() {
                continue;
            }
            let path = file.path();
            let rules_out = guarded(path, || {
                let bytes = FileBytes(file.clone());
                let filter = Sbbf::read_from_column_chunk(chunk, &bytes);
                let Some(filter) = filter.map_err(|e| from_parquet(path, e))? else {
                    return Ok(false);
                };
                let absent = |literal: &&Literal| {
                    if literal.is_null() {
                        return true;
                    }
                    let value = rescale(&literal.value, &literal.data_type, data_type);
                    let stored =
                        value.and_then(|v| stored_bytes(&v, chunk.column_descr(), data_type));
                    stored.is_some_and(|stored| !filter.check::<[u8]>(&stored))
                };
                Ok(values.iter().all(absent))
            })?;
            if rules_out {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The rows among `rows` on whose pages all conditions may pass.
    pub fn rows_to_read(
        &self,
        file: &InputFile,
        rows: &Range<usize>,
        conditions: &[Expr],
    ) -> Result<Vec<Range<usize>>> {
        let group = self.footer.metadata().row_group(self.row_group);
        let total = usize::try_from(group.num_rows()).unwrap_or(0);
        let mut left = vec![rows.clone()];
        for condition in conditions {
            let [slot] = condition.columns()[..] else { continue };
            let Some(leaf) = self.leaf(slot) else { continue };
            let passing = rows_that_may_pass(file, group.column(leaf), total, condition)?;
            if let Some(passing) = passing {
                left = intersect(&left, &passing);
            }
        }
        Ok(left)
    }
}

/// Whether looking at page indexes pays, as all workers of a scan measured it.
#[derive(Debug, Default)]
pub(super) struct PageIndexUse {
    asked: AtomicU64,
    helped: AtomicU64,
}

impl PageIndexUse {
    /// Whether to ask the page index of another row group.
    pub fn pays(&self) -> bool {
        let asked = self.asked.load(Ordering::Relaxed);
        asked < JUDGED_AFTER || self.helped.load(Ordering::Relaxed) * JUDGED_AFTER >= asked
    }

    /// Notes whether rows were ruled out.
    pub fn note(&self, helped: bool) {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.helped.fetch_add(u64::from(helped), Ordering::Relaxed);
    }
}

/// What the ranges of a key filter say, as conditions over the `keys`: slots and types of its
/// columns in order.
pub(super) fn range_conditions(filter: &KeyFilter, keys: &[(usize, DataType)]) -> Vec<Expr> {
    let condition = |(key, (slot, data_type)): (usize, &(usize, DataType))| {
        let (low, high) = filter.range(key)?;
        let bound = |op, ordinal| {
            let column = Expr::column(*slot, data_type.clone());
            let literal = Expr::Literal(literal_of(ordinal, data_type)?);
            Some(Expr::Compare { op, left: Box::new(column), right: Box::new(literal) })
        };
        let inside = Expr::And(vec![
            bound(CompareOp::GreaterOrEqual, low)?,
            bound(CompareOp::LessOrEqual, high)?,
        ]);
        Some(if filter.nulls_match() {
            let column = Expr::column(*slot, data_type.clone());
            Expr::Or(vec![inside, Expr::IsNull(Box::new(column))])
        } else {
            inside
        })
    };
    keys.iter().enumerate().filter_map(condition).collect()
}

/// The value of a key column that has this ordinal; see [`crate::batch::Ordinals`].
fn literal_of(ordinal: i64, data_type: &DataType) -> Option<Literal> {
    let value = match data_type {
        DataType::UInt64 => Value::UInt(ordinal as u64 ^ 1 << 63),
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 => {
            Value::UInt(u64::try_from(ordinal).ok()?)
        }
        DataType::Decimal128(..) => Value::Decimal(i128::from(ordinal)),
        t if t.is_signed_integer() || t.is_temporal() => Value::Int(ordinal),
        _ => return None,
    };
    Some(Literal { data_type: data_type.clone(), value })
}
