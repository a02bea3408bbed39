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

/// Bytes in a block, one bit each in a mask.
pub(super) const BLOCK: usize = 64;

/// The bytes with a meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marks {
    pub(super) delimiter: u8,
    pub(super) quote: Option<u8>,
    /// What takes the meaning from the byte behind it inside quotes, when it is not the quote.
    pub(super) escape: Option<u8>,
    pub(super) newline: u8,
}

/// Where the automaton stands between two bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum State {
    /// At the first byte of a field.
    #[default]
    Start,
    /// In a field that is not quoted, or in the text behind a closing quote.
    Plain,
    /// Inside quotes.
    Quoted,
    /// Right behind a quote that may have closed the field.
    Closed,
    /// Inside quotes, right behind the escape.
    Escaped,
}

/// What was found in a run of bytes; bit `i % 64` of word `i / 64` stands for byte `i`.
#[derive(Debug, Default)]
pub(super) struct Structure {
    /// Delimiters and line ends outside quotes.
    pub(super) separators: Vec<u64>,
    /// Line ends outside quotes.
    pub(super) newlines: Vec<u64>,
    /// Whether a byte above 127 was seen.
    pub(super) beyond_ascii: bool,
    /// Blocks with a quote where none is expected: many of them cast doubt on a guessed beginning.
    pub(super) stray_blocks: usize,
}

/// What one block holds, regardless of where quotes open.
#[derive(Clone, Copy)]
struct Masks {
    quote: u64,
    delimiter: u64,
    newline: u64,
    high: bool,
}

impl Structure {
    /// Forgets everything; the first word will stand for the block at byte `64 * blocks`.
    pub(super) fn begin(&mut self, blocks: usize) {
        self.separators.clear();
        self.newlines.clear();
        self.separators.resize(blocks, 0);
        self.newlines.resize(blocks, 0);
        self.beyond_ascii = false;
        self.stray_blocks = 0;
    }

    /// Reads `bytes[from..to]` beginning in `state`, and says where the automaton stands at `to`.
    /// Words below `from / 64` are there already; `bytes` goes on for a block behind `to`.
    pub(super) fn read(
        &mut self,
        bytes: &[u8],
        from: usize,
        to: usize,
        mut state: State,
        marks: &Marks,
    ) -> State {
        self.separators.truncate(from / BLOCK);
        self.newlines.truncate(from / BLOCK);
        let mut at = from;
        while at < to {
            let base = at / BLOCK * BLOCK;
            let Some(block) = bytes.get(base..).and_then(|b| b.first_chunk::<BLOCK>()) else {
                debug_assert!(false, "bytes end less than a block behind `to`");
                break;
            };
            let live = live_bits(at - base, (to - base).min(BLOCK));
            let masks = masks(block, marks);
            self.beyond_ascii |= masks.high;
            let (separators, newlines) = match pair_quotes(&masks, live, &mut state, marks) {
                Some(found) => found,
                None => {
                    self.stray_blocks += usize::from(marks.escape.is_none());
                    walk(&block[at - base..(to - base).min(BLOCK)], at - base, &mut state, marks)
                }
            };
            self.separators.push(separators);
            self.newlines.push(newlines);
            at = base + BLOCK;
        }
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
/// when a quote opens where a field does not begin.
#[inline]
fn pair_quotes(masks: &Masks, live: u64, state: &mut State, marks: &Marks) -> Option<(u64, u64)> {
    let quote = masks.quote & live;
    let delimiter = masks.delimiter & live;
    let newline = masks.newline & live;
    let ends = delimiter | newline;
    let last = 1 << (BLOCK - 1 - live.leading_zeros() as usize);
    let inside_before = *state == State::Quoted;
    if quote == 0 && *state != State::Escaped {
        if inside_before {
            return Some((0, 0));
        }
        *state = if ends & last != 0 { State::Start } else { State::Plain };
        return Some((ends, newline));
    }
    if marks.escape.is_some() {
        return None;
    }
    let inside = prefix_xor(quote) ^ if inside_before { u64::MAX } else { 0 };
    let separators = ends & !inside;
    let opening = quote & inside;
    let closing = quote & !inside;
    let first = live & live.wrapping_neg();
    let may_open = matches!(*state, State::Start | State::Closed);
    let openers = ((separators | closing) << 1) | if may_open { first } else { 0 };
    if opening & !openers != 0 {
        return None;
    }
    *state = if inside & last != 0 {
        State::Quoted
    } else if separators & last != 0 {
        State::Start
    } else if closing & last != 0 {
        State::Closed
    } else {
        State::Plain
    };
    Some((separators, newline & !inside))
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
            State::Start | State::Closed if is_quote => State::Quoted,
            _ if byte == marks.newline => {
                separators |= bit;
                newlines |= bit;
                State::Start
            }
            _ if byte == marks.delimiter => {
                separators |= bit;
                State::Start
            }
            _ => State::Plain,
        };
    }
    (separators, newlines)
}

/// Compares a block with the marks eight bytes at a time.
fn masks(block: &[u8; BLOCK], marks: &Marks) -> Masks {
    const LOW: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    // The eighth bits of the bytes, gathered into one byte.
    let gather = |bits: u64| ((bits & HIGH) >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56;
    let mut found = Masks { quote: 0, delimiter: 0, newline: 0, high: false };
    for (lane, bytes) in block.chunks_exact(8).enumerate() {
        let word = bytes.iter().rev().fold(0, |word, &byte| (word << 8) | u64::from(byte));
        let equal = |byte: u8| {
            let other = word ^ (LOW * u64::from(byte));
            // A byte is zero when neither its low seven bits nor its eighth are set.
            let nonzero = ((other & !HIGH) + !HIGH) | other;
            gather(!nonzero) << (lane * 8)
        };
        found.delimiter |= equal(marks.delimiter);
        found.newline |= equal(marks.newline);
        found.quote |= marks.quote.map_or(0, equal);
        found.high |= word & HIGH != 0;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKS: Marks = Marks { delimiter: b',', quote: Some(b'"'), escape: None, newline: b'\n' };

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
        let alphabet = b"\"\",\nab\x80";
        for seed in 0..3000 {
            let mut random = Random(seed);
            let len = 1 + random.next(200);
            let text: Vec<u8> = (0..len).map(|_| alphabet[random.next(alphabet.len())]).collect();
            let bytes = padded(&text);
            for start in [State::Start, State::Plain, State::Quoted, State::Closed] {
                let from = random.next(len.min(70));
                let mut fast = Structure::default();
                fast.begin(from / BLOCK);
                let fast_end = fast.read(&bytes, from, len, start, &MARKS);

                let mut state = start;
                let mut slow = vec![(0, 0); from / BLOCK];
                let mut at = from;
                while at < len {
                    let to = (at / BLOCK * BLOCK + BLOCK).min(len);
                    slow.push(walk(&bytes[at..to], at % BLOCK, &mut state, &MARKS));
                    at = to;
                }
                let fast_words: Vec<(u64, u64)> =
                    fast.separators.iter().copied().zip(fast.newlines.iter().copied()).collect();
                assert_eq!(fast_words, slow, "seed {seed}, {:?}", text.escape_ascii().to_string());
                assert_eq!(fast_end, state, "seed {seed}");
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
