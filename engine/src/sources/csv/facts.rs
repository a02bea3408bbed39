//! What is known of a file before it is read.

use std::fmt::Write;

use arrow::datatypes::DataType;

use super::{CsvColumn, CsvDialect, CsvScan};
use crate::sources::FileRef;

/// What is known of a file.
#[derive(Debug, Clone)]
pub struct CsvFacts {
    /// The file.
    pub file: FileRef,
    /// Its dialect.
    pub dialect: CsvDialect,
    /// Its columns.
    pub columns: Vec<CsvColumn>,
    /// Which columns had no values in the sample: their types are nobody's guess.
    pub without_values: Vec<bool>,
    /// The names in its header, where columns were declared with others.
    pub header_names: Option<Vec<String>>,
    /// Records that were looked at.
    pub sample_rows: usize,
    /// Rows in the file, as far as the sample tells.
    pub rows: f64,
    /// Whether the sample was the whole file.
    pub is_exact: bool,
}

impl CsvFacts {
    /// A scan of all columns and rows of this file and of `others`, which are read alike.
    pub fn scan(&self, others: Vec<FileRef>) -> CsvScan {
        let files = std::iter::once(self.file.clone()).chain(others).collect();
        let mut scan = CsvScan::new(files, self.dialect.clone(), self.columns.clone());
        scan.header_names = self.header_names.clone();
        scan
    }

    /// What was found, in one line for people.
    pub fn describe(&self) -> String {
        let mut text = self.dialect.to_string();
        let detected = self.columns.iter().filter(|column| column.detected).count();
        let about = if self.is_exact { "" } else { "about " };
        let _ = write!(
            text,
            "; {detected} of {} types found from {} of {about}{:.0} rows",
            self.columns.len(),
            self.sample_rows,
            self.rows
        );
        text
    }
}

pub(super) fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

/// A column whose type is not found out.
pub(super) fn declared_column(name: &str, data_type: &DataType) -> CsvColumn {
    CsvColumn { name: name.to_string(), data_type: data_type.clone(), detected: false }
}
