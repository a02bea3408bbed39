//! The source: finds the row groups worth reading and opens their columns for the workers.
//!
//! Concurrency: workers share the cursor over the morsels, the dictionaries and sizes of row groups
//! that several of them read, counters, and how many of them there are.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use arrow::datatypes::DataType;

use super::ParquetScan;
use super::column::ColumnReader;
use super::dictionary::Dictionaries;
use super::footer::Footer;
use super::generic::GenericColumn;
use super::morsels::{Morsel, Morsels};
use super::narrow::{Group, PageIndexUse};
use super::native::NativeColumn;
use super::sizes::{Sizes, page_bytes};
use super::worker::ScanWorker;
use crate::batch::{CHUNK_ROWS, KeyFilterSlot, MAX_CHUNK_ROWS};
use crate::error::{Error, Result};
use crate::expr::Expr;
use crate::memory::{Governor, Reservation};
use crate::observe::{Count, count};
use crate::pipeline::{Context, Source, SourceWorker};
use crate::plan::Build;
use crate::sources::block::{BlockPlan, Stage};
use crate::sources::declared::DeclaredColumn;
use crate::sources::file::InputFile;

/// What the holder of a scan's memory is called.
pub(super) const HOLDER: &str = "parquet scan";

/// Bytes of texts that a block has at most, unless one row has more.
pub(super) const BLOCK_TEXT_BYTES: usize = 1 << 20;

/// How much of one column a scan has read.
#[derive(Debug, Default)]
pub(super) struct ColumnReads {
    /// Rows whose values were decoded.
    pub rows: AtomicU64,
    /// Data pages that were decompressed.
    pub pages: AtomicU64,
}

impl ColumnReads {
    /// Notes that rows were decoded.
    pub fn add_rows(&self, rows: usize) {
        self.rows.fetch_add(rows as u64, Ordering::Relaxed);
    }
}

/// A scan that is ready to run; the shared state of its workers.
pub(super) struct Scan {
    shared: Arc<Shared>,
}

/// What the workers share.
pub(super) struct Shared {
    files: Vec<ScanFile>,
    /// Columns that are read, for filters or for the output: positions in the plan's columns.
    slots: Vec<usize>,
    /// What is done with each block.
    pub plan: BlockPlan,
    /// The conditions of the filters, over slots.
    pub conditions: Vec<Expr>,
    /// The key filters, and slot and type of their keys.
    pub key_filters: Vec<(KeyFilterSlot, Vec<(usize, DataType)>)>,
    /// The morsels of the row groups that may have a row to give.
    pub morsels: Morsels,
    threads: usize,
    /// Counts per slot.
    pub reads: Vec<ColumnReads>,
    /// Whether page indexes are of use.
    pub page_index: PageIndexUse,
    /// Dictionaries of the chunks that are being read.
    pub dictionaries: Dictionaries,
    /// Sizes of leaves in row groups (file, row group, leaf) that are being read.
    sizes: Mutex<HashMap<(usize, usize, usize), Weak<Sizes>>>,
    /// What the workers' reservations are children of.
    pub reservation: Reservation,
    /// What the largest pages of a row group (file, row group) take, of the last one asked for.
    pages_bytes: Mutex<Option<((usize, usize), usize)>>,
    pub begun: Mutex<Begun>,
}

/// Workers that have begun, without those that have given way.
#[derive(Debug, Default)]
pub(super) struct Begun {
    pub workers: usize,
    /// Bytes that they have reserved to begin with.
    pub reserved: usize,
}

impl Begun {
    /// Whether one more has room when each needs so many bytes for pages, and some for what is done
    /// with the rows.
    pub fn has_room(&self, pages: usize, memory: &Governor) -> bool {
        let free = memory.limit().saturating_sub(memory.reserved());
        let each = pages.saturating_add(pages / 4);
        (self.workers + 1).saturating_mul(each) <= free.saturating_add(self.reserved)
    }
}

struct ScanFile {
    footer: Arc<Footer>,
    /// Position in the file of each slot's column.
    columns: Vec<usize>,
    /// Open while a worker reads from it.
    opened: Mutex<Weak<InputFile>>,
}

