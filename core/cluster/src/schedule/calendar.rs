//! Days of the calendar, in UTC, without a time zone's tables.

use crate::command::Time;

pub(super) const MINUTE_MS: u64 = 60_000;
pub(super) const DAY_MS: u64 = 86_400_000;

/// A day.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Day {
    pub year: u64,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 0 is Sunday.
    pub weekday: u8,
}

/// The day with this number; day 0 is 1 January 1970.
pub(super) fn day(number: u64) -> Day {
    // Years are counted from March, so that the odd day is the last one; 400 of them have 146097 days.
    let shifted = number + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let small = |number: u64| u8::try_from(number).expect("a day of a month of a week");
    Day { year, month: small(month), day: small(day), weekday: small((number + 4) % 7) }
}

/// To the minute, as a part of a name: `20260102t0304z`.
pub(crate) fn stamp(at: Time) -> String {
    let Day { year, month, day, weekday: _ } = day(at.0 / DAY_MS);
    let minute = at.0 % DAY_MS / MINUTE_MS;
    format!("{year:04}{month:02}{day:02}t{:02}{:02}z", minute / 60, minute % 60)
}

#[cfg(test)]
mod tests {
    use super::{DAY_MS, Day, day, stamp};
    use crate::command::Time;

    /// A calendar that counts day by day.
    #[test]
    fn days_are_those_of_the_calendar() {
        let mut expected = Day { year: 1970, month: 1, day: 1, weekday: 4 };
        for number in 0..200_000 {
            assert_eq!(day(number), expected, "day {number}");
            let every = |years| expected.year.is_multiple_of(years);
            let leaps = every(4) && (!every(100) || every(400));
            let length = match expected.month {
                2 => 28 + u8::from(leaps),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            expected.weekday = (expected.weekday + 1) % 7;
            expected.day += 1;
            if expected.day > length {
                (expected.day, expected.month) = (1, expected.month + 1);
            }
            if expected.month > 12 {
                (expected.month, expected.year) = (1, expected.year + 1);
            }
        }
    }

    #[test]
    fn a_stamp_is_the_minute_in_utc() {
        assert_eq!(stamp(Time(0)), "19700101t0000z");
        assert_eq!(stamp(Time(20_820 * DAY_MS + 11_048_999)), "20270102t0304z");
    }
}
