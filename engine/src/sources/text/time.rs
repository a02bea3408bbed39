//! Dates and timestamps from text: `YYYY-MM-DD`, and the same with a time behind `T` or a blank:
//! `HH:MM`, `HH:MM:SS`, `HH:MM:SS.fff`, and a zone: `Z`, `UTC`, `GMT` or
//! `±HH:MM`.

use super::number::{eight_digits, load};
use crate::calendar::day_of;

const SECONDS_PER_DAY: i64 = 86_400;

/// A timestamp as its text gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sources) struct Stamp {
    /// Since 1970, by the clock of the text.
    seconds: i64,
    nanoseconds: u32,
    /// Seconds by which that clock is ahead of UTC, when the text says so.
    pub(in crate::sources) zone: Option<i32>,
    /// Digits behind the point of the seconds.
    pub(in crate::sources) fraction_digits: usize,
}

/// Days since 1970 of `bytes[begin..end]`, which looks at up to six bytes behind it.
#[inline]
pub(in crate::sources) fn quick_date(bytes: &[u8], begin: usize, end: usize) -> Option<i32> {
    const DASHES: u64 = 0x2d00_002d_0000_0000;
    const DASH_BYTES: u64 = 0xff00_00ff_0000_0000;
    if end.wrapping_sub(begin) != 10 {
        return None;
    }
    let word = load(bytes, begin);
    if word & DASH_BYTES != DASHES {
        return None;
    }
    let day = load(bytes, begin + 8) & 0xffff;
    let digits = (word & 0xffff_ffff) | (word >> 8 & 0xffff_0000_0000) | day << 48;
    let number = eight_digits(digits)? as u32;
    day_of(number / 10_000, number / 100 % 100, number % 100)
}

/// Days since 1970 of a whole text.
pub(in crate::sources) fn date(text: &[u8]) -> Option<i32> {
    quick_date(text, 0, text.len()).or_else(|| {
        // `quick_date` wants bytes behind the date.
        let padded: [u8; 16] = std::array::from_fn(|i| text.get(i).copied().unwrap_or(0));
        quick_date(&padded, 0, text.len())
    })
}

/// A date, and a time if there is one.
pub(in crate::sources) fn stamp(text: &[u8]) -> Option<Stamp> {
    let (date_text, rest) = text.split_at_checked(10)?;
    let days = i64::from(date(date_text)?);
    let mut stamp =
        Stamp { seconds: days * SECONDS_PER_DAY, nanoseconds: 0, zone: None, fraction_digits: 0 };
    let Some((b'T' | b't' | b' ', rest)) = rest.split_first() else {
        return rest.is_empty().then_some(stamp);
    };
    let (hours, rest) = two_digits(rest)?;
    let (minutes, mut rest) = two_digits(rest.strip_prefix(b":")?)?;
    let mut seconds = 0;
    if let Some(behind) = rest.strip_prefix(b":") {
        (seconds, rest) = two_digits(behind)?;
        if let Some(behind) = rest.strip_prefix(b".") {
            let digits = behind.iter().take_while(|b| b.is_ascii_digit()).count();
            if !(1..=9).contains(&digits) {
                return None;
            }
            let (fraction, behind) = behind.split_at(digits);
            let number = fraction.iter().fold(0, |n, &b| n * 10 + u32::from(b - b'0'));
            stamp.nanoseconds = number * 10_u32.pow(9 - digits as u32);
            stamp.fraction_digits = digits;
            rest = behind;
        }
    }
    if hours > 23 || minutes > 59 || seconds > 59 {
        return None;
    }
    stamp.seconds += i64::from(hours * 3600 + minutes * 60 + seconds);
    stamp.zone = zone(rest)?;
    Some(stamp)
}

