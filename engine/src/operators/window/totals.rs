//! Aggregates that values can be added to one by one: counts, sums, averages, extremes.
//!
//! What to do when rows leave the frame depends on the aggregate: from counts and exact sums they
//! are taken off again. A sum of floating-point numbers would keep the error of what was taken off,
//! or infinity; an extreme does not tell the next best. These are kept in a queue of two stacks
//! (`queue`), of which each value enters and leaves once. A segment tree (Leis, Kundhikanjana,
//! Kemper, Neumann: Efficient Processing of Window Functions in Analytical SQL Queries, 2015)
//! serves frames that jump; frames here only move forwards.

use std::marker::PhantomData;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, i256};

use super::distinct::{All, Distinct, Member, Members};
use super::evaluate::{Evaluate, Results, Span};
use super::lane::{Values, valid_where};
use super::queue::TwoStacks;
use super::store::Store;
use crate::error::{Error, Result};
use crate::expr::totals::{Quotient, average, floats, integers, wide_average, wide_decimals};

/// How values are put together.
pub(super) trait Combine: Send {
    /// What comes from a lane.
    type Value: Clone + Send;
    /// What is kept of values put together.
    type Total: Clone + Send;

    /// The total of one value.
    fn one(&self, value: Self::Value) -> Self::Total;

    /// The total of two; `None` when it does not fit.
    fn both(&self, a: &Self::Total, b: &Self::Total) -> Option<Self::Total>;

    /// A total without one that it was made of; `None` when that cannot be told.
    fn without(&self, _: &Self::Total, _: &Self::Total) -> Option<Self::Total> {
        None
    }

    /// Bytes that a total has elsewhere.
    fn bytes(&self, _: &Self::Total) -> usize {
        0
    }

    /// Results of rows: totals, where there are any, and the number of values in each.
    fn results(&self, totals: Vec<Option<Self::Total>>, counts: Vec<i64>) -> Result<ArrayRef>;
}

/// How rows leave the frame.
enum Leaving<L: Values, T> {
    /// They do not: frames begin with their partition.
    Never,
    /// Their values are read a second time, and taken off.
    Subtract(L),
    /// The rows of the frame are in a queue.
    Queue(TwoStacks<T>),
}

/// An aggregate over the frames of a window.
pub(super) struct Totals<L: Values, C: Combine<Value = L::Value>, M = All> {
    lane: L,
    leaving: Leaving<L, C::Total>,
    combine: C,
    members: M,
    frame: usize,
    /// Number of keys of the partition.
    partition: usize,
    /// The rows that are in the total: from the first to the one before the second.
    rows: (u64, u64),
    total: Option<C::Total>,
    count: i64,
}

impl<L: Values, C: Combine<Value = L::Value>> Totals<L, C> {
    /// `leaving` is a second lane where values are taken off, `None` where they are queued.
    pub(super) fn new(lane: L, combine: C, frame: usize, partition: usize) -> Self {
        Totals {
            lane,
            leaving: Leaving::Never,
            combine,
            members: All,
            frame,
            partition,
            rows: (0, 0),
            total: None,
            count: 0,
        }
    }

    /// The same of distinct values. They cannot be queued: the one that counts leaves before those
    /// that equal it.
    pub(super) fn distinct(self) -> Totals<L, C, Distinct<L::Value>>
    where
        L::Value: Member,
    {
        let Totals { lane, leaving, combine, frame, partition, rows, total, count, .. } = self;
        let members = Distinct::new();
        Totals { lane, leaving, combine, members, frame, partition, rows, total, count }
    }

    /// The same for frames that rows leave, by subtraction.
    pub(super) fn subtracting(self, lane: L) -> Self {
        Totals { leaving: Leaving::Subtract(lane), ..self }
    }

    /// The same for frames that rows leave, through a queue.
    pub(super) fn queueing(self) -> Self {
        Totals { leaving: Leaving::Queue(TwoStacks::new()), ..self }
    }
}

impl<L: Values, C: Combine<Value = L::Value>, M: Members<L::Value>> Totals<L, C, M> {
    fn clear(&mut self, at: u64, store: &mut Store) {
        self.members.clear(store);
        self.rows = (at, at);
        self.total = None;
        self.count = 0;
        if let Leaving::Queue(queue) = &mut self.leaving {
            queue.clear();
        }
    }

