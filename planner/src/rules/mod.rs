//! Rules of ours over the borrowed logical plan, one a file, each with the reason why it is sound.
//!
//! In the order in which they run: `not_in` and `shared` on the bound plan, `join_order` (with
//! `region`) between the borrowed rules.

mod join_order;
mod not_in;
mod region;
mod shared;

pub(crate) use join_order::{ORDER_JOINS, order_joins};
pub(crate) use not_in::{EXPAND_NOT_IN, expand_not_in};
pub(crate) use shared::{
    SHARE_SUBPLANS, SharedSource, columns_read, narrowed, share_subplans, shared_source,
};
