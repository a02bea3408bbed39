//! EXPLAIN in front of a statement, cut off its tokens.
//!
//! `EXPLAIN [ANALYZE] [VERBOSE] [FORMAT format] statement`, or with its words in parentheses:
//! `EXPLAIN (ANALYZE, FORMAT json) statement`. The borrowed parser knows other formats than ours.

use datafusion_sql::sqlparser::keywords::Keyword;
use datafusion_sql::sqlparser::tokenizer::{Token, TokenWithSpan};
use gristmill_engine::{Error, Result};

use super::diagnose::{at, nearest};

/// What EXPLAIN asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Explain {
    /// Run the statement, and say what was measured.
    pub(crate) analyze: bool,
    /// The plan as JSON.
    pub(crate) json: bool,
}

/// Formats by name, and whether they are JSON.
const FORMATS: [(&str, bool); 4] =
    [("text", false), ("json", true), ("indent", false), ("tree", false)];

/// Takes EXPLAIN and its words off the front of a statement.
///
/// # Errors
/// `Input` with its place for a format or a word that there is not.
pub(super) fn cut_explain(tokens: &mut Vec<TokenWithSpan>) -> Result<Option<Explain>> {
    if keyword(tokens.first()) != Some(Keyword::EXPLAIN) {
        return Ok(None);
    }
    let mut explain = Explain::default();
    let mut end = 1;
    if tokens.get(1).is_some_and(|t| t.token == Token::LParen) && !begins_query(tokens.get(2)) {
        end = options(tokens, &mut explain)?;
    } else {
        loop {
            match keyword(tokens.get(end)) {
                Some(Keyword::ANALYZE) => explain.analyze = true,
                Some(Keyword::VERBOSE) => {}
                Some(Keyword::FORMAT) => {
                    end += 1;
                    explain.json = format(tokens.get(end))?;
                }
                _ => break,
            }
            end += 1;
        }
    }
    tokens.drain(..end.min(tokens.len()));
    Ok(Some(explain))
}

/// Reads `(word [value], …)`; where it ends.
fn options(tokens: &[TokenWithSpan], explain: &mut Explain) -> Result<usize> {
    let mut at_token = 2;
    loop {
        let word = tokens.get(at_token);
        at_token += 1;
        match keyword(word) {
            Some(Keyword::ANALYZE) => {
                explain.analyze = switch(tokens.get(at_token), &mut at_token);
            }
            Some(Keyword::VERBOSE) => {
                switch(tokens.get(at_token), &mut at_token);
            }
            Some(Keyword::FORMAT) => {
                explain.json = format(tokens.get(at_token))?;
                at_token += 1;
            }
            _ => return Err(unexpected(word, "ANALYZE, VERBOSE or FORMAT")),
        }
        match tokens.get(at_token).map(|t| &t.token) {
            Some(Token::Comma) => at_token += 1,
            Some(Token::RParen) => return Ok(at_token + 1),
            _ => return Err(unexpected(tokens.get(at_token), "`,` or `)`")),
        }
    }
}

/// A Boolean, which may be left out when it is true.
fn switch(token: Option<&TokenWithSpan>, at_token: &mut usize) -> bool {
    let word = token.map(|t| t.token.to_string().to_lowercase()).unwrap_or_default();
    let given = ["true", "on", "1", "false", "off", "0"].iter().position(|&w| w == word);
    *at_token += usize::from(given.is_some());
    given.is_none_or(|at| at < 3)
}

fn format(token: Option<&TokenWithSpan>) -> Result<bool> {
    let name = match token.map(|t| &t.token) {
        Some(Token::Word(word)) => word.value.to_lowercase(),
        Some(Token::SingleQuotedString(text)) => text.to_lowercase(),
        _ => return Err(unexpected(token, "TEXT or JSON")),
    };
    if let Some((_, json)) = FORMATS.iter().find(|(format, _)| *format == name) {
        return Ok(*json);
    }
    let hint = match nearest(&name, FORMATS.map(|(format, _)| format)) {
        Some(near) => format!("did you mean {}?", near.to_uppercase()),
        None => "use TEXT or JSON".to_string(),
    };
    let place = token.map(|t| at(t.span.start.line, t.span.start.column)).unwrap_or_default();
    Err(Error::input_at(format!("EXPLAIN has no format {name}; {hint}"), place))
}

pub(super) fn unexpected(token: Option<&TokenWithSpan>, expected: &str) -> Error {
    match token {
        Some(found) => {
            let place = at(found.span.start.line, found.span.start.column);
            let message = format!("syntax error: Expected: {expected}, found: {}", found.token);
            Error::input_at(message, place)
        }
        None => Error::input(format!("syntax error: Expected: {expected}, found: EOF")),
    }
}

fn keyword(token: Option<&TokenWithSpan>) -> Option<Keyword> {
    match &token?.token {
        Token::Word(word) => Some(word.keyword),
        _ => None,
    }
}

/// Whether a parenthesis before this token is a query's.
fn begins_query(token: Option<&TokenWithSpan>) -> bool {
    use Keyword::{FROM, SELECT, TABLE, VALUES, WITH};
    let is_paren = token.is_some_and(|t| t.token == Token::LParen);
    is_paren || matches!(keyword(token), Some(SELECT | WITH | VALUES | FROM | TABLE))
}
