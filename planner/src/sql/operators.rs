//! Operators and words that the parser does not know.
//!
//! * `a ** b` and `a ^ b` are powers, whose operands bind more than those of products and less than
//!   a sign: `-2 ** 2` is 4, and `2 ** 3 ** 2` is 64.
//! * `a GLOB pattern` and `a NOT GLOB pattern`: the whole text has to fit the pattern (see
//!   `functions/regexp/glob`).
//! * `a SIMILAR TO pattern`: the whole text has to fit the regular expression.
//! * `a ISNULL` and `a NOTNULL` are `a IS NULL` and `a IS NOT NULL`.
//! * `text ^@ begin` is starts_with(), and `~~`, `~~*`, `!~~` and `!~~*` are LIKE, ILIKE and NOT of
//!   these.
//! * `WITH x AS [NOT] MATERIALIZED (query)` means what it means without the word, and so does
//!   `trim(BOTH FROM text)` without FROM.

use datafusion_sql::sqlparser::ast::{BinaryOperator, Expr, UnaryOperator, Value};
use datafusion_sql::sqlparser::dialect::{Dialect, Precedence};
use datafusion_sql::sqlparser::keywords::{Keyword, RESERVED_FOR_COLUMN_ALIAS};
use datafusion_sql::sqlparser::parser::{Parser, ParserError};
use datafusion_sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::dialect::Ours;
use super::syntax::{binary, call, is_distinction, is_word, nested, text, written};
use crate::functions::{GLOB_REGEX, regex_of};

/// Between products and AT TIME ZONE.
const POWER: u8 = 41;

const GLOB: &str = "GLOB";
const POWERS: [&str; 2] = ["**", "^"];
const FULL_MATCH: &str = "regexp_full_match";

/// How much AT TIME ZONE binds.
pub(super) const AT_TIME_ZONE: u8 = POWER + 1;

/// Takes words out that say nothing: see the module documentation.
pub(super) fn cut_needless(tokens: &mut Vec<TokenWithSpan>) {
    cut_materialized(tokens);
    cut_from_of_trim(tokens);
}

/// Takes FROM out of `trim([BOTH | LEADING | TRAILING] FROM text)`.
fn cut_from_of_trim(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 0;
    while at < tokens.len() {
        let is = |offset: usize, word| tokens.get(at + offset).is_some_and(|t| is_word(t, word));
        let opens = tokens.get(at + 1).is_some_and(|t| t.token == Token::LParen);
        if is(0, Keyword::TRIM) && opens {
            let sides = [Keyword::BOTH, Keyword::LEADING, Keyword::TRAILING];
            let side = usize::from(sides.into_iter().any(|side| is(2, side)));
            if is(2 + side, Keyword::FROM) {
                tokens.remove(at + 2 + side);
            }
        }
        at += 1;
    }
}

/// Takes the words out of `AS [NOT] MATERIALIZED (`.
fn cut_materialized(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 0;
    while at < tokens.len() {
        let is = |offset: usize, word| tokens.get(at + offset).is_some_and(|t| is_word(t, word));
        let words = 1 + usize::from(is(1, Keyword::NOT));
        let opens = tokens.get(at + words + 1).is_some_and(|t| t.token == Token::LParen);
        if is(0, Keyword::AS) && is(words, Keyword::MATERIALIZED) && opens {
            tokens.drain(at + 1..=at + words);
        }
        at += 1;
    }
}

