//! Stages made of closures, over chunks of one integer column.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use arrow::array::{AsArray, Int64Array};
use arrow::datatypes::{DataType, Int64Type};

use crate::batch::{Chunk, Column, Place};
use crate::error::Result;
use crate::memory::Governor;
use crate::pipeline::*;
use crate::scheduler::Token;

pub fn chunk(morsel: u64, values: &[i64]) -> Chunk {
    let column = Column::flat(DataType::Int64, Arc::new(Int64Array::from(values.to_vec())));
    Chunk::new(vec![column], values.len(), Place { morsel, sequence: 0 })
}

pub fn values(chunk: &Chunk) -> Vec<i64> {
    let array = chunk.live_array(0).expect("one column");
    array.as_primitive::<Int64Type>().values().to_vec()
}

pub fn query(threads: usize) -> Arc<Query> {
    Arc::new(Query::alone(Governor::unlimited(), threads))
}

pub fn abreast(threads: usize, abreast: usize) -> Arc<Query> {
    Arc::new(Query { abreast, ..Query::alone(Governor::unlimited(), threads) })
}

pub fn context(query: &Arc<Query>, worker: usize) -> Context {
    Context { query: query.clone(), order: Order::new(), worker }
}

pub type PullFn = Box<dyn FnMut(&Context) -> Result<Pull> + Send>;

/// A source whose workers are made by a closure.
pub struct FnSource {
    pub make: Box<dyn Fn() -> PullFn + Send + Sync>,
    pub reset: Box<dyn Fn() + Send + Sync>,
    pub parallelism: usize,
}

struct FnSourceWorker(PullFn);

impl Source for FnSource {
    fn name(&self) -> &str {
        "fake source"
    }

    fn worker(&self, _: &Context) -> Result<Box<dyn SourceWorker>> {
        Ok(Box::new(FnSourceWorker((self.make)())))
    }

    fn parallelism(&self) -> usize {
        self.parallelism
    }

    fn reset(&self) -> Result<()> {
        (self.reset)();
        Ok(())
    }
}

impl SourceWorker for FnSourceWorker {
    fn pull(&mut self, cx: &Context) -> Result<Pull> {
        (self.0)(cx)
    }
}

/// A source for one worker that answers what the script says, then `Finished`.
pub fn script(pulls: impl IntoIterator<Item = Pull>) -> Arc<FnSource> {
    let pulls = Arc::new(Mutex::new(pulls.into_iter().collect::<VecDeque<_>>()));
    let make = move || -> PullFn {
        let pulls = pulls.clone();
        Box::new(move |_| Ok(pulls.lock().expect("lock").pop_front().unwrap_or(Pull::Finished)))
    };
    Arc::new(FnSource { make: Box::new(make), reset: Box::new(|| ()), parallelism: 1 })
}

/// The integers from 0, in morsels of `chunks` chunks of `rows` rows, for any number of workers.
pub fn numbers(morsels: usize, chunks: usize, rows: usize) -> Arc<FnSource> {
    let cursor = Arc::new(AtomicUsize::new(0));
    let again = cursor.clone();
    let make = move || -> PullFn {
        let cursor = cursor.clone();
        let (mut morsel, mut next) = (0, chunks);
        Box::new(move |_| {
            if next == chunks {
                morsel = cursor.fetch_add(1, Ordering::SeqCst);
                next = 0;
            }
            if morsel >= morsels {
                next = chunks;
                return Ok(Pull::Finished);
            }
            let first = ((morsel * chunks + next) * rows) as i64;
            next += 1;
            let values: Vec<i64> = (first..first + rows as i64).collect();
            Ok(Pull::Chunk(chunk(morsel as u64, &values)))
        })
    };
    let reset = move || again.store(0, Ordering::SeqCst);
    Arc::new(FnSource { make: Box::new(make), reset: Box::new(reset), parallelism: morsels.max(1) })
}

type PushFn = Box<dyn FnMut(Chunk, &Context) -> Result<Pushed> + Send>;
type StepFn = Box<dyn FnMut(&Context) -> Result<Step> + Send>;

/// The closures of one worker of a transform.
pub struct FnTransformWorker {
    pub push: PushFn,
    pub resume: StepFn,
    pub flush: StepFn,
}

/// A transform whose workers are made by a closure.
pub struct FnTransform {
    make: Box<dyn Fn() -> FnTransformWorker + Send + Sync>,
}

