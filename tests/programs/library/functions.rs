//! Scalar functions of the program's own: types, NULL, failures, names.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use arrow::array::{ArrayRef, AsArray, Int32Array, Int64Array, StringArray};
use arrow::datatypes::{DataType, Int32Type, Int64Type};
use gristmill::{Arguments, Error, Result, ScalarDef, ScalarFunction, Session};

use super::data::{error, register, rows, session};

fn plus_one(arguments: &[ArrayRef], _: usize) -> Result<ArrayRef> {
    let numbers = arguments[0].as_primitive::<Int64Type>();
    Ok(Arc::new(numbers.iter().map(|n| n.map(|n| n + 1)).collect::<Int64Array>()))
}

fn with_functions() -> Session {
    let session = session(2);
    let int = DataType::Int64;
    let plain = ScalarDef::new("plus_one", [int.clone()], int.clone(), plus_one);
    session.register_scalar(plain).expect("is new");
    let texts = [DataType::Utf8, DataType::Int32];
    let repeated = ScalarDef::new("repeated", texts, DataType::Utf8, |arguments, _| {
        let (texts, counts) = (arguments[0].as_string::<i32>(), arguments[1].as_primitive());
        let counts: &Int32Array = counts;
        let both = texts.iter().zip(counts.iter());
        let repeated = both.map(|(text, count)| {
            let count = count.unwrap_or(2);
            text.map(|text| text.repeat(count.max(0) as usize))
        });
        Ok(Arc::new(repeated.collect::<StringArray>()))
    });
    session.register_scalar(repeated).expect("is new");
    session
}

#[test]
fn functions_are_called_in_sql_with_their_types() {
    let session = with_functions();
    register(&session, "t", 1, 50_000, 100);
    let same = "select count(*) from t where plus_one(n) is distinct from n + 1";
    assert!(rows(&session, same).contains("| 0 "), "{}", rows(&session, same));
    let expected = rows(&session, "select n + 1 as m, sum(x) s from t group by 1 order by 1");
    let query = "select PLUS_ONE(n) as m, sum(x) s from t group by 1 order by plus_one(n)";
    assert_eq!(rows(&session, query), expected);
    // Small integers, strings and NULL are cast.
    let query = "select plus_one(cast(7 as smallint)) a, plus_one(null) b, \
                 repeated('ab', 2) c, repeated(s, null) d from (values ('x'), (null)) t(s)";
    let table = rows(&session, query);
    assert!(table.contains("| 8 |   | abab | xx |"), "{table}");
    assert!(table.contains("| 8 |   | abab |    |"), "{table}");
    let query = "select repeated(s, 2) || '!' as c from t where repeated(s, 2) = 's7s7' limit 1";
    assert!(rows(&session, query).contains("s7s7!"));
}

#[test]
fn wrong_arguments_are_refused_when_the_statement_is_planned() {
    let session = with_functions();
    let refused = error(&session, "select plus_one('a', 2)");
    assert!(refused.contains("plus_one takes 1 argument, not 2"), "{refused}");
    let refused = error(&session, "select plus_one(1.5e0)");
    assert!(refused.contains("plus_one takes BIGINT as argument 1, not DOUBLE"), "{refused}");
    assert!(!refused.contains("coercion"), "{refused}");
    let refused = error(&session, "select repeated('a', 3000000000)");
    assert!(refused.contains("3000000000"), "{refused}");
    let refused = error(&session, "select plus_two(1)");
    assert!(refused.contains("plus_one"), "{refused}");
    let refused = error(&session, "select plus_one(1) over ()");
    assert!(refused.contains("no window function"), "{refused}");
}

fn failing(name: &str, f: fn(&[ArrayRef], usize) -> Result<ArrayRef>) -> impl ScalarFunction {
    ScalarDef::new(name, [DataType::Int64], DataType::Int64, f)
}

#[test]
fn what_goes_wrong_in_a_function_ends_its_query_alone() {
    let session = with_functions();
    register(&session, "t", 2, 30_000, 100);
    let short: fn(&[ArrayRef], usize) -> Result<ArrayRef> =
        |_, _| Ok(Arc::new(Int64Array::from(vec![1, 2, 3])));
    let other: fn(&[ArrayRef], usize) -> Result<ArrayRef> =
        |_, rows| Ok(Arc::new(Int32Array::from(vec![1; rows])));
    let refusing: fn(&[ArrayRef], usize) -> Result<ArrayRef> =
        |_, _| Err(Error::input("no value is good enough"));
    let panicking: fn(&[ArrayRef], usize) -> Result<ArrayRef> = |arguments, _| {
        let first = arguments[0].as_primitive::<Int64Type>().value(0);
        panic!("cannot bear {}", first.min(0))
    };
    session.register_scalar(failing("short", short)).expect("is new");
    session.register_scalar(failing("other", other)).expect("is new");
    session.register_scalar(failing("refusing", refusing)).expect("is new");
    session.register_scalar(failing("panicking", panicking)).expect("is new");
    for of in ["n from t", "1 from t", "n from (values (1), (2), (5), (6)) v(n)", "1"] {
        let (value, from) = of.split_once(' ').unwrap_or((of, ""));
        let failed = |name| error(&session, &format!("select {name}({value}) {from}"));
        let said = failed("short");
        assert!(said.contains("the function short gave 3 values of BIGINT"), "{said}");
        let said = failed("other");
        assert!(said.contains("values of INTEGER") && said.contains("of BIGINT"), "{said}");
        let said = failed("refusing");
        assert!(said.contains("refusing: no value is good enough"), "{said}");
        let said = failed("panicking");
        assert!(said.contains("the function panicking panicked: cannot bear 0"), "{said}");
        assert!(!said.contains("report it"), "it is no defect of ours: {said}");
        assert_eq!(session.engine().memory().reserved(), 0);
    }
    assert!(rows(&session, "select plus_one(41) a").contains("42"), "the session goes on");
    let said = error(&session, "select count(*) from t where panicking(n) > 1");
    assert!(said.contains("panicked"), "{said}");
    // Rows that conditions leave out are none of a function's.
    let guarded = "select count(*) c from t where n < 0 and refusing(n) > 1";
    assert!(rows(&session, guarded).contains("| 0 |"));
}

