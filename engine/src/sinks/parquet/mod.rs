//! Writes its input to a Parquet file, in the order of the input.
//!
//! Each worker encodes the rows of its morsel into a row group of its own; when the morsel ends, or
//! the row group is full, the row group is handed to the file, which keeps the order. Morsels that
//! have few rows left (behind a filter, say) are handed over as they are, and share row groups.
//!
//! Memory: a row group per worker, with a dictionary per column where that pays, and the window of
//! `file`. A row group ends early when the budget has no room for it to grow.
//! Concurrency: workers encode side by side; only handing bytes to the system, and encoding the
//! rows of small morsels, is one at a time.
//!
//! * `encode`: rows to row groups; `file`: row groups to the file.
//! * `flat`: columns of the usual types; `values`: the values of a page, by `dictionary` codes or
//!   plain; `hybrid`: codes as bits; `bounds`: the smallest and largest values.

mod bounds;
mod dictionary;
mod encode;
mod file;
mod flat;
mod hybrid;
mod values;

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::SchemaRef;
use parquet::basic::Compression;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::encode::{Format, RowGroup};
use self::file::{OrderedFile, Piece};
use super::count::{CountSource, RowCount, count_schema};
use crate::batch::{Chunk, MORSEL_ROWS, Place};
use crate::error::{Error, Result};
use crate::memory::Reservation;
use crate::pipeline::{Consumed, Context, Sink, SinkWorker};
use crate::plan::{Build, Field, Intake, Spec, Stream, to_fields};
use crate::scheduler::Token;

/// Up to so many rows and bytes a morsel does not get a row group of its own.
const FEW_ROWS: usize = 32_768;
const FEW_BYTES: usize = 4 << 20;

/// Bytes of a row group unless the statement says otherwise.
const GROUP_BYTES: usize = 16 << 20;

/// What a worker can always have: enough for row groups that are not tiny.
const MINIMUM_BYTES: usize = 256 << 10;
const MINIMUM_BYTES_PER_COLUMN: usize = 96 << 10;

/// `COPY … TO 'path'` as Parquet; gives one row, `count`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteParquet {
    /// The file to write; it appears when all rows are written.
    pub path: PathBuf,
    /// How pages are compressed.
    pub compression: Codec,
    /// Rows in a row group, about: a row group is never cut just before it ends.
    pub row_group_rows: usize,
    /// Bytes of memory that a row group takes when it ends, about.
    pub row_group_bytes: usize,
}

/// How the pages of a file are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Codec {
    /// Not at all.
    None,
    /// Snappy: fast, the usual choice.
    #[default]
    Snappy,
    /// Zstandard at its default level: smaller, slower to write.
    Zstd,
    /// LZ4 blocks: fast to read.
    Lz4,
    /// Gzip: for readers that know nothing else.
    Gzip,
    /// Brotli: small, slow to write.
    Brotli,
}

impl Codec {
    /// All of them.
    pub const ALL: [Codec; 6] =
        [Codec::None, Codec::Snappy, Codec::Zstd, Codec::Lz4, Codec::Gzip, Codec::Brotli];

    /// Its name in plans and options.
    pub fn name(self) -> &'static str {
        match self {
            Codec::None => "none",
            Codec::Snappy => "snappy",
            Codec::Zstd => "zstd",
            Codec::Lz4 => "lz4",
            Codec::Gzip => "gzip",
            Codec::Brotli => "brotli",
        }
    }
}

impl From<Codec> for Compression {
    fn from(codec: Codec) -> Self {
        match codec {
            Codec::None => Compression::UNCOMPRESSED,
            Codec::Snappy => Compression::SNAPPY,
            Codec::Zstd => Compression::ZSTD(Default::default()),
            Codec::Lz4 => Compression::LZ4_RAW,
            Codec::Gzip => Compression::GZIP(Default::default()),
            Codec::Brotli => Compression::BROTLI(Default::default()),
        }
    }
}