impl Transform for FnTransform {
    fn name(&self) -> &str {
        "fake transform"
    }

    fn worker(&self, _: &Context) -> Result<Box<dyn TransformWorker>> {
        Ok(Box::new((self.make)()))
    }

    fn reset(&self) -> Result<()> {
        Ok(())
    }
}

impl TransformWorker for FnTransformWorker {
    fn push(&mut self, input: Chunk, cx: &Context) -> Result<Pushed> {
        (self.push)(input, cx)
    }

    fn resume(&mut self, cx: &Context) -> Result<Step> {
        (self.resume)(cx)
    }

    fn flush(&mut self, cx: &Context) -> Result<Step> {
        (self.flush)(cx)
    }
}

pub fn transform(make: impl Fn() -> FnTransformWorker + Send + Sync + 'static) -> Arc<FnTransform> {
    Arc::new(FnTransform { make: Box::new(make) })
}

impl FnTransformWorker {
    pub fn pushing(push: impl FnMut(Chunk, &Context) -> Result<Pushed> + Send + 'static) -> Self {
        let exhausted = || -> StepFn { Box::new(|_| Ok(Step::Exhausted)) };
        FnTransformWorker { push: Box::new(push), resume: exhausted(), flush: exhausted() }
    }
}

/// Gives every chunk `times` times, through `resume`.
pub fn repeat(times: usize) -> Arc<FnTransform> {
    transform(move || {
        let left = Arc::new(Mutex::new(VecDeque::new()));
        let more = left.clone();
        let mut worker = FnTransformWorker::pushing(move |chunk, _| {
            let mut left = left.lock().expect("lock");
            assert!(left.is_empty(), "pushed before the chunk before was used up");
            left.extend(std::iter::repeat_n(chunk.clone(), times - 1));
            Ok(Pushed::HaveMore(chunk))
        });
        worker.resume = Box::new(move |_| {
            let next = more.lock().expect("lock").pop_front();
            Ok(next.map_or(Step::Exhausted, Step::Chunk))
        });
        worker
    })
}

/// Keeps all chunks until `flush`.
pub fn hold_back() -> Arc<FnTransform> {
    transform(|| {
        let kept = Arc::new(Mutex::new(VecDeque::new()));
        let all = kept.clone();
        let mut worker = FnTransformWorker::pushing(move |chunk, _| {
            kept.lock().expect("lock").push_back(chunk);
            Ok(Pushed::NeedInput)
        });
        worker.flush = Box::new(move |_| {
            let next = all.lock().expect("lock").pop_front();
            Ok(next.map_or(Step::Exhausted, Step::Chunk))
        });
        worker
    })
}

/// Lets `count` chunks through, of all workers together.
pub fn limit(count: usize) -> Arc<FnTransform> {
    let seen = Arc::new(AtomicUsize::new(0));
    transform(move || {
        let seen = seen.clone();
        FnTransformWorker::pushing(move |chunk, _| {
            let before = seen.fetch_add(1, Ordering::SeqCst);
            Ok(match (before + 1).cmp(&count) {
                std::cmp::Ordering::Less => Pushed::Chunk(chunk),
                std::cmp::Ordering::Equal => Pushed::Finished(Some(chunk)),
                std::cmp::Ordering::Greater => Pushed::Finished(None),
            })
        })
    })
}

/// Answers blocked before every chunk, once, through `block`.
pub fn blocking(block: impl Fn() -> Token + Send + Sync + 'static) -> Arc<FnTransform> {
    let block = Arc::new(block);
    transform(move || {
        let block = block.clone();
        let mut waited = false;
        FnTransformWorker::pushing(move |chunk, _| {
            waited = !waited;
            Ok(if waited { Pushed::Blocked(block(), chunk) } else { Pushed::Chunk(chunk) })
        })
    })
}

/// What a sink was given: the place and the values of each chunk.
pub type Got = Vec<(Place, Vec<i64>)>;

/// Called before every chunk that a sink takes.
type ConsumeFn = Box<dyn Fn(&Chunk) -> Result<Option<Token>> + Send + Sync>;

/// Called as a finishing task.
type FinishFn = Box<dyn Fn(usize, &Context) -> Result<()> + Send + Sync>;

