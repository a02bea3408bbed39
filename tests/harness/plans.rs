//! Random plans: the same relation as the reference understands it and as specs of the engine.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use gristmill_engine::expr::{
    AggregateCall, AggregateKind, ArithmeticOp, BitOp, CompareOp, Expr, Literal, MatchKind,
    OrderedCall as EngineOrderedCall, OrderedKind, SortKey, Value as Exact,
};
use gristmill_engine::operators::{
    Filter, HashAggregate, HashJoin, JoinKind, Limit, NestedLoopJoin, Project, Repeat, Sort,
    SortAggregate, TopK, Union,
};
use gristmill_engine::plan::{NodeId, Plan, Spec};

use crate::random::Random;
use crate::reference::plan::{
    Call, Function, Join, JoinOn, Key, Nulls, OrderedCall, OrderedFunction, Relation,
};
use crate::table_source::TableSource;

/// A random relation, twice.
pub struct RandomPlan {
    /// For the reference.
    pub relation: Relation,
    /// For the engine.
    pub plan: Plan,
    /// Whether the order of the rows is fixed.
    pub is_ordered: bool,
    /// Whether part of the input may be left unread, with the errors in it.
    pub may_stop_early: bool,
}

/// Makes plans over some tables.
pub struct PlanGenerator<'a> {
    random: &'a mut Random,
    tables: &'a [RecordBatch],
    plan: Plan,
    may_stop_early: bool,
}

struct Built {
    relation: Relation,
    node: NodeId,
    schema: SchemaRef,
    is_ordered: bool,
}

/// Kinds of joins, as the reference and the engine name them.
const KINDS: [(Join, JoinKind); 10] = [
    (Join::Inner, JoinKind::Inner),
    (Join::Left, JoinKind::Left),
    (Join::Right, JoinKind::Right),
    (Join::Full, JoinKind::Full),
    (Join::Single, JoinKind::Single),
    (Join::Semi, JoinKind::Semi),
    (Join::Anti, JoinKind::Anti),
    (Join::Mark, JoinKind::Mark),
    (Join::RightSemi, JoinKind::RightSemi),
    (Join::RightAnti, JoinKind::RightAnti),
];

/// A comparison of two columns of one type.
fn compared(op: CompareOp, (left, right): (usize, usize), data_type: &DataType) -> Expr {
    Expr::Compare {
        op,
        left: Box::new(Expr::column(left, data_type.clone())),
        right: Box::new(Expr::column(right, data_type.clone())),
    }
}

impl<'a> PlanGenerator<'a> {
    /// A random plan over `tables`, `depth` operators deep at most.
    pub fn generate(random: &'a mut Random, tables: &'a [RecordBatch], depth: usize) -> RandomPlan {
        let mut generator =
            PlanGenerator { random, tables, plan: Plan::new(), may_stop_early: false };
        let built = generator.relation(depth);
        // The root is the node added last, which a join without a possible key is not.
        generator.add(Limit { offset: 0, count: None }, &[built.node]);
        RandomPlan {
            relation: built.relation,
            plan: generator.plan,
            is_ordered: built.is_ordered,
            may_stop_early: generator.may_stop_early,
        }
    }

    fn add(&mut self, spec: impl Spec + 'static, inputs: &[NodeId]) -> (NodeId, SchemaRef) {
        let node = self.plan.add(Arc::new(spec), inputs).expect("the plan fits together");
        (node, self.plan.node(node).expect("just added").schema.clone())
    }

    fn relation(&mut self, depth: usize) -> Built {
        if depth == 0 {
            return self.table();
        }
        match self.random.below(12) {
            0 => self.table(),
            1 | 2 => self.filter(depth),
            3 => self.project(depth),
            4 | 5 => self.aggregate(depth),
            6 | 7 => self.join(depth),
            8 => self.sort(depth),
            9 => self.ordered(depth),
            10 => self.aggregates_of_one(depth),
            _ => self.limit_or_union(depth),
        }
    }

    fn table(&mut self) -> Built {
        let number = self.random.below(self.tables.len());
        let spec = TableSource {
            table: self.tables[number].clone(),
            chunk_rows: *self.random.pick(&[1, 3, 16, 1000]),
            morsel_chunks: *self.random.pick(&[1, 2, 5]),
            seed: self.random.bits(),
        };
        let (node, schema) = self.add(spec, &[]);
        Built { relation: Relation::Table(number), node, schema, is_ordered: true }
    }

