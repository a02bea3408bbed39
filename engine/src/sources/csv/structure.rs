//! Finds the bytes that separate fields and records: the first of the two passes over a range.
//!
//! The grammar, byte for byte: a field is quoted when its first byte is the quote. Within a
//! quoted field delimiters and line ends are text, and a quote closes it unless it is doubled (or
//! escaped).
//!
//! Sixty-four bytes at a time become bit masks of quotes, delimiters and line ends. A prefix
//! exclusive-or over the quotes tells which bytes are inside a pair, and that is right as long as
//! every quote that opens a pair stands at the beginning of a field or right behind a closing
//! one (a doubled quote). A block that breaks the rule, and all blocks of a dialect with an escape
//! of its own, are read byte by byte by the automaton that the rule was derived from.
//!
//! Invariant 1: both ways of reading a block give the same masks and the same state.

use super::masks::{BLOCK, Masks, for_each_block};

/// The bytes with a meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marks {
    /// The line end when there is no delimiter: records have one field.
    pub(super) delimiter: u8,
    pub(super) quote: Option<u8>,
    /// What takes the meaning from the byte behind it inside quotes, when it is not the quote.
    pub(super) escape: Option<u8>,
    pub(super) newline: u8,
    /// What makes a line a comment when it begins with it.
    pub(super) comment: Option<u8>,
}

/// Where the automaton stands between two bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum State {
    /// At the first byte of a record.
    #[default]
    Start,
    /// At the first byte of a further field.
    Field,
    /// In a field that is not quoted, or in the text behind a closing quote.
    Plain,
    /// Inside quotes.
    Quoted,
    /// Right behind a quote that may have closed the field.
    Closed,
    /// Inside quotes, right behind the escape.
    Escaped,
    /// In a comment.
    Comment,
}

/// What was found in a run of bytes; bit `i % 64` of word `i / 64` stands for byte `i`.
#[derive(Debug, Default)]
pub(super) struct Structure {
    /// Delimiters and line ends outside quotes; of comments the line end.
    pub(super) separators: Vec<u64>,
    /// Line ends outside quotes.
    pub(super) newlines: Vec<u64>,
    /// Blocks with a quote where none is expected: many of them cast doubt on a guessed beginning.
    pub(super) stray_blocks: usize,
}

impl Structure {
    /// Forgets everything; the first word will stand for the block at byte `64 * blocks`.
    pub(super) fn begin(&mut self, blocks: usize) {
        self.separators.clear();
        self.newlines.clear();
        self.separators.resize(blocks, 0);
        self.newlines.resize(blocks, 0);
        self.stray_blocks = 0;
    }

    /// Reads `bytes[from..to]` beginning in `state`, and says where the automaton stands at `to`.
    /// Words below `from / 64` are there already, and `from` is a block border unless nothing was
    /// read yet; `bytes` goes on for a block behind `to`.
    pub(super) fn read(
        &mut self,
        bytes: &[u8],
        from: usize,
        to: usize,
        mut state: State,
        marks: &Marks,
    ) -> State {
        let (first, end) = (from / BLOCK, to.div_ceil(BLOCK));
        let blocks = bytes.get(first * BLOCK..end * BLOCK).filter(|_| from < to);
        let Some((blocks, _)) = blocks.map(<[u8]>::as_chunks::<BLOCK>) else {
            debug_assert!(from == to, "bytes end less than a block behind `to`");
            return state;
        };
        for words in [&mut self.separators, &mut self.newlines] {
            words.truncate(first);
            words.resize(end, 0);
        }
        let mut words = self.separators[first..].iter_mut().zip(&mut self.newlines[first..]);
        let (mut begin, mut left) = (from % BLOCK, blocks.len());
        let stray_blocks = &mut self.stray_blocks;
        for_each_block(blocks, marks, |block, masks| {
            let stop = if left == 1 { to - (end - 1) * BLOCK } else { BLOCK };
            let found = match pair_quotes(&masks, live_bits(begin, stop), &mut state, marks) {
                Some(found) => found,
                None => {
                    *stray_blocks += usize::from(marks.escape.is_none());
                    walk(&block[begin..stop], begin, &mut state, marks)
                }
            };
            if let Some((separators, newlines)) = words.next() {
                (*separators, *newlines) = found;
            }
            (begin, left) = (0, left - 1);
        });
        state
    }

