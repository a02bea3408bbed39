//! From the front end's aggregates to what the engine computes, over columns of the projection
//! below.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Float64Type};
use datafusion_common::DFSchema;
use datafusion_expr::Expr as Logical;
use datafusion_expr::expr::{AggregateFunction, NullTreatment};
use datafusion_expr::{ExprSchemable, SortExpr};
use gristmill_engine::expr::{
    AggregateCall, AggregateKind, AggregateRef, BitOp, Expr, Literal, OrderedCall, OrderedKind,
    PairStatistic, SortKey, Spread, Value,
};
use gristmill_engine::{Error, Result};

use super::borrowed::BorrowedAggregate;
use crate::functions::{BoundAggregate, DRAWN_AGAIN, Declared, has_interval, interval_order};
use crate::lower::columns::Columns;
use crate::lower::plan::PlanLowering;
use crate::sql::type_name;

/// One aggregate; all positions are of the projection below.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) kind: Kind,
    pub(super) arguments: Vec<usize>,
    /// What tells the values of its one argument apart, and sorts them, where they do not do that
    /// themselves.
    pub(super) identity: Option<usize>,
    pub(super) filter: Option<usize>,
    /// Only distinct arguments count.
    pub(super) distinct: bool,
    pub(super) data_type: DataType,
}

/// How an aggregate is computed.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    /// Row by row.
    Plain(AggregateKind),
    /// Over a group's rows in order.
    Ordered(OrderedKind, Vec<SortKey>),
    /// From the numbers of equal values.
    Mode,
}

/// What is known of a call before its columns are added.
struct Parts<'a> {
    name: &'a str,
    args: Vec<Expr>,
    order: Vec<(Expr, bool, bool)>,
    filter: Option<Expr>,
    distinct: bool,
    /// The lengths of intervals that are the first argument: another reader of it.
    measured: Option<Expr>,
}

impl Call {
    /// As a call of a hash aggregate, its columns where `place` says.
    pub(super) fn plain(&self, place: &dyn Fn(usize) -> usize) -> Result<AggregateCall> {
        let Kind::Plain(kind) = &self.kind else {
            return Err(Error::internal("an aggregate that is not computed row by row"));
        };
        let moved = |order: &[SortKey]| moved(order, place);
        let function = match kind {
            AggregateKind::First { order } => AggregateKind::First { order: moved(order) },
            AggregateKind::Last { order } => AggregateKind::Last { order: moved(order) },
            other => other.clone(),
        };
        Ok(AggregateCall {
            function,
            arguments: self.arguments.iter().map(|&column| place(column)).collect(),
            filter: self.filter.map(place),
            data_type: self.data_type.clone(),
        })
    }

    /// As a call of a sort aggregate, its columns where `place` says.
    pub(super) fn ordered(&self, place: &dyn Fn(usize) -> usize) -> Result<OrderedCall> {
        let (Kind::Ordered(function, _), Some(&argument)) = (&self.kind, self.arguments.first())
        else {
            return Err(Error::internal("an aggregate that needs no order"));
        };
        Ok(OrderedCall {
            function: function.clone(),
            argument: place(argument),
            filter: self.filter.map(place),
            data_type: self.data_type.clone(),
        })
    }
}

/// Sort keys whose columns are elsewhere.
pub(super) fn moved(order: &[SortKey], place: &dyn Fn(usize) -> usize) -> Vec<SortKey> {
    order.iter().map(|key| SortKey { column: place(key.column), ..*key }).collect()
}

