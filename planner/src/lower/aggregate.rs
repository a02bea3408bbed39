//! GROUP BY and aggregates: a projection of keys and arguments, and the operator over its columns.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion_common::DFSchema;
use datafusion_expr::Expr as Logical;
use datafusion_expr::expr::AggregateFunction;
use datafusion_expr::logical_plan as df;
use gristmill_engine::expr::{AggregateCall, AggregateKind, Expr, Value};
use gristmill_engine::operators::HashAggregate;
use gristmill_engine::plan::NodeId;
use gristmill_engine::{Error, Result};

use super::plan::{PlanLowering, field_names};

impl PlanLowering {
    pub(super) fn aggregate(&mut self, aggregate: &df::Aggregate) -> Result<NodeId> {
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
        let filter = params.filter.as_ref().map(|f| self.expr(f, schema)).transpose()?;
        let filter = filter.map(|f| columns.add(f));
        Ok(AggregateCall { function, arguments, filter, data_type: data_type.clone() })
    }
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