    /// Position of the first line end outside quotes at `from` or behind.
    pub(super) fn next_newline(&self, from: usize) -> Option<usize> {
        let mut word = from / BLOCK;
        let mut bits = self.newlines.get(word)? & (u64::MAX << (from % BLOCK));
        while bits == 0 {
            word += 1;
            bits = *self.newlines.get(word)?;
        }
        Some(word * BLOCK + bits.trailing_zeros() as usize)
    }

    /// Position of the last line end outside quotes.
    pub(super) fn last_newline(&self) -> Option<usize> {
        let word = self.newlines.iter().rposition(|&bits| bits != 0)?;
        Some(word * BLOCK + BLOCK - 1 - self.newlines[word].leading_zeros() as usize)
    }

    /// Positions of the separators from `from` to `to`, both included.
    pub(super) fn separators_in(&self, from: usize, to: usize) -> impl Iterator<Item = usize> {
        let words = from / BLOCK..=to / BLOCK;
        words.flat_map(move |word| {
            let mut bits = self.separators.get(word).copied().unwrap_or(0);
            if word == from / BLOCK {
                bits &= u64::MAX << (from % BLOCK);
            }
            if word == to / BLOCK {
                bits &= u64::MAX >> (BLOCK - 1 - to % BLOCK);
            }
            std::iter::from_fn(move || {
                let at = (bits != 0).then(|| word * BLOCK + bits.trailing_zeros() as usize);
                bits &= bits.wrapping_sub(1);
                at
            })
        })
    }

    /// Makes the byte at `at`, the end of the file, a line end.
    pub(super) fn close_record(&mut self, at: usize) {
        for words in [&mut self.separators, &mut self.newlines] {
            if words.len() <= at / BLOCK {
                words.resize(at / BLOCK + 1, 0);
            }
            words[at / BLOCK] |= 1 << (at % BLOCK);
        }
    }

    /// Heap bytes held.
    pub(super) fn heap_bytes(&self) -> usize {
        (self.separators.capacity() + self.newlines.capacity()) * size_of::<u64>()
    }
}

/// Bits `[from, to)` of a word.
fn live_bits(from: usize, to: usize) -> u64 {
    let below = if to == BLOCK { u64::MAX } else { (1 << to) - 1 };
    below & (u64::MAX << from)
}

/// Separators and line ends of a block by pairing its quotes; `None`, with the state unchanged,
/// when a quote opens where a field does not begin, or a comment may begin.
#[inline(always)]
fn pair_quotes(masks: &Masks, live: u64, state: &mut State, marks: &Marks) -> Option<(u64, u64)> {
    let quote = masks.quote & live;
    let newline = masks.newline & live;
    let ends = (masks.delimiter & live) | newline;
    let first = live & live.wrapping_neg();
    let last = 1 << (BLOCK - 1 - live.leading_zeros() as usize);
    if marks.comment.is_some() {
        let begins = (newline << 1) | if *state == State::Start { first } else { 0 };
        if *state == State::Comment || masks.comment & live & begins != 0 {
            return None;
        }
    }
    let inside_before = *state == State::Quoted;
    if quote == 0 && *state != State::Escaped {
        if inside_before {
            // With an escape it may stand last.
            return marks.escape.is_none().then_some((0, 0));
        }
        *state = behind(ends & last != 0, newline & last != 0, State::Plain);
        return Some((ends, newline));
    }
    if marks.escape.is_some() {
        return None;
    }
    let inside = prefix_xor(quote) ^ if inside_before { u64::MAX } else { 0 };
    let separators = ends & !inside;
    let opening = quote & inside;
    let closing = quote & !inside;
    let may_open = matches!(*state, State::Start | State::Field | State::Closed);
    let openers = ((separators | closing) << 1) | if may_open { first } else { 0 };
    if opening & !openers != 0 {
        return None;
    }
    *state = if inside & last != 0 {
        State::Quoted
    } else {
        let other = if closing & last != 0 { State::Closed } else { State::Plain };
        behind(separators & last != 0, newline & last != 0, other)
    };
    Some((separators, newline & !inside))
}

/// The state behind a byte outside quotes.
#[inline(always)]
fn behind(separator: bool, newline: bool, other: State) -> State {
    match (separator, newline) {
        (true, true) => State::Start,
        (true, false) => State::Field,
        _ => other,
    }
}

/// Bit `i` is the parity of bits `0..=i`.
#[inline]
fn prefix_xor(mut bits: u64) -> u64 {
    for shift in [1, 2, 4, 8, 16, 32] {
        bits ^= bits << shift;
    }
    bits
}

