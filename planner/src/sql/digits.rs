//! Numbers with underscores between their digits, `1_000.000_1`, and those of other bases, `0x1F`,
//! `0o17`, `0b1010`: the tokenizer ends a number at the first letter or underscore and takes the
//! rest for a name, or all of it for the bytes `X'1F'`.

use datafusion_sql::sqlparser::keywords::Keyword;
use datafusion_sql::sqlparser::tokenizer::{Token, TokenWithSpan};
use gristmill_engine::{Error, Result};

use super::diagnose::at;

/// Makes one number of its parts. The spaces of the text are still among the tokens: parts are what
/// no space is between.
///
/// # Errors
/// `Input` where a name begins right behind a number.
pub(super) fn join_digits(tokens: Vec<TokenWithSpan>) -> Result<Vec<TokenWithSpan>> {
    let mut joined: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    for mut token in tokens {
        if let Some(number) = number_of_hex(&token) {
            token.token = Token::Number(number, false);
        }
        match joined.last_mut() {
            Some(last) if goes_on(&last.token, &token.token) => {
                if let Token::Number(written, _) = &mut last.token {
                    written.push_str(&token.token.to_string());
                }
                last.span = last.span.union(&token.span);
            }
            _ => joined.push(token),
        }
    }
    for TokenWithSpan { token, span } in &mut joined {
        if let Token::Number(written, false) = token {
            *written = plain_number(written).ok_or_else(|| {
                let place = at(span.start.line, span.start.column);
                let message =
                    format!("{written} is no number; write a space in front of what is a name");
                Error::input_at(message, place)
            })?;
        }
    }
    Ok(joined)
}

/// Whether a token is more of the number before it.
fn goes_on(before: &Token, token: &Token) -> bool {
    let Token::Number(before, false) = before else { return false };
    match token {
        // `1AND 2` is read as it always was.
        Token::Word(word) => word.quote_style.is_none() && word.keyword == Keyword::NoKeyword,
        Token::Number(digits, _) => {
            digits.starts_with('.') && before.contains('_') && !before.contains(['.', 'e', 'E'])
        }
        _ => false,
    }
}

/// A number as it was written, if a token is one in base 16.
fn number_of_hex(token: &TokenWithSpan) -> Option<String> {
    let Token::HexStringLiteral(digits) = &token.token else { return None };
    let written = token.span.end.column.saturating_sub(token.span.start.column);
    // Bytes have two quotes and an X around them.
    (written == digits.len() as u64 + 2).then(|| format!("0x{digits}"))
}

/// What a number is that was written with underscores or in another base, in plain digits.
fn plain_number(written: &str) -> Option<String> {
    let base = match written.get(..2) {
        Some("0x" | "0X") => 16,
        Some("0o" | "0O") => 8,
        Some("0b" | "0B") => 2,
        _ => return are_digits(written).then(|| written.replace('_', "")),
    };
    let digits = written[2..].strip_prefix('_').unwrap_or(&written[2..]);
    let is_group = |group: &str| !group.is_empty() && group.chars().all(|c| c.is_digit(base));
    let number = digits.split('_').all(is_group).then(|| digits.replace('_', ""))?;
    u128::from_str_radix(&number, base).ok().map(|number| number.to_string())
}

/// Whether these are digits with underscores between them, and perhaps a point or an exponent.
fn are_digits(written: &str) -> bool {
    let (mantissa, exponent) = match written.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (written, None),
    };
    let are_groups = |digits: &str| {
        digits.split('_').all(|g| !g.is_empty() && g.bytes().all(|b| b.is_ascii_digit()))
    };
    // There may be nothing on one side of the point.
    let are_parts = |(whole, rest): (&str, &str)| {
        (whole.is_empty() || are_groups(whole)) && (rest.is_empty() || are_groups(rest))
    };
    let is_mantissa = mantissa.split_once('.').map_or(are_groups(mantissa), are_parts);
    is_mantissa && exponent.is_none_or(|e| are_groups(e.strip_prefix(['+', '-']).unwrap_or(e)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_told_from_names_behind_them() {
        let same = ["7", "7.25", "7.", ".5", "1e3", "1.5E-3", "2e+7"];
        let other = [
            ("1_000", "1000"),
            ("1_0e1_0", "10e10"),
            ("1_000.000_1", "1000.0001"),
            ("0x1F", "31"),
            ("0X_ff_FF", "65535"),
            ("0o17", "15"),
            ("0b101", "5"),
        ];
        for (written, number) in same.iter().map(|n| (*n, *n)).chain(other) {
            assert_eq!(plain_number(written).as_deref(), Some(number), "{written}");
        }
        let none = ["1_", "1__2", "1a", "1e", "1e5_", "1.5x", "0x", "0xG", "0b102", "0o8", "0x1F_"];
        for written in none {
            assert_eq!(plain_number(written), None, "{written}");
        }
    }
}