impl Scan {
    /// Reads the footers that are missing and finds the row groups to read.
    pub fn open(spec: &ParquetScan, build: &mut Build) -> Result<Scan> {
        let mut slots: Vec<usize> = spec.predicates.iter().flat_map(Expr::columns).collect();
        slots.extend(&spec.projection);
        slots.sort_unstable();
        slots.dedup();
        let slot = |column: usize| slots.binary_search(&column).unwrap_or(0);
        let conditions: Vec<Expr> =
            spec.predicates.iter().map(|p| p.clone().map_columns(&slot)).collect();
        let output: Vec<usize> = spec.projection.iter().map(|&column| slot(column)).collect();
        let mut key_filters = Vec::with_capacity(spec.key_filters.len());
        for key_filter in &spec.key_filters {
            let keys = key_filter.columns.iter().map(|&position| {
                let column = *spec.projection.get(position).ok_or_else(|| {
                    Error::internal(format!("key filter on output column {position}"))
                })?;
                Ok((slot(column), spec.declared().column(column)?.data_type.clone()))
            });
            let keys = keys.collect::<Result<Vec<_>>>()?;
            key_filters.push((build.key_filter(key_filter.id), keys));
        }
        let keys = key_filters
            .iter()
            .map(|(filter, keys)| (filter.clone(), keys.iter().map(|(slot, _)| *slot).collect()));
        let stages = Stage::divide(&conditions, keys.collect());
        let mut morsels = Morsels::default();
        let mut files = Vec::with_capacity(spec.files.len());
        for number in 0..spec.files.len() {
            let file = ScanFile::find(spec, number, &slots, build)?;
            file.add_morsels(number, &conditions, &mut morsels)?;
            files.push(file);
        }
        let shared = Shared {
            files,
            plan: BlockPlan { slots: slots.len(), stages, output },
            conditions,
            key_filters,
            morsels,
            threads: build.query.threads,
            reads: slots.iter().map(|_| ColumnReads::default()).collect(),
            page_index: PageIndexUse::default(),
            dictionaries: Dictionaries::default(),
            sizes: Mutex::default(),
            slots,
            reservation: build.query.memory.reserve(HOLDER, 0)?,
            pages_bytes: Mutex::default(),
            begun: Mutex::default(),
        };
        Ok(Scan { shared: Arc::new(shared) })
    }

    /// What the workers share.
    #[cfg(test)]
    pub fn shared(&self) -> &Shared {
        &self.shared
    }
}

impl ScanFile {
    fn find(spec: &ParquetScan, number: usize, slots: &[usize], build: &Build) -> Result<Self> {
        let file = &spec.files[number];
        let known = spec.footers.iter().find(|footer| footer.file() == file);
        let read = || Footer::read(file, &build.query.memory);
        let footer = known.map_or_else(read, |footer| Ok(footer.clone()))?;
        let columns = slots
            .iter()
            .map(|&column| footer.find(column, &spec.declared().column(column)?.field()));
        let columns = columns.collect::<Result<_>>()?;
        Ok(ScanFile { footer, columns, opened: Mutex::default() })
    }

    fn group(&self, row_group: usize) -> Group<'_> {
        Group { footer: &self.footer, columns: &self.columns, row_group }
    }

    fn add_morsels(&self, file: usize, conditions: &[Expr], morsels: &mut Morsels) -> Result<()> {
        for (row_group, meta) in self.footer.metadata().row_groups().iter().enumerate() {
            let rows = usize::try_from(meta.num_rows());
            let rows = rows.map_err(|e| Error::internal(e.to_string()))?;
            count(Count::RowGroups, 1);
            if self.group(row_group).may_pass(conditions) {
                morsels.add(file, row_group, rows);
            } else {
                count(Count::RowGroupsSkipped, 1);
                count(Count::RowsSkipped, rows as u64);
            }
        }
        Ok(())
    }

    fn open(&self) -> Result<Arc<InputFile>> {
        let mut opened = self.opened.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(file) = opened.upgrade() {
            return Ok(file);
        }
        let file = Arc::new(InputFile::open(self.footer.file())?);
        *opened = Arc::downgrade(&file);
        Ok(file)
    }
}

impl Shared {
    /// Rows to read at once at the begin of these, which `readers` stand at: without columns there
    /// is nothing to keep small, and long texts are few.
    pub fn block_rows(&self, rows: &Range<usize>, readers: &[Box<dyn ColumnReader>]) -> usize {
        if self.slots.is_empty() {
            return rows.len().min(MAX_CHUNK_ROWS);
        }
        let mut count = rows.len().min(CHUNK_ROWS);
        let bytes = |count: usize| -> usize {
            readers.iter().map(|r| r.text_bytes(&(rows.start..rows.start + count))).sum()
        };
        while count > 1 && bytes(count) > BLOCK_TEXT_BYTES {
            count = count.div_ceil(2);
        }
        count
    }

    /// The open file of a morsel.
    pub fn open_file(&self, morsel: &Morsel) -> Result<Arc<InputFile>> {
        self.files[morsel.file].open()
    }

