//! Relational nodes: each arm turns one kind of logical node into operator specs.
//!
//! Columns go by position from here on. Keys of sorts, joins and groups must be columns for the
//! engine, so expressions among them are computed by a projection below, and dropped by one above
//! where they would show.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema};
use datafusion_common::config::ConfigOptions;
use datafusion_common::{DFSchema, JoinType, NullEquality};
use datafusion_expr::expr::AggregateFunction;
use datafusion_expr::logical_plan as df;
use datafusion_expr::{Expr as Logical, FetchType, LogicalPlan, SkipType, SortExpr};
use gristmill_engine::expr::{AggregateCall, AggregateKind, Expr, SortKey, Value};
use gristmill_engine::operators::{
    Filter, HashAggregate, HashJoin, JoinKind, Limit, Project, Sort, TopK, Union, Values, ValuesColumn,
};
use gristmill_engine::plan::{NodeId, Plan};
use gristmill_engine::{Error, Result};

use super::expr::lower_expr;
use crate::catalog::PlannedTable;

/// Lowers one statement into one plan.
pub(crate) struct PlanLowering {
    plan: Plan,
    options: Arc<ConfigOptions>,
}

/// The engine's plan for a logical plan; its root gives the columns under their output names.
///
/// # Errors
/// `Input`, by name, for what the engine does not do; `Internal` for what does not fit together.
pub(crate) fn lower_plan(logical: &LogicalPlan, options: &Arc<ConfigOptions>) -> Result<Plan> {
    let mut lowering = PlanLowering { plan: Plan::new(), options: options.clone() };
    lowering.node(logical)?;
    Ok(lowering.plan)
}

