//! What is found out about files of many kinds.

use std::fmt::Write;

use super::*;
use arrow::datatypes::TimeUnit;

fn facts_of(text: &[u8], options: &CsvOptions) -> Result<CsvFacts> {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("a.csv");
    std::fs::write(&path, text).expect("writes");
    sniff(&path, options, &Governor::unlimited())
}

fn facts(text: &str) -> CsvFacts {
    facts_of(text.as_bytes(), &CsvOptions::default()).expect(text)
}

fn columns(facts: &CsvFacts) -> Vec<(&str, DataType)> {
    facts.columns.iter().map(|c| (c.name.as_str(), c.data_type.clone())).collect()
}

#[test]
fn delimiters_and_headers() {
    for (text, delimiter, header, width) in [
        ("a,b\n1,2\n", ',', true, 2),
        ("a;b;c\n1,5;2,5;3\n", ';', true, 3),
        ("a\tb\nx, y\tz, w\n", '\t', true, 2),
        ("1|2|x\n3|4|y\n", '|', false, 3),
        ("\"a,b\";c\n\"d,e\";f\n", ';', true, 2),
        ("a\n1\n", ',', true, 1),
        ("1\n2\n", ',', false, 1),
        ("a,b", ',', true, 2),
        ("\n\r\na,b\r\n1,2\r\n", ',', true, 2),
        ("\u{feff}a,b\n1,2\n", ',', true, 2),
        ("a,b\r1,2\r", ',', true, 2),
        (",x,y\n1,2,3\n", ',', true, 3),
    ] {
        let facts = facts(text);
        let found = (facts.dialect.delimiter, facts.dialect.header, facts.columns.len());
        assert_eq!(found, (Some(delimiter), header, width), "{text:?}");
        // Of one column, empty lines are rows.
        assert_eq!(facts.is_exact, width > 1);
    }
    let cr = facts("a,b\r1,2\r");
    assert_eq!((cr.dialect.newline, cr.rows), ('\r', 1.0));
    assert_eq!(columns(&facts("\u{feff}\"a\",b\n1,x\n"))[0], ("a", DataType::Int64));
    let no_names = facts("1,x\n2,y\n");
    assert_eq!(columns(&no_names)[1], ("column2", DataType::Utf8View));
    assert_eq!(no_names.rows, 2.0);
}

#[test]
fn types_and_words_for_null() {
    let text = "i,f,d,t,b,s,n\n\
                1,1.5,2000-01-01,2000-01-01 10:00:00,true,NA,NA\n\
                NA,2,,2000-01-01T11:00:00,false,x,NA\n";
    let facts = facts(text);
    assert_eq!(facts.dialect.found_nulls, ["NA"]);
    let types: Vec<DataType> = columns(&facts).into_iter().map(|(_, t)| t).collect();
    let expected = [
        DataType::Int64,
        DataType::Float64,
        DataType::Date32,
        DataType::Timestamp(TimeUnit::Microsecond, None),
        DataType::Boolean,
        DataType::Utf8View,
        DataType::Utf8View,
    ];
    assert_eq!(types, expected);
    // Without a column that shows it, the word is text.
    let countries = super::tests::facts("code,name\nNA,Namibia\nDE,Germany\n");
    assert!(countries.dialect.found_nulls.is_empty());
    let declared =
        CsvOptions { null_strings: Some(vec!["-".to_string()]), ..CsvOptions::default() };
    let facts = facts_of(b"a,b\n1,NA\n-,x\n", &declared).expect("reads");
    assert_eq!(facts.dialect.null_strings, ["-"]);
    assert!(facts.dialect.found_nulls.is_empty());
    assert_eq!(columns(&facts)[0].1, DataType::Int64);
    // Nor is it among values of a column that is declared as text.
    let declared =
        CsvOptions::new().columns([("code", DataType::Utf8View), ("n", DataType::Int64)]);
    let facts = facts_of(b"code,n\nNA,1\n7,2\n", &declared).expect("reads");
    assert!(facts.dialect.found_nulls.is_empty());
}

