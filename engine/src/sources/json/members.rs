//! The members of an object, as positions of their values: records of a file and nested objects
//! alike.
//!
//! Objects of one file mostly have the same keys in the same order. So the key that came next the
//! last time is compared with the text as it stands, and looked up by name only when it is not
//! there.

use std::collections::HashMap;

use super::string::unescaped;
use super::token::{Fault, Next, What, after_colon, blanks, byte, next, string, value};

/// Where a value is: its first byte and the byte behind it. Empty when the value is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Span {
    pub(super) begin: u32,
    pub(super) end: u32,
}

impl Span {
    /// A value that is not there.
    pub(super) const MISSING: Span = Span { begin: 0, end: 0 };

    /// Both positions.
    pub(super) fn range(self) -> std::ops::Range<usize> {
        self.begin as usize..self.end as usize
    }
}

/// The keys of an object that are known.
#[derive(Debug)]
pub(super) struct Keys {
    keys: Vec<Key>,
    by_name: HashMap<Box<str>, usize>,
    /// Whether a key that is not known is an error.
    is_closed: bool,
    /// Objects read so far.
    object: u64,
}

#[derive(Debug)]
struct Key {
    /// The key with its quotes, when it can be written in one way only.
    quoted: Option<Box<[u8]>>,
    /// Where its value is to go.
    slot: Option<usize>,
    /// The object that had it last.
    seen: u64,
}

impl Keys {
    /// Keys by name, each with the slot that its value goes to.
    pub(super) fn new<'a>(
        names: impl IntoIterator<Item = (&'a str, Option<usize>)>,
        is_closed: bool,
    ) -> Self {
        let (mut keys, mut by_name) = (Vec::new(), HashMap::new());
        for (name, slot) in names {
            by_name.insert(name.into(), keys.len());
            let plain = |b: u8| b >= 0x20 && b != b'"' && b != b'\\';
            let quoted = name.bytes().all(plain).then(|| format!("\"{name}\"").into_bytes());
            keys.push(Key { quoted: quoted.map(Vec::into_boxed_slice), slot, seen: 0 });
        }
        Keys { keys, by_name, is_closed, object: 0 }
    }

    /// Reads the object that begins at `at` and puts the positions of its values into `spans`. The
    /// answer is the byte behind it.
    pub(super) fn read<const ONE_LINE: bool>(
        &mut self,
        text: &str,
        at: usize,
        spans: &mut [Span],
    ) -> Result<usize, Fault> {
        let bytes = text.as_bytes();
        if byte(bytes, at) != b'{' {
            return Err(no_object::<ONE_LINE>(bytes, at));
        }
        self.object += 1;
        let mut at = blanks::<ONE_LINE>(bytes, at + 1);
        if byte(bytes, at) == b'}' {
            return Ok(at + 1);
        }
        let mut expected = 0;
        loop {
            let (key, behind) = self.key(text, at, expected)?;
            let begin = after_colon::<ONE_LINE>(bytes, behind)?;
            let end = value::<ONE_LINE>(bytes, begin)?;
            if let Some(number) = key {
                self.note(number, (at, behind), (begin, end), spans)?;
                expected = number + 1;
            }
            match next::<ONE_LINE>(bytes, end, b'}')? {
                Next::Another(begin) => at = begin,
                Next::End(end) => return Ok(end),
            }
        }
    }

    /// The number of the key at `at`, if it is known, and the byte behind it.
    #[inline]
    fn key(&self, text: &str, at: usize, expected: usize) -> Result<(Option<usize>, usize), Fault> {
        let bytes = text.as_bytes();
        if let Some(Key { quoted: Some(quoted), .. }) = self.keys.get(expected)
            && bytes.get(at..).is_some_and(|rest| rest.starts_with(quoted))
        {
            return Ok((Some(expected), at + quoted.len()));
        }
        let end = string(bytes, at)?;
        let name = unescaped(text.get(at + 1..end - 1).unwrap_or_default());
        match self.by_name.get(name.as_ref()) {
            Some(&number) => Ok((Some(number), end)),
            None if self.is_closed => Err(Fault { begin: at, end, what: What::UnknownKey }),
            None => Ok((None, end)),
        }
    }

    /// Puts a value where it is to go.
    #[inline]
    fn note(
        &mut self,
        number: usize,
        key_at: (usize, usize),
        value_at: (usize, usize),
        spans: &mut [Span],
    ) -> Result<(), Fault> {
        let Some(key) = self.keys.get_mut(number) else { return Ok(()) };
        if key.seen == self.object {
            return Err(Fault { begin: key_at.0, end: key_at.1, what: What::SecondKey });
        }
        key.seen = self.object;
        if let Some(span) = key.slot.and_then(|slot| spans.get_mut(slot)) {
            *span = Span { begin: value_at.0 as u32, end: value_at.1 as u32 };
        }
        Ok(())
    }
}

/// The fault of something else in the place of an object.
#[cold]
fn no_object<const ONE_LINE: bool>(bytes: &[u8], at: usize) -> Fault {
    match value::<ONE_LINE>(bytes, at) {
        Ok(end) => Fault { begin: at, end, what: What::NoObject },
        Err(fault) => fault,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(keys: &mut Keys, text: &str) -> Result<Vec<Option<String>>, Fault> {
        let padded = format!("{text}{}", "\0".repeat(64));
        let mut spans = [Span::MISSING; 3];
        let end = keys.read::<true>(&padded, 0, &mut spans)?;
        assert_eq!(end, text.len());
        let value = |span: Span| (span != Span::MISSING).then(|| padded[span.range()].to_string());
        Ok(spans.into_iter().map(value).collect())
    }

    fn some(texts: [&str; 3]) -> Vec<Option<String>> {
        texts.iter().map(|t| (!t.is_empty()).then(|| t.to_string())).collect()
    }

    #[test]
    fn values_are_found_whatever_the_order_of_their_keys() {
        let names = [("a", Some(0)), ("b\"", Some(2)), ("žc", Some(1)), ("d", None)];
        let mut keys = Keys::new(names, false);
        for (text, values) in [
            ("{}", ["", "", ""]),
            ("{ }", ["", "", ""]),
            ("{\"a\":1,\"b\\\"\":2,\"žc\":\"x\",\"d\":[]}", ["1", "\"x\"", "2"]),
            ("{ \"žc\" : null , \"a\" : {\"a\":1} }", ["{\"a\":1}", "null", ""]),
            ("{\"x\":[1,{}],\"\\u0061\":true}", ["true", "", ""]),
        ] {
            assert_eq!(read(&mut keys, text), Ok(some(values)), "{text}");
        }
    }

    #[test]
    fn keys_that_should_not_be_there_are_faults() {
        let mut keys = Keys::new([("a", Some(0)), ("b", None)], true);
        let fault = |begin, end, what| Err(Fault { begin, end, what });
        assert_eq!(read(&mut keys, "{\"a\":1,\"c\":2}"), fault(7, 10, What::UnknownKey));
        assert_eq!(read(&mut keys, "{\"b\":1,\"b\":2}"), fault(7, 10, What::SecondKey));
        assert_eq!(read(&mut keys, "[1,2]"), fault(0, 5, What::NoObject));
        assert_eq!(read(&mut keys, "{\"a\":1,\"b\":2}"), Ok(some(["1", "", ""])));
    }
}
