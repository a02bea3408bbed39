//! The operators that stream: filter, projection, union and constant rows, as plans that went
//! through JSON, on several threads.

use std::sync::Arc;

use arrow::datatypes::DataType;
use gristmill_engine::expr::{ArithmeticOp, CompareOp, Expr, Functions, Literal, Value as Exact};
use gristmill_engine::operators::{Filter, Limit, Project, Union, Values, ValuesColumn};
use gristmill_engine::plan::{NodeId, Plan, Spec};
use gristmill_engine::query::{Engine, EngineOptions, RunOptions, registry};
use gristmill_engine::{Error, Result};
use gristmill_tests::reference::value::{Row, in_order, rows};

const PRICE: DataType = DataType::Decimal128(20, 2);

fn run(plan: &Plan) -> Result<Vec<Row>> {
    let json = plan.to_json().expect("has a JSON form");
    let read = Plan::from_json(&json, &registry(), &Functions::default()).expect("reads");
    assert_eq!(read.explain().expect("explains"), plan.explain().expect("explains"));
    let engine = Engine::new(EngineOptions { threads: Some(2), ..Default::default() })?;
    let mut result = Vec::new();
    for batch in engine.run(&read, &RunOptions::default())? {
        result.extend(rows(&batch?));
    }
    Ok(result)
}

fn add(plan: &mut Plan, spec: impl Spec + 'static, inputs: &[NodeId]) -> NodeId {
    plan.add(Arc::new(spec), inputs).expect("fits its inputs")
}

fn number(value: i64) -> Literal {
    Literal::int(value)
}

/// `count` rows of a number, a decimal as wide as it gets, and a string.
fn numbers(count: i64) -> Values {
    let column = |name: &str, data_type| ValuesColumn { name: name.into(), data_type };
    let columns = vec![
        column("n", DataType::Int64),
        column("price", PRICE),
        column("name", DataType::Utf8View),
    ];
    let row = |n: i64| {
        let value =
            if n % 5 == 0 { Exact::Null } else { Exact::Decimal(i128::from(n) << (n % 40)) };
        let name = if n % 7 == 0 { Literal::null(DataType::Utf8View) } else { Literal::text("x") };
        vec![number(n), Literal { data_type: PRICE, value }, name]
    };
    Values { columns, rows: (0..count).map(row).collect() }
}

fn n() -> Expr {
    Expr::column(0, DataType::Int64)
}

fn compare(op: CompareOp, left: Expr, right: Literal) -> Expr {
    Expr::Compare { op, left: left.into(), right: Expr::Literal(right).into() }
}

#[test]
fn select_one() {
    let mut plan = Plan::new();
    let source = add(&mut plan, Values::one_row(), &[]);
    let exprs = vec![Expr::Literal(number(1)), Expr::Literal(Literal::null(DataType::Utf8View))];
    let names = vec!["one".into(), "nothing".into()];
    add(&mut plan, Project { exprs, names }, &[source]);
    assert_eq!(in_order(&run(&plan).expect("runs")), ["1 | NULL"]);
}

#[test]
fn rows_keep_their_order_through_filters_and_unions() {
    let mut plan = Plan::new();
    let many = add(&mut plan, numbers(10_000), &[]);
    let few = add(&mut plan, numbers(3), &[]);
    let none = add(&mut plan, numbers(0), &[]);
    let union = add(&mut plan, Union {}, &[many, none, few]);
    let thin = compare(CompareOp::Greater, n(), number(9_990));
    let small = compare(CompareOp::LessOrEqual, n(), number(1));
    let filter = add(&mut plan, Filter { conditions: vec![Expr::Or(vec![thin, small])] }, &[union]);
    let double = Expr::Arithmetic {
        op: ArithmeticOp::Multiply,
        left: n().into(),
        right: Expr::Literal(number(2)).into(),
        data_type: DataType::Int64,
    };
    let exprs = vec![double, Expr::column(1, PRICE), n()];
    let names = vec!["double".into(), "price".into(), "n".into()];
    add(&mut plan, Project { exprs, names }, &[filter]);
    let expected = |n: i64| {
        let price = i128::from(n) << (n % 40);
        let price = if n % 5 == 0 { "NULL".into() } else { price.to_string() };
        format!("{} | {price} | {n}", n * 2)
    };
    let expected: Vec<String> = (0..2).chain(9_991..10_000).chain(0..2).map(expected).collect();
    assert_eq!(in_order(&run(&plan).expect("runs")), expected);
}

