//! The source: workers go from file to file, in order.
//!
//! The morsels of a file are numbered by its own scan; the number of the file stands above them. A
//! file is done when its scan has no morsel left to hand out, which whoever is told so first notes
//! for all.
//!
//! A small file is one worker's alone: the others go on to the next, and open it meanwhile.
//!
//! Memory: what the scans of the files hold that workers are at.
//! Concurrency: one lock, taken when a worker goes on to another file, held while one that workers
//! share is opened.
//! Invariant 1: a file is opened again only when it was never finished.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use super::reader::{OutputColumn, PartScan};
use super::{FilesScan, Part};
use crate::batch::{Chunk, Column, KeyFilterId, KeyFilterSlot, Place};
use crate::error::{Error, Result};
use crate::expr::{Evaluator, Expr, Piece};
use crate::pipeline::{Context, Pull, Query, Source, SourceWorker};
use crate::plan::{ARM_MORSELS, Build};

/// Bytes up to which a file is one worker's.
const SMALL_BYTES: u64 = 1 << 20;

/// A scan that is ready to run.
pub(super) struct Scan {
    shared: Arc<Shared>,
}

struct Shared {
    spec: FilesScan,
    query: Arc<Query>,
    key_filters: Vec<(KeyFilterId, KeyFilterSlot)>,
    /// Morsel numbers that a file may use.
    morsels_per_file: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Files below are done, or somebody's alone.
    first: usize,
    /// Files that workers share.
    open: BTreeMap<usize, Weak<OpenPart>>,
}

/// A file that workers are at.
struct OpenPart {
    number: usize,
    source: Arc<dyn Source>,
    /// What the output columns are.
    output: Vec<Output>,
    /// What is computed of the file's columns.
    computed: Vec<Expr>,
}

enum Output {
    Given(usize),
    Constant(Column),
    /// The value of this number of those that are computed.
    Computed(usize),
}

impl Scan {
    pub(super) fn new(spec: FilesScan, build: &mut Build) -> Result<Scan> {
        let slots = spec.key_filters.iter().map(|use_| (use_.id, build.key_filter(use_.id)));
        let shared = Shared {
            key_filters: slots.collect(),
            query: build.query.clone(),
            morsels_per_file: ARM_MORSELS / (spec.parts.len() as u64 + 1),
            state: Mutex::default(),
            spec,
        };
        Ok(Scan { shared: Arc::new(shared) })
    }
}

impl Source for Scan {
    fn name(&self) -> &str {
        "files scan"
    }

    fn worker(&self, _: &Context) -> Result<Box<dyn SourceWorker>> {
        Ok(Box::new(ScanWorker { shared: self.shared.clone(), next: 0, at: None }))
    }

    fn parallelism(&self) -> usize {
        // One file alone knows best; if it cannot be opened, the worker that comes to it says so.
        if let [part] = &self.shared.spec.parts[..]
            && let Ok(part) = self.shared.open_part(0, part)
        {
            return part.source.parallelism();
        }
        match self.shared.spec.parts.len() {
            0 => 1,
            _ => self.shared.query.threads.max(1),
        }
    }