impl WriteParquet {
    /// Snappy, and a row group for every full morsel.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        WriteParquet {
            path: path.into(),
            compression: Codec::default(),
            row_group_rows: MORSEL_ROWS,
            row_group_bytes: GROUP_BYTES,
        }
    }
}

impl Spec for WriteParquet {
    fn name(&self) -> &'static str {
        "write_parquet"
    }

    fn schema(&self, inputs: &[SchemaRef]) -> Result<SchemaRef> {
        let [input] = inputs else {
            return Err(Error::internal("a Parquet file is written from one input"));
        };
        if input.fields().is_empty() {
            return Err(Error::input("a Parquet file needs a column at least"));
        }
        if self.row_group_rows == 0 || self.row_group_bytes == 0 {
            return Err(Error::input("a row group needs a row at least"));
        }
        Format::new(&self.path, input, self.compression)?;
        Ok(count_schema())
    }

    fn explain(&self) -> Vec<Field> {
        let mut fields = vec![("path", self.path.display().to_string())];
        if self.compression != Codec::default() {
            fields.push(("compression", self.compression.name().to_string()));
        }
        if self.row_group_rows != MORSEL_ROWS {
            fields.push(("row group", self.row_group_rows.to_string()));
        }
        if self.row_group_bytes != GROUP_BYTES {
            fields.push(("row group bytes", self.row_group_bytes.to_string()));
        }
        fields
    }

    fn intake(&self) -> Intake {
        Intake::Collects
    }

    fn to_json(&self) -> Result<Value> {
        to_fields(self)
    }

    fn build(&self, inputs: Vec<Stream>, build: &mut Build) -> Result<Stream> {
        let Ok([input]) = <[Stream; 1]>::try_from(inputs) else {
            return Err(Error::internal("a Parquet file is written from one input"));
        };
        let shared = Shared {
            format: Format::new(&self.path, &input.schema, self.compression)?,
            file: OrderedFile::new(&self.path, self.row_group_rows),
            group_rows: self.row_group_rows,
            group_bytes: self.row_group_bytes,
            count: RowCount::default(),
        };
        let count = CountSource::new(shared.count.clone());
        let after = build.sink(input, Arc::new(ParquetSink { shared: Arc::new(shared) }));
        Ok(Stream::new(count_schema(), Arc::new(count), after))
    }
}

struct Shared {
    format: Format,
    file: OrderedFile,
    group_rows: usize,
    group_bytes: usize,
    count: RowCount,
}

struct ParquetSink {
    shared: Arc<Shared>,
}

impl Sink for ParquetSink {
    fn name(&self) -> &str {
        "write parquet"
    }

    fn worker(&self, cx: &Context) -> Result<Box<dyn SinkWorker>> {
        let minimum = MINIMUM_BYTES + MINIMUM_BYTES_PER_COLUMN * self.shared.format.leaves();
        Ok(Box::new(ParquetWorker {
            shared: self.shared.clone(),
            begins: Place::default(),
            few: Vec::new(),
            few_bytes: 0,
            group: None,
            ready: None,
            charge: cx.memory().reserve("write parquet", minimum)?,
        }))
    }

    fn prepare(&self, _: &Context) -> Result<usize> {
        self.shared.file.commit(&self.shared.format)?;
        Ok(0)
    }

    fn finish(&self, _: usize, _: &Context) -> Result<()> {
        Err(Error::internal("a Parquet file has no finish tasks"))
    }

    fn reset(&self) -> Result<()> {
        self.shared.file.reset();
        self.shared.count.reset();
        Ok(())
    }
}

struct ParquetWorker {
    shared: Arc<Shared>,
    /// Where the rows at hand, which are of one morsel, begin.
    begins: Place,
    /// Rows at hand while they are few.
    few: Vec<Vec<ArrayRef>>,
    few_bytes: usize,
    /// The row group of the rows at hand, once they are many.
    group: Option<RowGroup>,
    /// A piece that is complete, and where it begins.
    ready: Option<(Place, Piece)>,
    charge: Reservation,
}

