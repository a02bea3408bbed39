//! How the names are spelled that a query may read: those of the columns of its tables, of what its
//! SELECTs and WITHs name, and of its tables.
//!
//! What is spelled in one way alone, with capitals, is meant by the name in any case, wherever it
//! stands: in a subquery whose tables are others, in USING, behind `* EXCLUDE` and `* REPLACE`.
//! Where a query has columns whose names are not known before it is bound, those of pipes and of
//! calls that read files, no name is spelled: it could be one of them.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion_sql::sqlparser::ast::{
    ExcludeSelectItem, Expr, Ident, JoinConstraint, ObjectName, ObjectNamePart, Query, Select,
    SelectItem, SelectItemQualifiedWildcardKind, SetExpr, TableAlias, TableFactor, Visit, VisitMut,
    Visitor, VisitorMut, WildcardAdditionalOptions,
};
use gristmill_engine::{Error, Result};

use super::diagnose::at;
use super::elements::is_series;
use super::using::{constraint_mut, plain};

/// What columns of series and lists in FROM are called that get no other name.
const SERIES: [&str; 4] = ["generate_series", "ordinality", "range", "unnest"];

/// The columns of a table that is named, where there is one.
pub(super) type ColumnsOf<'a> = &'a dyn Fn(&ObjectName) -> Option<Vec<String>>;

/// The spellings of names, by the names in small letters.
#[derive(Default)]
struct Names(HashMap<String, Vec<String>>);

impl Names {
    fn add(&mut self, name: impl Into<String>) {
        let name = name.into();
        let spelled = self.0.entry(name.to_lowercase()).or_default();
        if !spelled.contains(&name) {
            spelled.push(name);
        }
    }

    fn of(&self, name: &Ident) -> &[String] {
        self.0.get(&name.value.to_lowercase()).map_or(&[], Vec::as_slice)
    }

    /// Spells a name without quotes as the only one that it can mean; says whether that changes it.
    fn spell(&self, name: &mut Ident) -> bool {
        let ([only], None) = (self.of(name), name.quote_style) else { return false };
        if *only == plain(name) {
            return false;
        }
        *name = Ident { span: name.span, ..Ident::with_quote('"', only) };
        true
    }
}

/// See the module documentation.
pub(super) struct Spellings {
    columns: Names,
    relations: Names,
    /// The columns of the tables and files, by the names that these have in the query.
    columns_by_relation: HashMap<String, Names>,
    /// Whether all columns are known.
    is_complete: bool,
}

impl Spellings {
    /// Those of a query.
    pub(super) fn of(query: &Query, columns_of: ColumnsOf<'_>) -> Spellings {
        let names = Spellings {
            columns: Names::default(),
            relations: Names::default(),
            columns_by_relation: HashMap::new(),
            is_complete: true,
        };
        let mut reading = Reading { names, columns_of };
        let _ = Visit::visit(query, &mut reading);
        reading.names
    }

    /// Spells what stands behind the `*` of a query.
    ///
    /// # Errors
    /// `Input` when `* REPLACE` names a column that is not there, which the binder would not miss.
    pub(super) fn spell_wildcards(&self, query: &mut Query) -> Result<()> {
        let mut wildcards = Wildcards { names: self, outcome: Ok(()) };
        let _ = VisitMut::visit(query, &mut wildcards);
        wildcards.outcome
    }

    /// Spells all names in a query; says whether one is another now.
    pub(super) fn spell(&self, query: &mut Query) -> bool {
        if !self.is_complete {
            return false;
        }
        let mut writing = Writing { names: self, is_changed: false };
        let _ = VisitMut::visit(query, &mut writing);
        writing.is_changed
    }

    fn spell_wildcard(&self, options: &mut WildcardAdditionalOptions) -> Result<()> {
        if self.is_complete {
            self.spell_excluded(options);
        }
        for item in options.opt_replace.iter_mut().flat_map(|replace| &mut replace.items) {
            let name = &mut item.column_name;
            // The binder takes it as it is written.
            if !self.is_complete || !self.columns.spell(name) {
                name.value = plain(name);
            }
            self.check_replaced(&item.column_name)?;
        }
        Ok(())
    }

    fn spell_excluded(&self, options: &mut WildcardAdditionalOptions) {
        let excluded = match &mut options.opt_exclude {
            Some(ExcludeSelectItem::Single(name)) => std::slice::from_mut(name),
            Some(ExcludeSelectItem::Multiple(names)) => &mut names[..],
            None => &mut [],
        };
        for name in excluded {
            spell_last(name, &self.columns);
        }
        if let Some(except) = &mut options.opt_except {
            self.columns.spell(&mut except.first_element);
            for name in &mut except.additional_elements {
                self.columns.spell(name);
            }
        }
    }

    fn check_replaced(&self, name: &Ident) -> Result<()> {
        let spelled = self.columns.of(name);
        let said = match spelled {
            _ if spelled.contains(&plain(name)) => return Ok(()),
            _ if !self.is_complete => return Ok(()),
            [] => format!("* REPLACE names {name}, which is no column"),
            several => {
                let several = several.join("\" and \"");
                format!("* REPLACE names {name}, which may be \"{several}\"; write it in quotes")
            }
        };
        let start = name.span.start;
        Err(Error::input_at(said, at(start.line, start.column)))
    }
}

