//! Rules of ours over the borrowed logical plan, one a file, each with the reason why it is sound.

mod join_order;
mod region;
mod shared;

pub(crate) use join_order::{ORDER_JOINS, order_joins};
pub(crate) use shared::{
    SHARE_SUBPLANS, SharedSource, columns_read, narrowed, share_subplans, shared_source,
};
