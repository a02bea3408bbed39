//! Hash joins against nested loops over the same rows, row by row and in order.

mod data;
mod lanes;
mod residuals;
mod spilled;

use std::sync::Arc;

use arrow::datatypes::DataType;

use super::build::BuildSink;
use super::build_rows::BuildRows;
use super::null_aware::Members;
use super::probe::ProbeTransform;
use super::shape::{Shape, Shared};
use super::{HashJoin, JoinKind};
use crate::batch::{Chunk, KeyFilterSlot, NarrowScratch, copied_bytes};
use crate::error::{Error, Result};
use crate::expr::Expr;
use crate::memory::Governor;
use crate::pipeline::{
    Consumed, Context, Order, Pull, Pushed, Query, Sink, SinkWorker, Source, Step, Transform,
};
use data::{Cell, Random, Row, Table, cells, chunks, schema};
use residuals::{holds, residual};

/// A hash of one word.
pub(super) fn mix(key: u64) -> u64 {
    crate::batch::hash_word(key)
}

fn context(memory: Governor, threads: usize) -> Context {
    let query = Query::alone(memory, threads);
    Context { query: Arc::new(query), order: Order::new(), worker: 0 }
}

fn join(kind: JoinKind, keys: usize, probe: &Table, build: &Table) -> HashJoin {
    let given = |does: bool, table: &Table| if does { table.types.len() } else { 0 };
    HashJoin {
        kind,
        probe_keys: (0..keys).collect(),
        build_keys: (0..keys).collect(),
        residual: None,
        probe_output: (0..given(kind.has_probe_columns(), probe)).rev().collect(),
        build_output: (0..given(kind.has_build_columns(), build)).collect(),
        null_equals_null: false,
        null_aware: false,
        publishes: None,
    }
}

/// The shared state of one join.
struct Tables {
    main: Arc<Shared>,
    members: Option<Members>,
}

impl Tables {
    fn sink(&self) -> BuildSink {
        let members = self.members.iter().flat_map(|m| [m.any.clone(), m.null.clone()]);
        BuildSink::new([self.main.clone()].into_iter().chain(members).collect())
    }

    fn probe(&self) -> ProbeTransform {
        ProbeTransform::new(self.main.clone(), self.members.clone())
    }
}

fn shared(spec: &HashJoin, probe: &Table, build: &Table) -> Tables {
    shared_with(spec, probe, build, false)
}

fn shared_with(spec: &HashJoin, probe: &Table, build: &Table, may_spill: bool) -> Tables {
    let (probe, build) = (schema(probe), schema(build));
    crate::plan::Spec::schema(spec, &[probe.clone(), build.clone()]).expect("fits");
    let shape = Shape::new(spec, &probe, &build).expect("a shape");
    let members = Members::new(spec, &probe, &build, may_spill).expect("shapes");
    let main = Shared::new(shape, Some(KeyFilterSlot::default()), may_spill);
    Tables { main: Arc::new(main), members }
}

/// Runs the build side over `workers` workers that take morsels in turn.
fn run_build(shared: &Tables, input: &[Chunk], workers: usize, cx: &Context) -> Result<()> {
    let sink = shared.sink();
    let mut states: Vec<Box<dyn SinkWorker>> = Vec::new();
    for _ in 0..workers {
        states.push(sink.worker(cx)?);
    }
    for chunk in input {
        let worker = &mut states[chunk.place().morsel as usize % workers];
        assert!(matches!(worker.consume(chunk.clone(), cx)?, Consumed::NeedInput));
    }
    for mut state in states {
        assert!(state.combine(cx)?.is_none());
    }
    let tasks = sink.prepare(cx)?;
    // From several threads, as on a scheduler, and in no particular order.
    std::thread::scope(|scope| {
        let (sink, query) = (&sink, &cx.query);
        let tasks = (0..tasks).rev().map(|task| {
            scope.spawn(move || {
                let cx = Context { query: query.clone(), order: Order::new(), worker: task };
                sink.finish(task, &cx)
            })
        });
        let tasks: Vec<_> = tasks.collect();
        tasks.into_iter().try_for_each(|task| task.join().expect("no panic"))
    })
}

