//! Sinks that write files of row groups: Parquet's row groups, Arrow's record batches.
//!
//! Each worker encodes the rows of its morsel into a group of its own; when the morsel ends, or the
//! group is full, the group is handed to the file, which keeps the order. Morsels that have few
//! rows left (behind a filter, say) are handed over as they are, and share groups.
//!
//! Memory: a group per worker, and the window of `file`. When the budget has no room for a group to
//! grow it is made smaller if it can be, and otherwise ends early.
//! Concurrency: workers encode side by side; only handing bytes to the system, and encoding the
//! rows of small morsels, is one at a time.
//!
//! * `worker`: the sink; `file`: the file under construction.

mod file;
mod worker;

use std::path::Path;

use arrow::array::ArrayRef;
use arrow::datatypes::{Field, SchemaRef};

pub(in crate::sinks) use self::worker::GroupSink;
use super::commit::Output;
use crate::batch::{Chunk, to_logical};
use crate::error::{Error, Result};
use crate::memory::{Governor, Reservation};

/// A group for which memory is short goes on while making it smaller frees this part of it.
const ROOM_SHARE: usize = 4;

/// A format whose files are groups of rows.
pub(in crate::sinks) trait GroupFormat: Send + Sync + 'static {
    /// Rows that are being encoded.
    type Group: Send;
    /// Rows that are encoded.
    type Encoded: Send;
    /// A file under construction.
    type File: Send;

    /// The sink's name, e.g. `write parquet`.
    fn name(&self) -> &'static str;

    /// The file that is written.
    fn path(&self) -> &Path;

    /// What a worker can always have: enough for groups that are not tiny.
    fn minimum_bytes(&self) -> usize;

    /// The columns with the types that are written.
    fn schema(&self) -> &SchemaRef;

    /// The live rows of a chunk, as the arrays that are encoded.
    ///
    /// # Errors
    /// `Input` when a value does not fit the type that is written.
    fn arrays(&self, chunk: &Chunk) -> Result<Vec<ArrayRef>> {
        let columns = chunk.columns().iter().zip(self.schema().fields());
        let arrays = columns.map(|(column, field)| {
            let values = chunk.live_values(column)?;
            let array = to_logical(&values, field.data_type());
            array.map_err(|error| does_not_fit(field, self.path(), error))
        });
        arrays.collect()
    }

    /// An empty group, which takes little at a time where the budget is small.
    ///
    /// # Errors
    /// `Internal` when the format refuses.
    fn begin(&self, memory: &Governor) -> Result<Self::Group>;

    /// Adds rows to a group.
    ///
    /// # Errors
    /// `Internal` when they cannot be encoded.
    fn add(&self, group: &mut Self::Group, arrays: &[ArrayRef]) -> Result<()>;

    /// Rows of a group so far.
    fn rows(&self, group: &Self::Group) -> usize;

    /// Bytes of memory that a group holds.
    fn held_bytes(&self, group: &Self::Group) -> usize;

    /// Makes a group that has no room to grow smaller, where the format can.
    ///
    /// # Errors
    /// `Internal` when it cannot be encoded.
    fn compact(&self, _group: &mut Self::Group) -> Result<()> {
        Ok(())
    }

    /// Ends a group.
    ///
    /// # Errors
    /// `Internal` when it cannot be encoded.
    fn end(&self, group: Self::Group) -> Result<Self::Encoded>;

    /// Bytes of memory that an encoded group holds.
    fn encoded_bytes(&self, encoded: &Self::Encoded) -> usize;

    /// Begins the file.
    ///
    /// # Errors
    /// `Io` when its first bytes cannot be written.
    fn open(&self, output: Output, memory: &Governor) -> Result<Self::File>;

    /// Adds a group to the file; the answer is how many bytes of memory the file remembers its
    /// groups by.
    ///
    /// # Errors
    /// `Io` when it cannot be written, `OutOfMemory` when it cannot be remembered, `Input` when a
    /// file cannot have so many.
    fn append(&self, file: &mut Self::File, encoded: Self::Encoded) -> Result<usize>;

    /// Ends the file.
    ///
    /// # Errors
    /// `Io` when its last bytes cannot be written, `OutOfMemory` when it has no room to do so.
    fn close(&self, file: Self::File) -> Result<Output>;
}

/// Charges what a group holds; when that has no room, the group is made smaller. False when it
/// is to be ended, because it has no room to grow by as much again as is worth it.
fn charged<F: GroupFormat>(
    format: &F,
    group: &mut F::Group,
    charge: &mut Reservation,
) -> Result<bool> {
    let held = format.held_bytes(group);
    if charge_for(charge, held) {
        return Ok(true);
    }
    format.compact(group)?;
    let left = format.held_bytes(group);
    Ok(charge_for(charge, left) && left <= held - held / ROOM_SHARE)
}

/// Charges `held` bytes; when there is no room for them, as few as before.
fn charge_for(charge: &mut Reservation, held: usize) -> bool {
    let charged = charge.bytes();
    charge.shrink(charged.saturating_sub(held));
    charge.try_grow(held.saturating_sub(charged))
}

/// The error for values that their column's declared type cannot hold.
fn does_not_fit(field: &Field, path: &Path, error: Error) -> Error {
    match error {
        Error::Internal(why) if field.data_type().is_decimal() => Error::input(format!(
            "column `{}` has a value that its type cannot hold, so {} cannot be written; cast it \
             to a wider type: {why}",
            field.name(),
            path.display()
        )),
        other => other,
    }
}