#[test]
fn large_files_are_sampled_and_their_rows_estimated() {
    let mut text = "id,comment\n".to_string();
    for n in 0..60_000 {
        let _ = writeln!(text, "{n},\"words, and\na second line\"");
    }
    // Not in any of the three pieces.
    let at = text.len() / 4;
    let at = at + text[at..].find("\"\n").expect("a record") + 2;
    text.insert_str(at, "x,\"\"\n");
    let facts = facts(&text);
    assert!(!facts.is_exact && facts.sample_rows > 1000 && facts.sample_rows < 30_000);
    assert!((facts.rows - 60_001.0).abs() < 3000.0, "{}", facts.rows);
    assert_eq!(columns(&facts)[0].1, DataType::Int64, "found from the sample");
    assert!(facts.describe().contains("2 of 2 types found from"), "{}", facts.describe());
}

#[test]
fn a_record_longer_than_the_sample() {
    let text = format!("id,{}\n1,2\n", "x".repeat(500_000));
    let facts = facts(&text);
    assert_eq!(columns(&facts)[0], ("id", DataType::Int64));
}

#[test]
fn declared_columns_and_types() {
    let declared = CsvOptions {
        columns: Some(vec![
            ("k".to_string(), DataType::Int32),
            ("price".to_string(), DataType::Decimal128(15, 2)),
        ]),
        ..CsvOptions::default()
    };
    let facts = facts_of(b"key,price\n1,2.5\n", &declared).expect("reads");
    assert_eq!(columns(&facts)[0], ("k", DataType::Int32));
    assert_eq!(facts.header_names.as_deref(), Some(&["key".to_string(), "price".to_string()][..]));
    assert!(facts.columns.iter().all(|column| !column.detected));
    let error = facts_of(b"a,b,c\n", &declared).expect_err("three fields").to_string();
    assert!(error.contains("2 columns are declared"), "{error}");
    assert!(error.contains("3 fields"), "{error}");
    assert_eq!(facts_of(b"", &declared).expect("no rows").rows, 0.0);

    let types =
        CsvOptions { types: vec![("a".to_string(), DataType::Utf8View)], ..CsvOptions::default() };
    let facts = facts_of(b"a,b\n1,2\n", &types).expect("reads");
    assert_eq!(columns(&facts)[0].1, DataType::Utf8View);
    assert!(!facts.columns[0].detected && facts.columns[1].detected);
    let error = facts_of(b"x,y\n1,2\n", &types).expect_err("no column a").to_string();
    assert!(error.contains("no column `a`") && error.contains("x, y"), "{error}");
}