/// Whether something stands behind a `*` of a query.
pub(super) fn has_wildcard_options(query: &Query) -> bool {
    struct Search;
    impl Visitor for Search {
        type Break = ();

        fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
            let options = select.projection.iter().filter_map(|item| match item {
                SelectItem::Wildcard(options) | SelectItem::QualifiedWildcard(_, options) => {
                    Some(options)
                }
                _ => None,
            });
            let has = |options: &WildcardAdditionalOptions| {
                options.opt_exclude.is_some()
                    || options.opt_except.is_some()
                    || options.opt_replace.is_some()
            };
            match options.into_iter().any(has) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        }
    }
    Visit::visit(query, &mut Search).is_break()
}

/// Spells the last part of a name.
fn spell_last(name: &mut ObjectName, names: &Names) -> bool {
    match name.0.last_mut() {
        Some(ObjectNamePart::Identifier(name)) => names.spell(name),
        _ => false,
    }
}

/// Reads the names that a query gives, and those of its tables.
struct Reading<'a> {
    names: Spellings,
    columns_of: ColumnsOf<'a>,
}

impl Reading<'_> {
    fn table(&mut self, name: &ObjectName, alias: Option<&TableAlias>) {
        let Some(ObjectNamePart::Identifier(own)) = name.0.last() else { return };
        let relation = plain(alias.map_or(own, |alias| &alias.name));
        let Some(columns) = (self.columns_of)(name) else { return };
        self.names.relations.add(relation.clone());
        let own = self.names.columns_by_relation.entry(relation).or_default();
        for column in columns {
            own.add(column.clone());
            self.names.columns.add(column);
        }
    }

    fn series(&mut self) {
        SERIES.into_iter().for_each(|name| self.names.columns.add(name));
    }

    fn alias(&mut self, alias: &TableAlias) {
        self.names.relations.add(plain(&alias.name));
        alias.columns.iter().for_each(|column| self.names.columns.add(plain(&column.name)));
    }
}

impl Visitor for Reading<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            self.alias(&cte.alias);
        }
        self.names.is_complete &= query.pipe_operators.is_empty();
        let mut first = query.body.as_ref();
        while let SetExpr::SetOperation { left, .. } = first {
            first = left;
        }
        if let SetExpr::Values(values) = first {
            let width = values.rows.first().map_or(0, |row| row.len());
            (1..=width).for_each(|at| self.names.columns.add(format!("column{at}")));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        for item in &select.projection {
            if let SelectItem::ExprWithAlias { alias, .. } = item {
                self.names.columns.add(plain(alias));
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, table: &TableFactor) -> ControlFlow<()> {
        let alias = match table {
            TableFactor::Table { name, args: None, alias, .. } => {
                self.table(name, alias.as_ref());
                alias
            }
            TableFactor::Derived { alias, .. } | TableFactor::NestedJoin { alias, .. } => alias,
            TableFactor::Table { name, alias, .. } | TableFactor::Function { name, alias, .. }
                if is_series(name) =>
            {
                self.series();
                alias
            }
            TableFactor::UNNEST { alias, .. } => {
                self.series();
                alias
            }
            TableFactor::Table { alias, .. } => {
                self.names.is_complete = false;
                alias
            }
            _ => {
                self.names.is_complete = false;
                return ControlFlow::Continue(());
            }
        };
        alias.iter().for_each(|alias| self.alias(alias));
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Expr::Lambda(lambda) = expr {
            lambda.params.iter().for_each(|given| self.names.columns.add(plain(&given.name)));
        }
        ControlFlow::Continue(())
    }
}

/// Spells the names behind `*`.
struct Wildcards<'a> {
    names: &'a Spellings,
    outcome: Result<()>,
}

impl VisitorMut for Wildcards<'_> {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        for item in &mut select.projection {
            if let SelectItem::Wildcard(options) | SelectItem::QualifiedWildcard(_, options) = item
                && let Err(error) = self.names.spell_wildcard(options)
            {
                self.outcome = Err(error);
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }
}

/// Spells all names but those behind `*`.
struct Writing<'a> {
    names: &'a Spellings,
    is_changed: bool,
}

impl VisitorMut for Writing<'_> {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        for item in &mut select.projection {
            if let SelectItem::QualifiedWildcard(kind, _) = item
                && let SelectItemQualifiedWildcardKind::ObjectName(name) = kind
            {
                self.is_changed |= spell_last(name, &self.names.relations);
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, table: &mut TableFactor) -> ControlFlow<()> {
        match table {
            TableFactor::Table { name, args: None, .. } if name.0.len() == 1 => {
                self.is_changed |= spell_last(name, &self.names.relations);
            }
            TableFactor::NestedJoin { table_with_joins, .. } => {
                for join in &mut table_with_joins.joins {
                    if let Some(JoinConstraint::Using(columns)) = constraint_mut(join) {
                        for column in columns {
                            self.is_changed |= spell_last(column, &self.names.columns);
                        }
                    }
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let Spellings { columns, relations, columns_by_relation, .. } = self.names;
        match expr {
            Expr::Identifier(name) => self.is_changed |= columns.spell(name),
            // The name of a table or a column, and behind it that of a column or of its parts.
            Expr::CompoundIdentifier(names) => {
                let mut known = match names.first() {
                    Some(first) if !relations.of(first).is_empty() => relations,
                    _ => columns,
                };
                for name in names {
                    self.is_changed |= known.spell(name);
                    known = columns_by_relation.get(&plain(name)).unwrap_or(columns);
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