    fn filter(&mut self, depth: usize) -> Built {
        let input = self.relation(depth - 1);
        let predicate = self.condition(&input.schema, 2);
        let conditions = match predicate.clone() {
            Expr::And(terms) => terms,
            other => vec![other],
        };
        let (node, schema) = self.add(Filter { conditions }, &[input.node]);
        let relation = Relation::Filter(Box::new(input.relation), predicate);
        Built { relation, node, schema, is_ordered: input.is_ordered }
    }

    fn project(&mut self, depth: usize) -> Built {
        let input = self.relation(depth - 1);
        let width = 1 + self.random.below(4);
        let exprs: Vec<Expr> = (0..width).map(|_| self.value(&input.schema, 2)).collect();
        let names = (0..width).map(|i| format!("e{i}")).collect();
        let (node, schema) = self.add(Project { exprs: exprs.clone(), names }, &[input.node]);
        let relation = Relation::Project(Box::new(input.relation), exprs);
        Built { relation, node, schema, is_ordered: input.is_ordered }
    }

    fn limit_or_union(&mut self, depth: usize) -> Built {
        let input = self.relation(depth - 1);
        if input.is_ordered && self.random.chance(50) {
            self.may_stop_early = true;
            let offset = self.random.below(4) as u64;
            let count = self.random.chance(80).then(|| self.random.below(30) as u64);
            let (node, schema) = self.add(Limit { offset, count }, &[input.node]);
            let relation = Relation::Limit(Box::new(input.relation), offset, count);
            return Built { relation, node, schema, is_ordered: true };
        }
        // A node read twice: the engine computes it once.
        let (node, schema) = self.add(Union {}, &[input.node, input.node]);
        let relation = Relation::Union(vec![input.relation.clone(), input.relation]);
        Built { relation, node, schema, is_ordered: input.is_ordered }
    }

    fn sort(&mut self, depth: usize) -> Built {
        let input = self.relation(depth - 1);
        let width = input.schema.fields().len();
        let key = |random: &mut Random| SortKey {
            column: random.below(width),
            descending: random.chance(50),
            nulls_first: random.chance(50),
        };
        let keys: Vec<SortKey> = (0..1 + self.random.below(2)).map(|_| key(self.random)).collect();
        let by = keys.iter().map(reference_key).collect();
        let sorted = Relation::Sort(Box::new(input.relation), by);
        if input.is_ordered && self.random.chance(30) {
            // Ties are cut by the order of the input.
            let count = self.random.below(30) as u64;
            let (node, schema) = self.add(TopK { keys, count }, &[input.node]);
            let first = Relation::Limit(Box::new(sorted), 0, Some(count));
            return Built { relation: first, node, schema, is_ordered: true };
        }
        let (node, schema) = self.add(Sort { keys }, &[input.node]);
        Built { relation: sorted, node, schema, is_ordered: input.is_ordered }
    }

    fn aggregate(&mut self, depth: usize) -> Built {
        let input = self.relation(depth - 1);
        self.aggregate_over(input)
    }

    fn keys(&mut self, width: usize) -> Vec<usize> {
        let mut keys: Vec<usize> = (0..width).filter(|_| self.random.chance(30)).collect();
        keys.truncate(3);
        keys
    }

    fn aggregate_over(&mut self, input: Built) -> Built {
        let width = input.schema.fields().len();
        let mut keys = self.keys(width);
        let mut calls = Vec::new();
        for _ in 0..self.random.below(4) {
            let column = self.random.below(width);
            calls.push(self.call(&input.schema, column, input.is_ordered));
        }
        if keys.is_empty() && calls.is_empty() {
            keys.push(self.random.below(width));
        }
        let aggregates = calls.iter().map(engine_call).collect();
        let names = (0..keys.len() + calls.len()).map(|i| format!("a{i}")).collect();
        let spec = HashAggregate { keys: keys.clone(), aggregates, names };
        let (node, schema) = self.add(spec, &[input.node]);
        let relation = Relation::Aggregate { input: Box::new(input.relation), keys, calls };
        Built { relation, node, schema, is_ordered: false }
    }

