//! Leaves out rows that cannot be among the first few of their partition.
//!
//! Whoever wants `row_number() <= 3` needs no row that has three others before it. A worker
//! remembers of each partition how far the first rows reach that it has seen (`reach`), and drops
//! what is behind. What is left is more than the first rows: a worker knows only its own rows, and
//! forgets partitions when they are too many. So this stands before a window, and the condition
//! stays behind it.
//!
//! A row that is dropped has as many rows before it as are wanted, in the order of the keys, or
//! with equal keys in the order of the input, in which a worker gets its rows. If it gets them in
//! another order, it starts anew.
//!
//! Where it drops less than half of the rows it stops looking.
//!
//! Memory: what is remembered is charged, up to [`REACH_BYTES_MAX`] a worker and a small part of
//! the budget; when it is refused, rows pass.
//! Concurrency: none; each worker has what it has seen.

mod reach;

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::batch::{Chunk, Selection, pick};
use crate::error::{Error, Result};
use crate::expr::{SortKey, Written};
use crate::memory::rows::{self, RowLayout, RowOrder};
use crate::pipeline::{Context, Pushed, Transform, TransformWorker};
use crate::plan::{Build, Field, Spec, Stream, take_inputs, to_fields};

use reach::{PARTITION_WORDS, Reach, Row};

/// What is remembered takes at most so many bytes: beyond the caches a look at a row takes about as
/// long as sorting it.
const REACH_BYTES_MAX: usize = 2 << 20;

/// The part of the budget that it takes at most.
const REACH_SHARE: usize = 64;

/// More rows than so many of each partition are not kept apart.
const COUNT_MAX: u64 = 1024;

/// Rows after which it is asked whether it pays.
const TRIAL_ROWS: usize = 1 << 16;

/// Rows of a worker up to which it is enough that it may come to pay: the first rows of every
/// partition are wanted, and many of those that follow.
const LEARNING_ROWS: usize = 1 << 19;

/// While it learns, one in so many rows is to be dropped, or to be the first of its partition.
const LEARNED_MIN: usize = 8;

/// What is counted of the rows before a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Counted {
    /// All of them, as `row_number` does.
    Rows,
    /// Those that are no peers of the row, as `rank` does.
    Others,
    /// The groups of peers, as `dense_rank` does.
    Groups,
}

/// Rows that may be among the first of their partition, and perhaps others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PartitionTopK {
    /// The columns that tell partitions apart.
    pub partition: Vec<usize>,
    /// The order of the rows in a partition.
    pub keys: Vec<SortKey>,
    /// How many are wanted.
    pub count: u64,
    /// Of what.
    pub counted: Counted,
}

impl PartitionTopK {
    fn columns(&self) -> impl Iterator<Item = usize> + '_ {
        self.partition.iter().copied().chain(self.keys.iter().map(|key| key.column))
    }
}

impl Spec for PartitionTopK {
    fn name(&self) -> &'static str {
        "partition_top_k"
    }

    fn schema(&self, inputs: &[SchemaRef]) -> Result<SchemaRef> {
        let [input] = &take_inputs(inputs.to_vec(), "partition_top_k")?;
        match self.columns().find(|&column| column >= input.fields().len()) {
            Some(column) => Err(Error::internal(format!("partition_top_k by column {column}"))),
            None => Ok(input.clone()),
        }
    }

    fn explain(&self) -> Vec<Field> {
        let partition: Vec<String> = self.partition.iter().map(|c| format!("#{c}")).collect();
        let keys: Vec<String> = self.keys.iter().map(SortKey::to_string).collect();
        let counted = match self.counted {
            Counted::Rows => "rows",
            Counted::Others => "rows with peers",
            Counted::Groups => "groups of peers",
        };
        let mut fields = vec![(counted, self.count.to_string())];
        if !keys.is_empty() {
            fields.insert(0, ("by", keys.join(", ")));
        }
        if !partition.is_empty() {
            fields.insert(0, ("of", partition.join(", ")));
        }
        fields
    }

    fn to_json(&self) -> Result<Value> {
        to_fields(self)
    }

    fn build(&self, inputs: Vec<Stream>, _: &mut Build) -> Result<Stream> {
        let [input] = take_inputs(inputs, "partition_top_k")?;
        let schema = input.schema.clone();
        self.schema(std::slice::from_ref(&schema))?;
        let partition = self.partition.iter().map(|&column| SortKey {
            column,
            descending: false,
            nulls_first: true,
        });
        let transform = PartitionTopKTransform {
            partition: Arc::new(Normal::new(partition, &schema, PARTITION_WORDS)?),
            order: Arc::new(Normal::new(self.keys.iter().copied(), &schema, 2)?),
            count: self.count,
            counted: self.counted,
        };
        Ok(input.then(schema, Arc::new(transform)))
    }
}

/// Columns of a chunk as words in the order of their values.
struct Normal {
    columns: Vec<usize>,
    layout: RowLayout,
    key: rows::SortKey,
}