impl PlanLowering {
    /// The call for `expr`, whose columns are added to `columns`.
    pub(super) fn aggregate_call(
        &self,
        expr: &Logical,
        schema: &DFSchema,
        data_type: &DataType,
        columns: &mut Columns,
    ) -> Result<Call> {
        let expr = expr.clone().unalias_nested().data;
        let Logical::AggregateFunction(AggregateFunction { func, params }) = &expr else {
            return Err(Error::internal(format!("{expr} is no aggregate")));
        };
        let args = params.args.iter().map(|arg| self.expr(arg, schema));
        let key = |key: &SortExpr| Ok((self.expr(&key.expr, schema)?, !key.asc, key.nulls_first));
        let filter = params.filter.as_ref().map(|f| self.expr(f, schema)).transpose()?;
        let measured = match params.args.first() {
            Some(arg) if arg.get_type(schema).is_ok_and(|t| has_interval(&t)) => {
                Some(self.expr(&interval_order(arg.clone()), schema)?)
            }
            _ => None,
        };
        let mut parts = Parts {
            name: func.name(),
            args: args.collect::<Result<_>>()?,
            order: params.order_by.iter().map(key).collect::<Result<_>>()?,
            filter,
            distinct: params.distinct,
            measured,
        };
        if params.null_treatment == Some(NullTreatment::IgnoreNulls) {
            parts.leave_out_nulls();
        }
        if let Some(own) = BoundAggregate::of(func) {
            return parts.own(AggregateRef::registered(Arc::new(own.clone())), data_type, columns);
        }
        match Declared::of(func) {
            Some(declared) => parts.declared(declared, data_type, columns),
            None => match parts.built_in(data_type, columns)? {
                Some(call) => Ok(call),
                None => {
                    let function = BorrowedAggregate::new(func.clone());
                    parts.borrowed(AggregateRef::registered(Arc::new(function)), data_type, columns)
                }
            },
        }
    }
}

