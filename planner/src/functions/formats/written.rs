//! A value as a form has it.

use datafusion_common::{Result, exec_err};

use super::pieces::Spec;

/// Digits behind the point where a form names no number.
const PRECISION: usize = 6;

/// A value that is written.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'a> {
    Whole(i64),
    Number(f64),
    Text(&'a str),
}

/// Writes a value.
///
/// # Errors
/// `Execution` when its kind is not one for such values.
pub(super) fn write(value: Value<'_>, spec: &Spec, out: &mut String) -> Result<()> {
    match (value, spec.kind) {
        (Value::Text(text), None | Some('s')) => {
            let cut: String = text.chars().take(spec.precision.unwrap_or(usize::MAX)).collect();
            pad("", &cut, spec, '<', out);
        }
        (Value::Whole(number), None | Some('d' | 'i' | 'u' | 's')) => {
            let digits = with_thousands(&number.unsigned_abs().to_string(), spec);
            pad(sign(number < 0, spec), &digits, spec, '>', out);
        }
        (Value::Whole(number), Some(kind @ ('x' | 'X' | 'o' | 'b' | 'B'))) => {
            let is_negative = number < 0 && !spec.as_bits;
            let bits = if is_negative { number.unsigned_abs() } else { number.cast_unsigned() };
            let (prefix, digits) = match kind {
                'x' => ("0x", format!("{bits:x}")),
                'X' => ("0X", format!("{bits:X}")),
                'o' => ("0", format!("{bits:o}")),
                _ => ("0b", format!("{bits:b}")),
            };
            let prefix = if spec.prefix { prefix } else { "" };
            pad(&format!("{}{prefix}", sign(is_negative, spec)), &digits, spec, '>', out);
        }
        (Value::Whole(number), Some('c')) => {
            let Some(sign) = u32::try_from(number).ok().and_then(char::from_u32) else {
                return exec_err!("{number} is no character");
            };
            pad("", &sign.to_string(), spec, '<', out);
        }
        (Value::Whole(number), Some('e' | 'E' | 'f' | 'F' | 'g' | 'G')) => {
            return write(Value::Number(number as f64), spec, out);
        }
        (Value::Number(number), None | Some('e' | 'E' | 'f' | 'F' | 'g' | 'G' | 's')) => {
            let digits = with_thousands(&of_double(number.abs(), spec), spec);
            let is_negative = number.is_sign_negative() && !number.is_nan();
            pad(sign(is_negative, spec), &digits, spec, '>', out);
        }
        (value, kind) => {
            let what = match value {
                Value::Whole(_) => "an integer",
                Value::Number(_) => "a number with a fraction",
                Value::Text(_) => "a text",
            };
            return exec_err!("{what} is not written as `{}`", kind.unwrap_or_default());
        }
    }
    Ok(())
}

/// Bytes of a value beside those that a text has itself: of characters that fill it up, and of a
/// number's digits.
pub(super) fn bytes_at_most(spec: &Spec) -> usize {
    // Most are written in few digits; without an exponent the greatest double has 309, in threes.
    let digits = match spec.kind {
        Some('f' | 'F') => 420,
        _ => 96,
    };
    spec.fill.map_or(1, char::len_utf8) * spec.width + spec.precision.unwrap_or(PRECISION) + digits
}

fn sign(is_negative: bool, spec: &Spec) -> &'static str {
    match spec.sign {
        _ if is_negative => "-",
        Some('+') => "+",
        Some(_) => " ",
        None => "",
    }
}

/// A double that is not below zero.
fn of_double(number: f64, spec: &Spec) -> String {
    if !number.is_finite() {
        return if number.is_nan() { "nan" } else { "inf" }.to_string();
    }
    let precision = spec.precision.unwrap_or(PRECISION);
    let text = match spec.kind.map(|kind| kind.to_ascii_lowercase()) {
        Some('f') => format!("{number:.precision$}"),
        Some('e') => with_exponent(&format!("{number:.precision$e}")),
        None | Some('s') if spec.precision.is_none() => with_exponent(&format!("{number:?}")),
        _ => general(number, precision.max(1)),
    };
    match spec.kind {
        Some(kind) if kind.is_ascii_uppercase() => text.to_uppercase(),
        _ => text,
    }
}

