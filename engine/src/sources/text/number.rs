//! Numbers from text: eight digits at a time where the text is plain, by the book elsewhere.
//!
//! The `quick_*` functions read `bytes[begin..end]` and may look at up to seven bytes behind it;
//! they give `None` for everything out of the ordinary (blanks, exponents, very long numbers, text
//! that is no number), which is for the others to judge.

const ZEROS: u64 = 0x3030_3030_3030_3030;
const POINTS: u64 = 0x2e2e_2e2e_2e2e_2e2e;
const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// Integers up to here are doubles exactly.
const EXACT_MAX: u64 = 1 << 53;

/// Powers of ten that are doubles exactly, as far as plain texts need them.
const POWERS: [f64; 17] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16];

/// Powers of ten in 64 bits.
const UNITS: [i64; 19] = {
    let mut units = [1; 19];
    let mut i = 1;
    while i < units.len() {
        units[i] = units[i - 1] * 10;
        i += 1;
    }
    units
};

/// The eight bytes from `at` on, the first one lowest; zeros when there are not as many.
#[inline]
pub(in crate::sources) fn load(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|b| b.first_chunk::<8>()).map_or(0, |b| u64::from_le_bytes(*b))
}

/// The number that eight digits are; `None` when they are not all digits.
#[inline]
pub(in crate::sources) fn eight_digits(word: u64) -> Option<u64> {
    let digits = word ^ ZEROS;
    if (digits.wrapping_add(0x7676_7676_7676_7676) | digits) & HIGH != 0 {
        return None;
    }
    let pairs = digits.wrapping_mul(1 + (10 << 8)) >> 8 & 0x00ff_00ff_00ff_00ff;
    let fours = pairs.wrapping_mul(1 + (100 << 16)) >> 16 & 0x0000_ffff_0000_ffff;
    Some(fours.wrapping_mul(1 + (10_000 << 32)) >> 32)
}

/// Up to eight bytes as a word of eight, with zeros written before them.
#[inline]
fn aligned(bytes: &[u8], begin: usize, len: usize) -> u64 {
    debug_assert!((1..=8).contains(&len));
    (load(bytes, begin) << (64 - 8 * len)) | (ZEROS >> (4 * len) >> (4 * len))
}

/// The word without its first decimal point, and the number of bytes behind that point.
#[inline]
fn take_point(word: u64) -> (u64, Option<u32>) {
    let other = word ^ POINTS;
    let found = other.wrapping_sub(LOW) & !other & HIGH;
    if found == 0 {
        return (word, None);
    }
    let at = found.trailing_zeros() - 7;
    let before = word & ((1 << at) - 1);
    let behind = word >> at >> 8 << at << 8;
    (behind | (before << 8) | 0x30, Some(7 - at / 8))
}

/// A number of up to 16 characters behind its sign.
#[derive(Clone, Copy)]
struct Plain {
    negative: bool,
    /// All digits, without the point.
    digits: u64,
    /// How many of them are behind the point.
    fraction: u32,
}

#[inline]
fn plain(bytes: &[u8], begin: usize, end: usize) -> Option<Plain> {
    let negative = bytes.get(begin) == Some(&b'-');
    let begin = begin + usize::from(negative);
    let len = end.wrapping_sub(begin);
    if len.wrapping_sub(1) < 8 {
        let (word, point) = take_point(aligned(bytes, begin, len));
        if len == 1 && point.is_some() {
            return None;
        }
        return Some(Plain { negative, digits: eight_digits(word)?, fraction: point.unwrap_or(0) });
    }
    if len.wrapping_sub(9) >= 8 {
        return None;
    }
    let (high, high_point) = take_point(aligned(bytes, begin, len - 8));
    let (low, low_point) = take_point(load(bytes, end - 8));
    let (high, low) = (eight_digits(high)?, eight_digits(low)?);
    let (digits, fraction) = match (high_point, low_point) {
        (None, None) => (high * 100_000_000 + low, 0),
        (Some(point), None) => (high * 100_000_000 + low, point + 8),
        (None, Some(point)) => (high * 10_000_000 + low, point),
        (Some(_), Some(_)) => return None,
    };
    Some(Plain { negative, digits, fraction })
}