impl Parts<'_> {
    /// The call of a function that the engine has, if it has it.
    fn built_in(&mut self, data_type: &DataType, columns: &mut Columns) -> Result<Option<Call>> {
        let kind = match self.name {
            "count" => return self.count(data_type, columns).map(Some),
            "sum" => AggregateKind::Sum,
            "avg" => {
                self.args.iter_mut().for_each(without_widening);
                AggregateKind::Average
            }
            "min" | "bool_and" => self.once(AggregateKind::Min),
            "max" | "bool_or" => self.once(AggregateKind::Max),
            "bit_and" => self.once(AggregateKind::Bits(BitOp::And)),
            "bit_or" => self.once(AggregateKind::Bits(BitOp::Or)),
            "bit_xor" => AggregateKind::Bits(BitOp::Xor),
            "first_value" | "any_value" | "last_value" => {
                if self.name == "any_value" {
                    self.leave_out_nulls();
                }
                let order = self.order(columns);
                match self.name {
                    "last_value" => self.once(AggregateKind::Last { order }),
                    _ => self.once(AggregateKind::First { order }),
                }
            }
            "array_agg" => {
                let order = self.order(columns);
                let kind = Kind::Ordered(OrderedKind::Collect, order);
                return self.call(kind, 1, data_type, columns).map(Some);
            }
            "nth_value" => {
                let position = match self.constant(1)? {
                    Value::Int(position) if *position != 0 => *position,
                    _ => return Err(self.wrong("takes a position that is not 0")),
                };
                let order = self.order(columns);
                let kind = Kind::Ordered(OrderedKind::Nth { position }, order);
                return self.call(kind, 1, data_type, columns).map(Some);
            }
            name => match statistic(name) {
                Some(kind) => {
                    let double = |arg: &mut Expr| cast(arg, &DataType::Float64);
                    self.args.iter_mut().for_each(double);
                    kind
                }
                None => return Ok(None),
            },
        };
        let arguments = self.args.len();
        self.check_sum(&kind)?;
        self.call(Kind::Plain(kind), arguments, data_type, columns).map(Some)
    }

    /// `count(*)`, `count(x)`, and `count(x, y)` of rows where neither is NULL.
    fn count(&mut self, data_type: &DataType, columns: &mut Columns) -> Result<Call> {
        let is_given = |arg: &Expr| matches!(arg, Expr::Literal(l) if !l.is_null());
        if !self.distinct {
            self.args.retain(|arg| !is_given(arg));
            if self.args.is_empty() {
                return self.call(Kind::Plain(AggregateKind::CountRows), 0, data_type, columns);
            }
        }
        if self.args.len() > 1 && !self.distinct {
            self.leave_out_nulls();
            return self.call(Kind::Plain(AggregateKind::CountRows), 0, data_type, columns);
        }
        if let [first, rest @ ..] = &mut self.args[..] {
            // Rows without one of the values are those without the first.
            let given = rest.iter().cloned().map(not_null).collect();
            *first = only_where(all(given), first.clone());
        }
        let arguments = self.args.len();
        self.call(Kind::Plain(AggregateKind::Count), arguments, data_type, columns)
    }

    /// The call of a function of ours.
    fn declared(
        &mut self,
        which: Declared,
        data_type: &DataType,
        columns: &mut Columns,
    ) -> Result<Call> {
        match which {
            Declared::Median | Declared::PercentileCont | Declared::PercentileDisc => {
                let fraction = if which == Declared::Median { 0.5 } else { self.fraction()? };
                let kind = match which.is_between(data_type) {
                    true => OrderedKind::PercentileCont { fraction },
                    false => OrderedKind::PercentileDisc { fraction },
                };
                self.percentile(kind, data_type, columns)
            }
            Declared::Mode => {
                // Of distinct values each is there once: the least of them.
                let kind = match (self.distinct, self.lengths()?) {
                    (true, None) => self.once(AggregateKind::Min),
                    (true, Some(by)) => {
                        self.leave_out_nulls();
                        self.order = vec![(by, false, false)];
                        let order = self.order(columns);
                        self.once(AggregateKind::First { order })
                    }
                    (false, measured) => {
                        self.measured = measured;
                        return self.call(Kind::Mode, 1, data_type, columns);
                    }
                };
                self.call(Kind::Plain(kind), 1, data_type, columns)
            }
            Declared::ArgMin | Declared::ArgMax => {
                let by = self.args.get(1).cloned().ok_or_else(|| self.wrong("takes two values"))?;
                self.leave_out_nulls();
                // No value is NULL; the elements of lists go by the same rule in both directions.
                let descending = which == Declared::ArgMax;
                self.order = vec![(by, descending, descending)];
                let order = self.order(columns);
                let kind = self.once(AggregateKind::First { order });
                self.call(Kind::Plain(kind), 1, data_type, columns)
            }
            Declared::StringAgg => self.string_agg(data_type, columns),
            Declared::CountIf => {
                let condition = self.args.pop().ok_or_else(|| self.wrong("takes a condition"))?;
                self.filter =
                    Some(all(self.filter.take().into_iter().chain([condition]).collect()));
                self.call(Kind::Plain(AggregateKind::CountRows), 0, data_type, columns)
            }
        }
    }

    /// A percentile: between two values, or one of them.
    fn percentile(
        &mut self,
        kind: OrderedKind,
        data_type: &DataType,
        columns: &mut Columns,
    ) -> Result<Call> {
        if let OrderedKind::PercentileCont { .. } = kind {
            self.args.iter_mut().take(1).for_each(|arg| cast(arg, data_type));
        }
        let descending = self.order.first().is_some_and(|(_, descending, _)| *descending);
        self.args.truncate(1);
        let lengths = self.lengths()?;
        self.measured = lengths.clone();
        let is_measured = lengths.is_some();
        let by = lengths.or_else(|| self.args.first().cloned());
        self.order = by.map(|by| (by, descending, false)).into_iter().collect();
        let order = self.order(columns);
        let mut call = self.call(Kind::Ordered(kind, order), 1, data_type, columns)?;
        if !is_measured
            && let (Kind::Ordered(_, order), [own]) = (&mut call.kind, &call.arguments[..])
        {
            // What is drawn is sorted by itself, and not by what is drawn next.
            order.iter_mut().for_each(|key| key.column = *own);
        }
        Ok(call)
    }

    fn string_agg(&mut self, data_type: &DataType, columns: &mut Columns) -> Result<Call> {
        let separator = match self.args.len() {
            1 => ",".to_string(),
            _ => match self.constant(1)? {
                Value::Text(text) => text.clone(),
                Value::Null => String::new(),
                _ => return Err(self.wrong("takes a string as the separator")),
            },
        };
        let is_own = |key: &Expr, arg: &Expr| key == arg;
        for (key, ..) in &mut self.order {
            // `string_agg(distinct x, ',' order by x)`: one and the same column.
            if self.args.first().is_some_and(|arg| is_own(key, arg)) {
                cast(key, &DataType::Utf8View);
            }
        }
        self.args.iter_mut().take(1).for_each(|arg| cast(arg, &DataType::Utf8View));
        let order = self.order(columns);
        let kind = Kind::Ordered(OrderedKind::Concat { separator }, order);
        self.call(kind, 1, data_type, columns)
    }

    /// The call of a function of the program's own.
    fn own(
        &mut self,
        function: AggregateRef,
        data_type: &DataType,
        columns: &mut Columns,
    ) -> Result<Call> {
        if !self.order.is_empty() {
            return Err(self.wrong("takes no ORDER BY"));
        }
        let arguments = self.args.len();
        let kind = Kind::Plain(AggregateKind::Custom { function, parameters: Vec::new() });
        self.call(kind, arguments, data_type, columns)
    }

    /// The call of a function of the front end; the constants at its end are handed over apart.
    fn borrowed(
        &mut self,
        function: AggregateRef,
        data_type: &DataType,
        columns: &mut Columns,
    ) -> Result<Call> {
        if self.order.iter().any(|(_, descending, _)| *descending) {
            return Err(self.wrong("is not supported with ORDER BY … DESC"));
        }
        let parameters = split_constants(&mut self.args);
        let arguments = self.args.len();
        let kind = Kind::Plain(AggregateKind::Custom { function, parameters });
        self.call(kind, arguments, data_type, columns)
    }

    /// Adds the columns of a call of these many arguments.
    fn call(
        &mut self,
        kind: Kind,
        arguments: usize,
        data_type: &DataType,
        columns: &mut Columns,
    ) -> Result<Call> {
        let distinct = self.distinct && arguments > 0;
        if distinct && let Kind::Ordered(_, order) = &kind {
            let is_argument = |key: &SortKey| {
                let key = columns.exprs.get(key.column);
                key.is_some() && (key == self.args.first() || key == self.measured.as_ref())
            };
            if !order.iter().all(is_argument) {
                return Err(self.wrong("with DISTINCT can only be ordered by its argument"));
            }
        }
        let keeps_nulls = match &kind {
            Kind::Ordered(kind, _) => !kind.skips_nulls(),
            Kind::Plain(AggregateKind::Custom { .. }) => true,
            Kind::Plain(_) | Kind::Mode => false,
        };
        // Among distinct rows, and where values are counted, those that are left out are NULL.
        if (distinct || matches!(kind, Kind::Mode))
            && !keeps_nulls
            && let Some(filter) = self.filter.take()
        {
            for arg in self.args.iter_mut().take(arguments).chain(&mut self.measured) {
                *arg = only_where(filter.clone(), arg.clone());
            }
        }
        let mut kind = kind;
        let args = std::mem::take(&mut self.args).into_iter().take(arguments);
        let arguments: Vec<usize> = args.map(|arg| columns.add(arg)).collect();
        let is_by_identity = distinct || matches!(kind, Kind::Mode);
        let identity = match is_by_identity && arguments.len() == 1 {
            true => self.lengths()?.map(|lengths| columns.add(lengths)),
            false => None,
        };
        if distinct && let Kind::Ordered(_, order) = &mut kind {
            // The argument may have become another one just now.
            let column = identity.unwrap_or(arguments[0]);
            order.iter_mut().for_each(|key| key.column = column);
            if order.is_empty() {
                order.push(SortKey { column, descending: false, nulls_first: false });
            }
        }
        let filter = self.filter.take().map(|filter| columns.add(filter));
        Ok(Call { kind, arguments, identity, filter, distinct, data_type: data_type.clone() })
    }

    /// Takes the lengths of intervals that are the first argument.
    ///
    /// # Errors
    /// When they would be those of other intervals, because each reader draws its own.
    fn lengths(&mut self) -> Result<Option<Expr>> {
        match self.measured.take() {
            Some(lengths) if lengths.is_volatile() => Err(Error::input(DRAWN_AGAIN)),
            lengths => Ok(lengths),
        }
    }

    /// For functions that make no difference between equal values and one of them.
    fn once(&mut self, kind: AggregateKind) -> AggregateKind {
        self.distinct = false;
        kind
    }

    /// Only rows count where no argument is NULL.
    fn leave_out_nulls(&mut self) {
        let given = self.args.iter().filter(|arg| !matches!(arg, Expr::Literal(_)));
        let given = given.cloned().map(not_null).collect::<Vec<_>>();
        if !given.is_empty() {
            self.filter = Some(all(self.filter.take().into_iter().chain(given).collect()));
        }
    }

    fn order(&mut self, columns: &mut Columns) -> Vec<SortKey> {
        let keys = std::mem::take(&mut self.order).into_iter();
        let keys = keys.map(|(expr, descending, nulls_first)| SortKey {
            column: columns.add(expr),
            descending,
            nulls_first,
        });
        keys.collect()
    }

    fn constant(&self, number: usize) -> Result<&Value> {
        match self.args.get(number) {
            Some(Expr::Literal(literal)) => Ok(&literal.value),
            _ => Err(self.wrong(&format!("takes a constant as argument {}", number + 1))),
        }
    }

    /// The second argument as a part of the way.
    fn fraction(&self) -> Result<f64> {
        fraction(self.args.get(1)).ok_or_else(|| self.wrong(FRACTION))
    }

    fn check_sum(&self, kind: &AggregateKind) -> Result<()> {
        let is_sum = matches!(kind, AggregateKind::Sum | AggregateKind::Average);
        match self.args.first().map(Expr::data_type) {
            Some(other @ DataType::Interval(_)) if is_sum => {
                Err(self.wrong(&format!("of {} is not supported", type_name(&other))))
            }
            _ => Ok(()),
        }
    }

    fn wrong(&self, what: &str) -> Error {
        Error::input(format!("{} {what}", self.name))
    }
}

