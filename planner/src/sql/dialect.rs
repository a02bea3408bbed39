//! The dialect that texts are parsed in: the parser's general one, with lambdas
//! (`x -> x + 1` and `lambda x: x + 1`), ORDER BY ALL, the operators of `operators`, and ranks of
//! its own for AT TIME ZONE, LIKE, comparisons and operators of bits.

use std::any::TypeId;

use datafusion_sql::sqlparser::ast::Expr;
use datafusion_sql::sqlparser::dialect::{Dialect, GenericDialect, Precedence};
use datafusion_sql::sqlparser::parser::{Parser, ParserError};

use super::operators;

/// The dialect.
#[derive(Debug)]
pub(super) struct Ours;

/// Says of a dialect what the general one says.
macro_rules! as_general {
    ($($method:ident)*) => {
        $(fn $method(&self) -> bool {
            GenericDialect.$method()
        })*
    };
}

impl Dialect for Ours {
    /// The parser asks for the general one by its type.
    fn dialect(&self) -> TypeId {
        TypeId::of::<GenericDialect>()
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        GenericDialect.is_delimited_identifier_start(ch)
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        GenericDialect.is_identifier_start(ch)
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        GenericDialect.is_identifier_part(ch)
    }

    fn supports_lambda_functions(&self) -> bool {
        true
    }

    fn supports_order_by_all(&self) -> bool {
        true
    }

    fn parse_prefix(&self, parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        operators::signed(parser)
    }

    fn parse_infix(
        &self,
        parser: &mut Parser,
        left: &Expr,
        _: u8,
    ) -> Option<Result<Expr, ParserError>> {
        operators::operation(parser, left)
    }

    fn get_next_precedence(&self, parser: &Parser) -> Option<Result<u8, ParserError>> {
        operators::precedence(parser).map(Ok)
    }

    fn prec_value(&self, of: Precedence) -> u8 {
        match of {
            Precedence::AtTz => operators::AT_TIME_ZONE,
            // LIKE, IN and BETWEEN bind more than comparisons, and those more than IS:
            // `a = b IN (c)` is `a = (b IN (c))`, `a LIKE b = c` is `(a LIKE b) = c`.
            Precedence::Like => self.prec_value(Precedence::Between),
            Precedence::Eq => GenericDialect.prec_value(Precedence::Is) + 1,
            // Operators of bits have one rank, from left to right.
            Precedence::Ampersand | Precedence::Caret => self.prec_value(Precedence::Pipe),
            of => GenericDialect.prec_value(of),
        }
    }

    as_general! {
        supports_unicode_string_literal
        supports_partition_by_after_order_by
        supports_array_join_syntax
        supports_group_by_expr
        supports_group_by_with_modifier
        supports_left_associative_joins_without_parens
        supports_connect_by
        supports_match_recognize
        supports_pipe_operator
        supports_start_transaction_modifier
        supports_window_function_null_treatment_arg
        supports_dictionary_syntax
        supports_window_clause_named_window_reference
        supports_parenthesized_set_variables
        supports_select_wildcard_except
        support_map_literal_syntax
        allow_extract_custom
        allow_extract_single_quotes
        supports_extract_comma_syntax
        supports_create_view_comment_syntax
        supports_parens_around_table_factor
        supports_values_as_table_factor
        supports_create_index_with_clause
        supports_explain_with_utility_options
        supports_limit_comma
        supports_update_order_by
        supports_from_first_select
        supports_projection_trailing_commas
        supports_asc_desc_in_column_definition
        supports_try_convert
        supports_bitwise_shift_operators
        supports_comment_on
        supports_load_extension
        supports_named_fn_args_with_assignment_operator
        supports_struct_literal
        supports_empty_projections
        supports_nested_comments
        supports_multiline_comment_hints
        supports_user_host_grantee
        supports_string_escape_constant
        supports_array_typedef_with_brackets
        supports_match_against
        supports_set_names
        supports_comma_separated_set_assignments
        supports_filter_during_aggregation
        supports_select_wildcard_exclude
        supports_data_type_signed_suffix
        supports_interval_options
        supports_quote_delimited_string
        supports_select_wildcard_replace
        supports_select_wildcard_ilike
        supports_select_wildcard_rename
        supports_optimize_table
        supports_install
        supports_detach
        supports_prewhere
        supports_with_fill
        supports_limit_by
        supports_interpolate
        supports_settings
        supports_select_format
        supports_comment_optimizer_hint
        supports_constraint_keyword_without_name
        supports_key_column_option
        supports_comma_separated_trim
        supports_cte_without_as
        supports_select_item_multi_column_alias
        supports_xml_expressions
    }
}

#[cfg(test)]
mod tests {
    use datafusion_sql::sqlparser::parser::Parser;

    use super::*;

    #[test]
    fn the_dialect_is_the_general_one_with_lambdas() {
        let dialect: &dyn Dialect = &Ours;
        assert!(dialect.is::<GenericDialect>());
        for text in ["select f(l, x -> x + 1)", "select f(l, lambda x, i: x + i) order by all"] {
            assert!(Parser::parse_sql(dialect, text).is_ok(), "{text}");
        }
    }
}
