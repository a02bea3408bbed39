//! Parts of a statement that are written by themselves: SELECT lists, expressions, keys to sort by.
//!
//! A part is parsed by itself first, so that it is no more and no less than that part. Its tokens,
//! which keep their places, are then put among those of a statement that is parsed as any other.

use datafusion_common::DataFusionError;
use datafusion_sql::parser::{DFParser, DFParserBuilder};
use datafusion_sql::sqlparser::ast::SelectItem;
use datafusion_sql::sqlparser::parser::{Parser, ParserError};
use datafusion_sql::sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan};
use gristmill_engine::{Error, Result};

use super::diagnose::at;
use super::dialect::Ours;
use super::grouping_items;
use super::operators;
use super::script::{Depth, NESTING_MAX, Statement, depth_bound, syntax_error, tokens_of};
use super::stack::with_stack_for;
use super::syntax;
use super::written_types::name_stamps;

/// What a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// What stands behind SELECT.
    Items,
    /// What stands behind SELECT, without `*`: a column for each item.
    Columns,
    Expression,
    /// What stands behind ORDER BY.
    Keys,
}

/// A part of a statement.
#[derive(Debug, Clone)]
pub(crate) struct Fragment {
    tokens: Vec<TokenWithSpan>,
    count: usize,
}

impl Fragment {
    /// # Errors
    /// `Input` with a place in `text` when it is not that part.
    pub(crate) fn new(text: &str, part: Part) -> Result<Fragment> {
        let tokens = tokens_of(text)?;
        let count = with_stack_for(depth_bound(&tokens)?, || parse(&tokens, part))?;
        Ok(Fragment { tokens, count })
    }

    /// How many items or keys it has.
    pub(crate) fn count(&self) -> usize {
        self.count
    }
}

/// How deep the syntax of a part may be; nothing for a text that is not SQL.
pub(crate) fn depth_of(text: &str) -> Depth {
    tokens_of(text).and_then(|tokens| depth_bound(&tokens)).unwrap_or_default()
}

/// A piece of a statement.
pub(crate) enum Piece<'a> {
    /// A text of ours, which has no place.
    Ours(&'a str),
    Part(&'a Fragment),
}

/// The statement that is put together of pieces.
///
/// # Errors
/// `Input` when it nests too deeply.
pub(crate) fn statement_of(pieces: &[Piece<'_>]) -> Result<Statement> {
    let mut all: Vec<TokenWithSpan> = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Part(part) => all.extend(part.tokens.iter().cloned()),
            Piece::Ours(text) => {
                let tokens = tokens_of(text)?.into_iter();
                all.extend(tokens.map(|token| TokenWithSpan::new(token.token, Span::empty())));
            }
        }
    }
    Statement::of_tokens(all)
}

fn parse(tokens: &[TokenWithSpan], part: Part) -> Result<usize> {
    let mut tokens = tokens.to_vec();
    let end = tokens.last().map_or(Location::empty(), |token| token.span.end);
    syntax::name_comparisons(&mut tokens);
    grouping_items::enclose(&mut tokens);
    name_stamps(&mut tokens);
    operators::cut_needless(&mut tokens);
    tokens.push(TokenWithSpan::at(Token::EOF, end, end));
    let builder =
        DFParserBuilder::new(tokens).with_dialect(&Ours).with_recursion_limit(NESTING_MAX);
    let mut parser = builder.build().map_err(|e| syntax_error(e, end))?;
    let count = parts(&mut parser, part);
    let count = count.map_err(|e| syntax_error(DataFusionError::SQL(Box::new(e), None), end))?;
    let next = parser.parser.peek_token_ref();
    if next.token != Token::EOF {
        let place = at(next.span.start.line, next.span.start.column);
        let message = format!("syntax error: Expected: the end of the text, found: {}", next.token);
        return Err(Error::input_at(message, place));
    }
    Ok(count)
}

fn parts(parser: &mut DFParser<'_>, part: Part) -> Result<usize, ParserError> {
    let parser: &mut Parser<'_> = &mut parser.parser;
    match part {
        Part::Items => Ok(parser.parse_projection()?.len()),
        Part::Columns => {
            let items = parser.parse_projection()?;
            let is_column = |item: &SelectItem| {
                matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. })
            };
            match items.iter().find(|item| !is_column(item)) {
                Some(other) => Err(ParserError::ParserError(format!("no place for {other}"))),
                None => Ok(items.len()),
            }
        }
        Part::Expression => parser.parse_expr().map(|_| 1),
        Part::Keys => Ok(parser.parse_comma_separated(Parser::parse_order_by_expr)?.len()),
    }
}