/// The statistic of that name, which is of doubles.
pub(in crate::lower) fn statistic(name: &str) -> Option<AggregateKind> {
    use PairStatistic as P;
    let pairs = match name {
        "var" => return Some(AggregateKind::Spread(Spread::VarianceSample)),
        "var_pop" => return Some(AggregateKind::Spread(Spread::VariancePopulation)),
        "stddev" => return Some(AggregateKind::Spread(Spread::DeviationSample)),
        "stddev_pop" => return Some(AggregateKind::Spread(Spread::DeviationPopulation)),
        "covar_samp" => P::CovarianceSample,
        "covar_pop" => P::CovariancePopulation,
        "corr" => P::Correlation,
        "regr_count" => P::Count,
        "regr_avgx" => P::MeanX,
        "regr_avgy" => P::MeanY,
        "regr_sxx" => P::SquaresX,
        "regr_syy" => P::SquaresY,
        "regr_sxy" => P::Products,
        "regr_slope" => P::Slope,
        "regr_intercept" => P::Intercept,
        "regr_r2" => P::R2,
        _ => return None,
    };
    Some(AggregateKind::Pairs(pairs))
}

/// What a percentile is asked for by.
pub(super) const FRACTION: &str = "takes a constant from 0 to 1 as its fraction";

/// A constant from 0 to 1.
pub(super) fn fraction(argument: Option<&Expr>) -> Option<f64> {
    let Some(Expr::Literal(literal)) = argument else { return None };
    let array = literal.to_array().ok().filter(|_| !literal.is_null())?;
    let double = arrow::compute::cast(&array, &DataType::Float64).ok()?;
    let value = double.as_primitive_opt::<Float64Type>()?.value(0);
    (0.0..=1.0).contains(&value).then_some(value)
}