/// The zone that `text` is, in seconds; `None` within when it is empty.
pub(in crate::sources) fn zone(text: &[u8]) -> Option<Option<i32>> {
    let (sign, rest) = match text {
        [] => return Some(None),
        [b'Z' | b'z'] | b" UTC" | b"UTC" | b"GMT" => return Some(Some(0)),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let (hours, rest) = two_digits(rest)?;
    let minutes = match rest.strip_prefix(b":").unwrap_or(rest) {
        [] if rest.is_empty() => 0,
        minutes => match two_digits(minutes)? {
            (minutes, []) => minutes,
            _ => return None,
        },
    };
    (hours <= 23 && minutes <= 59).then_some(Some(sign * (hours * 3600 + minutes * 60)))
}

fn two_digits(text: &[u8]) -> Option<(i32, &[u8])> {
    match text {
        [a @ b'0'..=b'9', b @ b'0'..=b'9', rest @ ..] => {
            Some((i32::from(a - b'0') * 10 + i32::from(b - b'0'), rest))
        }
        _ => None,
    }
}

impl Stamp {
    /// A time of a day, in seconds and nanoseconds.
    pub(in crate::sources) fn new(
        days: i32,
        time: u32,
        nanoseconds: u32,
        zone: Option<i32>,
        fraction_digits: usize,
    ) -> Stamp {
        let seconds = i64::from(days) * SECONDS_PER_DAY + i64::from(time);
        Stamp { seconds, nanoseconds, zone, fraction_digits }
    }

    /// The timestamp in units of `per_second`, in UTC if the type has a zone. A text that names a
    /// zone is none for a type without, and digits that would be lost make it none as well.
    pub(in crate::sources) fn to_units(self, per_second: i64, has_zone: bool) -> Option<i64> {
        if self.zone.is_some() && !has_zone {
            return None;
        }
        let unit_ns = 1_000_000_000 / per_second;
        let nanoseconds = i64::from(self.nanoseconds);
        if nanoseconds % unit_ns != 0 {
            return None;
        }
        let seconds = self.seconds - i64::from(self.zone.unwrap_or(0));
        seconds.checked_mul(per_second)?.checked_add(nanoseconds / unit_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_all_centuries() {
        let mut expected = day_of(1, 1, 1).expect("a date");
        assert_eq!(expected, -719_162);
        for year in 1..=2500 {
            for month in 1..=12 {
                for day in 1..=31 {
                    let text = format!("{year:04}-{month:02}-{day:02}");
                    if let Some(found) = date(text.as_bytes()) {
                        assert_eq!(found, expected, "{text}");
                        expected += 1;
                    }
                }
            }
        }
        assert_eq!(date(b"1970-01-01"), Some(0));
        assert_eq!(date(b"0000-03-01"), Some(-719_468));
        assert_eq!(date(b"2500-12-31"), Some(expected - 1));
        for text in ["1999-02-29", "1999-13-01", "1999-00-10", "1999-01-00", "99-1-1", "1999/01/01"]
        {
            assert_eq!(date(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn stamps_with_and_without_zone() {
        let units = |text: &str, zone| stamp(text.as_bytes())?.to_units(1_000_000, zone);
        assert_eq!(units("1970-01-02", false), Some(86_400_000_000));
        assert_eq!(units("1970-01-01 00:01", false), Some(60_000_000));
        assert_eq!(units("1970-01-01T00:00:01.5", false), Some(1_500_000));
        assert_eq!(units("1969-12-31 23:59:59.999999", false), Some(-1));
        assert_eq!(units("1970-01-01T01:00:00+01:00", true), Some(0));
        assert_eq!(units("1970-01-01T00:00:00-0130", true), Some(5_400_000_000));
        assert_eq!(units("1970-01-01T00:00:00Z", true), Some(0));
        assert_eq!(units("1970-01-01T00:00:00Z", false), None);
        assert_eq!(units("1970-01-01 00:00:00.1234567", false), None);
        for text in ["1970-01-01 24:00", "1970-01-01x", "1970-01-01 1:00", "1970-01-01 00:00:00."] {
            assert_eq!(stamp(text.as_bytes()), None, "{text}");
        }
    }
}
