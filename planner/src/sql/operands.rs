//! Operands of two types that the borrowed coercion would bring together wrongly.
//!
//! **Numbers and moments of different types** are cast before it runs (see
//! `functions/common_type`). Operands that meet: those of comparisons, arithmetic, BETWEEN and IN,
//! the results of CASE, the arguments of `coalesce` and its kin, lists that are joined, and the
//! columns of UNION.
//!
//! **A date moved by hours is a timestamp** (see `moved`).
//!
//! **Casts between timestamps and numbers** count seconds (see `moments`).
//!
//! **Quotients of decimals are doubles** (see `functions/divisor`).
//!
//! **Whole numbers stay whole** in arithmetic, and what is cast to them is rounded (see `whole`).
//!
//! **A list, a structure or a map that becomes a text** shows its NULLs and names, and moments are
//! written as they are printed.
//!
//! Sound: every decimal has a nearest double, every date is a timestamp, and the names of columns
//! are kept.

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{Column, DFSchema, Result, plan_err};
use datafusion_expr::expr::{Between, InSubquery, SetComparison};
use datafusion_expr::utils::merge_schema;
use datafusion_expr::{
    Expr, ExprSchemable, Join, LogicalPlan, Operator, Projection, Subquery, Union, cast,
};
use datafusion_optimizer::analyzer::type_coercion::coerce_union_schema;

use super::moments;
use super::moved::move_date;
use super::text_constants::read_beside;
use super::type_names::type_name;
use super::whole::{meet_bits, meet_whole, round_cast};
use crate::functions::{Meeting, divide_exact, list_text, targets};

/// Functions whose result is one of their arguments, or a list of them.
const CHOOSING: [&str; 5] = ["coalesce", "greatest", "least", "make_array", "nullif"];

/// Functions of several lists whose elements meet.
const OF_LISTS: [&str; 6] = [
    "array_concat",
    "array_except",
    "array_has_all",
    "array_has_any",
    "array_intersect",
    "array_union",
];

/// Functions whose second argument is a moment.
const OF_MOMENTS: [&str; 3] = ["date_bin", "date_part", "date_trunc"];

/// Casts keys of joins that meet others of another kind.
///
/// # Errors
/// When two have no common type.
pub(super) fn meet_keys(join: &mut Join) -> Result<()> {
    let differ = |(left, right): &(Expr, Expr)| match (
        left.get_type(join.left.schema()),
        right.get_type(join.right.schema()),
    ) {
        (Ok(left), Ok(right)) => left != right,
        _ => true,
    };
    if join.on.iter().any(differ) {
        let schema = merge_schema(&[&join.left, &join.right]);
        for (left, right) in &mut join.on {
            meet(&mut [left, right], &schema, Meeting::Compared)?;
        }
    }
    Ok(())
}

