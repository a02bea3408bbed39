//! Hands out the records of a file that cannot be cut in arbitrary places: objects over several
//! lines, or the items of one array.
//!
//! Whoever comes for records reads the next bytes and finds out where the last record in them ends
//! (one look at each byte), which the others wait for; values are parsed side by side.
//!
//! Concurrency: one lock, held while bytes are read and looked through.
//! Memory: the bytes behind the last whole record, charged to a reservation of the feed.

use std::sync::{Arc, Mutex};

use super::records::Layout;
use crate::error::{Error, Result};
use crate::memory::Reservation;
use crate::sources::file::InputFile;
use crate::sources::text::locate::Locator;
use crate::sources::text::window::{BOM, PADDING, Window};

/// Bytes read at once.
const READ_BYTES: usize = 1 << 20;

/// Positions within a window are 32 bits.
const WINDOW_BYTES_MAX: usize = i32::MAX as usize;

/// Consecutive records of a file, in a window.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    pub(super) number: u64,
    pub(super) is_first: bool,
    pub(super) is_last: bool,
}

/// The records of one file; see the module documentation.
pub(super) struct Feed {
    layout: Layout,
    read_bytes: usize,
    state: Mutex<State>,
}

struct State {
    /// Read, but not handed out.
    rest: Vec<u8>,
    /// Position of `rest` in the file.
    base: u64,
    number: u64,
    is_over: bool,
    held: Reservation,
}

impl Feed {
    /// The records of a file, from its start.
    pub(super) fn new(layout: Layout, held: Reservation) -> Self {
        Self::with_steps(layout, held, READ_BYTES)
    }

    /// As [`Feed::new`], reading so many bytes at once.
    pub(super) fn with_steps(layout: Layout, held: Reservation, read_bytes: usize) -> Self {
        let state = State { rest: Vec::new(), base: 0, number: 0, is_over: false, held };
        Feed { layout, read_bytes: read_bytes.max(1), state: Mutex::new(state) }
    }

    /// Puts the next records into `window`; `None` when there are no more.
    ///
    /// # Errors
    /// `Io` when the file cannot be read, `Input` when it changed or is not UTF-8, `OutOfMemory`
    /// when a record does not fit the budget.
    pub(super) fn take(
        &self,
        file: &Arc<InputFile>,
        window: &mut Window,
        held: &mut Reservation,
    ) -> Result<Option<Piece>> {
        let mut state = self.state.lock().unwrap_or_else(|e| e.into_inner());
        if state.is_over {
            return Ok(None);
        }
        let is_first = state.number == 0;
        let mut bytes = window.take();
        bytes.clear();
        let needed = state.rest.len().max(self.read_bytes) + self.read_bytes + PADDING;
        held.grow(needed.saturating_sub(bytes.capacity()))?;
        bytes.reserve_exact(needed.saturating_sub(bytes.len()));
        bytes.extend_from_slice(&state.rest);
        let base = state.base;
        let mut ends = RecordEnds::new(self.layout, is_first);
        let mut looked_at = 0;
        let (end, is_last) = loop {
            let found = ends.last_in(bytes.get(looked_at..).unwrap_or_default());
            looked_at = bytes.len();
            let at_end = base + bytes.len() as u64 == file.size();
            match found {
                _ if at_end => break (bytes.len(), true),
                Some(end) if bytes.len() >= self.read_bytes => break (end, false),
                _ => {}
            }
            self.extend(file, base, &mut bytes, held).map_err(|e| too_long(file, base, e))?;
        };
        state.rest = bytes.get(end..).unwrap_or_default().to_vec();
        let rest_bytes = state.rest.capacity();
        state.held.resize_to(rest_bytes)?;
        state.base = base + end as u64;
        state.is_over = is_last;
        let number = state.number;
        state.number += 1;
        drop(state);
        let begin = if is_first && bytes.starts_with(BOM) { BOM.len() } else { 0 };
        window.set(file, bytes, base, (begin, end))?;
        Ok(Some(Piece { number, is_first, is_last }))
    }

    /// Begins again with the first record.
    pub(super) fn reset(&self) -> Result<()> {
        let mut state = self.state.lock().unwrap_or_else(|e| e.into_inner());
        (state.rest, state.base, state.number, state.is_over) = (Vec::new(), 0, 0, false);
        state.held.resize_to(0)
    }