/// The build rows that come out behind the pairs.
fn run_build_rows(shared: &Tables, cx: &Context) -> Result<Vec<Chunk>> {
    let source = BuildRows::new(shared.main.clone(), shared.members.clone(), cx.memory());
    let mut worker = source.worker(cx)?;
    let mut out = Vec::new();
    loop {
        match worker.pull(cx)? {
            Pull::Chunk(chunk) => out.push(chunk),
            Pull::Morsel(_) => (),
            Pull::Finished => return Ok(out),
            Pull::Blocked(_) => panic!("it has all it needs"),
        }
    }
}

/// Runs the probe side; whether it asked its source to stop.
fn run_probe(shared: &Tables, input: &[Chunk], cx: &Context) -> Result<(Vec<Chunk>, bool)> {
    let transform = shared.probe();
    let mut worker = transform.worker(cx)?;
    let mut out = Vec::new();
    for chunk in input {
        match worker.push(chunk.clone(), cx)? {
            Pushed::NeedInput => (),
            Pushed::Chunk(chunk) => out.push(chunk),
            Pushed::HaveMore(chunk) => {
                out.push(chunk);
                while let Step::Chunk(chunk) = worker.resume(cx)? {
                    out.push(chunk);
                }
            }
            Pushed::Finished(last) => {
                out.extend(last);
                return Ok((out, true));
            }
            Pushed::Blocked(..) => panic!("a join does not block"),
        }
    }
    Ok((out, false))
}

/// What the join means; `None` for a row of a single join with several matches.
fn reference(spec: &HashJoin, probe: &Table, build: &Table) -> Option<Vec<Row>> {
    let passes = |p: &Row, b: &Row| match &spec.residual {
        None => true,
        Some(residual) => {
            let pair: Vec<&Cell> = p.iter().chain(b).collect();
            holds(residual, &pair)
        }
    };
    let equal =
        |p: &Row, b: &Row, key: usize| match (&p[spec.probe_keys[key]], &b[spec.build_keys[key]]) {
            (Cell::Null, Cell::Null) => spec.null_equals_null,
            (Cell::Null, _) | (_, Cell::Null) => false,
            (a, b) => a.same(b),
        };
    let keys = spec.probe_keys.len();
    let row = |p: Option<&Row>, b: Option<&Row>| -> Row {
        let cell = |row: Option<&Row>, c: usize| row.map_or(Cell::Null, |row| row[c].clone());
        let own = spec.probe_output.iter().map(|&c| cell(p, c));
        own.chain(spec.build_output.iter().map(|&c| cell(b, c))).collect()
    };
    let mut out = Vec::new();
    let mut has_match = vec![false; build.rows.len()];
    for p in &probe.rows {
        let members = || {
            let first = usize::from(spec.null_aware);
            let is = move |b: &&Row| (first..keys).all(|key| equal(p, b, key)) && passes(p, b);
            build.rows.iter().filter(is)
        };
        let matches = |b: &Row| (0..keys).all(|key| equal(p, b, key)) && passes(p, b);
        let found: Vec<usize> =
            (0..build.rows.len()).filter(|&b| matches(&build.rows[b])).collect();
        found.iter().for_each(|&b| has_match[b] = true);
        let is_null = |row: &Row, column: usize| matches!(row[column], Cell::Null);
        let unknown = spec.null_aware
            && members().any(|b| is_null(p, spec.probe_keys[0]) || is_null(b, spec.build_keys[0]));
        match spec.kind {
            JoinKind::Single if found.len() > 1 => return None,
            JoinKind::Semi if !found.is_empty() => out.push(row(Some(p), None)),
            JoinKind::Anti if found.is_empty() && !unknown => out.push(row(Some(p), None)),
            JoinKind::Mark => {
                let mark = match (found.is_empty(), unknown) {
                    (true, true) => Cell::Null,
                    (is_empty, _) => Cell::Bool(!is_empty),
                };
                out.push(row(Some(p), None).into_iter().chain([mark]).collect());
            }
            kind if kind.gives_pairs() => {
                out.extend(found.iter().map(|&b| row(Some(p), Some(&build.rows[b]))));
                if found.is_empty() && kind.adds_nulls_to_build() {
                    out.push(row(Some(p), None));
                }
            }
            _ => (),
        }
    }
    let kept = |has_match: bool| match spec.kind {
        JoinKind::Right | JoinKind::Full | JoinKind::RightAnti => !has_match,
        kind => kind == JoinKind::RightSemi && has_match,
    };
    let rest = build.rows.iter().zip(has_match).filter(|(_, has_match)| kept(*has_match));
    out.extend(rest.map(|(b, _)| row(None, Some(b))));
    Some(out)
}