/// An operator of ours.
#[derive(Clone, Copy)]
enum Found {
    /// As it is written.
    Power(&'static str),
    Glob {
        negated: bool,
    },
    /// `ISNULL`, or `NOTNULL`.
    Null {
        negated: bool,
    },
}

fn found(parser: &Parser) -> Option<Found> {
    let token = |at| parser.peek_nth_token_ref(at);
    match &token(0).token {
        Token::Caret => Some(Found::Power("^")),
        Token::Mul if token(1).token == Token::Mul => {
            (token(0).span.end == token(1).span.start).then_some(Found::Power("**"))
        }
        Token::Word(word) if word.quote_style.is_none() && null_word(&word.value).is_some() => {
            null_word(&word.value).map(|negated| Found::Null { negated })
        }
        Token::Word(word) => {
            let negated = word.keyword == Keyword::NOT;
            let at = usize::from(negated);
            let is_glob = matches!(&token(at).token, Token::Word(word)
                if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(GLOB));
            // It may be the name of a column, too.
            let has_pattern = match &token(at + 1).token {
                Token::SingleQuotedString(_) | Token::Placeholder(_) | Token::LParen => true,
                // Behind a column of that name stands what may follow a column.
                Token::Word(word) => {
                    word.quote_style.is_some() || !RESERVED_FOR_COLUMN_ALIAS.contains(&word.keyword)
                }
                _ => false,
            };
            (is_glob && has_pattern).then_some(Found::Glob { negated })
        }
        _ => None,
    }
}

/// Whether a word is `NOTNULL`, or `ISNULL`; `None` for any other.
fn null_word(word: &str) -> Option<bool> {
    let is = |known: &str| word.eq_ignore_ascii_case(known);
    (is("ISNULL") || is("NOTNULL")).then(|| is("NOTNULL"))
}

/// How much the operator that comes next binds, if it is one of ours, or one that the parser ranks
/// below its like.
pub(super) fn precedence(parser: &Parser) -> Option<u8> {
    match &parser.peek_token_ref().token {
        Token::CustomBinaryOperator(name) if is_distinction(name) => {
            return Some(Ours.prec_value(Precedence::Is));
        }
        Token::DoubleTilde
        | Token::DoubleTildeAsterisk
        | Token::ExclamationMarkDoubleTilde
        | Token::ExclamationMarkDoubleTildeAsterisk => {
            return Some(Ours.prec_value(Precedence::Like));
        }
        _ => {}
    }
    Some(match found(parser)? {
        Found::Power(_) => POWER,
        Found::Glob { .. } => Ours.prec_value(Precedence::Like),
        Found::Null { .. } => Ours.prec_value(Precedence::Is),
    })
}

/// A sign before an operand, which binds more than a power does.
pub(super) fn signed(parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
    let op = match parser.peek_token_ref().token {
        Token::Minus => UnaryOperator::Minus,
        Token::Plus => UnaryOperator::Plus,
        _ => return None,
    };
    parser.advance_token();
    Some(parser.parse_subexpr(POWER).map(|expr| Expr::UnaryOp { op, expr: Box::new(expr) }))
}

/// The operation whose operator comes next, if it is one of ours.
pub(super) fn operation(parser: &mut Parser, left: &Expr) -> Option<Result<Expr, ParserError>> {
    let found = found(parser)?;
    let (name, tokens) = match found {
        Found::Power(name) => (name, name.len()),
        Found::Glob { negated } => (GLOB, 1 + usize::from(negated)),
        Found::Null { negated } => {
            parser.advance_token();
            let left = Box::new(left.clone());
            return Some(Ok(if negated { Expr::IsNotNull(left) } else { Expr::IsNull(left) }));
        }
    };
    let precedence = precedence(parser)?;
    (0..tokens).for_each(|_| parser.advance_token());
    Some(parser.parse_subexpr(precedence).map(|right| {
        let operation = binary(left.clone(), BinaryOperator::Custom(name.to_string()), right);
        match found {
            Found::Glob { negated: true } => {
                Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(nested(operation)) }
            }
            _ => operation,
        }
    }))
}

/// Writes such operations as calls.
pub(super) fn write_out(expr: &mut Expr) {
    let take = |e: &mut Expr| std::mem::replace(e, Expr::value(Value::Null));
    if let Some(matched) = like(expr) {
        *expr = matched;
        return;
    }
    match expr {
        Expr::BinaryOp { left, op: BinaryOperator::PGStartsWith, right } => {
            *expr = call("starts_with", vec![take(left), take(right)]);
        }
        Expr::BinaryOp { left, op: BinaryOperator::Custom(name), right } => {
            if POWERS.contains(&name.as_str()) {
                *expr = call("power", vec![take(left), take(right)]);
            } else if name == GLOB {
                let pattern = match written(right) {
                    Some(pattern) => text(&regex_of(pattern)),
                    None => call(GLOB_REGEX, vec![take(right)]),
                };
                *expr = call(FULL_MATCH, vec![take(left), pattern]);
            }
        }
        Expr::SimilarTo { negated, expr: of, pattern, escape_char: None } => {
            let matched = call(FULL_MATCH, vec![take(of), take(pattern)]);
            *expr = match negated {
                true => Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(matched) },
                false => matched,
            };
        }
        _ => {}
    }
}

/// What `~~` and operators like it stand for.
fn like(expr: &Expr) -> Option<Expr> {
    let Expr::BinaryOp { left, op, right } = expr else { return None };
    let (negated, any, escape_char) = match op {
        BinaryOperator::PGLikeMatch | BinaryOperator::PGILikeMatch => (false, false, None),
        BinaryOperator::PGNotLikeMatch | BinaryOperator::PGNotILikeMatch => (true, false, None),
        _ => return None,
    };
    let (expr, pattern) = (left.clone(), right.clone());
    Some(match op {
        BinaryOperator::PGLikeMatch | BinaryOperator::PGNotLikeMatch => {
            Expr::Like { negated, any, expr, pattern, escape_char }
        }
        _ => Expr::ILike { negated, any, expr, pattern, escape_char },
    })
}
