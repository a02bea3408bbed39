//! Where frames begin: tables, files, queries.

use std::path::Path;
use std::sync::Arc;

use gristmill_engine::sources::csv::CsvOptions;
use gristmill_engine::sources::json::JsonOptions;

use super::frame::DataFrame;
use super::step::{Step, What};
use crate::catalog::{FileTable, Reading};
use crate::parameters::Parameters;
use crate::session::Session;

impl Session {
    /// The rows of a table or a view; of a file, or a set of files, when that is a path whose
    /// ending tells the format. Expressions may call them by the table's name in small letters.
    pub fn table(&self, name: &str) -> DataFrame<'_> {
        let is_word = name.chars().all(|c| c.is_alphanumeric() || c == '_');
        let alias = is_word.then(|| name.to_lowercase());
        DataFrame::new(self, Step::new(What::Table(name.to_string()), alias))
    }

    /// The rows of a Parquet file, whatever its ending, or of all files that a pattern matches or a
    /// directory has.
    pub fn read_parquet(&self, path: impl AsRef<Path>) -> DataFrame<'_> {
        self.read(path.as_ref(), Reading::Parquet)
    }

    /// The rows of a CSV file, as [`Session::read_parquet`]. What the options do not say is found
    /// out from the file.
    pub fn read_csv(&self, path: impl AsRef<Path>, options: CsvOptions) -> DataFrame<'_> {
        self.read(path.as_ref(), Reading::Csv(options))
    }

    /// The rows of a JSON file (an object a line, or an array of objects), as
    /// [`Session::read_parquet`]. What the options do not say is found out from the file.
    pub fn read_json(&self, path: impl AsRef<Path>, options: JsonOptions) -> DataFrame<'_> {
        self.read(path.as_ref(), Reading::Json(options))
    }

    /// The rows of an Arrow file, as [`Session::read_parquet`].
    pub fn read_arrow(&self, path: impl AsRef<Path>) -> DataFrame<'_> {
        self.read(path.as_ref(), Reading::Arrow)
    }

    /// The rows of a query in SQL.
    pub fn query(&self, text: &str) -> DataFrame<'_> {
        self.query_with(text, &Parameters::new())
    }

    /// As [`Session::query`], with values for its parameters.
    pub fn query_with(&self, text: &str, parameters: &Parameters) -> DataFrame<'_> {
        let what = What::Query { text: text.to_string(), parameters: parameters.clone() };
        DataFrame::new(self, Step::new(what, None))
    }

    fn read(&self, path: &Path, reading: Reading) -> DataFrame<'_> {
        let file = Box::new(FileTable::new(path, reading));
        let step: Arc<Step> = Step::new(What::File(file), None);
        DataFrame::new(self, step)
    }
}
