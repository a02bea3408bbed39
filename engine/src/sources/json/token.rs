//! Finds where JSON values end, and that they are well formed (RFC 8259), eight bytes at a time
//! inside strings. `NaN`, `Infinity` and `-Infinity` are numbers, which JSON has not, but others
//! write.
//!
//! Positions are into bytes with zeros behind them (see `text::window`), so that nothing is read
//! beyond the end: a zero is no part of any value.

/// Deepest nesting that is read.
const DEPTH_MAX: usize = 128;

const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// What is wrong with a text, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fault {
    /// First byte of what is wrong.
    pub(super) begin: usize,
    /// The byte behind it.
    pub(super) end: usize,
    pub(super) what: What,
}

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// It is not JSON.
    Malformed(&'static str),
    /// A record is no object.
    NoObject,
    /// A key is not among the columns found from a sample.
    UnknownKey,
    /// A key stands twice in one object.
    SecondKey,
    /// A value is not of the type of its column.
    Unfit,
}

impl Fault {
    /// Something that is not JSON at `at`.
    #[cold]
    pub(super) fn malformed(at: usize, what: &'static str) -> Fault {
        Fault { begin: at, end: at + 1, what: What::Malformed(what) }
    }
}

/// The byte at `at`; a zero behind the end.
#[inline]
pub(super) fn byte(bytes: &[u8], at: usize) -> u8 {
    bytes.get(at).copied().unwrap_or(0)
}

/// The first byte at `at` or behind that is no blank. With `ONE_LINE`, line feeds are none.
#[inline]
pub(super) fn blanks<const ONE_LINE: bool>(bytes: &[u8], mut at: usize) -> usize {
    loop {
        match byte(bytes, at) {
            b' ' | b'\t' | b'\r' => at += 1,
            b'\n' if !ONE_LINE => at += 1,
            _ => return at,
        }
    }
}

/// The byte behind the value that begins at `at`.
#[inline]
pub(super) fn value<const ONE_LINE: bool>(bytes: &[u8], at: usize) -> Result<usize, Fault> {
    match byte(bytes, at) {
        b'"' => string(bytes, at),
        b'-' | b'0'..=b'9' => number(bytes, at),
        _ => other::<ONE_LINE>(bytes, at, 0),
    }
}

fn other<const ONE_LINE: bool>(bytes: &[u8], at: usize, depth: usize) -> Result<usize, Fault> {
    match byte(bytes, at) {
        b't' => word(bytes, at, b"true"),
        b'f' => word(bytes, at, b"false"),
        b'n' => word(bytes, at, b"null"),
        b'{' | b'[' if depth >= DEPTH_MAX => {
            Err(Fault::malformed(at, "values nest more than 128 deep here"))
        }
        b'{' => members::<ONE_LINE>(bytes, at, depth + 1),
        b'[' => items::<ONE_LINE>(bytes, at, depth + 1),
        b'"' => string(bytes, at),
        b'-' | b'0'..=b'9' => number(bytes, at),
        b'N' => word(bytes, at, b"NaN"),
        b'I' => word(bytes, at, b"Infinity"),
        _ => Err(Fault::malformed(at, "a value is missing here")),
    }
}

fn word(bytes: &[u8], at: usize, word: &[u8]) -> Result<usize, Fault> {
    match bytes.get(at..).is_some_and(|rest| rest.starts_with(word)) {
        true => Ok(at + word.len()),
        false => Err(Fault::malformed(at, "a value is missing here")),
    }
}

fn members<const ONE_LINE: bool>(bytes: &[u8], at: usize, depth: usize) -> Result<usize, Fault> {
    let mut at = blanks::<ONE_LINE>(bytes, at + 1);
    if byte(bytes, at) == b'}' {
        return Ok(at + 1);
    }
    loop {
        let key = string(bytes, at)?;
        at = after_colon::<ONE_LINE>(bytes, key)?;
        at = other::<ONE_LINE>(bytes, at, depth)?;
        match next::<ONE_LINE>(bytes, at, b'}')? {
            Next::Another(begin) => at = begin,
            Next::End(end) => return Ok(end),
        }
    }
}

fn items<const ONE_LINE: bool>(bytes: &[u8], at: usize, depth: usize) -> Result<usize, Fault> {
    let mut at = blanks::<ONE_LINE>(bytes, at + 1);
    if byte(bytes, at) == b']' {
        return Ok(at + 1);
    }
    loop {
        at = other::<ONE_LINE>(bytes, at, depth)?;
        match next::<ONE_LINE>(bytes, at, b']')? {
            Next::Another(begin) => at = begin,
            Next::End(end) => return Ok(end),
        }
    }
}

