//! How files of a table are read: a scan for each way, and where the table's columns are in it.

use arrow::datatypes::DataType;
use serde::{Deserialize, Serialize};

use super::{FilesScan, Part};
use crate::batch::{Chunk, KeyFilterUse, Place};
use crate::error::{Error, Result};
use crate::expr::{Conjunction, Expr, Literal, data_type};
use crate::memory::Governor;
use crate::plan::Spec;
use crate::sources::{ArrowScan, CsvScan, FileRef, JsonScan, ParquetScan};

/// One way to read files of a table.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Reader {
    /// The scan of any of them.
    pub scan: FileScan,
    /// Where each column of the table comes from.
    pub columns: Vec<PartColumn>,
}

/// Where the values of a table's column come from, in the rows of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartColumn {
    /// From the column at this position of the file's.
    Stored(usize),
    /// From a column of the file's that has another type.
    Cast {
        /// Its position.
        position: usize,
        /// Its logical type.
        #[serde(rename = "type", with = "data_type")]
        data_type: DataType,
    },
    /// It is NULL.
    Missing,
    /// It is this one of the file's constants.
    Constant(usize),
}

/// A scan of one file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileScan {
    /// Arrow.
    Arrow(ArrowScan),
    /// Text with delimiters.
    Csv(CsvScan),
    /// JSON.
    Json(JsonScan),
    /// Parquet.
    Parquet(ParquetScan),
}

impl FileScan {
    /// What it reads.
    pub(super) fn format(&self) -> &'static str {
        match self {
            FileScan::Arrow(_) => "arrow",
            FileScan::Csv(_) => "csv",
            FileScan::Json(_) => "json",
            FileScan::Parquet(_) => "parquet",
        }
    }

    /// The scan of another file, with less of it.
    fn of(&self, file: &FileRef, wanted: Wanted) -> Box<dyn Spec> {
        let Wanted { projection, predicates, key_filters } = wanted;
        let file = file.clone();
        match self.clone() {
            FileScan::Arrow(scan) => Box::new(ArrowScan { file, projection, predicates, ..scan }),
            FileScan::Csv(scan) => {
                let files = vec![file];
                Box::new(CsvScan { files, projection, predicates, key_filters, ..scan })
            }
            FileScan::Json(scan) => Box::new(JsonScan { file, projection, predicates, ..scan }),
            FileScan::Parquet(scan) => {
                let files = vec![file];
                Box::new(ParquetScan { files, projection, predicates, key_filters, ..scan })
            }
        }
    }

    fn takes_key_filters(&self) -> bool {
        matches!(self, FileScan::Csv(_) | FileScan::Parquet(_))
    }
}

/// Whether a condition over a file's columns is the same for all its rows. One that can fail is
/// left to the rows, of which there may be none.
fn is_decided(predicate: &Expr) -> bool {
    predicate.columns().is_empty() && !predicate.is_fallible() && !predicate.is_volatile()
}

/// What is wanted of one file.
struct Wanted {
    projection: Vec<usize>,
    predicates: Vec<Expr>,
    key_filters: Vec<KeyFilterUse>,
}

/// The scan of one part, and where the output columns come from.
pub(super) struct PartScan {
    pub(super) spec: Box<dyn Spec>,
    pub(super) output: Vec<OutputColumn>,
}

/// Where an output column comes from, in the rows of one part.
pub(super) enum OutputColumn {
    /// The column at this position of the part's chunks.
    Given(usize),
    /// What is computed of the part's chunks.
    Computed(Expr),
    /// A constant.
    Constant(Literal),
}

impl FilesScan {
    /// The scan without the files of which no row can pass, going by their constants.
    ///
    /// # Errors
    /// `Internal` when the conditions do not fit the columns, `OutOfMemory` when what their
    /// functions make has no room.
    pub fn pruned(mut self, memory: &Governor) -> Result<FilesScan> {
        let parts = std::mem::take(&mut self.parts);
        for part in parts {
            if self.may_pass(&part, memory)? {
                self.parts.push(part);
            }
        }
        Ok(self)
    }

