//! Queries that begin with FROM: `FROM t WHERE a > 1` means `SELECT * FROM t WHERE a > 1`, and
//! `FROM t SELECT a WHERE a > 1` means `SELECT a FROM t WHERE a > 1`. The parser knows neither in
//! expressions and behind INSERT, and takes no more than LIMIT and pipes behind the former.

use datafusion_sql::sqlparser::keywords::Keyword;
use datafusion_sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::syntax::is_word;

/// Functions whose first argument may stand behind a FROM.
const CALLS: [Keyword; 5] =
    [Keyword::TRIM, Keyword::EXTRACT, Keyword::SUBSTRING, Keyword::OVERLAY, Keyword::POSITION];

/// Words that queries begin with.
const QUERIES: [Keyword; 4] = [Keyword::SELECT, Keyword::FROM, Keyword::VALUES, Keyword::WITH];

/// Writes the SELECT of queries that begin with FROM in front.
pub(super) fn write_selects(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 0;
    while at < tokens.len() {
        if is_word(&tokens[at], Keyword::FROM) && begins_query(tokens, at) {
            match select_of(tokens, at) {
                Some(select) => {
                    let list = list_end(tokens, select) - select;
                    tokens[at..select + list].rotate_right(list);
                }
                None => {
                    let span = tokens[at].span;
                    let written = [Token::make_keyword("SELECT"), Token::Mul];
                    let written = written.map(|token| TokenWithSpan::new(token, span));
                    tokens.splice(at..at, written);
                    at += 2;
                }
            }
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
        _ if is_behind_insert(&tokens[..at]) => true,
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

/// Whether tokens are an INSERT with the name of its table, and perhaps those of columns.
fn is_behind_insert(tokens: &[TokenWithSpan]) -> bool {
    let begins = |token: &TokenWithSpan| QUERIES.iter().any(|&word| is_word(token, word));
    tokens.first().is_some_and(|first| is_word(first, Keyword::INSERT))
        && !tokens.iter().any(begins)
}

/// Where the SELECT is that follows a FROM, before its query ends.
fn select_of(tokens: &[TokenWithSpan], from: usize) -> Option<usize> {
    let at = end_of(tokens, from + 1, |tokens, at| {
        is_word(&tokens[at], Keyword::SELECT) || is_set(tokens, at)
    });
    tokens.get(at).filter(|token| is_word(token, Keyword::SELECT)).map(|_| at)
}

/// Where the list of a SELECT ends.
fn list_end(tokens: &[TokenWithSpan], select: usize) -> usize {
    const CLAUSES: [Keyword; 8] = [
        Keyword::WHERE,
        Keyword::HAVING,
        Keyword::QUALIFY,
        Keyword::WINDOW,
        Keyword::ORDER,
        Keyword::LIMIT,
        Keyword::OFFSET,
        Keyword::FETCH,
    ];
    end_of(tokens, select + 1, |tokens, at| {
        // A column of that name.
        let is_name = match &tokens[at - 1].token {
            Token::Comma | Token::Period => true,
            _ => at == select + 1,
        };
        let is_next = |word| tokens.get(at + 1).is_some_and(|next| is_word(next, word));
        // WITHIN GROUP is of the list.
        let is_group = is_word(&tokens[at], Keyword::GROUP) && is_next(Keyword::BY);
        let is_clause = CLAUSES.iter().any(|&word| is_word(&tokens[at], word));
        is_group || is_set(tokens, at) || (is_clause && !is_name)
    })
}

/// Whether a word puts two queries together. EXCEPT behind a `*` leaves out columns, unless a query
/// follows.
fn is_set(tokens: &[TokenWithSpan], at: usize) -> bool {
    if is_word(&tokens[at], Keyword::UNION) || is_word(&tokens[at], Keyword::INTERSECT) {
        return true;
    }
    let is_behind_all = at.checked_sub(1).is_some_and(|before| tokens[before].token == Token::Mul);
    let has_query = match tokens.get(at + 1).map(|next| &next.token) {
        Some(Token::LParen) => {
            tokens.get(at + 2).is_some_and(|first| QUERIES.iter().any(|&word| is_word(first, word)))
        }
        _ => true,
    };
    is_word(&tokens[at], Keyword::EXCEPT) && (has_query || !is_behind_all)
}

/// The first place from `start` on that is an end, or where the parentheses or pipes around it do.
fn end_of(
    tokens: &[TokenWithSpan],
    start: usize,
    is_end: impl Fn(&[TokenWithSpan], usize) -> bool,
) -> usize {
    let mut depth = 0usize;
    for at in start..tokens.len() {
        match &tokens[at].token {
            Token::LParen | Token::LBracket | Token::LBrace => depth += 1,
            Token::RParen | Token::RBracket | Token::RBrace if depth == 0 => return at,
            Token::RParen | Token::RBracket | Token::RBrace => depth -= 1,
            Token::VerticalBarRightAngleBracket if depth == 0 => return at,
            _ if depth == 0 && is_end(tokens, at) => return at,
            _ => {}
        }
    }
    tokens.len()
}