/// A sink that keeps everything.
pub struct Keep {
    pub name: &'static str,
    pub got: Arc<Mutex<Got>>,
    /// Says `Finished` with this chunk.
    pub limit: usize,
    pub before: ConsumeFn,
    pub before_combine: Box<dyn Fn() -> Option<Token> + Send + Sync>,
    /// Called when a morsel ends, with the chunks so far.
    pub at_end: Box<dyn Fn(usize) -> Option<Token> + Send + Sync>,
    pub tasks: usize,
    pub finish: FinishFn,
    /// Workers alive, and those that have combined.
    pub workers: Arc<AtomicUsize>,
    pub combined: Arc<AtomicUsize>,
    pub prepared: AtomicUsize,
    pub finished: AtomicUsize,
}

impl Keep {
    pub fn new() -> Self {
        Keep {
            name: "fake sink",
            got: Arc::default(),
            limit: usize::MAX,
            before: Box::new(|_| Ok(None)),
            before_combine: Box::new(|| None),
            at_end: Box::new(|_| None),
            tasks: 0,
            finish: Box::new(|_, _| Ok(())),
            workers: Arc::default(),
            combined: Arc::default(),
            prepared: AtomicUsize::new(0),
            finished: AtomicUsize::new(0),
        }
    }

    pub fn got(&self) -> Got {
        self.got.lock().expect("lock").clone()
    }

    pub fn sorted(&self) -> Vec<i64> {
        let mut all: Vec<i64> = self.got().into_iter().flat_map(|(_, values)| values).collect();
        all.sort_unstable();
        all
    }

    /// Checks that the chunks of each morsel are numbered without a gap, and reached the sink in
    /// that order.
    pub fn assert_numbered(&self) {
        let mut next = std::collections::HashMap::new();
        for (place, _) in self.got() {
            let next = next.entry(place.morsel).or_insert(0);
            assert_eq!(place.sequence, *next, "morsel {}", place.morsel);
            *next += 1;
        }
    }
}

/// A worker of [`Keep`]; it holds what its sink's closures need.
struct KeepWorker {
    sink: Arc<Keep>,
}

/// [`Keep`] behind a reference count of its own, for its workers.
pub struct KeepSink(pub Arc<Keep>);

pub fn sink(keep: Keep) -> (Arc<Keep>, Tree) {
    let keep = Arc::new(keep);
    (keep.clone(), Tree::Sink(Arc::new(KeepSink(keep))))
}

impl Sink for KeepSink {
    fn name(&self) -> &str {
        self.0.name
    }

    fn worker(&self, _: &Context) -> Result<Box<dyn SinkWorker>> {
        self.0.workers.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(KeepWorker { sink: self.0.clone() }))
    }

    fn prepare(&self, _: &Context) -> Result<usize> {
        assert_eq!(self.0.workers.load(Ordering::SeqCst), 0, "prepared before workers are gone");
        self.0.prepared.fetch_add(1, Ordering::SeqCst);
        Ok(self.0.tasks)
    }

    fn finish(&self, task: usize, cx: &Context) -> Result<()> {
        (self.0.finish)(task, cx)?;
        self.0.finished.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn reset(&self) -> Result<()> {
        self.0.got.lock().expect("lock").clear();
        Ok(())
    }
}

impl SinkWorker for KeepWorker {
    fn consume(&mut self, input: Chunk, _: &Context) -> Result<Consumed> {
        if let Some(token) = (self.sink.before)(&input)? {
            return Ok(Consumed::Blocked(token, input));
        }
        let mut got = self.sink.got.lock().expect("lock");
        got.push((input.place(), values(&input)));
        let full = got.len() >= self.sink.limit;
        Ok(if full { Consumed::Finished } else { Consumed::NeedInput })
    }

    fn end_morsel(&mut self, _: &Context) -> Result<Option<Token>> {
        Ok((self.sink.at_end)(self.sink.got().len()))
    }

    fn combine(&mut self, _: &Context) -> Result<Option<Token>> {
        let blocked = (self.sink.before_combine)();
        if blocked.is_none() {
            self.sink.combined.fetch_add(1, Ordering::SeqCst);
        }
        Ok(blocked)
    }
}

impl Drop for KeepWorker {
    fn drop(&mut self) {
        self.sink.workers.fetch_sub(1, Ordering::SeqCst);
    }
}

pub fn then(transform: Arc<dyn Transform>, tree: Tree) -> Tree {
    Tree::Transform(transform, Box::new(tree))
}