#[test]
fn filters_drop_rows_before_projections_fail_on_them() {
    let mut plan = Plan::new();
    let source = add(&mut plan, numbers(5_000), &[]);
    let divide = |right: Expr| Expr::Arithmetic {
        op: ArithmeticOp::Divide,
        left: Expr::Literal(number(100)).into(),
        right: right.into(),
        data_type: DataType::Int64,
    };
    let guarded = vec![
        compare(CompareOp::NotEqual, n(), number(0)),
        compare(CompareOp::Greater, divide(n()), number(24)),
    ];
    let filter = add(&mut plan, Filter { conditions: guarded }, &[source]);
    let project = Project { exprs: vec![divide(n())], names: vec!["share".into()] };
    add(&mut plan, project.clone(), &[filter]);
    assert_eq!(in_order(&run(&plan).expect("runs")), ["100", "50", "33", "25"]);

    let mut plan = Plan::new();
    let source = add(&mut plan, numbers(5_000), &[]);
    add(&mut plan, project, &[source]);
    let error = run(&plan).expect_err("the first row divides by zero");
    assert!(matches!(error, Error::Input { .. }), "{error:?}");
}

#[test]
fn plans_that_do_not_fit_are_refused() {
    let mut plan = Plan::new();
    let source = add(&mut plan, numbers(1), &[]);
    let one = add(&mut plan, Values::one_row(), &[]);
    let refused = |plan: &mut Plan, spec: Arc<dyn Spec>, inputs: &[NodeId]| {
        let error = plan.add(spec, inputs).expect_err("does not fit");
        assert!(matches!(error, Error::Internal(_)), "{error:?}");
    };
    refused(&mut plan, Arc::new(Filter { conditions: vec![n()] }), &[source]);
    refused(&mut plan, Arc::new(Filter { conditions: vec![] }), &[]);
    let beyond = compare(CompareOp::Less, Expr::column(9, DataType::Int64), number(1));
    refused(&mut plan, Arc::new(Filter { conditions: vec![beyond] }), &[source]);
    let other = compare(CompareOp::Less, Expr::column(2, DataType::Int64), number(1));
    refused(&mut plan, Arc::new(Filter { conditions: vec![other] }), &[source]);
    refused(&mut plan, Arc::new(Project { exprs: vec![n()], names: vec![] }), &[source]);
    refused(&mut plan, Arc::new(Union {}), &[source, one]);
    refused(&mut plan, Arc::new(Union {}), &[]);
    let ragged = Values { columns: Vec::new(), rows: vec![vec![number(1)]] };
    refused(&mut plan, Arc::new(ragged), &[]);
}

#[test]
fn json_that_is_no_plan_is_the_fault_of_who_wrote_it() {
    let read = |nodes: &str| {
        let text = format!("{{\"gristmill_plan\": 1, \"nodes\": [{nodes}]}}");
        Plan::from_json(&text, &registry(), &Functions::default())
    };
    let row = r#"{"operator": "values", "inputs": [], "fields": {"columns": [], "rows": [[]]}}"#;
    read(row).expect("a plan");
    let ragged = row.replace("[[]]", r#"[[{"type": "Int64", "value": {"int": 1}}]]"#);
    let wrong = [
        ("", "no nodes"),
        (r#"{"operator": "limt", "inputs": [], "fields": {}}"#, "known are"),
        (r#"{"operator": "limit", "inputs": [], "fields": {"offset": 0}}"#, "node 0 (limit)"),
        (r#"{"operator": "limit", "inputs": [0], "fields": {"offset": 0}}"#, "not before it"),
        (&ragged, "node 0 (values)"),
    ];
    for (nodes, expected) in wrong {
        let error = read(nodes).expect_err(nodes);
        assert!(matches!(error, Error::Input { .. }), "{error:?}");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn limits_stop_constant_rows() {
    let mut plan = Plan::new();
    let source = add(&mut plan, numbers(20_000), &[]);
    let filter = Filter { conditions: vec![compare(CompareOp::Greater, n(), number(4_100))] };
    let filter = add(&mut plan, filter, &[source]);
    add(&mut plan, Limit { offset: 5_000, count: Some(2) }, &[filter]);
    let found = in_order(&run(&plan).expect("runs"));
    assert_eq!(found.len(), 2);
    assert!(found[0].starts_with("9101 | ") && found[1].starts_with("9102 | "), "{found:?}");
}
