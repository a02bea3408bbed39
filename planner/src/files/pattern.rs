//! Patterns of file names: `*` and `?` within a name, `[a-z]` and `[!a-z]` for one character,
//! `{a,b}` for one of several texts, `**` for any number of directories.
//!
//! Names that begin with a dot or an underscore are passed over, as by others who read sets of
//! files: they are temporary, or say something about the set. A pattern that begins with the same
//! character matches them, and partitions such as `_k=1` are none of them.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Component, Path, PathBuf};

use gristmill_engine::{Error, Result};

/// Deepest directories that `**` goes into.
const DEPTH_MAX: usize = 64;

/// Most patterns that the braces of one stand for.
const ALTERNATIVES_MAX: usize = 1_000;

/// Whether a path has characters with a meaning in patterns.
pub(crate) fn is_pattern(path: &Path) -> bool {
    path.to_str().is_some_and(|text| text.contains(['*', '?', '[', '{']))
}

/// The files that a pattern matches, by name.
///
/// # Errors
/// `Io` for a directory that cannot be read, `Input` for a pattern that is malformed.
pub(crate) fn matches(pattern: &Path) -> Result<Vec<PathBuf>> {
    let Some(text) = pattern.to_str() else {
        return Err(Error::input(format!("{} is not UTF-8", pattern.display())));
    };
    let mut found = BTreeSet::new();
    for alternative in alternatives(text)? {
        let (base, steps) = steps(Path::new(&alternative))?;
        walk(&base, &steps, 0, &mut found)?;
    }
    Ok(found.into_iter().collect())
}

/// All files below a directory, by name.
///
/// # Errors
/// As [`matches`].
pub(crate) fn below(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = BTreeSet::new();
    walk(directory, &[Step::Any, Step::Name(vec![Token::Many])], 0, &mut found)?;
    Ok(found.into_iter().collect())
}

/// The directory in which the files of a pattern are looked for.
pub(crate) fn base(pattern: &Path) -> PathBuf {
    let is_plain = |component: &Component<'_>| !is_pattern(Path::new(component));
    pattern.components().take_while(is_plain).collect()
}

/// Whether a pattern matches a path, of a file that need not be there.
pub(crate) fn takes(pattern: &Path, path: &Path) -> bool {
    let Ok(all) = alternatives(pattern.to_str().unwrap_or_default()) else { return false };
    all.iter().filter_map(|one| steps(Path::new(one)).ok()).any(|(base, steps)| {
        let below = path.strip_prefix(&base).ok();
        let names = below.and_then(|b| b.iter().map(OsStr::to_str).collect::<Option<Vec<_>>>());
        names.is_some_and(|names| take(&steps, &names))
    })
}

fn take(steps: &[Step], names: &[&str]) -> bool {
    match (steps.split_first(), names.split_first()) {
        (None, None) => true,
        (Some((Step::Any, rest)), first) => {
            let beyond = first.is_some_and(|(name, names)| !is_hidden(name) && take(steps, names));
            beyond || take(rest, names)
        }
        (Some((Step::Name(tokens), rest)), Some((name, names))) => {
            is_match(name, tokens) && take(rest, names)
        }
        _ => false,
    }
}

/// The texts that a text with braces stands for.
fn alternatives(text: &str) -> Result<Vec<String>> {
    let mut done = Vec::new();
    let mut open = vec![text.to_string()];
    while let Some(text) = open.pop() {
        let Some((begin, end)) = braces(&text) else {
            done.push(text);
            continue;
        };
        let end = end.ok_or_else(|| Error::input(format!("'{text}': a brace is never closed")))?;
        let (head, tail) = (&text[..begin], &text[end + 1..]);
        open.extend(choices(&text[begin + 1..end]).map(|inner| format!("{head}{inner}{tail}")));
        if open.len() + done.len() > ALTERNATIVES_MAX {
            return Err(Error::input(format!("'{text}' stands for too many patterns")));
        }
    }
    Ok(done)
}

/// Where the first brace is, and the one that closes it.
fn braces(text: &str) -> Option<(usize, Option<usize>)> {
    let begin = text.find('{')?;
    let mut depth = 0_usize;
    for (at, character) in text.char_indices().skip_while(|(at, _)| *at < begin) {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some((begin, Some(at)));
        }
    }
    Some((begin, None))
}

