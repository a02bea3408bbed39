//! Window functions: a projection of keys and arguments, and one operator for every order of the
//! rows that is needed.
//!
//! Calls over the same input share an order where they can. What is fixed of it grows with the
//! calls it serves: the keys of a partition may stand in any order until another call needs some of
//! them first.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion_common::{DFSchema, ScalarValue};
use datafusion_expr::expr::{NullTreatment, WindowFunctionDefinition, WindowFunctionParams};
use datafusion_expr::logical_plan as df;
use datafusion_expr::{
    Expr as Logical, ExprSchemable, LogicalPlan, SortExpr, WindowFrame, WindowFrameBound,
    WindowFrameUnits,
};
use gristmill_engine::expr::{
    AggregateKind, Expr, Frame, FrameBound, FrameUnits, Over, SortKey, WindowArgument, WindowCall,
    WindowKind,
};
use gristmill_engine::operators::Window;
use gristmill_engine::plan::NodeId;
use gristmill_engine::{Error, Result};

use super::aggregate::over;
use super::columns::Columns;
use super::literal::lower_literal;
use super::plan::{PlanLowering, all_columns, field_names};
use crate::functions::{Declared, has_interval, interval_order};

/// A call that has no order of the rows yet.
struct Wanted {
    call: WindowCall,
    /// Columns that tell partitions apart.
    partition: Vec<usize>,
    /// Keys that tell peers apart, within a partition.
    order: Vec<SortKey>,
}

impl PlanLowering {
    /// The windows of a node, and of those below it that read the same input.
    pub(super) fn window(&mut self, window: &df::Window) -> Result<NodeId> {
        let mut nodes = vec![window];
        while let Some(next) = last_input(&nodes) {
            let width = next.input.schema().fields().len();
            if nodes.iter().chain([&next]).any(|node| reads_behind(node, width)) {
                break;
            }
            nodes.push(next);
        }
        // The deepest first: its results stand before those of the others.
        nodes.reverse();
        let base = &nodes[0].input;
        let input = self.node(base)?;
        let mut columns = Columns::new(all_columns(&self.plan.node(input)?.schema));
        let width = columns.exprs.len();
        let mut wanted = Vec::new();
        for node in &nodes {
            let first = node.input.schema().fields().len();
            for (number, expr) in node.window_expr.iter().enumerate() {
                let data_type = node.schema.field(first + number).data_type();
                wanted.push(self.wanted(expr, base.schema(), data_type, &mut columns)?);
            }
        }
        let mut names = field_names(&self.plan.node(input)?.schema);
        names.extend(columns.exprs[width..].iter().map(Expr::to_string));
        let mut below = self.project(input, columns.exprs, names)?;
        let mut results = vec![0; wanted.len()];
        for (keys, calls) in in_orders(wanted) {
            let first = self.plan.node(below)?.schema.fields().len();
            calls.iter().enumerate().for_each(|(at, (number, _))| results[*number] = first + at);
            let names = calls.iter().map(|(number, call)| format!("{call} {number}")).collect();
            let calls = calls.into_iter().map(|(_, call)| call).collect();
            below = self.plan.add(Arc::new(Window { keys, calls, names }), &[below])?;
        }
        let given = all_columns(&self.plan.node(below)?.schema);
        let wanted = (0..width).chain(results).map(|column| given[column].clone());
        self.project(below, wanted.collect(), field_names(window.schema.as_arrow()))
    }

    fn wanted(
        &self,
        expr: &Logical,
        schema: &DFSchema,
        data_type: &DataType,
        columns: &mut Columns,
    ) -> Result<Wanted> {
        let expr = expr.clone().unalias();
        let Logical::WindowFunction(window) = &expr else {
            return Err(Error::internal(format!("{expr} is no window function")));
        };
        let params = &window.params;
        let by_distance = is_by_distance(&params.window_frame);
        let mut partition = Vec::new();
        for key in &params.partition_by {
            match self.expr(key, schema)? {
                Expr::Literal(_) => {}
                key => push_new(&mut partition, columns.add(key)),
            }
        }
        let mut order: Vec<SortKey> = Vec::new();
        for SortExpr { expr: key, asc, nulls_first } in &params.order_by {
            let key = self.expr(key, schema)?;
            if matches!(key, Expr::Literal(_)) && !by_distance {
                continue;
            }
            let column = columns.add(key);
            let is_known = partition.contains(&column) || order.iter().any(|k| k.column == column);
            if !is_known || by_distance {
                order.push(SortKey { column, descending: !asc, nulls_first: *nulls_first });
            }
        }
        let args = params.args.iter().map(|arg| self.expr(arg, schema));
        let mut args: Vec<Expr> = args.collect::<Result<_>>()?;
        let filter = params.filter.as_ref().map(|filter| self.expr(filter, schema));
        let mut filter = filter.transpose()?;
        let function = match &window.fun {
            WindowFunctionDefinition::WindowUDF(function) => own_function(function.name())?,
            WindowFunctionDefinition::AggregateUDF(function) => {
                if let (Some(Declared::Mode), [arg]) = (Declared::of(function), &params.args[..])
                    && arg.get_type(schema).is_ok_and(|t| has_interval(&t))
                {
                    // Those that are equally long are one value, whatever they are made of.
                    args.push(self.expr(&interval_order(arg.clone()), schema)?);
                }
                over((function, params.distinct), &mut args, &mut filter, data_type)?
            }
        };
        let ignore_nulls = ignores_nulls(&function, params)?;
        let call = WindowCall {
            arguments: arguments(&function, args, columns),
            function,
            filter: filter.map(|filter| columns.add(filter)),
            distinct: params.distinct,
            ignore_nulls,
            over: Over { partition: 0, order: 0 },
            frame: frame(&params.window_frame)?,
            data_type: data_type.clone(),
        };
        Ok(Wanted { call, partition, order })
    }
}

