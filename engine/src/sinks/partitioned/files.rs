//! The files that are open, by partition.
//!
//! Invariant 1: a file is ended only when nobody writes to it and everything before the low mark
//! of the order that is its own has been handed over.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use arrow::datatypes::SchemaRef;

use super::FileSink;
use super::staging::Staging;
use crate::error::{Error, Result};
use crate::memory::Reservation;
use crate::pipeline::{Context, Sink, SinkWorker};

/// Files that nobody writes to and that stay open, at most.
const OPEN_MAX: usize = 64;

/// What a partition that is known takes, beside its path.
const PARTITION_BYTES: usize = 96;

/// The open files of a directory; see the module documentation.
pub(super) struct Files {
    file: FileSink,
    schema: SchemaRef,
    /// Whether partitions come one after the other.
    is_sorted: bool,
    state: Mutex<State>,
}

struct State {
    staging: Option<Staging>,
    open: HashMap<String, Open>,
    /// How many files each partition has had.
    counts: HashMap<String, usize>,
    held: Reservation,
}

/// A file of a partition.
struct Open {
    sink: Arc<dyn Sink>,
    /// Workers that write to it.
    writers: usize,
    /// The last morsel that it has rows of.
    last: u64,
}

impl Files {
    /// No files yet.
    pub(super) fn new(
        file: FileSink,
        schema: SchemaRef,
        is_sorted: bool,
        held: Reservation,
    ) -> Self {
        let state = State { staging: None, open: HashMap::new(), counts: HashMap::new(), held };
        Files { file, schema, is_sorted, state: Mutex::new(state) }
    }

    /// One more writer of a partition's file, which is at `morsel`; ends others when there is no
    /// memory for it.
    ///
    /// # Errors
    /// `Io` when it cannot be created, `Input` when the directory is not as it should be,
    /// `OutOfMemory` when there is no file to end.
    pub(super) fn enter(
        &self,
        partition: &str,
        morsel: u64,
        begin: impl FnOnce() -> Result<Staging>,
        cx: &Context,
    ) -> Result<Box<dyn SinkWorker>> {
        let sink = self.sink(partition, morsel, begin, cx)?;
        loop {
            match sink.worker(cx) {
                Err(Error::OutOfMemory { .. }) if self.end_one(&mut self.lock(), cx)? => {}
                made => return made,
            }
        }
    }

    /// The sink of a partition's file, which is written to from now on.
    fn sink(
        &self,
        partition: &str,
        morsel: u64,
        begin: impl FnOnce() -> Result<Staging>,
        cx: &Context,
    ) -> Result<Arc<dyn Sink>> {
        let mut state = self.lock();
        if let Some(open) = state.open.get_mut(partition) {
            open.writers += 1;
            open.last = open.last.max(morsel);
            return Ok(open.sink.clone());
        }
        if self.is_sorted {
            self.end_passed(&mut state, cx)?;
        }
        while state.open.len() >= OPEN_MAX && self.end_one(&mut state, cx)? {}
        let State { staging, counts, held, .. } = &mut *state;
        let staging = match staging {
            Some(staging) => staging,
            none => none.insert(begin()?),
        };
        let number = match counts.get_mut(partition) {
            Some(count) => {
                *count += 1;
                *count
            }
            None => {
                held.grow(2 * (partition.len() + PARTITION_BYTES))?;
                counts.insert(partition.to_string(), 0);
                0
            }
        };
        let path = staging.file(partition, number, self.file.ending())?;
        let sink = self.file.open(&path, &self.schema)?;
        let open = Open { sink: sink.clone(), writers: 1, last: morsel };
        state.open.insert(partition.to_string(), open);
        Ok(sink)
    }

    /// A writer has handed over all it had; `is_complete` when no other will come.
    pub(super) fn leave(&self, partition: &str, is_complete: bool, cx: &Context) -> Result<()> {
        let mut state = self.lock();
        let Some(open) = state.open.get_mut(partition) else {
            return Err(Error::internal(format!("no file of {partition} is open")));
        };
        open.writers -= 1;
        if is_complete && open.writers == 0 {
            self.end(&mut state, partition, cx)?;
        }
        Ok(())
    }

    /// Ends a file that is complete as far as the order has come; false when there is none.
    fn end_one(&self, state: &mut State, cx: &Context) -> Result<bool> {
        let low = if cx.query.keep_order { cx.order.low() } else { u64::MAX };
        let done = state.open.iter().filter(|(_, open)| open.writers == 0 && open.last < low);
        let oldest = done.min_by_key(|(name, open)| (open.last, name.as_str()));
        let Some(name) = oldest.map(|(name, _)| name.clone()) else { return Ok(false) };
        self.end(state, &name, cx)?;
        Ok(true)
    }

    /// Ends files of sorted input that have no rows in morsels to come.
    fn end_passed(&self, state: &mut State, cx: &Context) -> Result<()> {
        let low = cx.order.low();
        // A partition may go on in the morsel behind its last one, but not behind that.
        let passed = |open: &Open| open.writers == 0 && open.last.saturating_add(1) < low;
        let names = state.open.iter().filter(|(_, open)| passed(open)).map(|(name, _)| name);
        let names: Vec<String> = names.cloned().collect();
        names.iter().try_for_each(|name| self.end(state, name, cx))
    }

    fn end(&self, state: &mut State, partition: &str, cx: &Context) -> Result<()> {
        match state.open.remove(partition) {
            Some(open) => open.sink.prepare(cx).map(|_| ()),
            None => Ok(()),
        }
    }

    /// Ends all files, and puts them where they belong.
    ///
    /// # Errors
    /// `Io` when that fails.
    pub(super) fn commit(
        &self,
        begin: impl FnOnce() -> Result<Staging>,
        cx: &Context,
    ) -> Result<()> {
        let mut state = self.lock();
        let mut names: Vec<String> = state.open.keys().cloned().collect();
        names.sort_unstable();
        for name in names {
            cx.check()?;
            self.end(&mut state, &name, cx)?;
        }
        match state.staging.take() {
            Some(staging) => staging.commit(),
            None => begin()?.commit(),
        }
    }

    /// Removes what was written, to begin again.
    pub(super) fn reset(&self) -> Result<()> {
        let mut state = self.lock();
        state.open.clear();
        state.counts.clear();
        state.staging = None;
        state.held.resize_to(0)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// The name of a partition's file.
pub(super) fn file_path(directory: &Path, prefix: &str, number: usize, ending: &str) -> PathBuf {
    directory.join(format!("data_{prefix}{number}.{ending}"))
}
