//! Texts and lists that are long, in little memory: what comes out against what is expected, and
//! that nothing stays reserved.

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use gristmill::Session;

use super::data;

/// A few megabytes are enough: no query has all rows of what it makes in memory at a time.
const MEGABYTES: usize = 12;

fn numbers(session: &Session, query: &str) -> Vec<Vec<Option<i64>>> {
    let batches = session.collect(query).unwrap_or_else(|error| panic!("{query}\n{error}"));
    let mut rows = Vec::new();
    for batch in &batches {
        for row in 0..batch.num_rows() {
            let value = |column: &arrow::array::ArrayRef| {
                let column = column.as_primitive::<Int64Type>();
                arrow::array::Array::is_valid(column, row).then(|| column.value(row))
            };
            rows.push(batch.columns().iter().map(value).collect());
        }
    }
    assert_eq!(session.engine().memory().reserved(), 0, "{query}");
    rows
}

fn sessions() -> [Session; 2] {
    [data::small_session(MEGABYTES), data::session(3)]
}

const COUNT: i64 = 3000;

#[test]
fn lists_and_texts_of_growing_frames() {
    for session in sessions() {
        let query = format!(
            "select r, array_length(l)::bigint, l[r / 2 + 1], length(t)::bigint, n \
             from (select r, array_agg(r) over (order by r) l, \
                          string_agg('ab', '') over (order by r) t, \
                          row_number() over (order by r) n \
                   from (select generate_series as r from generate_series(0, {})) s) w order by r",
            COUNT - 1
        );
        let expected = (0..COUNT).map(|r| [r, r + 1, r / 2, 2 * (r + 1), r + 1].map(Some));
        let expected: Vec<Vec<Option<i64>>> = expected.map(Vec::from).collect();
        assert!(numbers(&session, &query) == expected);
    }
}

#[test]
fn frames_that_move_and_whole_partitions() {
    for session in sessions() {
        let query = format!(
            "select r, array_length(a)::bigint, a[1], array_length(b)::bigint, c \
             from (select r, \
                     array_agg(r) over (order by r rows between 150 preceding and 1 following) a, \
                     array_agg(r) over (partition by r % 3) b, \
                     count(distinct r % 5) \
                       over (order by r range between 250 preceding and current row) c \
                   from (select generate_series as r from generate_series(0, {})) s) w order by r",
            COUNT - 1
        );
        let of_row = |r: i64| {
            let first = (r - 150).max(0);
            let last = (r + 1).min(COUNT - 1);
            [r, last - first + 1, first, COUNT / 3, (r + 1).min(5)].map(Some)
        };
        let expected: Vec<Vec<Option<i64>>> = (0..COUNT).map(|r| of_row(r).to_vec()).collect();
        assert!(numbers(&session, &query) == expected);
    }
}

#[test]
fn values_of_other_rows_that_are_long_here_and_there() {
    for session in sessions() {
        let query = format!(
            "select r, array_length(a)::bigint, array_length(b)::bigint, \
                    array_length(c)::bigint, length(d)::bigint \
             from (select r, lag(l, 2) over (order by r) a, lead(l) over (order by r) b, \
                     last_value(l) ignore nulls \
                       over (order by r rows between unbounded preceding and 1 preceding) c, \
                     max(repeat(chr((97 + r % 26)::int), (r % 700)::int)) over (order by r) d \
                   from (select generate_series as r, \
                           case when generate_series % 97 = 0 then range(20000) \
                                when generate_series % 5 = 0 then null \
                                else [generate_series, 2] end l \
                         from generate_series(0, {})) s) w order by r",
            COUNT - 1
        );
        let length = |r: i64| match r {
            r if !(0..COUNT).contains(&r) => None,
            r if r % 97 == 0 => Some(20_000),
            r if r % 5 == 0 => None,
            _ => Some(2),
        };
        let text = |r: i64| (b'a' + (r % 26) as u8, (r % 700) as usize);
        let mut longest = String::new();
        let mut expected = Vec::new();
        for r in 0..COUNT {
            let (letter, times) = text(r);
            let own = String::from(char::from(letter)).repeat(times);
            longest = longest.max(own);
            let last = (0..r).rev().find_map(length);
            let of_text = Some(longest.len() as i64);
            expected.push(vec![Some(r), length(r - 2), length(r + 1), last, of_text]);
        }
        assert!(numbers(&session, &query) == expected);
    }
}

#[test]
fn joins_give_long_values_many_times() {
    for session in sessions() {
        let list = "(select generate_series % 3 as g, array_agg(generate_series) l \
                     from generate_series(0, 29999) \
                     group by 1)";
        let query = format!(
            "select r, array_length(array_append(l, 1))::bigint, e.l[1] \
             from (select generate_series as r from generate_series(0, 1999)) a \
             join {list} e on r % 3 = g order by r"
        );
        let expected = (0..2000).map(|r| [r, 10_001, r % 3].map(Some).to_vec());
        assert!(numbers(&session, &query) == expected.collect::<Vec<_>>());

        // Too long to be decoded at once, and with rows that have no match.
        let text = "(select generate_series as g, \
                     repeat(chr((97 + generate_series % 26)::int), 3000) t \
                     from generate_series(0, 5999))";
        let query = format!(
            "select r, length(t)::bigint, ascii(t)::bigint \
             from (select generate_series as r from generate_series(0, 19999)) a \
             left join {text} e on r % 8000 = g order by r"
        );
        let expected = (0..20_000).map(|r| {
            let found = (r % 8000 < 6000).then_some(r % 8000);
            vec![Some(r), found.map(|_| 3000), found.map(|g| 97 + g % 26)]
        });
        assert!(numbers(&session, &query) == expected.collect::<Vec<_>>());
    }
}

#[test]
fn constant_lists_are_taken_apart_for_many_rows() {
    for session in sessions() {
        let query = "select count(*), sum(u) from (select r, unnest(range(1000)) u \
                     from (select generate_series as r from generate_series(0, 1999)) s) t";
        assert_eq!(numbers(&session, query), [[Some(2_000_000), Some(2000 * 499_500)]]);
    }
}

#[test]
fn a_list_that_has_no_room_is_refused() {
    let session = data::small_session(4);
    let query = "select max(array_length(l)) from (select array_agg(generate_series) over () l \
                 from generate_series(0, 999999)) t";
    let error = data::error(&session, query);
    assert!(error.contains("out of memory") && error.contains("memory_limit"), "{error}");
    assert_eq!(session.engine().memory().reserved(), 0);
}
