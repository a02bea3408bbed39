//! Dates and timestamps in a form that the program describes, with the conversions of `strftime`.

use crate::calendar::day_of;
use crate::error::{Error, Result};
use crate::sources::text::time::{self, Stamp};

/// The conversions, for errors.
const KNOWN: &str = "%Y %y %m %b %B %d %e %j %a %A %H %I %p %M %S %f %z %Z %F %T %R %D %%";

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

const WEEKDAYS: [&str; 7] =
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// One part of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Literal(u8),
    /// One blank or more.
    Blank,
    Year,
    /// Two digits: 69 to 99 are of the last century, the others of this one.
    ShortYear,
    Month,
    MonthName,
    Day,
    DayOfYear,
    /// Read, and not compared with the date.
    Weekday,
    Hour,
    HalfHour,
    HalfDay,
    Minute,
    Second,
    Fraction,
    Zone,
}

/// A pattern that is understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Format {
    parts: Vec<Part>,
}

/// What has been read of a text.
#[derive(Default)]
struct Read {
    year: u32,
    month: Option<u32>,
    day: Option<u32>,
    day_of_year: Option<u32>,
    hour: u32,
    half_hour: Option<u32>,
    afternoon: bool,
    minute: u32,
    second: u32,
    nanoseconds: u32,
    fraction_digits: usize,
    zone: Option<i32>,
}

impl Format {
    /// A pattern of dates.
    ///
    /// # Errors
    /// `Input` for conversions that are not known, and when it does not name a day.
    pub(super) fn date(pattern: &str) -> Result<Format> {
        let format = Format::new("date", pattern)?;
        let of_date = |part: &Part| {
            use Part as P;
            matches!(
                part,
                P::Literal(_) | P::Blank | P::Year | P::ShortYear | P::Month | P::MonthName
            ) || matches!(part, P::Day | P::DayOfYear | P::Weekday)
        };
        match format.parts.iter().all(of_date) {
            true => Ok(format),
            false => Err(Error::input(format!(
                "the date format '{pattern}' has a time; make it the timestamp format"
            ))),
        }
    }

    /// A pattern of timestamps.
    ///
    /// # Errors
    /// As [`Format::date`].
    pub(super) fn timestamp(pattern: &str) -> Result<Format> {
        Format::new("timestamp", pattern)
    }

    fn new(kind: &str, pattern: &str) -> Result<Format> {
        let mut parts = Vec::new();
        let mut bytes = pattern.bytes();
        while let Some(byte) = bytes.next() {
            if byte.is_ascii_whitespace() {
                parts.push(Part::Blank);
            } else if byte != b'%' {
                parts.push(Part::Literal(byte));
            } else {
                let conversion = bytes.next().and_then(conversion).ok_or_else(|| {
                    Error::input(format!(
                        "the {kind} format '{pattern}' has a conversion that is not known; there \
                         are {KNOWN}"
                    ))
                })?;
                parts.extend_from_slice(conversion);
            }
        }
        parts.dedup_by(|a, b| *a == Part::Blank && *b == Part::Blank);
        let has = |part: &[Part]| part.iter().any(|part| parts.contains(part));
        let month_and_day = has(&[Part::Month, Part::MonthName]) && has(&[Part::Day]);
        if has(&[Part::Year, Part::ShortYear]) && (month_and_day || has(&[Part::DayOfYear])) {
            return Ok(Format { parts });
        }
        Err(Error::input(format!(
            "the {kind} format '{pattern}' does not name year, month and day; write it as \
             '%Y-%m-%d', with {KNOWN}"
        )))
    }

    /// Days since 1970.
    pub(super) fn read_date(&self, text: &[u8]) -> Option<i32> {
        self.read(text)?.days()
    }

    /// The timestamp that a text is.
    pub(super) fn read_stamp(&self, text: &[u8]) -> Option<Stamp> {
        let read = self.read(text)?;
        let hour = match read.half_hour {
            Some(hour @ 1..=12) => hour % 12 + if read.afternoon { 12 } else { 0 },
            Some(_) => return None,
            None => read.hour,
        };
        if hour > 23 || read.minute > 59 || read.second > 59 {
            return None;
        }
        let time = hour * 3600 + read.minute * 60 + read.second;
        Some(Stamp::new(read.days()?, time, read.nanoseconds, read.zone, read.fraction_digits))
    }

