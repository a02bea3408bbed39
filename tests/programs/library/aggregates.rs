//! Aggregates of the program's own beside those of SQL: groups, DISTINCT, FILTER, windows, threads
//! and spilling.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, ListArray, UInt64Array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::concat;
use arrow::datatypes::{DataType, Field, Int64Type, UInt64Type};
use gristmill::{
    Accumulator, AggregateDef, AggregateFunction, Arguments, Error, GroupStates, Result, ScalarDef,
    Session,
};

use super::data::{error, register, rows, session, small_session, sorted};

/// The sum of all values, and how many there were: NULL for none.
#[derive(Default)]
struct Sum {
    sum: i64,
    count: u64,
}

impl Accumulator for Sum {
    fn update(&mut self, arguments: &[ArrayRef], rows: usize) -> Result<()> {
        let numbers = arguments[0].as_primitive::<Int64Type>();
        assert_eq!(numbers.len(), rows);
        self.sum += numbers.iter().flatten().sum::<i64>();
        self.count += (rows - numbers.null_count()) as u64;
        Ok(())
    }

    fn state(&self) -> Result<Vec<ArrayRef>> {
        let sum = Int64Array::from(vec![self.sum]);
        Ok(vec![Arc::new(sum), Arc::new(UInt64Array::from(vec![self.count]))])
    }

    fn merge(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.sum += states[0].as_primitive::<Int64Type>().values().iter().sum::<i64>();
        self.count += states[1].as_primitive::<UInt64Type>().values().iter().sum::<u64>();
        Ok(())
    }

    fn evaluate(&self) -> Result<ArrayRef> {
        Ok(Arc::new(Int64Array::from(vec![(self.count > 0).then_some(self.sum)])))
    }
}

/// All values as a list in order: a state that grows.
#[derive(Default)]
struct Values(Vec<i64>);

fn list_of_numbers() -> DataType {
    DataType::List(Arc::new(Field::new_list_field(DataType::Int64, true)))
}

impl Accumulator for Values {
    fn update(&mut self, arguments: &[ArrayRef], _: usize) -> Result<()> {
        self.0.extend(arguments[0].as_primitive::<Int64Type>().iter().flatten());
        Ok(())
    }

    fn state(&self) -> Result<Vec<ArrayRef>> {
        let field = Arc::new(Field::new_list_field(DataType::Int64, true));
        let values = Arc::new(Int64Array::from(self.0.clone()));
        let offsets = OffsetBuffer::from_lengths([self.0.len()]);
        Ok(vec![Arc::new(ListArray::new(field, offsets, values, None))])
    }

    fn merge(&mut self, states: &[ArrayRef]) -> Result<()> {
        let lists = states[0].as_list::<i32>();
        for list in lists.iter().flatten() {
            self.0.extend(list.as_primitive::<Int64Type>().values());
        }
        Ok(())
    }

    fn evaluate(&self) -> Result<ArrayRef> {
        let mut all = Values(self.0.clone());
        all.0.sort_unstable();
        Ok(all.state()?.remove(0))
    }

    fn heap_bytes(&self) -> usize {
        8 * self.0.capacity()
    }
}

/// The sum, for all groups at once.
struct SumOfAll;

#[derive(Default)]
struct Sums {
    sums: Vec<Option<i64>>,
}

impl AggregateFunction for SumOfAll {
    fn name(&self) -> &str {
        "sum_of_all"
    }

    fn arguments(&self) -> Arguments {
        [DataType::Int64].into()
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn states(&self, _: &[DataType]) -> Result<Box<dyn GroupStates>> {
        Ok(Box::new(Sums::default()))
    }
}

impl GroupStates for Sums {
    fn update(&mut self, arguments: &[ArrayRef], groups: &[u32], count: usize) -> Result<()> {
        self.sums.resize(count, None);
        let numbers = arguments[0].as_primitive::<Int64Type>();
        for (number, &group) in numbers.iter().zip(groups) {
            if let Some(number) = number {
                *self.sums[group as usize].get_or_insert(0) += number;
            }
        }
        Ok(())
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[u32], count: usize) -> Result<()> {
        self.update(states, groups, count)
    }