    /// Makes the total that of the rows from `start` to `end`.
    fn go_to(&mut self, start: u64, end: u64, store: &mut Store) -> Result<()> {
        if start >= self.rows.1 {
            self.clear(start, store);
        }
        self.leave(start, store)?;
        while self.rows.1 < end {
            if let Some(value) = self.lane.get(store, self.rows.1)?
                && self.members.enter(&value, store)?
            {
                self.add(value, store)?;
            }
            self.rows.1 += 1;
        }
        Ok(())
    }

    fn add(&mut self, value: C::Value, store: &mut Store) -> Result<()> {
        let combine = &self.combine;
        let one = combine.one(value);
        self.count += 1;
        let both = |a: &C::Total, b: &C::Total| combine.both(a, b);
        if let Leaving::Queue(queue) = &mut self.leaving {
            let bytes = combine.bytes(&one);
            return queue.push(self.rows.1, one, bytes, &both, store.memory());
        }
        self.total = Some(match &self.total {
            Some(total) => both(total, &one).ok_or_else(overflow)?,
            None => one,
        });
        Ok(())
    }

    fn leave(&mut self, start: u64, store: &mut Store) -> Result<()> {
        let combine = &self.combine;
        match &mut self.leaving {
            Leaving::Never => {}
            Leaving::Subtract(lane) => {
                while self.rows.0 < start {
                    if let Some(value) = lane.get(store, self.rows.0)?
                        && self.members.leave(&value, store)?
                    {
                        self.count -= 1;
                        let part = combine.one(value);
                        let rest = self.total.as_ref().and_then(|t| combine.without(t, &part));
                        self.total = Some(rest.ok_or_else(overflow)?).filter(|_| self.count > 0);
                    }
                    self.rows.0 += 1;
                }
            }
            Leaving::Queue(queue) => {
                let left = queue.leave(start, &|a, b| combine.both(a, b), store.memory())?;
                self.count -= left as i64;
                self.rows.0 = start.max(self.rows.0);
            }
        }
        Ok(())
    }

    fn result(&self) -> Result<Option<C::Total>> {
        match &self.leaving {
            Leaving::Queue(queue) => queue.total(&|a, b| self.combine.both(a, b)),
            _ => Ok(self.total.clone()),
        }
    }
}

fn overflow() -> Error {
    Error::overflow("a sum", "any decimal")
}

impl<L, C, M> Evaluate for Totals<L, C, M>
where
    L: Values,
    C: Combine<Value = L::Value>,
    M: Members<L::Value>,
{
    fn evaluate(&mut self, span: &Span<'_>, store: &mut Store) -> Result<Results> {
        let mut totals: Vec<Option<C::Total>> = Vec::with_capacity(span.marks.len());
        let mut counts = Vec::with_capacity(span.marks.len());
        let mut bytes = 0;
        for (number, ((start, end), &mark)) in span.frames(self.frame).zip(span.marks).enumerate() {
            if bytes > span.bytes {
                break;
            }
            let is_new = usize::from(mark) <= self.partition;
            if is_new {
                self.clear(span.first + number as u64, store);
            } else if self.rows.1 == end
                && (self.rows.0 == start || matches!(self.leaving, Leaving::Never))
                && let Some(last) = totals.last()
            {
                bytes += last.as_ref().map_or(0, |last| self.combine.bytes(last));
                totals.push(last.clone());
                counts.push(self.count);
                continue;
            }
            if start >= end {
                // Rows may leave an empty frame that have not entered it.
                self.leave(start.min(self.rows.1), store)?;
                totals.push(None);
                counts.push(0);
                continue;
            }
            self.go_to(start, end, store)?;
            let total = self.result()?;
            bytes += total.as_ref().map_or(0, |total| self.combine.bytes(total));
            totals.push(total);
            counts.push(self.count);
        }
        Ok(Results::Flat(self.combine.results(totals, counts)?))
    }

    fn keeps(&self) -> u64 {
        match self.leaving {
            Leaving::Subtract(_) => self.rows.0,
            _ => self.rows.1,
        }
    }
}

/// `count(x)`, of values that need not be looked at unless they are to be told apart.
pub(super) struct Count<V>(PhantomData<V>);

impl<V> Count<V> {
    pub(super) fn new() -> Self {
        Count(PhantomData)
    }
}

impl<V: Clone + Send> Combine for Count<V> {
    type Value = V;
    type Total = ();

    fn one(&self, _: V) {}

