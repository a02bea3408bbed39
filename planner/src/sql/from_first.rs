//! Queries that begin with FROM: `FROM t WHERE a > 1` means `SELECT * FROM t WHERE a > 1`. The
//! parser takes no more than LIMIT and pipes behind such a FROM, unless a SELECT follows it.

use datafusion_sql::sqlparser::keywords::Keyword;
use datafusion_sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::syntax::is_word;

/// Functions whose first argument may stand behind a FROM.
const CALLS: [Keyword; 5] =
    [Keyword::TRIM, Keyword::EXTRACT, Keyword::SUBSTRING, Keyword::OVERLAY, Keyword::POSITION];

/// Writes the SELECT of queries that have none.
pub(super) fn write_selects(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 0;
    while at < tokens.len() {
        if is_word(&tokens[at], Keyword::FROM) && begins_query(tokens, at) && !selects(tokens, at) {
            let span = tokens[at].span;
            let written = [Token::make_keyword("SELECT"), Token::Mul];
            tokens.splice(at..at, written.map(|token| TokenWithSpan::new(token, span)));
            at += 2;
        }
        at += 1;
    }
}

/// Whether a query may begin at a FROM.
fn begins_query(tokens: &[TokenWithSpan], at: usize) -> bool {
    let Some(before) = at.checked_sub(1).map(|before| &tokens[before]) else { return true };
    let set = [Keyword::UNION, Keyword::ALL, Keyword::EXCEPT, Keyword::INTERSECT, Keyword::AS];
    match &before.token {
        Token::LParen => {
            let call = at.checked_sub(2).map(|call| &tokens[call]);
            !call.is_some_and(|call| CALLS.iter().any(|&name| is_word(call, name)))
        }
        // Behind the queries of a WITH.
        Token::RParen => is_behind_with(tokens, at),
        _ => set.iter().any(|&word| is_word(before, word)),
    }
}

/// Whether all that stands before a place, in its parentheses, is a WITH and its queries.
fn is_behind_with(tokens: &[TokenWithSpan], at: usize) -> bool {
    let mut depth = 0usize;
    let mut found = false;
    for token in tokens[..at].iter().rev() {
        match &token.token {
            Token::RParen => depth += 1,
            Token::LParen if depth == 0 => break,
            Token::LParen => depth -= 1,
            _ if depth == 0 && is_word(token, Keyword::SELECT) => return false,
            _ => found |= depth == 0 && is_word(token, Keyword::WITH),
        }
    }
    found
}

/// Whether a SELECT follows a FROM, before its query ends.
fn selects(tokens: &[TokenWithSpan], at: usize) -> bool {
    let ends = [Keyword::UNION, Keyword::EXCEPT, Keyword::INTERSECT];
    let mut depth = 0usize;
    for token in &tokens[at + 1..] {
        match &token.token {
            Token::LParen => depth += 1,
            Token::RParen if depth == 0 => return false,
            Token::RParen => depth -= 1,
            Token::VerticalBarRightAngleBracket if depth == 0 => return false,
            _ if depth > 0 => {}
            _ if is_word(token, Keyword::SELECT) => return true,
            _ if ends.iter().any(|&word| is_word(token, word)) => return false,
            _ => {}
        }
    }
    false
}
