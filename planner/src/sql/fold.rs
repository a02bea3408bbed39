//! Names in any case: the binder knows all of them in small letters.
//!
//! Columns of tables, views and frames come to the binder by folded names, and so do the names that
//! a query gives and reads, in quotes or not: `amount`, `Amount` and `"AMOUNT"` are one name, as in
//! DuckDB. How a column is spelled goes along with it as a field's metadata; when a query is bound,
//! its columns are called so again, and those that aliases name as these are written.
//!
//! Of the columns of a table whose names differ in case alone the second has a number behind it.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields};
use datafusion_common::metadata::FieldMetadata;
use datafusion_common::{Column, DFSchema};
use datafusion_expr::{Distinct, Expr as Bound, ExprSchemable, LogicalPlan, Projection};
use datafusion_sql::sqlparser::ast::{
    ExcludeSelectItem, Expr, Ident, Join, JoinConstraint, JoinOperator, ObjectName, ObjectNamePart,
    OneOrManyWithParens, PipeOperator, Query, Select, SelectItem, SelectItemQualifiedWildcardKind,
    SetExpr, TableAlias, TableFactor, VisitMut, VisitorMut, WildcardAdditionalOptions,
};

use super::names::other_name;
use super::structs::PART;

/// The key of a field's metadata that tells how its name is spelled.
const SPELLED: &str = "gristmill.spelled";

/// Begins the name of a column that is shown without it, as the first of that name (see `apart`).
pub(super) const FIRST_PREFIX: &str = "!first_";

/// A name as the binder knows it.
pub(crate) fn folded(name: &str) -> String {
    name.to_lowercase()
}

/// The name that is spelled as it is wanted, or else the only one that is in another case.
pub(crate) fn in_any_case<'a>(
    names: impl Iterator<Item = &'a str> + Clone,
    wanted: &str,
) -> Option<&'a str> {
    let wanted_folded = folded(wanted);
    let mut alike = names.filter(|name| folded(name) == wanted_folded);
    let same = alike.clone().find(|name| *name == wanted);
    let first = alike.next()?;
    same.or_else(|| alike.all(|name| name == first).then_some(first))
}

/// Names that differ in more than case: of equal ones the second has a number behind it.
pub(crate) fn told_apart<'a>(names: impl Iterator<Item = &'a String> + Clone) -> Vec<String> {
    let mut taken: HashSet<String> = names.clone().map(|name| folded(name)).collect();
    let mut seen = HashSet::new();
    let name = |wanted: &String| match seen.insert(folded(wanted)) {
        true => wanted.clone(),
        false => other_name(wanted, &mut taken),
    };
    names.map(name).collect()
}

/// Fields by folded names, which tell how they are spelled.
pub(crate) fn folded_fields(fields: &Fields) -> Vec<Field> {
    let names = told_apart(fields.iter().map(|field| field.name()));
    let named = fields.iter().zip(names).map(|(field, name)| {
        let field = field.as_ref().clone().with_name(folded(&name));
        let is_same = field.name() == &name;
        field.with_metadata(if is_same { HashMap::new() } else { spelling(&name) })
    });
    named.collect()
}

fn spelling(name: &str) -> HashMap<String, String> {
    HashMap::from([(SPELLED.to_string(), name.to_string())])
}

/// A plan whose columns have folded names, which tell how they are spelled.
///
/// # Errors
/// When the plan's columns are not its own.
pub(crate) fn folded_plan(plan: LogicalPlan) -> datafusion_common::Result<LogicalPlan> {
    let names = told_apart(plan.schema().fields().iter().map(|field| field.name()));
    let own = plan.schema().fields().iter().map(|field| field.name());
    if own.eq(&names) && names.iter().all(|name| folded(name) == *name) {
        return Ok(plan);
    }
    let exprs = plan.schema().iter().zip(names).map(|((relation, field), name)| {
        let column = Bound::Column(Column::new(relation.cloned(), field.name()));
        let metadata = FieldMetadata::from(spelling(&name));
        column.alias_with_metadata(folded(&name), Some(metadata))
    });
    Projection::try_new(exprs.collect(), Arc::new(plan)).map(LogicalPlan::Projection)
}