    fn read(&self, mut text: &[u8]) -> Option<Read> {
        let mut read = Read::default();
        for part in &self.parts {
            text = read.part(*part, text)?;
        }
        text.is_empty().then_some(read)
    }
}

/// What a letter behind `%` stands for.
fn conversion(letter: u8) -> Option<&'static [Part]> {
    use Part as P;
    Some(match letter {
        b'Y' => &[P::Year],
        b'y' => &[P::ShortYear],
        b'm' => &[P::Month],
        b'b' | b'B' | b'h' => &[P::MonthName],
        b'd' | b'e' => &[P::Day],
        b'j' => &[P::DayOfYear],
        b'a' | b'A' => &[P::Weekday],
        b'H' => &[P::Hour],
        b'I' => &[P::HalfHour],
        b'p' | b'P' => &[P::HalfDay],
        b'M' => &[P::Minute],
        b'S' => &[P::Second],
        b'f' => &[P::Fraction],
        b'z' | b'Z' => &[P::Zone],
        b'F' => &[P::Year, P::Literal(b'-'), P::Month, P::Literal(b'-'), P::Day],
        b'D' => &[P::Month, P::Literal(b'/'), P::Day, P::Literal(b'/'), P::ShortYear],
        b'T' => &[P::Hour, P::Literal(b':'), P::Minute, P::Literal(b':'), P::Second],
        b'R' => &[P::Hour, P::Literal(b':'), P::Minute],
        b'%' => &[P::Literal(b'%')],
        _ => return None,
    })
}

impl Read {
    /// Reads one part, and gives the text behind it.
    fn part<'a>(&mut self, part: Part, text: &'a [u8]) -> Option<&'a [u8]> {
        let rest;
        match part {
            Part::Literal(byte) => return text.strip_prefix(&[byte]),
            Part::Blank => {
                let behind = text.trim_ascii_start();
                return (behind.len() < text.len()).then_some(behind);
            }
            Part::Year => (self.year, rest) = digits(text, 4)?,
            Part::ShortYear => {
                let (year, behind) = digits(text, 2)?;
                (self.year, rest) = (year + if year < 69 { 2000 } else { 1900 }, behind);
            }
            Part::Month => (self.month, rest) = some(digits(text, 2)?),
            Part::MonthName => {
                let (month, behind) = name(text, &MONTHS)?;
                (self.month, rest) = (Some(month + 1), behind);
            }
            Part::Day => (self.day, rest) = some(digits(text.trim_ascii_start(), 2)?),
            Part::DayOfYear => (self.day_of_year, rest) = some(digits(text, 3)?),
            Part::Weekday => (_, rest) = name(text, &WEEKDAYS)?,
            Part::Hour => (self.hour, rest) = digits(text, 2)?,
            Part::HalfHour => (self.half_hour, rest) = some(digits(text, 2)?),
            Part::HalfDay => {
                let (half, behind) = text.split_at_checked(2)?;
                self.afternoon = half.eq_ignore_ascii_case(b"pm");
                rest = (self.afternoon || half.eq_ignore_ascii_case(b"am")).then_some(behind)?;
            }
            Part::Minute => (self.minute, rest) = digits(text, 2)?,
            Part::Second => (self.second, rest) = digits(text, 2)?,
            Part::Fraction => {
                let (fraction, behind) = digits(text, 9)?;
                self.fraction_digits = text.len() - behind.len();
                self.nanoseconds = fraction * 10_u32.pow(9 - self.fraction_digits as u32);
                rest = behind;
            }
            Part::Zone => {
                let len = text.iter().take_while(|b| !b.is_ascii_whitespace()).count();
                let (zone, behind) = text.split_at(len);
                (self.zone, rest) = (Some(time::zone(zone)??), behind);
            }
        }
        Some(rest)
    }

    /// Days since 1970, if there is such a day.
    fn days(&self) -> Option<i32> {
        if let (Some(month), Some(day)) = (self.month, self.day) {
            return day_of(self.year, month, day);
        }
        let day = self.day_of_year?.checked_sub(1)?;
        let first = day_of(self.year, 1, 1)?;
        let last = day_of(self.year, 12, 31)?;
        first.checked_add(i32::try_from(day).ok()?).filter(|&day| day <= last)
    }
}

