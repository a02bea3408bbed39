//! Whole numbers at equal distances, made as they are read.
//!
//! Memory: a chunk for each worker.
//! Concurrency: workers draw morsels from one cursor.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::Int64Array;
use arrow::datatypes::{DataType, Field as ArrowField, Schema, SchemaRef};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::batch::{CHUNK_ROWS, Chunk, Column, MORSEL_ROWS, Place};
use crate::error::{Error, Result};
use crate::pipeline::{Context, Pull, Source, SourceWorker};
use crate::plan::{Build, Field, Spec, Stream, take_inputs, to_fields};

/// The numbers `first`, `first + step`, and so on, in a column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// The name of the column.
    pub name: String,
    /// The first number.
    pub first: i64,
    /// How far the next is from one.
    pub step: i64,
    /// How many there are.
    pub rows: u64,
}

impl Series {
    /// The numbers from `first` on that come before `stop`, or up to it where it is one of them;
    /// `None` where a step leads nowhere.
    pub fn new(name: &str, first: i64, stop: i64, step: i64, with_stop: bool) -> Option<Series> {
        let sign = i128::from(step.signum());
        let distance = (i128::from(stop) - i128::from(first)) * sign - i128::from(!with_stop);
        let steps = distance.checked_div(i128::from(step) * sign)?;
        let rows = if distance < 0 { 0 } else { u64::try_from(steps + 1).ok()? };
        Some(Series { name: name.to_string(), first, step, rows })
    }

    /// The number at a place, counted from 0.
    fn at(&self, place: u64) -> i128 {
        i128::from(self.first) + i128::from(self.step) * i128::from(place)
    }
}

impl Spec for Series {
    fn name(&self) -> &'static str {
        "series"
    }

    fn schema(&self, inputs: &[SchemaRef]) -> Result<SchemaRef> {
        let [] = take_inputs(inputs.to_vec(), "series")?;
        if i64::try_from(self.at(self.rows.saturating_sub(1))).is_err() {
            return Err(Error::input(format!(
                "{} numbers from {} in steps of {} go beyond 64 bits",
                self.rows, self.first, self.step
            )));
        }
        let field = ArrowField::new(&self.name, DataType::Int64, false);
        Ok(Arc::new(Schema::new(vec![field])))
    }

    fn explain(&self) -> Vec<Field> {
        vec![
            ("column", self.name.clone()),
            ("first", self.first.to_string()),
            ("step", self.step.to_string()),
            ("rows", self.rows.to_string()),
        ]
    }

    fn to_json(&self) -> Result<Value> {
        to_fields(self)
    }

    fn is_repeatable(&self) -> bool {
        true
    }

    fn build(&self, _: Vec<Stream>, _: &mut Build) -> Result<Stream> {
        let source = SeriesSource { series: self.clone(), cursor: Arc::default() };
        Ok(Stream::new(self.schema(&[])?, Arc::new(source), Vec::new()))
    }
}

/// Shared state: the number of the next morsel.
struct SeriesSource {
    series: Series,
    cursor: Arc<AtomicU64>,
}

impl Source for SeriesSource {
    fn name(&self) -> &str {
        "series"
    }

    fn worker(&self, _: &Context) -> Result<Box<dyn SourceWorker>> {
        let (series, cursor) = (self.series.clone(), self.cursor.clone());
        Ok(Box::new(SeriesWorker { series, cursor, morsel: 0, places: 0..0 }))
    }

    fn parallelism(&self) -> usize {
        let morsels = self.series.rows.div_ceil(MORSEL_ROWS as u64);
        usize::try_from(morsels).unwrap_or(usize::MAX).max(1)
    }

    fn morsels(&self) -> Option<u64> {
        Some(self.series.rows.div_ceil(MORSEL_ROWS as u64))
    }

    fn reset(&self) -> Result<()> {
        self.cursor.store(0, Ordering::Relaxed);
        Ok(())
    }
}

struct SeriesWorker {
    series: Series,
    cursor: Arc<AtomicU64>,
    morsel: u64,
    /// Places of the morsel that are left.
    places: Range<u64>,
}

impl SourceWorker for SeriesWorker {
    fn pull(&mut self, _: &Context) -> Result<Pull> {
        let (series, rows) = (&self.series, MORSEL_ROWS as u64);
        if self.places.is_empty() {
            self.morsel = self.cursor.fetch_add(1, Ordering::Relaxed);
            let begin = self.morsel.saturating_mul(rows);
            if begin >= series.rows {
                return Ok(Pull::Finished);
            }
            self.places = begin..series.rows.min(begin.saturating_add(rows));
        }
        let begin = self.places.start;
        let end = self.places.end.min(begin + CHUNK_ROWS as u64);
        self.places.start = end;
        // All of them fit, as the last one does.
        let values = (begin..end).map(|place| series.at(place) as i64);
        let column = Column::flat(DataType::Int64, Arc::new(Int64Array::from_iter_values(values)));
        let place = Place { morsel: self.morsel, sequence: 0 };
        Ok(Pull::Chunk(Chunk::new(vec![column], (end - begin) as usize, place)))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::datatypes::Int64Type;

    use super::*;
    use crate::query::{Engine, EngineOptions};

    fn numbers(series: &Series, threads: usize) -> Vec<i64> {
        let options = EngineOptions { threads: Some(threads), ..Default::default() };
        let engine = Engine::new(options).expect("starts");
        let made = engine.run_built(&Default::default(), |build| series.build(Vec::new(), build));
        let batches = made.expect("starts").map(|batch| batch.expect("runs"));
        batches.flat_map(|b| b.column(0).as_primitive::<Int64Type>().values().to_vec()).collect()
    }

    /// The numbers one by one.
    fn naive(first: i64, stop: i64, step: i64, with_stop: bool) -> Vec<i64> {
        let mut numbers = Vec::new();
        let mut next = i128::from(first);
        let stop = i128::from(stop);
        while if step > 0 { next < stop } else { next > stop } || with_stop && next == stop {
            numbers.push(next as i64);
            next += i128::from(step);
        }
        numbers
    }

    #[test]
    fn the_numbers_are_those_of_counting() {
        let most = i64::MAX;
        let bounds = [
            (0, 0, 1),
            (0, 5, 1),
            (5, 0, 1),
            (5, 0, -2),
            (4, 0, -2),
            (0, 7, 7),
            (-3, 300_000, 2),
            (most - 2, most, 1),
            (i64::MIN, i64::MIN + 5, 3),
            (i64::MIN, most, most),
            (most, i64::MIN, i64::MIN),
        ];
        for (first, stop, step) in bounds {
            for with_stop in [false, true] {
                let series = Series::new("n", first, stop, step, with_stop).expect("has steps");
                let expected = naive(first, stop, step, with_stop);
                for threads in [1, 3] {
                    assert!(numbers(&series, threads) == expected, "{series:?} {with_stop}");
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_counted_is_refused() {
        assert_eq!(Series::new("n", 0, 5, 0, false), None);
        // One more than there are numbers of 64 bits without a sign.
        assert_eq!(Series::new("n", i64::MIN, i64::MAX, 1, true), None);
        let series = Series { name: "n".into(), first: i64::MAX, step: 1, rows: 2 };
        let error = series.schema(&[]).expect_err("does not fit").to_string();
        assert!(error.contains("go beyond 64 bits"), "{error}");
    }
}
