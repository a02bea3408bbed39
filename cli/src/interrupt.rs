//! Ctrl-C and SIGTERM: the first stops the running query, the second the process.
//!
//! Giving the disk space of large spill files back takes the system seconds, and a process is not
//! gone before that is done. So that the prompt returns at once, another process is given handles
//! of the files at the first signal: the one that ends last pays. It waits for the end of this one
//! and touches nothing.

use std::process::{self, Command, Stdio};
use std::sync::{Arc, Mutex};

use gristmill::memory::Governor;
use gristmill::memory::spill::SpillSpace;
use gristmill::{Cancel, Error, Result};

use crate::report::code;

/// Spilled bytes from which on another process is asked to give them back.
const LARGE_BYTES: u64 = 64 << 20;

/// The query that a signal stops. Clones are the same.
#[derive(Clone)]
pub struct Interrupt {
    running: Arc<Mutex<State>>,
    spill: SpillSpace,
}

#[derive(Default)]
struct State {
    query: Option<Cancel>,
    was_raised: bool,
}

impl Interrupt {
    /// Takes the process's signals, for queries that spill where `memory` says.
    ///
    /// # Errors
    /// `Internal` when the system refuses a handler.
    pub fn install(memory: &Governor) -> Result<Interrupt> {
        let interrupt = Interrupt { running: Arc::default(), spill: memory.spill().clone() };
        let handler = interrupt.clone();
        ctrlc::set_handler(move || handler.raise())
            .map_err(|e| Error::internal(format!("no handler for signals: {e}")))?;
        Ok(interrupt)
    }

    /// The flag for the next query; raised already when a signal has come before.
    pub fn next_query(&self) -> Cancel {
        let cancel = Cancel::new();
        let mut state = self.running.lock().unwrap_or_else(|e| e.into_inner());
        if state.was_raised {
            cancel.interrupt();
        }
        state.query = Some(cancel.clone());
        cancel
    }

    fn raise(&self) {
        let mut state = self.running.lock().unwrap_or_else(|e| e.into_inner());
        if std::mem::replace(&mut state.was_raised, true) {
            process::exit(i32::from(code::INTERRUPTED));
        }
        if self.spill.usage().used >= LARGE_BYTES {
            leave_to_another(&self.spill);
        }
        if let Some(query) = &state.query {
            query.interrupt();
        }
    }
}

/// Gives handles of the spill files to processes that outlive this one by a moment. Nothing is
/// lost when that fails: this process then takes longer to end.
fn leave_to_another(spill: &SpillSpace) {
    for file in spill.handles().unwrap_or_default() {
        // It reads from a pipe that this process holds open, until that is closed by its end.
        let waiting =
            Command::new("cat").stdin(Stdio::piped()).stdout(file).stderr(Stdio::null()).spawn();
        if let Ok(waiting) = waiting {
            std::mem::forget(waiting.stdin);
        }
    }
}
