//! Texts that a line ends between, which are one: `'a'` above `'b'` is `'ab'`, as in the standard.

use datafusion_sql::sqlparser::keywords::Keyword;
use datafusion_sql::sqlparser::tokenizer::{Token, TokenWithSpan, Whitespace};

use super::syntax::is_word;

/// Makes one text of its parts, but not of a name and a value: `OPTIONS ('header' 'true')`. The
/// spaces of the text are still among the tokens.
pub(super) fn join_texts(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut joined: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut options = Options::default();
    for token in tokens {
        options.step(&token);
        match (first_part(&joined), &token.token) {
            (Some(first), Token::SingleQuotedString(more)) if !options.is_inside() => {
                joined.truncate(first + 1);
                let first = &mut joined[first];
                if let Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) =
                    &mut first.token
                {
                    text.push_str(more);
                }
                first.span = first.span.union(&token.span);
            }
            _ => joined.push(token),
        }
    }
    joined
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
            Token::SingleQuotedString(_) | Token::EscapedStringLiteral(_) => {
                return ends_line.then_some(at);
            }
            _ => return None,
        }
    }
    None
}

/// Whether OPTIONS (…) is around.
#[derive(Default)]
struct Options {
    is_named: bool,
    depth: usize,
}

impl Options {
    fn step(&mut self, token: &TokenWithSpan) {
        match &token.token {
            Token::Whitespace(_) => return,
            Token::LParen if self.is_named || self.is_inside() => self.depth += 1,
            Token::RParen => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        self.is_named = is_word(token, Keyword::OPTIONS);
    }

    fn is_inside(&self) -> bool {
        self.depth > 0
    }
}
