//! The groups of one set of keys: a branch for each way that aggregates are computed in, and one
//! row for each key out of all branches.
//!
//! Sound: every branch has exactly one row for every key that the input has, because none drops
//! rows before it groups them; and without keys each has exactly one row.

use std::sync::Arc;

use arrow::datatypes::DataType;
use gristmill_engine::Result;
use gristmill_engine::expr::{AggregateCall, AggregateKind, Expr, Literal, SortKey};
use gristmill_engine::operators::{HashAggregate, SortAggregate, Union};
use gristmill_engine::plan::NodeId;

use super::calls::{Call, Kind, moved};
use crate::lower::plan::{PlanLowering, all_columns};

/// In what way aggregates are computed. Columns are those of the projection below.
#[derive(Debug, Clone, PartialEq)]
enum Way {
    /// Row by row.
    Rows,
    /// Over the distinct values of columns.
    Distinct(Values),
    /// Over rows in order.
    Ordered(Vec<SortKey>),
    /// Over the distinct values of columns in order.
    DistinctOrdered(Values, Vec<SortKey>),
    /// Over the numbers of equal values of a column.
    Frequencies(Values),
}

/// What distinct values are made of.
#[derive(Debug, Clone, PartialEq)]
struct Values {
    /// The columns that tell them apart.
    columns: Vec<usize>,
    /// A column that comes along, with any of the values that these columns do not tell apart.
    along: Option<usize>,
}

impl Call {
    /// Whether it is computed over rows in order.
    pub(super) fn needs_order(&self) -> bool {
        matches!(self.way(), Way::Ordered(_) | Way::DistinctOrdered(..))
    }

    fn way(&self) -> Way {
        let along = self.identity.and(self.arguments.first()).copied();
        let own = || match self.identity {
            Some(identity) => vec![identity],
            None => self.arguments.clone(),
        };
        let values = || Values { columns: own().into_iter().chain(self.filter).collect(), along };
        match (&self.kind, self.distinct) {
            (Kind::Plain(_), false) => Way::Rows,
            (Kind::Plain(_), true) => Way::Distinct(values()),
            (Kind::Ordered(_, order), false) => Way::Ordered(order.clone()),
            (Kind::Ordered(_, order), true) => Way::DistinctOrdered(values(), order.clone()),
            (Kind::Mode, _) => Way::Frequencies(Values { columns: own(), along }),
        }
    }
}

impl PlanLowering {
    /// One row for each key in `below`: the keys, then what the calls give.
    pub(super) fn groups(
        &mut self,
        below: NodeId,
        keys: &[usize],
        calls: &[Call],
        names: Vec<String>,
    ) -> Result<NodeId> {
        let mut ways: Vec<(Way, Vec<usize>)> = Vec::new();
        for (number, call) in calls.iter().enumerate() {
            let way = call.way();
            match ways.iter_mut().find(|(known, _)| *known == way) {
                Some((_, members)) => members.push(number),
                None => ways.push((way, vec![number])),
            }
        }
        if ways.len() <= 1 {
            let way = ways.pop().map_or(Way::Rows, |(way, _)| way);
            let all: Vec<&Call> = calls.iter().collect();
            return self.branch(below, keys, &way, &all, names);
        }
        let mut branches = Vec::with_capacity(ways.len());
        for (way, members) in &ways {
            let own: Vec<&Call> = members.iter().map(|&member| &calls[member]).collect();
            let names = numbered(keys.len() + own.len());
            branches.push(self.branch(below, keys, way, &own, names)?);
        }
        let members: Vec<&[usize]> = ways.iter().map(|(_, members)| &members[..]).collect();
        self.put_together(&branches, &members, keys.len(), calls, names)
    }

    /// The rows of several branches, side by side: branch `b` has the results of the calls
    /// `members[b]`.
    fn put_together(
        &mut self,
        branches: &[NodeId],
        members: &[&[usize]],
        keys: usize,
        calls: &[Call],
        names: Vec<String>,
    ) -> Result<NodeId> {
        let mut rows = Vec::with_capacity(branches.len());
        for (number, (&branch, members)) in branches.iter().zip(members).enumerate() {
            let mut columns = all_columns(&self.plan.node(branch)?.schema);
            let own = columns.split_off(keys);
            let results = calls.iter().enumerate().map(|(call, result)| {
                match members.iter().position(|&member| member == call) {
                    Some(at) => own[at].clone(),
                    None => Expr::Literal(Literal::null(result.data_type.clone())),
                }
            });
            columns.extend(results);
            // Whose row it is, for results that may be NULL and have no order.
            let is = |branch: usize| Expr::Literal(Literal::bool(branch == number));
            columns.extend((0..branches.len()).map(is));
            let names = numbered(columns.len());
            rows.push(self.project(branch, columns, names)?);
        }
        let rows = self.plan.add(Arc::new(Union {}), &rows)?;
        let aggregates = calls.iter().enumerate().map(|(call, result)| {
            let branch = members.iter().position(|members| members.contains(&call)).unwrap_or(0);
            let is_plain = !result.data_type.is_nested() && !result.data_type.is_null();
            AggregateCall {
                // There is one value or none.
                function: match is_plain {
                    true => AggregateKind::Max,
                    false => AggregateKind::First { order: Vec::new() },
                },
                arguments: vec![keys + call],
                filter: (!is_plain).then_some(keys + calls.len() + branch),
                data_type: result.data_type.clone(),
            }
        });
        let aggregates = aggregates.collect();
        let spec = HashAggregate { keys: (0..keys).collect(), aggregates, names };
        self.plan.add(Arc::new(spec), &[rows])
    }

