//! The type of maps, `MAP(VARCHAR, INT)`, which the binder does not know: it is asked for those of
//! the keys and the values.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion_common::config::ConfigOptions;
use datafusion_common::{Result, TableReference, plan_err};
use datafusion_expr::planner::{ContextProvider, TypePlanner};
use datafusion_expr::{AggregateUDF, HigherOrderUDF, ScalarUDF, TableSource, WindowUDF};
use datafusion_sql::planner::SqlToRel;
use datafusion_sql::sqlparser::ast::{ColumnDef, DataType as Written, Ident};

use super::written_types::WrittenTypes;

/// The type of maps with keys and values of these types.
///
/// # Errors
/// When the binder knows no such types.
pub(super) fn map_type(key: &Written, value: &Written, types: &WrittenTypes) -> Result<DataType> {
    let types = OnlyTypes { options: ConfigOptions::new(), types: Arc::new(types.clone()) };
    let column = |name: &str, data_type: &Written| ColumnDef {
        name: Ident::new(name),
        data_type: data_type.clone(),
        options: Vec::new(),
    };
    let columns = vec![column("key", key), column("value", value)];
    let entry: Schema = SqlToRel::new(&types).build_schema(columns)?;
    let member =
        |at: usize, is_nullable: bool| Arc::new(entry.field(at).clone().with_nullable(is_nullable));
    let entry = DataType::Struct(vec![member(0, false), member(1, true)].into());
    Ok(DataType::Map(Arc::new(Field::new("entries", entry, false)), false))
}

/// Answers the binder's questions about types, and has nothing else.
struct OnlyTypes {
    options: ConfigOptions,
    types: Arc<WrittenTypes>,
}

impl ContextProvider for OnlyTypes {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        plan_err!("there is no table {name} in a type")
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(self.types.clone())
    }

    fn get_function_meta(&self, _: &str) -> Option<Arc<ScalarUDF>> {
        None
    }

    fn get_higher_order_meta(&self, _: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }

    fn get_aggregate_meta(&self, _: &str) -> Option<Arc<AggregateUDF>> {
        None
    }

    fn get_window_meta(&self, _: &str) -> Option<Arc<WindowUDF>> {
        None
    }

    fn get_variable_type(&self, _: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        &self.options
    }

    fn udf_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udaf_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udwf_names(&self) -> Vec<String> {
        Vec::new()
    }
}