/// Runs one join in many ways and compares each with the reference; the key filter must keep every
/// row that has a match.
fn check(spec: &HashJoin, probe: &Table, build: &Table, random: &mut Random) {
    let expected = reference(spec, probe, build);
    for (workers, threads, most) in [(1, 1, 4096), (2, 2, 50), (3, 8, 7)] {
        let cx = context(Governor::unlimited(), threads);
        let shared = shared(spec, probe, build);
        let most = most.max(build.rows.len() / 100);
        run_build(&shared, &chunks(build, most, random), workers, &cx).expect("builds");
        let probe_chunks = chunks(probe, most, random);
        let Some(expected) = &expected else {
            assert!(matches!(run_probe(&shared, &probe_chunks, &cx), Err(Error::Input { .. })));
            continue;
        };
        let (mut out, _) = run_probe(&shared, &probe_chunks, &cx).expect("probes");
        if spec.kind.gives_build_rows() {
            out.extend(run_build_rows(&shared, &cx).expect("gives build rows"));
        }
        let found: Vec<Row> = out.iter().flat_map(cells).collect();
        let what = format!("{spec:?}, {workers} workers, {threads} threads, chunks of {most}");
        assert_eq!(found.len(), expected.len(), "{what}");
        for (row, (found, expected)) in found.iter().zip(expected).enumerate() {
            let same = found.iter().zip(expected).all(|(a, b)| a.same(b));
            assert!(same, "row {row}: {found:?} instead of {expected:?}, {what}");
        }
        let filter =
            shared.main.filter_slot.as_ref().and_then(KeyFilterSlot::get).expect("published");
        assert_eq!(filter.is_empty(), build_is_empty(spec, build));
        let mut kept = 0;
        for chunk in &probe_chunks {
            let keys: Vec<_> = spec.probe_keys.iter().map(|&c| &chunk.columns()[c]).collect();
            let mut scratch = NarrowScratch::default();
            let live = chunk.selection();
            kept += filter.narrow(&keys, chunk.rows(), live, &mut scratch).expect("narrows").len();
        }
        let kind = JoinKind::Semi;
        let semi = HashJoin { kind, residual: None, null_aware: false, ..spec.clone() };
        let matching = reference(&semi, probe, build).expect("no error").len();
        assert!(kept >= matching, "{kept} of {matching} kept by the filter of {what}");
        if filter.is_exact() {
            assert_eq!(kept, matching, "{what}");
        }
        drop(shared);
        assert_eq!(cx.memory().reserved(), 0, "{what}");
    }
}

fn build_is_empty(spec: &HashJoin, build: &Table) -> bool {
    let null = |row: &Row| spec.build_keys.iter().any(|&k| matches!(row[k], Cell::Null));
    build.rows.iter().all(|row| null(row) && !spec.null_equals_null)
}

