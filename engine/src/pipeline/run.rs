//! Runs the pipelines of a query on a scheduler.
//!
//! Everything is a task: a worker of a pipeline (a driver), preparing a sink, one of its finishing
//! tasks. The task that ends a phase starts the next: the last worker to combine has its sinks
//! prepared and finished, and finished sinks let the pipelines behind them start. Pipelines that
//! wait for nothing run side by side, each with as many workers as its source can use, but
//! not more of them than the query says (`graph`).
//!
//! Failure: the first error is the query's. It raises the cancel flag, which wakes blocked tasks;
//! each of them drops what it holds and leaves. Panics are errors that name the role.
//!
//! Memory: a worker that has no room to begin leaves its morsels to the others of its pipeline;
//! only when none of them has room, the query fails. A pipeline's roles are dropped when its last
//! worker has combined, a sink when it has finished, so what only they hold is freed while the
//! query goes on. When a run says that it is over, no task holds anything of it any more.
//!
//! Order: the pipelines that feed a sink share an order. The run holds a lane at the first morsel
//! of each pipeline that has not started, and opens the lanes of all workers before that one
//! closes, so the low mark never goes back.

use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use super::context::{Context, Query};
use super::driver::{Driver, Turn};
use super::flow::Flow;
use super::graph::{Graph, Next};
use super::order::{Lane, Order};
use super::progress::{Steps, steps_of};
use super::roles::Sink;
use super::tree::{Pipeline, Pipelines};
use crate::error::{Error, Result};
use crate::scheduler::{Gate, Scheduler, Task, TaskState, Token};

/// Calls of roles in one turn of a worker; some milliseconds.
const STEPS_PER_TURN: usize = 64;

/// Pipelines that are running, or have. Dropping it leaves them alone: raise the query's cancel
/// flag to stop them.
pub struct Run {
    shared: Arc<Shared>,
}

struct Shared {
    query: Arc<Query>,
    scheduler: Arc<dyn Scheduler>,
    state: Mutex<State>,
    over: Gate,
}

struct State {
    graph: Graph,
    /// `None` when the pipeline has combined.
    pipelines: Vec<Option<Slot>>,
    /// `None` when the sink has finished.
    sinks: Vec<Option<Arc<dyn Sink>>>,
    /// By group of pipelines.
    orders: Vec<Order>,
    /// What is thought to be the work of each pipeline.
    steps: Vec<f64>,
    /// Tasks that have not left.
    tasks: usize,
    error: Option<Error>,
    over: bool,
}

struct Slot {
    pipeline: Pipeline,
    /// Holds the order back until the pipeline's workers have lanes of their own.
    place: Option<Lane>,
    /// What the source said when it started.
    morsels: Option<u64>,
    workers_left: usize,
    /// Workers that have not begun yet, and whether one has.
    to_begin: usize,
    has_begun: bool,
}

impl Slot {
    /// A worker has begun, or has had no room to; whether the others go on without it if it has
    /// not.
    fn begin(&mut self, has_begun: bool) -> bool {
        self.to_begin = self.to_begin.saturating_sub(1);
        self.has_begun |= has_begun;
        self.has_begun || self.to_begin > 0
    }

    /// The share of the morsels that are done.
    fn share_done(&self, order: &Order) -> f64 {
        let morsels = self.morsels.filter(|&morsels| morsels > 0 && self.place.is_none());
        let done = order.low().saturating_sub(self.pipeline.first_morsel);
        morsels.map_or(0.0, |morsels| done as f64 / morsels as f64)
    }
}

