//! Rewrites of the tokens and of the syntax tree that the parser and the binder need.
//!
//! * `IS [NOT] DISTINCT FROM` is parsed as an operator of the rank of IS: the parser would take all
//!   that follows, `AND` and `OR` too, for its right operand.
//! * `FROM t` and `FROM t |> …` mean `SELECT * FROM t`: the binder does not look at how a SELECT
//!   was written and would see one without columns.
//! * Long chains of AND, OR and `||` become balanced trees: the binder takes quadratic time over
//!   deep ones. All three are associative, and the terms keep their order; where `||` is not, on
//!   lists and their elements, `lists` knows such a chain by its operator.
//! * `||` binds less than arithmetic (`concatenation`).
//! * `//` becomes `/`, lists, structures (`structs`) and AT TIME ZONE become calls, and slices of
//!   lists get the bounds that they leave out.
//! * The options of COPY may stand right behind the path, and CREATE EXTERNAL TABLE may say WITH
//!   HEADER ROW.
//! * Rows are compared member by member (`row_values`), and functions by other names are called
//!   by their own (`synonyms`).
//! * A series in FROM whose arguments name columns may read the tables to its left.
//! * Columns without a name are named as they were written (`names`).
//! * `IN (VALUES …)` becomes `IN (SELECT * FROM (VALUES …))`: the borrowed rule for IN asks a query
//!   for its expressions, and bare values have none.
//! * Numbers with an exponent become doubles, as in the standard: the binder would make decimals of
//!   them, which hold no `1e200`.
//! * Joins with USING and NATURAL get names for their merged columns (`using`).
//! * Names of windows are replaced by what they stand for (`windows`).
//! * ORDER BY ALL and FETCH are written as what they mean (`query_ends`).
//! * Set operations and VALUES are written as the binder wants them (`chains`), and SEMI JOIN and
//!   ANTI JOIN are those of the left side.
//! * CTEs that hide those of queries around get names of their own (`inner_names`).
//! * The query of a CTE becomes `SELECT * FROM (query) AS __cte`: the mark by which `relations`
//!   knows it, since the binder copies a CTE's plan to where it is named.

use std::ops::ControlFlow;

use datafusion_sql::parser::{CopyToSource, DFParser, Statement};
use datafusion_sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion_sql::sqlparser::ast::{
    AccessExpr, BinaryOperator, CaseWhen, CastKind, CteAsMaterialized, DataType, ExactNumberInfo,
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident,
    Insert, JoinConstraint, JoinOperator, ObjectName, Query, Select, SetExpr, Statement as Sql,
    Subscript, TableFactor, TableWithJoins, UnaryOperator, Value, ValueWithSpan, VisitMut,
    VisitorMut, visit_expressions,
};
use datafusion_sql::sqlparser::keywords::Keyword;
use datafusion_sql::sqlparser::tokenizer::{Span, Token, TokenWithSpan};

use super::beside_written::read_texts;
use super::elements::is_series;
use super::hidden_keys::write_keys;
use super::inserted::is_only_values;
use super::lists::CHAINED_CONCAT;
use super::names::{name_aliases, name_columns, write_places};
use super::{
    chains, concatenation, distinct_places, file_calls, grouping_items, inner_names, intervals,
    operators, query_ends, row_values, structs, synonyms, using, windows,
};
use crate::functions::EQUALS_ANY;

/// The alias of every CTE's query.
pub(super) const CTE_ALIAS: &str = "__cte";

/// Chains up to this many levels stay as they were written.
const CHAIN_MAX: usize = 32;

/// Takes WITH HEADER ROW out of a CREATE EXTERNAL TABLE; whether it was there.
pub(super) fn cut_header_row(tokens: &mut Vec<TokenWithSpan>) -> bool {
    let mut words = tokens.iter().take_while(|token| !is_word(token, Keyword::TABLE));
    if !words.any(|token| is_word(token, Keyword::EXTERNAL)) {
        return false;
    }
    let phrase = [Keyword::WITH, Keyword::HEADER, Keyword::ROW];
    let is_phrase = |at: &[TokenWithSpan]| at.iter().zip(phrase).all(|(t, word)| is_word(t, word));
    match tokens.windows(phrase.len()).position(is_phrase) {
        Some(at) => {
            tokens.drain(at..at + phrase.len());
            true
        }
        None => false,
    }
}

