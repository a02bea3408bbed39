//! Tables without rows, for the planner's unit tests.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion_expr::LogicalPlan;
use datafusion_sql::parser::Statement as Parsed;
use datafusion_sql::sqlparser::ast::Statement as Sql;
use gristmill_engine::expr::{Expr, Literal, Value};
use gristmill_engine::plan::Spec;
use gristmill_engine::{Error, Result};

use crate::catalog::{Catalog, ColumnStatistics, DataSource, FileTable, TableStatistics};
use crate::parameters::Parameters;
use crate::sql::{Binder, Statement, bind_query};

/// A table that has a schema and statistics, and cannot be scanned.
#[derive(Debug)]
pub(crate) struct FakeSource {
    schema: SchemaRef,
    statistics: TableStatistics,
}

impl FakeSource {
    pub(crate) fn new(columns: &[(&str, DataType)], rows: u64) -> Self {
        let fields = columns.iter().map(|(name, t)| Field::new(*name, t.clone(), true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let columns = vec![ColumnStatistics::default(); columns.len()];
        FakeSource {
            schema,
            statistics: TableStatistics { rows: Some(rows), columns, ..Default::default() },
        }
    }

    fn without_nulls(mut self) -> Self {
        self.statistics.columns.iter_mut().for_each(|column| column.nulls = Some(0));
        self
    }

    fn range(mut self, column: &str, min: i64, max: i64) -> Self {
        let (index, field) = self.schema.column_with_name(column).expect("a column");
        let literal =
            |v| Some(Literal { data_type: field.data_type().clone(), value: Value::Int(v) });
        let statistics = &mut self.statistics.columns[index];
        (statistics.min, statistics.max) = (literal(min), literal(max));
        self
    }
}

impl DataSource for FakeSource {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn statistics(&self) -> TableStatistics {
        self.statistics.clone()
    }

    fn scan(&self, _: &[usize], _: Vec<Expr>) -> Result<Arc<dyn Spec>> {
        Err(Error::internal("a fake table cannot be scanned"))
    }
}

/// The bound plan of a query.
pub(crate) fn bound(statement: &Statement, binder: &Binder<'_>) -> Result<LogicalPlan> {
    if let Parsed::Statement(sql) = statement.parse(Some(&Parameters::new()))?.body
        && let Sql::Query(query) = *sql
    {
        return bind_query(query, binder, statement.position());
    }
    Err(Error::input("this is no query"))
}

/// The tables of TPC-H at scale factor 1, with the statistics that their files have: a table and
/// its rows, then columns with a letter for the type (`k` 64-bit, `i` 32-bit, `m` money, `d` date,
/// `s` text) and a range for those that have one.
const TPCH: &str = "
    region 5: r_regionkey k 0 4, r_name s, r_comment s
    nation 25: n_nationkey k 0 24, n_name s, n_regionkey k 0 4, n_comment s
    supplier 10000: s_suppkey k 1 10000, s_name s, s_address s, s_nationkey k 0 24, s_phone s,
        s_acctbal m, s_comment s
    customer 150000: c_custkey k 1 150000, c_name s, c_address s, c_nationkey k 0 24, c_phone s,
        c_acctbal m, c_mktsegment s, c_comment s
    part 200000: p_partkey k 1 200000, p_name s, p_mfgr s, p_brand s, p_type s, p_size i 1 50,
        p_container s, p_retailprice m, p_comment s
    partsupp 800000: ps_partkey k 1 200000, ps_suppkey k 1 10000, ps_availqty i 1 9999,
        ps_supplycost m, ps_comment s
    orders 1500000: o_orderkey k 1 6000000, o_custkey k 1 149999, o_orderstatus s, o_totalprice m,
        o_orderdate d 8035 10440, o_orderpriority s, o_clerk s, o_shippriority i 0 0, o_comment s
    lineitem 6001215: l_orderkey k 1 6000000, l_partkey k 1 200000, l_suppkey k 1 10000,
        l_linenumber i 1 7, l_quantity m, l_extendedprice m, l_discount m, l_tax m, l_returnflag s,
        l_linestatus s, l_shipdate d 8036 10561, l_commitdate d 8065 10530,
        l_receiptdate d 8037 10591, l_shipinstruct s, l_shipmode s, l_comment s";

/// A catalog with the tables of TPC-H.
pub(crate) fn tpch() -> Catalog {
    let catalog = Catalog::new(|file: &FileTable| {
        Err(Error::io("open", &file.path, std::io::ErrorKind::NotFound.into()))
    });
    let one_line = TPCH.replace(",\n", ",");
    for table in one_line.lines().filter(|line| line.contains(':')) {
        let (head, columns) = table.split_once(':').expect("a colon");
        let (name, rows) = head.trim().split_once(' ').expect("a name and rows");
        let columns: Vec<Vec<&str>> =
            columns.split(',').map(|column| column.split_whitespace().collect()).collect();
        let types: Vec<_> = columns.iter().map(|c| (c[0], data_type(c[1]))).collect();
        let mut source = FakeSource::new(&types, rows.parse().expect("rows")).without_nulls();
        for column in columns.iter().filter(|column| column.len() == 4) {
            let bound = |text: &str| text.parse().expect("a bound");
            source = source.range(column[0], bound(column[2]), bound(column[3]));
        }
        catalog.register_source(name, Arc::new(source));
    }
    catalog
}

fn data_type(letter: &str) -> DataType {
    match letter {
        "k" => DataType::Int64,
        "i" => DataType::Int32,
        "m" => DataType::Decimal128(15, 2),
        "d" => DataType::Date32,
        _ => DataType::Utf8View,
    }
}
