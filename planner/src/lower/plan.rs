//! Relational nodes: each arm turns one kind of logical node into operator specs.
//!
//! Columns go by position from here on. Keys of sorts, joins and groups must be columns for the
//! engine, so expressions among them are computed by a projection below, and dropped by one above
//! where they would show.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use datafusion_common::DFSchema;
use datafusion_common::NullHandling;
use datafusion_common::config::ConfigOptions;
use datafusion_expr::logical_plan as df;
use datafusion_expr::{Expr as Logical, FetchType, LogicalPlan, SkipType, SortExpr};
use gristmill_engine::expr::{Expr, SortKey};
use gristmill_engine::operators::{
    Filter, Limit, Project, Repeat, Sort, TopK, Union, Unnest, Values, ValuesColumn,
};
use gristmill_engine::plan::{NodeId, Plan};
use gristmill_engine::{Error, Result};

use super::expr::lower_expr;
use crate::catalog::PlannedTable;
use crate::functions::series_of;
use crate::prepare::Prepared;
use crate::rules::{self, SharedSource, SingleJoin, shared_source};
use crate::statistics::{Profile, Profiles};

/// Rows up to which a limited sort keeps the first rows only; beyond it, all rows are sorted, and
/// the limit ends the merge, which several workers share.
const TOP_K_ROWS_MAX: u64 = 1 << 20;

/// Most rows of VALUES that are computed, each by a projection of its own.
const COMPUTED_ROWS_MAX: usize = 1_000;

/// Lowers one statement into one plan.
pub(super) struct PlanLowering {
    pub(super) plan: Plan,
    options: Arc<ConfigOptions>,
    /// The shared plans lowered so far, with the columns of the bound plan that each gives.
    shared: HashMap<usize, (NodeId, Vec<usize>)>,
    /// What is guessed about the logical nodes.
    pub(super) profiles: Profiles,
}

/// The engine's plan for the plans of a statement; its root gives the columns under their output
/// names. A shared plan is one node, however many read it.
///
/// # Errors
/// `Input`, by name, for what the engine does not do; `Internal` for what does not fit together.
pub(crate) fn lower_prepared(prepared: &Prepared, options: &Arc<ConfigOptions>) -> Result<Plan> {
    let (plan, options) = (Plan::new(), options.clone());
    let mut profiles = Profiles::default();
    prepared.shared.iter().for_each(|shared| profiles.add(&shared.plan));
    profiles.add(&prepared.plan);
    let mut lowering = PlanLowering { plan, options, shared: HashMap::new(), profiles };
    for &number in &prepared.order {
        let shared = &prepared.shared[number];
        let node = lowering.node(&shared.plan)?;
        lowering.shared.insert(number, (node, shared.columns.clone()));
    }
    lowering.node(&prepared.plan)?;
    Ok(lowering.plan)
}

impl PlanLowering {
    pub(super) fn node(&mut self, node: &LogicalPlan) -> Result<NodeId> {
        let id = self.operators(node)?;
        let Some(estimate) = self.profiles.get(node).map(Profile::estimate) else { return Ok(id) };
        // A projection that puts the columns of a join in order gives as many rows as it.
        let lowered = self.plan.node(id)?;
        if let ("project", &[input]) = (lowered.spec.name(), &lowered.inputs[..])
            && self.plan.node(input)?.estimate.is_none()
        {
            self.plan.estimate(input, estimate.clone());
        }
        self.plan.estimate(id, estimate);
        Ok(id)
    }