/// Takes SUMMARIZE off the front of a statement, and makes a query of the name of a table behind
/// it; whether it was there.
pub(super) fn cut_summarize(tokens: &mut Vec<TokenWithSpan>) -> bool {
    let is_there = match tokens.first().map(|token| &token.token) {
        Some(Token::Word(word)) => {
            word.quote_style.is_none() && word.value.eq_ignore_ascii_case("summarize")
        }
        _ => false,
    };
    if !is_there {
        return false;
    }
    let queries = [Keyword::SELECT, Keyword::WITH, Keyword::FROM, Keyword::VALUES];
    let is_query = tokens.get(1).is_some_and(|token| {
        token.token == Token::LParen || queries.iter().any(|word| is_word(token, *word))
    });
    match is_query {
        true => drop(tokens.remove(0)),
        false => tokens[0].token = Token::make_keyword("FROM"),
    }
    true
}

const DISTINCT: &str = "IS DISTINCT FROM";
const NOT_DISTINCT: &str = "IS NOT DISTINCT FROM";

/// Whether an operator is one that [`name_comparisons`] makes.
pub(super) fn is_distinction(operator: &str) -> bool {
    [DISTINCT, NOT_DISTINCT].contains(&operator)
}

/// Makes one token of `IS [NOT] DISTINCT FROM`.
pub(super) fn name_comparisons(tokens: &mut Vec<TokenWithSpan>) {
    use Keyword as K;
    let begins = |rest: &[TokenWithSpan], words: &[Keyword]| {
        rest.len() >= words.len() && rest.iter().zip(words).all(|(t, word)| is_word(t, *word))
    };
    let mut at = 0;
    while at < tokens.len() {
        let rest = &tokens[at..];
        let (name, count) = if begins(rest, &[K::IS, K::DISTINCT, K::FROM]) {
            (DISTINCT, 3)
        } else if begins(rest, &[K::IS, K::NOT, K::DISTINCT, K::FROM]) {
            (NOT_DISTINCT, 4)
        } else {
            at += 1;
            continue;
        };
        let operator = Token::CustomBinaryOperator(name.to_string());
        let span = tokens[at].span.union(&tokens[at + count - 1].span);
        tokens.splice(at..at + count, [TokenWithSpan::new(operator, span)]);
    }
}

pub(super) fn is_word(token: &TokenWithSpan, word: Keyword) -> bool {
    matches!(&token.token, Token::Word(found) if found.keyword == word)
}

/// The statement as the binder reads it.
pub(super) fn rewrite(mut statement: Statement) -> Statement {
    let mut rewriter = Rewriter { joins: 0, looks_up_rows: false, keeps_values: false };
    match &mut statement {
        Statement::Statement(statement) => {
            if let Sql::Insert(Insert { source: Some(source), .. }) = statement.as_ref() {
                rewriter.keeps_values = is_only_values(source);
            }
            inner_names::tell_apart(statement.as_mut());
            let _ = statement.visit(&mut rewriter);
        }
        Statement::CopyTo(copy) => {
            if let CopyToSource::Query(query) = &mut copy.source {
                inner_names::tell_apart(query.as_mut());
                let _ = query.visit(&mut rewriter);
            }
        }
        Statement::Explain(_) | Statement::CreateExternalTable(_) | Statement::Reset(_) => {}
    }
    statement
}

struct Rewriter {
    /// Joins with merged columns.
    joins: usize,
    /// Rows are looked for among those of subqueries.
    looks_up_rows: bool,
    /// The first query is the VALUES of an INSERT, which are not brought to one type.
    keeps_values: bool,
}

