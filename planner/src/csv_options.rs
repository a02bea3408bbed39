//! Options of CSV files as programs write them: names and values that are texts.
//!
//! Names are those of several engines, so that a program written for another one is understood:
//! each option has one name of its own and others that mean the same.

use gristmill_engine::sources::csv::{CsvCompression, CsvOptions};
use gristmill_engine::{Error, Result};

use crate::sql::nearest;

/// An option that was given.
struct Given<'a> {
    name: &'a str,
    value: &'a str,
}

type Set = fn(CsvOptions, &Given<'_>) -> Result<CsvOptions>;

/// An option that can be given.
struct Known {
    /// Its names, its own first.
    names: &'static [&'static str],
    /// Whether it may be given several times.
    repeats: bool,
    set: Set,
}

const KNOWN: &[Known] = &[
    Known {
        names: &["delimiter", "delim", "sep", "separator", "field_delimiter"],
        repeats: false,
        set: |options, given| Ok(options.delimiter(given.mark()?)),
    },
    Known {
        names: &["header", "has_header"],
        repeats: false,
        set: |options, given| match given.value.to_ascii_lowercase().as_str() {
            "auto" => Ok(options),
            _ => Ok(options.header(given.truth("true, false or auto")?)),
        },
    },
    Known {
        names: &["quote", "quote_char"],
        repeats: false,
        set: |options, given| match given.value {
            "" => Ok(options.quote(None)),
            _ => Ok(options.quote(Some(given.mark()?))),
        },
    },
    Known {
        names: &["escape", "escape_char"],
        repeats: false,
        set: |options, given| Ok(options.escape(given.mark()?)),
    },
    Known {
        names: &[
            "null",
            "nulls",
            "nullstr",
            "null_string",
            "null_strings",
            "null_value",
            "null_values",
        ],
        repeats: true,
        set: |options, given| Ok(options.null_strings(given.list()?)),
    },
    Known {
        names: &["comment", "comment_char", "comment_prefix"],
        repeats: false,
        set: |options, given| Ok(options.comment(given.mark()?)),
    },
    Known {
        names: &["skip", "skip_lines", "skip_rows"],
        repeats: false,
        set: |options, given| Ok(options.skip_lines(given.number("a number of lines")?)),
    },
    Known {
        names: &["trailing_delimiter", "trailing_sep"],
        repeats: false,
        set: |options, given| Ok(options.trailing_delimiter(given.truth("true or false")?)),
    },
    Known {
        names: &["date_format", "dateformat"],
        repeats: false,
        set: |options, given| Ok(options.date_format(given.value)),
    },
    Known {
        names: &["timestamp_format", "timestampformat", "datetime_format"],
        repeats: false,
        set: |options, given| Ok(options.timestamp_format(given.value)),
    },
    Known {
        names: &["newline", "new_line", "line_terminator", "terminator", "eol"],
        repeats: false,
        set: |options, given| match given.value {
            "\\n" | "\n" | "\\r\\n" | "\r\n" => Ok(options.newline('\n')),
            "\\r" | "\r" => Ok(options.newline('\r')),
            _ => Err(given.wrong("\\n, \\r\\n or \\r")),
        },
    },
    Known {
        names: &["compression", "file_compression_type"],
        repeats: false,
        set: |options, given| match given.value.to_ascii_lowercase().as_str() {
            "auto" => Ok(options),
            "none" | "uncompressed" => Ok(options.compression(CsvCompression::None)),
            "gzip" | "gz" => Ok(options.compression(CsvCompression::Gzip)),
            "zstd" | "zst" => Ok(options.compression(CsvCompression::Zstd)),
            _ => Err(given.wrong("auto, none, gzip or zstd")),
        },
    },
    Known {
        names: &["encoding"],
        repeats: false,
        set: |options, given| match given.value.to_ascii_lowercase().as_str() {
            "utf-8" | "utf8" => Ok(options),
            _ => Err(given.wrong("UTF-8, and convert the file to it")),
        },
    },
    Known {
        names: &["sample_size", "sample_rows", "schema_infer_max_rec"],
        repeats: false,
        set: |options, given| match given.value {
            "-1" | "all" => Ok(options.sample_rows(u64::MAX)),
            _ => Ok(options.sample_rows(given.number("a number of rows, or -1 for all")?)),
        },
    },
    Known {
        names: &["all_varchar", "all_text"],
        repeats: false,
        set: |options, given| Ok(options.all_text(given.truth("true or false")?)),
    },
    Known {
        names: &["ignore_errors"],
        repeats: false,
        set: |options, given| match given.truth("false")? {
            false => Ok(options),
            true => Err(given.wrong(
                "false: what cannot be read is an error with its place. Declare the column as \
                 VARCHAR and use TRY_CAST to go on",
            )),
        },
    },
];

