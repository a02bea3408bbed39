//! The same joins with their build side out of memory, row by row, in any order.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::lane_key::{Bands, LaneBy};
use super::super::lane_rows::LaneRows;
use super::super::lane_table::READING_BYTES;
use super::super::lanes::{LANES, WRITER_BYTES};
use super::super::null_aware::is_spilled;
use super::*;
use crate::batch::Place;
use crate::memory::GovernorOptions;
use crate::memory::hoard::beside_hoard;
use crate::memory::spill::{Map, SpillIo, SystemIo};
use crate::pipeline::{SourceWorker, TransformWorker};

/// How a join is run.
struct Way {
    workers: usize,
    most: usize,
    limit: usize,
    /// Whether the tables are out of memory from the start.
    forced: [bool; 3],
    /// Bits of the bands that the lanes are of, if the keys have ordinals.
    bands: Option<u32>,
    /// Bytes of a table.
    share: Option<usize>,
}

fn governor(limit: usize) -> Governor {
    Governor::new(GovernorOptions { limit_bytes: Some(limit), ..Default::default() })
}

/// Chunks that have come out, from several workers in turn.
fn run(
    spec: &HashJoin,
    probe: &Table,
    build: &Table,
    way: &Way,
    random: &mut Random,
    cx: &Context,
) -> Result<(Vec<Chunk>, bool)> {
    let tables = shared_with(spec, probe, build, true);
    let members = tables.members.iter().flat_map(|m| [&m.any, &m.null]);
    for (table, _) in [&tables.main].into_iter().chain(members).zip(way.forced).filter(|f| f.1) {
        table.spill();
    }
    if let Some(bits) = way.bands.filter(|_| tables.main.shape.ordinals) {
        let key = random.below(spec.build_keys.len().max(1));
        if !spec.build_keys.is_empty() {
            tables.main.state().lane_by = Some(LaneBy::Band(Bands::new(key, bits)));
        }
    }
    run_build(&tables, &chunks(build, way.most, random), way.workers, cx)?;
    let mut out = Vec::new();
    let transform = tables.probe();
    let mut workers: Vec<Box<dyn TransformWorker>> = Vec::new();
    for _ in 0..way.workers {
        workers.push(transform.worker(cx)?);
    }
    for chunk in chunks(probe, way.most, random) {
        let worker = &mut workers[chunk.place().morsel as usize % way.workers];
        match worker.push(chunk, cx)? {
            Pushed::NeedInput | Pushed::Finished(None) => (),
            Pushed::Chunk(chunk) => out.push(chunk),
            Pushed::HaveMore(chunk) => {
                out.push(chunk);
                while let Step::Chunk(chunk) = worker.resume(cx)? {
                    out.push(chunk);
                }
            }
            Pushed::Finished(Some(_)) | Pushed::Blocked(..) => panic!("not of a join"),
        }
    }
    for worker in &mut workers {
        assert!(matches!(worker.flush(cx)?, Step::Exhausted));
    }
    drop(workers);
    let spilled = is_spilled(&tables.main, tables.members.as_ref());
    out.extend(rest(&tables, way, spilled, cx)?);
    Ok((out, spilled))
}

/// What comes behind the chunks of the probe side.
fn rest(tables: &Tables, way: &Way, spilled: bool, cx: &Context) -> Result<Vec<Chunk>> {
    let (mut out, mut workers) = (Vec::new(), Vec::<Box<dyn SourceWorker>>::new());
    let (source, next) = (
        BuildRows::new(tables.main.clone(), tables.members.clone(), cx.memory()),
        Arc::new(AtomicUsize::new(0)),
    );
    for _ in 0..way.workers.min(source.parallelism()) {
        workers.push(match way.share.filter(|_| spilled) {
            Some(share) => {
                let members = tables.members.as_ref();
                Box::new(LaneRows::new(&tables.main, members, &next, cx)?.with_share(share))
            }
            None => source.worker(cx)?,
        });
    }
    let mut morsels = vec![0; workers.len()];
    while !workers.is_empty() {
        for which in (0..workers.len()).rev() {
            let morsel = match workers[which].pull(cx)? {
                Pull::Chunk(chunk) => {
                    let Place { morsel, .. } = chunk.place();
                    out.push(chunk);
                    morsel
                }
                Pull::Morsel(morsel) => morsel,
                Pull::Finished => {
                    drop(workers.remove(which));
                    morsels.remove(which);
                    continue;
                }
                Pull::Blocked(_) => panic!("it has all it needs"),
            };
            assert!(morsel >= morsels[which], "a worker goes on to later morsels only");
            morsels[which] = morsel;
        }
    }
    Ok(out)
}

