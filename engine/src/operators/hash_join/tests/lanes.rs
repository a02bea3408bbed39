//! Writers of lanes: who gets their pages when memory is short, and where rows are found again.

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::datatypes::Int64Type;

use super::super::lanes::{LANES, LaneSet, LaneWriter, WRITER_BYTES, lane_of};
use super::*;
use crate::batch::Column;
use crate::memory::rows::{PageReader, RowLayout, RowPages, RowRef};
use crate::memory::{GovernorOptions, Reservation};

const LIMIT: usize = 4 << 20;
const ROWS: i64 = 4096;
/// The buffers of a tape and of a table of the places that a lane is at.
const SLACK: usize = 128 << 10;

fn governor() -> Governor {
    Governor::new(GovernorOptions { limit_bytes: Some(LIMIT), ..Default::default() })
}

fn layout() -> Arc<RowLayout> {
    Arc::new(RowLayout::new(&vec![DataType::Int64; 4], &[]).expect("is stored"))
}

fn writer(memory: &Governor, cx: &Context) -> LaneWriter {
    let memory = memory.reserve("test", WRITER_BYTES).expect("fits");
    LaneWriter::new(&layout(), memory, cx).expect("fits")
}

/// Adds chunk number `chunk` of rows that have a number each.
fn add(writer: &mut LaneWriter, chunk: i64, morsel: u64) -> Result<()> {
    let numbers = chunk * ROWS..(chunk + 1) * ROWS;
    let lanes: Vec<u8> = numbers.clone().map(|n| lane_of(mix(n as u64), 0)).collect();
    let array: ArrayRef = Arc::new(Int64Array::from_iter_values(numbers));
    let column = Column::flat(DataType::Int64, array);
    let rows: Vec<u32> = (0..ROWS as u32).collect();
    writer.begin(morsel)?;
    writer.add_columns(&[&column; 4], &rows, &lanes, None)
}

/// The numbers of all rows, each lane in order.
fn read(lanes: &LaneSet, memory: Reservation) -> Vec<i64> {
    let mut reader = PageReader::new(memory, 64 << 10);
    let mut numbers = Vec::new();
    for lane in &lanes.lanes {
        let mut own: Vec<(u64, i64)> = Vec::new();
        let mut rows = 0;
        for stretch in lane.stretches.iter() {
            let before = own.len();
            reader.seek(stretch.tape, stretch.span.from, stretch.span.until).expect("is there");
            while let Some(page) = reader.next(|_| Ok(())).expect("is read") {
                let mut pages = RowPages::new(layout(), 0);
                pages.push_taped(page).expect("is a page");
                let refs: Vec<RowRef> = pages.refs().collect();
                let array = pages.gather(3, &refs).expect("has it");
                let numbers = array.as_primitive::<Int64Type>().values();
                own.extend(numbers.iter().map(|&number| (stretch.morsel, number)));
            }
            assert_eq!(own.len() - before, stretch.span.rows);
            rows += stretch.span.rows;
        }
        assert_eq!(lane.rows(), rows);
        assert!(own.is_sorted());
        numbers.extend(own.into_iter().map(|(_, number)| number));
    }
    numbers.sort_unstable();
    numbers
}

#[test]
fn rows_that_wait_to_be_written_give_way_to_who_cannot_do_without() {
    let memory = governor();
    let cx = context(memory.clone(), 1);
    let mut writer = writer(&memory, &cx);
    let mut scan = memory.reserve("scan", 0).expect("fits");
    for chunk in 0..40 {
        add(&mut writer, chunk, chunk as u64 / 8).expect("has room");
        // On the writer's own thread, with more than is left for those who cannot do without.
        if chunk % 8 == 7 {
            assert!(memory.reserved() > LIMIT / 4, "{memory:?}");
            scan.grow(LIMIT - WRITER_BYTES - SLACK).expect("rows are written");
            assert!(!scan.try_grow(LIMIT));
            scan.shrink(LIMIT);
        }
    }
    let (lanes, rest) = writer.finish().expect("is written");
    drop(rest);
    let held: usize = lanes.lanes.iter().map(|lane| lane.stretches.held_bytes()).sum();
    assert_eq!(memory.reserved(), held);
    let reading = memory.reserve("read", 64 << 10).expect("fits");
    assert!(read(&lanes, reading).into_iter().eq(0..40 * ROWS));
    drop((lanes, scan));
    assert_eq!(memory.reserved(), 0);
}

#[test]
fn two_writers_share_what_there_is() {
    let memory = governor();
    let cx = context(memory.clone(), 2);
    let mut writers = [writer(&memory, &cx), writer(&memory, &cx)];
    let rest = memory.reserve("rest", LIMIT / 2).expect("fits");
    for chunk in 0..8 {
        add(&mut writers[0], chunk, 0).expect("has room");
    }
    for chunk in 0..128 {
        let which = chunk as usize % 2;
        add(&mut writers[which], 8 + chunk, which as u64).expect("has room");
    }
    let mut all = LaneSet::default();
    let [first, second] = writers.map(|writer| writer.finish().expect("is written").0);
    let count = |lanes: &LaneSet| lanes.lanes.iter().map(|l| l.stretches.len()).sum::<usize>();
    // Neither writes pages of few rows only because the other one has all the room.
    for lanes in [&first, &second] {
        let each = lanes.lanes.iter().map(|lane| lane.rows()).sum::<usize>() / count(lanes);
        assert!(each > 130, "{each} rows a stretch of {}", count(lanes));
    }
    all.absorb(first).expect("are few");
    all.absorb(second).expect("are few");
    all.sort();
    drop(rest);
    assert_eq!(all.lanes.len(), LANES);
    let whole = all.all().expect("are few");
    assert_eq!(whole.rows() as i64, 136 * ROWS);
    assert_eq!(whole.bytes(), all.lanes.iter().map(|lane| lane.bytes()).sum::<usize>());
    let reading = memory.reserve("read", 64 << 10).expect("fits");
    assert!(read(&all, reading).into_iter().eq(0..136 * ROWS));
}
