//! Turns a position in a file's content into a line and a column, when an error is to be reported:
//! only then are lines counted, by reading the file once more from its start.

use std::sync::Arc;

use crate::error::{Error, Position, Result};
use crate::sources::{ByteStream, InputFile};

/// Bytes read at a time.
const STEP: u64 = 256 << 10;

/// Longest field that an error shows whole, in characters.
const SHOWN_CHARS: usize = 60;

/// Finds places in one file.
pub(in crate::sources) struct Locator<'a> {
    file: &'a Arc<InputFile>,
}

/// Lines that end with one byte, and the characters behind the last of them.
struct Lines {
    end: u8,
    ended: u64,
    characters: u64,
}

impl Lines {
    fn new(end: u8) -> Self {
        Lines { end, ended: 0, characters: 0 }
    }

    fn read(&mut self, bytes: &[u8]) {
        self.ended += memchr::memchr_iter(self.end, bytes).count() as u64;
        let last = match memchr::memrchr(self.end, bytes) {
            Some(at) => {
                self.characters = 0;
                &bytes[at + 1..]
            }
            None => bytes,
        };
        self.characters += last.iter().filter(|&&byte| byte & 0xc0 != 0x80).count() as u64;
    }
}

impl<'a> Locator<'a> {
    pub(in crate::sources) fn new(file: &'a Arc<InputFile>) -> Self {
        Locator { file }
    }

    /// Line and column of the byte at `offset`. Lines end with `\n`, or with `\r` when the file
    /// has no `\n` before `offset`; they are counted inside quotes too, as editors do.
    pub(in crate::sources) fn position(&self, offset: u64) -> Result<Position> {
        let mut content = ByteStream::open(self.file.clone())?;
        let mut buffer = vec![0; offset.min(STEP) as usize];
        let (mut feeds, mut returns) = (Lines::new(b'\n'), Lines::new(b'\r'));
        let mut left = offset;
        while left > 0 {
            let read = content.read(&mut buffer[..left.min(STEP) as usize])?;
            if read == 0 {
                break;
            }
            feeds.read(&buffer[..read]);
            returns.read(&buffer[..read]);
            left -= read as u64;
        }
        let lines = if feeds.ended > 0 { feeds } else { returns };
        Ok(Position {
            file: Some(self.file.path().to_path_buf()),
            line: lines.ended + 1,
            column: lines.characters + 1,
        })
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
        let file = Arc::new(InputFile::open(&FileRef::of(&path).expect("there")).expect("opens"));
        let locator = Locator::new(&file);
        for (offset, line, column) in [(0, 1, 1), (3, 1, 3), (6, 2, 1), (15, 3, 6)] {
            let found = locator.position(offset).expect("reads");
            assert_eq!((found.line, found.column), (line, column), "offset {offset}");
        }
        assert_eq!(shown(b"a\tb"), "a\\tb");
        assert_eq!(shown("é".repeat(100).as_bytes()).chars().count(), 61);
    }
}
