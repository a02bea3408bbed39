//! What any bytes must do: texts that are no programs and files that are no tables are errors with
//! a reason, never a panic or a defect of the engine.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, Float64Array, Int64Array, RecordBatch, StringArray};
use gristmill::{Config, Error, Parameters, Result};

pub use gristmill::Session;

use crate::random::Random;

/// A session with two small tables, `t` and `u`, of columns `i`, `f`, `s` and `d`.
///
/// # Errors
/// None that is to be expected.
pub fn session() -> Result<Session> {
    let memory_limit = Some(128 << 20);
    let session = Session::new(Config { threads: Some(2), memory_limit, ..Config::default() })?;
    for name in ["t", "u"] {
        let columns: [(&str, ArrayRef); 4] = [
            ("i", Arc::new(Int64Array::from(vec![Some(1), None, Some(-7)]))),
            ("f", Arc::new(Float64Array::from(vec![Some(0.5), Some(f64::NAN), None]))),
            ("s", Arc::new(StringArray::from(vec![Some(""), Some("a b"), None]))),
            ("d", Arc::new(Date32Array::from(vec![Some(0), Some(19_000), None]))),
        ];
        let batch = RecordBatch::try_from_iter(columns)?;
        session.register_batches(name, batch.schema(), vec![batch])?;
    }
    Ok(session)
}

/// Plans the statements of a text, and runs none.
///
/// # Panics
/// When one of them is met with a defect of the engine.
pub fn program(session: &Session, text: &str) {
    let mut rehearsal = session.rehearsal();
    let planned = session.script(text).and_then(|statements| {
        statements.iter().try_for_each(|s| rehearsal.plan(s, &Parameters::new()))
    });
    check(planned, text);
}

/// Reads bytes as a file of this name, whose ending says what it is.
///
/// # Panics
/// When they are met with a defect of the engine, or the file cannot be written.
pub fn file(session: &Session, path: &Path, bytes: &[u8]) {
    assert!(fs::write(path, bytes).is_ok(), "{} can be written", path.display());
    let path = path.display();
    for text in [format!("select * from '{path}'"), format!("select count(*) from '{path}'")] {
        let read = session
            .sql(&text)
            .and_then(|rows| rows.into_iter().try_for_each(|batch| batch.map(drop)));
        check(read, &text);
    }
}

fn check(outcome: Result<()>, what: &str) {
    if let Err(error @ Error::Internal { .. }) = outcome {
        panic!("{error}\n{what}");
    }
}

/// A text with some of its words left out, doubled, swapped, or taken from another.
pub fn changed(text: &str, other: &str, random: &mut Random) -> String {
    let mut words = words(text);
    let others = self::words(other);
    for _ in 0..=random.below(4) {
        if words.is_empty() || others.is_empty() {
            break;
        }
        let (at, to) = (random.below(words.len()), random.below(words.len()));
        match random.below(6) {
            0 => drop(words.remove(at)),
            1 => words.insert(to, words[at]),
            2 => words.swap(at, to),
            3 => words[at] = *random.pick(&others),
            4 => words.insert(at, *random.pick(&others)),
            _ => {
                let from = random.below(others.len());
                let count = random.below(12).min(others.len() - from);
                words.splice(at..at, others[from..from + count].iter().copied());
            }
        }
    }
    words.join(" ")
}

/// Names, numbers and quoted texts in one piece, every other sign by itself.
fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
        let end = match first {
            '\'' | '"' => rest[1..].find(first).map_or(rest.len(), |end| end + 2),
            _ if is_word(first) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            _ => first.len_utf8(),
        };
        let (word, behind) = rest.split_at(end);
        words.push(word);
        rest = behind.trim_start();
    }
    words
}
