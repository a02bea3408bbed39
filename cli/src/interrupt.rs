//! Ctrl-C and SIGTERM: the first stops the running query, the second the process.
//!
//! Binding and planning cannot be stopped from outside. Where a query has not ended some seconds
//! after the first signal, the process ends as after a second one.
//!
//! So that the prompt returns at once, what the process holds is left to an heir.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use gristmill::{Cancel, Error, Result};

use crate::ending;
use crate::report::code;

/// How long a query may go on that has been told to stop; what runs looks after every chunk.
const GRACE: Duration = Duration::from_secs(5);

/// The query that a signal stops. Clones are the same.
#[derive(Clone)]
pub struct Interrupt {
    running: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    query: Option<Cancel>,
    was_raised: bool,
}

impl Interrupt {
    /// Takes the process's signals.
    ///
    /// # Errors
    /// `Internal` when the system refuses a handler.
    pub fn install() -> Result<Interrupt> {
        let interrupt = Interrupt { running: Arc::default() };
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
            ending::end(code::INTERRUPTED);
        }
        ending::appoint_heir();
        if let Some(query) = &state.query {
            query.interrupt();
        }
        // Without it nothing but the grace is lost.
        let _ = thread::Builder::new().spawn(|| {
            thread::sleep(GRACE);
            ending::end(code::INTERRUPTED);
        });
    }
}
