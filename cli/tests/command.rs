//! The command from outside: what it prints, where, and the code it exits with.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

fn gristmill() -> Command {
    Command::new(env!("CARGO_BIN_EXE_gristmill"))
}

fn run(arguments: &[&str]) -> Output {
    gristmill().args(arguments).output().expect("starts")
}

/// Standard output of a run that must succeed.
fn printed(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    assert_eq!(text(&output.stderr), "");
    text(&output.stdout)
}

/// Exit code and standard error of a run that must fail and print nothing.
fn failed(arguments: &[&str]) -> (i32, String) {
    let output = run(arguments);
    assert_eq!(text(&output.stdout), "", "{arguments:?}");
    (output.status.code().expect("exits"), text(&output.stderr))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

fn path(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn results_in_every_format() {
    let sql = "select a, b from (values (1, 'x'), (2, null)) t(a, b) order by a";
    assert_eq!(printed(&["query", sql, "--format", "csv"]), "a,b\n1,x\n2,\n");
    assert_eq!(
        printed(&["query", sql, "--format", "json"]),
        "[{\"a\":1,\"b\":\"x\"},\n {\"a\":2,\"b\":null}]\n"
    );
    assert_eq!(printed(&["query", sql]), "a  b\n─  ────\n1  x\n2  NULL\n(2 rows)\n");
}

#[test]
fn the_ending_of_an_output_names_its_format() {
    let directory = tempfile::tempdir().expect("directory");
    let file = |name: &str| directory.path().join(name);
    let sql = "select 1 as a, 'x' as b";
    assert_eq!(printed(&["query", sql, "-o", path(&file("r.tsv"))]), "");
    assert_eq!(fs::read_to_string(file("r.tsv")).expect("is written"), "a\tb\n1\tx\n");
    assert_eq!(printed(&["query", sql, "--format", "tsv", "-o", "-"]), "a\tb\n1\tx\n");
    for name in ["r.xlsx", "r.csv.gz", "r"] {
        let (code, said) = failed(&["query", sql, "-o", path(&file(name))]);
        assert!(code == 1 && said.contains("names no format"), "{code} {said}");
        assert!(!file(name).exists());
    }
    assert_eq!(printed(&["query", sql, "-o", "/dev/null"]), "");
}

#[test]
fn a_name_is_of_one_file() {
    let (code, said) = failed(&["query", "select 1", "-t", "t=a.csv", "-t", "t=b.csv"]);
    assert!(code == 1 && said.contains("gives the name t to two files"), "{code} {said}");
}

#[test]
fn more_formats_for_programs_and_documents() {
    let sql = "select a, b from (values (1, 'x|y'), (2, null)) t(a, b) order by a";
    assert_eq!(
        printed(&["query", sql, "--format", "ndjson"]),
        "{\"a\":1,\"b\":\"x|y\"}\n{\"a\":2,\"b\":null}\n"
    );
    assert_eq!(
        printed(&["query", sql, "--format", "markdown"]),
        "| a | b |\n| --: | --- |\n| 1 | x\\|y |\n| 2 | NULL |\n"
    );
    assert_eq!(printed(&["query", "select 1 as a where false", "--format", "ndjson"]), "");
}

#[test]
fn an_output_file_appears_when_all_is_done() {
    let directory = tempfile::tempdir().expect("directory");
    let file = directory.path().join("out.ndjson");
    let (sql, lines) = ("select 1 as a; select 2 as a", "{\"a\":1}\n{\"a\":2}\n");
    assert_eq!(printed(&["query", sql, "--output", path(&file)]), "");
    assert_eq!(fs::read_to_string(&file).expect("is there"), lines);
    let table = directory.path().join("out.csv");
    let (code, error) = failed(&["query", sql, "--output", path(&table)]);
    assert!(code == 1 && error.contains("CSV holds the result of one statement"), "{error}");
    let sql = "select 3 as a; select 1 / 0 from (values (0)) t(a) where a = 0";
    let (code, error) = failed(&["query", sql, "--output", path(&file)]);
    assert_eq!(code, 1, "{error}");
    assert_eq!(fs::read_to_string(&file).expect("is whole"), lines);
    assert_eq!(fs::read_dir(directory.path()).expect("lists").count(), 1, "nothing is left over");
}

#[test]
fn a_stream_of_the_process_is_written_where_it_stands() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = directory.path().join("log.txt");
    fs::write(&log, "before\n").expect("written");
    let file = fs::OpenOptions::new().append(true).open(&log).expect("opened");
    for target in ["/dev/stdout", "/dev/fd/1"] {
        let arguments = ["query", "select 1 as a", "-o", target, "--format", "csv"];
        let stdout = file.try_clone().expect("cloned");
        let status = gristmill().args(arguments).stdout(stdout).status().expect("runs");
        assert!(status.success());
    }
    assert_eq!(fs::read_to_string(&log).expect("read"), "before\na\n1\na\n1\n");
}

#[test]
fn a_program_is_checked_and_not_run() {
    let directory = tempfile::tempdir().expect("directory");
    let (program, file) = (directory.path().join("p.sql"), directory.path().join("out.csv"));
    let good =
        format!("create view v as select 1 as a;\ncopy (select a from v) to '{}'", path(&file));
    fs::write(&program, &good).expect("writes");
    let said = printed(&["check", path(&program)]);
    assert!(said.ends_with("p.sql: 2 statements are fine\n"), "{said}");
    assert!(!file.exists());
    fs::write(&program, good.replace("select a", "select b")).expect("writes");
    let (code, error) = failed(&["check", path(&program)]);
    assert_eq!(code, 1);
    assert!(error.contains("p.sql:2:14") && error.contains("did you mean a?"), "{error}");
}

#[test]
fn parameters_take_the_type_of_their_place() {
    let sql = "select $n + 1 as n, $s || '!' as s, date '2024-03-01' = $d as d";
    let all = ["query", sql, "--param", "n=41", "-p", "s=it's", "-p", "d=2024-03-01"];
    assert_eq!(printed(&[&all[..], &["--format", "csv"]].concat()), "n,s,d\n42,it's!,true\n");
    let (code, error) = failed(&["query", "select $nam", "--param", "name=1"]);
    assert_eq!(code, 1);
    assert!(error.contains("did you mean $name?") && error.contains("query:1:8"), "{error}");
}

#[test]
fn statements_without_rows_say_what_they_did_to_people_only() {
    let sql = "create table t as select 1 as a; set threads = 1; insert into t values (2), (3)";
    assert_eq!(printed(&["query", sql]), "(1 row written)\n(2 rows written)\n");
    assert_eq!(printed(&["query", sql, "--format", "csv"]), "");
}

#[test]
fn completions_a_manual_and_a_log() {
    for shell in ["bash", "zsh", "fish"] {
        assert!(printed(&["completions", shell]).contains("param"), "{shell}");
    }
    assert!(printed(&["man"]).contains(".TH gristmill"));
    let output = run(&["query", "select 1", "--log", "error"]);
    assert!(output.status.success() && output.stderr.is_empty());
    assert_eq!(run(&["query", "select 1", "--log", "loud"]).status.code(), Some(2));
}

#[test]
fn results_as_files_of_other_programs() {
    let directory = tempfile::tempdir().expect("a directory");
    let sql = "create view v as select a, b from (values (1, 'x'), (2, null)) t(a, b);
               select * from v order by a";
    let none = "select a, b from (values (1, 'x')) t(a, b) where a > 1";
    let formats = [("arrow", "a.arrows"), ("feather", "a.arrow"), ("parquet", "a.parquet")];
    for (format, name) in formats {
        let file = directory.path().join(name);
        let read = format!("select * from '{}' order by a", path(&file));
        for (sql, expected) in [(sql, "a,b\n1,x\n2,\n"), (none, "a,b\n")] {
            let output = run(&["query", sql, "--format", format]);
            assert!(output.status.success(), "{}", text(&output.stderr));
            fs::write(&file, &output.stdout).expect("writes");
            assert_eq!(printed(&["query", &read, "--format", "csv"]), expected, "{format}");
            assert_eq!(printed(&["query", sql, "--output", path(&file)]), "");
            assert_eq!(fs::read(&file).expect("is there"), output.stdout, "{format}");
        }
        for sql in ["select 1; select 2", "create table t as select 1 as a"] {
            let (code, error) = failed(&["query", sql, "--format", format]);
            assert!(code == 1 && error.contains("one statement"), "{error}");
        }
    }
}

#[test]
fn columns_are_named_as_they_were_written() {
    let sql = "select 1, 1, count(*), sum(t.a) + 2, a from (values (3)) t(a) group by a order by \
               sum(t.a) + 2";
    assert_eq!(
        printed(&["query", sql, "--format", "csv"]),
        "1,1_1,count(*),sum(t.a) + 2,a\n1,1,1,5,3\n"
    );
}

#[test]
fn programs_run_in_order_and_tables_have_names() {
    let directory = tempfile::tempdir().expect("a directory");
    let table = directory.path().join("t.csv");
    fs::write(&table, "k,v\n1,10\n2,20\n").expect("writes");
    let copy = directory.path().join("copy.csv");
    let program = directory.path().join("p.sql");
    let text = format!(
        "copy (select k, v * 2 as w from t) to '{0}';\nselect sum(w) as s from '{0}';",
        path(&copy)
    );
    fs::write(&program, text).expect("writes");
    let named = format!("t={}", path(&table));
    let output = printed(&["run", path(&program), "-t", &named, "--format", "csv"]);
    assert!(output.ends_with("s\n60\n"), "{output}");
    assert_eq!(fs::read_to_string(&copy).expect("written"), "k,w\n1,20\n2,40\n");
}

#[test]
fn exit_codes_say_who_must_act() {
    let (code, message) = failed(&["query", "select x\nfrom (values (1)) t(a)"]);
    assert_eq!(code, 1, "{message}");
    assert!(message.contains("query:1:8") && message.contains("       ^"), "{message}");
    let (code, message) = failed(&["query", "select 1", "--threads", "0"]);
    assert_eq!(code, 2, "{message}");
    let (code, message) = failed(&["run", "no/such/program.sql"]);
    assert_eq!(code, 3, "{message}");
    assert!(message.contains("no/such/program.sql"), "{message}");
    for wrong in [["--memory", "20MB"], ["--temp-dir", "no/such/directory"]] {
        let (code, message) = failed(&["query", "select 1", wrong[0], wrong[1]]);
        assert_eq!(code, 2, "{message}");
        assert!(message.contains(wrong[0]), "{message}");
    }
}

#[test]
fn a_statement_where_a_file_is_expected_is_told_where_it_belongs() {
    let (code, message) = failed(&["explain", "select 1"]);
    assert_eq!(code, 1, "{message}");
    assert!(message.contains("there is no file select 1; statements are given to"), "{message}");
    assert_eq!(failed(&["run", "none.sql"]).0, 3);
}

#[test]
fn figures_go_to_standard_error() {
    let output = run(&["query", "select 1; select 2", "--timing", "--metrics"]);
    assert!(output.status.success());
    let lines = text(&output.stderr);
    let bytes = "metric: input_read_bytes ";
    for wanted in ["timing: 1 ", "timing: 2 ", "metric: peak_reserved_bytes ", bytes] {
        assert!(lines.contains(wanted), "{lines}");
    }
}

#[test]
fn a_program_comes_from_standard_input_and_a_closed_pipe_ends_quietly() {
    let mut child = gristmill()
        .args(["run", "-", "--format", "csv"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut input = child.stdin.take().expect("piped");
    input.write_all(b"select 7 as n").expect("writes");
    drop(input);
    let output = child.wait_with_output().expect("ends");
    assert_eq!(text(&output.stdout), "n\n7\n");

    let mut child = gristmill()
        .args(["query", "select 1", "--format", "csv"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("ends");
    assert_eq!(text(&output.stderr), "");
    assert!(output.status.success());
}

#[test]
fn a_program_is_run_and_explained() {
    let directory = tempfile::tempdir().expect("a directory");
    let (program, out) = (directory.path().join("p.sql"), directory.path().join("out.csv"));
    let sql = format!(
        "create table t as select * from (values (1), (2), (3)) v(a);\n\
         copy (select a from t where a > 1) to '{}'; explain select 1",
        path(&out)
    );
    fs::write(&program, sql).expect("writes");
    printed(&["explain", path(&program)]);
    assert!(!out.exists());
    let text = printed(&["explain", path(&program), "--analyze", "--threads", "2"]);
    assert_eq!(fs::read_to_string(&out).expect("was written"), "a\n2\n3\n");
    assert_eq!(text.lines().filter(|line| line.starts_with("measured: ")).count(), 2, "{text}");
    assert!(text.contains("    measured: 2 rows") && text.contains(" on 2 threads, "), "{text}");
    let json = printed(&["explain", path(&program), "--analyze", "--json"]);
    assert_eq!(json.matches("\"elapsed_ns\"").count(), 2, "{json}");
    fs::write(&program, "select 1 / (a - 1) from (values (1)) t(a)").expect("writes");
    let (code, message) = failed(&["explain", path(&program), "--analyze"]);
    assert!(code == 1 && message.contains("division by zero"), "{message}");
}

#[test]
fn a_bar_is_shown_where_it_is_wanted_and_taken_away() {
    let directory = tempfile::tempdir().expect("a directory");
    let input = directory.path().join("numbers.csv");
    let line = |n: u64| format!("{},text {n}\n", n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20);
    let lines: String = (0..400_000).map(line).collect();
    fs::write(&input, format!("n,s\n{lines}")).expect("writes");
    let shown = |when: &str, times: u32| {
        let rows = format!("select s, n, t from '{}' cross join range({times}) r(t)", path(&input));
        let sql = format!("select max(s) as m from ({rows} order by s, n, t)");
        let output = run(&["query", &sql, "--format", "csv", "--progress", when]);
        assert_eq!(text(&output.stdout), "m\ntext 99999\n");
        text(&output.stderr)
    };
    assert_eq!(shown("auto", 1), "", "standard error is no terminal");
    assert_eq!(shown("never", 1), "");
    // What is soon done has no bar, and a fast machine does much soon.
    let mut bars = [1, 4, 16, 64].into_iter().map(|times| shown("always", times));
    let bar = bars.find(|bar| !bar.is_empty()).expect("is shown at last");
    assert!(bar.contains(" %  ") && bar.ends_with("\r\x1b[K"), "{bar:?}");
}

#[test]
fn a_time_limit_names_itself_and_has_an_exit_code_of_its_own() {
    let sql = "create table t as select unnest(generate_series(1, n)) as x from (values (20000)) \
               v(n); set time_limit = '30ms'; select count(*) from t a, t b where a.x + b.x > 3";
    let output = gristmill().args(["query", sql]).output().expect("runs");
    assert_eq!(output.status.code(), Some(124));
    let said = text(&output.stderr);
    assert!(said.contains("limit of 30ms") && said.contains("time_limit"), "{said}");
    assert_eq!(said.matches("error:").count(), 1, "{said}");
}

/// A sort of more rows than the budget holds, interrupted at several moments: it exits with 130
/// and leaves neither spilled data nor an output.
#[cfg(unix)]
#[test]
fn an_interrupt_leaves_nothing_behind() {
    let directory = tempfile::tempdir().expect("a directory");
    let input = directory.path().join("numbers.csv");
    let mut lines = String::from("n,s\n");
    for n in 0..300_000u64 {
        let key = n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
        lines.push_str(&format!("{key},some text that makes the row {key} a little wider\n"));
    }
    fs::write(&input, lines).expect("writes");
    let spill = directory.path().join("spill");
    fs::create_dir(&spill).expect("creates");
    let sql = format!(
        "copy (select a.n, b.s, a.s as t from '{0}' a, '{0}' b where a.n = b.n order by t, n) to \
         '{1}'",
        path(&input),
        path(&directory.path().join("out.csv"))
    );
    let mut interrupted = 0;
    for delay in [20, 60, 150, 300, 600] {
        let child = gristmill()
            .args(["query", &sql, "--temp-dir", path(&spill)])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("starts");
        thread::sleep(Duration::from_millis(delay));
        let id = child.id().to_string();
        // The process may have ended by itself; then there is nobody to interrupt.
        let _ = Command::new("kill").args(["-INT", &id]).stderr(Stdio::null()).status();
        let output = child.wait_with_output().expect("ends");
        if output.status.code() == Some(130) {
            interrupted += 1;
            assert!(!directory.path().join("out.csv").exists());
        }
        let _ = fs::remove_file(directory.path().join("out.csv"));
        let mut names: Vec<String> = fs::read_dir(directory.path())
            .expect("lists")
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        assert_eq!(names, ["numbers.csv", "spill"]);
        assert_eq!(fs::read_dir(&spill).expect("lists").count(), 0);
    }
    assert!(interrupted > 0, "every run ended before it was interrupted");
}

#[test]
fn a_panic_that_is_caught_is_told_as_an_error_only() {
    let directory = tempfile::tempdir().expect("directory");
    let file = directory.path().join("wide.arrow");
    let sql = "select cast(1 as bigint) as a";
    assert_eq!(printed(&["query", sql, "--output", path(&file)]), "");
    // Integers of 113 bits, at which the borrowed reader panics.
    let mut bytes = fs::read(&file).expect("is there");
    let places = bytes.windows(4).enumerate().filter(|(_, at)| *at == 64_i32.to_le_bytes());
    let places: Vec<usize> = places.map(|(at, _)| at).collect();
    for at in places {
        bytes[at..at + 4].copy_from_slice(&113_i32.to_le_bytes());
    }
    fs::write(&file, bytes).expect("writes");
    let (code, error) = failed(&["query", &format!("select * from '{}'", path(&file))]);
    assert_eq!(code, 1, "{error}");
    assert!(error.starts_with("error: "), "{error}");
    assert!(error.contains("is not a readable Arrow file: Int type with bit width of 113"));
}

#[test]
fn what_fails_when_it_runs_is_told_with_its_statement() {
    let sql = "select 1 as a;\nselect substr(x, 1, -1) from (values ('abc')) t(x)";
    let output = run(&["query", sql]);
    let error = text(&output.stderr);
    assert!(error.starts_with("error: substr: negative count"), "{error}");
    assert!(error.contains("--> query:2:1\n"), "{error}");
}

#[test]
fn views_that_read_too_many_views_are_refused() {
    let mut sql = "create view v0 as select 1 as a;\n".to_string();
    for view in 1..300 {
        sql.push_str(&format!("create view v{view} as select a + 1 as a from v{};\n", view - 1));
    }
    let (code, error) = failed(&["query", &sql]);
    assert_eq!(code, 1, "{error}");
    assert!(error.contains("other views, which is too deep"), "{error}");
    assert!(error.lines().next().is_some_and(|line| line.len() < 300), "{error}");
}