    fn state(&mut self) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.evaluate()?])
    }

    fn evaluate(&mut self) -> Result<ArrayRef> {
        Ok(Arc::new(Int64Array::from(std::mem::take(&mut self.sums))))
    }

    fn size_bytes(&self) -> usize {
        self.sums.capacity() * size_of::<Option<i64>>()
    }
}

fn register_all(session: &Session) {
    let int = DataType::Int64;
    let sum = AggregateDef::new("my_sum", [int.clone()], int.clone(), Sum::default);
    session.register_aggregate(sum).expect("is new");
    let values = AggregateDef::new("sorted_values", [int], list_of_numbers(), Values::default);
    session.register_aggregate(values).expect("is new");
    session.register_aggregate(SumOfAll).expect("is new");
}

/// Compares a query with `SUM` in it for the functions of ours and for that of SQL.
fn assert_as_sum(session: &Session, query: &str) {
    let expected = sorted(session, &query.replace("SUM", "sum"));
    for own in ["my_sum", "sum_of_all"] {
        assert_eq!(sorted(session, &query.replace("SUM", own)), expected, "{own}: {query}");
    }
}

#[test]
fn aggregates_are_as_those_of_sql() {
    for threads in [1, 3] {
        let session = session(threads);
        register_all(&session);
        register(&session, "t", 4, 40_000, 500);
        register(&session, "few", 5, 1_500, 7);
        for query in [
            "select SUM(n) v from t",
            "select SUM(n) v from t where n < 0",
            "select k, SUM(n) v from t group by k",
            "select k, SUM(n) v from t where n < 0 group by k",
            "select s, k, SUM(n + 1) v, count(*) c, SUM(k) w from t group by s, k",
            "select SUM(distinct n) v from t",
            "select k, SUM(distinct n) v, count(distinct s) d, SUM(n) w from t group by k",
            "select k, SUM(n) filter (where n > 500) v, SUM(n) filter (where s = 's1') w from t \
             group by k",
            "select k, SUM(distinct n) filter (where n > 500) v from t group by k",
            "select s, k, SUM(n) v from t group by rollup (s, k)",
            "select k, SUM(n) v from t group by k having SUM(n) > 40000",
            "select x, SUM(n) over (partition by s order by x, n, k rows between 3 preceding and \
             current row) v from few",
            "select s, SUM(n) over (partition by s) v from few",
            "select k, n, SUM(n) over (order by k, n, x, s) v from few",
            "select (select SUM(n) from few f where f.k = t.k and f.n < 300) v from t \
             where n < 20",
        ] {
            assert_as_sum(&session, query);
        }
    }
}

#[test]
fn aggregates_spill() {
    let session = small_session(16);
    register_all(&session);
    register(&session, "t", 6, 150_000, 200_000);
    let before = session.engine().memory().spill().usage().written;
    for own in ["my_sum", "sum_of_all"] {
        let differ = format!(
            "select count(*) c from (select k, {own}(n) v from t group by k) a \
             full join (select k, sum(n) w from t group by k) b on a.k is not distinct from b.k \
             where v is distinct from w"
        );
        let table = rows(&session, &differ);
        assert!(table.contains("| 0 |"), "{own}\n{table}");
    }
    let query = "select count(*) c, sum(array_length(v)) l from \
                 (select k, sorted_values(n) v from t group by k) a";
    let expected = "select count(distinct k) + 1 c, count(n) l from t";
    assert_eq!(rows(&session, query), rows(&session, expected));
    assert!(session.engine().memory().spill().usage().written > before, "it did not spill");
    assert_eq!(session.engine().memory().reserved(), 0);
}

#[test]
fn states_of_any_type_are_kept_and_merged() {
    let session = session(3);
    register_all(&session);
    register(&session, "t", 7, 40_000, 300);
    let own = sorted(&session, "select k, sorted_values(n) v from t group by k");
    let expected = "select k, array_agg(n order by n) filter (where n is not null) v from t \
                    group by k";
    assert_eq!(own, sorted(&session, expected));
}