impl Run {
    /// Starts the pipelines.
    ///
    /// # Errors
    /// `Internal` when pipelines wait for each other in a circle.
    pub fn start(
        pipelines: Pipelines,
        query: Arc<Query>,
        scheduler: Arc<dyn Scheduler>,
    ) -> Result<Run> {
        let (mut graph, sinks) = Graph::new(&pipelines)?;
        graph.limit(&pipelines, query.abreast);
        let orders: Vec<Order> = pipelines.list.iter().map(|_| Order::new()).collect();
        let slot = |(id, pipeline): (usize, Pipeline)| {
            let place = orders[graph.group_of(id)].open(pipeline.first_morsel);
            let (morsels, workers_left, to_begin, has_begun) = (None, 0, 0, false);
            let place = Some(place);
            Some(Slot { pipeline, place, morsels, workers_left, to_begin, has_begun })
        };
        let state = State {
            steps: steps_of(&pipelines),
            pipelines: pipelines.list.into_iter().enumerate().map(slot).collect(),
            graph,
            sinks: sinks.into_iter().map(Some).collect(),
            orders,
            tasks: 0,
            error: None,
            over: false,
        };
        let state = Mutex::new(state);
        let shared = Arc::new(Shared { query, scheduler, state, over: Gate::new() });
        shared.spawn([Work::Begin]);
        Ok(Run { shared })
    }

    /// Who wants to know how far it is.
    pub fn watch(&self) -> Watch {
        Watch { shared: Arc::downgrade(&self.shared) }
    }

    /// A token that goes stale when the run is over. Take it before asking for the outcome.
    pub fn token(&self) -> Token {
        self.shared.over.token()
    }

    /// The first error or success, once no task holds anything any more; `None` before.
    pub fn outcome(&self) -> Option<Result<()>> {
        let state = self.shared.lock();
        state.over.then(|| state.error.clone().map_or(Ok(()), Err))
    }

    /// Blocks the calling thread, which must not be one of the scheduler's, until the run is over.
    ///
    /// # Errors
    /// The first error of the query.
    pub fn wait(&self) -> Result<()> {
        loop {
            let token = self.token();
            if let Some(outcome) = self.outcome() {
                return outcome;
            }
            self.shared.scheduler.wait(&[token], None);
        }
    }
}

/// Tells how far a run is, without keeping it.
pub struct Watch {
    shared: Weak<Shared>,
}