/// The name of a field as it is spelled.
pub(crate) fn spelled(field: &Field) -> &String {
    let own = field.metadata().get(SPELLED).filter(|name| folded(name) == *field.name());
    own.unwrap_or(field.name())
}

/// How the aliases of a query are spelled, by folded names.
#[derive(Default)]
pub(super) struct Spelled {
    /// Those that its first SELECT gives to the columns of the query.
    own: HashMap<String, String>,
    /// Those in other places.
    inner: HashMap<String, String>,
}

/// The plan of a query with its columns called as they are spelled.
///
/// # Errors
/// When the plan's columns are not its own.
pub(super) fn shown_plan(
    plan: LogicalPlan,
    aliases: &Spelled,
) -> datafusion_common::Result<LogicalPlan> {
    let shown = |(at, field): (usize, &Arc<Field>)| {
        if let Some(name) = field.name().strip_prefix(FIRST_PREFIX) {
            let below = field.metadata().get(SPELLED).filter(|spelled| folded(spelled) == name);
            let shown = aliases.own.get(name).or(below);
            return Some(shown.cloned().unwrap_or_else(|| name.to_string()));
        }
        let own = aliases.own.get(field.name()).cloned();
        let inner = || aliases.inner.get(field.name()).cloned();
        let shown = own.or_else(|| spelled_at(&plan, at)).or_else(inner);
        shown.filter(|name| name != field.name())
    };
    let fields = plan.schema().fields().iter().enumerate();
    let mut shown: Vec<Option<String>> = fields.map(shown).collect();
    let own = || plan.schema().fields().iter().map(|field| field.name());
    if own().any(|name| name.starts_with(FIRST_PREFIX)) {
        let names = own().zip(&shown).map(|(own, shown)| shown.as_ref().unwrap_or(own));
        shown = told_apart(names).into_iter().map(Some).collect();
    }
    if shown.iter().all(Option::is_none) {
        return Ok(plan);
    }
    let exprs = plan.schema().iter().zip(shown).map(|((relation, field), shown)| {
        let column = Bound::Column(Column::new(relation.cloned(), field.name()));
        match shown {
            Some(shown) => column.alias_qualified(relation.cloned(), shown),
            None => column,
        }
    });
    Projection::try_new(exprs.collect(), Arc::new(plan)).map(LogicalPlan::Projection)
}

/// How a column of a plan is spelled: a union does not tell, its first part does. A part of a
/// structure is called as it is there.
fn spelled_at(plan: &LogicalPlan, at: usize) -> Option<String> {
    let field = plan.schema().field(at);
    let own = spelled(field);
    if own != field.name() {
        return Some(own.clone());
    }
    let below = match plan {
        LogicalPlan::Union(union) => union.inputs.first()?,
        LogicalPlan::Sort(sort) => &sort.input,
        LogicalPlan::Limit(limit) => &limit.input,
        LogicalPlan::Distinct(Distinct::All(input)) => input,
        LogicalPlan::Projection(projection) => {
            let below = projection.input.schema();
            return spelled_part(projection.expr.get(at)?, below)
                .filter(|part| folded(part) == *field.name());
        }
        _ => return None,
    };
    (below.schema().field(at).name() == field.name()).then(|| spelled_at(below, at))?
}

/// How a part of a structure is spelled there.
fn spelled_part(expr: &Bound, below: &DFSchema) -> Option<String> {
    let Bound::ScalarFunction(call) = expr.clone().unalias() else { return None };
    let ([base, Bound::Literal(name, _)], true) = (&call.args[..], call.name() == PART) else {
        return None;
    };
    let DataType::Struct(fields) = base.get_type(below).ok()? else { return None };
    let names = fields.iter().map(|field| field.name().as_str());
    in_any_case(names, name.try_as_str()??).map(str::to_string)
}