/// Fails in one of its calls.
struct Failing(&'static str);

impl Failing {
    fn at(&self, call: &str) -> Result<()> {
        match self.0 {
            at if at == call => panic!("at {call}"),
            "error" if call == "update" => Err(Error::input("is too hard")),
            _ => Ok(()),
        }
    }
}

impl Accumulator for Failing {
    fn update(&mut self, _: &[ArrayRef], _: usize) -> Result<()> {
        self.at("update")
    }

    fn state(&self) -> Result<Vec<ArrayRef>> {
        self.at("state")?;
        Ok(vec![Arc::new(Int64Array::from(vec![0]))])
    }

    fn merge(&mut self, _: &[ArrayRef]) -> Result<()> {
        self.at("merge")
    }

    fn evaluate(&self) -> Result<ArrayRef> {
        self.at("evaluate")?;
        match self.0 {
            "long" => Ok(Arc::new(Int64Array::from(vec![0, 1]))),
            "other" => Ok(Arc::new(UInt64Array::from(vec![0]))),
            _ => Ok(concat(&[&Int64Array::from(vec![0]) as &dyn Array])?),
        }
    }
}

#[test]
fn what_goes_wrong_in_an_aggregate_ends_its_query_alone() {
    let session = session(2);
    register_all(&session);
    register(&session, "t", 8, 30_000, 100);
    for (what, said) in [
        ("update", "the function failing_update panicked: at update"),
        ("state", "the function failing_state panicked: at state"),
        ("merge", "the function failing_merge panicked: at merge"),
        ("evaluate", "the function failing_evaluate panicked: at evaluate"),
        ("error", "failing_error: is too hard"),
        ("long", "failing_long: 2 values for a group"),
        ("other", "the function failing_other gave 1 values of BIGINT UNSIGNED"),
    ] {
        let name = format!("failing_{what}");
        let int = DataType::Int64;
        let failing = AggregateDef::new(&name, [int.clone()], int, move || Failing(what));
        session.register_aggregate(failing).expect("is new");
        let met = error(&session, &format!("select {name}(n) from t"));
        assert!(met.contains(said), "{met}");
        let met = error(&session, &format!("select k, {name}(n) from t group by k"));
        assert!(met.contains(&said.replace("gave 1 values", "gave 101 values")), "{met}");
        assert_eq!(session.engine().memory().reserved(), 0);
    }
    assert!(rows(&session, "select my_sum(n) v from (values (1), (2)) t(n)").contains("| 3 |"));
}

#[test]
fn calls_that_have_no_meaning_are_refused() {
    let session = session(1);
    register_all(&session);
    for (query, said) in [
        ("select my_sum(n order by n) from (values (1)) t(n)", "my_sum takes no ORDER BY"),
        ("select my_sum('a') from (values (1)) t(n)", "my_sum takes BIGINT as argument 1"),
        ("select my_sum() from (values (1)) t(n)", "my_sum takes 1 argument, not 0"),
        ("select my_sum(distinct n) over () from (values (1)) t(n)", "not supported"),
    ] {
        let met = error(&session, query);
        assert!(met.contains(said), "{query}\n{met}");
    }
    let int = DataType::Int64;
    for taken in ["min", "median", "row_number", "lower"] {
        let sum = AggregateDef::new(taken, [int.clone()], int.clone(), Sum::default);
        assert!(session.register_aggregate(sum).is_err(), "{taken}");
    }
    let scalar = ScalarDef::new("my_sum", [int.clone()], int.clone(), |arguments, _| {
        Ok(arguments[0].clone())
    });
    assert!(session.register_scalar(scalar).is_err(), "an aggregate has the name");
    let sum = AggregateDef::new("my_sum", [int.clone()], int, Sum::default);
    session.register_aggregate(sum).expect("replaces the one before");
}