/// What comes behind a member or an item.
pub(super) enum Next {
    /// Another one, which begins there.
    Another(usize),
    /// The end of what holds it; the byte behind.
    End(usize),
}

/// Passes over a comma, or over `close`.
#[inline]
pub(super) fn next<const ONE_LINE: bool>(
    bytes: &[u8],
    at: usize,
    close: u8,
) -> Result<Next, Fault> {
    let at = blanks::<ONE_LINE>(bytes, at);
    match byte(bytes, at) {
        b',' => Ok(Next::Another(blanks::<ONE_LINE>(bytes, at + 1))),
        found if found == close => Ok(Next::End(at + 1)),
        _ if close == b'}' => Err(Fault::malformed(at, "a comma or a closing brace is missing")),
        _ => Err(Fault::malformed(at, "a comma or a closing bracket is missing")),
    }
}

/// The first byte of the value behind a key that ends at `at`.
#[inline]
pub(super) fn after_colon<const ONE_LINE: bool>(bytes: &[u8], at: usize) -> Result<usize, Fault> {
    let at = blanks::<ONE_LINE>(bytes, at);
    match byte(bytes, at) {
        b':' => Ok(blanks::<ONE_LINE>(bytes, at + 1)),
        _ => Err(Fault::malformed(at, "a colon is missing")),
    }
}

/// The byte behind the string that begins at `at`.
#[inline]
pub(super) fn string(bytes: &[u8], at: usize) -> Result<usize, Fault> {
    if byte(bytes, at) != b'"' {
        return Err(Fault::malformed(at, "a key in double quotes is missing"));
    }
    let mut end = at + 1;
    loop {
        let marks = special(load(bytes, end));
        if marks == 0 {
            end += 8;
            continue;
        }
        end += (marks.trailing_zeros() / 8) as usize;
        match byte(bytes, end) {
            b'"' => return Ok(end + 1),
            b'\\' => end = escape(bytes, end)?,
            0 | b'\n' => return Err(Fault::malformed(at, "this string is never closed")),
            _ => {
                let what = "a control character in a string; write it as an escape";
                return Err(Fault::malformed(end, what));
            }
        }
    }
}

/// Eight bytes, the first one lowest; zeros when there are not as many.
#[inline]
fn load(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|b| b.first_chunk::<8>()).map_or(0, |b| u64::from_le_bytes(*b))
}

/// The high bits of bytes that end a run of plain text: a quote, a backslash or a control
/// character. The lowest one is right; those above it need not be.
#[inline]
fn special(word: u64) -> u64 {
    let quote = word ^ (u64::from(b'"') * LOW);
    let backslash = word ^ (u64::from(b'\\') * LOW);
    let quotes = quote.wrapping_sub(LOW) & !quote;
    let backslashes = backslash.wrapping_sub(LOW) & !backslash;
    let controls = word.wrapping_sub(0x20 * LOW) & !word;
    (quotes | backslashes | controls) & HIGH
}

/// The byte behind an escape.
fn escape(bytes: &[u8], at: usize) -> Result<usize, Fault> {
    match byte(bytes, at + 1) {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(at + 2),
        b'u' => {
            let unit = hex(bytes, at + 2).ok_or(Fault::malformed(at, "`\\u` wants four digits"))?;
            let lone = Fault::malformed(at, "half of a surrogate pair");
            match unit {
                0xdc00..=0xdfff => Err(lone),
                0xd800..=0xdbff => {
                    let second = (byte(bytes, at + 6), byte(bytes, at + 7)) == (b'\\', b'u');
                    match hex(bytes, at + 8).filter(|_| second) {
                        Some(0xdc00..=0xdfff) => Ok(at + 12),
                        _ => Err(lone),
                    }
                }
                _ => Ok(at + 6),
            }
        }
        _ => Err(Fault::malformed(at, "JSON has no such escape")),
    }
}

/// The number that four hexadecimal digits are.
pub(super) fn hex(bytes: &[u8], at: usize) -> Option<u32> {
    let digits = bytes.get(at..at + 4)?;
    digits.iter().try_fold(0, |unit, &digit| Some(unit * 16 + char::from(digit).to_digit(16)?))
}