    /// The row group of a morsel.
    pub fn group(&self, morsel: &Morsel) -> Group<'_> {
        self.files[morsel.file].group(morsel.row_group)
    }

    /// Readers of all slots' columns in the morsel's row group.
    pub fn open_columns(
        self: &Arc<Self>,
        file: &Arc<InputFile>,
        morsel: &Morsel,
    ) -> Result<Vec<Box<dyn ColumnReader>>> {
        self.slots().map(|slot| self.open_column(file, morsel, slot)).collect()
    }

    fn open_column(
        self: &Arc<Self>,
        file: &Arc<InputFile>,
        morsel: &Morsel,
        slot: usize,
    ) -> Result<Box<dyn ColumnReader>> {
        let ScanFile { footer, columns, .. } = &self.files[morsel.file];
        let (group, column) = (morsel.row_group, columns[slot]);
        let filters = self.plan.stages.iter().any(|stage| stage.slots.contains(&slot));
        let key = (morsel.file, group, slot);
        if let Some(native) = NativeColumn::open(file, footer, self, column, key, filters)? {
            return Ok(Box::new(native));
        }
        let descr = footer.metadata().file_metadata().schema_descr();
        let leaves = (0..descr.num_columns()).filter(|&l| descr.get_column_root_idx(l) == column);
        let sizes = leaves.map(|leaf| self.sizes(file, footer, (morsel.file, group, leaf)));
        let sizes = sizes.collect::<Result<_>>()?;
        Ok(Box::new(GenericColumn::open(file, footer, group, column, sizes)?))
    }

    /// The sizes of a leaf in a row group; workers that read from the same row group share them.
    fn sizes(
        &self,
        file: &Arc<InputFile>,
        footer: &Arc<Footer>,
        key: (usize, usize, usize),
    ) -> Result<Arc<Sizes>> {
        let lock = || self.sizes.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(known) = lock().get(&key).and_then(Weak::upgrade) {
            return Ok(known);
        }
        let sizes = Arc::new(Sizes::read(file, footer, key.1, key.2)?);
        let mut all = lock();
        all.retain(|_, sizes| sizes.strong_count() > 0);
        all.insert(key, Arc::downgrade(&sizes));
        Ok(sizes)
    }

    /// Bytes of the largest pages, together, that a worker needs at a time in row groups like that
    /// of the morsel; more where all workers have room for more at any rate.
    ///
    /// # Errors
    /// As [`page_bytes`].
    pub fn pages_bytes(&self, file: &Arc<InputFile>, morsel: &Morsel) -> Result<usize> {
        let ScanFile { footer, columns, .. } = &self.files[morsel.file];
        let (group, roots) = (morsel.row_group, columns.iter().collect::<HashSet<_>>());
        let descr = footer.metadata().file_metadata().schema_descr();
        let leaves =
            || (0..descr.num_columns()).filter(|&l| roots.contains(&descr.get_column_root_idx(l)));
        // No page is larger than its chunk.
        let chunk_bytes = |leaf: usize| {
            let chunk = footer.metadata().row_group(group).column(leaf);
            let bytes = chunk.uncompressed_size().saturating_add(chunk.compressed_size());
            usize::try_from(bytes).unwrap_or(usize::MAX)
        };
        let chunks = leaves().map(chunk_bytes).fold(0, usize::saturating_add);
        let memory = self.reservation.governor();
        let begun = Begun { workers: self.threads.saturating_sub(1), reserved: 0 };
        if begun.has_room(chunks, memory) {
            return Ok(chunks);
        }
        let key = (morsel.file, group);
        let mut known = self.pages_bytes.lock().unwrap_or_else(|e| e.into_inner());
        match *known {
            Some((of, bytes)) if of == key => Ok(bytes),
            _ => {
                let pages = leaves().map(|leaf| page_bytes(file, footer, group, leaf));
                let bytes = pages.sum::<Result<usize>>()?;
                *known = Some((key, bytes));
                Ok(bytes)
            }
        }
    }

    /// Slots, by number.
    pub fn slots(&self) -> std::ops::Range<usize> {
        0..self.slots.len()
    }

    /// Bytes that a slot's column takes in the morsel's row group, decompressed.
    pub fn column_bytes(&self, morsel: &Morsel, slot: usize) -> u64 {
        let ScanFile { footer, columns, .. } = &self.files[morsel.file];
        let group = footer.metadata().row_group(morsel.row_group);
        let leaf = columns.get(slot).and_then(|&column| footer.leaf(column));
        let bytes = leaf.map_or(group.total_byte_size(), |l| group.column(l).uncompressed_size());
        u64::try_from(bytes).unwrap_or(0)
    }
}

impl Source for Scan {
    fn name(&self) -> &str {
        HOLDER
    }

    fn worker(&self, _: &Context) -> Result<Box<dyn SourceWorker>> {
        Ok(Box::new(ScanWorker::new(self.shared.clone())?))
    }

    fn parallelism(&self) -> usize {
        self.shared.morsels.len().clamp(1, self.shared.threads.max(1))
    }

    fn morsels(&self) -> Option<u64> {
        Some(self.shared.morsels.len() as u64)
    }

    fn reset(&self) -> Result<()> {
        self.shared.morsels.reset();
        *self.shared.begun.lock().unwrap_or_else(|e| e.into_inner()) = Begun::default();
        Ok(())
    }
}
