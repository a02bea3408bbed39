//! LIKE and ILIKE.
//!
//! A pattern is cut at its `%` into segments. The first is tied to the start of the string and the
//! last to its end, unless a `%` stands there; those between are found from left to right, each at
//! its first place behind the one before, which is enough because `%` takes anything. Frequent
//! shapes (a whole string, a prefix, a suffix, a part) have a test of their own.
//!
//! `_` is one character. A backslash, or the escape character given, makes the next character
//! stand for itself; at the end of a pattern it stands for itself. ILIKE compares characters in
//! lower case, those whose lower case is a single character.

use arrow::array::{Array, BooleanArray, StringViewArray};
use arrow::buffer::BooleanBuffer;
use memchr::memmem::Finder;

use super::native::{Native, native};
use super::{Operand, union_nulls};
use crate::error::{Error, Result};
use crate::expr::MatchKind;

/// A pattern made ready for matching.
#[derive(Debug, Clone)]
pub(in crate::expr) struct Pattern {
    shape: Shape,
    fold: bool,
}

#[derive(Debug, Clone)]
enum Shape {
    Whole(String),
    Prefix(String),
    Suffix(String),
    Part(Box<Finder<'static>>),
    General { segments: Vec<Segment>, from_start: bool, to_end: bool },
}

/// What stands between two `%`.
#[derive(Debug, Clone)]
enum Segment {
    Text(Box<Finder<'static>>),
    /// Texts with `_` among them.
    Mixed(Vec<Piece>),
}

#[derive(Debug, Clone)]
enum Piece {
    Text(String),
    AnyCharacter,
}

impl Pattern {
    /// Reads a pattern.
    pub fn new(kind: MatchKind, pattern: &str, escape: Option<char>) -> Pattern {
        let fold = kind == MatchKind::ILike;
        let mut segments: Vec<Vec<Piece>> = vec![Vec::new()];
        let escape = escape.unwrap_or('\\');
        let mut characters = pattern.chars();
        while let Some(character) = characters.next() {
            let pieces = match segments.last_mut() {
                Some(pieces) => pieces,
                None => break,
            };
            match character {
                '%' if character != escape => segments.push(Vec::new()),
                '_' if character != escape => pieces.push(Piece::AnyCharacter),
                _ => {
                    let plain = match character == escape {
                        true => characters.next().unwrap_or(character),
                        false => character,
                    };
                    let plain = if fold { lower(plain) } else { plain };
                    match pieces.last_mut() {
                        Some(Piece::Text(text)) => text.push(plain),
                        _ => pieces.push(Piece::Text(plain.to_string())),
                    }
                }
            }
        }
        Pattern { shape: Shape::new(segments), fold }
    }

    /// Which strings match; NULL slots give anything.
    fn matches_all(&self, array: &StringViewArray) -> BooleanBuffer {
        let rows = array.len();
        if self.fold {
            let mut folded = String::new();
            return BooleanBuffer::collect_bool(rows, |row| {
                fold_into(array.value(row), &mut folded);
                self.shape.matches(&folded)
            });
        }
        match &self.shape {
            Shape::Prefix(prefix) => {
                let start = ViewPrefix::new(prefix);
                BooleanBuffer::collect_bool(rows, |row| {
                    start.may_match(array.views()[row]) && array.value(row).starts_with(prefix)
                })
            }
            shape => BooleanBuffer::collect_bool(rows, |row| shape.matches(array.value(row))),
        }
    }

