//! Files of many row groups: what is remembered of them, and how they end.

use super::*;

/// Row groups of these many rows each, and the rows that are left.
fn encoded(format: &Format, batch: &RecordBatch, rows: usize) -> Vec<super::encode::EncodedGroup> {
    let encode = |start: usize| {
        let slice = batch.slice(start, rows.min(batch.num_rows() - start));
        let chunk = Chunk::from_batch(&slice, Place::default()).expect("chunk");
        let mut group = format.begin(&Governor::unlimited()).expect("begins");
        format.add(&mut group, &format.arrays(&chunk).expect("arrays")).expect("adds");
        format.end(group).expect("ends")
    };
    (0..batch.num_rows()).step_by(rows).map(encode).collect()
}

#[test]
fn files_are_as_the_parquet_crate_writes_them_whether_the_footer_is_spilled_or_not() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("out.parquet");
    let batches = [sample(3000), every_type(), sample(10), sample(0)];
    let cases =
        batches.iter().zip([10, 300, 10, 10]).zip([Codec::Snappy, Codec::Zstd].into_iter().cycle());
    for ((batch, rows), codec) in cases {
        let format = Format::new(&path, &batch.schema(), codec).expect("can be written");
        let mut expected = format.file(Vec::new()).expect("begins");
        for group in encoded(&format, batch, rows) {
            group.write_through(expected.next_row_group().expect("begins")).expect("writes");
        }
        let expected = expected.into_inner().expect("ends");
        for limit in [None, Some(512 << 10)] {
            let memory = query(limit, 1).memory.clone();
            let output = Output::create(&path).expect("creates");
            let mut file = format.open(output, &memory).expect("opens");
            for group in encoded(&format, batch, rows) {
                let held = format.append(&mut file, group).expect("writes");
                assert!(held <= memory.limit() / 64, "{held} bytes are remembered");
            }
            format.close(file).expect("ends").commit().expect("commits");
            let spilled = memory.spill().usage().written > 0;
            assert_eq!(spilled, limit.is_some() && batch.num_rows() > 10);
            assert!(std::fs::read(&path).expect("reads") == expected, "{limit:?}, {rows} rows");
        }
    }
}

#[test]
fn thousands_of_row_groups_need_little_memory() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("out.parquet");
    let batch = sample(60_000).project(&[0, 2, 8, 9]).expect("projects");
    let spec = WriteParquet { row_group_rows: 20, ..WriteParquet::new(&path) };
    let limit = 3 << 20;
    let query = query(Some(limit), 2);
    let writer = sink(&spec, &batch.schema(), &query);
    run(&*writer, &query, &morsels(&batch, &[20]), 1).expect("writes");
    assert!(query.memory.usage().peak_reserved <= limit);
    drop(writer);
    assert_eq!(query.memory.reserved(), 0, "everything is given back");
    let (found, metadata) = read(&path);
    assert_eq!(groups(&metadata), [20; 3000]);
    assert!(metadata.memory_size() > limit, "{} bytes", metadata.memory_size());
    assert_eq!(found.columns(), as_read(&batch));
}

#[test]
fn a_footer_that_has_no_room_anywhere_is_an_error() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("out.parquet");
    let batch = sample(20_000).project(&[0, 2, 8, 9]).expect("projects");
    let spec = WriteParquet { row_group_rows: 20, ..WriteParquet::new(&path) };
    let memory = Governor::new(GovernorOptions {
        limit_bytes: Some(3 << 20),
        spill_cap_bytes: Some(64 << 10),
        ..Default::default()
    });
    let query = Arc::new(Query::alone(memory, 1));
    let writer = sink(&spec, &batch.schema(), &query);
    let error = run(&*writer, &query, &morsels(&batch, &[20]), 1).expect_err("has no room");
    assert!(matches!(error, Error::OutOfMemory { .. }), "{error}");
    drop(writer);
    assert_eq!(std::fs::read_dir(directory.path()).expect("lists").count(), 0);
}

#[test]
fn more_row_groups_than_can_be_numbered_are_refused() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("out.parquet");
    let batch = sample(10).project(&[2]).expect("projects");
    let format = Format::new(&path, &batch.schema(), Codec::None).expect("can be written");
    let memory = query(Some(16 << 20), 1).memory.clone();
    let mut file = format.open(Output::create(&path).expect("creates"), &memory).expect("opens");
    let mut append = || format.append(&mut file, encoded(&format, &batch, 10).remove(0));
    for _ in 0..1 << 15 {
        append().expect("writes");
    }
    let error = append().expect_err("is one too many");
    assert!(matches!(error, Error::Input { .. }), "{error}");
    assert!(error.to_string().contains("more than 32768 row groups"), "{error}");
    format.close(file).expect("ends").commit().expect("commits");
    assert_eq!(groups(&read(&path).1), vec![10; 1 << 15]);
}

#[test]
fn row_groups_that_are_made_smaller_at_any_time_have_the_same_rows() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("out.parquet");
    let memory = query(None, 1).memory.clone();
    let batch = sample(70_000);
    let format = Format::new(&path, &batch.schema(), Codec::Snappy).expect("can be written");
    for (seed, often) in [(1u64, 1), (2, 5), (3, 9), (4, 30)] {
        let mut file =
            format.open(Output::create(&path).expect("creates"), &memory).expect("opens");
        let (mut state, mut at) = (seed, 0);
        let mut group = format.begin(&Governor::unlimited()).expect("begins");
        while at < batch.num_rows() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let rows = ((state >> 33) as usize % 4096 + 1).min(batch.num_rows() - at);
            let chunk = Chunk::from_batch(&batch.slice(at, rows), Place::default());
            let arrays = format.arrays(&chunk.expect("chunk")).expect("arrays");
            format.add(&mut group, &arrays).expect("adds");
            at += rows;
            if (state >> 20) % often == 0 {
                let held = format.held_bytes(&group);
                format.compact(&mut group).expect("gets smaller");
                assert!(format.held_bytes(&group) < held);
            }
        }
        let group = format.end(group).expect("ends");
        format.append(&mut file, group).expect("writes");
        format.close(file).expect("ends").commit().expect("commits");
        let (found, metadata) = read(&path);
        assert_eq!(found.columns(), as_read(&batch), "seed {seed}");
        assert_eq!(groups(&metadata), [70_000]);
    }
}
