//! The functions that programs may name, found by name and alias.
//!
//! The table is filled when the first function is looked up: a program without functions does not
//! pay for two hundred of them. Functions of the program's own stand beside it; their names are
//! none of those that mean something already.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, RwLock};

use datafusion_expr::{AggregateUDF, ScalarUDF};
use datafusion_sql::parser::{DFParser, Statement};
use datafusion_sql::sqlparser::ast::{Expr, SelectItem, SetExpr, Statement as Sql};
use gristmill_engine::{Error, Result};

use super::synonyms::is_synonym;
use crate::functions::{
    BoundAggregate, BoundScalar, WINDOW_FUNCTIONS, added, added_aggregates, adjusted, is_opaque,
    lambda_function, ours,
};

/// What aggregates are called elsewhere.
const ALIASES: &[(&str, &str)] = &[
    ("first", "first_value"),
    ("last", "last_value"),
    ("arbitrary", "any_value"),
    ("list", "array_agg"),
    ("favg", "avg"),
    ("fsum", "sum"),
    ("sum_no_overflow", "sum"),
    ("every", "bool_and"),
    ("variance", "var"),
    ("approx_count_distinct", "approx_distinct"),
    ("approx_quantile", "approx_percentile_cont"),
];

/// What scalar functions are called elsewhere.
const SCALAR_ALIASES: &[(&str, &str)] = &[
    ("array_indexof", "array_position"),
    ("datepart", "date_part"),
    ("datetrunc", "date_trunc"),
    ("gen_random_uuid", "uuid"),
    ("lcase", "lower"),
    ("list_max", "array_max"),
    ("list_min", "array_min"),
    ("list_pack", "make_array"),
    ("list_value", "make_array"),
    ("make_timestamp_ms", "to_timestamp_millis"),
    ("make_timestamp_ns", "to_timestamp_nanos"),
    ("ord", "ascii"),
    ("prefix", "starts_with"),
    ("regexp_matches", "regexp_like"),
    ("split", "string_to_array"),
    ("strlen", "octet_length"),
    ("str_split", "string_to_array"),
    ("string_split", "string_to_array"),
    ("suffix", "ends_with"),
    ("ucase", "upper"),
    ("unicode", "ascii"),
];

/// Scalar and aggregate functions by name.
#[derive(Default)]
pub(crate) struct FunctionTable {
    tables: OnceLock<Tables>,
    /// The program's own, by names in small letters.
    own: RwLock<Tables>,
}

#[derive(Default)]
struct Tables {
    scalars: HashMap<String, Arc<ScalarUDF>>,
    aggregates: HashMap<String, Arc<AggregateUDF>>,
}

impl FunctionTable {
    /// The scalar function of that name.
    pub(crate) fn scalar(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        let own = self.own(|own| own.scalars.get(&name.to_lowercase()).cloned());
        own.or_else(|| self.tables().scalars.get(name).cloned())
    }

    /// The aggregate of that name.
    pub(crate) fn aggregate(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        let own = self.own(|own| own.aggregates.get(&name.to_lowercase()).cloned());
        own.or_else(|| self.tables().aggregates.get(name).cloned())
    }

    /// Adds a scalar function, or replaces the one of that name.
    ///
    /// # Errors
    /// `Input` when its name means something else already, or is no name of a function.
    pub(crate) fn register_scalar(&self, function: BoundScalar) -> Result<()> {
        let function = ScalarUDF::from(function);
        let name = self.free_name(function.name())?;
        let mut own = self.own.write().unwrap_or_else(|e| e.into_inner());
        if own.aggregates.contains_key(&name) {
            return Err(Error::input(format!("{name} is registered as an aggregate already")));
        }
        own.scalars.insert(name, Arc::new(function));
        Ok(())
    }