/// The texts between the commas that are in no inner braces.
fn choices(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_usize;
    text.split(move |character| {
        match character {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        character == ',' && depth == 0
    })
}

/// One component of a pattern.
#[derive(Debug, Clone, PartialEq)]
enum Step {
    /// Any directories, or none.
    Any,
    /// A name.
    Name(Vec<Token>),
}

/// What matches a part of a name.
#[derive(Debug, Clone, PartialEq)]
enum Token {
    Character(char),
    One,
    Many,
    Set { ranges: Vec<(char, char)>, is_negated: bool },
}

/// The directory before the first component with a meaning, and the components from there on.
fn steps(pattern: &Path) -> Result<(PathBuf, Vec<Step>)> {
    let (mut base, mut steps) = (PathBuf::new(), Vec::new());
    for component in pattern.components() {
        let name = component.as_os_str().to_str().unwrap_or_default();
        let is_plain = !name.contains(['*', '?', '[']);
        if steps.is_empty() && (is_plain || !matches!(component, Component::Normal(_))) {
            base.push(component);
        } else if name == "**" {
            steps.push(Step::Any);
        } else {
            steps.push(Step::Name(tokens(name)?));
        }
    }
    if steps.is_empty() {
        // The last name is a plain one: nothing but braces was there.
        let name = base.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_string();
        steps.push(Step::Name(name.chars().map(Token::Character).collect()));
        base.pop();
    }
    if steps.last() == Some(&Step::Any) {
        steps.push(Step::Name(vec![Token::Many]));
    }
    Ok((base, steps))
}

fn tokens(name: &str) -> Result<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut characters = name.chars().peekable();
    while let Some(character) = characters.next() {
        tokens.push(match character {
            '*' => Token::Many,
            '?' => Token::One,
            '[' => {
                let is_negated = characters.next_if(|c| matches!(c, '!' | '^')).is_some();
                let mut ranges = Vec::new();
                loop {
                    let unclosed = || Error::input(format!("'{name}': a bracket is never closed"));
                    let low = characters.next().ok_or_else(unclosed)?;
                    if low == ']' && !ranges.is_empty() {
                        break;
                    }
                    let mut high = low;
                    let mut ahead = characters.clone();
                    if ahead.next() == Some('-') && ahead.peek().is_some_and(|&c| c != ']') {
                        characters.next();
                        high = characters.next().ok_or_else(unclosed)?;
                    }
                    ranges.push((low, high));
                }
                Token::Set { ranges, is_negated }
            }
            plain => Token::Character(plain),
        });
    }
    Ok(tokens)
}

