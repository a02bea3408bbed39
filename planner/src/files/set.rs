//! Many files as one table: those of a directory or of a pattern.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::datatypes::SchemaRef;
use gristmill_engine::expr::Expr;
use gristmill_engine::memory::Governor;
use gristmill_engine::plan::Spec;
use gristmill_engine::query::cores;
use gristmill_engine::sources::FileRef;
use gristmill_engine::sources::files::{FileScan, FilesScan, Part};
use gristmill_engine::{Error, Result};

use super::one::Read;
use super::partitions::partitions;
use super::{columns, list_of, none_found, statistics};
use crate::catalog::{DataSource, Reading, TableStatistics};

/// Sets of more files read footers again when they are scanned, rather than keep all of them.
const FOOTERS_KEPT: usize = 64;

/// Threads that look at files.
const THREADS_MAX: usize = 8;

/// A table that is many files.
#[derive(Debug)]
pub(super) struct FileSet {
    pattern: PathBuf,
    reading: Reading,
    /// A scan of all of them.
    scan: FilesScan,
    statistics: TableStatistics,
    memory: Governor,
}

impl FileSet {
    /// Opens all files of a directory, or those that a pattern matches.
    ///
    /// # Errors
    /// `Io` when one cannot be read; `Input` when there is none, one is not what its format says,
    /// or they do not agree.
    pub(super) fn open(pattern: &Path, reading: &Reading, memory: &Governor) -> Result<FileSet> {
        let paths = list_of(pattern, reading)?;
        if paths.is_empty() {
            return Err(none_found(pattern));
        }
        let partitions = partitions(&paths)?;
        let mut files = read_all(&paths, reading, memory)?;
        columns::agree(&mut files, reading)?;
        let columns = columns::unite(&files, &partitions)?;
        if columns.columns.is_empty() {
            let text = pattern.display();
            return Err(Error::input(format!("the files of '{text}' have no columns")));
        }
        let each: Vec<TableStatistics> = files.iter().map(Read::statistics).collect();
        let statistics = statistics::unite(&each, &columns, &partitions);
        let parts = files.iter().zip(&columns.reader_of).zip(partitions.values);
        let part = |((file, &reader), constants): ((&Read, &usize), _)| Part {
            file: file.file().clone(),
            reader,
            constants,
        };
        let mut scan = FilesScan {
            parts: parts.map(part).collect(),
            readers: columns.readers,
            projection: (0..columns.columns.len()).collect(),
            columns: columns.columns,
            predicates: Vec::new(),
            key_filters: Vec::new(),
            files: files.len(),
        };
        for reader in &mut scan.readers {
            if let FileScan::Arrow(scan) = &mut reader.scan {
                scan.contents = None;
            }
        }
        let (pattern, reading) = (pattern.to_path_buf(), reading.clone());
        Ok(FileSet { pattern, reading, scan, statistics, memory: memory.clone() })
    }
}

/// What all files say of themselves; the error is that of the first one that has one.
fn read_all(paths: &[PathBuf], reading: &Reading, memory: &Governor) -> Result<Vec<Read>> {
    let cores = cores();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut found = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(path) = paths.get(number) else { return found };
            let mut read = Read::open(path, reading, memory);
            if paths.len() > FOOTERS_KEPT
                && let Ok(read) = &mut read
            {
                read.forget_contents();
            }
            let failed = read.is_err();
            found.push((number, read));
            if failed {
                // Those before it have been taken already.
                next.fetch_max(paths.len(), Ordering::Relaxed);
            }
        }
    };
    let mut found: Vec<(usize, Result<Read>)> = std::thread::scope(|scope| {
        let threads = 1..cores.min(THREADS_MAX).min(paths.len());
        let others: Vec<_> = threads.map(|_| scope.spawn(work)).collect();
        let mut found = work();
        for other in others {
            match other.join() {
                Ok(more) => found.extend(more),
                Err(_) => {
                    let panicked = Error::internal("a thread that looked at files panicked");
                    found.push((usize::MAX, Err(panicked)));
                }
            }
        }
        found
    });
    found.sort_by_key(|(number, _)| *number);
    found.into_iter().map(|(_, read)| read).collect()
}

impl DataSource for FileSet {
    fn schema(&self) -> SchemaRef {
        self.scan.table_schema()
    }

    fn statistics(&self) -> TableStatistics {
        self.statistics.clone()
    }

    fn scan(&self, columns: &[usize], conditions: Vec<Expr>) -> Result<Arc<dyn Spec>> {
        let mut scan = self.scan.clone();
        (scan.projection, scan.predicates) = (columns.to_vec(), conditions);
        Ok(Arc::new(scan.pruned(&self.memory)?))
    }

    fn is_current(&self) -> Result<bool> {
        let paths = list_of(&self.pattern, &self.reading)?;
        if paths.len() != self.scan.parts.len() {
            return Ok(false);
        }
        for (path, part) in paths.iter().zip(&self.scan.parts) {
            if *path != part.file.path || FileRef::of(path)? != part.file {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn paths(&self) -> Vec<PathBuf> {
        self.scan.parts.iter().map(|part| part.file.path.clone()).collect()
    }
}