/// So many digits, without zeros at the end, and with an exponent where there would be many zeros.
fn general(number: f64, digits: usize) -> String {
    let text = format!("{number:.*e}", digits - 1);
    let exponent: i32 = text.split_once('e').and_then(|(_, e)| e.parse().ok()).unwrap_or(0);
    let without_zeros = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_string(),
        false => text.to_string(),
    };
    if exponent < -4 || exponent >= digits as i32 {
        let (number, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        return with_exponent(&format!("{}e{exponent}", without_zeros(number)));
    }
    let behind = usize::try_from(digits as i32 - 1 - exponent).unwrap_or(0);
    without_zeros(&format!("{number:.behind$}"))
}

/// An exponent with a sign and two digits.
fn with_exponent(text: &str) -> String {
    let Some((number, exponent)) = text.split_once('e') else { return text.to_string() };
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    format!("{number}e{sign}{exponent:0>2}")
}

/// The digits in front of the point in threes.
fn with_thousands(digits: &str, spec: &Spec) -> String {
    let Some(between) = spec.thousands else { return digits.to_string() };
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits[..end].chars().enumerate() {
        if at > 0 && (end - at) % 3 == 0 {
            out.push(between);
        }
        out.push(digit);
    }
    out.push_str(&digits[end..]);
    out
}

/// Fills a text up to the width; what stands in front is in front of zeros.
fn pad(front: &str, text: &str, spec: &Spec, usual: char, out: &mut String) {
    let length = front.chars().count() + text.chars().count();
    let missing = spec.width.saturating_sub(length);
    let is_number = usual == '>' && text.starts_with(|c: char| c.is_ascii_alphanumeric());
    if spec.zeros && is_number && spec.align.is_none() {
        out.push_str(front);
        out.extend(std::iter::repeat_n('0', missing));
        out.push_str(text);
        return;
    }
    let fill = spec.fill.unwrap_or(' ');
    let before = match spec.align.unwrap_or(usual) {
        '<' => 0,
        '^' => missing / 2,
        _ => missing,
    };
    out.extend(std::iter::repeat_n(fill, before));
    out.push_str(front);
    out.push_str(text);
    out.extend(std::iter::repeat_n(fill, missing - before));
}

#[cfg(test)]
mod tests {
    use super::super::pieces::{Piece, pieces_of_format, pieces_of_printf};
    use super::*;

    fn all(pieces: Result<Vec<Piece>>, value: Value<'_>) -> String {
        let mut out = String::new();
        for piece in pieces.expect("a form") {
            match piece {
                Piece::Text(text) => out.push_str(&text),
                Piece::Value { spec, .. } => write(value, &spec, &mut out).expect("is written"),
            }
        }
        out
    }

    #[test]
    fn values_are_written_as_their_forms_say() {
        let braces = |form, value| all(pieces_of_format(form), value);
        let percent = |form, value| all(pieces_of_printf(form), value);
        let (whole, half) = (Value::Whole(-1_234_567), Value::Number(12345.678));
        assert_eq!(braces("{:,} {:x} {:012d}", whole), "-1,234,567 -12d687 -00001234567");
        assert_eq!(braces("{} {:e} {:.2f} {:g}", half), "12345.678 1.234568e+04 12345.68 12345.7");
        assert_eq!(braces("{:.1} {:.3e} {:G}", Value::Number(1e-7)), "1e-07 1.000e-07 1E-07");
        assert_eq!(braces("{:<4}|{:^5}|{:*>3}|{{}}", Value::Text("ab")), "ab  | ab  |*ab|{}");
        assert_eq!(
            percent("%d|%+i|%-9d|%09d|%%", Value::Whole(42)),
            "42|+42|42       |000000042|%"
        );
        assert_eq!(percent("%5s|%-5s|%.1s", Value::Text("ab")), "   ab|ab   |a");
        assert_eq!(percent("%8.2f|%-8.1lf|", half), "12345.68|12345.7 |");
        assert_eq!(braces("{} {:f}", Value::Number(f64::INFINITY)), "inf inf");
    }
}
