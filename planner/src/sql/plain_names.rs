//! Words that other systems begin clauses with, and that are names like any here:
//! `SELECT a AS top`.

use datafusion_sql::sqlparser::keywords::Keyword;
use datafusion_sql::sqlparser::tokenizer::{Token, TokenWithSpan};

/// The token, which is no keyword if it is one of these words.
pub(super) fn without_keyword(mut token: TokenWithSpan) -> TokenWithSpan {
    if let Token::Word(word) = &mut token.token
        && matches!(
            word.keyword,
            Keyword::TOP
                | Keyword::PREWHERE
                | Keyword::SETTINGS
                | Keyword::GLOBAL
                | Keyword::CLUSTER
                | Keyword::DISTRIBUTE
                | Keyword::SORT
                | Keyword::START
                | Keyword::CONNECT
        )
    {
        word.keyword = Keyword::NoKeyword;
    }
    token
}