impl VisitorMut for Rewriter {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        query_ends::write_out(query);
        name_aliases(query);
        if !std::mem::take(&mut self.keeps_values) {
            chains::write_out(query);
        }
        let Some(with) = query.with.as_mut().filter(|with| !with.recursive) else {
            return ControlFlow::Continue(());
        };
        for cte in &mut with.cte_tables {
            if cte.materialized == Some(CteAsMaterialized::NotMaterialized) {
                continue;
            }
            name_query(&mut cte.query, CTE_ALIAS);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::InSubquery { subquery, .. } = expr
            && matches!(*subquery.body, SetExpr::Values(_))
        {
            name_query(subquery, "__values");
        }
        windows::write_bounds_plainly(expr);
        windows::place_null_treatment(expr);
        if let Some(double) = as_double(expr) {
            *expr = double;
        }
        compare_distinct(expr);
        operators::write_out(expr);
        write_plainly(expr);
        structs::write_out(expr);
        synonyms::write_out(expr);
        row_values::compare_members(expr);
        self.looks_up_rows |= row_values::is_row_in_query(expr);
        let op = match expr {
            Expr::BinaryOp { op, .. } if is_associative(op) => op.clone(),
            _ => return ControlFlow::Continue(()),
        };
        if left_levels(expr) > CHAIN_MAX {
            let chain = std::mem::replace(expr, Expr::value(Value::Null));
            *expr = balanced(terms(chain, &op), &op);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        concatenation::bind_less(expr);
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        select.from.iter_mut().for_each(keep_left);
        name_columns(select);
        grouping_items::write_out(select);
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        windows::resolve_in_select(select);
        select.from.iter_mut().for_each(|tables| using::name_joins(tables, &mut self.joins));
        using::qualify_in_select(select);
        if self.looks_up_rows {
            row_values::look_up_in_select(select);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        write_places(query);
        distinct_places::write_out(query);
        windows::resolve_in_order(query);
        using::qualify_in_order(query);
        write_keys(query);
        if self.looks_up_rows {
            row_values::look_up_in(&mut query.order_by);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, table: &mut TableFactor) -> ControlFlow<()> {
        read_left(table);
        file_calls::name_file(table);
        if let TableFactor::NestedJoin { table_with_joins, .. } = table {
            keep_left(table_with_joins);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_table_factor(&mut self, table: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::NestedJoin { table_with_joins, .. } = table {
            using::name_joins(table_with_joins, &mut self.joins);
        }
        ControlFlow::Continue(())
    }
}

/// SEMI and ANTI JOIN without a side keep rows of the left one.
fn keep_left(tables: &mut TableWithJoins) {
    for join in &mut tables.joins {
        let constraint = match &mut join.join_operator {
            JoinOperator::Semi(constraint) | JoinOperator::Anti(constraint) => constraint,
            _ => continue,
        };
        let constraint = std::mem::replace(constraint, JoinConstraint::None);
        join.join_operator = match join.join_operator {
            JoinOperator::Semi(_) => JoinOperator::LeftSemi(constraint),
            _ => JoinOperator::LeftAnti(constraint),
        };
    }
}

/// Makes a series whose arguments name columns LATERAL.
fn read_left(table: &mut TableFactor) {
    let TableFactor::Table { name, args: Some(args), with_ordinality, alias, sample: None, .. } =
        table
    else {
        return;
    };
    let names_column = |e: &Expr| match e {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    if is_series(name) && visit_expressions(&args.args, names_column).is_break() {
        *table = TableFactor::Function {
            lateral: true,
            name: name.clone(),
            args: std::mem::take(&mut args.args),
            with_ordinality: *with_ordinality,
            alias: alias.take(),
        };
    }
}

/// Makes a query `SELECT * FROM (query) AS name`.
pub(super) fn name_query(query: &mut Box<Query>, name: &str) {
    if let Some(mut named) = select_from_one_row(name)
        && let Some(inner) = inner_query(&mut named)
    {
        std::mem::swap(inner, query);
        *query = named;
    }
}

/// `SELECT * FROM (SELECT 1) AS name`.
pub(super) fn select_from_one_row(name: &str) -> Option<Box<Query>> {
    let text = format!("SELECT * FROM (SELECT 1) AS {name}");
    match DFParser::parse_sql(&text).ok()?.pop_front()? {
        Statement::Statement(sql) => match *sql {
            Sql::Query(query) => Some(query),
            _ => None,
        },
        _ => None,
    }
}

/// The query in the FROM clause of one made by [`select_from_one_row`].
pub(super) fn inner_query(query: &mut Query) -> Option<&mut Box<Query>> {
    let SetExpr::Select(select) = query.body.as_mut() else { return None };
    match &mut select.from.first_mut()?.relation {
        TableFactor::Derived { subquery, .. } => Some(subquery),
        _ => None,
    }
}

/// The operators that [`name_comparisons`] made, as what they are.
fn compare_distinct(expr: &mut Expr) {
    let Expr::BinaryOp { left, op: BinaryOperator::Custom(name), right } = expr else { return };
    let compare: fn(Box<Expr>, Box<Expr>) -> Expr = match name.as_str() {
        DISTINCT => Expr::IsDistinctFrom,
        NOT_DISTINCT => Expr::IsNotDistinctFrom,
        _ => return,
    };
    let take =
        |side: &mut Box<Expr>| Box::new(std::mem::replace(side.as_mut(), Expr::value(Value::Null)));
    *expr = compare(take(left), take(right));
}

/// `//` as `/`, which divides integers so, lists and AT TIME ZONE as calls, in which the binder
/// knows the columns of the query around, `=` of a list's elements as one that knows NULLs, and the
/// bounds that a slice leaves out.
fn write_plainly(expr: &mut Expr) {
    match expr {
        Expr::BinaryOp { op: op @ BinaryOperator::DuckIntegerDivide, .. } => {
            *op = BinaryOperator::Divide;
        }
        Expr::UnaryOp { op: UnaryOperator::BitwiseNot, expr: bits } => {
            // In two's complement.
            let bits = std::mem::replace(&mut **bits, Expr::value(Value::Null));
            let minus_one = Expr::UnaryOp { op: UnaryOperator::Minus, expr: Box::new(number("1")) };
            *expr = nested(binary(nested(minus_one), BinaryOperator::Minus, nested(bits)));
        }
        // Of a constant the binder would negate the first part alone.
        Expr::UnaryOp { op: UnaryOperator::Minus, expr: of }
            if matches!(**of, Expr::Interval(_)) =>
        {
            **of = nested(std::mem::replace(&mut **of, Expr::value(Value::Null)));
        }
        Expr::Interval(_) | Expr::Cast { .. } => intervals::write_out(expr),
        Expr::Array(array) => {
            read_texts(&mut array.elem.iter_mut().collect::<Vec<_>>());
            *expr = call("make_array", std::mem::take(&mut array.elem));
        }
        Expr::AtTimeZone { timestamp, time_zone } => {
            *expr = call_of("timezone", [time_zone, timestamp]);
        }
        Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. }
            if !matches!(**right, Expr::Subquery(_)) =>
        {
            *expr = call_of(EQUALS_ANY, [right, left]);
        }
        Expr::AllOp { left, compare_op: BinaryOperator::NotEq, right }
            if !matches!(**right, Expr::Subquery(_)) =>
        {
            let equal = Box::new(call_of(EQUALS_ANY, [right, left]));
            *expr = Expr::UnaryOp { op: UnaryOperator::Not, expr: equal };
        }
        Expr::CompoundFieldAccess { access_chain, .. } => {
            for access in access_chain {
                if let AccessExpr::Subscript(Subscript::Slice {
                    lower_bound, upper_bound, ..
                }) = access
                {
                    lower_bound.get_or_insert_with(|| number("1"));
                    upper_bound.get_or_insert_with(|| number("-1"));
                }
            }
        }
        _ => {}
    }
}

/// A call that takes its arguments out of where they stand.
fn call_of(name: &str, args: [&mut Expr; 2]) -> Expr {
    call(name, args.map(|arg| std::mem::replace(arg, Expr::value(Value::Null))).into())
}

pub(super) fn call(name: &str, args: Vec<Expr>) -> Expr {
    let args = args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)));
    let args = FunctionArgumentList {
        duplicate_treatment: None,
        args: args.collect(),
        clauses: Vec::new(),
    };
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(args),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

pub(super) fn case(branches: Vec<(Expr, Expr)>, otherwise: Expr) -> Expr {
    let branches = branches.into_iter();
    Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: branches.map(|(condition, result)| CaseWhen { condition, result }).collect(),
        else_result: Some(Box::new(otherwise)),
    }
}

pub(super) fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}

/// Whether an expression or something in it is wanted.
pub(super) fn any(expr: &Expr, is_wanted: &dyn Fn(&Expr) -> bool) -> bool {
    let found = visit_expressions(expr, |expr| match is_wanted(expr) {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    });
    found.is_break()
}

pub(super) fn nested(expr: Expr) -> Expr {
    Expr::Nested(Box::new(expr))
}

pub(super) fn number(digits: &str) -> Expr {
    Expr::value(Value::Number(digits.to_string(), false))
}

/// A name that has one part.
pub(super) fn plain_name(name: &ObjectName) -> Option<&str> {
    match &name.0[..] {
        [part] => part.as_ident().map(|ident| ident.value.as_str()),
        _ => None,
    }
}

/// The text that a constant is.
pub(super) fn written(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), .. }) => Some(text),
        _ => None,
    }
}