fn sorted(rows: impl IntoIterator<Item = Row>) -> Vec<String> {
    // Zero is zero: as keys both are the same.
    let text = |row: Row| format!("{row:?}").replace("-0.0", "0.0");
    let mut rows: Vec<String> = rows.into_iter().map(text).collect();
    rows.sort_unstable();
    rows
}

/// Runs a join in one way; whether its build side was out of memory.
fn check(spec: &HashJoin, probe: &Table, build: &Table, way: &Way, random: &mut Random) -> bool {
    let cx = context(governor(way.limit), way.workers);
    let outcome = run(spec, probe, build, way, random, &cx);
    let what = format!(
        "{spec:?}, {} workers, chunks of {}, limit {}, share {:?}, {:?}",
        way.workers,
        way.most,
        way.limit,
        way.share,
        (way.forced, way.bands)
    );
    assert_eq!(cx.memory().reserved(), 0, "{what}");
    let Some(expected) = reference(spec, probe, build) else {
        assert!(matches!(outcome, Err(Error::Input { .. })), "{what}");
        return false;
    };
    let (out, spilled) = outcome.unwrap_or_else(|error| panic!("{error}, {what}"));
    let (found, expected) = (sorted(out.iter().flat_map(cells)), sorted(expected));
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found, expected, "{what}");
    }
    spilled
}

#[test]
fn random_spilled_joins_equal_nested_loops() {
    let mut random = Random::new(77);
    for case in 0..600 {
        let (spec, probe, build) = random_join(KINDS[case % 10], &mut random);
        let way = Way {
            workers: 1 + random.below(3),
            most: [1, 7, 50, 4096][random.below(4)].max(build.rows.len() / 100),
            limit: 16 << 20,
            forced: [random.below(4) > 0, random.below(2) == 0, random.below(2) == 0],
            bands: [None, Some(0), Some(1), Some(4)][random.below(4)],
            share: [None, Some(1), Some(1000), Some(20_000)][random.below(4)],
        };
        let spilled = check(&spec, &probe, &build, &way, &mut random);
        assert!(spilled || !way.forced[0] || reference(&spec, &probe, &build).is_none());
    }
}

#[test]
fn joins_spill_when_their_budget_ends() {
    let mut random = Random::new(6);
    for (types, spread) in [
        (vec![DataType::Int64], 30_000),
        (vec![DataType::Int32, DataType::Int64], 150),
        (vec![DataType::Utf8View], 10_000),
    ] {
        for kind in KINDS {
            let probe = data::table(&types, 60, spread, &mut random);
            let build = data::table(&types, 40_000, spread, &mut random);
            let spec = join(kind, types.len(), &probe, &build);
            let spilled = [2_500_000, 3_500_000, 20_000_000].map(|limit| {
                let way = Way {
                    workers: 2,
                    most: 4096,
                    limit,
                    forced: [false; 3],
                    bands: None,
                    share: None,
                };
                check(&spec, &probe, &build, &way, &mut random)
            });
            // Others have no columns to store, or end early.
            let is_large = kind.has_build_columns() && kind != JoinKind::Single;
            assert!(spilled[0] || spilled[1] || !is_large, "{kind:?} {types:?} {spilled:?}");
            assert!(!spilled[2], "{kind:?} {types:?} {spilled:?}");
        }
    }
}