/// An expression whose operands meet, as the module documentation says; their own operands have met
/// before.
///
/// # Errors
/// When they have no common type.
pub(super) fn widened(mut expr: Expr, schema: &DFSchema) -> Result<Expr> {
    check_united(&expr, schema)?;
    match &mut expr {
        Expr::BinaryExpr(binary) if !binary.op.is_logic_operator() => {
            meet_in_operation(&mut binary.left, binary.op, &mut binary.right, schema)?
        }
        Expr::Between(between) if has_bounds_apart(between, schema) => {
            let (low, high) = (between.low.as_ref().clone(), between.high.as_ref().clone());
            let value = between.expr.as_ref().clone();
            let bounds = [value.clone().gt_eq(low), value.lt_eq(high)];
            let [low, high] = bounds.map(|bound| widened(bound, schema));
            let (low, high) = (low?, high?);
            expr = if between.negated { !low.and(high) } else { low.and(high) };
            true
        }
        Expr::Between(between) => meet(
            &mut [&mut between.expr, &mut between.low, &mut between.high],
            schema,
            Meeting::Compared,
        )?,
        Expr::InList(list) => {
            let is_left = moments::leave_far_constants(list, schema);
            let mut all: Vec<&mut Expr> = list.list.iter_mut().collect();
            all.push(&mut list.expr);
            meet(&mut all, schema, Meeting::Compared)? || is_left
        }
        Expr::Case(case) => {
            let (mut compared, mut results): (Vec<&mut Expr>, Vec<&mut Expr>) =
                case.when_then_expr.iter_mut().map(|(w, t)| (w.as_mut(), t.as_mut())).unzip();
            results.extend(case.else_expr.as_deref_mut());
            compared.extend(case.expr.as_deref_mut());
            let compared = meet(&mut compared, schema, Meeting::Compared)?;
            meet(&mut results, schema, Meeting::Chosen)? || compared
        }
        Expr::ScalarFunction(call) if meeting_in(call.name()).is_some() => {
            let meeting = meeting_in(call.name()).unwrap_or(Meeting::Other);
            meet(&mut call.args.iter_mut().collect::<Vec<_>>(), schema, meeting)?
        }
        Expr::ScalarFunction(call) if OF_MOMENTS.contains(&call.name()) => {
            let is_part = call.name() == "date_part";
            let stamped = call.args.get_mut(1).is_some_and(|moment| stamp(moment, is_part, schema));
            match is_part.then(|| moments::part_of(call, schema)).flatten() {
                Some(part) => {
                    expr = part;
                    true
                }
                None => stamped,
            }
        }
        Expr::InSubquery(InSubquery { expr, subquery, .. })
        | Expr::SetComparison(SetComparison { expr, subquery, .. }) => {
            meet_column(expr, subquery, schema)?
        }
        Expr::Cast(_) | Expr::TryCast(_) => {
            refuse_as_list(&expr, schema)?;
            moments::cast_moment(&mut expr, schema)?
                || write_list(&mut expr, schema)
                || round_cast(&mut expr, schema)
        }
        _ => false,
    };
    Ok(expr)
}

/// Casts the operands of an operator. Says whether it did.
fn meet_in_operation(
    left: &mut Expr,
    op: Operator,
    right: &mut Expr,
    schema: &DFSchema,
) -> Result<bool> {
    let changed = meet_bits(left, op, right, schema)?
        || meet_whole(left, op, right, schema)
        || divide_exact(left, op, right, schema)
        || move_date(left, right, schema)
        || move_date(right, left, schema)
        || moments::meet_time(left, right, schema)
        || moments::meet_time(right, left, schema)
        || moments::meet_lengths(left, op, right, schema)
        || meet(&mut [left, right], schema, meeting_of(op))?;
    Ok(changed)
}

/// Looks at what becomes one column without being cast here: an element that a list gets, and the
/// value of `lag` where there is no row.
///
/// # Errors
/// When they have no common type.
fn check_united(expr: &Expr, schema: &DFSchema) -> Result<()> {
    let type_of = |expr: &Expr| expr.get_type(schema).ok();
    let element = |list: &Expr| match type_of(list)? {
        DataType::List(field) => Some(field.data_type().clone()),
        _ => None,
    };
    let types = match expr {
        Expr::ScalarFunction(call) => match (call.name(), &call.args[..]) {
            ("array_append", [list, value]) | ("array_prepend", [value, list]) => {
                [element(list), type_of(value)]
            }
            _ => return Ok(()),
        },
        Expr::WindowFunction(call) => match (call.fun.name(), &call.params.args[..]) {
            ("lag" | "lead", [value, _, other]) => [type_of(value), type_of(other)],
            _ => return Ok(()),
        },
        _ => return Ok(()),
    };
    targets(&types, Meeting::United).map(drop)
}

/// Whether the bounds have to be compared with one by one.
fn has_bounds_apart(between: &Between, schema: &DFSchema) -> bool {
    let bounds = || [&between.low, &between.high].into_iter();
    let has_far = || bounds().any(|bound| moments::is_far_constant(bound, schema));
    let is_apart = moments::is_fine(&between.expr, schema) && has_far()
        || bounds().any(|bound| moments::are_lengths(&between.expr, bound, schema));
    is_apart && !between.expr.is_volatile()
}