/// Folds the names in a query; returns how its aliases are spelled.
pub(super) fn fold(query: &mut Query) -> Spelled {
    let mut folding = Folding::default();
    let mut first = query.body.as_ref();
    while let SetExpr::SetOperation { left, .. } = first {
        first = left;
    }
    if let SetExpr::Select(select) = first {
        for item in &select.projection {
            if let SelectItem::ExprWithAlias { alias, .. } = item {
                let spelled = spelling_of(alias);
                folding.aliases.own.entry(folded(&spelled)).or_insert(spelled);
            }
        }
    }
    let _ = VisitMut::visit(query, &mut folding);
    folding.aliases
}

/// How an alias is spelled: without quotes in small letters.
fn spelling_of(alias: &Ident) -> String {
    match alias.quote_style {
        Some(_) => alias.value.clone(),
        None => folded(&alias.value),
    }
}

#[derive(Default)]
struct Folding {
    aliases: Spelled,
    /// The names of CTEs, by which they are read in quotes, too.
    ctes: HashSet<String>,
}

impl Folding {
    fn give(&mut self, alias: &mut Ident) {
        let spelled = spelling_of(alias);
        self.aliases.inner.entry(folded(&spelled)).or_insert(spelled);
        fold_one(alias);
    }

    fn item(&mut self, item: &mut SelectItem) {
        match item {
            SelectItem::ExprWithAlias { alias, .. } => self.give(alias),
            SelectItem::QualifiedWildcard(kind, options) => {
                if let SelectItemQualifiedWildcardKind::ObjectName(name) = kind {
                    fold_parts(name);
                }
                fold_options(options);
            }
            SelectItem::Wildcard(options) => fold_options(options),
            _ => {}
        }
    }

    fn alias(&mut self, alias: &mut TableAlias) {
        fold_one(&mut alias.name);
        let names = alias.columns.iter().map(|column| spelling_of(&column.name));
        let names = told_apart(names.collect::<Vec<_>>().iter());
        for (column, name) in alias.columns.iter_mut().zip(names) {
            if spelling_of(&column.name) != name {
                column.name = Ident { span: column.name.span, ..Ident::with_quote('"', name) };
            }
            self.give(&mut column.name);
        }
    }
}

/// Folds a name, if the binder would not.
fn fold_one(name: &mut Ident) {
    if name.quote_style.is_some() || !name.value.is_ascii() {
        *name = Ident { span: name.span, ..Ident::with_quote('"', folded(&name.value)) };
    }
}

fn fold_parts(name: &mut ObjectName) {
    for part in &mut name.0 {
        if let ObjectNamePart::Identifier(name) = part {
            fold_one(name);
        }
    }
}

fn fold_join(join: &mut Join) {
    use JoinOperator::{
        Anti, CrossJoin, FullOuter, Inner, Join, Left, LeftAnti, LeftOuter, LeftSemi, Right,
        RightAnti, RightOuter, RightSemi, Semi,
    };
    if let Join(on) | Inner(on) | Left(on) | LeftOuter(on) | Right(on) | RightOuter(on)
    | FullOuter(on) | CrossJoin(on) | Semi(on) | LeftSemi(on) | RightSemi(on) | Anti(on)
    | LeftAnti(on) | RightAnti(on) = &mut join.join_operator
        && let JoinConstraint::Using(columns) = on
    {
        columns.iter_mut().for_each(fold_parts);
    }
}

fn fold_options(options: &mut WildcardAdditionalOptions) {
    // The binder takes these as they are written.
    let fold = |name: &mut Ident| name.value = folded(&name.value);
    let excluded = match &mut options.opt_exclude {
        Some(ExcludeSelectItem::Single(name)) => std::slice::from_mut(name),
        Some(ExcludeSelectItem::Multiple(names)) => &mut names[..],
        None => &mut [],
    };
    for part in excluded.iter_mut().flat_map(|name| &mut name.0) {
        if let ObjectNamePart::Identifier(name) = part {
            fold(name);
        }
    }
    if let Some(except) = &mut options.opt_except {
        fold(&mut except.first_element);
        except.additional_elements.iter_mut().for_each(fold);
    }
    let replaced = options.opt_replace.iter_mut().flat_map(|replace| &mut replace.items);
    replaced.for_each(|item| fold(&mut item.column_name));
}