    /// Reads as many bytes again as there are, at least a step's.
    fn extend(
        &self,
        file: &Arc<InputFile>,
        base: u64,
        bytes: &mut Vec<u8>,
        held: &mut Reservation,
    ) -> Result<()> {
        let from = bytes.len();
        let left = usize::try_from(file.size() - base - from as u64).unwrap_or(usize::MAX);
        let len = from + from.max(self.read_bytes).min(left);
        if len > WINDOW_BYTES_MAX {
            return Err(Error::input("a record of more than 2 GiB"));
        }
        if bytes.capacity() < len + PADDING {
            held.grow(len + PADDING - bytes.capacity())?;
            bytes.reserve_exact(len + PADDING - from);
        }
        bytes.resize(len, 0);
        file.read_at(base + from as u64, bytes.get_mut(from..).unwrap_or_default())
    }
}

/// Names the record that was too long.
fn too_long(file: &Arc<InputFile>, base: u64, error: Error) -> Error {
    let hint = "perhaps a brace, a bracket or a quote is never closed";
    match error {
        Error::OutOfMemory { who, asked_bytes, detail } => Error::OutOfMemory {
            who: format!(
                "{who}, for the record at byte {base} of {} ({hint}),",
                file.path().display()
            ),
            asked_bytes,
            detail,
        },
        Error::Input { message, .. } => {
            Locator::new(file).error(base, format!("{message}; {hint}"))
        }
        other => other,
    }
}

/// Finds where records end, without asking whether they are well formed.
struct RecordEnds {
    /// Bytes passed.
    at: usize,
    /// How many braces and brackets are open, and how many of them around the records.
    depth: usize,
    around: usize,
    in_string: bool,
    is_escaped: bool,
    /// Whether a line end outside of everything is the end of a record.
    by_line: bool,
    last: Option<usize>,
}

impl RecordEnds {
    fn new(layout: Layout, is_first: bool) -> Self {
        let around = usize::from(layout == Layout::Array);
        RecordEnds {
            at: 0,
            depth: if is_first { 0 } else { around },
            around,
            in_string: false,
            is_escaped: false,
            by_line: layout != Layout::Array,
            last: None,
        }
    }

    /// The byte behind the last record that ends in these bytes or in those before them.
    fn last_in(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            at += 1;
            if self.in_string {
                if std::mem::take(&mut self.is_escaped) {
                    continue;
                }
                match byte {
                    b'"' => self.in_string = false,
                    b'\\' => self.is_escaped = true,
                    _ => {
                        let rest = bytes.get(at..).unwrap_or_default();
                        at += memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
                    }
                }
                continue;
            }
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == self.around {
                        self.last = Some(self.at + at);
                    }
                }
                b'\n' if self.by_line && self.depth == 0 => self.last = Some(self.at + at),
                _ => {}
            }
        }
        self.at += bytes.len();
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Governor;
    use crate::sources::file::FileRef;

    fn pieces(text: &str, layout: Layout, step: usize) -> Vec<String> {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("a.json");
        std::fs::write(&path, text).expect("writes");
        let file = Arc::new(InputFile::open(&FileRef::of(&path).expect("there")).expect("opens"));
        let governor = Governor::unlimited();
        let reserve = || governor.reserve("feed", 0).expect("fits");
        let feed = Feed::with_steps(layout, reserve(), step);
        let (mut window, mut held, mut found) = (Window::default(), reserve(), Vec::new());
        while let Some(piece) = feed.take(&file, &mut window, &mut held).expect("reads") {
            assert_eq!(piece.number, found.len() as u64);
            assert_eq!(piece.is_first, found.is_empty());
            found.push(window.text()[window.lines.0..window.lines.1].to_string());
        }
        found
    }

    #[test]
    fn pieces_end_with_records_and_are_the_whole_file() {
        let values = "{\"a\":\"}\\\"{\"}\n{\"b\":[{},\n{}]} {}\n\n{\"c\":1}";
        let array = "[{\"a\":\"]\\\\\"},\n{\"b\":[[1],2]},{},\n {\"c\":{\"d\":1}} ]\n";
        for (layout, text) in [(Layout::Values, values), (Layout::Array, array)] {
            for step in [1, 2, 3, 7, 16, 1000] {
                let found = pieces(text, layout, step);
                assert_eq!(found.concat(), text);
                for piece in &found[..found.len() - 1] {
                    assert!(piece.ends_with(['}', '\n']), "{piece}");
                }
            }
        }
        assert!(pieces(values, Layout::Values, 4).len() > 3);
    }
}