/// Makes a timestamp of a text or a bare NULL, and of a date unless that `is_date_fine`.
fn stamp(moment: &mut Expr, is_date_fine: bool, schema: &DFSchema) -> bool {
    let is_other = moment.get_type(schema).is_ok_and(|data_type| match data_type {
        DataType::Date32 | DataType::Date64 => !is_date_fine,
        other => other.is_string() || other.is_null(),
    });
    if is_other {
        let data_type = DataType::Timestamp(TimeUnit::Microsecond, None);
        *moment = cast(std::mem::take(moment), data_type);
    }
    is_other || moments::by_utc(moment, schema)
}

/// What the operands of an operator meet for.
fn meeting_of(op: Operator) -> Meeting {
    match op {
        Operator::Plus | Operator::Minus => Meeting::Added,
        op if op.supports_propagation() => Meeting::Compared,
        _ => Meeting::Other,
    }
}

/// What the arguments of a function meet for, if they do.
fn meeting_in(function: &str) -> Option<Meeting> {
    match function {
        name if CHOOSING.contains(&name) => Some(Meeting::Chosen),
        name if OF_LISTS.contains(&name) => Some(Meeting::United),
        _ => None,
    }
}

/// Casts operands that meet others of another kind. Says whether there were any.
///
/// # Errors
/// When they have no common type.
fn meet(operands: &mut [&mut Expr], schema: &DFSchema, meeting: Meeting) -> Result<bool> {
    if meeting == Meeting::Compared
        && operands.len() == 2
        && moments::meet_far_constant(operands, schema)
    {
        meet(operands, schema, meeting)?;
        return Ok(true);
    }
    let mut changed = match meeting {
        Meeting::Compared => read_beside(operands, schema, false)?,
        Meeting::Chosen => read_beside(operands, schema, true)?,
        _ => false,
    };
    let types: Vec<Option<DataType>> = operands.iter().map(|e| e.get_type(schema).ok()).collect();
    for (operand, target) in operands.iter_mut().zip(targets(&types, meeting)?) {
        let is_text = |e: &Expr| e.get_type(schema).is_ok_and(|t| t.is_string());
        let is_constant = matches!(operand, Expr::Literal(..));
        let stays = meeting == Meeting::Chosen && !is_constant && is_text(operand);
        if let Some(target) = target.filter(|_| !stays) {
            **operand = cast(std::mem::take(*operand), target);
            changed = true;
        }
    }
    Ok(changed)
}

/// The same of an expression and the column of a subquery.
///
/// # Errors
/// As `meet`.
fn meet_column(expr: &mut Expr, subquery: &mut Subquery, schema: &DFSchema) -> Result<bool> {
    let below = subquery.subquery.schema();
    let (Ok(data_type), [field]) = (expr.get_type(schema), &below.fields()[..]) else {
        return Ok(false);
    };
    let types = [Some(data_type), Some(field.data_type().clone())];
    let [of_expr, of_column] = &targets(&types, Meeting::Compared)?[..] else { return Ok(false) };
    if let Some(target) = of_expr.clone() {
        *expr = cast(std::mem::take(expr), target);
    }
    if let Some(target) = of_column.clone()
        && change_column(subquery, |column| cast(column, target)).is_err()
    {
        return Ok(false);
    }
    Ok(of_expr.is_some() || of_column.is_some())
}

/// Makes something of the first column of a subquery, under the same name.
///
/// # Errors
/// `Internal` when it cannot have such a column.
pub(super) fn change_column(
    subquery: &mut Subquery,
    change: impl FnOnce(Expr) -> Expr,
) -> Result<()> {
    let (table, field) = subquery.subquery.schema().qualified_field(0);
    let column = change(Expr::Column(Column::from((table, field)))).alias(field.name());
    let projection = Projection::try_new(vec![column], subquery.subquery.clone())?;
    subquery.subquery = Arc::new(LogicalPlan::Projection(projection));
    Ok(())
}