    fn matches(&self, text: &str) -> bool {
        if self.fold {
            let mut folded = String::new();
            fold_into(text, &mut folded);
            return self.shape.matches(&folded);
        }
        self.shape.matches(text)
    }
}

/// `input [NOT] LIKE pattern` in every row.
///
/// # Errors
/// `Internal` when the input is not a string.
pub(in crate::expr) fn like(
    pattern: &Pattern,
    input: &Operand,
    negated: bool,
) -> Result<BooleanArray> {
    let Native::Text(array) = native(input.array.as_ref()) else {
        return Err(not_text(input));
    };
    let found = pattern.matches_all(array);
    Ok(BooleanArray::new(if negated { !&found } else { found }, array.nulls().cloned()))
}

/// `input [NOT] LIKE pattern` with a pattern per row.
///
/// # Errors
/// `Internal` when an operand is not a string.
pub(in crate::expr) fn like_each(
    kind: MatchKind,
    escape: Option<char>,
    input: &Operand,
    patterns: &Operand,
    rows: usize,
    negated: bool,
) -> Result<BooleanArray> {
    let (Native::Text(texts), Native::Text(sources)) =
        (native(input.array.as_ref()), native(patterns.array.as_ref()))
    else {
        return Err(not_text(input));
    };
    let mut last: Option<(&str, Pattern)> = None;
    let found = BooleanBuffer::collect_bool(rows, |row| {
        let source = sources.value(if patterns.constant { 0 } else { row });
        let text = texts.value(if input.constant { 0 } else { row });
        if last.as_ref().is_none_or(|(known, _)| *known != source) {
            last = Some((source, Pattern::new(kind, source, escape)));
        }
        last.as_ref().is_some_and(|(_, pattern)| pattern.matches(text)) != negated
    });
    Ok(BooleanArray::new(found, union_nulls(input, patterns)))
}

fn not_text(input: &Operand) -> Error {
    Error::internal(format!("LIKE on {}", input.array.data_type()))
}

impl Shape {
    fn new(mut segments: Vec<Vec<Piece>>) -> Shape {
        let from_start = segments.first().is_some_and(|s| !s.is_empty());
        let to_end = segments.last().is_some_and(|s| !s.is_empty());
        let single = segments.len() == 1;
        segments.retain(|pieces| !pieces.is_empty());
        let mut texts = segments.iter_mut().map(|pieces| match &mut pieces[..] {
            [Piece::Text(text)] => Some(std::mem::take(text)),
            _ => None,
        });
        let text = match texts.len() {
            0 => Some(String::new()),
            1 => texts.next().flatten(),
            _ => None,
        };
        match text {
            Some(text) if single => return Shape::Whole(text),
            Some(text) if from_start => return Shape::Prefix(text),
            Some(text) if to_end => return Shape::Suffix(text),
            Some(text) => return Shape::Part(Box::new(Finder::new(&text).into_owned())),
            None => {}
        }
        let segments = segments.into_iter().map(Segment::new).collect();
        // A pattern of one segment is tied at both ends.
        Shape::General { segments, from_start, to_end }
    }

    fn matches(&self, text: &str) -> bool {
        match self {
            Shape::Whole(whole) => text == whole,
            Shape::Prefix(prefix) => text.starts_with(prefix),
            Shape::Suffix(suffix) => text.ends_with(suffix),
            Shape::Part(finder) => finder.find(text.as_bytes()).is_some(),
            Shape::General { segments, from_start, to_end } => {
                general(segments, *from_start, *to_end, text)
            }
        }
    }
}

fn general(mut segments: &[Segment], from_start: bool, to_end: bool, text: &str) -> bool {
    let mut at = 0;
    if from_start && let Some((first, rest)) = segments.split_first() {
        match first.match_at(text, 0) {
            Some(end) if rest.is_empty() && to_end => return end == text.len(),
            Some(end) => at = end,
            None => return false,
        }
        segments = rest;
    }
    let last = match segments.split_last() {
        Some((last, rest)) if to_end => {
            segments = rest;
            Some(last)
        }
        _ => None,
    };
    for segment in segments {
        match segment.find(text, at) {
            Some(end) => at = end,
            None => return false,
        }
    }
    last.is_none_or(|last| last.ends(text, at))
}

impl Segment {
    fn new(pieces: Vec<Piece>) -> Segment {
        match &pieces[..] {
            [Piece::Text(text)] => Segment::Text(Box::new(Finder::new(text).into_owned())),
            _ => Segment::Mixed(pieces),
        }
    }

    /// Where a match that begins at byte `at` ends.
    fn match_at(&self, text: &str, at: usize) -> Option<usize> {
        let rest = text.get(at..)?;
        match self {
            Segment::Text(finder) => {
                rest.as_bytes().starts_with(finder.needle()).then(|| at + finder.needle().len())
            }
            Segment::Mixed(pieces) => {
                let mut rest = rest;
                for piece in pieces {
                    rest = match piece {
                        Piece::Text(text) => rest.strip_prefix(text.as_str())?,
                        Piece::AnyCharacter => {
                            let mut characters = rest.chars();
                            characters.next()?;
                            characters.as_str()
                        }
                    };
                }
                Some(text.len() - rest.len())
            }
        }
    }