pub(super) fn text(value: &str) -> Expr {
    Expr::value(Value::SingleQuotedString(value.to_string()))
}

/// An operation whose operands are copied.
pub(super) fn joined(left: &Expr, op: BinaryOperator, right: &Expr) -> Expr {
    nested(binary(nested(left.clone()), op, nested(right.clone())))
}

/// A number with an exponent as a double.
pub(super) fn as_double(expr: &Expr) -> Option<Expr> {
    let Expr::Value(ValueWithSpan { value: Value::Number(digits, _), span }) = expr else {
        return None;
    };
    if !digits.contains(['e', 'E']) {
        return None;
    }
    Some(double(digits.clone(), *span))
}

/// The double that a text writes.
pub(super) fn double(text: String, span: Span) -> Expr {
    let value = Value::SingleQuotedString(text);
    cast(Expr::Value(ValueWithSpan { value, span }), DataType::Double(ExactNumberInfo::None))
}

pub(super) fn cast(expr: Expr, data_type: DataType) -> Expr {
    let expr = Box::new(expr);
    Expr::Cast { kind: CastKind::Cast, expr, data_type, array: false, format: None }
}

/// Whether chains of an operator may be taken apart and put together in another shape.
fn is_associative(op: &BinaryOperator) -> bool {
    matches!(op, BinaryOperator::And | BinaryOperator::Or | BinaryOperator::StringConcat)
}

