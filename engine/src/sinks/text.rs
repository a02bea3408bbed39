//! Values as text, for all sinks that write it: exact, and as short as they can be without losing
//! anything.

pub(in crate::sinks) use crate::moment_format::{date, stamp};

/// A value in its own form.
pub(in crate::sinks) fn display(value: std::fmt::Arguments<'_>, out: &mut Vec<u8>) {
    use std::io::Write;
    // Writing to memory does not fail.
    let _ = out.write_fmt(value);
}

/// A number of units of `10^-scale`.
pub(in crate::sinks) fn integer(value: i128, scale: i8, out: &mut Vec<u8>) {
    if value < 0 {
        out.push(b'-');
    }
    let mut buffer = [b'0'; 40];
    let digits = digits(value.unsigned_abs(), &mut buffer);
    match usize::try_from(scale) {
        Ok(scale) if scale > 0 => {
            let whole = digits.len().saturating_sub(scale);
            out.extend_from_slice(if whole == 0 { b"0" } else { &digits[..whole] });
            out.push(b'.');
            out.extend(std::iter::repeat_n(b'0', scale.saturating_sub(digits.len())));
            out.extend_from_slice(&digits[whole..]);
        }
        _ => {
            out.extend_from_slice(digits);
            let zeros = if value == 0 { 0 } else { usize::from(scale.unsigned_abs()) };
            out.extend(std::iter::repeat_n(b'0', zeros));
        }
    }
}

/// The digits of a number, at least one, at the end of the buffer.
fn digits(magnitude: u128, buffer: &mut [u8; 40]) -> &[u8] {
    let mut at = buffer.len() - 1;
    let mut large = magnitude;
    while large > u128::from(u64::MAX) {
        buffer[at] = b'0' + (large % 10) as u8;
        large /= 10;
        at -= 1;
    }
    let mut small = large as u64;
    while small > 9 {
        buffer[at] = b'0' + (small % 10) as u8;
        small /= 10;
        at -= 1;
    }
    buffer[at] = b'0' + small as u8;
    &buffer[at..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn decimals_are_exact() {
        for (value, scale, expected) in [
            (0, 0, "0"),
            (-7, 0, "-7"),
            (i128::from(u64::MAX) + 1, 0, "18446744073709551616"),
            (i128::MIN, 0, "-170141183460469231731687303715884105728"),
            (i128::MAX, 38, "1.70141183460469231731687303715884105727"),
            (5, 2, "0.05"),
            (-150, 2, "-1.50"),
            (0, 2, "0.00"),
            (12, -3, "12000"),
            (0, -3, "0"),
        ] {
            assert_eq!(written(|out| integer(value, scale, out)), expected);
        }
    }
}
