//! The source: decodes record batches and gives them chunk by chunk.
//!
//! Memory: a batch is in memory as a whole, the wanted columns of it, while workers give its rows;
//! it holds its own reservation.
//! Concurrency: workers share the cursor over the morsels, the batches that they are at, and
//! dictionaries. Whoever comes first to a batch decodes it; those who want the same one wait.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use arrow::array::AsArray;
use arrow::datatypes::DataType;
use arrow::ipc::reader::RecordBatchDecoder;

use super::ArrowScan;
use super::contents::{Batch, Contents};
use super::dictionaries::{Dictionaries, DictionaryCache};
use super::error::{corrupt, from_arrow, guarded};
use super::message::{assemble, buffers_of, read_metadata};
use crate::batch::{CHUNK_ROWS, Chunk, Column, MAX_CHUNK_ROWS, MORSEL_ROWS, Place, held_as};
use crate::error::{Error, Result};
use crate::expr::{Conjunction, Expr};
use crate::memory::{Governor, Reservation};
use crate::pipeline::{Context, Pull, Source, SourceWorker};
use crate::sources::file::InputFile;

/// How long a batch waits for room, and how often it asks.
const PATIENCE: Duration = Duration::from_secs(1);
const ASK_EVERY: Duration = Duration::from_millis(2);

/// A scan that is ready to run.
pub(super) struct Scan {
    shared: Arc<Shared>,
}

struct Shared {
    contents: Arc<Contents>,
    /// Open while a worker reads from it.
    opened: Mutex<Weak<InputFile>>,
    /// Columns that are read, ascending positions in the file; a slot each.
    slots: Vec<usize>,
    /// Slots that the filter reads, ascending.
    filter_slots: Vec<usize>,
    /// The filter, over positions in `filter_slots`.
    predicates: Vec<Expr>,
    /// Slots to give.
    projection: Vec<usize>,
    morsels: Vec<Morsel>,
    next: AtomicUsize,
    /// By batch, while workers give its rows.
    decoded: Vec<Mutex<Weak<Decoded>>>,
    dictionaries: DictionaryCache,
    threads: usize,
    reservation: Reservation,
}

/// Rows of one record batch.
#[derive(Debug, Clone)]
struct Morsel {
    batch: usize,
    rows: Range<usize>,
}

/// The wanted columns of a record batch, by slot.
struct Decoded {
    columns: Vec<Column>,
    _dictionaries: Option<Arc<Dictionaries>>,
    _held: Reservation,
}

impl Scan {
    /// A scan of a file whose contents are known.
    pub(super) fn new(
        spec: &ArrowScan,
        contents: Arc<Contents>,
        memory: &Governor,
        threads: usize,
    ) -> Result<Scan> {
        let sorted = |mut columns: Vec<usize>| {
            columns.sort_unstable();
            columns.dedup();
            columns
        };
        let filter_columns = sorted(spec.predicates.iter().flat_map(Expr::columns).collect());
        let slots = sorted(filter_columns.iter().chain(&spec.projection).copied().collect());
        let slot = |&column: &usize| slots.binary_search(&column).unwrap_or(0);
        let place = |column: usize| filter_columns.binary_search(&column).unwrap_or(0);
        let mut morsels = Vec::new();
        for (number, batch) in contents.batches().iter().enumerate() {
            let ends = (0..batch.rows).step_by(MORSEL_ROWS);
            let rows = |start: usize| start..batch.rows.min(start + MORSEL_ROWS);
            morsels.extend(ends.map(|start| Morsel { batch: number, rows: rows(start) }));
        }
        let mut reservation = memory.reserve("arrow scan", 0)?;
        reservation.grow(contents.batches().len() * size_of::<Mutex<Weak<Decoded>>>())?;
        let shared = Shared {
            filter_slots: filter_columns.iter().map(slot).collect(),
            predicates: spec.predicates.iter().map(|p| p.clone().map_columns(&place)).collect(),
            projection: spec.projection.iter().map(slot).collect(),
            slots,
            decoded: contents.batches().iter().map(|_| Mutex::default()).collect(),
            contents,
            opened: Mutex::default(),
            morsels,
            next: AtomicUsize::new(0),
            dictionaries: DictionaryCache::default(),
            threads,
            reservation,
        };
        Ok(Scan { shared: Arc::new(shared) })
    }
}

