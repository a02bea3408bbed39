//! How much of an input file is read. Bytes are counted for the process, so that this is a test by
//! itself.

use std::fs;

use gristmill::{Config, Session, input_bytes};

#[test]
fn a_statement_set_reads_a_file_once() {
    let directory = tempfile::tempdir().expect("directory");
    let place = |name: &str| directory.path().join(name).display().to_string();
    let input = place("in.csv");
    let line = |n: u32| format!("{n},{},some text that makes the line longer {n}\n", n % 7);
    let text: String =
        std::iter::once("a,b,c\n".to_string()).chain((0..200_000).map(line)).collect();
    fs::write(&input, &text).expect("writes");
    let size = text.len() as u64;
    let copies = format!(
        "copy (select a from '{input}' where b < 3) to '{}'; \
         copy (select b, count(*) as n from '{input}' group by b) to '{}'; \
         copy (select max(c) as c from '{input}') to '{}';",
        place("a.csv"),
        place("b.csv"),
        place("c.csv")
    );
    let session = Session::new(Config { threads: Some(2), ..Config::default() }).expect("opens");
    let read_by = |sql: &str| {
        let before = input_bytes();
        session.run_script(sql).expect("runs");
        input_bytes() - before
    };
    let together = read_by(&format!("execute statement set begin {copies} end"));
    let apart = read_by(&copies);
    assert!((size..size * 3 / 2).contains(&together), "{together} of {size} bytes");
    assert!(apart >= 3 * size, "{apart} of {size} bytes");
    // Six outputs read four and two at a time where there is no room for all.
    let copies: String = (0..6)
        .map(|n| {
            let output = place(&format!("count{n}.csv"));
            let query = format!("select a % 7, count(distinct b + {n}) from '{input}' group by 1");
            format!("copy ({query}) to '{output}'; ")
        })
        .collect();
    let set = format!("execute statement set begin {copies} end");
    let together = read_by(&set);
    assert!((size..size * 3 / 2).contains(&together), "{together} of {size} bytes");
    let config = Config { threads: Some(2), memory_limit: Some(20 << 20), ..Config::default() };
    let small = Session::new(config).expect("opens");
    let before = input_bytes();
    small.run_script(&set).expect("runs");
    let in_turn = input_bytes() - before;
    assert!((2 * size..size * 5 / 2).contains(&in_turn), "{in_turn} of {size} bytes");
}
