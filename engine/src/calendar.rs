//! Days since 1970 as dates of the Gregorian calendar, which counts backwards as forwards, and the
//! units of moments.
//!
//! Years are counted from March on, so that the leap day is their last; 400 of them are one era.
//! Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms" (2013).

use arrow::datatypes::TimeUnit;

/// How many of its units a second has.
pub fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

/// Days of 400 years.
const ERA: i64 = 146_097;

/// From the first of March of the year 0 to 1970.
const SHIFT: i64 = 719_468;

/// The year, the month from 1 and the day of the month from 1.
#[inline]
pub fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + SHIFT;
    let (era, of_era) = (days.div_euclid(ERA), days.rem_euclid(ERA));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + carry, month, day)
}

/// The first day of a month.
#[inline]
pub fn first_of(year: i64, month: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * month + 2) / 5;
    era * ERA + of_era * 365 + of_era / 4 - of_era / 100 + of_year - SHIFT
}

/// A day of the years from 0 on, if there is such a day: what readers of text ask for each value,
/// in 32 bits.
#[inline]
pub fn day_of(year: u32, month: u32, day: u32) -> Option<i32> {
    const IN_MONTH: [u8; 13] = [0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let in_month = u32::from(*IN_MONTH.get(month as usize)?) + u32::from(leap && month == 2);
    if day == 0 || day > in_month {
        return None;
    }
    // Year 0 is moved into the era before.
    let (year, month) = if month > 2 { (year + 400, month - 3) } else { (year + 399, month + 9) };
    let of_era = year % 400;
    let in_era = of_era * 365 + of_era / 4 - of_era / 100 + (153 * month + 2) / 5 + day - 1;
    Some((year / 400 * ERA as u32 + in_era).cast_signed() - (SHIFT + ERA) as i32)
}

/// The same day so many months later; in a shorter month its last day.
pub fn add_months(days: i64, months: i64) -> i64 {
    let (year, month, day) = date_of(days);
    let number = year * 12 + month - 1 + months;
    let begin = |number: i64| first_of(number.div_euclid(12), number.rem_euclid(12) + 1);
    let first = begin(number);
    first + day.min(begin(number + 1) - first) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_dates_and_back() {
        assert_eq!(date_of(0), (1970, 1, 1));
        assert_eq!(date_of(-719_162), (1, 1, 1));
        assert_eq!(date_of(2_932_896), (9999, 12, 31));
        assert_eq!((first_of(2000, 3), first_of(1, 1)), (11_017, -719_162));
        let mut last = date_of(-1_000_001);
        for days in -1_000_000..1_000_000 {
            let (year, month, day) = date_of(days);
            assert_eq!(first_of(year, month) + day - 1, days);
            assert!((year, month, day) > last && (1..=12).contains(&month));
            if let Ok(year) = u32::try_from(year) {
                assert_eq!(day_of(year, month as u32, day as u32).map(i64::from), Some(days));
            }
            last = (year, month, day);
        }
    }

    #[test]
    fn days_that_are_none() {
        for (year, month, day) in [(1999, 2, 29), (1900, 2, 29), (2000, 13, 1), (2000, 0, 1)] {
            assert_eq!(day_of(year, month, day), None, "{year}-{month}-{day}");
        }
        assert_eq!((day_of(2000, 1, 0), day_of(2000, 4, 31)), (None, None));
        assert_eq!(day_of(2000, 2, 29), Some(11_016));
    }

    #[test]
    fn months_end_on_their_last_day() {
        let date = |year, month, day| first_of(year, month) + day - 1;
        assert_eq!(add_months(date(2024, 1, 31), 1), date(2024, 2, 29));
        assert_eq!(add_months(date(2023, 3, 31), -1), date(2023, 2, 28));
        assert_eq!(add_months(date(2023, 12, 15), 1), date(2024, 1, 15));
        assert_eq!(add_months(date(1970, 1, 1), -13), date(1968, 12, 1));
        assert_eq!(add_months(date(-1, 12, 31), 2), date(0, 2, 29));
    }
}