    fn reset(&self) -> Result<()> {
        *self.shared.lock() = State::default();
        Ok(())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// The first file at `next` or behind that is not done, to work at.
    fn open(&self, next: usize) -> Result<Option<Arc<OpenPart>>> {
        let mut state = self.lock();
        let number = next.max(state.first);
        let Some(part) = self.spec.parts.get(number) else { return Ok(None) };
        if part.file.size <= SMALL_BYTES {
            state.first = number + 1;
            drop(state);
            return Ok(Some(Arc::new(self.open_part(number, part)?)));
        }
        if let Some(open) = state.open.get(&number).and_then(Weak::upgrade) {
            return Ok(Some(open));
        }
        let open = Arc::new(self.open_part(number, part)?);
        state.open.insert(number, Arc::downgrade(&open));
        Ok(Some(open))
    }

    fn open_part(&self, number: usize, part: &Part) -> Result<OpenPart> {
        let PartScan { spec, output } = self.spec.part_scan(part)?;
        let mut build = Build::part_of(self.query.clone(), &self.key_filters);
        let stream = spec.build(Vec::new(), &mut build)?;
        let Some(arm) = stream.arms.into_iter().next() else {
            return Err(Error::internal("a scan without a source"));
        };
        let mut computed = Vec::new();
        let output = output.into_iter().map(|column| match column {
            OutputColumn::Given(position) => Ok(Output::Given(position)),
            OutputColumn::Constant(literal) => Ok(Output::Constant(literal.to_column()?)),
            OutputColumn::Computed(expr) => {
                computed.push(expr);
                Ok(Output::Computed(computed.len() - 1))
            }
        });
        let output = output.collect::<Result<_>>()?;
        Ok(OpenPart { number, source: arm.source, output, computed })
    }

    /// Notes that nothing is left of a file to be handed out.
    fn done(&self, number: usize) {
        let mut state = self.lock();
        state.first = state.first.max(number + 1);
        let first = state.first;
        state.open.retain(|&number, _| number >= first);
    }

    fn morsel(&self, part: usize, morsel: u64) -> Result<u64> {
        if morsel >= self.morsels_per_file {
            return Err(Error::internal(format!("morsel {morsel} of a file")));
        }
        Ok(part as u64 * self.morsels_per_file + morsel)
    }
}

struct ScanWorker {
    shared: Arc<Shared>,
    /// Files below are done.
    next: usize,
    at: Option<Reading>,
}

/// A file that a worker reads.
struct Reading {
    part: Arc<OpenPart>,
    worker: Box<dyn SourceWorker>,
    evaluator: Evaluator,
    /// A chunk of which not all live rows have been given, and how many have.
    rest: Option<(Chunk, usize)>,
}

impl SourceWorker for ScanWorker {
    fn pull(&mut self, cx: &Context) -> Result<Pull> {
        loop {
            cx.check()?;
            let Some(at) = &mut self.at else {
                let Some(part) = self.shared.open(self.next)? else { return Ok(Pull::Finished) };
                let worker = part.source.worker(cx)?;
                let evaluator = Evaluator::new(&part.computed, cx.memory());
                self.at = Some(Reading { part, worker, evaluator, rest: None });
                continue;
            };
            if let Some((chunk, from)) = at.rest.take() {
                return Ok(Pull::Chunk(at.give(chunk, from)?));
            }
            let part = at.part.number;
            match at.worker.pull(cx)? {
                Pull::Chunk(chunk) => {
                    let Place { morsel, sequence } = chunk.place();
                    let morsel = self.shared.morsel(part, morsel)?;
                    let chunk = chunk.with_place(Place { morsel, sequence });
                    return Ok(Pull::Chunk(at.give(chunk, 0)?));
                }
                Pull::Morsel(morsel) => {
                    return Ok(Pull::Morsel(self.shared.morsel(part, morsel)?));
                }
                Pull::Blocked(token) => return Ok(Pull::Blocked(token)),
                Pull::Finished => {
                    self.next = part + 1;
                    self.shared.done(part);
                    self.at = None;
                }
            }
        }
    }
}

impl Reading {
    /// The table's columns for the live rows of a chunk of the file's from number `from` on, or
    /// for some of them; then the others are kept.
    fn give(&mut self, chunk: Chunk, from: usize) -> Result<Chunk> {
        if self.part.computed.is_empty() {
            return self.part.give(&chunk, &[]);
        }
        let Piece { value: computed, rows, until } = self.evaluator.evaluate(&chunk, from)?;
        let Some(rows) = rows else { return self.part.give(&chunk, &computed) };
        if until < chunk.live_rows() {
            self.rest = Some((chunk.clone(), until));
        }
        self.part.give(&chunk.select(rows), &computed)
    }
}

impl OpenPart {
    /// The table's columns for a chunk of the file's and what was computed of it.
    fn give(&self, chunk: &Chunk, computed: &[Column]) -> Result<Chunk> {
        let none = || Error::internal("a column of a file that was not computed");
        let columns = self.output.iter().map(|column| match column {
            Output::Given(position) => chunk.column(*position).cloned(),
            Output::Constant(column) => Ok(column.clone()),
            Output::Computed(number) => computed.get(*number).cloned().ok_or_else(none),
        });
        Ok(chunk.clone().with_columns(columns.collect::<Result<_>>()?))
    }
}