#[test]
fn what_is_no_csv_is_named() {
    for (bytes, expected) in [
        (&b""[..], "is empty"),
        (b"\n\n", "is empty"),
        (b"PAR1....", "Parquet"),
        (b"BZh9", "bzip2"),
        (b"a\0b\0\n\0", "line 1, column 2: this is no text in UTF-8"),
        (b"\x1f\x8b\x08\x00", "gzip"),
        (b"\xff\xfea\x00", "UTF-16"),
    ] {
        let error = facts_of(bytes, &CsvOptions::default()).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn the_flights_data() {
    let data = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../data");
    let facts = |name: &str| {
        let found = sniff(&data.join(name), &CsvOptions::default(), &Governor::unlimited());
        found.expect(name)
    };
    let weather = facts("weather.csv");
    assert_eq!(weather.dialect.found_nulls, ["NA"]);
    let types: Vec<DataType> = weather.columns.iter().map(|c| c.data_type.clone()).collect();
    let (text, int, double) = (DataType::Utf8View, DataType::Int64, DataType::Float64);
    let mut expected = vec![text.clone(), int.clone(), int.clone(), int.clone(), int.clone()];
    expected.extend([&double, &double, &double, &int, &double, &double, &double].map(Clone::clone));
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    expected.extend([double.clone(), double.clone(), utc]);
    assert_eq!(types, expected);
    assert!((weather.rows - 26_115.0).abs() < 500.0);

    let planes = facts("planes.csv");
    assert!(planes.is_exact && planes.rows == 3322.0);
    assert_eq!(columns(&planes)[1], ("year", int.clone()));
    assert_eq!(columns(&planes)[7], ("speed", int));
    let airlines = facts("airlines.csv");
    assert_eq!(columns(&airlines), [("carrier", text.clone()), ("name", text)]);
    assert!(airlines.dialect.found_nulls.is_empty());
}

#[test]
fn a_delimiter_behind_the_last_field() {
    for (text, names) in [
        ("1|a|\n2|b|\n", vec!["column1", "column2"]),
        ("x,y,\r\n1,2,\r\n", vec!["x", "y"]),
        // A column without values has a name, or cannot be told from one that has.
        ("x,y\n1,\n", vec!["x", "y"]),
        ("1,2,\n3,4,\n", vec!["column1", "column2", "column3"]),
    ] {
        let facts = facts(text);
        let found: Vec<&str> = facts.columns.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(found, names, "{text:?}");
        let trails = names.len() < text.lines().next().map_or(0, |l| l.split([',', '|']).count());
        assert_eq!(facts.dialect.trailing_delimiter, trails, "{text:?}");
    }
    let declared = CsvOptions::new().columns([("a", DataType::Int64), ("b", DataType::Int64)]);
    let facts = facts_of(b"1,2,\n3,4,\n", &declared).expect("two columns");
    assert!(facts.dialect.trailing_delimiter);
    let said = CsvOptions::new().trailing_delimiter(false).delimiter('|');
    let facts = facts_of(b"1|a|\n2|b|\n", &said).expect("reads");
    assert_eq!(facts.columns.len(), 3);
}

#[test]
fn what_is_said_is_done() {
    let options = CsvOptions::new().comment('#').skip_lines(1).date_format("%d.%m.%Y");
    let text = b"written by hand\n# \"no, csv\n\nday,n\n#x\n1.2.2003,5\n#\n2.2.2003,6\n";
    let found = facts_of(text, &options).expect("reads");
    assert_eq!(columns(&found), [("day", DataType::Date32), ("n", DataType::Int64)]);
    assert_eq!((found.rows, found.is_exact), (2.0, true));
    let text = found.describe();
    for part in ["',' ", "comments begin with '#'", "1 lines left out", "dates are %d.%m.%Y"] {
        assert!(text.contains(part.trim()), "{text}");
    }
    let found = facts_of(b"a,b\n1,2\n", &CsvOptions::new().all_text(true)).expect("reads");
    assert!(found.columns.iter().all(|c| c.data_type == DataType::Utf8View && !c.detected));
    let bad = facts_of(b"a\n", &CsvOptions::new().date_format("%d")).expect_err("says too little");
    assert!(bad.to_string().contains("does not name year"), "{bad}");
    let same = facts_of(b"a\n", &CsvOptions::new().comment(',')).expect_err("two meanings");
    assert!(same.to_string().contains("must differ"), "{same}");
    let gzip = CsvOptions::new().compression(CsvCompression::Gzip);
    let plain = facts_of(b"a\n", &gzip).expect_err("not compressed").to_string();
    assert!(plain.contains("compression gzip, but it has none"), "{plain}");
    let latin = facts_of(b"a,\xe4\n1,2\n", &CsvOptions::new()).expect_err("latin").to_string();
    assert!(latin.contains("line 1, column 3: the header is not UTF-8"), "{latin}");
}

#[test]
fn compressed_files_are_sampled_from_their_beginning() {
    let mut text = "id,name\n".to_string();
    for n in 0..100_000_u32 {
        let _ = writeln!(text, "{n},\"name {}\"", n.wrapping_mul(2_654_435_761) % 1000);
    }
    let compressed = zstd::encode_all(text.as_bytes(), 1).expect("compresses");
    let facts = facts_of(&compressed, &CsvOptions::default()).expect("reads");
    assert_eq!(columns(&facts), [("id", DataType::Int64), ("name", DataType::Utf8View)]);
    assert!(!facts.is_exact);
    assert!(facts.rows > 50_000.0 && facts.rows < 200_000.0, "{}", facts.rows);
}

#[test]
fn samples_of_a_size_that_is_said() {
    let mut text = "id,x\n".to_string();
    for n in 0..200_000 {
        let _ = writeln!(text, "{n},{}", if n < 150_000 { "1" } else { "a" });
    }
    let x = |rows: u64| {
        let facts = facts_of(text.as_bytes(), &CsvOptions::new().sample_rows(rows)).expect("reads");
        (columns(&facts)[1].1.clone(), facts.is_exact, facts.rows)
    };
    let (found, exact, rows) = x(1000);
    // The first records are the shortest, so there seem to be more.
    let is_near = (200_000.0..300_000.0).contains(&rows);
    assert!(found == DataType::Int64 && !exact && is_near, "{found} {rows}");
    assert_eq!(x(u64::MAX), (DataType::Utf8View, true, 200_000.0));
}