    /// Adds an aggregate, or replaces the one of that name.
    ///
    /// # Errors
    /// As [`FunctionTable::register_scalar`].
    pub(crate) fn register_aggregate(&self, function: BoundAggregate) -> Result<()> {
        let function = AggregateUDF::from(function);
        let name = self.free_name(function.name())?;
        let mut own = self.own.write().unwrap_or_else(|e| e.into_inner());
        if own.scalars.contains_key(&name) {
            return Err(Error::input(format!("{name} is registered as a scalar function already")));
        }
        own.aggregates.insert(name, Arc::new(function));
        Ok(())
    }

    /// The name as it is kept, when it may be given to a function.
    fn free_name(&self, name: &str) -> Result<String> {
        let lower = name.to_lowercase();
        let tables = self.tables();
        let is_taken = tables.scalars.contains_key(&lower)
            || tables.aggregates.contains_key(&lower)
            || WINDOW_FUNCTIONS.contains(&lower.as_str())
            || is_opaque(&lower)
            || lambda_function(&lower).is_some()
            || is_synonym(&lower)
            || lower.starts_with("checked_");
        if is_taken {
            let message = format!("{name} is a function of SQL; give yours another name");
            return Err(Error::input(message));
        }
        if !is_name_of_function(name) {
            return Err(Error::input(format!(
                "SQL does not call functions by names like `{name}`; use a word that means nothing \
                 else"
            )));
        }
        Ok(lower)
    }

    fn own<R>(&self, look: impl FnOnce(&Tables) -> R) -> R {
        look(&self.own.read().unwrap_or_else(|e| e.into_inner()))
    }

    /// Names of the scalar functions, sorted.
    pub(crate) fn scalar_names(&self) -> Vec<String> {
        self.own(|own| sorted(self.tables().scalars.keys().chain(own.scalars.keys())))
    }

    /// Names of the aggregates, sorted.
    pub(crate) fn aggregate_names(&self) -> Vec<String> {
        self.own(|own| sorted(self.tables().aggregates.keys().chain(own.aggregates.keys())))
    }

    fn tables(&self) -> &Tables {
        self.tables.get_or_init(|| {
            let mut tables = Tables::default();
            let of_lists = datafusion_functions_nested::all_default_nested_functions();
            let scalars = datafusion_functions::all_default_functions().into_iter().chain(of_lists);
            for function in scalars.map(ours).chain(added()) {
                let names = function.aliases().iter().cloned().chain([function.name().into()]);
                for name in names.collect::<Vec<String>>() {
                    tables.scalars.insert(name, function.clone());
                }
            }
            for (alias, name) in SCALAR_ALIASES {
                if let Some(function) = tables.scalars.get(*name).cloned() {
                    tables.scalars.entry(alias.to_string()).or_insert(function);
                }
            }
            let borrowed = datafusion_functions_aggregate::all_default_aggregate_functions();
            let ours = added_aggregates().map(Arc::new);
            for function in borrowed.into_iter().map(adjusted).chain(ours) {
                let names = function.aliases().iter().cloned().chain([function.name().into()]);
                for name in names.collect::<Vec<String>>() {
                    tables.aggregates.insert(name, function.clone());
                }
            }
            for (alias, name) in ALIASES {
                if let Some(function) = tables.aggregates.get(*name).cloned() {
                    tables.aggregates.insert(alias.to_string(), function);
                }
            }
            tables
        })
    }
}

/// Whether `name(1)` is the call of a function of that name, and of nothing else.
fn is_name_of_function(name: &str) -> bool {
    let is_word = name.chars().all(|c| c.is_alphanumeric() || c == '_');
    let parsed = DFParser::parse_sql(&format!("SELECT {name}(1)")).ok();
    let Some(Statement::Statement(sql)) = parsed.and_then(|mut parsed| parsed.pop_front()) else {
        return false;
    };
    let Sql::Query(query) = *sql else { return false };
    let SetExpr::Select(select) = *query.body else { return false };
    match &select.projection[..] {
        [SelectItem::UnnamedExpr(Expr::Function(call))] => is_word && call.name.to_string() == name,
        _ => false,
    }
}

fn sorted<'a>(names: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut names: Vec<String> = names.cloned().collect();
    names.sort_unstable();
    names
}
