//! Leaves out rows whose keys cannot match in a join further on.
//!
//! Scans apply key filters themselves, before they decode other columns; this is the same for
//! inputs that cannot. See [`crate::batch::KeyFilter`].
//!
//! Memory: none of its own. Concurrency: each worker judges for itself whether the filter pays.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::batch::{Chunk, KeyFilterId, KeyFilterProbe, KeyFilterSlot, KeyFilterUse};
use crate::error::{Error, Result};
use crate::pipeline::{Context, Pushed, Transform, TransformWorker};
use crate::plan::{Build, Field, Spec, Stream, take_inputs, to_fields};

/// Narrows its input by what joins published about their keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeyFilters {
    /// The filters, applied in order.
    pub filters: Vec<KeyFilterUse>,
}

impl Spec for KeyFilters {
    fn name(&self) -> &'static str {
        "key_filter"
    }

    fn schema(&self, inputs: &[SchemaRef]) -> Result<SchemaRef> {
        let [input] = &take_inputs(inputs.to_vec(), "key_filter")?;
        let width = input.fields().len();
        match self.filters.iter().flat_map(|f| &f.columns).find(|&&c| c >= width) {
            Some(column) => Err(Error::internal(format!("key filter on column {column}"))),
            None => Ok(input.clone()),
        }
    }

    fn explain(&self) -> Vec<Field> {
        let text = |f: &KeyFilterUse| {
            let columns: Vec<String> = f.columns.iter().map(|c| format!("#{c}")).collect();
            ("filter", format!("{} on {}", f.id.0, columns.join(", ")))
        };
        self.filters.iter().map(text).collect()
    }

    fn to_json(&self) -> Result<Value> {
        to_fields(self)
    }

    fn build(&self, inputs: Vec<Stream>, build: &mut Build) -> Result<Stream> {
        let [input] = take_inputs(inputs, "key_filter")?;
        let schema = input.schema.clone();
        let ids: Vec<KeyFilterId> = self.filters.iter().map(|f| f.id).collect();
        let uses = self.filters.iter().map(|f| (build.key_filter(f.id), f.columns.clone()));
        let transform = KeyFilterTransform { uses: uses.collect() };
        Ok(input.reading(&ids).then(schema, Arc::new(transform)))
    }
}

struct KeyFilterTransform {
    uses: Vec<(KeyFilterSlot, Vec<usize>)>,
}

struct KeyFilterWorker {
    probes: Vec<KeyFilterProbe>,
}

impl Transform for KeyFilterTransform {
    fn name(&self) -> &str {
        "key filter"
    }

    fn worker(&self, _: &Context) -> Result<Box<dyn TransformWorker>> {
        let probe = |(slot, columns): &(KeyFilterSlot, Vec<usize>)| {
            KeyFilterProbe::new(slot.clone(), columns.clone())
        };
        Ok(Box::new(KeyFilterWorker { probes: self.uses.iter().map(probe).collect() }))
    }

    fn reset(&self) -> Result<()> {
        Ok(())
    }
}

impl TransformWorker for KeyFilterWorker {
    fn push(&mut self, input: Chunk, _: &Context) -> Result<Pushed> {
        let mut chunk = input;
        for probe in &mut self.probes {
            if probe.filter().is_some_and(|f| f.is_empty()) {
                return Ok(Pushed::Finished(None));
            }
            chunk = probe.apply(chunk)?;
        }
        Ok(if chunk.is_empty() { Pushed::NeedInput } else { Pushed::Chunk(chunk) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Column, KeyFilterBuilder, Place};
    use crate::pipeline::{Order, Query};
    use arrow::array::Int64Array;
    use arrow::datatypes::DataType;

    fn context() -> Context {
        let query = Query::alone(crate::memory::Governor::unlimited(), 1);
        Context { query: Arc::new(query), order: Order::new(), worker: 0 }
    }

    fn chunk(values: Vec<i64>) -> Chunk {
        let rows = values.len();
        let column = Column::flat(DataType::Int64, Arc::new(Int64Array::from(values)));
        Chunk::new(vec![column], rows, Place::default())
    }

    #[test]
    fn narrows_by_every_filter_and_stops_the_source_when_nothing_can_match() {
        let cx = context();
        let slots = [KeyFilterSlot::default(), KeyFilterSlot::default()];
        let uses = slots.iter().map(|s| (s.clone(), vec![0])).collect();
        let transform = KeyFilterTransform { uses };
        let publish = |slot: usize, keys: &[i64]| {
            let range = keys.iter().min().copied().zip(keys.iter().max().copied());
            let builder = KeyFilterBuilder::new(keys.len() as u64, vec![range], false);
            builder.add_ordinals(keys.iter().copied());
            slots[slot].publish(builder.finish(), ());
        };
        publish(0, &[1, 2, 3]);
        let mut worker = transform.worker(&cx).expect("worker");
        let Pushed::Chunk(out) = worker.push(chunk(vec![0, 1, 2]), &cx).expect("pushes") else {
            panic!("a chunk");
        };
        assert_eq!(out.live_rows(), 2);
        publish(1, &[2, 9]);
        let Pushed::Chunk(out) = worker.push(chunk(vec![0, 1, 2]), &cx).expect("pushes") else {
            panic!("a chunk");
        };
        assert_eq!(out.live_rows(), 1);
        let pushed = worker.push(chunk(vec![9]), &cx).expect("pushes");
        assert!(matches!(pushed, Pushed::NeedInput));
        publish(1, &[]);
        let mut worker = transform.worker(&cx).expect("worker");
        let pushed = worker.push(chunk(vec![2]), &cx).expect("pushes");
        assert!(matches!(pushed, Pushed::Finished(None)));
    }
}