impl Source for Scan {
    fn name(&self) -> &str {
        "arrow scan"
    }

    fn worker(&self, cx: &Context) -> Result<Box<dyn SourceWorker>> {
        Ok(Box::new(ScanWorker {
            filter: Conjunction::new(self.shared.predicates.clone(), cx.memory()),
            shared: self.shared.clone(),
            reading: None,
        }))
    }

    fn parallelism(&self) -> usize {
        self.shared.morsels.len().clamp(1, self.shared.threads.max(1))
    }

    fn morsels(&self) -> Option<u64> {
        Some(self.shared.morsels.len() as u64)
    }

    fn reset(&self) -> Result<()> {
        self.shared.next.store(0, Ordering::Relaxed);
        Ok(())
    }
}

struct ScanWorker {
    shared: Arc<Shared>,
    filter: Conjunction,
    reading: Option<Reading>,
}

/// The morsel that is being given.
struct Reading {
    number: u64,
    /// Rows that are left of it.
    rows: Range<usize>,
    decoded: Arc<Decoded>,
}

impl SourceWorker for ScanWorker {
    fn pull(&mut self, cx: &Context) -> Result<Pull> {
        loop {
            cx.check()?;
            let shared = self.shared.clone();
            let Some(reading) = &mut self.reading else {
                let number = shared.next.fetch_add(1, Ordering::Relaxed);
                let Some(morsel) = shared.morsels.get(number) else {
                    shared.dictionaries.release();
                    return Ok(Pull::Finished);
                };
                let decoded = shared.decoded_in_time(morsel.batch, cx)?;
                let (number, rows) = (number as u64, morsel.rows.clone());
                self.reading = Some(Reading { number, rows, decoded });
                return Ok(Pull::Morsel(number));
            };
            if reading.rows.is_empty() {
                self.reading = None;
                continue;
            }
            let most = if shared.slots.is_empty() { MAX_CHUNK_ROWS } else { CHUNK_ROWS };
            let (start, rows) = (reading.rows.start, reading.rows.len().min(most));
            reading.rows.start += rows;
            let place = Place { morsel: reading.number, sequence: 0 };
            let slice = |&slot: &usize| reading.decoded.columns[slot].slice(start, rows);
            let filtered = shared.filter_slots.iter().map(slice).collect();
            let passed = self.filter.select(&Chunk::new(filtered, rows, place))?;
            if passed.as_ref().is_some_and(|passed| passed.is_empty()) {
                continue;
            }
            let columns = shared.projection.iter().map(slice).collect();
            let chunk = Chunk::new(columns, rows, place);
            return Ok(Pull::Chunk(match passed {
                Some(passed) => chunk.select(passed),
                None => chunk,
            }));
        }
    }
}

impl Shared {
    fn open(&self) -> Result<Arc<InputFile>> {
        let mut opened = self.opened.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(file) = opened.upgrade() {
            return Ok(file);
        }
        let file = Arc::new(InputFile::open(self.contents.file())?);
        *opened = Arc::downgrade(&file);
        Ok(file)
    }

    /// The wanted columns of a record batch, for which there may be no room at once: who holds it
    /// gives it up between two chunks, and may be in the middle of one.
    fn decoded_in_time(&self, number: usize, cx: &Context) -> Result<Arc<Decoded>> {
        let (begun, has_others) = (Instant::now(), self.threads > 1);
        loop {
            match self.decoded(number) {
                Err(Error::OutOfMemory { .. }) if has_others && begun.elapsed() < PATIENCE => {
                    cx.check()?;
                    std::thread::sleep(ASK_EVERY);
                }
                decoded => return decoded,
            }
        }
    }