    fn may_pass(&self, part: &Part, memory: &Governor) -> Result<bool> {
        let reader = self.reader(part)?;
        for predicate in &self.predicates {
            let mut predicate = predicate.clone();
            reader.localise(self, part, &mut predicate)?;
            if !is_decided(&predicate) {
                continue;
            }
            let row = Chunk::new(Vec::new(), 1, Place::default());
            let passed = Conjunction::new(vec![predicate], memory).select(&row)?;
            if passed.is_some_and(|passed| passed.is_empty()) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// How to read a part.
    pub(super) fn part_scan(&self, part: &Part) -> Result<PartScan> {
        let reader = self.reader(part)?;
        let mut projection: Vec<usize> = Vec::new();
        let mut place_of = |stored: usize| {
            projection.iter().position(|&p| p == stored).unwrap_or_else(|| {
                projection.push(stored);
                projection.len() - 1
            })
        };
        let mut output = Vec::with_capacity(self.projection.len());
        for &column in &self.projection {
            output.push(match reader.source_of(self, part, column)? {
                Expr::Column { index, .. } => OutputColumn::Given(place_of(index)),
                Expr::Literal(constant) => OutputColumn::Constant(constant),
                computed => {
                    let places: Vec<(usize, usize)> =
                        computed.columns().into_iter().map(|c| (c, place_of(c))).collect();
                    let place = |column| places.iter().find(|p| p.0 == column).map_or(0, |p| p.1);
                    OutputColumn::Computed(computed.map_columns(&place))
                }
            });
        }
        let mut predicates = Vec::with_capacity(self.predicates.len());
        for predicate in &self.predicates {
            let mut predicate = predicate.clone();
            reader.localise(self, part, &mut predicate)?;
            // One over constants alone is known to hold; see `pruned`.
            if !is_decided(&predicate) {
                predicates.push(predicate);
            }
        }
        let place = |&column: &usize| match output.get(column) {
            Some(OutputColumn::Given(place)) => Some(*place),
            _ => None,
        };
        let key_filters = self.key_filters.iter().filter_map(|filter| {
            let columns = filter.columns.iter().map(place).collect::<Option<_>>()?;
            Some(KeyFilterUse { id: filter.id, columns })
        });
        let key_filters: Vec<_> = match reader.scan.takes_key_filters() {
            true => key_filters.collect(),
            false => Vec::new(),
        };
        let wanted = Wanted { projection, predicates, key_filters };
        Ok(PartScan { spec: reader.scan.of(&part.file, wanted), output })
    }
}

impl Reader {
    /// A column of the table: one of the file, that in another type, or a constant.
    fn source_of(&self, scan: &FilesScan, part: &Part, column: usize) -> Result<Expr> {
        let missing = || Error::internal(format!("no column {column} in a table of files"));
        let wanted = scan.declared().column(column)?.data_type.clone();
        Ok(match self.columns.get(column).ok_or_else(missing)? {
            PartColumn::Stored(position) => Expr::Column { index: *position, data_type: wanted },
            PartColumn::Cast { position, data_type } => Expr::Cast {
                input: Box::new(Expr::Column { index: *position, data_type: data_type.clone() }),
                data_type: wanted,
                lenient: false,
            },
            PartColumn::Missing => Expr::Literal(Literal::null(wanted)),
            PartColumn::Constant(number) => {
                Expr::Literal(part.constants.get(*number).cloned().ok_or_else(missing)?)
            }
        })
    }

    /// Makes a condition over the table's columns one over the file's.
    fn localise(&self, scan: &FilesScan, part: &Part, expr: &mut Expr) -> Result<()> {
        if let Expr::Column { index, .. } = expr {
            *expr = self.source_of(scan, part, *index)?;
            return Ok(());
        }
        let children = expr.children_mut();
        children.into_iter().try_for_each(|child| self.localise(scan, part, child))
    }
}
