//! Turns a position in a file into a line and a column, when an error is to be reported: only
//! then are lines counted, by reading the file once more from its start.

use crate::error::{Error, Position, Result};
use crate::sources::InputFile;

/// Bytes read at a time.
const STEP: u64 = 256 << 10;

/// Longest field that an error shows whole, in characters.
const SHOWN_CHARS: usize = 60;

/// Finds places in one file.
pub(in crate::sources) struct Locator<'a> {
    file: &'a InputFile,
}

impl<'a> Locator<'a> {
    pub(in crate::sources) fn new(file: &'a InputFile) -> Self {
        Locator { file }
    }

    /// Line and column of the byte at `offset`. Lines end with `\n`, or with `\r` when the file
    /// has no `\n` before `offset`; they are counted inside quotes too, as editors do.
    pub(in crate::sources) fn position(&self, offset: u64) -> Result<Position> {
        let line_feeds = self.count(offset, b'\n')?;
        let (lines, last_end) = match line_feeds {
            (0, _) => self.count(offset, b'\r')?,
            found => found,
        };
        let column = self.characters(last_end, offset)? + 1;
        Ok(Position { file: Some(self.file.path().to_path_buf()), line: lines + 1, column })
    }

    /// How many bytes `end` there are before `offset`, and the position behind the last one.
    fn count(&self, offset: u64, end: u8) -> Result<(u64, u64)> {
        let (mut lines, mut last_end) = (0, 0);
        self.read(0, offset, |at, bytes| {
            for newline in memchr::memchr_iter(end, bytes) {
                lines += 1;
                last_end = at + newline as u64 + 1;
            }
        })?;
        Ok((lines, last_end))
    }

    fn characters(&self, from: u64, to: u64) -> Result<u64> {
        let mut characters = 0;
        self.read(from, to, |_, bytes| {
            characters += bytes.iter().filter(|&&byte| byte & 0xc0 != 0x80).count() as u64;
        })?;
        Ok(characters)
    }

    fn read(&self, from: u64, to: u64, mut each: impl FnMut(u64, &[u8])) -> Result<()> {
        let mut buffer = vec![0; (to - from).min(STEP) as usize];
        let mut at = from;
        while at < to {
            let len = (to - at).min(STEP) as usize;
            self.file.read_at(at, &mut buffer[..len])?;
            each(at, &buffer[..len]);
            at += len as u64;
        }
        Ok(())
    }

    /// The error for what is wrong at `offset`.
    pub(in crate::sources) fn error(&self, offset: u64, message: String) -> Error {
        match self.position(offset) {
            Ok(position) => Error::input_at(message, position),
            Err(error) => error,
        }
    }
}

/// A field for an error message: its beginning, without control characters.
pub(in crate::sources) fn shown(field: &[u8]) -> String {
    let text = String::from_utf8_lossy(field);
    let mut shown: String = text.chars().take(SHOWN_CHARS).flat_map(printable).collect();
    if text.chars().nth(SHOWN_CHARS).is_some() {
        shown.push('…');
    }
    shown
}

fn printable(character: char) -> impl Iterator<Item = char> {
    let control = character.is_control();
    let escaped = control.then(|| character.escape_default());
    escaped.into_iter().flatten().chain((!control).then_some(character))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::FileRef;

    #[test]
    fn lines_and_columns_count_from_one_in_characters() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("a.csv");
        std::fs::write(&path, "ä,b\r\n\"x\ny\",žz,1\n").expect("writes");
        let file = InputFile::open(&FileRef::of(&path).expect("there")).expect("opens");
        let locator = Locator::new(&file);
        for (offset, line, column) in [(0, 1, 1), (3, 1, 3), (6, 2, 1), (15, 3, 6)] {
            let found = locator.position(offset).expect("reads");
            assert_eq!((found.line, found.column), (line, column), "offset {offset}");
        }
        assert_eq!(shown(b"a\tb"), "a\\tb");
        assert_eq!(shown("é".repeat(100).as_bytes()).chars().count(), 61);
    }
}
