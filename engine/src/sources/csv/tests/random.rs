//! Random files against a parser that reads byte by byte, in many dialects, with ranges of a few
//! bytes, several workers, and compressed.

use super::*;

/// Reads the way the grammar is written down, one byte after the other.
struct Naive<'a> {
    text: &'a [u8],
    dialect: &'a CsvDialect,
    at: usize,
}

impl Naive<'_> {
    fn byte(mark: Option<char>) -> Option<u8> {
        mark.map(|mark| mark as u8)
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn skip_line(&mut self) {
        while let Some(byte) = self.peek() {
            self.at += 1;
            if byte == b'\n' {
                break;
            }
        }
    }

    fn is_comment(&self) -> bool {
        self.peek().is_some() && self.peek() == Self::byte(self.dialect.comment)
    }

    fn rows(mut self, width: usize) -> Vec<Row> {
        if self.text.starts_with("\u{feff}".as_bytes()) {
            self.at = 3;
        }
        (0..self.dialect.skip_lines).for_each(|_| self.skip_line());
        let mut rows = Vec::new();
        let mut header = self.dialect.header;
        while self.at < self.text.len() {
            if self.is_comment() {
                self.skip_line();
                continue;
            }
            let begin = self.at;
            let mut row = self.record();
            let line = &self.text[begin..(self.at - 1).min(self.text.len())];
            if (width > 1 || header) && (line.is_empty() || line == b"\r") {
                continue;
            }
            if self.dialect.trailing_delimiter {
                assert_eq!(row.pop(), Some(None));
            }
            if !std::mem::take(&mut header) {
                rows.push(row);
            }
        }
        rows
    }

    fn record(&mut self) -> Row {
        let mut row = Row::new();
        loop {
            row.push(self.field());
            let ends = self.peek().is_none_or(|byte| byte == b'\n');
            self.at += 1;
            if ends {
                return row;
            }
        }
    }

    fn field(&mut self) -> Option<String> {
        let (quote, escape) = (Self::byte(self.dialect.quote), Self::byte(self.dialect.escape));
        let mut field = Vec::new();
        let quoted = quote.is_some() && self.peek() == quote;
        if quoted {
            self.at += 1;
            loop {
                let byte = self.peek();
                self.at += 1;
                if byte == escape {
                    field.extend(self.peek());
                    self.at += 1;
                } else if byte != quote {
                    field.extend(byte);
                } else if self.peek() == quote {
                    field.extend(quote);
                    self.at += 1;
                } else {
                    break;
                }
            }
        }
        let delimiter = Self::byte(self.dialect.delimiter);
        while self.peek().is_some_and(|byte| byte != b'\n' && Some(byte) != delimiter) {
            field.extend(self.peek());
            self.at += 1;
        }
        let last = self.peek().is_none_or(|byte| byte == b'\n');
        if last && field.last() == Some(&b'\r') && self.text[self.at - 1] == b'\r' {
            field.pop();
        }
        (quoted || !field.is_empty()).then(|| String::from_utf8(field).expect("UTF-8"))
    }
}

fn random_dialect(random: &mut Random) -> CsvDialect {
    let mut one_in = |n: usize| random.next(n) == 0;
    CsvDialect {
        delimiter: Some(if one_in(2) { ',' } else { ';' }),
        quote: (!one_in(6)).then_some('"'),
        escape: one_in(5).then_some('\\'),
        header: one_in(3),
        comment: one_in(3).then_some('#'),
        trailing_delimiter: one_in(4),
        skip_lines: if one_in(4) { 2 } else { 0 },
        ..CsvDialect::default()
    }
}

/// Writes a file of a dialect.
struct Writer<'a> {
    random: &'a mut Random,
    dialect: &'a CsvDialect,
    newline: &'static str,
    text: String,
}