    /// The wanted columns of a record batch.
    fn decoded(&self, number: usize) -> Result<Arc<Decoded>> {
        let mut shared = self.decoded[number].lock().unwrap_or_else(|e| e.into_inner());
        if let Some(decoded) = shared.upgrade() {
            return Ok(decoded);
        }
        let file = self.open()?;
        let batch = &self.contents.batches()[number];
        let decoded = Arc::new(guarded(file.path(), || self.decode(&file, batch))?);
        file.check()?;
        *shared = Arc::downgrade(&decoded);
        Ok(decoded)
    }

    fn decode(&self, file: &InputFile, batch: &Batch) -> Result<Decoded> {
        let path = file.path();
        let mut held = self.reservation.child(0)?;
        if self.slots.is_empty() {
            return Ok(Decoded { columns: Vec::new(), _dictionaries: None, _held: held });
        }
        let stored = self.contents.stored();
        let is_coded = |&slot: &usize| holds_codes(stored.field(slot).data_type());
        let dictionaries = match self.slots.iter().any(is_coded) {
            true => {
                let held = || self.reservation.child(0);
                Some(self.dictionaries.get(file, &self.contents, batch.dictionaries, held)?)
            }
            false => None,
        };
        let metadata = read_metadata(file, &batch.block)?;
        let message = metadata.message(path)?;
        let header = message.header_as_record_batch();
        let header = header.ok_or_else(|| corrupt(path, "a record batch was expected"))?;
        let version = message.version();
        let wanted = buffers_of(stored.fields(), &self.slots, &header, version);
        let wanted = wanted.ok_or_else(|| corrupt(path, "a batch does not fit its schema"))?;
        let assembled = assemble(file, &batch.block, &header, &wanted, &mut held);
        let assembled = assembled.map_err(|error| no_room(error, batch.rows))?;
        let none = Default::default();
        let by_id = dictionaries.as_ref().map_or(&none, |dictionaries| &dictionaries.by_id);
        let (body, header) = (&assembled.body, assembled.batch(path)?);
        let decoder = RecordBatchDecoder::try_new(body, header, stored.clone(), by_id, &version);
        let decoded = decoder
            .and_then(|decoder| decoder.with_projection(Some(&self.slots)).read_record_batch())
            .map_err(|e| from_arrow(path, e))?;
        if decoded.num_rows() != batch.rows {
            return Err(corrupt(path, "a record batch of another length than it says"));
        }
        let columns = self.slots.iter().zip(decoded.columns()).map(|(&position, array)| {
            let logical = self.contents.schema().field(position).data_type();
            match (array.as_any_dictionary_opt(), &dictionaries) {
                (Some(codes), Some(dictionaries)) if !logical.is_nested() => {
                    dictionaries.column(position, logical, codes)
                }
                _ => Ok(Column::flat(logical.clone(), held_as(array, logical)?)),
            }
        });
        let columns = columns.collect::<Result<_>>()?;
        Ok(Decoded { columns, _dictionaries: dictionaries, _held: held })
    }
}

/// The error for a record batch that has no room.
fn no_room(error: Error, rows: usize) -> Error {
    let Error::OutOfMemory { who, asked_bytes, detail } = error else { return error };
    let detail = format!("a record batch of {rows} rows must have room as a whole; {detail}");
    Error::OutOfMemory { who, asked_bytes, detail }
}

/// Whether arrays of this type refer to dictionaries, at any depth.
fn holds_codes(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, _) => true,
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => holds_codes(item.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| holds_codes(field.data_type())),
        DataType::Union(fields, _) => fields.iter().any(|(_, f)| holds_codes(f.data_type())),
        DataType::RunEndEncoded(_, values) => holds_codes(values.data_type()),
        _ => false,
    }
}