    fn branch(
        &mut self,
        below: NodeId,
        keys: &[usize],
        way: &Way,
        calls: &[&Call],
        names: Vec<String>,
    ) -> Result<NodeId> {
        match way {
            Way::Rows => self.hashed(below, keys, calls, names, &|column| column),
            Way::Distinct(values) => {
                let distinct = self.distinct(below, keys, values, Vec::new())?;
                let outer: Vec<usize> = (0..keys.len()).collect();
                self.hashed(distinct, &outer, calls, names, &values.behind(keys.len()))
            }
            Way::Ordered(order) => {
                let mut columns: Vec<usize> = keys.to_vec();
                columns.extend(order.iter().map(|key| key.column));
                columns.extend(calls.iter().flat_map(|call| &call.arguments));
                columns.extend(calls.iter().filter_map(|call| call.filter));
                columns.sort_unstable();
                columns.dedup();
                let given = all_columns(&self.plan.node(below)?.schema);
                let exprs = columns.iter().map(|&column| given[column].clone()).collect();
                let narrow = self.project(below, exprs, numbered(columns.len()))?;
                let place =
                    |column: usize| columns.iter().position(|&own| own == column).unwrap_or(0);
                let keys: Vec<usize> = keys.iter().map(|&key| place(key)).collect();
                self.ordered(narrow, &keys, order, calls, names, &place)
            }
            Way::DistinctOrdered(values, order) => {
                let distinct = self.distinct(below, keys, values, Vec::new())?;
                let outer: Vec<usize> = (0..keys.len()).collect();
                let place = values.behind(keys.len());
                self.ordered(distinct, &outer, order, calls, names, &place)
            }
            Way::Frequencies(values) => self.most_frequent(below, keys, values, calls, names),
        }
    }

    fn hashed(
        &mut self,
        input: NodeId,
        keys: &[usize],
        calls: &[&Call],
        names: Vec<String>,
        place: &dyn Fn(usize) -> usize,
    ) -> Result<NodeId> {
        let aggregates = calls.iter().map(|call| call.plain(place)).collect::<Result<_>>()?;
        let spec = HashAggregate { keys: keys.to_vec(), aggregates, names };
        self.plan.add(Arc::new(spec), &[input])
    }

    fn ordered(
        &mut self,
        input: NodeId,
        keys: &[usize],
        order: &[SortKey],
        calls: &[&Call],
        names: Vec<String>,
        place: &dyn Fn(usize) -> usize,
    ) -> Result<NodeId> {
        let aggregates = calls.iter().map(|call| call.ordered(place)).collect::<Result<_>>()?;
        let order = moved(order, place);
        let spec = SortAggregate { keys: keys.to_vec(), order, aggregates, names };
        self.plan.add(Arc::new(spec), &[input])
    }

    /// The distinct values for each key, what comes along, and what `aggregates` give.
    fn distinct(
        &mut self,
        below: NodeId,
        keys: &[usize],
        values: &Values,
        mut aggregates: Vec<AggregateCall>,
    ) -> Result<NodeId> {
        if let Some(along) = values.along {
            let first = AggregateCall {
                function: AggregateKind::First { order: Vec::new() },
                arguments: vec![along],
                filter: None,
                data_type: self.plan.node(below)?.schema.field(along).data_type().clone(),
            };
            aggregates.insert(0, first);
        }
        let keys: Vec<usize> = keys.iter().chain(&values.columns).copied().collect();
        let names = numbered(keys.len() + aggregates.len());
        self.plan.add(Arc::new(HashAggregate { keys, aggregates, names }), &[below])
    }

    /// For each key the value of a column that is there most often; of several the least.
    fn most_frequent(
        &mut self,
        below: NodeId,
        keys: &[usize],
        values: &Values,
        calls: &[&Call],
        names: Vec<String>,
    ) -> Result<NodeId> {
        let count = AggregateCall {
            function: AggregateKind::CountRows,
            arguments: Vec::new(),
            filter: None,
            data_type: DataType::Int64,
        };
        let counted = self.distinct(below, keys, values, vec![count])?;
        let identity = keys.len();
        let value = identity + usize::from(values.along.is_some());
        let (count, is_value) = (value + 1, value + 2);
        let mut columns = all_columns(&self.plan.node(counted)?.schema);
        let is_null = Expr::IsNull(Box::new(columns[value].clone()));
        columns.push(Expr::Not(Box::new(is_null)));
        let names_below = numbered(columns.len());
        let marked = self.project(counted, columns, names_below)?;
        let order = vec![
            SortKey { column: count, descending: true, nulls_first: false },
            SortKey { column: identity, descending: false, nulls_first: false },
        ];
        let aggregates = calls.iter().map(|call| AggregateCall {
            function: AggregateKind::First { order: order.clone() },
            arguments: vec![value],
            filter: Some(is_value),
            data_type: call.data_type.clone(),
        });
        let aggregates = aggregates.collect();
        let spec = HashAggregate { keys: (0..keys.len()).collect(), aggregates, names };
        self.plan.add(Arc::new(spec), &[marked])
    }
}

impl Values {
    /// Where columns are that stand behind the keys.
    fn behind(&self, keys: usize) -> impl Fn(usize) -> usize {
        let columns: Vec<usize> = self.columns.iter().copied().chain(self.along).collect();
        move |column| keys + columns.iter().position(|&own| own == column).unwrap_or(0)
    }
}

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("c{number}")).collect()
}
