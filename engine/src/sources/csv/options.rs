//! What a program says about CSV files; what it leaves out is found out from the file.

use arrow::datatypes::DataType;

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CsvCompression {
    /// Not at all.
    None,
    /// With gzip.
    Gzip,
    /// With Zstandard.
    Zstd,
}

impl CsvCompression {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            CsvCompression::None => "none",
            CsvCompression::Gzip => "gzip",
            CsvCompression::Zstd => "zstd",
        }
    }
}

/// How a CSV file is to be read, as far as it is said.
///
/// ```
/// use arrow::datatypes::DataType;
/// use gristmill_engine::sources::csv::CsvOptions;
///
/// let options = CsvOptions::new()
///     .delimiter('|')
///     .header(false)
///     .null_strings(["\\N"])
///     .column_type("price", DataType::Decimal128(15, 2));
/// assert_ne!(options, CsvOptions::default());
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CsvOptions {
    pub(super) delimiter: Option<char>,
    /// `Some(None)` when quotes are text.
    pub(super) quote: Option<Option<char>>,
    pub(super) escape: Option<char>,
    pub(super) header: Option<bool>,
    pub(super) null_strings: Option<Vec<String>>,
    pub(super) comment: Option<char>,
    pub(super) newline: Option<char>,
    pub(super) trailing_delimiter: Option<bool>,
    pub(super) skip_lines: u64,
    pub(super) date_format: Option<String>,
    pub(super) timestamp_format: Option<String>,
    pub(super) compression: Option<CsvCompression>,
    pub(super) sample_rows: Option<u64>,
    pub(super) all_text: bool,
    pub(super) columns: Option<Vec<(String, DataType)>>,
    pub(super) types: Vec<(String, DataType)>,
}

impl CsvOptions {
    /// Nothing is said; everything is found out.
    pub fn new() -> Self {
        CsvOptions::default()
    }

    /// What stands between fields.
    pub fn delimiter(mut self, mark: char) -> Self {
        self.delimiter = Some(mark);
        self
    }

    /// What stands around fields that hold delimiters, line ends or quotes; `None` when quotes are
    /// text like any other.
    pub fn quote(mut self, mark: Option<char>) -> Self {
        self.quote = Some(mark);
        self
    }

    /// What stands before a quote inside quotes. Doubled quotes are always understood.
    pub fn escape(mut self, mark: char) -> Self {
        self.escape = Some(mark);
        self
    }

    /// Whether the first record names the columns.
    pub fn header(mut self, header: bool) -> Self {
        self.header = Some(header);
        self
    }

    /// Texts that stand for NULL where they are not quoted, beside those given before. Without any
    /// it is the empty text, and what the file is seen to write for NULL.
    pub fn null_strings(mut self, texts: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.null_strings.get_or_insert_default().extend(texts.into_iter().map(Into::into));
        self
    }

    /// What lines begin with that are to be left out.
    pub fn comment(mut self, mark: char) -> Self {
        self.comment = Some(mark);
        self
    }

    /// What stands behind records: `'\n'`, before which a `'\r'` is dropped, or `'\r'`.
    pub fn newline(mut self, mark: char) -> Self {
        self.newline = Some(mark);
        self
    }

    /// Whether a delimiter stands behind the last field of each record as well, as in the files
    /// that the generator of TPC-H writes.
    pub fn trailing_delimiter(mut self, trails: bool) -> Self {
        self.trailing_delimiter = Some(trails);
        self
    }

    /// How many lines to leave out at the beginning of the file, whatever they hold.
    pub fn skip_lines(mut self, lines: u64) -> Self {
        self.skip_lines = lines;
        self
    }

    /// How dates are written, with the conversions of `strftime`: `%d/%m/%Y`.
    pub fn date_format(mut self, pattern: impl Into<String>) -> Self {
        self.date_format = Some(pattern.into());
        self
    }

    /// How timestamps are written, with the conversions of `strftime`.
    pub fn timestamp_format(mut self, pattern: impl Into<String>) -> Self {
        self.timestamp_format = Some(pattern.into());
        self
    }

    /// How the file is compressed. Without it the first bytes of the file tell; with it they must
    /// agree.
    pub fn compression(mut self, compression: CsvCompression) -> Self {
        self.compression = Some(compression);
        self
    }

    /// From how many rows at the beginning of the file the types of the columns are found;
    /// `u64::MAX` for all. Without it they are found from pieces of the beginning, the middle and
    /// the end.
    pub fn sample_rows(mut self, rows: u64) -> Self {
        self.sample_rows = Some(rows);
        self
    }

    /// Whether all columns are text, unless they are declared.
    pub fn all_text(mut self, all: bool) -> Self {
        self.all_text = all;
        self
    }

    /// Names and types of all columns, in the order of the file. The header, if there is one, may
    /// have other names.
    pub fn columns(
        mut self,
        columns: impl IntoIterator<Item = (impl Into<String>, DataType)>,
    ) -> Self {
        self.columns = Some(columns.into_iter().map(|(name, t)| (name.into(), t)).collect());
        self
    }

    /// The type of one column, by its name in the file.
    pub fn column_type(mut self, name: impl Into<String>, data_type: DataType) -> Self {
        self.types.push((name.into(), data_type));
        self
    }
}
