//! Dates and timestamps in the forms that only some writers use.

use parquet::data_type::{FixedLenByteArray, FixedLenByteArrayType, Int32Type, Int96, Int96Type};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use super::*;

/// The file has days, the type has milliseconds: what the file says of its values is in days too.
#[test]
fn dates_in_milliseconds_are_pruned_by_their_days() {
    const DAY: i64 = 86_400_000;
    let directory = tempfile::tempdir().expect("directory");
    let field = Field::new("d", DataType::Date64, false);
    let days = Date64Array::from_iter_values((0..20_000).map(|i| i / 4 * DAY));
    let schema = Arc::new(Schema::new(vec![field]));
    let batch = RecordBatch::try_new(schema, vec![Arc::new(days)]).expect("batch");
    let properties = WriterProperties::builder()
        .set_coerce_types(true)
        .set_bloom_filter_enabled(true)
        .set_max_row_group_row_count(Some(5000))
        .set_data_page_row_count_limit(500)
        .build();
    let file = write(&directory.path().join("f"), &[batch], properties);
    for (op, days, count) in [
        (CompareOp::Equal, 2_000, 4),
        (CompareOp::Equal, 6_000, 0),
        (CompareOp::Less, 1_300, 5_200),
        (CompareOp::GreaterOrEqual, 4_990, 40),
    ] {
        let mut scan = scan_of(&file);
        assert_eq!(scan.columns[0].data_type, DataType::Date64, "as it was written");
        let value = ExprValue::Int(days * DAY);
        let literal = Literal { data_type: DataType::Date64, value };
        scan.predicates = vec![compare(op, Expr::column(0, DataType::Date64), literal)];
        assert_eq!(rows(&scan, 2).expect("reads").num_rows(), count, "{op} {days}");
    }
}

/// INT96: nanoseconds of a day, and its Julian number.
#[test]
fn moments_of_96_bits_are_microseconds_of_all_years() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("wide.parquet");
    let schema = parse_message_type("message wide { optional int96 at; }").expect("a schema");
    let file = File::create(&path).expect("creates");
    let mut writer =
        SerializedFileWriter::new(file, Arc::new(schema), Arc::default()).expect("a writer");
    let mut group = writer.next_row_group().expect("a row group");
    let mut column = group.next_column().expect("a column").expect("a column");
    let mut moments = [Int96::new(), Int96::new()];
    let days = [-719_162_i64, 2_932_896];
    for (moment, day) in moments.iter_mut().zip(days) {
        let of_day = 1_500_u64;
        moment.set_data(of_day as u32, 0, (day + 2_440_588) as u32);
    }
    column.typed::<Int96Type>().write_batch(&moments, Some(&[1, 0, 1]), None).expect("writes");
    column.close().expect("closes");
    group.close().expect("closes");
    writer.close().expect("closes");

    let scan = scan_of(&FileRef::of(&path).expect("is there"));
    let rows = rows(&scan, 1).expect("reads");
    let micros = days.map(|day| day * 86_400_000_000 + 1);
    let expected = TimestampMicrosecondArray::from(vec![Some(micros[0]), None, Some(micros[1])]);
    assert_eq!(rows.column(0).as_ref(), &expected);
}

/// Of an interval the crate's readers give the days and milliseconds alone.
#[test]
fn intervals_are_refused_rather_than_read_without_their_months() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("intervals.parquet");
    let text = "message m { required fixed_len_byte_array(12) i (INTERVAL); required int32 k; }";
    let schema = Arc::new(parse_message_type(text).expect("a schema"));
    let file = File::create(&path).expect("creates");
    let mut writer = SerializedFileWriter::new(file, schema, Arc::default()).expect("a writer");
    let mut group = writer.next_row_group().expect("a row group");
    let mut column = group.next_column().expect("a column").expect("a column");
    let month = FixedLenByteArray::from(vec![1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
    column.typed::<FixedLenByteArrayType>().write_batch(&[month], None, None).expect("writes");
    column.close().expect("closes");
    let mut column = group.next_column().expect("a column").expect("a column");
    column.typed::<Int32Type>().write_batch(&[7], None, None).expect("writes");
    column.close().expect("closes");
    group.close().expect("closes");
    writer.close().expect("closes");

    let mut scan = scan_of(&FileRef::of(&path).expect("is there"));
    let error = rows(&scan, 1).expect_err("has months").to_string();
    assert!(error.starts_with("column i of ") && error.contains("months"), "{error}");
    scan.projection = vec![1];
    assert_eq!(rows(&scan, 1).expect("reads the other").num_rows(), 1);
}
