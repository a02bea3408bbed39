//! Rules of ours, one a file, each with the reason why it is sound.
//!
//! In the order in which they run: `definition` while names are bound, `distinct_on`,
//! `set_operations` and `shared` on the bound plan, `unnest`, `drawn_once`, `narrow_casts`,
//! `lists_apart` and `in_place` on the analyzed one, `filter_keys` among the borrowed rules,
//! `join_order` (with `region`) between them, `share_scans`, `key_filters` and `partition_top_k` on
//! the engine's plan. `single_join` is a node that unnesting needs.

mod definition;
mod distinct_on;
mod drawn_once;
mod filter_keys;
mod in_place;
mod join_order;
mod key_filters;
mod lists_apart;
mod narrow_casts;
mod partition_top_k;
mod region;
mod set_operations;
mod share_scans;
mod shared;
mod single_join;
mod unnest;

pub(crate) use definition::{definition, lateral, reads_outside};
pub(crate) use distinct_on::{EXPAND_DISTINCT_ON, expand_distinct_on};
pub(crate) use drawn_once::{DRAW_ONCE, draw_once};
pub(crate) use filter_keys::FilterKeys;
pub(crate) use in_place::{KEEP_IN_PLACE, is_barrier, keep_in_place, release};
pub(crate) use join_order::{ORDER_JOINS, order_joins};
pub(crate) use key_filters::{PUSH_KEY_FILTERS, push_key_filters};
pub(crate) use lists_apart::{KEEP_LISTS_APART, keep_lists_apart};
pub(crate) use narrow_casts::{KEEP_CASTS, keep_casts};
pub(crate) use partition_top_k::{PARTITION_TOP_K, partition_top_k};
pub(crate) use set_operations::{
    EXPAND_SET_OPERATIONS, Repeat, expand_set_operation, is_set_operation,
};
pub(crate) use share_scans::{SHARE_SCANS, share_scans};
pub(crate) use shared::{
    SHARE_SUBPLANS, SharedSource, columns_read, narrowed, parts_read, share_subplans, shared_source,
};
pub(crate) use single_join::{SingleJoin, push_below_single_join};
pub(crate) use unnest::{UNNEST_SUBQUERIES, has_subquery, unnest_subqueries};