/// The byte behind the number that begins at `at`.
#[inline]
fn number(bytes: &[u8], at: usize) -> Result<usize, Fault> {
    let begin = at + usize::from(byte(bytes, at) == b'-');
    let mut end = digits(bytes, begin);
    if end == begin {
        if byte(bytes, begin) == b'I' {
            return word(bytes, begin, b"Infinity");
        }
        return Err(Fault::malformed(at, "a number without digits"));
    }
    if byte(bytes, begin) == b'0' && end > begin + 1 {
        return Err(Fault::malformed(at, "a number with zeros before its digits"));
    }
    if byte(bytes, end) == b'.' {
        let begin = end + 1;
        end = digits(bytes, begin);
        if end == begin {
            return Err(Fault::malformed(at, "a number without digits behind its point"));
        }
    }
    if matches!(byte(bytes, end), b'e' | b'E') {
        let begin = end + 1 + usize::from(matches!(byte(bytes, end + 1), b'+' | b'-'));
        end = digits(bytes, begin);
        if end == begin {
            return Err(Fault::malformed(at, "a number without digits in its exponent"));
        }
    }
    Ok(end)
}

#[inline]
fn digits(bytes: &[u8], mut at: usize) -> usize {
    while byte(bytes, at).is_ascii_digit() {
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(text: &str) -> Result<usize, Fault> {
        let padded = [text.as_bytes(), &[0; 64]].concat();
        let many = value::<false>(&padded, 0);
        let one = value::<true>(&padded, 0);
        assert!(one == many || text.contains('\n'), "{text}");
        many
    }

    #[test]
    fn values_end_where_they_end() {
        let values = [
            "0",
            "-0",
            "12",
            "-12.50",
            "1e5",
            "1E+5",
            "0.1e-07",
            "true",
            "false",
            "null",
            "\"\"",
            "\"a\"",
            "\"0123456789abcdef\"",
            "\"a\\\"b\"",
            "\"\\u00e9\\ud83c\\udf3e\\n\"",
            "\"žluť\"",
            "[]",
            "[ ]",
            "[1]",
            "[1, [2,\n3], {}]",
            "NaN",
            "-Infinity",
            "[Infinity,NaN]",
            "{}",
            "{ \"a\" : 1 }",
            "{\"a\":{\"b\":[null,true]},\"c\":\"}\"}",
        ];
        for text in values {
            for behind in ["", ",", "}", " x"] {
                assert_eq!(end(&format!("{text}{behind}")), Ok(text.len()), "{text}{behind}");
            }
        }
    }

    #[test]
    fn what_is_not_json_is_found_where_it_is() {
        let cases = [
            ("", 0, "value is missing"),
            ("x", 0, "value is missing"),
            ("nul", 0, "value is missing"),
            ("Nan", 0, "value is missing"),
            ("-NaN", 0, "without digits"),
            ("-Inf", 1, "value is missing"),
            ("-", 0, "without digits"),
            ("01", 0, "zeros before"),
            ("-00", 0, "zeros before"),
            ("1.", 0, "behind its point"),
            ("1e", 0, "exponent"),
            ("1e+", 0, "exponent"),
            ("\"abc", 0, "never closed"),
            ("\"abc\n\"", 0, "never closed"),
            ("\"a\tb\"", 2, "control character"),
            ("\"a\\x\"", 2, "no such escape"),
            ("\"\\u12g4\"", 1, "four digits"),
            ("\"\\ud800\"", 1, "surrogate"),
            ("\"\\ud800\\u0041\"", 1, "surrogate"),
            ("\"\\udc00\"", 1, "surrogate"),
            ("[1", 2, "bracket"),
            ("[1,]", 3, "value is missing"),
            ("[1 2]", 3, "bracket"),
            ("{\"a\"}", 4, "colon"),
            ("{\"a\":}", 5, "value is missing"),
            ("{\"a\":1", 6, "brace"),
            ("{\"a\":1,}", 7, "key"),
            ("{a:1}", 1, "key"),
            ("{\"a\":1]", 6, "brace"),
        ];
        for (text, at, what) in cases {
            let fault = end(text).expect_err(text);
            assert_eq!(fault.begin, at, "{text}");
            assert!(matches!(fault.what, What::Malformed(w) if w.contains(what)), "{fault:?}");
        }
        let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert_eq!(end(&deep(128)), Ok(256));
        assert_eq!(end(&deep(129)).expect_err("too deep").begin, 128);
        assert!(end(&deep(1_000_000)).is_err());
        let open = [b"{\"a\":\n1}".as_slice(), &[0; 64]].concat();
        assert!(value::<true>(&open, 0).is_err(), "a record is on one line");
    }
}