#[test]
fn volatile_functions_are_called_for_every_row() {
    let session = session(2);
    register(&session, "t", 3, 20_000, 100);
    let next = Arc::new(AtomicI64::new(0));
    let calls = Arc::new(AtomicUsize::new(0));
    let ticket = ScalarDef::new("ticket", [], DataType::Int64, move |_, rows| {
        let first = next.fetch_add(rows as i64, Ordering::Relaxed);
        Ok(Arc::new((first..first + rows as i64).map(Some).collect::<Int64Array>()))
    });
    session.register_scalar(ticket.volatile()).expect("is new");
    let counted = calls.clone();
    let constant = ScalarDef::new("constant", [], DataType::Int64, move |_, rows| {
        counted.fetch_add(rows, Ordering::Relaxed);
        Ok(Arc::new(Int64Array::from(vec![7; rows])))
    });
    session.register_scalar(constant).expect("is new");
    let table = rows(&session, "select count(distinct a) c from (select ticket() a from t) q");
    assert!(table.contains("| 20000 |"), "{table}");
    assert!(rows(&session, "select sum(constant()) s from t").contains("140000"));
    let calls = calls.load(Ordering::Relaxed);
    assert!(calls < 100, "a constant is computed a few times, not {calls}");
}

#[test]
fn functions_of_any_type_have_a_rule_for_theirs() {
    struct First;
    impl ScalarFunction for First {
        fn name(&self) -> &str {
            "pick_first"
        }

        fn arguments(&self) -> Arguments {
            Arguments::Any(2)
        }

        fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
            match &arguments[0] {
                DataType::Boolean => Err(Error::input("is not for conditions")),
                other => Ok(other.clone()),
            }
        }

        fn invoke(&self, arguments: &[ArrayRef], _: usize) -> Result<ArrayRef> {
            Ok(arguments[0].clone())
        }
    }
    let session = session(1);
    session.register_scalar(First).expect("is new");
    let query = "select pick_first(date '2020-01-02', 1) a, pick_first('x', 1) || 'y' b, \
                 pick_first(1.25, 'z') c";
    let table = rows(&session, query);
    assert!(table.contains("| 2020-01-02 | xy | 1.25 |"), "{table}");
    let refused = error(&session, "select pick_first(true, 1)");
    assert!(refused.contains("pick_first: is not for conditions"), "{refused}");
    let many = ScalarDef::new(
        "sum_of",
        Arguments::Variadic(DataType::Int32),
        DataType::Int32,
        |arguments, rows| {
            let sum =
                |row| arguments.iter().map(|a| a.as_primitive::<Int32Type>().value(row)).sum();
            Ok(Arc::new((0..rows).map(|row| Some(sum(row))).collect::<Int32Array>()))
        },
    );
    session.register_scalar(many).expect("is new");
    let query = "select sum_of(n, 1, n) s, sum_of(n) o from (values (1), (20)) t(n)";
    let table = rows(&session, query);
    assert!(table.contains("| 3  | 1  |") && table.contains("| 41 | 20 |"), "{table}");
}

#[test]
fn names_of_sql_are_not_given_away() {
    let session = with_functions();
    let named = |name: &str| {
        let function = ScalarDef::new(name, [DataType::Int64], DataType::Int64, plus_one);
        session.register_scalar(function).map_err(|error| error.to_string())
    };
    for taken in ["abs", "SUM", "lag", "count", "median", "in_place", "checked_add", "grouping"] {
        let refused = named(taken).expect_err(taken);
        assert!(refused.contains("is a function of SQL"), "{taken}: {refused}");
    }
    for wrong in ["", "two words", "a.b", "1a", "f(1), g", "\"q\""] {
        assert!(named(wrong).is_err(), "{wrong}");
    }
    named("Größe").expect("is a word");
    named("plus_one").expect("replaces the one before");
    let query = "explain (format json) select plus_one(column1) from (values (1))";
    let plan = rows(&session, query);
    assert!(plan.contains("plus_one"), "{plan}");
    let statement = session.script("select PLUS_ONE(n) from (values (1), (2)) t(n)");
    let statement = statement.expect("parses").remove(0);
    let json = session.plan_json(&statement).expect("has a plan");
    assert!(json.contains("\"plus_one\""), "{json}");
}
