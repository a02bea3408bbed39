//! Any text as a program: it is planned, or refused with a reason.

#![no_main]

use gristmill_tests::fuzzed::{program, session};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    thread_local!(static SESSION: gristmill_tests::fuzzed::Session = session().expect("opens"));
    SESSION.with(|session| program(session, text));
});
