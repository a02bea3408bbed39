//! The whole lines of one range in memory, as valid UTF-8.
//!
//! Memory: the range and the rest of its last line; a line that is longer than a range makes the
//! window of the range where it begins grow.

use std::sync::Arc;

use super::locate::Locator;
use super::ranges::Range;
use crate::error::{Error, Result};
use crate::memory::Reservation;
use crate::sources::file::InputFile;

/// Bytes read behind a range, where its last line usually ends.
const AHEAD_BYTES: usize = 16 << 10;

/// Zeros behind the bytes of a window: readers look at several bytes at once.
pub(in crate::sources) const PADDING: usize = 64;

/// Positions within a window are 32 bits, and so are lengths of texts.
const WINDOW_BYTES_MAX: usize = i32::MAX as usize;

/// The byte order mark that some programs put before UTF-8.
pub(in crate::sources) const BOM: &[u8] = b"\xef\xbb\xbf";

/// See the module documentation. Kept from range to range, so that its memory is reused.
#[derive(Debug, Default)]
pub(in crate::sources) struct Window {
    /// Bytes outside `lines` are zeros; there are at least [`PADDING`] behind it.
    text: String,
    /// Position in the file of the first byte.
    base: u64,
    /// First byte of the first line, and the byte behind the last one with its line end.
    pub(in crate::sources) lines: (usize, usize),
}

impl Window {
    /// The bytes of the window as text; what is outside of `lines` is zeros.
    pub(in crate::sources) fn text(&self) -> &str {
        &self.text
    }

    /// Position in the file of the byte at `at`.
    pub(in crate::sources) fn offset(&self, at: usize) -> u64 {
        self.base + at as u64
    }

    /// Heap bytes held.
    pub(in crate::sources) fn heap_bytes(&self) -> usize {
        self.text.capacity()
    }

    /// Reads the lines that begin in a range; what is held is charged to `held`, which is at least
    /// as large as the window was.
    ///
    /// # Errors
    /// `Io` when the file cannot be read, `Input` when it changed or is not UTF-8, `OutOfMemory`
    /// when a line does not fit the budget.
    pub(in crate::sources) fn load(
        &mut self,
        file: &Arc<InputFile>,
        range: &Range,
        held: &mut Reservation,
    ) -> Result<()> {
        // The byte before the range says whether a line begins with its first byte.
        self.base = range.from.saturating_sub(1);
        let mut bytes = std::mem::take(&mut self.text).into_bytes();
        bytes.clear();
        let wanted = usize::try_from(range.to - self.base).unwrap_or(usize::MAX);
        self.extend(file, &mut bytes, wanted.saturating_add(AHEAD_BYTES), held)?;
        let first = match range.from {
            0 if bytes.starts_with(BOM) => Some(BOM.len()),
            0 => Some(0),
            _ => memchr::memchr(b'\n', &bytes[..wanted.min(bytes.len())]).map(|at| at + 1),
        };
        let in_range = |first: &usize| range.from == 0 || self.offset(*first) < range.to;
        let Some(first) = first.filter(in_range) else {
            self.lines = (0, 0);
            return self.hold(file, bytes);
        };
        let mut from = first.max(wanted - 1);
        let end = loop {
            if let Some(at) = bytes.get(from..).and_then(|rest| memchr::memchr(b'\n', rest)) {
                break from + at + 1;
            }
            if self.offset(bytes.len()) == file.size() {
                break bytes.len();
            }
            from = bytes.len();
            let longer = bytes.len();
            self.extend(file, &mut bytes, longer, held)
                .map_err(|e| self.too_long(file, first, e))?;
        };
        self.lines = (first, end);
        self.hold(file, bytes)
    }

    /// Takes over bytes that were read elsewhere, at `base` in their file, with the lines at
    /// `lines`.
    ///
    /// # Errors
    /// `Input` when the lines are not UTF-8.
    pub(in crate::sources) fn set(
        &mut self,
        file: &Arc<InputFile>,
        bytes: Vec<u8>,
        base: u64,
        lines: (usize, usize),
    ) -> Result<()> {
        (self.base, self.lines) = (base, lines);
        self.hold(file, bytes)
    }