/// An integer of up to 16 digits.
#[inline]
pub(in crate::sources) fn quick_integer(bytes: &[u8], begin: usize, end: usize) -> Option<i64> {
    let negative = bytes.get(begin) == Some(&b'-');
    let begin = begin + usize::from(negative);
    let len = end.wrapping_sub(begin);
    let value = if len.wrapping_sub(1) < 8 {
        eight_digits(aligned(bytes, begin, len))?
    } else if len.wrapping_sub(9) < 8 {
        let high = eight_digits(aligned(bytes, begin, len - 8))?;
        high * 100_000_000 + eight_digits(load(bytes, end - 8))?
    } else {
        return None;
    };
    let value = value.cast_signed();
    Some(if negative { -value } else { value })
}

/// A double from a text that has few enough digits: one division of two exact numbers rounds
/// correctly.
#[inline]
pub(in crate::sources) fn quick_double(bytes: &[u8], begin: usize, end: usize) -> Option<f64> {
    let plain = plain(bytes, begin, end)?;
    if plain.digits > EXACT_MAX {
        return None;
    }
    let value = plain.digits as f64 / POWERS.get(plain.fraction as usize)?;
    Some(if plain.negative { -value } else { value })
}

/// A decimal in units of its scale that is below `limit`, the tenth power of its precision.
#[inline]
pub(in crate::sources) fn quick_decimal(
    bytes: &[u8],
    begin: usize,
    end: usize,
    scale: u32,
    limit: i64,
) -> Option<i64> {
    let plain = plain(bytes, begin, end)?;
    let unit = UNITS.get(scale.checked_sub(plain.fraction)? as usize)?;
    let value = plain.digits.cast_signed().checked_mul(*unit)?;
    (value < limit).then_some(if plain.negative { -value } else { value })
}

/// The integer that a text is, whatever its sign and length.
pub(in crate::sources) fn integer(text: &[u8]) -> Option<i128> {
    let (negative, digits) = sign(text);
    if digits.is_empty() {
        return None;
    }
    let mut value: i128 = 0;
    for &digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_sub(i128::from(digit))?;
    }
    if negative { Some(value) } else { value.checked_neg() }
}

/// The double nearest to what a text says: digits with a point and an exponent, `inf`, `NaN`. A
/// number beyond all doubles is none.
pub(in crate::sources) fn double(text: &[u8]) -> Option<f64> {
    let value: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (value.is_finite() || !text.iter().any(u8::is_ascii_digit)).then_some(value)
}

/// As [`double`], for single precision.
pub(in crate::sources) fn single(text: &[u8]) -> Option<f32> {
    let value: f32 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (value.is_finite() || !text.iter().any(u8::is_ascii_digit)).then_some(value)
}