impl Writer<'_> {
    fn write(mut self, width: usize) -> Vec<u8> {
        if self.random.next(6) == 0 {
            self.text.push('\u{feff}');
        }
        for _ in 0..self.dialect.skip_lines {
            self.text.push_str(["no \"csv", "", "#,"][self.random.next(3)]);
            self.text.push_str(self.newline);
        }
        if self.dialect.header {
            self.filler();
            let names: Vec<String> = (0..width).map(|n| format!("c{n}")).collect();
            self.text.push_str(&names.join(&self.delimiter()));
            self.end_record(true);
        }
        let records = self.random.next(12);
        for record in 0..records {
            if width > 1 || self.dialect.comment.is_some() {
                self.filler_unless_row(width);
            }
            for column in 0..width {
                if column > 0 {
                    self.text.push_str(&self.delimiter());
                }
                self.field(column == 0);
            }
            let goes_on = record + 1 < records || self.random.next(2) == 0;
            self.end_record(goes_on);
        }
        self.text.into_bytes()
    }

    fn delimiter(&self) -> String {
        self.dialect.delimiter.map(String::from).unwrap_or_default()
    }

    fn end_record(&mut self, goes_on: bool) {
        if self.dialect.trailing_delimiter {
            self.text.push_str(&self.delimiter());
        }
        if goes_on {
            self.text.push_str(self.newline);
        }
    }

    /// Empty lines and comments.
    fn filler(&mut self) {
        while self.random.next(4) == 0 {
            if self.dialect.comment.is_some() && self.random.next(2) == 0 {
                self.text.push_str(["# \"x, y", "#", "#;\\\"#"][self.random.next(3)]);
            }
            self.text.push_str(self.newline);
        }
    }

    fn filler_unless_row(&mut self, width: usize) {
        if width > 1 {
            self.filler();
        } else if self.random.next(4) == 0 {
            self.text.push_str("#\"");
            self.text.push_str(self.newline);
        }
    }

    fn field(&mut self, begins_record: bool) {
        const PARTS: [&str; 13] = [
            "a",
            "bc",
            "\"",
            ",",
            "\n",
            ";",
            "é",
            "🌾",
            "12",
            " ",
            "\r\n",
            "#",
            "long text of words ",
        ];
        let parts: String =
            (0..self.random.next(5)).map(|_| PARTS[self.random.next(PARTS.len())]).collect();
        let special = |c: char| c == '\n' || c == '\r' || Some(c) == self.dialect.delimiter;
        let comment = begins_record && parts.starts_with('#') && self.dialect.comment.is_some();
        let plain = !parts.starts_with('"') && !parts.contains(special) && !comment;
        if self.dialect.quote.is_none() {
            let plain = !parts.contains(special) && !comment;
            self.text.push_str(if plain { &parts } else { "\"plain" });
        } else if plain && self.random.next(3) > 0 {
            // Quotes within fields that do not begin with one are text.
            self.text.push_str(&parts);
        } else {
            let escaped = match self.dialect.escape {
                Some(_) => parts.replace('"', "\\\""),
                None => parts.replace('"', "\"\""),
            };
            self.text.push_str(&format!("\"{escaped}\""));
        }
    }
}

#[test]
fn random_files_read_as_by_the_naive_parser_whatever_the_ranges() {
    let files = Files::new();
    for seed in 0..500 {
        let mut random = Random(seed * 7919 + 1);
        let width = 1 + random.next(4);
        let mut dialect = random_dialect(&mut random);
        dialect.escape = dialect.escape.filter(|_| dialect.quote.is_some());
        let newline = ["\n", "\r\n"][random.next(2)];
        let writer =
            Writer { random: &mut random, dialect: &dialect, newline, text: String::new() };
        let text = writer.write(width);
        let expected = Naive { text: &text, dialect: &dialect, at: 0 }.rows(width);
        let types = columns(&vec![DataType::Utf8View; width]);
        let check = |bytes: &[u8], range_bytes: u64, threads: usize, ahead: usize| {
            let file = files.write("random.csv", bytes);
            let mut spec = CsvScan::new(vec![file], dialect.clone(), types.clone());
            let said = || format!("seed {seed}, {dialect}\n{}", text.escape_ascii());
            for _ in 0..2 {
                let found = scan(&spec, threads, cut(range_bytes, ahead));
                let found = found.unwrap_or_else(|e| panic!("{e}: {}", said()));
                let expected: Vec<Row> = match spec.projection.is_empty() {
                    true => vec![Row::new(); expected.len()],
                    false => expected.clone(),
                };
                let how = format!("ranges of {range_bytes}, {threads} threads");
                assert_eq!(found, expected, "{how}, {}", said());
                spec.projection.clear();
            }
        };
        for range_bytes in [1, 7, 13, 64, 1000] {
            for (threads, ahead) in [(1, 0), (2, 5), (4, 64)] {
                check(&text, range_bytes, threads, ahead);
            }
        }
        let compressed = if seed % 2 == 0 { gzip(&text) } else { zstd(&text) };
        for (range_bytes, threads) in [(1, 2), (100, 1), (1000, 3)] {
            check(&compressed, range_bytes, threads, 0);
        }
    }
}
