//! Chunks kept to be read again, in the order of their input: in memory while there is room, on
//! tape otherwise.
//!
//! ```text
//! writer (one per worker) ── finish ─► store ── seal ─► readers (any number, by position)
//!    │ refused or pressed                │ revoked
//!    └───────────► tape ◄────────────────┘
//! ```
//!
//! Phases: each worker of a sink has a [`ChunkWriter`], which copies the live rows of its chunks
//! together and sheds them to a tape of its own when memory is refused to it; its parts are handed
//! to the [`ChunkStore`], which puts them in order when all are there ([`ChunkStore::seal`]). From
//! then on [`ChunkReader`]s take chunks by number, as often as they like.
//!
//! Memory: what is kept is charged to the store's reservation, compact: no chunk pins a page of its
//! source. A store can be revoked at any time, sealed or not. A reader has a window, charged to it.
//! Concurrency: writers own what they keep; the store is behind a lock that readers hold for as
//! long as it takes to clone a chunk, and a revocation for as long as it writes.
//!
//! * `block`: an array as bytes and back; `writer`, `store`, `reader`: see above.
//! * `facts`: what is known of the values.

mod block;
mod facts;
mod reader;
mod store;
#[cfg(test)]
mod tests;
mod writer;

pub use facts::ColumnFacts;
pub use reader::ChunkReader;
pub use store::ChunkStore;
pub use writer::ChunkWriter;
