//! Options of COPY and CREATE EXTERNAL TABLE as the parser wants them: `TO 'path' (…)`, also with
//! WITH before the parenthesis, becomes `TO 'path' OPTIONS (…)`; one without a value, `HEADER`, is
//! `HEADER true`; and `PARTITION_BY (a, b)` among those of COPY is PARTITIONED BY (a, b) behind
//! them.

use datafusion_sql::sqlparser::keywords::Keyword;
use datafusion_sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::syntax::is_word;

/// Writes out the options of a statement; leaves other statements.
pub(super) fn write_options(tokens: &mut Vec<TokenWithSpan>) {
    let is_copy = tokens.first().is_some_and(|token| is_word(token, Keyword::COPY));
    if is_copy {
        name_options(tokens);
    }
    let mut head = tokens.iter().take_while(|token| !is_word(token, Keyword::TABLE));
    let is_external = head.next().is_some_and(|token| is_word(token, Keyword::CREATE))
        && head.any(|token| is_word(token, Keyword::EXTERNAL));
    if (is_copy || is_external)
        && let Some((open, close)) = options(tokens)
    {
        fill(tokens, open, close, is_copy);
    }
}

fn name_options(tokens: &mut Vec<TokenWithSpan>) {
    let mut depth = 0usize;
    for at in 0..tokens.len() {
        match tokens[at].token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            _ => {}
        }
        let [to, Some(path), Some(next)] = [tokens.get(at), tokens.get(at + 1), tokens.get(at + 2)]
        else {
            return;
        };
        let ends = to.is_some_and(|to| is_word(to, Keyword::TO))
            && matches!(path.token, Token::SingleQuotedString(_));
        if depth > 0 || !ends {
            continue;
        }
        let options = TokenWithSpan::new(Token::make_keyword("OPTIONS"), next.span);
        let opens = |token: Option<&TokenWithSpan>| token.is_some_and(|t| t.token == Token::LParen);
        if opens(tokens.get(at + 2)) {
            tokens.insert(at + 2, options);
        } else if is_word(next, Keyword::WITH) && opens(tokens.get(at + 3)) {
            tokens[at + 2] = options;
        }
        return;
    }
}

/// The parentheses of the options.
fn options(tokens: &[TokenWithSpan]) -> Option<(usize, usize)> {
    let mut depth = 0usize;
    let mut open = None;
    for (at, token) in tokens.iter().enumerate() {
        match token.token {
            Token::LParen => {
                let is_named = at > 0 && is_word(&tokens[at - 1], Keyword::OPTIONS);
                if depth == 0 && is_named {
                    open = Some(at);
                }
                depth += 1;
            }
            Token::RParen => {
                depth = depth.saturating_sub(1);
                if let (0, Some(open)) = (depth, open) {
                    return Some((open, at));
                }
            }
            _ => {}
        }
    }
    None
}

/// Writes out what stands between the parentheses.
fn fill(tokens: &mut Vec<TokenWithSpan>, open: usize, close: usize, is_copy: bool) {
    let behind = tokens.split_off(close + 1);
    let Some(end) = tokens.pop() else { return };
    let entries = parted(&tokens.split_off(open + 1));
    let (partitions, entries): (Vec<_>, Vec<_>) =
        entries.into_iter().partition(|entry| is_copy && columns_of(entry).is_some());
    let written = |token: Token| TokenWithSpan::new(token, end.span);
    for (at, mut entry) in entries.iter().cloned().enumerate() {
        if let [TokenWithSpan { token: Token::Word(word), .. }] = &entry[..]
            && word.keyword != Keyword::FORMAT
        {
            entry.push(written(Token::make_keyword("TRUE")));
        }
        if at > 0 {
            tokens.push(written(Token::Comma));
        }
        tokens.append(&mut entry);
    }
    if entries.is_empty() && !partitions.is_empty() {
        // The parser refuses OPTIONS without any.
        tokens.truncate(open - 1);
    } else {
        tokens.push(end.clone());
    }
    for columns in partitions.iter().filter_map(|entry| columns_of(entry)) {
        let words = ["PARTITIONED", "BY"].map(|word| written(Token::make_keyword(word)));
        tokens.extend(words);
        tokens.push(written(Token::LParen));
        tokens.extend(columns.iter().cloned());
        tokens.push(written(Token::RParen));
    }
    tokens.extend(behind);
}

/// What commas part, but not those in parentheses.
fn parted(tokens: &[TokenWithSpan]) -> Vec<Vec<TokenWithSpan>> {
    let mut depth = 0usize;
    let mut is_comma = |token: &TokenWithSpan| {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && token.token == Token::Comma
    };
    tokens.split(|token| is_comma(token)).map(<[TokenWithSpan]>::to_vec).collect()
}

/// The columns behind PARTITION_BY, if that is what an option is.
fn columns_of(entry: &[TokenWithSpan]) -> Option<&[TokenWithSpan]> {
    let [TokenWithSpan { token: Token::Word(word), .. }, columns @ ..] = entry else { return None };
    if !["partition_by", "partitioned_by"].iter().any(|n| word.value.eq_ignore_ascii_case(n)) {
        return None;
    }
    match columns {
        [open, columns @ .., close]
            if open.token == Token::LParen && close.token == Token::RParen =>
        {
            Some(columns)
        }
        [TokenWithSpan { token: Token::Word(_), .. }] => Some(columns),
        _ => None,
    }
}
