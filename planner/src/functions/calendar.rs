//! Days since 1970 as dates of the Gregorian calendar, which counts backwards as forwards.
//!
//! Years are counted from March on, so that the leap day is their last; 400 of them are one era of
//! 146,097 days.

const ERA: i64 = 146_097;

/// From the first of March of the year 0 to 1970.
const SHIFT: i64 = 719_468;

/// The year, month and day of month.
pub(super) fn date_of(days: i64) -> (i64, i64, i64) {
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
pub(super) fn first_of(year: i64, month: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * month + 2) / 5;
    era * ERA + of_era * 365 + of_era / 4 - of_era / 100 + of_year - SHIFT
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
            last = (year, month, day);
        }
    }
}