const KINDS: [JoinKind; 10] = [
    JoinKind::Inner,
    JoinKind::Left,
    JoinKind::Right,
    JoinKind::Full,
    JoinKind::Single,
    JoinKind::Semi,
    JoinKind::Anti,
    JoinKind::Mark,
    JoinKind::RightSemi,
    JoinKind::RightAnti,
];

/// A join of that kind over small tables: any keys, sizes, residual, NULL rules and output.
fn random_join(kind: JoinKind, random: &mut Random) -> (HashJoin, Table, Table) {
    let keys = random.below(4);
    let types: Vec<DataType> = (0..keys).map(|_| data::key_type(random)).collect();
    let sizes = [0, 1, 5, 60, 300];
    let spread = [1, 3, 20, 400][random.below(4)];
    let (probe_rows, build_rows) = (sizes[random.below(5)], sizes[random.below(5)]);
    let probe = data::table(&types, probe_rows, spread, random);
    let build = data::table(&types, build_rows, spread, random);
    let mut spec = join(kind, keys, &probe, &build);
    spec.null_equals_null = random.below(3) == 0;
    let can_be_aware = matches!(spec.kind, JoinKind::Mark | JoinKind::Anti) && keys > 0;
    spec.null_aware = can_be_aware && !spec.null_equals_null && random.below(2) == 0;
    if random.below(2) == 0 {
        spec.residual = Some(residual(&probe, &build));
    }
    if random.below(4) == 0 {
        spec.build_output.clear();
    }
    (spec, probe, build)
}

#[test]
fn random_joins_equal_nested_loops() {
    let mut random = Random::new(11);
    for case in 0..400 {
        let (spec, probe, build) = random_join(KINDS[case % 10], &mut random);
        check(&spec, &probe, &build, &mut random);
    }
}

#[test]
fn large_build_sides_in_pieces_equal_nested_loops() {
    let mut random = Random::new(5);
    for (types, spread) in [
        (vec![DataType::Int64], 30_000),
        (vec![DataType::Int64], 400_000),
        (vec![DataType::Int32, DataType::Int64], 150),
        (vec![DataType::Int64, DataType::Int64], 1 << 40),
        (vec![DataType::Utf8View], 10_000),
    ] {
        for kind in KINDS {
            let probe = data::table(&types, 120, spread, &mut random);
            let build = data::table(&types, 20_000, spread, &mut random);
            let spec = join(kind, types.len(), &probe, &build);
            check(&spec, &probe, &build, &mut random);
        }
    }
}

#[test]
fn clustered_keys_fill_their_pieces_from_few_runs() {
    let mut random = Random::new(8);
    let types = [DataType::Int64];
    let mut build = data::table(&types, 20_000, 1, &mut random);
    let keys = build.rows.iter_mut().zip(0..);
    keys.for_each(|(row, i): (_, i128)| row[0] = Cell::Int(i / 3 * 5));
    let mut probe = data::table(&types, 100, 1, &mut random);
    let keys = probe.rows.iter_mut().zip(0..);
    keys.for_each(|(row, i): (_, i128)| row[0] = Cell::Int(i * 300));
    for kind in KINDS {
        check(&join(kind, 1, &probe, &build), &probe, &build, &mut random);
    }
}

#[test]
fn few_keys_far_apart_are_all_in_the_filter() {
    let mut random = Random::new(9);
    let types = [DataType::Int64];
    let mut build = data::table(&types, 4, 1, &mut random);
    let mut probe = data::table(&types, 60, 1, &mut random);
    for table in [&mut build, &mut probe] {
        let keys = table.rows.iter_mut().zip(0..);
        keys.for_each(|(row, i): (_, i128)| row[0] = Cell::Int(i * 100_000));
    }
    build.rows[2][0] = Cell::Null;
    for kind in KINDS {
        check(&join(kind, 1, &probe, &build), &probe, &build, &mut random);
    }
}

