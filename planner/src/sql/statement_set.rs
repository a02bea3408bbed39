//! `EXECUTE STATEMENT SET BEGIN statement; … END`: where it begins and ends among the tokens. The
//! borrowed parser does not know it.

use datafusion_sql::sqlparser::tokenizer::{Token, TokenWithSpan};
use gristmill_engine::{Error, Result};

use super::diagnose::at;
use super::explain::{cut_explain, unexpected};

/// What a set begins with, before BEGIN.
const HEAD: [&str; 3] = ["EXECUTE", "STATEMENT", "SET"];

/// How many tokens stand before the first statement of the set that begins here; `None` when none
/// does. EXPLAIN may stand in front.
///
/// # Errors
/// `Input` with its place when something else than BEGIN comes next.
pub(super) fn begins_set(tokens: &[TokenWithSpan]) -> Result<Option<usize>> {
    if !["EXPLAIN", "EXECUTE"].iter().any(|word| is_word(tokens.first(), word)) {
        return Ok(None);
    }
    let mut rest = tokens.to_vec();
    cut_explain(&mut rest)?;
    if !HEAD.iter().enumerate().all(|(at, word)| is_word(rest.get(at), word)) {
        return Ok(None);
    }
    let begin = rest.get(HEAD.len());
    if is_word(begin, "BEGIN") {
        return Ok(Some(tokens.len() - rest.len() + HEAD.len() + 1));
    }
    Err(match (begin, tokens.last()) {
        (None, Some(last)) => {
            let place = at(last.span.end.line, last.span.end.column);
            Error::input_at("syntax error: Expected: BEGIN, found: EOF", place)
        }
        _ => unexpected(begin, "BEGIN"),
    })
}

/// Whether this is the END of a set.
pub(super) fn ends_set(tokens: &[TokenWithSpan]) -> bool {
    tokens.len() == 1 && is_word(tokens.first(), "END")
}

fn is_word(token: Option<&TokenWithSpan>, word: &str) -> bool {
    matches!(token.map(|t| &t.token), Some(Token::Word(found))
        if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word))
}