/// The automaton, byte by byte, over part of a block that begins at bit `first`.
#[cold]
#[inline(never)]
fn walk(bytes: &[u8], first: usize, state: &mut State, marks: &Marks) -> (u64, u64) {
    let (mut separators, mut newlines) = (0, 0);
    for (i, &byte) in bytes.iter().enumerate() {
        let bit = 1 << (first + i);
        let is_quote = Some(byte) == marks.quote;
        *state = match *state {
            State::Escaped => State::Quoted,
            State::Quoted if Some(byte) == marks.escape => State::Escaped,
            State::Quoted if is_quote => State::Closed,
            State::Quoted => State::Quoted,
            State::Start if Some(byte) == marks.comment => State::Comment,
            State::Start | State::Field | State::Closed if is_quote => State::Quoted,
            _ if byte == marks.newline => {
                separators |= bit;
                newlines |= bit;
                State::Start
            }
            State::Comment => State::Comment,
            _ if byte == marks.delimiter => {
                separators |= bit;
                State::Field
            }
            _ => State::Plain,
        };
    }
    (separators, newlines)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKS: Marks =
        Marks { delimiter: b',', quote: Some(b'"'), escape: None, newline: b'\n', comment: None };

    /// A small generator, so that a failure names its seed.
    struct Random(u64);

    impl Random {
        fn next(&mut self, below: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            ((self.0 >> 33) as usize) % below
        }
    }

    fn padded(text: &[u8]) -> Vec<u8> {
        [text, &[0; BLOCK]].concat()
    }

    #[test]
    fn blocks_read_either_way_agree() {
        let alphabet = b"\"\",\nab\x80\\#";
        let dialects = [
            MARKS,
            Marks { comment: Some(b'#'), ..MARKS },
            Marks { escape: Some(b'\\'), comment: Some(b'#'), ..MARKS },
            Marks { delimiter: b'\n', quote: None, ..MARKS },
        ];
        let states = [
            State::Start,
            State::Field,
            State::Plain,
            State::Quoted,
            State::Closed,
            State::Escaped,
            State::Comment,
        ];
        for seed in 0..4000 {
            let mut random = Random(seed);
            let marks = &dialects[seed as usize % dialects.len()];
            let len = 1 + random.next(200);
            let letters = 4 + random.next(alphabet.len() - 3);
            let text: Vec<u8> = (0..len).map(|_| alphabet[random.next(letters)]).collect();
            let bytes = padded(&text);
            for start in states {
                let possible = match start {
                    State::Escaped => marks.escape.is_some(),
                    State::Comment => marks.comment.is_some(),
                    State::Quoted | State::Closed => marks.quote.is_some(),
                    _ => true,
                };
                if !possible {
                    continue;
                }
                let from = random.next(len.min(70));
                let mut fast = Structure::default();
                fast.begin(from / BLOCK);
                // In two steps, when there is a block border between.
                let border = (from / BLOCK + 1 + random.next(2)) * BLOCK;
                let middle = if border < len { border } else { from };
                let state = fast.read(&bytes, from, middle, start, marks);
                let fast_end = fast.read(&bytes, middle, len, state, marks);

                let mut state = start;
                let mut slow = vec![(0, 0); from / BLOCK];
                let mut at = from;
                while at < len {
                    let to = (at / BLOCK * BLOCK + BLOCK).min(len);
                    slow.push(walk(&bytes[at..to], at % BLOCK, &mut state, marks));
                    at = to;
                }
                let fast_words: Vec<(u64, u64)> =
                    fast.separators.iter().copied().zip(fast.newlines.iter().copied()).collect();
                assert_eq!(fast_words, slow, "seed {seed}, {:?}", text.escape_ascii().to_string());
                assert_eq!(fast_end, state, "seed {seed}");
                let last = slow.iter().rposition(|(_, newlines)| *newlines != 0);
                let last = last.map(|w| w * BLOCK + slow[w].1.ilog2() as usize);
                assert_eq!(fast.last_newline(), last, "seed {seed}");
            }
        }
    }

    #[test]
    fn escapes_and_line_ends() {
        let marks = Marks { escape: Some(b'\\'), ..MARKS };
        let text = b"\"a\\\"b,\",c\nd";
        let mut found = Structure::default();
        found.begin(0);
        let state = found.read(&padded(text), 0, text.len(), State::Start, &marks);
        assert_eq!(state, State::Plain);
        assert_eq!(found.separators[0], 1 << 7 | 1 << 9);
        assert_eq!(found.next_newline(0), Some(9));
        assert_eq!(found.next_newline(10), None);
        found.close_record(text.len());
        assert_eq!(found.next_newline(10), Some(11));
    }
}
