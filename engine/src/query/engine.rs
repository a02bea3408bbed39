//! What all queries of a process share: threads, memory and the clock.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::compile::compile;
use super::handle::Running;
use crate::error::Result;
use crate::memory::{Governor, GovernorOptions};
use crate::pipeline::{Query, Run, Steps, Watch};
use crate::plan::{Build, Plan, Profile, Stream};
use crate::scheduler::{Cancel, Pool, Scheduler, Timer};
use crate::sinks::Collect;

/// What an engine is made from.
#[derive(Debug, Clone, Default)]
pub struct EngineOptions {
    /// Worker threads; `None` for one per core.
    pub threads: Option<usize>,
    /// The memory budget and where state is spilled to.
    pub memory: GovernorOptions,
}

/// How one query is run.
#[derive(Clone, Default)]
pub struct RunOptions {
    /// Results and files may come in any order.
    pub any_order: bool,
    /// The query ends with `TimedOut` when it has not finished after this time.
    pub time_limit: Option<Duration>,
    /// The flag that stops the query, and others that are run with it.
    pub cancel: Cancel,
    /// Where the nodes of the plan are measured, if they are to be.
    pub profile: Option<Arc<Profile>>,
}

/// Threads that can run at once on this machine, as far as that is known.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get())
}

/// Memory that each worker of a query should have for pages, buffers and state of the pipelines
/// that run at once. What the allocator keeps for a thread comes to some megabytes more, which no
/// reservation knows of.
const WORKER_BYTES: usize = 16 << 20;

/// How many workers of so many a query has that has a budget to itself: where it is small fewer are
/// busy, rather than all of them short of memory; two at least, that one can read while one writes.
pub fn workers_within(limit: usize, threads: usize) -> usize {
    threads.min((limit / WORKER_BYTES).max(2))
}

/// How many pipelines of a query run at once, with so many workers each: the others come later,
/// rather than that all hold pages and state at once. One with a single worker counts like one of
/// two: what an operator needs to begin is no less for it.
fn pipelines_within(limit: usize, workers: usize) -> usize {
    (limit / WORKER_BYTES / workers.max(2)).max(1)
}

/// Runs plans; see the module documentation. Dropping it waits for the threads.
pub struct Engine {
    threads: Mutex<Threads>,
    governor: Governor,
    timer: Timer,
    /// Queries that run, or have.
    running: Mutex<Vec<Watch>>,
}

/// What tasks run on. Queries keep what they began with.
#[derive(Clone)]
struct Threads {
    scheduler: Arc<dyn Scheduler>,
    pool: Option<Arc<Pool>>,
}

impl Threads {
    /// Threads of one's own; `None` for one per core.
    fn start(count: Option<usize>) -> Result<Threads> {
        let pool = Pool::new(count.unwrap_or_else(cores).max(1))?;
        Ok(Threads { scheduler: pool.scheduler(), pool: Some(Arc::new(pool)) })
    }
}

impl Engine {
    /// An engine with threads of its own.
    ///
    /// # Errors
    /// `Io` when the system gives no threads.
    pub fn new(options: EngineOptions) -> Result<Engine> {
        let threads = Mutex::new(Threads::start(options.threads)?);
        Ok(Engine::with(threads, Governor::new(options.memory)))
    }

    /// An engine on another scheduler, e.g. the seeded one.
    pub fn on(scheduler: Arc<dyn Scheduler>, governor: Governor) -> Engine {
        let threads = Mutex::new(Threads { scheduler, pool: None });
        Engine::with(threads, governor)
    }

    fn with(threads: Mutex<Threads>, governor: Governor) -> Engine {
        Engine { threads, governor, timer: Timer::new(), running: Mutex::default() }
    }

    /// How much of the work of all queries that run is done, from 0 to 1, by an estimate; `None`
    /// when none runs.
    pub fn progress(&self) -> Option<f64> {
        let mut running = self.running.lock().unwrap_or_else(|e| e.into_inner());
        let mut all = Steps::default();
        running.retain(|watch| {
            let steps = watch.steps();
            let Steps { done, all: sum } = steps.unwrap_or_default();
            all = Steps { done: all.done + done, all: all.all + sum };
            steps.is_some()
        });
        (all.all > 0.0).then(|| all.done / all.all)
    }

    /// Gives the queries that are started from now on so many threads; `None` for one per core.
    /// Queries keep what they began with.
    ///
    /// # Errors
    /// `Io` when the system gives no threads.
    pub fn set_threads(&self, count: Option<usize>) -> Result<()> {
        let started = Threads::start(count)?;
        let before = std::mem::replace(&mut *self.lock(), started);
        // The last query on the old threads ends them, or this does.
        drop(before);
        Ok(())
    }

    /// What of the budget a query has that begins now: it shares it with those that run.
    fn share(&self) -> usize {
        let mut running = self.running.lock().unwrap_or_else(|e| e.into_inner());
        running.retain(|watch| watch.steps().is_some());
        self.governor.limit() / (running.len() + 1)
    }

    fn lock(&self) -> MutexGuard<'_, Threads> {
        self.threads.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// The memory that all queries share.
    pub fn memory(&self) -> &Governor {
        &self.governor
    }

    /// How many tasks can run at once.
    pub fn threads(&self) -> usize {
        self.lock().scheduler.threads()
    }

    /// Starts a plan; its rows are taken from the handle.
    ///
    /// # Errors
    /// What building the plan reports: files that cannot be opened, or are not what the plan says.
    pub fn run(&self, plan: &Plan, options: &RunOptions) -> Result<Running> {
        self.run_built(options, |build| compile(plan, build))
    }

    /// Starts the pipelines that `make` builds; the rows of the stream it answers are the result.
    ///
    /// # Errors
    /// What `make` reports.
    pub fn run_built(
        &self,
        options: &RunOptions,
        make: impl FnOnce(&mut Build) -> Result<Stream>,
    ) -> Result<Running> {
        let Threads { scheduler, pool } = self.lock().clone();
        // A query raises its own flag when it fails or is dropped: the others go on.
        let cancel = options.cancel.child();
        let share = self.share();
        let (threads, all) = (workers_within(share, scheduler.threads()), scheduler.threads());
        let abreast = pipelines_within(share, threads);
        if threads < all {
            tracing::debug!(
                workers = threads,
                all,
                share,
                "fewer workers, because memory is short"
            );
        }
        let query = Arc::new(Query {
            cancel: cancel.clone(),
            memory: self.governor.clone(),
            threads,
            abreast,
            keep_order: !options.any_order,
        });
        let mut build = Build::new(query.clone()).measured(options.profile.clone());
        let stream = make(&mut build)?;
        let result = Collect::new(stream.schema.clone());
        build.sink(stream, Arc::new(result.clone()));
        let expire = |limit| self.timer.expire_after(limit, &cancel);
        let deadline = options.time_limit.map(expire).transpose()?.flatten();
        let run = Run::start(build.finish(), query, scheduler.clone())?;
        let mut running = self.running.lock().unwrap_or_else(|e| e.into_inner());
        running.retain(|watch| watch.steps().is_some());
        running.push(run.watch());
        drop(running);
        Ok(Running::new(result, run, cancel, scheduler, pool, deadline))
    }
}
