//! `STRUCT(a INT, b VARCHAR)` as the type that it is: the parser knows one as `STRUCT<…>`, and
//! takes the parentheses for those of a call. A type stands behind `::` and the AS of a cast, as
//! that of a column in CREATE TABLE, and in other types.

use datafusion_sql::sqlparser::keywords::Keyword;
use datafusion_sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::syntax::is_word;

/// What parentheses are around.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Around {
    /// Members with their types.
    Members,
    /// The types of keys and values.
    KeyAndValue,
    Other,
}

/// Writes the types of structures as the parser knows them.
pub(super) fn name_structures(tokens: &mut [TokenWithSpan]) {
    let is_structure = |token: &TokenWithSpan| is_word(token, Keyword::STRUCT);
    if !tokens.iter().any(is_structure) {
        return;
    }
    let mut has_columns = tokens.first().is_some_and(|token| is_word(token, Keyword::CREATE));
    let mut open: Vec<Around> = Vec::new();
    for at in 0..tokens.len() {
        match tokens[at].token {
            Token::LParen => {
                let around = around(tokens, at, &open, has_columns);
                if around == Around::Members {
                    tokens[at].token = Token::Lt;
                }
                open.push(around);
            }
            Token::RParen if open.pop() == Some(Around::Members) => tokens[at].token = Token::Gt,
            // What follows is a query.
            _ if open.is_empty() && is_word(&tokens[at], Keyword::AS) => has_columns = false,
            _ => {}
        }
    }
}

/// What the parenthesis at a place opens.
fn around(tokens: &[TokenWithSpan], at: usize, open: &[Around], has_columns: bool) -> Around {
    let [Some(before), Some(name)] =
        [2, 1].map(|back| at.checked_sub(back).and_then(|at| tokens.get(at)))
    else {
        return Around::Other;
    };
    let is_named = matches!(before.token, Token::Word(_));
    let is_type = before.token == Token::DoubleColon
        || is_word(before, Keyword::AS)
        || match open.last() {
            Some(Around::Members) => is_named,
            Some(Around::KeyAndValue) => true,
            _ => has_columns && open.len() == 1 && is_named,
        };
    let is_member = |token: Option<&TokenWithSpan>| {
        token.is_some_and(|token| matches!(token.token, Token::Word(_)))
    };
    if is_type && is_word(name, Keyword::MAP) {
        Around::KeyAndValue
    } else if is_type
        && is_word(name, Keyword::STRUCT)
        && [1, 2].iter().all(|next| is_member(tokens.get(at + next)))
    {
        Around::Members
    } else {
        Around::Other
    }
}