    /// Two aggregates of one relation: it is computed once and read by both as it runs.
    fn aggregates_of_one(&mut self, depth: usize) -> Built {
        let input = self.relation(depth - 1);
        let second = Built {
            relation: input.relation.clone(),
            node: input.node,
            schema: input.schema.clone(),
            is_ordered: input.is_ordered,
        };
        let keys = self.keys(input.schema.fields().len());
        let count = Call {
            function: Function::Count,
            column: None,
            filter: None,
            order: Vec::new(),
            input: DataType::Int64,
            output: DataType::Int64,
        };
        let [first, second] = [input, second].map(|input| {
            let names = (0..=keys.len()).map(|i| format!("a{i}")).collect();
            let aggregates = vec![engine_call(&count)];
            let spec = HashAggregate { keys: keys.clone(), aggregates, names };
            let (node, schema) = self.add(spec, &[input.node]);
            let (input, calls) = (Box::new(input.relation), vec![count.clone()]);
            let relation = Relation::Aggregate { input, keys: keys.clone(), calls };
            (relation, node, schema)
        });
        let (node, schema) = self.add(Union {}, &[first.1, second.1]);
        let relation = Relation::Union(vec![first.0, second.0]);
        if self.random.chance(50) {
            return Built { relation, node, schema, is_ordered: false };
        }
        // Groups of a few rows each: their number repeats the keys.
        let small = Expr::Compare {
            op: CompareOp::Less,
            left: Box::new(Expr::column(keys.len(), DataType::Int64)),
            right: Box::new(Expr::Literal(Literal::int(9))),
        };
        let (node, _) = self.add(Filter { conditions: vec![small.clone()] }, &[node]);
        let relation = Relation::Filter(Box::new(relation), small);
        if keys.is_empty() {
            return Built { relation, node, schema, is_ordered: false };
        }
        let (node, schema) = self.add(Repeat { count: keys.len() }, &[node]);
        let relation = Relation::Repeat(Box::new(relation), keys.len());
        Built { relation, node, schema, is_ordered: false }
    }

    /// Aggregates of rows in order.
    fn ordered(&mut self, depth: usize) -> Built {
        let input = self.relation(depth - 1);
        let width = input.schema.fields().len();
        let keys = self.keys(width);
        let column = self.random.below(width);
        let data_type = input.schema.field(column).data_type().clone();
        let mut order = self.sort_keys(width, 2);
        if !input.is_ordered || self.random.chance(50) {
            // Rows that are equal in this order have equal values.
            order = vec![SortKey {
                column,
                descending: self.random.chance(50),
                nulls_first: self.random.chance(50),
            }];
        }
        let mut calls = Vec::new();
        for _ in 0..1 + self.random.below(3) {
            let fraction = *self.random.pick(&[0.0, 0.25, 0.5, 0.9, 1.0]);
            let function = match (self.random.below(4), &data_type) {
                (0, DataType::Float64) => OrderedFunction::PercentileCont(fraction),
                (1, DataType::Utf8) => OrderedFunction::Concat,
                (0 | 1, _) => OrderedFunction::PercentileDisc(fraction),
                _ => OrderedFunction::Nth(*self.random.pick(&[1, 2, 5, -1, -3])),
            };
            calls.push(OrderedCall { function, column, filter: self.filter_of(&input.schema) });
        }
        let aggregates = calls.iter().map(|call| engine_ordered(call, &data_type)).collect();
        let names = (0..keys.len() + calls.len()).map(|i| format!("o{i}")).collect();
        let by = order.iter().map(reference_key).collect();
        let spec = SortAggregate { keys: keys.clone(), order, aggregates, names };
        let (node, schema) = self.add(spec, &[input.node]);
        let relation =
            Relation::Ordered { input: Box::new(input.relation), keys, order: by, calls };
        Built { relation, node, schema, is_ordered: false }
    }

    fn sort_keys(&mut self, width: usize, most: usize) -> Vec<SortKey> {
        let count = self.random.below(most + 1);
        let key = |random: &mut Random| SortKey {
            column: random.below(width),
            descending: random.chance(50),
            nulls_first: random.chance(50),
        };
        (0..count).map(|_| key(self.random)).collect()
    }

