//! The house rules, as tests: import directions, file and function sizes, headers, where `unsafe`
//! may stand, and that the documents name files that exist.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Longest file, its unit tests not counted.
const FILE_LINES_MAX: usize = 600;
/// Longest line, in characters.
const LINE_CHARS_MAX: usize = 100;
/// Longest function outside tests.
const FUNCTION_LINES_MAX: usize = 70;

/// Engine modules from the bottom up; a module imports from lower ranks and from itself.
const RANKS: &[(&str, u8)] = &[
    ("calendar", 0),
    ("moment_format", 0),
    ("error", 0),
    ("observe", 0),
    ("panics", 0),
    ("thrift", 0),
    ("batch", 1),
    ("memory", 1),
    ("scheduler", 1),
    ("expr", 2),
    ("pipeline", 3),
    ("plan", 4),
    ("sources", 5),
    ("operators", 5),
    ("sinks", 5),
    ("query", 6),
];

/// Modules of one rank that may import each other, in this direction.
const WITHIN_RANK: &[(&str, &str)] = &[("memory", "batch"), ("moment_format", "calendar")];

/// The only files with `unsafe` code; each has a measured reason in its header.
const UNSAFE_FILES: &[&str] = &[
    "cli/src/ending.rs",
    "cli/src/resident.rs",
    "cli/src/terminal.rs",
    "engine/src/memory/allocator.rs",
    "engine/src/memory/spill/window.rs",
    "engine/src/sources/csv/masks.rs",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a parent").to_path_buf()
}

fn rust_files() -> Vec<(String, String)> {
    fn walk(dir: &Path, out: &mut Vec<PathBuf>) {
        let Ok(entries) = fs::read_dir(dir) else { return };
        for path in entries.map(|e| e.expect("readable").path()) {
            if path.is_dir() && !path.ends_with("target") {
                walk(&path, out);
            } else if path.extension().is_some_and(|e| e == "rs") {
                out.push(path);
            }
        }
    }
    let mut paths = Vec::new();
    for top in ["engine", "planner", "cli", "tests", "benches", "fuzz"] {
        walk(&root().join(top), &mut paths);
    }
    paths.sort();
    let read = |path: &PathBuf| {
        let name = path.strip_prefix(root()).expect("below the root");
        (name.display().to_string(), fs::read_to_string(path).expect("readable"))
    };
    paths.iter().map(read).collect()
}

/// The lines before the unit tests that a file ends with.
fn code(text: &str) -> Vec<&str> {
    let lines: Vec<&str> = text.lines().collect();
    let begins_tests = |pair: &[&str]| {
        let for_tests = ["#[cfg(test)]", "#[cfg(all(test,"].iter().any(|c| pair[0].starts_with(c));
        for_tests && pair[1].starts_with("mod ") && pair[1].ends_with('{')
    };
    let end = lines.windows(2).position(begins_tests).unwrap_or(lines.len());
    lines[..end].to_vec()
}

fn is_test_code(name: &str) -> bool {
    name.starts_with("tests/") || name.ends_with("/tests.rs") || name.contains("/tests/")
}

