//! Numbers with underscores between their digits, `1_000.000_1`: the tokenizer ends a number at the
//! first one and takes the rest for a name. And `0x1F`, which it takes for the bytes `X'1F'`.

use datafusion_sql::sqlparser::tokenizer::{Token, TokenWithSpan};

/// Makes one number of its parts. The spaces of the text are still among the tokens: parts are what
/// no space is between.
pub(super) fn join_digits(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut joined: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    // Whether the last number has an underscore, so that what follows may be more of it.
    let mut is_parted = false;
    for mut token in tokens {
        if let Some(number) = number_of_hex(&token) {
            token.token = Token::Number(number, false);
        }
        let more = match (&token.token, joined.last().map(|last| &last.token)) {
            (Token::Word(word), Some(Token::Number(_, false)))
                if word.quote_style.is_none() && are_digits(&word.value) =>
            {
                Some(word.value.replace('_', ""))
            }
            (Token::Number(digits, false), Some(Token::Number(before, false)))
                if is_parted && digits.starts_with('.') && !before.contains(['.', 'e', 'E']) =>
            {
                Some(digits.clone())
            }
            _ => None,
        };
        is_parted = more.is_some();
        match (more, joined.last_mut()) {
            (Some(more), Some(last)) => {
                if let Token::Number(digits, _) = &mut last.token {
                    digits.push_str(&more);
                }
                last.span = last.span.union(&token.span);
            }
            _ => joined.push(token),
        }
    }
    joined
}

/// The digits of a number that is written as `0x1F`.
fn number_of_hex(token: &TokenWithSpan) -> Option<String> {
    let Token::HexStringLiteral(digits) = &token.token else { return None };
    let written = token.span.end.column.saturating_sub(token.span.start.column);
    // Bytes have two quotes and an X around them.
    let is_number = written == digits.len() as u64 + 2;
    is_number.then(|| u128::from_str_radix(digits, 16).ok()).flatten().map(|n| n.to_string())
}

/// Whether a word goes on with a number: an underscore before every group of digits, and perhaps an
/// exponent.
fn are_digits(word: &str) -> bool {
    let Some(rest) = word.strip_prefix('_') else { return false };
    let (digits, exponent) = match rest.split_once(['e', 'E']) {
        Some((digits, exponent)) => (digits, Some(exponent)),
        None => (rest, None),
    };
    let is_group = |group: &str| !group.is_empty() && group.bytes().all(|b| b.is_ascii_digit());
    let are_groups = |digits: &str| digits.split('_').all(is_group);
    are_groups(digits) && exponent.is_none_or(are_groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_digits_are_told_from_names() {
        assert!(are_digits("_000") && are_digits("_0_12") && are_digits("_0e5"));
        for name in ["_", "_a", "_1_", "_1__2", "000", "_1e", "_1x"] {
            assert!(!are_digits(name), "{name}");
        }
    }
}