    fn filter_of(&mut self, schema: &SchemaRef) -> Option<usize> {
        let is_filter = |(i, f): (usize, &Arc<arrow::datatypes::Field>)| {
            (*f.data_type() == DataType::Boolean).then_some(i)
        };
        let filters: Vec<usize> =
            schema.fields().iter().enumerate().filter_map(is_filter).collect();
        (!filters.is_empty() && self.random.chance(30)).then(|| *self.random.pick(&filters))
    }

    fn call(&mut self, schema: &SchemaRef, column: usize, is_ordered: bool) -> Call {
        let input = schema.field(column).data_type().clone();
        let filter = self.filter_of(schema);
        if is_ordered && self.random.chance(25) {
            let function = *self.random.pick(&[Function::First, Function::Last]);
            let order = self.sort_keys(schema.fields().len(), 2);
            let order = order.iter().map(reference_key).collect();
            let (column, output) = (Some(column), input.clone());
            return Call { function, column, filter, order, input, output };
        }
        let sum = match &input {
            DataType::Int64 => Some(DataType::Int64),
            DataType::Decimal128(p, s) => Some(DataType::Decimal128((p + 10).min(38), *s)),
            _ => None,
        };
        let bits = matches!(input, DataType::Int32 | DataType::Int64);
        let average = match &input {
            DataType::Int32 | DataType::Int64 => Some(DataType::Float64),
            DataType::Decimal128(p, s) if *p < 20 => Some(DataType::Decimal128(p + 4, s + 4)),
            _ => None,
        };
        let (function, column, output) = match (self.random.below(7), sum) {
            (5, _) if bits => {
                let functions = [Function::BitAnd, Function::BitOr, Function::BitXor];
                (*self.random.pick(&functions), Some(column), input.clone())
            }
            (6, _) if average.is_some() => {
                (Function::Average, Some(column), average.unwrap_or(DataType::Null))
            }
            (0, _) => (Function::Count, None, DataType::Int64),
            (1, _) => (Function::Count, Some(column), DataType::Int64),
            (2, _) => (Function::Min, Some(column), input.clone()),
            (3, Some(sum)) => (Function::Sum, Some(column), sum),
            _ => (Function::Max, Some(column), input.clone()),
        };
        Call { function, column, filter, order: Vec::new(), input, output }
    }

    fn join(&mut self, depth: usize) -> Built {
        self.may_stop_early = true;
        let (left, right) = (self.relation(depth - 1), self.relation(depth.saturating_sub(2)));
        let (left_width, right_width) = (left.schema.fields().len(), right.schema.fields().len());
        let mut pairs = Vec::new();
        for l in 0..left_width {
            for r in 0..right_width {
                if left.schema.field(l).data_type() == right.schema.field(r).data_type() {
                    pairs.push((l, r));
                }
            }
        }
        if pairs.is_empty() {
            return left;
        }
        let keys: Vec<(usize, usize)> =
            (0..1 + self.random.below(2)).map(|_| *self.random.pick(&pairs)).collect();
        let (kind, engine_kind) = *self.random.pick(&KINDS);
        let residual = self.random.chance(25).then(|| {
            let (l, r) = *self.random.pick(&pairs);
            let op = *self.random.pick(&COMPARISONS);
            compared(op, (l, left_width + r), left.schema.field(l).data_type())
        });
        let is_nested = self.random.chance(30);
        let null_aware = matches!(kind, Join::Mark | Join::Anti) && self.random.chance(50);
        let nulls = match (null_aware, is_nested) {
            (false, _) => Nulls::NoMatch,
            (true, false) => Nulls::In,
            (true, true) => Nulls::Any,
        };
        let all = |does: bool, width: usize| if does { (0..width).collect() } else { Vec::new() };
        let probe_output = all(engine_kind.has_probe_columns(), left_width);
        let build_output = all(engine_kind.has_build_columns(), right_width);
        let inputs = [left.node, right.node];
        let mut on = JoinOn { kind, keys, residual, nulls, left_width, right_width };
        let (node, schema) = if is_nested {
            let equal = |&(l, r): &(usize, usize)| {
                compared(CompareOp::Equal, (l, left_width + r), left.schema.field(l).data_type())
            };
            let terms: Vec<Expr> = on.keys.iter().map(equal).chain(on.residual.take()).collect();
            on.keys.clear();
            on.residual = Some(Expr::And(terms));
            let (kind, condition) = (engine_kind, on.residual.clone());
            let spec = NestedLoopJoin { kind, condition, probe_output, build_output, null_aware };
            self.add(spec, &inputs)
        } else {
            let spec = HashJoin {
                kind: engine_kind,
                probe_keys: on.keys.iter().map(|k| k.0).collect(),
                build_keys: on.keys.iter().map(|k| k.1).collect(),
                residual: on.residual.clone(),
                probe_output,
                build_output,
                null_equals_null: false,
                null_aware,
                publishes: None,
            };
            self.add(spec, &inputs)
        };
        let (left, right) = (Box::new(left.relation), Box::new(right.relation));
        Built { relation: Relation::Join { on, left, right }, node, schema, is_ordered: false }
    }