    fn operators(&mut self, node: &LogicalPlan) -> Result<NodeId> {
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
            LogicalPlan::Window(window) => self.window(window),
            LogicalPlan::Unnest(unnest) => self.unnest(unnest),
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
            other => match (SingleJoin::of(other), rules::Repeat::of(other)) {
                (Some(join), _) => self.single_join(join),
                (None, Some(repeat)) => {
                    let input = self.node(&repeat.input)?;
                    let count = repeat.input.schema().fields().len().saturating_sub(1);
                    self.plan.add(Arc::new(Repeat { count }), &[input])
                }
                (None, None) => Err(Error::input(format!("{} is not supported", kind_of(other)))),
            },
        }
    }

    pub(super) fn expr(&self, expr: &Logical, schema: &DFSchema) -> Result<Expr> {
        lower_expr(expr, schema, &self.options)
    }

    fn scan(&mut self, scan: &df::TableScan) -> Result<NodeId> {
        if let Some(shared) = shared_source(scan) {
            return self.read_shared(shared, scan);
        }
        let Some(table) = scan.source.downcast_ref::<PlannedTable>() else {
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

    /// The columns that a scan wants of a shared plan.
    fn read_shared(&mut self, source: &SharedSource, scan: &df::TableScan) -> Result<NodeId> {
        let missing = || Error::internal(format!("{} is not planned", scan.table_name));
        let (node, given) = self.shared.get(&source.number()).cloned().ok_or_else(missing)?;
        let columns = all_columns(&self.plan.node(node)?.schema);
        let wanted = match &scan.projection {
            Some(wanted) => wanted.clone(),
            None => (0..scan.source.schema().fields().len()).collect(),
        };
        let expr = |column: &usize| {
            let position = given.iter().position(|g| g == column).ok_or_else(missing)?;
            columns.get(position).cloned().ok_or_else(missing)
        };
        let exprs = wanted.iter().map(expr).collect::<Result<_>>()?;
        self.project(node, exprs, field_names(scan.projected_schema.as_arrow()))
    }

    fn projection(&mut self, projection: &df::Projection) -> Result<NodeId> {
        let input = self.node(&projection.input)?;
        let exprs = projection.expr.iter().map(|e| self.expr(e, projection.input.schema()));
        let exprs = exprs.collect::<Result<_>>()?;
        self.project(input, exprs, field_names(projection.schema.as_arrow()))
    }

    /// Adds a projection, unless it would change neither columns nor names.
    pub(super) fn project(
        &mut self,
        input: NodeId,
        exprs: Vec<Expr>,
        names: Vec<String>,
    ) -> Result<NodeId> {
        let schema = self.plan.node(input)?.schema.clone();
        let is_same =
            |(i, e): (usize, &Expr)| matches!(e, Expr::Column { index, .. } if *index == i);
        if exprs.len() == schema.fields().len()
            && exprs.iter().enumerate().all(is_same)
            && field_names(&schema) == names
        {
            return Ok(input);
        }
        let estimate = self.plan.node(input)?.estimate.clone();
        let node = self.plan.add(Arc::new(Project { exprs, names }), &[input])?;
        if let Some(estimate) = estimate {
            self.plan.estimate(node, estimate);
        }
        Ok(node)
    }

    /// All columns of `input`, followed by `added`; expressions that are columns already are not
    /// added again. Returns the node and where each expression stands.
    pub(super) fn with_columns(
        &mut self,
        input: NodeId,
        added: Vec<Expr>,
    ) -> Result<(NodeId, Vec<usize>)> {
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
        let sorted = match sort.fetch.map(|count| count as u64) {
            Some(count) if count <= TOP_K_ROWS_MAX => {
                self.plan.add(Arc::new(TopK { keys, count }), &[below])?
            }
            Some(count) => {
                let all = self.plan.add(Arc::new(Sort { keys }), &[below])?;
                self.plan.add(Arc::new(Limit { offset: 0, count: Some(count) }), &[all])?
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

    fn unnest(&mut self, unnest: &df::Unnest) -> Result<NodeId> {
        if let Some(series) = series_of(unnest) {
            return self.plan.add(Arc::new(series), &[]);
        }
        if !unnest.struct_type_columns.is_empty() {
            return Err(Error::input("UNNEST of a struct is not supported"));
        }
        let mut columns: Vec<usize> = unnest.list_type_columns.iter().map(|(at, _)| *at).collect();
        columns.sort_unstable();
        let is_deep = unnest.list_type_columns.iter().any(|(_, list)| list.depth != 1);
        if is_deep || columns.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(Error::input("UNNEST of UNNEST is not supported; use a subquery for each"));
        }
        let outer = match unnest.options.null_handling {
            NullHandling::Drop => false,
            NullHandling::PreserveAndExpandEmpty => true,
            NullHandling::Preserve => {
                return Err(Error::input("UNNEST that keeps NULLs and drops empty lists"));
            }
        };
        let input = self.node(&unnest.input)?;
        let node = self.plan.add(Arc::new(Unnest { columns, outer }), &[input])?;
        let given = all_columns(&self.plan.node(node)?.schema);
        let missing = || Error::internal("a column of UNNEST is missing");
        let from = unnest.dependency_indices.iter();
        let exprs = from.map(|&column| given.get(column).cloned().ok_or_else(missing));
        self.project(node, exprs.collect::<Result<_>>()?, field_names(unnest.schema.as_arrow()))
    }

    fn union(&mut self, union: &df::Union) -> Result<NodeId> {
        let schema = union.schema.as_arrow();
        let mut inputs = Vec::with_capacity(union.inputs.len());
        for input in &union.inputs {
            let node = self.node(input)?;
            let given = self.plan.node(node)?.schema.clone();
            let columns = all_columns(&given).into_iter().zip(schema.fields());
            let exprs = columns.map(|(column, field)| typed(column, field)).collect();
            inputs.push(self.project(node, exprs, field_names(schema))?);
        }
        self.plan.add(Arc::new(Union {}), &inputs)
    }

    fn values(&mut self, schema: &Schema, rows: Vec<Vec<Expr>>) -> Result<NodeId> {
        if rows.iter().flatten().any(|expr| !matches!(expr, Expr::Literal(_))) {
            return self.computed_rows(schema, rows);
        }
        let literal = |(expr, field): (Expr, &Arc<Field>)| match expr {
            Expr::Literal(mut literal) => {
                if literal.is_null() {
                    literal.data_type = field.data_type().clone();
                }
                Ok(literal)
            }
            other => Err(Error::input(format!("VALUES takes constants, not `{other}`"))),
        };
        let rows =
            rows.into_iter().map(|row| row.into_iter().zip(schema.fields()).map(literal).collect());
        let rows = rows.collect::<Result<_>>()?;
        let column = |field: &Arc<Field>| ValuesColumn {
            name: field.name().clone(),
            data_type: field.data_type().clone(),
        };
        let columns = schema.fields().iter().map(column).collect();
        self.plan.add(Arc::new(Values { columns, rows }), &[])
    }

    /// Rows of which some values are no constants, such as lists.
    fn computed_rows(&mut self, schema: &Schema, rows: Vec<Vec<Expr>>) -> Result<NodeId> {
        if rows.len() > COMPUTED_ROWS_MAX {
            let message = format!("more than {COMPUTED_ROWS_MAX} rows of VALUES take constants");
            return Err(Error::input(message));
        }
        let mut inputs = Vec::with_capacity(rows.len());
        for row in rows {
            let one = self.plan.add(Arc::new(Values::one_row()), &[])?;
            let row = row.into_iter().zip(schema.fields());
            let row = row.map(|(expr, field)| typed(expr, field)).collect();
            inputs.push(self.project(one, row, field_names(schema))?);
        }
        self.plan.add(Arc::new(Union {}), &inputs)
    }
}

pub(super) fn all_columns(schema: &Schema) -> Vec<Expr> {
    let column = |(i, f): (usize, &Arc<Field>)| Expr::column(i, f.data_type().clone());
    schema.fields().iter().enumerate().map(column).collect()
}

/// The expression with the type of a field.
fn typed(expr: Expr, field: &Field) -> Expr {
    if expr.data_type() == *field.data_type() {
        return expr;
    }
    Expr::Cast { input: Box::new(expr), data_type: field.data_type().clone(), lenient: false }
}

pub(super) fn field_names(schema: &Schema) -> Vec<String> {
    schema.fields().iter().map(|f| f.name().clone()).collect()
}

/// What to call a node in an error.
fn kind_of(node: &LogicalPlan) -> &'static str {
    match node {
        LogicalPlan::Distinct(_) => "DISTINCT ON",
        LogicalPlan::RecursiveQuery(_) => "WITH RECURSIVE",
        LogicalPlan::Subquery(_) => "a subquery in this place",
        LogicalPlan::Repartition(_) => "repartitioning",
        _ => "this statement",
    }
}