#[test]
fn joins_end_over_every_budget_beside_somebody_who_takes_the_rest() {
    let mut random = Random::new(16);
    // What two workers need to store rows, or to read them back, and to find them again: places of
    // 28 bytes, 32 at once, for the lanes of both workers and sides.
    let places = 4 * LANES * 32 * 28;
    let enough = (64 << 10) + 2 * READING_BYTES.max(WRITER_BYTES) + places;
    let (mut ended, mut spilled) = (0, 0);
    for (types, spread) in [(vec![DataType::Int64], 30_000), (vec![DataType::Utf8View], 300)] {
        let probe = data::table(&types, 3_000, spread, &mut random);
        let build = data::table(&types, 20_000, spread, &mut random);
        for kind in [JoinKind::Inner, JoinKind::Full, JoinKind::Anti, JoinKind::RightSemi] {
            let spec = join(kind, types.len(), &probe, &build);
            let expected = reference(&spec, &probe, &build).map(sorted).expect("no error");
            for (step, forced) in (0..11).map(|step| (step, step % 4 == 3)) {
                let limit = (200 << 10) * (step + 1) * (step + 4) / 4;
                let forced = [forced; 3];
                let way = Way { workers: 2, most: 4096, limit, forced, bands: None, share: None };
                for is_alone in [true, false] {
                    let cx = context(governor(limit), way.workers);
                    let mut run = || run(&spec, &probe, &build, &way, &mut random, &cx);
                    let outcome = match is_alone {
                        true => run(),
                        false => beside_hoard(cx.memory(), enough, run),
                    };
                    let what = format!("{spec:?}, limit {limit}, alone {is_alone}");
                    assert_eq!(cx.memory().reserved(), 0, "{what}");
                    match outcome {
                        Ok((out, moved)) => {
                            let found = sorted(out.iter().flat_map(cells));
                            assert!(found == expected, "{what}");
                            (ended, spilled) = (ended + 1, spilled + usize::from(moved));
                        }
                        Err(Error::OutOfMemory { .. }) if limit < enough => (),
                        Err(error) => panic!("{error}, {what}"),
                    }
                }
            }
        }
    }
    assert!(ended > 90 && spilled > 40, "{ended} ended, {spilled} of them spilled");
}

#[test]
fn one_key_on_both_sides_is_joined_by_blocks() {
    let mut random = Random::new(3);
    let types = [DataType::Int64];
    let probe = data::table(&types, 7, 1, &mut random);
    let build = data::table(&types, 30_000, 1, &mut random);
    for kind in KINDS {
        for with_residual in [false, true] {
            let mut spec = join(kind, 1, &probe, &build);
            spec.residual = with_residual.then(|| residual(&probe, &build));
            let share = Some(100_000);
            let way = Way {
                workers: 2,
                most: 4096,
                limit: 3 << 20,
                forced: [true; 3],
                bands: None,
                share,
            };
            check(&spec, &probe, &build, &way, &mut random);
        }
    }
    // The other way round the larger side is read more than once.
    let spec = join(JoinKind::Full, 1, &build, &probe);
    let way = Way {
        workers: 1,
        most: 4096,
        limit: 3 << 20,
        forced: [true; 3],
        bands: None,
        share: Some(1 << 10),
    };
    check(&spec, &build, &probe, &way, &mut random);
}

#[test]
fn wide_rows_spill_one_by_one() {
    let mut random = Random::new(13);
    let types = [DataType::Utf8View];
    let wide = |rows: usize, random: &mut Random| {
        let mut table = data::table(&types, rows, 20, random);
        for row in &mut table.rows {
            if let Cell::Text(text) = &mut row[0] {
                *text = text.repeat(1 + 30_000 / text.len().max(1));
            }
        }
        table
    };
    let (probe, build) = (wide(30, &mut random), wide(200, &mut random));
    for kind in KINDS {
        let spec = join(kind, 1, &probe, &build);
        let way = Way {
            workers: 1,
            most: 20,
            limit: 4 << 20,
            forced: [false; 3],
            bands: None,
            share: None,
        };
        check(&spec, &probe, &build, &way, &mut random);
    }
}

#[test]
fn large_rows_are_read_back_by_as_many_workers_as_have_room() {
    let mut random = Random::new(23);
    let types = [DataType::Utf8View];
    // A few rows in a hundred are larger than all that a worker needs for others.
    let uneven = |rows: usize, random: &mut Random| {
        let mut table = data::table(&types, rows, 40, random);
        for (number, row) in table.rows.iter_mut().enumerate() {
            if let (Cell::Text(text), 0) = (&mut row[0], number % 16) {
                *text = text.repeat(1 + 700_000 / text.len().max(1));
            }
        }
        table
    };
    let (probe, build) = (uneven(60, &mut random), uneven(320, &mut random));
    for kind in KINDS {
        let spec = join(kind, 1, &probe, &build);
        let way = Way {
            workers: 4,
            most: 40,
            limit: 8 << 20,
            forced: [true; 3],
            bands: None,
            share: None,
        };
        check(&spec, &probe, &build, &way, &mut random);
    }
}

