//! Texts that a line ends between, which are one: `'a'` above `'b'` is `'ab'`, as in the standard.

use datafusion_sql::sqlparser::keywords::Keyword;
use datafusion_sql::sqlparser::tokenizer::{Token, TokenWithSpan, Whitespace};
use gristmill_engine::{Error, Result};

use super::diagnose::at;
use super::syntax::is_word;

/// Makes one text of its parts, but not of a name and a value: `OPTIONS ('header' 'true')`. The
/// spaces of the text are still among the tokens.
///
/// # Errors
/// `Input` where a text of another kind, `E'…'`, would go on so.
pub(super) fn join_texts(tokens: Vec<TokenWithSpan>) -> Result<Vec<TokenWithSpan>> {
    let mut joined: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut options = Options::default();
    for token in tokens {
        options.step(&token);
        let Token::SingleQuotedString(more) = &token.token else {
            joined.push(token);
            continue;
        };
        let Some(first) = first_part(&joined).filter(|_| !options.is_inside()) else {
            joined.push(token);
            continue;
        };
        let Token::SingleQuotedString(text) = &mut joined[first].token else {
            let start = token.span.start;
            let message = "the text above does not go on in another line; write it in one";
            return Err(Error::input_at(message, at(start.line, start.column)));
        };
        text.push_str(more);
        joined[first].span = joined[first].span.union(&token.span);
        joined.truncate(first + 1);
    }
    Ok(joined)
}

/// The text that the next one would be more of: spaces with the end of a line are between.
fn first_part(tokens: &[TokenWithSpan]) -> Option<usize> {
    let mut ends_line = false;
    for (at, token) in tokens.iter().enumerate().rev() {
        match &token.token {
            Token::Whitespace(Whitespace::Newline | Whitespace::SingleLineComment { .. }) => {
                ends_line = true;
            }
            Token::Whitespace(Whitespace::Space | Whitespace::Tab) => {}
            Token::SingleQuotedString(_)
            | Token::EscapedStringLiteral(_)
            | Token::HexStringLiteral(_) => return ends_line.then_some(at),
            _ => return None,
        }
    }
    None
}

/// Whether options are around: `OPTIONS (…)`, or the parentheses behind the path of a COPY.
#[derive(Default)]
struct Options {
    may_begin: bool,
    depth: usize,
}

impl Options {
    fn step(&mut self, token: &TokenWithSpan) {
        match &token.token {
            Token::Whitespace(_) => return,
            Token::LParen if self.may_begin || self.is_inside() => self.depth += 1,
            Token::RParen => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        self.may_begin = is_word(token, Keyword::OPTIONS)
            || is_word(token, Keyword::WITH)
            || matches!(token.token, Token::SingleQuotedString(_));
    }

    fn is_inside(&self) -> bool {
        self.depth > 0
    }
}
