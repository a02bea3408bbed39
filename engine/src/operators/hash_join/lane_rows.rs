//! What a join gives whose build side is out of memory: lane by lane, when all probe rows are
//! stored.
//!
//! A morsel is a lane. A worker reads the lane's build rows into a table and passes its probe rows
//! through it (`lane_join`). A lane with too many build rows is divided once more, both sides,
//! unless it is cheaper to read its probe rows several times, or dividing does not help.
//!
//! Memory: a worker's table takes its share of what is free when it starts, or less when there is
//! less; what it takes to go on by all means is there from the start (see `lane_table`). What the
//! budget is too short to divide is joined by blocks.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::lane_join::{AtOnce, ByBlocks, Next};
use super::lane_key::LaneBy;
use super::lane_reader::ProbeRows;
use super::lane_table::{Blocks, Workshop, table_bytes};
use super::lanes::{LANES, Lane, LaneSet, LaneWriter, WRITER_BYTES, lane_of};
use super::null_aware::Members;
use super::shape::Shared;
use crate::batch::{KeyHasher, Place};
use crate::error::{Error, Result};
use crate::memory::Reservation;
use crate::memory::rows::{RowLayout, RowPages, RowRef};
use crate::pipeline::{Context, Pull, SourceWorker};

/// Levels of lanes; deeper ones would be of equal hashes.
const LEVELS_MAX: u32 = 8;

/// Build and probe rows that belong together.
struct Job {
    /// `None` when all build rows are in memory.
    build: Option<Arc<Lane>>,
    probe: Arc<Lane>,
    level: u32,
    /// Whether dividing it may make the tables smaller.
    divides: bool,
    /// What its pages are charged to, unless it is of the first level.
    _charge: Option<Arc<[Option<Reservation>; 2]>>,
}

enum Running {
    AtOnce(Box<AtOnce>),
    ByBlocks(Box<ByBlocks>),
}

/// One worker.
pub(super) struct LaneRows {
    shared: Arc<Shared>,
    members: Option<Members>,
    build: Option<Arc<LaneSet>>,
    probe: Arc<LaneSet>,
    next: Arc<AtomicUsize>,
    morsel: u64,
    workshop: Workshop,
    /// What is left of the lane, the next one last.
    jobs: Vec<Job>,
    running: Option<Running>,
}

impl LaneRows {
    /// # Errors
    /// `OutOfMemory` when nothing is left to read with.
    pub(super) fn new(
        shared: &Arc<Shared>,
        members: Option<&Members>,
        next: &Arc<AtomicUsize>,
        cx: &Context,
    ) -> Result<Self> {
        Ok(LaneRows {
            shared: shared.clone(),
            members: members.cloned(),
            build: shared.lanes(),
            probe: shared.probe_lanes(),
            next: next.clone(),
            morsel: 0,
            workshop: Workshop::new(cx)?,
            jobs: Vec::new(),
            running: None,
        })
    }

    /// The same with tables of so many bytes.
    #[cfg(test)]
    pub(super) fn with_share(mut self, bytes: usize) -> Self {
        self.workshop.share = bytes;
        self
    }

    /// The next lane of the first level; false when there is none.
    fn take_lane(&mut self) -> bool {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        if number >= LANES {
            return false;
        }
        let lane = |set: &LaneSet| Arc::new(set.lanes.get(number).cloned().unwrap_or_default());
        let (build, probe) = (self.build.as_deref().map(lane), lane(&self.probe));
        self.morsel = number as u64;
        let divides = !self.shared.shape.build_keys.is_empty();
        self.jobs.push(Job { build, probe, level: 0, divides, _charge: None });
        true
    }

    fn begin(&mut self, job: Job, cx: &Context) -> Result<()> {
        let (shared, members) = (self.shared.clone(), self.members.clone());
        let shape = &shared.shape;
        let probe = || ProbeRows::new(job.probe.clone(), shape);
        let Some(build) = &job.build else {
            let blocks = Blocks::all(&shared)?;
            return self.begin_blocks(blocks, probe()?);
        };
        let (no_build, no_probe) = (build.is_empty(), job.probe.is_empty());
        let gives_nothing_alone = if no_probe {
            no_build || !shape.kind.gives_build_rows()
        } else {
            no_build && shape.kind.drops_unmatched_probe()
        };
        if gives_nothing_alone {
            return Ok(());
        }
        let mut blocks = self.blocks(&job, build);
        if members.as_ref().is_some_and(Members::are_spilled) {
            return self.begin_blocks(blocks, probe()?);
        }
        let probe = probe()?;
        if table_bytes(build.stretches.iter()) <= self.workshop.share
            && let Some(table) = blocks.next(&mut self.workshop, cx)?
            && blocks.is_done()
        {
            let lane = AtOnce::new(&shared, members.as_ref(), table, probe, cx.memory())?;
            self.running = Some(Running::AtOnce(Box::new(lane)));
            return Ok(());
        }
        if self.is_worth_dividing(&job, build) {
            match self.divide(&job, build, cx) {
                Err(Error::OutOfMemory { .. }) => (),
                done => return done,
            }
        }
        self.begin_blocks(self.blocks(&job, build), probe)
    }

