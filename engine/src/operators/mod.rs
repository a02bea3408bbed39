//! The operators: one file or folder each, holding everything that is true about it.
//!
//! Operators never import each other. The table below is what plans can name.

mod filter;
mod hash_aggregate;
mod hash_join;
mod join_kind;
mod key_filter;
mod limit;
mod nested_loop_join;
mod partition_top_k;
mod project;
mod repeat;
mod shared;
mod sort;
mod sort_aggregate;
mod sort_sink;
mod union;
mod unnest;
mod values;
mod window;

pub use filter::Filter;
pub use hash_aggregate::HashAggregate;
pub use hash_join::HashJoin;
pub use join_kind::JoinKind;
pub use key_filter::KeyFilters;
pub use limit::Limit;
pub use nested_loop_join::NestedLoopJoin;
pub use partition_top_k::{Counted, PartitionTopK};
pub use project::Project;
pub use repeat::Repeat;
pub use shared::Shared;
pub use sort::{Sort, TopK};
pub use sort_aggregate::SortAggregate;
pub(crate) use sort_sink::SortSink;
pub use union::Union;
pub use unnest::Unnest;
pub use values::{Values, ValuesColumn};
pub use window::Window;

use crate::plan::{FromJson, from_fields};

/// Names and readers of all operators.
pub const SPECS: &[(&str, FromJson)] = &[
    ("filter", Filter::from_json),
    ("hash_aggregate", HashAggregate::from_json),
    ("hash_join", HashJoin::from_json),
    ("key_filter", |fields, _| from_fields::<KeyFilters>(fields)),
    ("limit", |fields, _| from_fields::<Limit>(fields)),
    ("nested_loop_join", NestedLoopJoin::from_json),
    ("partition_top_k", |fields, _| from_fields::<PartitionTopK>(fields)),
    ("project", Project::from_json),
    ("repeat", |fields, _| from_fields::<Repeat>(fields)),
    ("sort", |fields, _| from_fields::<Sort>(fields)),
    ("sort_aggregate", |fields, _| from_fields::<SortAggregate>(fields)),
    ("top_k", |fields, _| from_fields::<TopK>(fields)),
    ("union", |fields, _| from_fields::<Union>(fields)),
    ("unnest", |fields, _| from_fields::<Unnest>(fields)),
    ("values", |fields, _| from_fields::<Values>(fields)),
    ("window", Window::from_json),
];