impl ParquetWorker {
    /// Hands over the piece that is ready; or says what to wait for.
    fn hand_over(&mut self, cx: &Context) -> Result<Option<Token>> {
        let Some((place, piece)) = self.ready.take() else { return Ok(None) };
        let Shared { file, format, .. } = &*self.shared;
        let mut piece = Some(piece);
        let blocked = file.offer(format, place, &mut piece, &mut self.charge, cx)?;
        self.ready = piece.map(|piece| (place, piece));
        Ok(blocked)
    }

    /// Makes a piece of the rows at hand. Only when none is waiting.
    fn complete(&mut self) -> Result<()> {
        let piece = match self.group.take() {
            Some(group) => Piece::Group(group.finish(&self.shared.format)?),
            None if self.few.is_empty() => return Ok(()),
            None => Piece::Rows(std::mem::take(&mut self.few), std::mem::take(&mut self.few_bytes)),
        };
        let bytes = match &piece {
            Piece::Group(group) => group.bytes,
            Piece::Rows(_, bytes) => *bytes,
        };
        // What is done is smaller than it was on the way; if not, the bytes are there already, and
        // handing them over is the way to be rid of them.
        let charged = self.charge.bytes();
        self.charge.shrink(charged.saturating_sub(bytes));
        let _ = self.charge.try_grow(bytes.saturating_sub(charged));
        self.ready = Some((self.begins, piece));
        Ok(())
    }

    /// Adds rows to those at hand. False when there is no room for more.
    fn add(&mut self, arrays: Vec<ArrayRef>) -> Result<bool> {
        let format = &self.shared.format;
        match &mut self.group {
            Some(group) => group.write(format, &arrays)?,
            None => {
                self.few_bytes += arrays.iter().map(|a| a.get_array_memory_size()).sum::<usize>();
                self.few.push(arrays);
            }
        }
        let few_rows: usize = self.few.iter().map(|arrays| arrays[0].len()).sum();
        if few_rows > FEW_ROWS || self.few_bytes > FEW_BYTES || few_rows >= self.shared.group_rows {
            let few = std::mem::take(&mut self.few);
            self.few_bytes = 0;
            let mut group = RowGroup::new(format)?;
            few.iter().try_for_each(|arrays| group.write(format, arrays))?;
            self.group = Some(group);
        }
        let held = self.group.as_ref().map_or(self.few_bytes, RowGroup::held_bytes);
        let rows = self.group.as_ref().map_or(0, RowGroup::rows);
        let charged = self.charge.bytes();
        self.charge.shrink(charged.saturating_sub(held));
        let fits = self.charge.try_grow(held.saturating_sub(charged));
        // Some more rows than asked for are better than a small row group behind a full one.
        let Shared { group_rows, group_bytes, .. } = *self.shared;
        Ok(fits && held < group_bytes && rows < group_rows.saturating_add(group_rows / 4))
    }
}

impl SinkWorker for ParquetWorker {
    fn consume(&mut self, input: Chunk, cx: &Context) -> Result<Consumed> {
        if let Some(token) = self.hand_over(cx)? {
            return Ok(Consumed::Blocked(token, input));
        }
        if self.group.is_none() && self.few.is_empty() {
            self.begins = input.place();
        }
        let rows = input.live_rows();
        if rows > 0 && !self.add(self.shared.format.arrays(&input)?)? {
            self.complete()?;
            // If it is not this piece's turn, the next call waits for it.
            self.hand_over(cx)?;
        }
        self.shared.count.add(rows);
        Ok(Consumed::NeedInput)
    }

    fn end_morsel(&mut self, cx: &Context) -> Result<Option<Token>> {
        if let Some(token) = self.hand_over(cx)? {
            return Ok(Some(token));
        }
        self.complete()?;
        self.hand_over(cx)
    }

    fn combine(&mut self, _: &Context) -> Result<Option<Token>> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