#[test]
fn a_cancelled_query_stops_between_lanes() {
    let mut random = Random::new(1);
    let types = [DataType::Int64];
    let table = data::table(&types, 3_000, 100_000, &mut random);
    let spec = join(JoinKind::Inner, 1, &table, &table);
    let tables = shared_with(&spec, &table, &table, true);
    tables.main.spill();
    let cx = context(governor(16 << 20), 1);
    let input = chunks(&table, 4096, &mut random);
    run_build(&tables, &input, 1, &cx).expect("builds");
    let mut worker = tables.probe().worker(&cx).expect("a worker");
    for chunk in input {
        worker.push(chunk, &cx).expect("stores it");
    }
    worker.flush(&cx).expect("flushes");
    drop(worker);
    let source = BuildRows::new(tables.main.clone(), None, cx.memory());
    let mut rows = source.worker(&cx).expect("a worker");
    drop(source);
    assert!(matches!(rows.pull(&cx), Ok(Pull::Morsel(0))));
    cx.query.cancel.interrupt();
    assert!(matches!(rows.pull(&cx), Err(Error::Cancelled { .. })));
    drop((rows, tables));
    assert_eq!(cx.memory().reserved(), 0);
}

/// Fails from a call on.
#[derive(Debug)]
struct Broken {
    calls: AtomicUsize,
    from: usize,
}

impl Broken {
    fn call(&self) -> io::Result<()> {
        match self.calls.fetch_add(1, Ordering::Relaxed) >= self.from {
            true => Err(io::Error::other("broken")),
            false => Ok(()),
        }
    }
}

impl SpillIo for Broken {
    fn open(&self, dir: &Path) -> io::Result<File> {
        SystemIo.open(dir)
    }

    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.call()?;
        SystemIo.write_at(file, bytes, offset)
    }

    fn read_at(&self, file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.call()?;
        SystemIo.read_at(file, bytes, offset)
    }

    fn map(&self, file: &File, offset: u64, len: usize) -> io::Result<Map> {
        self.call()?;
        SystemIo.map(file, offset, len)
    }
}

#[test]
fn what_the_disk_says_ends_the_join() {
    let mut random = Random::new(31);
    let types = [DataType::Int64];
    let table = data::table(&types, 3_000, 2_000, &mut random);
    let spec = join(JoinKind::Full, 1, &table, &table);
    let share = Some(2_000);
    let way = Way { workers: 2, most: 500, limit: 16 << 20, forced: [true; 3], bands: None, share };
    let (mut failed, mut from) = (0, 0);
    loop {
        let broken = Arc::new(Broken { calls: AtomicUsize::new(0), from });
        let options = GovernorOptions {
            limit_bytes: Some(way.limit),
            spill_io: Some(broken),
            ..Default::default()
        };
        let cx = context(Governor::new(options), 2);
        let outcome = run(&spec, &table, &table, &way, &mut random, &cx);
        assert_eq!(cx.memory().reserved(), 0);
        match outcome {
            Ok(_) => break,
            Err(error) => assert!(matches!(error, Error::Io { .. }), "{error}"),
        }
        failed += 1;
        from += 1 + from / 4;
    }
    assert!(failed > 5, "{failed}");
}

#[test]
fn dense_keys_that_fill_their_bands_evenly_have_bands() {
    let mut random = Random::new(4);
    let types = [DataType::Int64];
    type Key = fn(i128) -> i128;
    let keys: [(Key, bool); 5] = [
        (|i| i - 5_000, true),
        (|i| (i * 7919) % 40_000 * 3, true),
        // Few values, all in one lane, and far apart.
        (|i| i % 300, false),
        (|i| (i / 512) << 18, false),
        (|i| i * i * i * 1_000_003, false),
    ];
    for (number, (key, has_bands)) in keys.into_iter().enumerate() {
        let probe = data::table(&types, 50, 1, &mut random);
        let mut build = data::table(&types, 40_000, 1, &mut random);
        let rows = build.rows.iter_mut().zip(0..);
        rows.for_each(|(row, i)| row[0] = Cell::Int(key(i)));
        let spec = join(JoinKind::Inner, 1, &probe, &build);
        let cx = context(governor(2_500_000), 2);
        let tables = shared_with(&spec, &probe, &build, true);
        run_build(&tables, &chunks(&build, 4096, &mut random), 2, &cx).expect("is built");
        assert!(tables.main.lanes().is_some(), "{number}");
        assert_eq!(matches!(tables.main.lane_by(), LaneBy::Band(_)), has_bands, "{number}");
    }
}
