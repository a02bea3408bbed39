//! The rows of the build side by whether they had a match, when the probe side is at its end.
//!
//! A source: the second arm of a right or full join, and the only one of right semi and right anti
//! joins that gives anything. A morsel is a group.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::reader::Reader;
use super::shape::Shared;
use crate::batch::{Chunk, Column, Indices, Place};
use crate::error::Result;
use crate::operators::JoinKind;
use crate::pipeline::{Context, Pull, Source, SourceWorker};

/// See the module documentation.
pub(super) struct BuildRows {
    shared: Arc<Shared>,
    next: Arc<AtomicUsize>,
}

impl BuildRows {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        BuildRows { shared, next: Arc::default() }
    }
}

impl Source for BuildRows {
    fn name(&self) -> &str {
        "nested loop join build rows"
    }

    fn worker(&self, cx: &Context) -> Result<Box<dyn SourceWorker>> {
        let reader = Reader::new(&self.shared, cx)?;
        let (shared, next) = (self.shared.clone(), self.next.clone());
        Ok(Box::new(Worker { shared, next, reader }))
    }

    fn parallelism(&self) -> usize {
        self.shared.side().map_or(1, |side| side.groups().len().max(1))
    }

    fn reset(&self) -> Result<()> {
        self.next.store(0, Ordering::Relaxed);
        Ok(())
    }
}

struct Worker {
    shared: Arc<Shared>,
    next: Arc<AtomicUsize>,
    reader: Reader,
}

impl SourceWorker for Worker {
    fn pull(&mut self, _: &Context) -> Result<Pull> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let side = self.reader.side.clone();
        let Some(group) = side.groups().get(number) else { return Ok(Pull::Finished) };
        let shape = &self.shared.shape;
        let wanted = shape.kind == JoinKind::RightSemi;
        let is_marked = |row: usize| side.marks.as_ref().is_some_and(|marks| marks.is_set(row));
        let rows = (0..group.rows).filter(|&row| is_marked(group.first + row) == wanted);
        let rows: Vec<u32> = rows.map(|row| row as u32).collect();
        let morsel = number as u64;
        if rows.is_empty() {
            return Ok(Pull::Morsel(morsel));
        }
        let columns = self.reader.group(number)?;
        let count = rows.len();
        let rows = Arc::new(Indices::new(rows));
        let built = shape.build_output.iter().map(|&stored| {
            let logical = shape.types[stored].clone();
            Column::indexed(logical, rows.clone(), columns[stored].clone(), None)
        });
        let nulls = shape.probe_types.iter().map(|t| Column::null(t.clone()));
        let all = nulls.chain(built).collect();
        Ok(Pull::Chunk(Chunk::new(all, count, Place { morsel, sequence: 0 })))
    }
}