/// What options, given by name, say about a CSV file. Names may be in any case and have `format.`
/// in front. Values are as in SQL, without the quotes: `'|'` is one character, and so is the
/// escape `\t`; several texts are a list, `['', 'NA']`.
///
/// # Errors
/// `Input` naming the option and what it may be; for an unknown name, the nearest known one.
///
/// ```
/// # fn main() -> gristmill::Result<()> {
/// let options = gristmill::csv_options([("delim", "|"), ("header", "false")])?;
/// assert_eq!(options, gristmill::CsvOptions::new().delimiter('|').header(false));
/// # Ok(())
/// # }
/// ```
pub fn csv_options<N: AsRef<str>, V: AsRef<str>>(
    given: impl IntoIterator<Item = (N, V)>,
) -> Result<CsvOptions> {
    let mut options = CsvOptions::new();
    let mut seen = vec![false; KNOWN.len()];
    for (name, value) in given {
        let lower = name.as_ref().to_lowercase();
        let name = lower.strip_prefix("format.").unwrap_or(&lower);
        let Some(at) = KNOWN.iter().position(|known| known.names.contains(&name)) else {
            return Err(unknown(name));
        };
        let known = &KNOWN[at];
        if std::mem::replace(&mut seen[at], true) && !known.repeats {
            return Err(Error::input(format!(
                "the CSV option `{}` is given twice; give it once",
                known.names[0]
            )));
        }
        options = (known.set)(options, &Given { name, value: value.as_ref() })?;
    }
    Ok(options)
}

fn unknown(name: &str) -> Error {
    let all = KNOWN.iter().flat_map(|known| known.names).copied();
    let hint = match nearest(name, all) {
        Some(near) => format!("did you mean `{near}`?"),
        None => {
            let own: Vec<&str> = KNOWN.iter().map(|known| known.names[0]).collect();
            format!("there are {}", own.join(", "))
        }
    };
    Error::input(format!("there is no CSV option `{name}`; {hint}"))
}

impl Given<'_> {
    fn wrong(&self, expected: &str) -> Error {
        let Given { name, value } = self;
        Error::input(format!("the CSV option `{name}` cannot be '{value}'; use {expected}"))
    }

    /// One character.
    fn mark(&self) -> Result<char> {
        if self.value == "\\t" {
            return Ok('\t');
        }
        let mut characters = self.value.chars();
        match (characters.next(), characters.next()) {
            (Some(mark), None) => Ok(mark),
            _ => Err(self.wrong("one character")),
        }
    }

    fn truth(&self, expected: &str) -> Result<bool> {
        match self.value.to_ascii_lowercase().as_str() {
            "true" | "on" | "yes" | "1" => Ok(true),
            "false" | "off" | "no" | "0" => Ok(false),
            _ => Err(self.wrong(expected)),
        }
    }

    fn number(&self, expected: &str) -> Result<u64> {
        self.value.replace('_', "").parse().map_err(|_| self.wrong(expected))
    }

    /// One text as it stands, or several in brackets.
    fn list(&self) -> Result<Vec<String>> {
        let text = self.value.trim();
        match text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
            Some(inside) => texts(inside)
                .ok_or_else(|| self.wrong("a text, or texts in brackets such as ['', 'NA']")),
            None => Ok(vec![self.value.to_string()]),
        }
    }
}