#[test]
fn one_key_with_many_rows_comes_out_in_bounded_chunks() {
    let mut random = Random::new(3);
    let types = [DataType::Int64];
    let probe = data::table(&types, 5, 1, &mut random);
    let build = data::table(&types, 40_000, 1, &mut random);
    for kind in KINDS {
        for with_residual in [false, true] {
            let mut spec = join(kind, 1, &probe, &build);
            spec.residual = with_residual.then(|| residual(&probe, &build));
            check(&spec, &probe, &build, &mut random);
        }
    }
}

#[test]
fn long_rows_meet_conditions_a_few_at_a_time() {
    let mut random = Random::new(6);
    let types = [DataType::Utf8View];
    let mut probe = data::table(&types, 12, 1, &mut random);
    let mut build = data::table(&types, 600, 1, &mut random);
    for table in [&mut probe, &mut build] {
        let keys = table.rows.iter_mut().zip(0..);
        keys.for_each(|(row, i): (_, usize)| row[0] = Cell::Text(["a", "b"][i % 2].repeat(20_000)));
    }
    for kind in KINDS {
        let mut spec = join(kind, 1, &probe, &build);
        spec.residual = Some(residual(&probe, &build));
        check(&spec, &probe, &build, &mut random);
    }
}

#[test]
fn an_empty_build_side_stops_the_source_where_nothing_can_match() {
    let mut random = Random::new(4);
    let types = [DataType::Utf8View];
    let probe = data::table(&types, 50, 5, &mut random);
    let build = data::table(&types, 0, 5, &mut random);
    for kind in KINDS {
        let spec = join(kind, 1, &probe, &build);
        let shared = shared(&spec, &probe, &build);
        let cx = context(Governor::unlimited(), 2);
        run_build(&shared, &[], 2, &cx).expect("builds");
        let (_, stopped) =
            run_probe(&shared, &chunks(&probe, 10, &mut random), &cx).expect("probes");
        let nothing_comes = matches!(
            kind,
            JoinKind::Inner
                | JoinKind::Semi
                | JoinKind::Right
                | JoinKind::RightSemi
                | JoinKind::RightAnti
        );
        assert_eq!(stopped, nothing_comes, "{kind:?}");
    }
}

/// Ten columns and a key, `matches` build rows for each probe row.
fn copies(matches: i128, build_rows: usize, kind: JoinKind) -> (u64, usize) {
    let types = vec![DataType::Int64; 10];
    let row = |key: i128| -> Row {
        [Cell::Int(key)].into_iter().chain((1..10).map(|c| Cell::Int(c * 1000))).collect()
    };
    let probe = Table { rows: (0..4000).map(row).collect(), types: types.clone() };
    let rows = build_rows as i128;
    let key = |i: i128| if matches == 0 { -1 - i } else { i / matches };
    let build = Table { rows: (0..rows).map(|i| row(key(i))).collect(), types };
    let mut spec = join(kind, 1, &probe, &build);
    spec.build_output = if kind.has_build_columns() { vec![1, 2] } else { vec![] };
    let shared = shared(&spec, &probe, &build);
    let cx = context(Governor::unlimited(), 1);
    let mut random = Random::plain();
    run_build(&shared, &chunks(&build, 4096, &mut random), 1, &cx).expect("builds");
    let input = chunks(&probe, 4096, &mut random);
    let before = copied_bytes();
    let (out, _) = run_probe(&shared, &input, &cx).expect("probes");
    (copied_bytes() - before, out.iter().map(Chunk::live_rows).sum())
}