/// The query that leaves out what it replaces by `* REPLACE`, if there is such a thing: the binder
/// says of columns that are left out whether they are there, and of replaced ones nothing.
pub(super) fn with_replaced_left_out(query: &Query) -> Option<Box<Query>> {
    let mut query = Box::new(query.clone());
    let mut leaving = LeavingOut { is_changed: false };
    let _ = VisitMut::visit(&mut query, &mut leaving);
    leaving.is_changed.then_some(query)
}

struct LeavingOut {
    is_changed: bool,
}

impl VisitorMut for LeavingOut {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        for item in &mut select.projection {
            let (SelectItem::Wildcard(options) | SelectItem::QualifiedWildcard(_, options)) = item
            else {
                continue;
            };
            let Some(replaced) = options.opt_replace.take() else { continue };
            let names = replaced.items.into_iter().map(|item| item.column_name);
            let mut names: Vec<ObjectName> =
                names.map(|name| ObjectName::from(vec![name])).collect();
            match options.opt_exclude.take() {
                Some(ExcludeSelectItem::Single(name)) => names.push(name),
                Some(ExcludeSelectItem::Multiple(others)) => names.extend(others),
                None => {}
            }
            options.opt_exclude = Some(ExcludeSelectItem::Multiple(names));
            self.is_changed = true;
        }
        ControlFlow::Continue(())
    }
}

impl VisitorMut for Folding {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        for cte in query.with.iter_mut().flat_map(|with| &mut with.cte_tables) {
            self.alias(&mut cte.alias);
            self.ctes.insert(folded(&cte.alias.name.value));
        }
        for operator in &mut query.pipe_operators {
            match operator {
                PipeOperator::Select { exprs } | PipeOperator::Extend { exprs } => {
                    exprs.iter_mut().for_each(|item| self.item(item));
                }
                PipeOperator::Aggregate { full_table_exprs, group_by_expr } => {
                    let all = full_table_exprs.iter_mut().chain(group_by_expr);
                    let aliases = all.filter_map(|item| item.expr.alias.as_mut());
                    aliases.for_each(|alias| self.give(alias));
                }
                PipeOperator::Drop { columns } => columns.iter_mut().for_each(fold_one),
                PipeOperator::As { alias } => fold_one(alias),
                PipeOperator::Join(join) => fold_join(join),
                _ => {}
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        select.projection.iter_mut().for_each(|item| self.item(item));
        let joins = select.from.iter_mut().flat_map(|tables| &mut tables.joins);
        joins.for_each(fold_join);
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, table: &mut TableFactor) -> ControlFlow<()> {
        match table {
            TableFactor::Table { name, args: None, alias, .. } => {
                if let [ObjectNamePart::Identifier(own)] = &mut name.0[..]
                    && self.ctes.contains(&folded(&own.value))
                {
                    fold_one(own);
                }
                // The name of a table or a file stays; what it is called in the query is folded.
                if alias.is_none()
                    && let Some(ObjectNamePart::Identifier(own)) = name.0.last()
                    && own.quote_style.is_some()
                    && folded(&own.value) != own.value
                {
                    let name = Ident::with_quote('"', folded(&own.value));
                    *alias = Some(TableAlias { explicit: true, name, columns: vec![], at: None });
                }
                alias.iter_mut().for_each(|alias| self.alias(alias));
            }
            TableFactor::NestedJoin { table_with_joins, alias } => {
                table_with_joins.joins.iter_mut().for_each(fold_join);
                alias.iter_mut().for_each(|alias| self.alias(alias));
            }
            TableFactor::Table { alias, .. }
            | TableFactor::Derived { alias, .. }
            | TableFactor::Function { alias, .. }
            | TableFactor::UNNEST { alias, .. } => {
                alias.iter_mut().for_each(|alias| self.alias(alias));
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Identifier(name) => fold_one(name),
            Expr::CompoundIdentifier(names) => names.iter_mut().for_each(fold_one),
            Expr::Lambda(lambda) => match &mut lambda.params {
                OneOrManyWithParens::One(param) => fold_one(&mut param.name),
                OneOrManyWithParens::Many(params) => {
                    params.iter_mut().for_each(|param| fold_one(&mut param.name));
                }
            },
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