    fn blocks(&self, job: &Job, build: &Arc<Lane>) -> Blocks {
        let bands = match self.shared.lane_by() {
            LaneBy::Band(bands) if job.level == 0 => Some(bands),
            _ => None,
        };
        Blocks::of(&self.shared, build.clone(), bands)
    }

    fn begin_blocks(&mut self, build: Blocks, probe: ProbeRows) -> Result<()> {
        let charge = self.workshop.root.child(0)?;
        let lane = ByBlocks::new(&self.shared, self.members.as_ref(), build, probe, charge)?;
        self.running = Some(Running::ByBlocks(Box::new(lane)));
        Ok(())
    }

    /// Whether to write both sides once more, rather than to read the probe side several times.
    fn is_worth_dividing(&self, job: &Job, build: &Lane) -> bool {
        let blocks = table_bytes(build.stretches.iter()).div_ceil(self.workshop.share);
        let further = blocks.saturating_sub(1);
        let again = further.saturating_mul(job.probe.bytes());
        job.divides && job.level + 1 < LEVELS_MAX && again > build.bytes() + job.probe.bytes()
    }

    /// Puts the lanes that a lane is divided into before the others.
    fn divide(&mut self, job: &Job, build: &Lane, cx: &Context) -> Result<()> {
        let shared = self.shared.clone();
        let shape = &shared.shape;
        let level = job.level + 1;
        let mut hasher = KeyHasher::new();
        let builds = self.write(build, &shape.layout, level, cx, |pages, rows, hashes| {
            shape.hash(pages, rows, &mut hasher, hashes)
        })?;
        let stored = shape.probe_rows()?;
        let probes = self.write(&job.probe, &stored.layout, level, cx, |pages, rows, hashes| {
            stored.hash(pages, rows, &mut hasher, hashes)
        })?;
        let ((builds, own), (probes, other)) = (builds.into_parts(), probes.into_parts());
        let charge = Arc::new([own, other]);
        let most = build.bytes() / 4 * 3;
        for (build, probe) in builds.into_iter().zip(probes).rev() {
            // Where most rows stay together they have equal keys.
            let divides = build.bytes() <= most;
            let (build, probe) = (Some(Arc::new(build)), Arc::new(probe));
            self.jobs.push(Job { build, probe, level, divides, _charge: Some(charge.clone()) });
        }
        Ok(())
    }

    /// Writes the rows of a lane to lanes of another level.
    fn write(
        &mut self,
        lane: &Lane,
        layout: &Arc<RowLayout>,
        level: u32,
        cx: &Context,
        mut hash: impl FnMut(&RowPages, &[RowRef], &mut Vec<u64>) -> Result<()>,
    ) -> Result<LaneSet> {
        let memory = self.workshop.lender.lend(WRITER_BYTES)?;
        let mut writer = LaneWriter::new(layout, memory, cx)?;
        let (mut hashes, mut lanes) = (Vec::new(), Vec::new());
        self.workshop.each_page(lane, layout, cx, |pages, rows| {
            hash(pages, rows, &mut hashes)?;
            lanes.clear();
            lanes.extend(hashes.iter().map(|&hash| lane_of(hash, level)));
            writer.add(pages, rows, &lanes)
        })?;
        writer.finish().map(|(lanes, _)| lanes)
    }
}

impl Workshop {
    /// Calls `f` with the rows of a lane, page by page.
    fn each_page(
        &mut self,
        lane: &Lane,
        layout: &Arc<RowLayout>,
        cx: &Context,
        mut f: impl FnMut(&RowPages, &[RowRef]) -> Result<()>,
    ) -> Result<()> {
        let Workshop { reader, probe: memory, .. } = self;
        let mut pages = RowPages::new(layout.clone(), 0);
        for stretch in lane.stretches.iter() {
            reader.seek(stretch.tape, stretch.span.from, stretch.span.until)?;
            loop {
                cx.check()?;
                memory.shrink(memory.bytes());
                let Some(page) = reader.next(|bytes| memory.grow(bytes))? else { break };
                pages.push_taped(page)?;
                let rows: Vec<RowRef> = pages.refs().collect();
                f(&pages, &rows)?;
                pages.clear();
            }
        }
        Ok(())
    }
}

impl SourceWorker for LaneRows {
    fn pull(&mut self, cx: &Context) -> Result<Pull> {
        let next = match &mut self.running {
            Some(Running::AtOnce(lane)) => lane.next(&mut self.workshop, cx)?,
            Some(Running::ByBlocks(lane)) => lane.next(&mut self.workshop, cx)?,
            None => {
                match self.jobs.pop() {
                    Some(job) => self.begin(job, cx)?,
                    None if !self.take_lane() => return Ok(Pull::Finished),
                    None => (),
                }
                Next::Again
            }
        };
        let place = Place { morsel: self.morsel, sequence: 0 };
        Ok(match next {
            Next::Chunk(chunk) => Pull::Chunk(chunk.with_place(place)),
            Next::Again => Pull::Morsel(self.morsel),
            Next::Done => {
                self.running = None;
                Pull::Morsel(self.morsel)
            }
        })
    }
}
