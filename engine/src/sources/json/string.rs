//! Strings without their quotes and escapes.

use std::borrow::Cow;

use super::token::hex;

/// The text of a well-formed string, given without its quotes.
pub(super) fn unescaped(inner: &str) -> Cow<'_, str> {
    match memchr::memchr(b'\\', inner.as_bytes()) {
        None => Cow::Borrowed(inner),
        Some(at) => Cow::Owned(replaced(inner, at)),
    }
}

#[cold]
fn replaced(inner: &str, first: usize) -> String {
    let bytes = inner.as_bytes();
    let mut text = String::with_capacity(inner.len());
    let (mut done, mut next) = (0, Some(first));
    while let Some(at) = next {
        text.push_str(inner.get(done..at).unwrap_or_default());
        let (character, length) = character(bytes, at);
        text.push(character);
        done = at + length;
        next = bytes.get(done..).and_then(|rest| memchr::memchr(b'\\', rest)).map(|n| done + n);
    }
    text.push_str(inner.get(done..).unwrap_or_default());
    text
}

/// What the escape at `at` stands for, and its length.
fn character(bytes: &[u8], at: usize) -> (char, usize) {
    let plain = match bytes.get(at + 1) {
        Some(b'n') => '\n',
        Some(b't') => '\t',
        Some(b'r') => '\r',
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'u') => {
            let unit = |at| hex(bytes, at).unwrap_or(0xfffd);
            let high = unit(at + 2);
            if !(0xd800..0xdc00).contains(&high) {
                return (char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER), 6);
            }
            let low = unit(at + 8).wrapping_sub(0xdc00);
            let both = (0x1_0000 + ((high - 0xd800) << 10)).wrapping_add(low);
            return (char::from_u32(both).unwrap_or(char::REPLACEMENT_CHARACTER), 12);
        }
        Some(&other) => char::from(other),
        None => char::REPLACEMENT_CHARACTER,
    };
    (plain, 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_replaced() {
        for (inner, text) in [
            ("", ""),
            ("plain ž", "plain ž"),
            ("\\n", "\n"),
            ("a\\\\b\\\"c\\/", "a\\b\"c/"),
            ("\\t\\r\\b\\f", "\t\r\u{8}\u{c}"),
            ("ž\\u017e\\u0000x", "žž\u{0}x"),
            ("\\ud83c\\udf3e!", "\u{1f33e}!"),
            ("\\\\n", "\\n"),
        ] {
            assert_eq!(unescaped(inner), text);
        }
    }
}