fn report(problems: Vec<String>) {
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

#[test]
fn every_file_says_what_it_is_for() {
    let files = rust_files();
    let missing = files.iter().filter(|(_, text)| !text.starts_with("//!"));
    report(missing.map(|(name, _)| format!("{name}: begin with a `//!` purpose")).collect());
}

/// The modules that a header lists: names in a list, before a colon.
fn listed_modules(text: &str) -> Vec<String> {
    let header = text.lines().map_while(|line| line.strip_prefix("//!"));
    let mut names = Vec::new();
    let mut items: Vec<String> = Vec::new();
    let mut in_list = false;
    for line in header {
        match line.strip_prefix(" * ") {
            Some(item) => items.push(item.to_string()),
            None if in_list && line.starts_with("   ") => {
                items.iter_mut().rev().take(1).for_each(|item| item.push_str(&line[2..]));
            }
            None => {}
        }
        in_list = line.starts_with(" * ") || (in_list && line.starts_with("   "));
    }
    for item in items {
        let mut waiting = Vec::new();
        let parts: Vec<&str> = item.split('`').collect();
        for pair in parts.get(1..).unwrap_or_default().chunks(2) {
            let [name, after] = pair else { continue };
            if !name.chars().all(|c| c.is_lowercase() || c.is_ascii_digit() || c == '_') {
                waiting.clear();
                continue;
            }
            waiting.push(name.to_string());
            match *after {
                ", " | " and " => {}
                _ if after.starts_with(':') => names.append(&mut waiting),
                _ if after.starts_with(" (") => {}
                _ => waiting.clear(),
            }
        }
    }
    names
}

/// A header that lists modules lists all of them, by the names that they have.
#[test]
fn headers_list_the_modules_that_there_are() {
    let mut problems = Vec::new();
    for (name, text) in rust_files() {
        let is_root = ["mod.rs", "lib.rs", "main.rs"].iter().any(|root| name.ends_with(root));
        let listed = listed_modules(&text);
        if !is_root || listed.is_empty() {
            continue;
        }
        let declared = text.lines().filter_map(|line| {
            let (before, module) = line.strip_suffix(';')?.split_once("mod ")?;
            before.chars().all(|c| c.is_alphanumeric() || "() :".contains(c)).then_some(module)
        });
        let declared: Vec<&str> = declared.filter(|module| *module != "tests").collect();
        let header: String = text.lines().take_while(|line| line.starts_with("//!")).collect();
        let unknown = listed.iter().filter(|module| !declared.contains(&module.as_str()));
        problems.extend(unknown.map(|module| format!("{name}: there is no module `{module}`")));
        let missing = declared.iter().filter(|module| !header.contains(&format!("`{module}`")));
        problems.extend(missing.map(|module| format!("{name}: the header leaves out `{module}`")));
    }
    report(problems);
}

#[test]
fn files_lines_and_functions_are_short() {
    let mut problems = Vec::new();
    for (name, text) in rust_files() {
        let lines = code(&text);
        if lines.len() > FILE_LINES_MAX && !is_test_code(&name) {
            problems.push(format!("{name}: {} lines, at most {FILE_LINES_MAX}", lines.len()));
        }
        for (number, line) in text.lines().enumerate() {
            if line.chars().count() > LINE_CHARS_MAX {
                problems.push(format!("{name}:{}: over {LINE_CHARS_MAX} characters", number + 1));
            }
        }
        if !is_test_code(&name) {
            problems.extend(long_functions(&name, &lines));
        }
    }
    report(problems);
}

/// Functions are found by rustfmt's layout: a closing brace at the indentation of `fn`.
fn long_functions(name: &str, lines: &[&str]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut open: Vec<(usize, usize)> = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let text = line.trim_start();
        let is_one_line = text.ends_with(';') || text.ends_with('}');
        if begins_function(text) && !is_one_line {
            open.push((number, indent));
        }
        if text == "}" && open.last().is_some_and(|&(_, i)| i == indent) {
            let (start, _) = open.pop().expect("not empty");
            let length = number + 1 - start;
            if length > FUNCTION_LINES_MAX {
                let place = format!("{name}:{}", start + 1);
                problems.push(format!("{place}: {length} lines, at most {FUNCTION_LINES_MAX}"));
            }
        }
    }
    problems
}

/// Whether a line begins a function, whatever stands before `fn`.
fn begins_function(line: &str) -> bool {
    let (before, _) = line.split_once("fn ").unwrap_or(("no", ""));
    before.split_whitespace().all(|word| {
        let visibility = word.starts_with("pub") || word.ends_with(')');
        visibility || ["const", "unsafe", "async", "in"].contains(&word)
    })
}

/// The modules of the crate that code names from its root, with their lines: `crate::a`, and each
/// of `crate::{a, b::c}`.
fn named_from_root(lines: &[&str]) -> Vec<(usize, String)> {
    let word = |text: &str| -> String {
        text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let mut found = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        for rest in line.split("crate::").skip(1) {
            let Some(group) = rest.strip_prefix('{') else {
                found.push((number + 1, word(rest)));
                continue;
            };
            let rest = std::iter::once(group).chain(lines[number + 1..].iter().copied());
            let (mut depth, mut name) = (1, String::new());
            for c in rest.flat_map(|line| line.chars()) {
                depth += i32::from(c == '{') - i32::from(c == '}');
                match c {
                    _ if depth == 0 => break,
                    ',' if depth == 1 => found.push((number + 1, word(&std::mem::take(&mut name)))),
                    c => name.push(c),
                }
            }
            found.push((number + 1, word(&name)));
        }
    }
    found
}

#[test]
fn names_from_the_root_are_found_in_groups_too() {
    let lines = ["use crate::{a, b::{c, d},", "    e_f::G};", "let x = crate::h::i();"];
    let names: Vec<String> = named_from_root(&lines).into_iter().map(|(_, name)| name).collect();
    assert_eq!(names, ["a", "b", "e_f", "h"]);
}

#[test]
fn the_engine_imports_downwards_only() {
    let ranks: BTreeMap<&str, u8> = RANKS.iter().copied().collect();
    let mut problems = Vec::new();
    for (name, text) in rust_files() {
        let Some(inside) = name.strip_prefix("engine/src/") else { continue };
        let module = inside.split(['/', '.']).next().expect("not empty");
        let Some(&rank) = ranks.get(module) else { continue };
        let lines = code(&text);
        for (number, target) in named_from_root(&lines) {
            let Some(&below) = ranks.get(target.as_str()) else { continue };
            let allowed = below < rank
                || target == module
                || WITHIN_RANK.contains(&(module, target.as_str()));
            if !allowed {
                problems.push(format!("{name}:{number}: {module} imports {target}"));
            }
        }
        let depth = inside.trim_end_matches("/mod.rs").split('/').count();
        for (number, line) in lines.iter().enumerate() {
            if line.contains(&"super::".repeat(depth)) {
                problems.push(format!("{name}:{}: name it from `crate`", number + 1));
            }
        }
    }
    report(problems);
}

