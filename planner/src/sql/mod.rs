//! From a program text to an optimized logical plan, with DataFusion's SQL front end.
//!
//! * `script`: a text as statements, each with its place; `syntax`: rewrites of the syntax tree;
//!   `statement_set`: several as one; `explain`: EXPLAIN in front of a statement; `names`: names
//!   for columns that have none; `windows`: windows by name; `fragment`: parts of statements that
//!   are written by themselves; `digits`: numbers with underscores; `texts`: texts of several
//!   lines; `written_options`: options of COPY; `from_first`: queries that begin with FROM;
//!   `dialect`: how texts are parsed; `operators`: those that the parser does not know;
//!   `plain_names`: words that are no keywords.
//! * `placeholders`: parameters.
//! * `context`: what binding may ask: tables, functions, options. `functions`: the function table;
//!   `lists`: lists in expressions; `view`: queries with a name; `information`: tables about
//!   tables.
//! * `relations`: queries of CTEs and joins with merged columns; `using`: the latter in the syntax
//!   tree, `natural`: those whose columns tables tell, `excluded`: columns that `*` leaves out,
//!   `merged_around`: merged ones in subqueries, `merged_keys`: beside those of tables;
//!   `known_columns`: how these know columns;
//!   `elements`: UNNEST in FROM; `file_calls`: files by calls there.
//! * `row_values`: rows in comparisons; `synonyms`: functions by other names, `moment_names`: those
//!   of moments, `moment_patterns`: how those are written, `refused_calls`: those that mean
//!   nothing; `chains`: set operations and VALUES; `beside_written`: texts in those beside other
//!   values; `inserted`: VALUES of INSERT; `concatenation`: the rank of `||`; `intervals`:
//!   intervals that are multiplied and divided; `structs`: structures and maps.
//! * `bind`: names; `fold`: those in any case; `missing`: those that were not found; `apart`: equal
//!   ones; `aliases`: those that a SELECT gives; `scopes`: those of tables, by query; `enclosing`:
//!   tables of queries around; `paths`: parts of columns; `clauses`: those that know
//!   aggregates, `having` and `qualify` among them; `level`: expressions without their subqueries;
//!   `order`: names in ORDER BY, `hidden_keys`: those of columns that it alone sees,
//!   `needless_order`: where it is not seen; `query_ends`: ORDER BY ALL and FETCH; `grouping`:
//!   grouping(); `grouping_items`: what stands in grouping sets; `group_all`: GROUP BY ALL;
//!   `distinct_places`: numbers in DISTINCT ON.
//! * `typing`: the types of all expressions; `operands`: types that meet, `moments` and dates that
//!   are `moved` among them, `whole` numbers, `text_constants` beside others; `lengths`: intervals
//!   that are compared; `frames`: those over keys without offsets; `arithmetic`: exact arithmetic
//!   that never wraps; `renewed`: what rules do to expressions.
//! * `optimize`: the borrowed rules, each with the reason why it is there; `passes`: how they run;
//!   `simpler`: the one that folds constants, where it finds something; `guards`: those that are
//!   wrong about some joins, kept away from them; `empty_unions`: the one that is wrong about some
//!   unions; `days`: dates that are compared with timestamps; `dependencies`: what they must not go
//!   by.
//! * `unsupported`: what no plan exists for is refused before names are bound; `self_reading`: CTEs
//!   that read themselves; `inner_names`: CTEs that hide others.
//! * `diagnose`: the front end's errors as ours, `argument_counts`: those of calls with others than
//!   they take; `stack`: planning deep expressions.
//! * `type_names`: what SQL calls the types; `written_types`: what it means by some names;
//!   `map_types`: those of maps; `type_tokens`: how those of structures are written.

mod aliases;
mod apart;
mod argument_counts;
mod arithmetic;
mod beside_written;
mod bind;
mod chains;
mod clauses;
mod concatenation;
mod context;
mod days;
mod dependencies;
mod diagnose;
mod dialect;
mod digits;
mod distinct_places;
mod elements;
mod empty_unions;
mod enclosing;
mod excluded;
mod explain;
mod file_calls;
mod fold;
mod fragment;
mod frames;
mod from_first;
mod functions;
mod group_all;
mod grouping;
mod grouping_items;
mod guards;
mod having;
mod hidden_keys;
mod information;
mod inner_names;
mod inserted;
mod intervals;
mod known_columns;
mod lengths;
mod level;
mod lists;
mod map_types;
mod merged_around;
mod merged_keys;
mod missing;
mod moment_names;
mod moment_patterns;
mod moments;
mod moved;
mod names;
mod natural;
mod needless_order;
mod operands;
mod operators;
mod optimize;
mod order;
mod passes;
mod paths;
mod placeholders;
mod plain_names;
mod qualify;
mod query_ends;
mod refused_calls;
mod relations;
mod renewed;
mod row_values;
mod scopes;
mod script;
mod self_reading;
mod simpler;
mod stack;
mod statement_set;
mod structs;
mod synonyms;
mod syntax;
mod text_constants;
mod texts;
mod type_names;
mod type_tokens;
mod typing;
mod unsupported;
mod using;
mod view;
mod whole;
mod windows;
mod written_options;
mod written_types;

pub(crate) use bind::{all_of, analyze, as_query, bind_query, query_of, renamed, shaped};
pub(crate) use context::Binder;
pub(crate) use diagnose::{in_sql, nearest, to_error, with_place};
pub(crate) use explain::Explain;
pub(crate) use fold::{folded, folded_fields, folded_plan, in_any_case, told_apart};
pub(crate) use fragment::{Fragment, Part, Piece, depth_of, statement_of};
pub(crate) use functions::FunctionTable;
pub(crate) use information::MAIN_SCHEMA;
pub(crate) use inserted::{bind_inserted, only_values};
pub(crate) use optimize::{after_join_order, before_join_order};
pub(crate) use passes::Planning;
pub(crate) use renewed::{any_expression, renewed, schema_below};
pub(crate) use script::Depth;
pub(crate) use stack::with_stack_for;
pub(crate) use type_names::{type_name, with_types_spelled_out};
pub(crate) use using::USING_PREFIX;
pub(crate) use view::{VIEW_PREFIX, View};

pub use script::{Statement, statements};