/// What is cast to a list has to be one: the borrowed cast makes lists of one element.
///
/// # Errors
/// When it is none.
fn refuse_as_list(expr: &Expr, schema: &DFSchema) -> Result<()> {
    let (of, field) = match expr {
        Expr::Cast(cast) => (&cast.expr, &cast.field),
        Expr::TryCast(cast) => (&cast.expr, &cast.field),
        _ => return Ok(()),
    };
    let is_list = |t: &DataType| {
        use DataType as T;
        matches!(t, T::List(_) | T::LargeList(_) | T::FixedSizeList(..) | T::ListView(_))
    };
    let from = of.get_type(schema)?;
    if is_list(field.data_type()) && !is_list(&from) && !from.is_null() {
        let (from, to) = (type_name(&from), type_name(field.data_type()));
        return plan_err!("{from} cannot be cast to {to}; [{of}] is a list of one element");
    }
    Ok(())
}

/// Writes a list, a structure, a map or a moment that is cast to a text. Says
/// whether it is one.
fn write_list(expr: &mut Expr, schema: &DFSchema) -> bool {
    // None is without a text: TRY_CAST means the same.
    let (list, field) = match expr {
        Expr::Cast(cast) => (&mut cast.expr, &cast.field),
        Expr::TryCast(cast) => (&mut cast.expr, &cast.field),
        _ => return false,
    };
    let target = field.data_type().clone();
    let is_written = |t: DataType| {
        use DataType::{Duration, Interval, Time32, Time64, Timestamp};
        let is_moment =
            matches!(t, Timestamp(..) | Time32(_) | Time64(_) | Duration(_) | Interval(_));
        t.is_nested() || is_moment
    };
    let is_list = list.get_type(schema).is_ok_and(is_written);
    if is_list && target.is_string() {
        *expr = list_text(std::mem::take(list.as_mut()), target);
        return true;
    }
    false
}

/// An expression whose operands the borrowed coercion has brought to types of its own choice: what
/// it casts is rounded and written as what a query casts.
///
/// # Errors
/// When a constant is none of what it is cast to.
pub(super) fn as_cast(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    let done = expr.map_children(|mut operand| {
        let is_changed = moments::read_constant(&mut operand)?
            || round_cast(&mut operand, schema)
            || write_list(&mut operand, schema);
        Ok(Transformed::new_transformed(operand, is_changed))
    });
    Ok(done?.data)
}

/// Casts the columns of inputs that meet those of others.
pub(super) fn unite(union: Union) -> Result<Union> {
    let columns = union.schema.fields().len();
    if union.inputs.iter().any(|input| input.schema().fields().len() != columns) {
        return Ok(union);
    }
    // By column, by input.
    let casts: Vec<Vec<Option<DataType>>> = (0..columns)
        .map(|at| {
            let types = union.inputs.iter().map(|input| input.schema().field(at).data_type());
            targets(&types.cloned().map(Some).collect::<Vec<_>>(), Meeting::United)
        })
        .collect::<Result<_>>()?;
    if casts.iter().flatten().all(Option::is_none) {
        // The binder's types may be others than those that the inputs have by now.
        let schema = Arc::new(coerce_union_schema(&union.inputs)?);
        return Ok(Union { schema, ..union });
    }
    let inputs = union.inputs.iter().enumerate().map(|(number, input)| {
        let columns = input.schema().columns().into_iter().zip(&casts);
        let columns = columns.map(|(column, casts)| {
            let name = column.name.clone();
            match casts.get(number).cloned().flatten() {
                Some(target) => cast(Expr::Column(column), target).alias(name),
                None => Expr::Column(column),
            }
        });
        let projection = Projection::try_new(columns.collect(), input.clone())?;
        Ok(Arc::new(LogicalPlan::Projection(projection)))
    });
    let inputs = inputs.collect::<Result<Vec<_>>>()?;
    let schema = Arc::new(coerce_union_schema(&inputs)?);
    Ok(Union { inputs, schema })
}