impl PlanLowering {
    fn node(&mut self, node: &LogicalPlan) -> Result<NodeId> {
        match node {
            LogicalPlan::TableScan(scan) => self.scan(scan),
            LogicalPlan::Projection(projection) => self.projection(projection),
            LogicalPlan::Filter(filter) => {
                let input = self.node(&filter.input)?;
                let predicate = self.expr(&filter.predicate, filter.input.schema())?;
                let conditions = match predicate {
                    Expr::And(terms) => terms,
                    other => vec![other],
                };
                self.plan.add(Arc::new(Filter { conditions }), &[input])
            }
            LogicalPlan::SubqueryAlias(alias) => self.node(&alias.input),
            LogicalPlan::Sort(sort) => self.sort(sort),
            LogicalPlan::Limit(limit) => self.limit(limit),
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate),
            LogicalPlan::Join(join) => self.join(join),
            LogicalPlan::Union(union) => self.union(union),
            LogicalPlan::EmptyRelation(empty) => {
                let rows = if empty.produce_one_row { vec![Vec::new()] } else { Vec::new() };
                self.values(empty.schema.as_arrow(), rows)
            }
            LogicalPlan::Values(values) => {
                let none = DFSchema::empty();
                let row = |row: &Vec<Logical>| row.iter().map(|e| self.expr(e, &none)).collect();
                let rows = values.values.iter().map(row).collect::<Result<_>>()?;
                self.values(values.schema.as_arrow(), rows)
            }
            other => Err(Error::input(format!("{} is not supported", kind_of(other)))),
        }
    }

    fn expr(&self, expr: &Logical, schema: &DFSchema) -> Result<Expr> {
        lower_expr(expr, schema, &self.options)
    }

    fn scan(&mut self, scan: &df::TableScan) -> Result<NodeId> {
        let table = scan.source.as_ref() as &dyn std::any::Any;
        let Some(table) = table.downcast_ref::<PlannedTable>() else {
            return Err(Error::internal(format!("{} is no table of ours", scan.table_name)));
        };
        let schema = scan.source.schema();
        let qualified = DFSchema::try_from_qualified_schema(scan.table_name.clone(), &schema)
            .map_err(|e| Error::internal(e.to_string()))?;
        let conditions = scan.filters.iter().map(|f| self.expr(f, &qualified));
        let conditions = conditions.collect::<Result<_>>()?;
        let columns = match &scan.projection {
            Some(columns) => columns.clone(),
            None => (0..schema.fields().len()).collect(),
        };
        let spec = table.table().source.scan(&columns, conditions)?;
        let node = self.plan.add(spec, &[])?;
        match scan.fetch {
            Some(count) => {
                let limit = Limit { offset: 0, count: Some(count as u64) };
                self.plan.add(Arc::new(limit), &[node])
            }
            None => Ok(node),
        }
    }

    fn projection(&mut self, projection: &df::Projection) -> Result<NodeId> {
        let input = self.node(&projection.input)?;
        let exprs = projection.expr.iter().map(|e| self.expr(e, projection.input.schema()));
        let exprs = exprs.collect::<Result<_>>()?;
        self.project(input, exprs, field_names(projection.schema.as_arrow()))
    }

    /// Adds a projection, unless it would change neither columns nor names.
    fn project(&mut self, input: NodeId, exprs: Vec<Expr>, names: Vec<String>) -> Result<NodeId> {
        let schema = self.plan.node(input)?.schema.clone();
        let is_same = |(i, e): (usize, &Expr)| matches!(e, Expr::Column { index, .. } if *index == i);
        if exprs.len() == schema.fields().len()
            && exprs.iter().enumerate().all(is_same)
            && field_names(&schema) == names
        {
            return Ok(input);
        }
        self.plan.add(Arc::new(Project { exprs, names }), &[input])
    }

    /// All columns of `input`, followed by `added`; expressions that are columns already are not
    /// added again. Returns the node and where each expression stands.
    fn with_columns(&mut self, input: NodeId, added: Vec<Expr>) -> Result<(NodeId, Vec<usize>)> {
        let schema = self.plan.node(input)?.schema.clone();
        let mut exprs: Vec<Expr> = all_columns(&schema);
        let mut names = field_names(&schema);
        let positions = added.into_iter().map(|expr| {
            if let Some(position) = exprs.iter().position(|e| *e == expr) {
                return position;
            }
            names.push(expr.to_string());
            exprs.push(expr);
            exprs.len() - 1
        });
        let positions: Vec<usize> = positions.collect();
        Ok((self.project(input, exprs, names)?, positions))
    }

    fn sort(&mut self, sort: &df::Sort) -> Result<NodeId> {
        let input = self.node(&sort.input)?;
        let width = sort.input.schema().fields().len();
        let exprs = sort.expr.iter().map(|key| self.expr(&key.expr, sort.input.schema()));
        let (below, columns) = self.with_columns(input, exprs.collect::<Result<_>>()?)?;
        let key = |(key, column): (&SortExpr, usize)| SortKey {
            column,
            descending: !key.asc,
            nulls_first: key.nulls_first,
        };
        let keys = sort.expr.iter().zip(columns).map(key).collect();
        let sorted = match sort.fetch {
            Some(count) => {
                self.plan.add(Arc::new(TopK { keys, count: count as u64 }), &[below])?
            }
            None => self.plan.add(Arc::new(Sort { keys }), &[below])?,
        };
        let schema = self.plan.node(sorted)?.schema.clone();
        let first = all_columns(&schema).into_iter().take(width).collect();
        self.project(sorted, first, field_names(&schema).into_iter().take(width).collect())
    }

    fn limit(&mut self, limit: &df::Limit) -> Result<NodeId> {
        let unsupported = || Error::input("LIMIT and OFFSET take constants");
        let offset = match limit.get_skip_type() {
            Ok(SkipType::Literal(offset)) => offset as u64,
            _ => return Err(unsupported()),
        };
        let count = match limit.get_fetch_type() {
            Ok(FetchType::Literal(count)) => count.map(|c| c as u64),
            _ => return Err(unsupported()),
        };
        let input = self.node(&limit.input)?;
        self.plan.add(Arc::new(Limit { offset, count }), &[input])
    }

    fn aggregate(&mut self, aggregate: &df::Aggregate) -> Result<NodeId> {
        let input = self.node(&aggregate.input)?;
        let schema = aggregate.input.schema();
        if aggregate.group_expr.iter().any(|e| matches!(e, Logical::GroupingSet(_))) {
            return Err(Error::input("GROUPING SETS, ROLLUP and CUBE are not supported"));
        }
        let mut columns = Columns::default();
        let keys = aggregate.group_expr.iter().map(|e| Ok(columns.add(self.expr(e, schema)?)));
        let keys: Vec<usize> = keys.collect::<Result<_>>()?;
        let output = aggregate.schema.as_arrow();
        let mut calls = Vec::with_capacity(aggregate.aggr_expr.len());
        for (number, call) in aggregate.aggr_expr.iter().enumerate() {
            let data_type = output.field(keys.len() + number).data_type();
            calls.push(self.aggregate_call(call, schema, data_type, &mut columns)?);
        }
        let names = columns.exprs.iter().map(Expr::to_string).collect();
        let below = self.project(input, columns.exprs, names)?;
        let spec = HashAggregate { keys, aggregates: calls, names: field_names(output) };
        self.plan.add(Arc::new(spec), &[below])
    }

    fn aggregate_call(
        &self,
        expr: &Logical,
        schema: &DFSchema,
        data_type: &DataType,
        columns: &mut Columns,
    ) -> Result<AggregateCall> {
        let expr = expr.clone().unalias();
        let Logical::AggregateFunction(AggregateFunction { func, params }) = &expr else {
            return Err(Error::internal(format!("{expr} is no aggregate")));
        };
        let name = func.name();
        if params.distinct || !params.order_by.is_empty() || params.null_treatment.is_some() {
            let what = "with DISTINCT beside other aggregates, ORDER BY or IGNORE NULLS";
            return Err(Error::input(format!("{name} {what} is not supported")));
        }
        let args = params.args.iter().map(|arg| self.expr(arg, schema));
        let args: Vec<Expr> = args.collect::<Result<_>>()?;
        let function = match (name, args.as_slice()) {
            ("count", []) => AggregateKind::CountRows,
            ("count", [Expr::Literal(l)]) if l.value != Value::Null => AggregateKind::CountRows,
            ("count", [_]) => AggregateKind::Count,
            ("sum", [_]) => AggregateKind::Sum,
            ("min", [_]) => AggregateKind::Min,
            ("max", [_]) => AggregateKind::Max,
            ("avg", [_]) => AggregateKind::Average,
            _ => return Err(Error::input(format!("the aggregate `{name}` is not supported"))),
        };
        let arguments = match function {
            AggregateKind::CountRows => Vec::new(),
            _ => args.into_iter().map(|arg| columns.add(arg)).collect(),
        };
        let filter = params.filter.as_ref().map(|f| Ok(columns.add(self.expr(f, schema)?)));
        let filter = filter.transpose()?;
        Ok(AggregateCall { function, arguments, filter, data_type: data_type.clone() })
    }

    fn join(&mut self, join: &df::Join) -> Result<NodeId> {
        use JoinType::{Inner, Left, LeftAnti, LeftSemi, Right, RightAnti, RightSemi};
        let (kind, swapped) = match join.join_type {
            Inner => (JoinKind::Inner, false),
            Left => (JoinKind::Left, false),
            LeftSemi => (JoinKind::Semi, false),
            LeftAnti if !join.null_aware => (JoinKind::Anti, false),
            Right => (JoinKind::Left, true),
            RightSemi => (JoinKind::Semi, true),
            RightAnti if !join.null_aware => (JoinKind::Anti, true),
            LeftAnti | RightAnti => return Err(Error::input("NOT IN (subquery) is not supported")),
            other => return Err(Error::input(format!("{other} joins are not supported"))),
        };
        let (left, right) = (self.node(&join.left)?, self.node(&join.right)?);
        let (left_width, right_width) = (self.width(left)?, self.width(right)?);
        let key = |side: &LogicalPlan, e: &Logical| self.expr(e, side.schema());
        let left_keys = join.on.iter().map(|(l, _)| key(&join.left, l)).collect::<Result<_>>()?;
        let right_keys = join.on.iter().map(|(_, r)| key(&join.right, r)).collect::<Result<_>>()?;
        let (left, left_keys) = self.with_columns(left, left_keys)?;
        let (right, right_keys) = self.with_columns(right, right_keys)?;
        let sides = if swapped {
            Sides { probe: right, build: left, probe_width: right_width, build_width: left_width }
        } else {
            Sides { probe: left, build: right, probe_width: left_width, build_width: right_width }
        };
        let (probe_keys, build_keys) =
            if swapped { (right_keys, left_keys) } else { (left_keys, right_keys) };
        let residual = self.residual(join, left_width, swapped, &sides)?;
        let pairs = matches!(kind, JoinKind::Inner | JoinKind::Left);
        let spec = HashJoin {
            kind,
            probe_keys,
            build_keys,
            residual,
            probe_output: (0..sides.probe_width).collect(),
            build_output: if pairs { (0..sides.build_width).collect() } else { Vec::new() },
            null_equals_null: join.null_equality == NullEquality::NullEqualsNull,
        };
        let node = self.plan.add(Arc::new(spec), &[sides.probe, sides.build])?;
        if !(swapped && pairs) {
            return Ok(node);
        }
        let schema = self.plan.node(node)?.schema.clone();
        let (columns, names) = (all_columns(&schema), field_names(&schema));
        let order = (right_width..right_width + left_width).chain(0..right_width);
        let order: Vec<usize> = order.collect();
        let exprs = order.iter().map(|&i| columns[i].clone()).collect();
        self.project(node, exprs, order.iter().map(|&i| names[i].clone()).collect())
    }

    /// The join's further condition, over the columns of the probe side and then the build side
    /// (keys computed for the join included).
    fn residual(
        &self,
        join: &df::Join,
        left_width: usize,
        swapped: bool,
        sides: &Sides,
    ) -> Result<Option<Expr>> {
        let Some(filter) = &join.filter else { return Ok(None) };
        let both = join.left.schema().join(join.right.schema());
        let both = both.map_err(|e| Error::internal(e.to_string()))?;
        let probe_columns = self.width(sides.probe)?;
        let place = |column: usize| match (column < left_width, swapped) {
            (true, false) => column,
            (false, false) => column - left_width + probe_columns,
            (true, true) => column + probe_columns,
            (false, true) => column - left_width,
        };
        Ok(Some(self.expr(filter, &both)?.map_columns(&place)))
    }

    fn width(&self, node: NodeId) -> Result<usize> {
        Ok(self.plan.node(node)?.schema.fields().len())
    }

    fn union(&mut self, union: &df::Union) -> Result<NodeId> {
        let schema = union.schema.as_arrow();
        let mut inputs = Vec::with_capacity(union.inputs.len());
        for input in &union.inputs {
            let node = self.node(input)?;
            let given = self.plan.node(node)?.schema.clone();
            let cast = |(column, field): (Expr, &Arc<arrow::datatypes::Field>)| {
                if column.data_type() == *field.data_type() {
                    return column;
                }
                let data_type = field.data_type().clone();
                Expr::Cast { input: Box::new(column), data_type, lenient: false }
            };
            let exprs = all_columns(&given).into_iter().zip(schema.fields()).map(cast).collect();
            inputs.push(self.project(node, exprs, field_names(schema))?);
        }
        self.plan.add(Arc::new(Union {}), &inputs)
    }

    fn values(&mut self, schema: &Schema, rows: Vec<Vec<Expr>>) -> Result<NodeId> {
        let literal = |(expr, field): (Expr, &Arc<arrow::datatypes::Field>)| match expr {
            Expr::Literal(mut literal) => {
                if literal.is_null() {
                    literal.data_type = field.data_type().clone();
                }
                Ok(literal)
            }
            other => Err(Error::input(format!("VALUES takes constants, not `{other}`"))),
        };
        let rows = rows.into_iter().map(|row| row.into_iter().zip(schema.fields()).map(literal).collect());
        let rows = rows.collect::<Result<_>>()?;
        let column = |field: &Arc<arrow::datatypes::Field>| ValuesColumn {
            name: field.name().clone(),
            data_type: field.data_type().clone(),
        };
        let columns = schema.fields().iter().map(column).collect();
        self.plan.add(Arc::new(Values { columns, rows }), &[])
    }
}

