//! What a terminal has room for, and how wide text is on it.

use std::io::{self, IsTerminal};

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::terminal;

/// The terminal that results are printed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Screen {
    /// Characters in a line.
    pub width: usize,
    /// Rows of a table to print; 0 for all.
    pub rows: usize,
}

impl Screen {
    /// The terminal that standard output is, if it is one.
    pub fn of_stdout(rows: usize) -> Option<Screen> {
        if !io::stdout().is_terminal() {
            return None;
        }
        let width = terminal::columns().unwrap_or(80).max(20);
        Some(Screen { width: usize::from(width), rows })
    }
}

/// Places that a text takes in a line.
pub fn width(text: &str) -> usize {
    text.width()
}

/// The text in at most this many places; what is cut off is shown by a dot.
pub fn cut(text: &str, places: usize) -> String {
    if width(text) <= places {
        return text.to_string();
    }
    let mut kept = String::new();
    let mut used = 0;
    for c in text.chars() {
        let next = c.width().unwrap_or(0);
        if used + next + 1 > places {
            break;
        }
        used += next;
        kept.push(c);
    }
    kept.push('…');
    kept
}

/// The text without anything that would break a line or move the cursor.
pub fn one_line(text: String) -> String {
    if !text.contains(|c: char| c.is_control()) {
        return text;
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if c.is_control() { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_by_places_and_not_by_characters() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abcd", 3), "ab…");
        assert_eq!(cut("日本語", 6), "日本語");
        assert_eq!(cut("日本語", 5), "日本…");
        assert_eq!(cut("日本語", 4), "日…");
        assert_eq!(one_line("a\tb\u{1b}[2J\n".to_string()), "a\\tb\\u{1b}[2J\\n");
    }
}
