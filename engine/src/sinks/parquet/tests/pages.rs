//! How large pages are.

use super::*;

#[test]
fn pages_are_small_where_memory_is_short() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("out.parquet");
    // Texts that cannot be compressed to speak of.
    let mut state = 1_u64;
    let text = |_| {
        let words = (0..12).map(|_| {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            format!("{:016x}", state ^ (state >> 29))
        });
        words.collect::<String>()
    };
    let texts: ArrayRef = Arc::new((0..20_000).map(text).map(Some).collect::<StringViewArray>());
    let batch = RecordBatch::try_from_iter([("t", texts)]).expect("batch");
    for (limit, least, most) in
        [(Some(20 << 20), 64 << 10, 300 << 10), (None, 400 << 10, 1200 << 10)]
    {
        let memory = query(limit, 1).memory.clone();
        let format = Format::new(&path, &batch.schema(), Codec::None).expect("can be written");
        let mut group = format.begin(&memory).expect("begins");
        for chunk in morsels(&batch, &[20_000]).concat() {
            format.add(&mut group, &format.arrays(&chunk).expect("arrays")).expect("adds");
        }
        let mut file =
            format.open(Output::create(&path).expect("creates"), &memory).expect("opens");
        format.append(&mut file, format.end(group).expect("ends")).expect("writes");
        format.close(file).expect("ends").commit().expect("commits");
        let (found, metadata) = read(&path);
        assert_eq!(found.columns(), as_read(&batch));
        let index = metadata.offset_index().expect("was asked for");
        let pages = index[0][0].page_locations().iter().map(|page| page.compressed_page_size);
        let largest = pages.max().expect("has pages");
        assert!((least..most).contains(&largest), "{largest} bytes for {limit:?}");
    }
}