/// Which input of a join is probed and which is built, with their widths before keys were added.
struct Sides {
    probe: NodeId,
    build: NodeId,
    probe_width: usize,
    build_width: usize,
}

/// Distinct expressions, by position.
#[derive(Default)]
struct Columns {
    exprs: Vec<Expr>,
}

impl Columns {
    fn add(&mut self, expr: Expr) -> usize {
        if !expr.is_volatile()
            && let Some(position) = self.exprs.iter().position(|e| *e == expr)
        {
            return position;
        }
        self.exprs.push(expr);
        self.exprs.len() - 1
    }
}

fn all_columns(schema: &Schema) -> Vec<Expr> {
    let column = |(i, f): (usize, &Arc<arrow::datatypes::Field>)| Expr::column(i, f.data_type().clone());
    schema.fields().iter().enumerate().map(column).collect()
}

fn field_names(schema: &Schema) -> Vec<String> {
    schema.fields().iter().map(|f| f.name().clone()).collect()
}

/// What to call a node in an error.
fn kind_of(node: &LogicalPlan) -> &'static str {
    match node {
        LogicalPlan::Window(_) => "a window function",
        LogicalPlan::Distinct(_) => "DISTINCT ON",
        LogicalPlan::Unnest(_) => "UNNEST",
        LogicalPlan::RecursiveQuery(_) => "WITH RECURSIVE",
        LogicalPlan::Subquery(_) => "a subquery in this place",
        LogicalPlan::Extension(_) => "this relation",
        LogicalPlan::Repartition(_) => "repartitioning",
        _ => "this statement",
    }
}