impl Normal {
    fn new(keys: impl Iterator<Item = SortKey>, schema: &SchemaRef, words: usize) -> Result<Self> {
        let (mut columns, mut order, mut types) = (Vec::new(), Vec::new(), Vec::new());
        for (place, key) in keys.enumerate() {
            let field = schema.field(key.column);
            order.push(RowOrder {
                column: place,
                descending: key.descending,
                nulls_first: key.nulls_first,
                nullable: field.is_nullable(),
            });
            types.push(DataType::clone(field.data_type()));
            columns.push(key.column);
        }
        let layout = RowLayout::new(&types, &[])?;
        let key = rows::SortKey::new(&layout, &order, words)?;
        Ok(Normal { columns, layout, key })
    }

    /// The words of the live rows of a chunk, so many of each.
    fn encode(&self, chunk: &Chunk, words: &mut Vec<u64>) -> Result<()> {
        words.clear();
        let columns = self.columns.iter().filter_map(|&column| chunk.columns().get(column));
        let picked = pick(columns, chunk.live_positions());
        self.key.encode(&self.layout, &picked, words)?;
        words.resize(chunk.live_rows() * self.key.words(), 0);
        Ok(())
    }
}

struct PartitionTopKTransform {
    partition: Arc<Normal>,
    order: Arc<Normal>,
    count: u64,
    counted: Counted,
}

struct PartitionTopKWorker {
    partition: Arc<Normal>,
    order: Arc<Normal>,
    /// `None` when it does not pay.
    reach: Option<Reach>,
    /// Of the input so far, the last morsel.
    morsel: u64,
    trial: Trial,
    partition_words: Vec<u64>,
    order_words: Vec<u64>,
}

/// Rows since it was asked last whether it pays.
#[derive(Default)]
struct Trial {
    rows: usize,
    dropped: usize,
    /// Those that were among the first of their partition to come: nobody could drop them.
    filling: usize,
    /// Rows of the trials before.
    rows_before: usize,
}

impl Trial {
    /// `forgot` says whether partitions were forgotten.
    fn pays(&self, forgot: bool) -> bool {
        let learns = !forgot && self.rows_before < LEARNING_ROWS;
        self.dropped >= self.rows / 2
            || (learns && self.dropped + self.filling >= self.rows / LEARNED_MIN)
    }
}

impl Transform for PartitionTopKTransform {
    fn name(&self) -> &str {
        "partition top k"
    }

    fn worker(&self, cx: &Context) -> Result<Box<dyn TransformWorker>> {
        let bytes_max = (cx.memory().limit() / REACH_SHARE).min(REACH_BYTES_MAX);
        let reach = match self.count {
            1..=COUNT_MAX => {
                let memory = cx.memory().reserve("partition top k", 0)?;
                Some(Reach::new(self.count as usize, self.counted, bytes_max, memory))
            }
            _ => None,
        };
        Ok(Box::new(PartitionTopKWorker {
            partition: self.partition.clone(),
            order: self.order.clone(),
            reach,
            morsel: 0,
            trial: Trial::default(),
            partition_words: Vec::new(),
            order_words: Vec::new(),
        }))
    }

    fn reset(&self) -> Result<()> {
        Ok(())
    }
}

impl PartitionTopKWorker {
    /// The live rows that may be wanted.
    fn wanted(&mut self, reach: &mut Reach, chunk: &Chunk) -> Result<Vec<u32>> {
        self.partition.encode(chunk, &mut self.partition_words)?;
        self.order.encode(chunk, &mut self.order_words)?;
        let (partition, order) = (&self.partition.key, &self.order.key);
        let groups = self.partition_words.chunks_exact(partition.words());
        let words = self.order_words.chunks_exact(order.words());
        let mut wanted = Vec::with_capacity(chunk.live_rows());
        for ((group, words), &position) in groups.zip(words).zip(chunk.live_positions()) {
            // Partitions that words do not tell apart have all their rows.
            if partition.may_differ(group) {
                wanted.push(position);
                continue;
            }
            match reach.offer(group, words, order) {
                Row::Behind => {}
                Row::Wanted => wanted.push(position),
                Row::First => {
                    self.trial.filling += 1;
                    wanted.push(position);
                }
            }
        }
        Ok(wanted)
    }
}

impl TransformWorker for PartitionTopKWorker {
    fn written(&self) -> Written {
        Written::Nothing
    }

    fn push(&mut self, input: Chunk, _: &Context) -> Result<Pushed> {
        let Some(mut reach) = self.reach.take() else { return Ok(Pushed::Chunk(input)) };
        let morsel = input.place().morsel;
        if morsel < self.morsel {
            // Rows before those that were seen.
            reach.clear();
        }
        self.morsel = morsel;
        let wanted = self.wanted(&mut reach, &input)?;
        self.trial.rows += input.live_rows();
        self.trial.dropped += input.live_rows() - wanted.len();
        let is_over = self.trial.rows >= TRIAL_ROWS;
        let is_kept = !reach.is_refused() && (!is_over || self.trial.pays(reach.take_forgot()));
        if is_over {
            let rows_before = self.trial.rows_before + self.trial.rows;
            self.trial = Trial { rows_before, ..Trial::default() };
        }
        self.reach = Some(reach).filter(|_| is_kept);
        Ok(match wanted.len() {
            0 => Pushed::NeedInput,
            all if all == input.live_rows() => Pushed::Chunk(input),
            _ => Pushed::Chunk(input.select(Selection::new(wanted))),
        })
    }
}

#[cfg(test)]
mod tests;