/// The window node that the last one reads.
fn last_input<'a>(nodes: &[&'a df::Window]) -> Option<&'a df::Window> {
    match nodes.last()?.input.as_ref() {
        LogicalPlan::Window(next) => Some(next),
        _ => None,
    }
}

/// Whether a node's calls read columns of its input behind the first ones.
fn reads_behind(node: &df::Window, width: usize) -> bool {
    let schema = node.input.schema();
    let reads = |column| schema.maybe_index_of_column(column).is_none_or(|at| at >= width);
    node.window_expr.iter().any(|expr| expr.column_refs().into_iter().any(reads))
}

fn own_function(name: &str) -> Result<WindowKind> {
    Ok(match name {
        "row_number" => WindowKind::RowNumber,
        "rank" => WindowKind::Rank,
        "dense_rank" => WindowKind::DenseRank,
        "percent_rank" => WindowKind::PercentRank,
        "cume_dist" => WindowKind::CumeDist,
        "ntile" => WindowKind::Ntile,
        "lag" => WindowKind::Lag,
        "lead" => WindowKind::Lead,
        "first_value" => WindowKind::FirstValue,
        "last_value" => WindowKind::LastValue,
        "nth_value" => WindowKind::NthValue,
        other => return Err(Error::input(format!("`{other}` is no window function"))),
    })
}

fn ignores_nulls(function: &WindowKind, params: &WindowFunctionParams) -> Result<bool> {
    let is_aggregate =
        matches!(function, WindowKind::Aggregate(_) | WindowKind::Percentile(_) | WindowKind::Mode);
    if params.distinct && !is_aggregate {
        return Err(Error::input(format!("DISTINCT in {function} OVER is not supported")));
    }
    if params.null_treatment != Some(NullTreatment::IgnoreNulls) {
        return Ok(false);
    }
    match function {
        WindowKind::Lag
        | WindowKind::Lead
        | WindowKind::FirstValue
        | WindowKind::LastValue
        | WindowKind::NthValue => Ok(true),
        other => Err(Error::input(format!("{other} takes no IGNORE NULLS"))),
    }
}

/// Values are columns; counts and defaults may be constants.
fn arguments(function: &WindowKind, args: Vec<Expr>, columns: &mut Columns) -> Vec<WindowArgument> {
    if matches!(function, WindowKind::Aggregate(AggregateKind::CountRows)) {
        return Vec::new();
    }
    let is_value = |position: usize| position == 0 && *function != WindowKind::Ntile;
    let argument = |(position, arg): (usize, Expr)| match arg {
        Expr::Literal(literal) if !is_value(position) => WindowArgument::Constant(literal),
        other => WindowArgument::Column(columns.add(other)),
    };
    args.into_iter().enumerate().map(argument).collect()
}

fn frame(frame: &WindowFrame) -> Result<Frame> {
    let units = match frame.units {
        WindowFrameUnits::Rows => FrameUnits::Rows,
        WindowFrameUnits::Range => FrameUnits::Range,
        WindowFrameUnits::Groups => FrameUnits::Groups,
    };
    Ok(Frame { units, start: bound(&frame.start_bound)?, end: bound(&frame.end_bound)? })
}

/// The offset NULL stands for what is beyond all rows.
fn bound(bound: &WindowFrameBound) -> Result<FrameBound> {
    let offset = |scalar: &ScalarValue| lower_literal(scalar);
    Ok(match bound {
        WindowFrameBound::CurrentRow => FrameBound::CurrentRow,
        WindowFrameBound::Preceding(by) if by.is_null() => FrameBound::UnboundedPreceding,
        WindowFrameBound::Preceding(by) => FrameBound::Preceding(offset(by)?),
        WindowFrameBound::Following(by) if by.is_null() => FrameBound::UnboundedFollowing,
        WindowFrameBound::Following(by) => FrameBound::Following(offset(by)?),
    })
}

/// Whether a frame goes by the distance of keys.
fn is_by_distance(frame: &WindowFrame) -> bool {
    let is_distance = |bound: &WindowFrameBound| {
        !bound.is_unbounded() && !matches!(bound, WindowFrameBound::CurrentRow)
    };
    frame.units == WindowFrameUnits::Range
        && (is_distance(&frame.start_bound) || is_distance(&frame.end_bound))
}

