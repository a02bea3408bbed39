//! Any bytes as a file: it is read, or refused with a reason. The first byte says of which kind.

#![no_main]

use gristmill_tests::fuzzed::{Session, file, session};
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

const KINDS: [&str; 5] = ["parquet", "csv", "ndjson", "arrow", "arrows"];

fuzz_target!(|bytes: &[u8]| {
    thread_local! {
        static SESSION: Session = session().expect("opens");
        static DIRECTORY: TempDir = tempfile::tempdir().expect("a directory");
    }
    let Some((kind, bytes)) = bytes.split_first() else { return };
    let name = format!("a.{}", KINDS[usize::from(*kind) % KINDS.len()]);
    DIRECTORY.with(|directory| {
        SESSION.with(|session| file(session, &directory.path().join(name), bytes));
    });
});