    /// Where the first match at or behind byte `at` ends.
    fn find(&self, text: &str, at: usize) -> Option<usize> {
        match self {
            Segment::Text(finder) => {
                let found = finder.find(text.as_bytes().get(at..)?)?;
                Some(at + found + finder.needle().len())
            }
            Segment::Mixed(_) => {
                let mut starts = text.get(at..)?.char_indices().map(|(i, _)| at + i);
                starts.find_map(|start| self.match_at(text, start))
            }
        }
    }

    /// Whether the text ends in a match that begins at or behind byte `at`.
    fn ends(&self, text: &str, at: usize) -> bool {
        let Some(rest) = text.get(at..) else { return false };
        match self {
            Segment::Text(finder) => rest.as_bytes().ends_with(finder.needle()),
            Segment::Mixed(pieces) => {
                let characters: usize = pieces
                    .iter()
                    .map(|piece| match piece {
                        Piece::Text(text) => text.chars().count(),
                        Piece::AnyCharacter => 1,
                    })
                    .sum();
                let mut starts = rest.char_indices().rev().map(|(i, _)| at + i);
                let start = starts.nth(characters.saturating_sub(1));
                start.is_some_and(|start| self.match_at(text, start) == Some(text.len()))
            }
        }
    }
}

/// The first four bytes of a prefix, tested on string views without touching the strings.
struct ViewPrefix {
    bytes: u32,
    mask: u32,
}

impl ViewPrefix {
    fn new(prefix: &str) -> ViewPrefix {
        let mut bytes = [0; 4];
        let mut mask = [0; 4];
        for (i, &byte) in prefix.as_bytes().iter().take(4).enumerate() {
            bytes[i] = byte;
            mask[i] = 0xff;
        }
        ViewPrefix { bytes: u32::from_le_bytes(bytes), mask: u32::from_le_bytes(mask) }
    }

    fn may_match(&self, view: u128) -> bool {
        ((view >> 32) as u32) & self.mask == self.bytes
    }
}

fn fold_into(text: &str, folded: &mut String) {
    folded.clear();
    if text.is_ascii() {
        folded.push_str(text);
        folded.make_ascii_lowercase();
    } else {
        folded.extend(text.chars().map(lower));
    }
}

fn lower(character: char) -> char {
    let mut lower = character.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(single), None) => single,
        _ => character,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn like(text: &str, pattern: &str) -> bool {
        Pattern::new(MatchKind::Like, pattern, None).matches(text)
    }

    #[test]
    fn shapes() {
        for (text, pattern, expected) in [
            ("", "", true),
            ("", "%", true),
            ("", "%%", true),
            ("", "_", false),
            ("a", "", false),
            ("abc", "abc", true),
            ("abc", "ab%", true),
            ("ab", "ab%", true),
            ("abc", "%bc", true),
            ("abc", "%b%", true),
            ("abc", "a%c", true),
            ("ac", "a%c", true),
            ("a", "a%a", false),
            ("aa", "a%a", true),
            ("aba", "ab%ba", false),
            ("abba", "ab%ba", true),
            ("abc", "a_c", true),
            ("a\u{1F33E}c", "a_c", true),
            ("\u{1F33E}", "__", false),
            ("xxabyab", "%a_%ab", true),
            ("xxab", "%a_%ab", false),
            ("special big requests", "%special%requests%", true),
            ("requests special", "%special%requests%", false),
            ("abc", "%_c", true),
            ("c", "%_c", false),
            ("\u{e9}c", "%_c", true),
            ("50%", "50\\%", true),
            ("500", "50\\%", false),
            ("a_b", "%\\_%", true),
            ("ab", "%\\_%", false),
            ("a\\", "a\\", true),
            ("abcabc", "%abc", true),
            ("abcab", "%abc", false),
            ("mississippi", "%iss%ip%i", true),
            ("mississippi", "m%iss%iss%iss%", false),
        ] {
            assert_eq!(like(text, pattern), expected, "'{text}' LIKE '{pattern}'");
        }
    }

    #[test]
    fn escapes_and_case() {
        let pattern = Pattern::new(MatchKind::Like, "10!%!!", Some('!'));
        assert!(pattern.matches("10%!"));
        assert!(!pattern.matches("10x!"));
        assert!(Pattern::new(MatchKind::Like, "a\\%", Some('!')).matches("a\\xyz"));
        let pattern = Pattern::new(MatchKind::ILike, "%\u{c4}PFEL_", None);
        assert!(pattern.matches("Gr\u{fc}ne \u{e4}pfel!"));
        assert!(!pattern.matches("Gr\u{fc}ne Apfel!"));
    }
}
