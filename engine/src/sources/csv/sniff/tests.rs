//! What is found out about files of many kinds.

use super::*;
use arrow::datatypes::TimeUnit;

fn facts_of(text: &[u8], overrides: &CsvOverrides) -> Result<CsvFacts> {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("a.csv");
    std::fs::write(&path, text).expect("writes");
    sniff(&path, overrides)
}

fn facts(text: &str) -> CsvFacts {
    facts_of(text.as_bytes(), &CsvOverrides::default()).expect(text)
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
        let found = (facts.options.delimiter, facts.options.header, facts.columns.len());
        assert_eq!(found, (delimiter, header, width), "{text:?}");
        assert!(facts.is_exact);
    }
    let cr = facts("a,b\r1,2\r");
    assert_eq!((cr.options.newline, cr.rows), ('\r', 1.0));
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
    assert_eq!(facts.options.null_strings, ["", "NA"]);
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
    assert_eq!(countries.options.null_strings, [""]);
    let declared =
        CsvOverrides { null_strings: Some(vec!["-".to_string()]), ..CsvOverrides::default() };
    let facts = facts_of(b"a,b\n1,NA\n-,x\n", &declared).expect("reads");
    assert_eq!(facts.options.null_strings, ["-"]);
    assert_eq!(columns(&facts)[0].1, DataType::Int64);
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
    let declared = CsvOverrides {
        columns: Some(vec![
            ("k".to_string(), DataType::Int32),
            ("price".to_string(), DataType::Decimal128(15, 2)),
        ]),
        ..CsvOverrides::default()
    };
    let facts = facts_of(b"key,price\n1,2.5\n", &declared).expect("reads");
    assert_eq!(columns(&facts)[0], ("k", DataType::Int32));
    assert_eq!(facts.header_names.as_deref(), Some(&["key".to_string(), "price".to_string()][..]));
    assert!(facts.columns.iter().all(|column| !column.detected));
    let error = facts_of(b"a,b,c\n", &declared).expect_err("three fields").to_string();
    assert!(error.contains("2 columns are declared"), "{error}");
    assert!(error.contains("3 fields"), "{error}");
    assert_eq!(facts_of(b"", &declared).expect("no rows").rows, 0.0);

    let types = CsvOverrides {
        types: vec![("a".to_string(), DataType::Utf8View)],
        ..CsvOverrides::default()
    };
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
        (b"\x1f\x8b\x08\x00", "gzip"),
        (b"\xff\xfea\x00", "UTF-16"),
    ] {
        let error = facts_of(bytes, &CsvOverrides::default()).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn the_flights_data() {
    let data = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../data");
    let facts = |name: &str| sniff(&data.join(name), &CsvOverrides::default()).expect(name);
    let weather = facts("weather.csv");
    assert_eq!(weather.options.null_strings, ["", "NA"]);
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
    assert_eq!(airlines.options.null_strings, [""]);
}