/// How often an operator occurs on the way down the left operands.
fn left_levels(expr: &Expr) -> usize {
    let Expr::BinaryOp { op: first, .. } = expr else { return 0 };
    let (mut levels, mut at) = (0, expr);
    while let Expr::BinaryOp { left, op, .. } = at {
        if op != first {
            break;
        }
        levels += 1;
        at = left;
    }
    levels
}

/// The operands of a chain, in order. Does not recurse: chains are as deep as they are long.
fn terms(chain: Expr, wanted: &BinaryOperator) -> Vec<Expr> {
    let mut terms = Vec::new();
    let mut open = vec![chain];
    while let Some(expr) = open.pop() {
        match expr {
            Expr::BinaryOp { left, op, right } if op == *wanted => {
                open.push(*right);
                open.push(*left);
            }
            term => terms.push(term),
        }
    }
    terms
}

/// A tree over terms whose depth is the logarithm of their number.
pub(super) fn balanced(mut terms: Vec<Expr>, op: &BinaryOperator) -> Expr {
    let right = terms.split_off(terms.len().div_ceil(2));
    match (terms.len(), right.is_empty(), terms.pop()) {
        (_, _, None) => Expr::value(Value::Null),
        (1, true, Some(only)) => only,
        (_, _, Some(last)) => {
            terms.push(last);
            let left = Box::new(balanced(terms, op));
            let op_of_joint = match op {
                BinaryOperator::StringConcat => BinaryOperator::Custom(CHAINED_CONCAT.to_string()),
                op => op.clone(),
            };
            Expr::BinaryOp { left, op: op_of_joint, right: Box::new(balanced(right, op)) }
        }
    }
}