impl Watch {
    /// The work of the run and what of it is done, by an estimate; `None` when it is over.
    pub fn steps(&self) -> Option<Steps> {
        let shared = self.shared.upgrade()?;
        let state = shared.lock();
        let mut steps = Steps::default();
        for (id, slot) in state.pipelines.iter().enumerate() {
            let order = &state.orders[state.graph.group_of(id)];
            let share = slot.as_ref().map_or(1.0, |slot| slot.share_done(order));
            steps.add(state.steps[id], share);
        }
        (!state.over && !state.pipelines.is_empty()).then_some(steps)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn spawn(self: &Arc<Self>, work: impl IntoIterator<Item = Work>) {
        let work: Vec<Work> = work.into_iter().collect();
        self.lock().tasks += work.len();
        for work in work {
            let job = Job { shared: self.clone(), work: Some(work), live: true };
            self.scheduler.spawn(Box::new(job), &self.query.cancel);
        }
    }

    fn context(&self, order: Order, worker: usize) -> Context {
        Context { query: self.query.clone(), order, worker }
    }

    fn start(self: &Arc<Self>, next: Next) -> Result<()> {
        self.spawn(next.finish.into_iter().map(Work::Prepare));
        next.start.into_iter().try_for_each(|pipeline| self.start_pipeline(pipeline))
    }

    fn start_pipeline(self: &Arc<Self>, id: usize) -> Result<()> {
        let (pipeline, order, place) = {
            let mut state = self.lock();
            let order = state.orders[state.graph.group_of(id)].clone();
            let slot = state.pipelines[id].as_mut();
            let slot = slot.ok_or_else(|| Error::internal("a pipeline is started twice"))?;
            (slot.pipeline.clone(), order, slot.place.take())
        };
        let workers = self.query.threads.min(pipeline.source.parallelism()).max(1);
        let flow = Arc::new(Flow::new(&pipeline.tree));
        let morsels = pipeline.source.morsels();
        if let Some(slot) = &mut self.lock().pipelines[id] {
            (slot.workers_left, slot.to_begin, slot.morsels) = (workers, workers, morsels);
        }
        let worker = |number| {
            let pipeline = pipeline.clone();
            let lane = order.open(pipeline.first_morsel);
            let start = Start { pipeline, flow: flow.clone(), lane, order: order.clone(), number };
            Work::Worker(id, WorkerState::New(Box::new(start)))
        };
        let work: Vec<Work> = (0..workers).map(worker).collect();
        if let Some(place) = place {
            place.close();
        }
        // From here on only the tasks hold the roles: they may be over before this returns.
        drop((pipeline, flow));
        self.spawn(work);
        Ok(())
    }

    /// What [`Slot::begin`] says of a pipeline.
    fn begin(&self, id: usize, has_begun: bool) -> bool {
        self.lock().pipelines[id].as_mut().is_some_and(|slot| slot.begin(has_begun))
    }

    /// One worker of a pipeline has combined, or never began, and is dropped.
    fn worker_done(self: &Arc<Self>, id: usize) -> Result<()> {
        let (next, slot) = {
            let mut state = self.lock();
            let slot = &mut state.pipelines[id];
            let Some(running) = slot else { return Ok(()) };
            running.workers_left -= 1;
            if running.workers_left > 0 {
                return Ok(());
            }
            // The roles are dropped after the lock, and what only they hold with them.
            let slot = slot.take();
            (state.graph.combined(id), slot)
        };
        drop(slot);
        self.start(next)
    }

    fn prepare(self: &Arc<Self>, id: usize) -> Result<()> {
        let order = {
            let state = self.lock();
            state.orders[state.graph.group_of_sink(id)].clone()
        };
        let cx = self.context(order.clone(), 0);
        cx.check()?;
        let tasks = self.sink(id)?.prepare(&cx)?;
        if tasks == 0 {
            return self.sink_done(id);
        }
        let (next, left) = (AtomicUsize::new(0), AtomicUsize::new(tasks));
        let round = Arc::new(Round { id, order, tasks, next, left });
        let workers = 0..tasks.min(self.query.threads).max(1);
        self.spawn(workers.map(|worker| Work::Finish(round.clone(), worker)));
        Ok(())
    }

    fn sink(&self, id: usize) -> Result<Arc<dyn Sink>> {
        let sink = self.lock().sinks[id].clone();
        sink.ok_or_else(|| Error::internal("a sink is used after it has finished"))
    }

    fn sink_done(self: &Arc<Self>, id: usize) -> Result<()> {
        let (start, sink) = {
            let mut state = self.lock();
            (state.graph.finished(id), state.sinks[id].take())
        };
        drop(sink);
        self.start(Next { start, finish: Vec::new() })
    }

    /// Notes the first error and stops everybody.
    fn fail(&self, error: Error) {
        self.lock().error.get_or_insert(error);
        self.query.cancel.abandon();
    }

    /// A task is gone; the last one ends the run.
    fn leave(&self) {
        let roles = {
            let mut state = self.lock();
            state.tasks -= 1;
            if state.tasks > 0 {
                return;
            }
            if state.error.is_none() && !state.graph.is_done() {
                state.error = Some(Error::internal("nothing runs, and not all has run"));
            }
            (mem::take(&mut state.pipelines), mem::take(&mut state.sinks))
        };
        // Says so even when dropping a role panics.
        let _over = Over(self);
        drop(roles);
    }
}

struct Over<'a>(&'a Shared);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.lock().over = true;
        self.0.over.notify();
    }
}

/// A task of the run.
struct Job {
    shared: Arc<Shared>,
    work: Option<Work>,
    /// Counted among the tasks.
    live: bool,
}

enum Work {
    Begin,
    Worker(usize, WorkerState),
    Prepare(usize),
    Finish(Arc<Round>, usize),
}

enum WorkerState {
    New(Box<Start>),
    Driving(Box<Driver>),
}

/// What a worker is made from, on the thread that runs it.
struct Start {
    pipeline: Pipeline,
    flow: Arc<Flow>,
    lane: Lane,
    order: Order,
    number: usize,
}

/// The finishing tasks of a sink, drawn by several jobs.
struct Round {
    id: usize,
    order: Order,
    tasks: usize,
    next: AtomicUsize,
    left: AtomicUsize,
}

