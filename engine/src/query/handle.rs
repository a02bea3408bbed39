//! A running query, as its caller holds it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::error::{Error, Result};
use crate::pipeline::Run;
use crate::scheduler::{Cancel, Deadline, Pool, Scheduler};
use crate::sinks::Collect;

/// How long dropping a query waits for its tasks to notice.
const DROP_WAIT: Duration = Duration::from_secs(2);

/// A running query: an iterator over its result that pulls under back-pressure. A handle that
/// nobody pulls from holds batches but no thread. Dropping it stops the query and waits, briefly,
/// until all it held is free.
pub struct Running {
    result: Collect,
    run: Run,
    cancel: Cancel,
    scheduler: Arc<dyn Scheduler>,
    _deadline: Option<Deadline>,
    is_over: bool,
    /// What is made of an error before it is given out.
    told: fn(Error) -> Error,
    /// The threads stay until the query is over.
    _pool: Option<Arc<Pool>>,
}

impl Running {
    pub(super) fn new(
        result: Collect,
        run: Run,
        cancel: Cancel,
        scheduler: Arc<dyn Scheduler>,
        pool: Option<Arc<Pool>>,
        deadline: Option<Deadline>,
    ) -> Running {
        let (_deadline, _pool) = (deadline, pool);
        Running { result, run, cancel, scheduler, _deadline, is_over: false, told: |e| e, _pool }
    }

    /// The same query, whose errors are told in the words of who runs it.
    pub fn telling(mut self, told: fn(Error) -> Error) -> Running {
        self.told = told;
        self
    }

    /// Names and types of the result's columns.
    pub fn schema(&self) -> &SchemaRef {
        self.result.schema()
    }

    /// The flag that stops the query; may be raised from any thread.
    pub fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    /// The next batch, or the end: after it, or after an error, there is nothing more.
    fn pull(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            let mut tokens = self.result.tokens();
            tokens.push(self.run.token());
            if self.run.outcome().is_some_and(|outcome| outcome.is_err()) {
                self.result.close();
            }
            if let Some(batch) = self.result.take() {
                return Ok(Some(batch));
            }
            match self.run.outcome() {
                // The last batches may have become ready between the two looks.
                Some(Ok(())) => return Ok(self.result.take()),
                Some(Err(error)) => return Err(error),
                None => self.scheduler.wait(&tokens, None),
            };
        }
    }
}

impl Iterator for Running {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let next = self.pull().map_err(self.told).transpose();
        self.is_over = !matches!(next, Some(Ok(_)));
        next
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.run.outcome().is_none() {
            self.cancel.abandon();
            let until = Instant::now().checked_add(DROP_WAIT);
            loop {
                let token = self.run.token();
                if self.run.outcome().is_some() || !self.scheduler.wait(&[token], until) {
                    break;
                }
            }
        }
        self.result.close();
    }
}