    /// A condition over the columns of `schema`.
    fn condition(&mut self, schema: &SchemaRef, depth: usize) -> Expr {
        let below = depth.saturating_sub(1);
        match self.random.below(if depth == 0 { 4 } else { 7 }) {
            0 => Expr::IsNull(Box::new(self.column(schema))),
            1 => self.in_list(schema),
            2 | 3 => self.comparison(schema),
            4 => Expr::Not(Box::new(self.condition(schema, below))),
            5 => Expr::And((0..2).map(|_| self.condition(schema, below)).collect()),
            _ => Expr::Or((0..2).map(|_| self.condition(schema, below)).collect()),
        }
    }

    fn comparison(&mut self, schema: &SchemaRef) -> Expr {
        let left = self.value(schema, 1);
        let data_type = left.data_type();
        if data_type == DataType::Utf8 && self.random.chance(40) {
            let patterns = ["%a%", "a_", "%", "grist%", "%over%length _", "long %"];
            let pattern = Literal::text(*self.random.pick(&patterns));
            return Expr::Match {
                kind: *self.random.pick(&[MatchKind::Like, MatchKind::ILike]),
                input: Box::new(left),
                pattern: Box::new(Expr::Literal(pattern)),
                escape: None,
                negated: self.random.chance(30),
            };
        }
        let same = |f: &&Arc<arrow::datatypes::Field>| *f.data_type() == data_type;
        let has_other = schema.fields().iter().filter(same).count() > 0;
        let right = if has_other && self.random.chance(50) {
            let position = schema.fields().iter().position(|f| *f.data_type() == data_type);
            Expr::column(position.expect("there is one"), data_type)
        } else {
            Expr::Literal(self.literal(&data_type))
        };
        let op = *self.random.pick(&COMPARISONS);
        Expr::Compare { op, left: Box::new(left), right: Box::new(right) }
    }

    fn in_list(&mut self, schema: &SchemaRef) -> Expr {
        let input = self.column(schema);
        let data_type = input.data_type();
        let list = (0..self.random.below(4)).map(|_| self.literal(&data_type)).collect();
        Expr::InList { input: Box::new(input), list, negated: self.random.chance(40) }
    }

    fn column(&mut self, schema: &SchemaRef) -> Expr {
        let index = self.random.below(schema.fields().len());
        Expr::column(index, schema.field(index).data_type().clone())
    }

    /// A value over the columns of `schema`.
    fn value(&mut self, schema: &SchemaRef, depth: usize) -> Expr {
        let base = self.column(schema);
        if depth == 0 || self.random.chance(40) {
            return base;
        }
        let data_type = base.data_type();
        match &data_type {
            DataType::Int32 if self.random.chance(50) => {
                Expr::Cast { input: Box::new(base), data_type: DataType::Int64, lenient: false }
            }
            DataType::Int64 | DataType::Int32 | DataType::Float64 => {
                let right = Expr::Literal(self.literal(&data_type));
                let ops = [
                    ArithmeticOp::Add,
                    ArithmeticOp::Subtract,
                    ArithmeticOp::Multiply,
                    ArithmeticOp::Divide,
                    ArithmeticOp::Modulo,
                ];
                let op = *self.random.pick(&ops);
                Expr::Arithmetic { op, left: Box::new(base), right: Box::new(right), data_type }
            }
            DataType::Decimal128(p, s) => {
                let right = Expr::Literal(self.literal(&DataType::Decimal128(9, 2)));
                let (op, data_type) = match self.random.below(3) {
                    0 if p + 9 < 38 => {
                        (ArithmeticOp::Multiply, DataType::Decimal128(p + 10, s + 2))
                    }
                    1 => (ArithmeticOp::Subtract, sum_type(*p, *s)),
                    _ => (ArithmeticOp::Add, sum_type(*p, *s)),
                };
                Expr::Arithmetic { op, left: Box::new(base), right: Box::new(right), data_type }
            }
            _ => {
                let condition = self.condition(schema, 0);
                let other = Expr::Literal(self.literal(&data_type));
                let otherwise = self.random.chance(50).then(|| Box::new(other));
                Expr::Case { branches: vec![(condition, base)], otherwise, data_type }
            }
        }
    }