    fn both(&self, _: &(), _: &()) -> Option<()> {
        Some(())
    }

    fn without(&self, _: &(), _: &()) -> Option<()> {
        Some(())
    }

    fn results(&self, _: Vec<Option<()>>, counts: Vec<i64>) -> Result<ArrayRef> {
        Ok(Arc::new(Int64Array::from(counts)))
    }
}

/// A sum, or an average.
pub(super) struct Sum {
    pub(super) data_type: DataType,
    /// Of an average, how it is made.
    pub(super) quotient: Option<Quotient>,
}

/// Sums of integers and decimals in 128 bits.
pub(super) struct IntegerSum(pub(super) Sum);

impl Combine for IntegerSum {
    type Value = i128;
    type Total = i128;

    fn one(&self, value: i128) -> i128 {
        value
    }

    fn both(&self, a: &i128, b: &i128) -> Option<i128> {
        a.checked_add(*b)
    }

    fn without(&self, total: &i128, part: &i128) -> Option<i128> {
        total.checked_sub(*part)
    }

    fn results(&self, totals: Vec<Option<i128>>, counts: Vec<i64>) -> Result<ArrayRef> {
        let Sum { data_type, quotient } = &self.0;
        let nulls = valid(&totals);
        let sums = totals.into_iter().map(Option::unwrap_or_default);
        match quotient {
            None => integers(sums.collect(), nulls, "sum", data_type),
            Some(Quotient::Float(unit)) => {
                let quotients =
                    sums.zip(counts).map(|(sum, count)| sum as f64 / unit / count as f64);
                floats(quotients.collect(), nulls, data_type)
            }
            Some(Quotient::Exact(digits)) => {
                let quotients =
                    sums.zip(counts).map(|(s, count)| average(s, count.max(1), *digits));
                let quotients: Option<Vec<i128>> = quotients.collect();
                let quotients = quotients.ok_or_else(|| Error::overflow("avg", data_type))?;
                integers(quotients, nulls, "avg", data_type)
            }
        }
    }
}

/// Sums of decimals in 256 bits.
pub(super) struct WideSum(pub(super) Sum);

impl Combine for WideSum {
    type Value = i256;
    type Total = i256;

    fn one(&self, value: i256) -> i256 {
        value
    }

    fn both(&self, a: &i256, b: &i256) -> Option<i256> {
        a.checked_add(*b)
    }

    fn without(&self, total: &i256, part: &i256) -> Option<i256> {
        total.checked_sub(*part)
    }

    fn results(&self, totals: Vec<Option<i256>>, counts: Vec<i64>) -> Result<ArrayRef> {
        let Sum { data_type, quotient } = &self.0;
        let nulls = valid(&totals);
        let sums = totals.into_iter().map(|total| total.unwrap_or(i256::ZERO));
        match quotient {
            None => wide_decimals(sums.collect(), nulls, "sum", data_type),
            Some(Quotient::Float(_)) => {
                Err(Error::internal(format!("an average of wide decimals as {data_type}")))
            }
            Some(Quotient::Exact(digits)) => {
                let quotients =
                    sums.zip(counts).map(|(s, count)| wide_average(s, count.max(1), *digits));
                let quotients: Option<Vec<i256>> = quotients.collect();
                let quotients = quotients.ok_or_else(|| Error::overflow("avg", data_type))?;
                wide_decimals(quotients, nulls, "avg", data_type)
            }
        }
    }
}

/// Sums of floating-point numbers.
pub(super) struct FloatSum(pub(super) Sum);

impl Combine for FloatSum {
    type Value = f64;
    type Total = f64;

    fn one(&self, value: f64) -> f64 {
        value
    }

    fn both(&self, a: &f64, b: &f64) -> Option<f64> {
        Some(a + b)
    }

    fn results(&self, totals: Vec<Option<f64>>, counts: Vec<i64>) -> Result<ArrayRef> {
        let nulls = valid(&totals);
        let sums = totals.into_iter().map(Option::unwrap_or_default);
        let values = match self.0.quotient {
            None => sums.collect(),
            Some(_) => sums.zip(counts).map(|(sum, count)| sum / count as f64).collect(),
        };
        floats(values, nulls, &self.0.data_type)
    }
}

fn valid<T>(totals: &[Option<T>]) -> Option<NullBuffer> {
    valid_where(totals.iter().map(Option::is_some))
}