#[test]
fn probe_columns_are_not_copied_for_any_number_of_matches() {
    for kind in [JoinKind::Inner, JoinKind::Left, JoinKind::Semi, JoinKind::Anti, JoinKind::Mark] {
        for matches in [0i128, 1, 3] {
            let (copied, rows) = copies(matches, 4000 * matches.max(1) as usize, kind);
            assert_eq!(copied, 0, "{kind:?} with {matches} matches a row");
            let expected = match (kind, matches) {
                (JoinKind::Inner, m) => 4000 * m as usize,
                (JoinKind::Left, m) => 4000 * m.max(1) as usize,
                (JoinKind::Semi, 0) | (JoinKind::Anti, 1..) => 0,
                _ => 4000,
            };
            assert_eq!(rows, expected);
        }
    }
    let (copied, rows) = copies(1, 10, JoinKind::Inner);
    assert_eq!((copied, rows), (10 * 10 * 8, 10), "few rows left are copied together");
}

#[test]
fn a_cancelled_query_stops_while_the_directory_is_made() {
    let mut random = Random::new(1);
    let types = [DataType::Int64];
    let table = data::table(&types, 2_000, 100_000, &mut random);
    let spec = join(JoinKind::Inner, 1, &table, &table);
    let shared = shared(&spec, &table, &table);
    let cx = context(Governor::unlimited(), 1);
    let sink = shared.sink();
    let mut worker = sink.worker(&cx).expect("a worker");
    for chunk in chunks(&table, 4096, &mut random) {
        worker.consume(chunk, &cx).expect("takes it");
    }
    worker.combine(&cx).expect("combines");
    assert_eq!(sink.prepare(&cx).expect("prepares"), 1);
    cx.query.cancel.interrupt();
    assert!(matches!(sink.finish(0, &cx), Err(Error::Cancelled { .. })));
}

#[test]
fn a_join_can_run_again() {
    let mut random = Random::new(21);
    let types = [DataType::Int64];
    let first = data::table(&types, 100, 10, &mut random);
    let second = data::table(&types, 50, 10, &mut random);
    let spec = join(JoinKind::Inner, 1, &first, &first);
    let shared = shared(&spec, &first, &first);
    let cx = context(Governor::unlimited(), 2);
    for build in [&first, &second] {
        run_build(&shared, &chunks(build, 20, &mut random), 2, &cx).expect("builds");
        let (out, _) = run_probe(&shared, &chunks(&first, 20, &mut random), &cx).expect("probes");
        let rows: usize = out.iter().map(Chunk::live_rows).sum();
        assert_eq!(rows, reference(&spec, &first, build).expect("no error").len());
        shared.sink().reset().expect("resets");
        assert_eq!(cx.memory().reserved(), 0);
    }
}

#[test]
fn the_spec_survives_json_and_refuses_what_does_not_fit() {
    let mut random = Random::new(2);
    let table = data::table(&[DataType::Int64, DataType::Utf8View], 3, 3, &mut random);
    let mut spec = join(JoinKind::Left, 2, &table, &table);
    spec.residual = Some(residual(&table, &table));
    let json = crate::plan::Spec::to_json(&spec).expect("plain data");
    let read = HashJoin::from_json(json, &Default::default()).expect("reads");
    assert_eq!(format!("{read:?}"), format!("{spec:?}"));
    let schemas = [schema(&table), schema(&table)];
    let given = read.schema(&schemas).expect("fits");
    assert_eq!(given.fields().len(), 2 * table.types.len());
    assert!(given.field(table.types.len()).is_nullable());
    let wrong = [
        HashJoin { build_keys: vec![1, 0], ..spec.clone() },
        HashJoin { build_keys: vec![0], ..spec.clone() },
        HashJoin { probe_output: vec![9], ..spec.clone() },
        HashJoin { kind: JoinKind::Semi, ..spec.clone() },
        HashJoin { publishes: Some(crate::batch::KeyFilterId(1)), ..spec.clone() },
        HashJoin { residual: Some(Expr::column(0, DataType::Int64)), ..spec.clone() },
    ];
    for spec in wrong {
        assert!(crate::plan::Spec::schema(&spec, &schemas).is_err(), "{spec:?}");
    }
}
