//! The functions that programs may name, found by name and alias.
//!
//! The table is filled when the first function is looked up: a program without functions does not
//! pay for two hundred of them.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use datafusion_expr::{AggregateUDF, ScalarUDF};

use crate::functions::declared_aggregates;

/// What aggregates are called elsewhere.
const ALIASES: &[(&str, &str)] = &[
    ("first", "first_value"),
    ("last", "last_value"),
    ("arbitrary", "any_value"),
    ("list", "array_agg"),
    ("every", "bool_and"),
    ("variance", "var"),
    ("approx_count_distinct", "approx_distinct"),
    ("approx_quantile", "approx_percentile_cont"),
];

/// Scalar and aggregate functions by name.
#[derive(Default)]
pub(crate) struct FunctionTable {
    tables: OnceLock<Tables>,
}

struct Tables {
    scalars: HashMap<String, Arc<ScalarUDF>>,
    aggregates: HashMap<String, Arc<AggregateUDF>>,
}

impl FunctionTable {
    /// The scalar function of that name.
    pub(crate) fn scalar(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.tables().scalars.get(name).cloned()
    }

    /// The aggregate of that name.
    pub(crate) fn aggregate(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.tables().aggregates.get(name).cloned()
    }

    /// Names of the scalar functions, sorted.
    pub(crate) fn scalar_names(&self) -> Vec<String> {
        sorted(self.tables().scalars.keys())
    }

    /// Names of the aggregates, sorted.
    pub(crate) fn aggregate_names(&self) -> Vec<String> {
        sorted(self.tables().aggregates.keys())
    }

    fn tables(&self) -> &Tables {
        self.tables.get_or_init(|| {
            let mut tables = Tables { scalars: HashMap::new(), aggregates: HashMap::new() };
            let of_lists = datafusion_functions_nested::all_default_nested_functions();
            let scalars = datafusion_functions::all_default_functions().into_iter().chain(of_lists);
            for function in scalars {
                let names = function.aliases().iter().cloned().chain([function.name().into()]);
                for name in names.collect::<Vec<String>>() {
                    tables.scalars.insert(name, function.clone());
                }
            }
            let borrowed = datafusion_functions_aggregate::all_default_aggregate_functions();
            let ours = declared_aggregates().into_iter().map(Arc::new);
            for function in borrowed.into_iter().chain(ours) {
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

fn sorted<'a>(names: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut names: Vec<String> = names.cloned().collect();
    names.sort_unstable();
    names
}