/// The names that stand behind `prefix`, alone or in braces.
fn named_behind(text: &str, prefix: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (at, _) in text.match_indices(prefix) {
        let is_longer = text[..at].ends_with("::");
        let rest = &text[at + prefix.len()..];
        let group = match rest.strip_prefix('{') {
            _ if is_longer => continue,
            Some(group) => group.split('}').next().unwrap_or_default(),
            None => rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or(rest),
        };
        let name = |part: &str| part.trim().split("::").next().unwrap_or_default().to_string();
        names.extend(group.split(',').map(name).filter(|name| !name.is_empty()));
    }
    names
}

#[test]
fn operators_sources_and_sinks_do_not_import_their_siblings() {
    let mut problems = Vec::new();
    for (name, text) in rust_files() {
        let parts: Vec<&str> = name.split('/').collect();
        let ["engine", "src", family @ ("operators" | "sources" | "sinks"), own, ..] = parts[..]
        else {
            continue;
        };
        let own = own.trim_end_matches(".rs");
        // What is tested through others' formats may name them.
        if own == "mod" || name.ends_with("/tests.rs") {
            continue;
        }
        let shared = [
            "block", "commit", "count", "declared", "file", "groups", "guard", "lines", "ordered",
            "plain", "stream", "text",
        ];
        let depth = parts.len() - 3 - usize::from(parts.ends_with(&["mod.rs"]));
        let text = code(&text).join(" ");
        for prefix in [format!("crate::{family}::"), "super::".repeat(depth)] {
            for sibling in named_behind(&text, &prefix) {
                // Types are re-exported by the family itself.
                let is_module = sibling.starts_with(|c: char| c.is_lowercase());
                let is_own = sibling == own || sibling == "super" || sibling == "self";
                if is_module && !is_own && !shared.contains(&sibling.as_str()) {
                    problems.push(format!("{name}: imports {family}::{sibling}"));
                }
            }
        }
    }
    report(problems);
}

#[test]
fn unsafe_stands_only_where_it_is_allowed() {
    let mut problems = Vec::new();
    for (name, text) in rust_files() {
        if name == "tests/tidy.rs" || UNSAFE_FILES.contains(&name.as_str()) {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if code.contains("unsafe ") {
                problems.push(format!("{name}:{}: unsafe outside the list", number + 1));
            }
        }
    }
    report(problems);
}

#[test]
fn nothing_is_left_unfinished() {
    let words = ["todo!(", "unimplemented!(", "dbg!(", "TODO", "FIXME", "XXX"];
    let mut problems = Vec::new();
    for (name, text) in rust_files() {
        if name == "tests/tidy.rs" {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            if let Some(word) = words.iter().find(|w| line.contains(**w)) {
                problems.push(format!("{name}:{}: {word}", number + 1));
            }
        }
    }
    report(problems);
}

#[test]
fn no_drawer_files() {
    let drawers = ["utils", "util", "helpers", "common", "misc"];
    let files = rust_files();
    let bad = files.iter().filter(|(name, _)| {
        Path::new(name).iter().any(|part| {
            let part = part.to_string_lossy();
            drawers.contains(&part.trim_end_matches(".rs"))
        })
    });
    report(bad.map(|(name, _)| format!("{name}: name it after what it does")).collect());
}

#[test]
fn only_the_planner_names_the_borrowed_front_end() {
    let files = rust_files();
    let bad = files.iter().filter(|(name, text)| {
        !name.starts_with("planner/") && name != "tests/tidy.rs" && text.contains("use datafusion")
    });
    report(bad.map(|(name, _)| format!("{name}: names DataFusion")).collect());
    let manifest = fs::read_to_string(root().join("engine/Cargo.toml")).expect("readable");
    assert!(!manifest.contains("datafusion"), "the engine depends on no DataFusion crate");
}

#[test]
fn documents_name_files_that_exist() {
    let mut problems = Vec::new();
    for (document, base) in [("README.md", ""), ("engine/README.md", "engine/")] {
        let Ok(text) = fs::read_to_string(root().join(document)) else {
            problems.push(format!("{document} is missing"));
            continue;
        };
        for path in text.split('`').skip(1).step_by(2) {
            let looks_like_path = path.contains('/')
                && path.chars().all(|c| c.is_alphanumeric() || "/_.-".contains(c))
                && !path.starts_with(['/', '.']);
            let found = root().join(path).exists()
                || root().join(base).join(path).exists()
                || root().join(base).join("src").join(path).exists();
            if looks_like_path && !found {
                problems.push(format!("{document}: `{path}` does not exist"));
            }
        }
    }
    report(problems);
}
