//! Ctrl-C and SIGTERM: the first stops the running query, the second the process.
//!
//! Giving the disk space of large files back (spill files, outputs that are not finished) takes the
//! system seconds, and a process is not gone before that is done. So that the prompt returns at
//! once, another process is given handles of the files at the first signal: the one that ends last
//! pays. It waits for the end of this one and touches nothing.

use std::fs::File;
use std::process::{self, Command, Stdio};
use std::sync::{Arc, Mutex};

use gristmill::{Cancel, Error, Result};

use crate::report::code;

/// Bytes of a file from which on another process is asked to give them back.
const LARGE_BYTES: u64 = 64 << 20;

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
            process::exit(i32::from(code::INTERRUPTED));
        }
        large_files().into_iter().for_each(leave_to_another);
        if let Some(query) = &state.query {
            query.interrupt();
        }
    }
}

/// Further handles of the large files that this process writes, where the system lists them.
#[cfg(target_os = "linux")]
fn large_files() -> Vec<File> {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    // The entry of a file that was opened for reading alone cannot be written.
    let is_written = |path: &PathBuf| {
        fs::symlink_metadata(path).is_ok_and(|entry| entry.permissions().mode() & 0o200 != 0)
    };
    let is_large = |path: &PathBuf| {
        fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() >= LARGE_BYTES)
    };
    let Ok(open) = fs::read_dir("/proc/self/fd") else { return Vec::new() };
    let paths = open.flatten().map(|entry| entry.path());
    let large = paths.filter(|path| is_written(path) && is_large(path));
    large.filter_map(|path| File::open(path).ok()).collect()
}

#[cfg(not(target_os = "linux"))]
fn large_files() -> Vec<File> {
    Vec::new()
}

/// Gives the handle to a process that outlives this one by a moment. Nothing is lost when that
/// fails: this process then takes longer to end.
fn leave_to_another(file: File) {
    // It reads from a pipe that this process holds open, until that is closed by its end.
    let waiting =
        Command::new("cat").stdin(Stdio::piped()).stdout(file).stderr(Stdio::null()).spawn();
    if let Ok(waiting) = waiting {
        std::mem::forget(waiting.stdin);
    }
}