impl Job {
    /// Goes on for a turn; `None` when the work is done.
    fn turn(&mut self) -> Result<Option<TaskState>> {
        let Some(work) = self.work.take() else { return Ok(None) };
        match work {
            Work::Begin => {
                self.shared.query.cancel.check()?;
                let start = self.shared.lock().graph.begin();
                self.shared.start(Next { start, finish: Vec::new() })?;
                Ok(None)
            }
            Work::Worker(id, state) => self.drive(id, state),
            Work::Prepare(sink) => self.shared.prepare(sink).map(|()| None),
            Work::Finish(round, worker) => self.finish(round, worker),
        }
    }

    fn drive(&mut self, id: usize, state: WorkerState) -> Result<Option<TaskState>> {
        let driver = match state {
            WorkerState::Driving(driver) => driver,
            WorkerState::New(start) => match self.begin(id, *start)? {
                Some(driver) => Box::new(driver),
                None => {
                    self.shared.worker_done(id)?;
                    return Ok(None);
                }
            },
        };
        // In its place while it runs, so that a panic can be told with its name.
        let work = self.work.insert(Work::Worker(id, WorkerState::Driving(driver)));
        let Work::Worker(_, WorkerState::Driving(driver)) = work else { return Ok(None) };
        match driver.turn(STEPS_PER_TURN)? {
            Turn::Yield => Ok(Some(TaskState::Yield)),
            Turn::Blocked(token) => Ok(Some(TaskState::Blocked(token))),
            Turn::Done => {
                self.work = None;
                self.shared.worker_done(id)?;
                Ok(None)
            }
        }
    }

    /// A worker as it begins; `None` when it has no room, and others go on without it.
    fn begin(&self, id: usize, start: Start) -> Result<Option<Driver>> {
        let Start { pipeline, flow, lane, order, number } = start;
        let cx = self.shared.context(order, number);
        cx.check()?;
        let mut lane = Some(lane);
        let begun = Driver::new(&*pipeline.source, pipeline.first_morsel, flow, &mut lane, cx);
        let no_room = matches!(begun, Err(Error::OutOfMemory { .. }));
        if begun.is_err() && !no_room || !self.shared.begin(id, !no_room) {
            return begun.map(Some);
        }
        // It has had no morsel: there is nothing that others wait for.
        lane.into_iter().for_each(Lane::close);
        Ok(begun.ok())
    }

    fn finish(&mut self, round: Arc<Round>, worker: usize) -> Result<Option<TaskState>> {
        let task = round.next.fetch_add(1, Ordering::Relaxed);
        if task >= round.tasks {
            return Ok(None);
        }
        self.work = Some(Work::Finish(round.clone(), worker));
        let cx = self.shared.context(round.order.clone(), worker);
        cx.check()?;
        // Held by name for the task only: the last one to finish is to free the sink.
        self.shared.sink(round.id)?.finish(task, &cx)?;
        if round.left.fetch_sub(1, Ordering::AcqRel) > 1 {
            return Ok(Some(TaskState::Yield));
        }
        self.shared.sink_done(round.id)?;
        Ok(None)
    }

    /// Drops what the job holds, then counts it out.
    fn leave(&mut self) {
        drop(self.work.take());
        if mem::take(&mut self.live) {
            self.shared.leave();
        }
    }

    /// The role at work, for messages.
    fn at(&self) -> String {
        match &self.work {
            Some(Work::Worker(_, WorkerState::Driving(driver))) => driver.at().to_string(),
            Some(Work::Finish(round, _)) => {
                let sink = self.shared.sink(round.id);
                format!("{} (finishing)", sink.as_ref().map_or("a sink", |sink| sink.name()))
            }
            _ => "starting a pipeline or ending a sink".to_string(),
        }
    }
}

impl Task for Job {
    fn run(&mut self) -> TaskState {
        match self.turn() {
            Ok(Some(state)) => return state,
            Ok(None) => {}
            Err(error) => self.shared.fail(error),
        }
        self.leave();
        TaskState::Done
    }

    fn panicked(&mut self, message: String) {
        self.shared.fail(Error::internal(format!("panic in {}: {message}", self.at())));
        self.leave();
    }
}

/// A scheduler that stops drops its tasks.
impl Drop for Job {
    fn drop(&mut self) {
        if self.live {
            self.shared.fail(Error::internal("the scheduler stopped"));
            self.leave();
        }
    }
}
