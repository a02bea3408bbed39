//! What stands in a file before its first record: a byte order mark, lines to be left out, and,
//! where there is a header, comments and empty lines.

use super::CsvDialect;

/// The byte order mark that some programs put before UTF-8.
const BOM: &[u8] = b"\xef\xbb\xbf";

/// What may stand there; see the module documentation.
#[derive(Debug, Clone, Default)]
pub(super) struct Preamble {
    skip_lines: u64,
    newline: u8,
    comment: Option<u8>,
    has_header: bool,
}

impl Preamble {
    /// The preamble of files in a dialect.
    pub(super) fn new(dialect: &CsvDialect) -> Self {
        let byte = |mark: char| u8::try_from(mark).ok();
        Preamble {
            skip_lines: dialect.skip_lines,
            newline: byte(dialect.newline).unwrap_or(b'\n'),
            comment: dialect.comment.and_then(byte),
            has_header: dialect.header,
        }
    }

    /// The position of the first record in a file that begins with `bytes`, and is `whole` with
    /// them; `None` when more of them are needed to tell.
    pub(super) fn end(&self, bytes: &[u8], whole: bool) -> Option<usize> {
        if !whole && bytes.len() < BOM.len() {
            return None;
        }
        let mut at = if bytes.starts_with(BOM) { BOM.len() } else { 0 };
        for _ in 0..self.skip_lines {
            match self.line_end(bytes, at) {
                Some(end) => at = end,
                None => return whole.then_some(bytes.len()),
            }
        }
        if !self.has_header {
            return Some(at);
        }
        loop {
            let rest = &bytes[at..];
            at += rest.iter().take_while(|byte| matches!(byte, b'\n' | b'\r')).count();
            match bytes.get(at) {
                None => return whole.then_some(at),
                Some(byte) if Some(*byte) != self.comment => return Some(at),
                Some(_) => match self.line_end(bytes, at) {
                    Some(end) => at = end,
                    None => return whole.then_some(bytes.len()),
                },
            }
        }
    }

    /// The position behind the line end at `from` or behind.
    fn line_end(&self, bytes: &[u8], from: usize) -> Option<usize> {
        let line = bytes.get(from..)?;
        memchr::memchr(self.newline, line).map(|at| from + at + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(text: &str, skip_lines: u64, comment: Option<char>, header: bool) -> Option<usize> {
        let dialect = CsvDialect { skip_lines, comment, header, ..CsvDialect::default() };
        let preamble = Preamble::new(&dialect);
        let whole = preamble.end(text.as_bytes(), true).expect("whole");
        for len in 0..text.len() {
            let part = preamble.end(&text.as_bytes()[..len], false);
            assert!(part.is_none_or(|at| at == whole), "{text:?} cut at {len}");
        }
        text.as_bytes().get(whole).map(|_| whole)
    }

    #[test]
    fn the_first_record_is_found_however_little_is_at_hand() {
        assert_eq!(end("a,b\n", 0, None, true), Some(0));
        assert_eq!(end("\u{feff}a,b\n", 0, None, false), Some(3));
        assert_eq!(end("\n\r\na", 0, None, true), Some(3));
        assert_eq!(end("\n\r\na", 0, None, false), Some(0));
        assert_eq!(end("x\n\"y\na,b\n", 2, None, true), Some(5));
        assert_eq!(end("# x\n\n#y\na\n", 0, Some('#'), true), Some(8));
        assert_eq!(end("# x\na\n", 0, Some('#'), false), Some(0));
        assert_eq!(end("\u{feff}x\n#y\na", 1, Some('#'), true), Some(8));
        assert_eq!(end("x\n", 3, None, true), None);
        assert_eq!(end("# only", 0, Some('#'), true), None);
        assert_eq!(end("", 1, None, true), None);
    }
}