    fn literal(&mut self, data_type: &DataType) -> Literal {
        let random = &mut *self.random;
        let value = match data_type {
            _ if random.chance(8) => Exact::Null,
            DataType::Boolean => Exact::Bool(random.chance(50)),
            DataType::Float64 => Exact::Float(random.between(-12, 12) as f64 / 4.0),
            DataType::Decimal128(..) => Exact::Decimal(random.between(-500, 500).into()),
            DataType::Date32 => Exact::Int(random.between(8000, 8040)),
            DataType::Utf8 => Exact::Text((*random.pick(&["a", "ab", "", "grist"])).to_string()),
            _ => Exact::Int(random.between(-8, 8)),
        };
        Literal { data_type: data_type.clone(), value }
    }
}

const COMPARISONS: [CompareOp; 8] = [
    CompareOp::Equal,
    CompareOp::NotEqual,
    CompareOp::Less,
    CompareOp::LessOrEqual,
    CompareOp::Greater,
    CompareOp::GreaterOrEqual,
    CompareOp::Distinct,
    CompareOp::NotDistinct,
];

/// The type of `decimal(p, s) ± decimal(9, 2)`.
fn sum_type(p: u8, s: i8) -> DataType {
    let scale = s.max(2);
    let whole = i16::from(p) - i16::from(s);
    let digits = whole.max(7) + i16::from(scale) + 1;
    DataType::Decimal128(u8::try_from(digits.min(38)).expect("small"), scale)
}

fn reference_key(key: &SortKey) -> Key {
    Key { column: key.column, descending: key.descending, nulls_first: key.nulls_first }
}

fn engine_key(key: &Key) -> SortKey {
    SortKey { column: key.column, descending: key.descending, nulls_first: key.nulls_first }
}

fn engine_ordered(call: &OrderedCall, data_type: &DataType) -> EngineOrderedCall {
    let function = match call.function {
        OrderedFunction::PercentileCont(fraction) => OrderedKind::PercentileCont { fraction },
        OrderedFunction::PercentileDisc(fraction) => OrderedKind::PercentileDisc { fraction },
        OrderedFunction::Nth(position) => OrderedKind::Nth { position },
        OrderedFunction::Concat => OrderedKind::Concat { separator: "-".into() },
    };
    EngineOrderedCall {
        function,
        argument: call.column,
        filter: call.filter,
        data_type: data_type.clone(),
    }
}

fn engine_call(call: &Call) -> AggregateCall {
    let order = call.order.iter().map(engine_key).collect();
    let function = match (call.function, call.column) {
        (Function::Count, None) => AggregateKind::CountRows,
        (Function::Count, Some(_)) => AggregateKind::Count,
        (Function::Sum, _) => AggregateKind::Sum,
        (Function::Min, _) => AggregateKind::Min,
        (Function::Max, _) => AggregateKind::Max,
        (Function::Average, _) => AggregateKind::Average,
        (Function::BitAnd, _) => AggregateKind::Bits(BitOp::And),
        (Function::BitOr, _) => AggregateKind::Bits(BitOp::Or),
        (Function::BitXor, _) => AggregateKind::Bits(BitOp::Xor),
        (Function::First, _) => AggregateKind::First { order },
        (Function::Last, _) => AggregateKind::Last { order },
    };
    AggregateCall {
        function,
        arguments: call.column.into_iter().collect(),
        filter: call.filter,
        data_type: call.output.clone(),
    }
}