/// Texts between commas, each in single or double quotes, which are doubled within.
fn texts(list: &str) -> Option<Vec<String>> {
    let mut texts = Vec::new();
    let mut rest = list.trim_start();
    while !rest.is_empty() {
        let quote = rest.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
        let mut text = String::new();
        let mut characters = rest[1..].char_indices().peekable();
        let end = loop {
            match characters.next()? {
                (at, c) if c == quote => match characters.next_if(|&(_, next)| next == quote) {
                    Some(_) => text.push(quote),
                    None => break at + 2,
                },
                (_, c) => text.push(c),
            }
        };
        texts.push(text);
        rest = rest[end..].trim_start();
        if !rest.is_empty() {
            rest = rest.strip_prefix(',')?.trim_start();
            if rest.is_empty() {
                return None;
            }
        }
    }
    Some(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(name: &str, value: &str) -> String {
        csv_options([(name, value)]).expect_err("refused").to_string()
    }

    #[test]
    fn options_have_several_names() {
        let expected = CsvOptions::new()
            .delimiter('\t')
            .quote(None)
            .escape('\\')
            .header(true)
            .null_strings(["", "it's", "-"]);
        for names in [
            ["delimiter", "quote", "escape", "header", "null", "nullstr"],
            ["format.SEP", "Quote_Char", "escape_char", "HAS_HEADER", "nulls", "null_value"],
        ] {
            let values = ["\\t", "", "\\", "On", "['', 'it''s']", "-"];
            assert_eq!(csv_options(names.into_iter().zip(values)).expect("known"), expected);
        }
        let nothing = [("header", "auto"), ("compression", "auto"), ("encoding", "UTF-8")];
        assert_eq!(csv_options(nothing).expect("known"), CsvOptions::new());
        let none = csv_options([("nullstr", "[]")]).expect("known");
        assert_eq!(none, CsvOptions::new().null_strings([""; 0]));
        assert_ne!(none, CsvOptions::new());
        let others = [
            ("comment", "#"),
            ("skip", "1_000"),
            ("trailing_delimiter", "yes"),
            ("dateformat", "%d/%m/%Y"),
            ("timestampformat", "%s"),
            ("newline", "\\r"),
            ("compression", "gz"),
            ("sample_size", "-1"),
            ("all_varchar", "1"),
            ("ignore_errors", "false"),
        ];
        let expected = CsvOptions::new()
            .comment('#')
            .skip_lines(1000)
            .trailing_delimiter(true)
            .date_format("%d/%m/%Y")
            .timestamp_format("%s")
            .newline('\r')
            .compression(CsvCompression::Gzip)
            .sample_rows(u64::MAX)
            .all_text(true);
        assert_eq!(csv_options(others).expect("known"), expected);
    }

    #[test]
    fn what_cannot_be_understood_names_the_option() {
        assert!(error("delimeter", "|").contains("did you mean `delimiter`?"));
        assert!(error("colour", "|").contains("there are delimiter, header"));
        assert!(error("encoding", "latin-1").contains("use UTF-8, and convert the file"));
        assert!(error("ignore_errors", "true").contains("TRY_CAST"));
        assert!(error("skip", "-1").contains("use a number of lines"));
        assert!(error("compression", "xz").contains("use auto, none, gzip or zstd"));
        assert!(error("newline", "x").contains("use \\n, \\r\\n or \\r"));
        assert!(error("sep", "||").contains("`sep` cannot be '||'; use one character"));
        assert!(error("header", "maybe").contains("use true, false or auto"));
        for list in ["[a]", "['a' 'b']", "['a", "['a',]", "['a]"] {
            let refused = csv_options([("nullstr", list)]);
            assert_eq!(refused.is_err(), list.ends_with(']'), "{list}");
        }
        let twice = csv_options([("sep", ","), ("delim", ";")]).expect_err("twice").to_string();
        assert!(twice.contains("given twice"), "{twice}");
    }

    #[test]
    fn lists_of_texts() {
        let some = |texts: &[&str]| Some(texts.iter().map(|s| (*s).to_string()).collect());
        assert_eq!(texts(""), some(&[]));
        assert_eq!(texts(" 'a' , \"b'\" "), some(&["a", "b'"]));
        assert_eq!(texts("'é''', ''"), some(&["é'", ""]));
    }
}
