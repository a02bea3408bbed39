//! What all queries of a process share: threads, memory and the clock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::compile::compile;
use super::handle::Running;
use crate::error::Result;
use crate::memory::{Governor, GovernorOptions};
use crate::pipeline::{Query, Run};
use crate::plan::{Build, Plan, Stream};
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
    /// The query ends with `Cancelled` when it has not finished after this time.
    pub time_limit: Option<Duration>,
    /// The flag that stops the query, and others that are run with it.
    pub cancel: Cancel,
}

/// Runs plans; see the module documentation. Dropping it waits for the threads.
pub struct Engine {
    scheduler: Arc<dyn Scheduler>,
    governor: Governor,
    timer: Timer,
    _pool: Option<Pool>,
}

impl Engine {
    /// An engine with threads of its own.
    ///
    /// # Errors
    /// `Io` when the system gives no threads.
    pub fn new(options: EngineOptions) -> Result<Engine> {
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
        let pool = Pool::new(options.threads.unwrap_or(cores).max(1))?;
        let mut engine = Self::on(pool.scheduler(), Governor::new(options.memory));
        engine._pool = Some(pool);
        Ok(engine)
    }

    /// An engine on another scheduler, e.g. the seeded one.
    pub fn on(scheduler: Arc<dyn Scheduler>, governor: Governor) -> Engine {
        Engine { scheduler, governor, timer: Timer::new(), _pool: None }
    }

    /// The memory that all queries share.
    pub fn memory(&self) -> &Governor {
        &self.governor
    }

    /// How many tasks can run at once.
    pub fn threads(&self) -> usize {
        self.scheduler.threads()
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
        // A query raises its own flag when it fails or is dropped: the others go on.
        let cancel = options.cancel.child();
        let query = Arc::new(Query {
            cancel: cancel.clone(),
            memory: self.governor.clone(),
            threads: self.scheduler.threads(),
            keep_order: !options.any_order,
        });
        let mut build = Build::new(query.clone());
        let stream = make(&mut build)?;
        let result = Collect::new(stream.schema.clone());
        build.sink(stream, Arc::new(result.clone()));
        let deadline = options.time_limit.and_then(|limit| Instant::now().checked_add(limit));
        let deadline = deadline.map(|at| self.timer.expire_at(at, &cancel)).transpose()?;
        let run = Run::start(build.finish(), query, self.scheduler.clone())?;
        Ok(Running::new(result, run, cancel, self.scheduler.clone(), deadline))
    }
}