/// An order of the rows that is being made: what is fixed of it so far.
#[derive(Default)]
struct Order {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq)]
enum Part {
    /// Columns in any order and direction.
    Any(Vec<usize>),
    Key(SortKey),
}

/// Calls, each with its number.
type Numbered = Vec<(usize, WindowCall)>;

/// The calls by the order of the rows that they go by.
fn in_orders(wanted: Vec<Wanted>) -> Vec<(Vec<SortKey>, Numbered)> {
    let mut numbered: Vec<(usize, Wanted)> = wanted.into_iter().enumerate().collect();
    // Those with most keys first: the others may find theirs among them.
    numbered.sort_by_key(|(_, w)| std::cmp::Reverse(w.partition.len() + w.order.len()));
    let mut orders: Vec<(Order, Numbered)> = Vec::new();
    for (number, Wanted { mut call, partition, order }) in numbered {
        call.over = Over { partition: partition.len(), order: partition.len() + order.len() };
        let served = orders.iter_mut().find_map(|(known, calls)| {
            *known = known.serving(&partition, &order)?;
            Some(calls)
        });
        match served {
            Some(calls) => calls.push((number, call)),
            None => {
                let new = Order::default().serving(&partition, &order).unwrap_or_default();
                orders.push((new, vec![(number, call)]));
            }
        }
    }
    let finished = orders.into_iter().map(|(order, mut calls)| {
        calls.sort_by_key(|(number, _)| *number);
        (order.keys(), calls)
    });
    finished.collect()
}

impl Order {
    /// The order when it serves these partitions and keys as well; `None` when it cannot.
    fn serving(&self, partition: &[usize], order: &[SortKey]) -> Option<Order> {
        let mut parts: Vec<Part> = Vec::new();
        let mut rest = self.parts.iter().cloned().collect::<std::collections::VecDeque<_>>();
        let mut missing = partition.to_vec();
        while !missing.is_empty() {
            match rest.pop_front() {
                Some(Part::Key(key)) => {
                    missing.remove(missing.iter().position(|c| *c == key.column)?);
                    parts.push(Part::Key(key));
                }
                Some(Part::Any(columns)) => {
                    let (first, others): (Vec<usize>, Vec<usize>) =
                        columns.into_iter().partition(|column| missing.contains(column));
                    if first.is_empty() || (!others.is_empty() && first.len() < missing.len()) {
                        return None;
                    }
                    missing.retain(|column| !first.contains(column));
                    parts.push(Part::Any(first));
                    if !others.is_empty() {
                        rest.push_front(Part::Any(others));
                    }
                }
                None => parts.push(Part::Any(std::mem::take(&mut missing))),
            }
        }
        for key in order {
            match rest.pop_front() {
                Some(Part::Key(known)) if known == *key => {}
                Some(Part::Any(mut columns)) => {
                    columns.remove(columns.iter().position(|c| *c == key.column)?);
                    if !columns.is_empty() {
                        rest.push_front(Part::Any(columns));
                    }
                }
                Some(_) => return None,
                None => {}
            }
            parts.push(Part::Key(*key));
        }
        parts.extend(rest);
        Some(Order { parts })
    }

    fn keys(self) -> Vec<SortKey> {
        let key = |column| SortKey { column, descending: false, nulls_first: false };
        let keys = self.parts.into_iter().flat_map(|part| match part {
            Part::Any(columns) => columns.into_iter().map(key).collect(),
            Part::Key(key) => vec![key],
        });
        keys.collect()
    }
}

fn push_new(columns: &mut Vec<usize>, column: usize) {
    if !columns.contains(&column) {
        columns.push(column);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(column: usize) -> SortKey {
        SortKey { column, descending: true, nulls_first: true }
    }

    fn columns(order: Order) -> Vec<usize> {
        order.keys().iter().map(|key| key.column).collect()
    }

    #[test]
    fn one_order_serves_several_windows_when_it_can() {
        let first = Order::default().serving(&[1, 2, 3], &[key(4)]).expect("a new one");
        let both = first.serving(&[3], &[key(1)]).expect("3, then 1, then 2");
        assert_eq!(columns(both), [3, 1, 2, 4]);
        let first = Order::default().serving(&[1, 2, 3], &[key(4)]).expect("a new one");
        assert!(first.serving(&[1], &[key(4)]).is_none());
        assert!(first.serving(&[4], &[]).is_none());
        assert!(first.serving(&[1, 4], &[]).is_none());
        let all = first.serving(&[1, 2, 3, 4], &[key(5)]).expect("goes on");
        assert_eq!(columns(all), [1, 2, 3, 4, 5]);
        let whole = first.serving(&[], &[]).expect("any order will do");
        assert_eq!(columns(whole), [1, 2, 3, 4]);
        let other = SortKey { descending: false, ..key(4) };
        assert!(first.serving(&[3, 2, 1], &[other]).is_none());
        let shared = first.serving(&[3, 2, 1], &[key(4), other]);
        assert!(shared.is_some(), "a key that is known already");
    }
}