/// Adds the files below `directory` that match.
fn walk(
    directory: &Path,
    steps: &[Step],
    depth: usize,
    found: &mut BTreeSet<PathBuf>,
) -> Result<()> {
    let Some((step, rest)) = steps.split_first() else { return Ok(()) };
    if *step == Step::Any {
        walk(directory, rest, depth, found)?;
        if depth == DEPTH_MAX {
            return Ok(());
        }
    }
    for name in names(directory)? {
        let path = directory.join(&name);
        match step {
            // A link to a directory above would be followed for ever.
            Step::Any if !is_hidden(&name) && !path.is_symlink() && path.is_dir() => {
                walk(&path, steps, depth + 1, found)?;
            }
            Step::Name(tokens) if is_match(&name, tokens) => {
                if !rest.is_empty() {
                    if path.is_dir() {
                        walk(&path, rest, depth, found)?;
                    }
                } else if path.is_file() {
                    found.insert(path);
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// The names in a directory; none when there is no such directory.
fn names(directory: &Path) -> Result<Vec<String>> {
    let place = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let entries = match fs::read_dir(place) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) if e.kind() == std::io::ErrorKind::NotADirectory => return Ok(Vec::new()),
        Err(e) => return Err(Error::io("list", place, e)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| Error::io("list", place, e))?;
        names.extend(entry.file_name().into_string());
    }
    names.sort_unstable();
    Ok(names)
}

fn is_hidden(name: &str) -> bool {
    // A partition column may begin with an underscore.
    name.starts_with('.') || (name.starts_with('_') && !name.contains('='))
}

fn is_match(name: &str, tokens: &[Token]) -> bool {
    let first = tokens.first();
    let asks = matches!(first, Some(Token::Character(c)) if name.starts_with(*c));
    if is_hidden(name) && !asks {
        return false;
    }
    let name: Vec<char> = name.chars().collect();
    // Where to go on when what follows the last `*` does not match.
    let (mut at, mut token, mut again) = (0, 0, None);
    loop {
        match tokens.get(token) {
            Some(Token::Many) => {
                again = Some((at, token + 1));
                token += 1;
                continue;
            }
            None if at == name.len() => return true,
            Some(wanted) if name.get(at).is_some_and(|&c| wanted.takes(c)) => {
                (at, token) = (at + 1, token + 1);
                continue;
            }
            _ => {}
        }
        let Some((begin, behind)) = again.filter(|(begin, _)| *begin < name.len()) else {
            return false;
        };
        again = Some((begin + 1, behind));
        (at, token) = (begin + 1, behind);
    }
}

impl Token {
    fn takes(&self, character: char) -> bool {
        match self {
            Token::Character(wanted) => *wanted == character,
            Token::One | Token::Many => true,
            Token::Set { ranges, is_negated } => {
                let inside = ranges.iter().any(|&(low, high)| (low..=high).contains(&character));
                inside != *is_negated
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(name: &str, pattern: &str) -> bool {
        is_match(name, &tokens(pattern).expect("a pattern"))
    }

    #[test]
    fn names_match_patterns() {
        let cases = [
            ("a.csv", "*.csv", true),
            ("a.csv", "*", true),
            ("a.csv", "?.csv", true),
            ("ab.csv", "?.csv", false),
            ("žluť.csv", "ž???.csv", true),
            ("a.csv.gz", "*.csv", false),
            ("aXbXc", "a*b*c", true),
            ("aXbXd", "a*b*c", false),
            ("aaab", "*ab", true),
            ("part-3", "part-[0-9]", true),
            ("part-x", "part-[0-9]", false),
            ("part-x", "part-[!0-9]", true),
            ("a]", "a[]]", true),
            ("a-", "a[a-]", true),
            (".hidden", "*", false),
            ("_SUCCESS", "*", false),
            ("_SUCCESS", "_*", true),
            ("_k=1", "*", true),
            (".k=1", "*", false),
            (".a", ".a", true),
            ("", "", true),
        ];
        for (name, pattern, expected) in cases {
            assert_eq!(is(name, pattern), expected, "{name} {pattern}");
        }
        let paths = [
            ("a/*.csv", "a/b.csv", true),
            ("a/*.csv", "a/b/c.csv", false),
            ("a/**/*.csv", "a/b/c.csv", true),
            ("a/**", "a/b/_c/d.csv", false),
            ("{a,b}/x?.csv", "b/xy.csv", true),
            ("a/b.csv", "a/b.csv", true),
            ("*.csv", "a/b.csv", false),
        ];
        for (pattern, path, expected) in paths {
            assert_eq!(takes(Path::new(pattern), Path::new(path)), expected, "{pattern} {path}");
        }
        assert!(tokens("a[bc").is_err());
    }

    #[test]
    fn braces_are_alternatives() {
        let of = |text: &str| {
            let mut all = alternatives(text).expect("a pattern");
            all.sort();
            all
        };
        assert_eq!(of("a"), ["a"]);
        assert_eq!(of("{a,b}.c"), ["a.c", "b.c"]);
        assert_eq!(of("{a,b{1,2}}x{,y}"), ["ax", "axy", "b1x", "b1xy", "b2x", "b2xy"]);
        assert!(alternatives("{a,b").is_err());
        assert!(alternatives(&"{a,b}".repeat(30)).is_err());
    }

    #[test]
    fn files_are_found_in_all_depths() {
        let directory = tempfile::tempdir().expect("directory");
        let names = [
            "a.csv",
            "b.csv",
            "b.txt",
            "x/a.csv",
            "x/y/a.csv",
            "x/y/.a.csv",
            "_tmp/a.csv",
            "z/year=1/p.csv",
            "z/year=2/p.csv",
            "[odd].csv",
        ];
        for name in names {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("creates");
            fs::write(path, "").expect("writes");
        }
        #[cfg(unix)]
        std::os::unix::fs::symlink(directory.path(), directory.path().join("x/up")).expect("links");
        let found = |pattern: &str| {
            let found = matches(&directory.path().join(pattern)).expect("lists");
            let name = |path: &PathBuf| {
                let name = path.strip_prefix(directory.path()).expect("below").display();
                name.to_string()
            };
            found.iter().map(name).collect::<Vec<_>>()
        };
        assert_eq!(found("*.csv"), ["[odd].csv", "a.csv", "b.csv"]);
        assert_eq!(found("[a-b].csv"), ["a.csv", "b.csv"]);
        assert_eq!(found("{b,a}.{csv,txt}"), ["a.csv", "b.csv", "b.txt"]);
        assert_eq!(found("{a,c}.csv"), ["a.csv"]);
        assert_eq!(found("*/a.csv"), ["x/a.csv"]);
        assert_eq!(found("**/a.csv"), ["a.csv", "x/a.csv", "x/y/a.csv"]);
        assert_eq!(found("x/**"), ["x/a.csv", "x/y/a.csv"]);
        assert_eq!(found("z/year=*/*.csv"), ["z/year=1/p.csv", "z/year=2/p.csv"]);
        assert_eq!(found("_tmp/*"), ["_tmp/a.csv"]);
        assert!(found("nothing/*.csv").is_empty() && found("a.csv/*").is_empty());
        let all = below(&directory.path().join("x")).expect("lists");
        assert_eq!(all.len(), 2, "{all:?}");
        assert!(is_pattern(Path::new("a/*.csv")) && !is_pattern(Path::new("a/b.csv")));
    }
}