    /// Gives the memory away, to be used for other bytes.
    pub(in crate::sources) fn take(&mut self) -> Vec<u8> {
        self.lines = (0, 0);
        std::mem::take(&mut self.text).into_bytes()
    }

    /// Reads up to `more` bytes more.
    fn extend(
        &self,
        file: &Arc<InputFile>,
        bytes: &mut Vec<u8>,
        more: usize,
        held: &mut Reservation,
    ) -> Result<()> {
        let from = bytes.len();
        let rest = usize::try_from(file.size() - self.base).unwrap_or(usize::MAX);
        let len = from.saturating_add(more).min(rest);
        if len > WINDOW_BYTES_MAX {
            return Err(Error::input("a line of more than 2 GiB"));
        }
        if bytes.capacity() < len + PADDING {
            held.grow(len + PADDING - bytes.capacity())?;
            bytes.reserve_exact(len + PADDING - from);
        }
        bytes.resize(len, 0);
        file.read_at(self.offset(from), &mut bytes[from..])
    }

    /// Names the line that was too long.
    fn too_long(&self, file: &Arc<InputFile>, first: usize, error: Error) -> Error {
        let what = format!("the line at byte {} of {}", self.offset(first), file.path().display());
        match error {
            Error::OutOfMemory { who, asked_bytes, detail } => {
                Error::OutOfMemory { who: format!("{who}, for {what},"), asked_bytes, detail }
            }
            Error::Input { message, .. } => Locator::new(file).error(self.offset(first), message),
            other => other,
        }
    }

    /// Makes text of the bytes.
    fn hold(&mut self, file: &Arc<InputFile>, mut bytes: Vec<u8>) -> Result<()> {
        let (first, end) = self.lines;
        bytes.truncate(end);
        bytes[..first].fill(0);
        bytes.resize(end + PADDING, 0);
        match String::from_utf8(bytes) {
            Ok(text) => {
                self.text = text;
                Ok(())
            }
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                self.lines = (0, 0);
                let what = "this is not UTF-8; convert the file to UTF-8".to_string();
                Err(Locator::new(file).error(self.offset(at), what))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::ranges::Ranges;
    use super::*;
    use crate::memory::Governor;
    use crate::sources::file::FileRef;

    fn lines(bytes: &[u8], range_bytes: u64) -> Result<Vec<String>> {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("a.txt");
        std::fs::write(&path, bytes).expect("writes");
        let file = Arc::new(InputFile::open(&FileRef::of(&path)?)?);
        let mut held = Governor::unlimited().reserve("lines", 0)?;
        let ranges = Ranges::of(file.size(), range_bytes);
        let (mut window, mut found) = (Window::default(), Vec::new());
        while let Some(range) = ranges.take() {
            window.load(&file, &range, &mut held)?;
            let (first, end) = window.lines;
            found.extend(window.text()[first..end].lines().map(str::to_string));
            if first < end {
                assert!((range.from..range.to).contains(&window.offset(first)) || first == 3);
            }
        }
        Ok(found)
    }

    #[test]
    fn every_line_is_in_one_window_whatever_the_ranges() {
        let texts = ["", "a", "a\n", "\n\nab\n\ncd", "žluťoučký\nkůň\n…\n", "\u{feff}x\ny\n"];
        let long = format!("{}\nb\n{}\n", "a".repeat(100_000), "c".repeat(40_000));
        for text in texts.into_iter().chain([long.as_str()]) {
            let expected: Vec<&str> = text.trim_start_matches('\u{feff}').lines().collect();
            for range_bytes in [1, 2, 3, 5, 8, 1000] {
                if text.len() > 1000 && range_bytes < 1000 {
                    continue;
                }
                assert_eq!(lines(text.as_bytes(), range_bytes).expect("reads"), expected);
            }
        }
    }

    #[test]
    fn what_is_no_utf_8_has_its_place() {
        let error = lines(b"ab\n\xc3\xa9\xff\n", 2).expect_err("no UTF-8").to_string();
        assert!(error.contains("line 2, column 2: this is not UTF-8"), "{error}");
    }
}
