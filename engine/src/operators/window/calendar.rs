//! Months in days since 1970, by the Gregorian calendar.
//!
//! Days to dates and back: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms" (2013).

/// Days of 400 years.
const ERA_DAYS: i128 = 146_097;
/// From 1 March of year 0 to 1 January 1970.
const EPOCH_DAYS: i128 = 719_468;

/// The same day so many months later; in a shorter month its last day.
pub(super) fn add_months(days: i128, months: i128) -> i128 {
    let (year, month, day) = date_of(days);
    let month = year * 12 + month - 1 + months;
    let (year, month) = (month.div_euclid(12), month.rem_euclid(12) + 1);
    let (next_year, next_month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    let first = days_of(year, month, 1);
    let length = days_of(next_year, next_month, 1) - first;
    first + day.min(length) - 1
}

/// Year, month from 1, and day from 1.
fn date_of(days: i128) -> (i128, i128, i128) {
    let days = days + EPOCH_DAYS;
    let (era, day) = (days.div_euclid(ERA_DAYS), days.rem_euclid(ERA_DAYS));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i128::from(month <= 2), month, day)
}

fn days_of(year: i128, month: i128, day: i128) -> i128 {
    let year = year - i128::from(month <= 2);
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let month = (month + 9) % 12;
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    era * ERA_DAYS + of_era * 365 + of_era / 4 - of_era / 100 + day_of_year - EPOCH_DAYS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_days_agree_over_eight_hundred_years() {
        let mut expected = (1600, 1, 1);
        for days in days_of(1600, 1, 1)..days_of(2400, 1, 1) {
            assert_eq!(date_of(days), expected);
            assert_eq!(days_of(expected.0, expected.1, expected.2), days);
            let (year, month, day) = expected;
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let length = match month {
                2 => 28 + i128::from(leap),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            expected = match (day < length, month < 12) {
                (true, _) => (year, month, day + 1),
                (false, true) => (year, month + 1, 1),
                (false, false) => (year + 1, 1, 1),
            };
        }
        assert_eq!(date_of(0), (1970, 1, 1));
    }

    #[test]
    fn months_end_on_their_last_day() {
        let date = days_of;
        assert_eq!(add_months(date(2024, 1, 31), 1), date(2024, 2, 29));
        assert_eq!(add_months(date(2023, 3, 31), -1), date(2023, 2, 28));
        assert_eq!(add_months(date(2023, 12, 15), 1), date(2024, 1, 15));
        assert_eq!(add_months(date(1970, 1, 1), -13), date(1968, 12, 1));
    }
}
