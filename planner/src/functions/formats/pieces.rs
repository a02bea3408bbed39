//! Forms, taken apart.
//!
//! ```text
//! {place:[[fill]align][sign][#][0][width][,][.precision][kind]}
//! %[place$][flags][width][.precision][kind]
//! ```

use std::iter::Peekable;
use std::str::Chars;

use datafusion_common::{Result, exec_datafusion_err, exec_err};

/// More than anybody means.
const WIDTH_MAX: usize = 10_000;

/// A part of a form.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Piece {
    Text(String),
    /// The value of this argument, from 0 on.
    Value {
        place: usize,
        spec: Spec,
    },
}

/// How a value is written.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Spec {
    pub(super) fill: Option<char>,
    /// `<`, `>` or `^`.
    pub(super) align: Option<char>,
    /// `+` or a space in front of numbers that are not below zero.
    pub(super) sign: Option<char>,
    /// `0x` and the like in front.
    pub(super) prefix: bool,
    /// Zeros in front of a number.
    pub(super) zeros: bool,
    /// Between thousands.
    pub(super) thousands: Option<char>,
    pub(super) width: usize,
    pub(super) precision: Option<usize>,
    pub(super) kind: Option<char>,
    /// Bits are those of two's complement.
    pub(super) as_bits: bool,
}

type Signs<'a> = Peekable<Chars<'a>>;

/// The pieces of a form with braces.
///
/// # Errors
/// `Execution` when a brace has no other one, or what is between two means nothing.
pub(super) fn pieces_of_format(form: &str) -> Result<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut next = 0;
    let mut signs = form.chars().peekable();
    while let Some(sign) = signs.next() {
        match sign {
            '{' | '}' if signs.next_if_eq(&sign).is_some() => push(&mut pieces, sign),
            '{' => {
                let place = number(&mut signs)?.unwrap_or(next);
                next = place + 1;
                let mut spec = Spec::default();
                if signs.next_if_eq(&':').is_some() {
                    spec = spec_in_braces(&mut signs)?;
                }
                if signs.next() != Some('}') {
                    return exec_err!("`{form}` has a {{ that is not closed, or is no form");
                }
                pieces.push(Piece::Value { place, spec });
            }
            '}' => return exec_err!("`{form}` has a }} that nothing opens; write }}}} for one"),
            other => push(&mut pieces, other),
        }
    }
    Ok(pieces)
}

fn spec_in_braces(signs: &mut Signs<'_>) -> Result<Spec> {
    let mut spec = Spec::default();
    let is_align = |sign: &char| "<>^".contains(*sign);
    let mut ahead = signs.clone();
    let first = ahead.next();
    if let Some(align) = ahead.next_if(is_align) {
        (spec.fill, spec.align) = (first, Some(align));
        *signs = ahead;
    } else {
        spec.align = signs.next_if(is_align);
    }
    spec.sign = signs.next_if(|sign| "+- ".contains(*sign)).filter(|sign| *sign != '-');
    spec.prefix = signs.next_if_eq(&'#').is_some();
    spec.zeros = signs.next_if_eq(&'0').is_some();
    spec.width = number(signs)?.unwrap_or(0);
    spec.thousands = signs.next_if(|sign| ",_'".contains(*sign));
    if signs.next_if_eq(&'.').is_some() {
        spec.precision = Some(number(signs)?.unwrap_or(0));
    }
    spec.kind = signs.next_if(char::is_ascii_alphabetic);
    Ok(spec)
}

/// The pieces of a form with percent signs.
///
/// # Errors
/// As [`pieces_of_format`].
pub(super) fn pieces_of_printf(form: &str) -> Result<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut next = 0;
    let mut signs = form.chars().peekable();
    while let Some(sign) = signs.next() {
        if sign != '%' || signs.next_if_eq(&'%').is_some() {
            push(&mut pieces, sign);
            continue;
        }
        let mut place = next;
        let mut ahead = signs.clone();
        if let Some(number) = number(&mut ahead)?
            && number > 0
            && ahead.next_if_eq(&'$').is_some()
        {
            place = number - 1;
            signs = ahead;
        }
        next = place + 1;
        let spec = spec_behind_percent(&mut signs)?;
        if spec.kind.is_none() {
            return exec_err!("`{form}` does not say behind a % how a value is written");
        }
        pieces.push(Piece::Value { place, spec });
    }
    Ok(pieces)
}

fn spec_behind_percent(signs: &mut Signs<'_>) -> Result<Spec> {
    let mut spec = Spec { align: Some('>'), as_bits: true, ..Spec::default() };
    while let Some(flag) = signs.next_if(|sign| "-+ #0,'".contains(*sign)) {
        match flag {
            '-' => spec.align = Some('<'),
            '+' | ' ' => spec.sign = Some(flag),
            '#' => spec.prefix = true,
            '0' => spec.zeros = true,
            other => spec.thousands = Some(other),
        }
    }
    // Zeros stand in front of what stands at the right.
    if spec.zeros {
        spec.zeros = spec.align == Some('>');
        spec.align = spec.align.filter(|_| !spec.zeros);
    }
    spec.width = number(signs)?.unwrap_or(0);
    if signs.next_if_eq(&'.').is_some() {
        spec.precision = Some(number(signs)?.unwrap_or(0));
    }
    // How long the value is in C.
    while signs.next_if(|sign| "hljztL".contains(*sign)).is_some() {}
    spec.kind = signs.next_if(char::is_ascii_alphabetic);
    Ok(spec)
}

fn push(pieces: &mut Vec<Piece>, sign: char) {
    match pieces.last_mut() {
        Some(Piece::Text(text)) => text.push(sign),
        _ => pieces.push(Piece::Text(sign.to_string())),
    }
}

fn number(signs: &mut Signs<'_>) -> Result<Option<usize>> {
    let mut digits = String::new();
    while let Some(digit) = signs.next_if(char::is_ascii_digit) {
        digits.push(digit);
    }
    if digits.is_empty() {
        return Ok(None);
    }
    let number = digits.parse().ok().filter(|number| *number <= WIDTH_MAX);
    let wrong = || exec_datafusion_err!("{digits} is too wide for a form: {WIDTH_MAX} at most");
    number.map(Some).ok_or_else(wrong)
}