fn some((number, rest): (u32, &[u8])) -> (Option<u32>, &[u8]) {
    (Some(number), rest)
}

/// The number that up to `max` digits are, and the text behind them.
fn digits(text: &[u8], max: usize) -> Option<(u32, &[u8])> {
    let len = text.iter().take(max).take_while(|b| b.is_ascii_digit()).count();
    let (digits, rest) = text.split_at(len);
    let number = digits.iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0'));
    (len > 0).then_some((number, rest))
}

/// The position of the name that a text begins with, whole or its first three letters.
fn name<'a>(text: &'a [u8], names: &[&str]) -> Option<(u32, &'a [u8])> {
    let len = text.iter().take_while(|b| b.is_ascii_alphabetic()).count();
    let (word, rest) = text.split_at(len);
    let is = |name: &&str| {
        let name = name.as_bytes();
        word.eq_ignore_ascii_case(name) || word.eq_ignore_ascii_case(&name[..3])
    };
    Some((u32::try_from(names.iter().position(is)?).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_in_many_forms() {
        for (pattern, text, expected) in [
            ("%Y-%m-%d", "2024-02-29", Some("2024-02-29")),
            ("%d/%m/%Y", "29/2/2024", Some("2024-02-29")),
            ("%d/%m/%Y", "29/2/2023", None),
            ("%m/%d/%y", "12/31/69", Some("1969-12-31")),
            ("%D", "01/02/68", Some("2068-01-02")),
            ("%Y%m%d", "19991231", Some("1999-12-31")),
            ("%d %b %Y", "5 mar 2001", Some("2001-03-05")),
            ("%a, %e %B %Y", "Mon,  5 March 2001", Some("2001-03-05")),
            ("%d-%b-%Y", "05-Smarch-2001", None),
            ("%Y-%j", "2024-366", Some("2024-12-31")),
            ("%Y-%j", "2023-366", None),
            ("%F%%", "2024-01-01%", Some("2024-01-01")),
            ("%F", "2024-01-01 ", None),
            ("%d.%m.%Y", "1.2", None),
        ] {
            let found = Format::date(pattern).expect(pattern).read_date(text.as_bytes());
            let expected = expected.map(|text| time::date(text.as_bytes()).expect("a date"));
            assert_eq!(found, expected, "{pattern} {text}");
        }
    }

    #[test]
    fn timestamps_in_many_forms() {
        let micros = |stamp: Stamp, zone| stamp.to_units(1_000_000, zone);
        for (pattern, text, expected) in [
            ("%d.%m.%Y %H:%M", "02.01.1970 0:01", Some("1970-01-02 00:01")),
            ("%F %T.%f", "1970-01-02 03:04:05.5", Some("1970-01-02 03:04:05.5")),
            ("%m/%d/%Y %I:%M:%S %p", "1/2/1970 12:30:00 am", Some("1970-01-02 00:30")),
            ("%m/%d/%Y %I:%M %p", "1/2/1970 12:30 PM", Some("1970-01-02 12:30")),
            ("%m/%d/%Y %I:%M %p", "1/2/1970 13:30 PM", None),
            ("%Y-%m-%dT%R%z", "1970-01-02T01:00+0100", Some("1970-01-02T00:00Z")),
            ("%Y-%m-%dT%R%z", "1970-01-02T01:00", None),
            ("%F %R", "1970-01-02 24:00", None),
        ] {
            let format = Format::timestamp(pattern).expect(pattern);
            let found = format.read_stamp(text.as_bytes());
            let found = found.map(|stamp| micros(stamp, true).expect("fits"));
            let expected = expected.map(|text| {
                micros(time::stamp(text.as_bytes()).expect("a stamp"), true).expect("fits")
            });
            assert_eq!(found, expected, "{pattern} {text}");
        }
    }

    #[test]
    fn patterns_that_say_too_little_or_too_much() {
        let error = |pattern| Format::date(pattern).expect_err(pattern).to_string();
        assert!(error("YYYY-MM-DD").contains("does not name year, month and day"));
        assert!(error("%Y-%m").contains("does not name"));
        assert!(error("%Y-%m-%q").contains("a conversion that is not known"));
        assert!(error("%Y-%m-%d%").contains("a conversion that is not known"));
        assert!(error("%F %T").contains("has a time"));
    }
}