/// A decimal in units of its scale, with at most `precision` digits. A text with other digits
/// than zeros behind the scale is none: it would have to be rounded.
pub(in crate::sources) fn decimal(text: &[u8], precision: u8, scale: u8) -> Option<i128> {
    let (mantissa, exponent) = match text.iter().position(|b| matches!(b, b'e' | b'E')) {
        Some(at) => (&text[..at], i32::try_from(integer(&text[at + 1..])?).ok()?),
        None => (text, 0),
    };
    let (negative, unsigned) = sign(mantissa);
    let (whole, fraction) = match unsigned.iter().position(|&b| b == b'.') {
        Some(at) => (&unsigned[..at], &unsigned[at + 1..]),
        None => (unsigned, &[][..]),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    // Where the point is to stand among the digits, counted from the first.
    let point = i64::try_from(whole.len()).ok()? + i64::from(exponent) + i64::from(scale);
    let limit = 10_i128.checked_pow(u32::from(precision))?;
    let mut value: i128 = 0;
    let mut at = 0;
    for &digit in whole.iter().chain(fraction) {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 || (at >= point && digit != 0) {
            return None;
        }
        if at < point {
            value = value * 10 + i128::from(digit);
        }
        if value >= limit {
            return None;
        }
        at += 1;
    }
    while at < point && value != 0 {
        value *= 10;
        if value >= limit {
            return None;
        }
        at += 1;
    }
    Some(if negative { -value } else { value })
}

fn sign(text: &[u8]) -> (bool, &[u8]) {
    match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text as it stands in a file, between other digits.
    fn in_place<T>(text: &str, quick: impl Fn(&[u8], usize, usize) -> Option<T>) -> Option<T> {
        let bytes = format!("987654321{text}123456789.25");
        quick(bytes.as_bytes(), 9, 9 + text.len())
    }

    #[test]
    fn integers() {
        for text in ["0", "7", "-7", "12345678", "-123456789", "1234567890123456", "007"] {
            let value: i64 = text.parse().expect(text);
            assert_eq!(in_place(text, quick_integer), Some(value), "{text}");
            assert_eq!(integer(text.as_bytes()), Some(value.into()), "{text}");
        }
        for text in ["", "-", "a", "1a", "--1", "1 ", "1.0", "12345678x", "/", ":", "1\u{e9}"] {
            assert_eq!(in_place(text, quick_integer), None, "{text}");
            assert_eq!(integer(text.as_bytes()), None, "{text}");
        }
        assert_eq!(integer(b"-9223372036854775808"), Some(i64::MIN.into()));
        assert_eq!(integer(&[b'9'; 60]), None);
    }

    #[test]
    fn doubles_are_the_nearest() {
        let texts = [
            "0.04",
            "21168.23",
            "-272.60",
            "104949.50",
            "1",
            ".5",
            "5.",
            "0.1",
            "123456789.123456",
            "-0",
            "0.000001",
            "99999999",
            "1234567.8901234",
            "9007199254740993",
            "0.3000000000000004",
        ];
        for text in texts {
            let value: f64 = text.parse().expect(text);
            if let Some(quick) = in_place(text, quick_double) {
                assert_eq!(quick.to_bits(), value.to_bits(), "{text}");
            }
            assert_eq!(double(text.as_bytes()).map(f64::to_bits), Some(value.to_bits()), "{text}");
        }
        for text in ["", ".", "-", "-.", "1.2.3", "1,2", "0x1", "1.2345678.9", "12345678."] {
            if text != "12345678." {
                assert_eq!(double(text.as_bytes()), None, "{text}");
            }
            assert!(in_place(text, quick_double).is_none_or(|v| v == 12_345_678.0), "{text}");
        }
        let mut state = 1_u64;
        for _ in 0..200_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(99);
            let places = (state >> 60) as usize % 9;
            let number = (state >> 20) as u32 as f64 / 977.0;
            let text = format!("{number:.places$}");
            let value: f64 = text.parse().expect("a number");
            if let Some(quick) = in_place(&text, quick_double) {
                assert_eq!(quick.to_bits(), value.to_bits(), "{text}");
            }
        }
        assert_eq!(double(b"1e999"), None);
        assert_eq!(double(b"-inf"), Some(f64::NEG_INFINITY));
        assert!(double(b"NaN").is_some_and(f64::is_nan));
    }

    #[test]
    fn decimals_are_exact() {
        let limit = 10_i64.pow(15);
        let cases = [
            ("1", Some(100)),
            ("-1.5", Some(-150)),
            ("0.04", Some(4)),
            ("104949.50", Some(10_494_950)),
            ("1.250", Some(125)),
            ("1.255", None),
            ("1e3", Some(100_000)),
            ("1.5e-1", Some(15)),
            ("15e-3", None),
            ("9999999999999.99", Some(limit as i128 - 1)),
            ("10000000000000", None),
            (".", None),
            ("", None),
            ("1.2.3", None),
            ("0e99", Some(0)),
            ("1e99", None),
            ("0.00000000000000000000000000", Some(0)),
        ];
        for (text, value) in cases {
            assert_eq!(decimal(text.as_bytes(), 15, 2), value, "{text}");
            let quick = in_place(text, |b, begin, end| quick_decimal(b, begin, end, 2, limit));
            assert!(quick.is_none_or(|quick| Some(i128::from(quick)) == value), "{text}");
        }
        let long = "12345678901234567890123456789012345678";
        assert_eq!(decimal(long.as_bytes(), 38, 0), long.parse().ok());
    }
}