/// The front end averages integers as doubles; their exact sum is better.
pub(super) fn without_widening(arg: &mut Expr) {
    if let Expr::Cast { input, data_type: DataType::Float64, lenient: false } = arg
        && input.data_type().is_integer()
    {
        *arg = std::mem::replace(input.as_mut(), Expr::Literal(Literal::bool(true)));
    }
}

/// Takes off the constants at the end, but for a constant that stands first.
pub(in crate::lower) fn split_constants(args: &mut Vec<Expr>) -> Vec<Literal> {
    let is_constant = |arg: &Expr| matches!(arg, Expr::Literal(_));
    let last = args.iter().skip(1).rposition(|arg| !is_constant(arg));
    let constants = args.split_off(last.map_or(1, |last| last + 2).min(args.len()));
    let literal = |arg| match arg {
        Expr::Literal(literal) => Some(literal),
        _ => None,
    };
    constants.into_iter().filter_map(literal).collect()
}

/// The expression as this type.
pub(in crate::lower) fn cast(expr: &mut Expr, data_type: &DataType) {
    if expr.data_type() != *data_type {
        let input = std::mem::replace(expr, Expr::Literal(Literal::bool(true)));
        *expr = Expr::Cast { input: Box::new(input), data_type: data_type.clone(), lenient: false };
    }
}

fn not_null(expr: Expr) -> Expr {
    Expr::Not(Box::new(Expr::IsNull(Box::new(expr))))
}

fn all(mut conditions: Vec<Expr>) -> Expr {
    match (conditions.pop(), conditions.is_empty()) {
        (None, _) => Expr::Literal(Literal::bool(true)),
        (Some(only), true) => only,
        (Some(last), false) => {
            conditions.push(last);
            Expr::And(conditions)
        }
    }
}

/// The value where the condition is true, else NULL.
fn only_where(condition: Expr, value: Expr) -> Expr {
    if matches!(&condition, Expr::Literal(l) if l.value == Value::Bool(true)) {
        return value;
    }
    let data_type = value.data_type();
    Expr::Case { branches: vec![(condition, value)], otherwise: None, data_type }
}
