//! Pipelines: a source, transforms and sinks, and the machine that pushes chunks through them.
//!
//! A pipeline is a tree. At its root is a [`Source`], inside are [`Transform`]s and forks, every
//! leaf is a [`Sink`]. Each role has shared state (`&self`, one per pipeline) and owned state per
//! worker (`SourceWorker`, `TransformWorker`, `SinkWorker`), made when a worker starts on the
//! pipeline. A finished sink can be the source of a later pipeline: both hold the same shared
//! state.
//!
//! Life of a pipeline, driven by `run`:
//!
//! ```text
//! ready ─ workers start ─► running ─ last worker combined ─► finishing ─ tasks done ─► finished
//!   ▲                        │ first error, cancellation          │                      │
//!   │                        └────────────► failed ◄──────────────┘                      │
//!   └──────────────────────────────── reset (iterations) ◄───────────────────────────────┘
//! ```
//!
//! * `roles`: the three traits and what their methods may answer; `metered`: roles that are timed.
//! * `order`: which part of the input is complete, for whoever keeps the file order.
//! * `context`: what a role may ask of its surroundings.
//! * `tree`: the shape of one pipeline; `flow`: its stages, and which of them are finished;
//!   `driver`: the pushing loop of one worker, a pure state machine.
//! * `run`: the pipelines of a query on a scheduler; `graph`: which waits for which; `sequence`:
//!   in which order they begin; `progress`: how far they are.
//!
//! Invariants:
//! 1. A chunk handed to `push` or `consume` is consumed, or handed back with `Blocked`.
//! 2. A morsel is worked on by one worker, and its chunks reach each sink in order.
//! 3. After `Finished` from a stage no worker pushes to it any more.

mod context;
mod driver;
mod flow;
mod graph;
mod metered;
mod order;
mod progress;
mod roles;
mod run;
mod sequence;
mod tree;

pub use context::{Context, Query};
pub use metered::Metered;
pub use order::{Lane, Order};
pub use progress::Steps;
pub use roles::{
    Consumed, Pull, Pushed, Sink, SinkWorker, Source, SourceWorker, Step, Transform,
    TransformWorker,
};
pub use run::{Run, Watch};
pub use tree::{Pipeline, PipelineId, Pipelines, Tree};

#[cfg(test)]
pub(crate) mod tests;
