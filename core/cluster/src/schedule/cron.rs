//! When a schedule is due: the five fields of cron, in UTC.

use std::fmt;
use std::str::FromStr;

use super::calendar::{DAY_MS, MINUTE_MS, day};
use crate::command::Time;

/// Longest expression.
const TEXT_BYTES_MAX: usize = 256;
/// What is not due within so many days never is: 29 February may be eight years away.
const DAYS_MAX: u64 = 366 * 8 + 2;
/// Later than this nothing is due: a clock that says so is broken.
const TIME_MAX_MS: u64 = DAY_MS * 366 * 8000;

/// Minute, hour, day of the month, month, day of the week: `*`, numbers, `1-5`, lists with commas, steps `*/15`. As in cron,
/// when both days are restricted one of them is enough. `@hourly`, `@daily`, `@weekly`, `@monthly` and `@yearly` are short for
/// what they say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cron {
    text: String,
    minutes: Set,
    hours: Set,
    days: Set,
    months: Set,
    weekdays: Set,
    /// Whether both the days of the month and those of the week are restricted.
    either_day: bool,
}

/// Numbers up to 63.
type Set = u64;

/// The text is no cron expression.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "\"{found}\" is no cron expression: {reason}. It has five fields: minute, hour, day of the month, month, day of the week, in UTC, such as \"30 2 * * *\" for 02:30 every day; or is @hourly, @daily, @weekly, @monthly or @yearly"
)]
pub struct CronError {
    /// What was found, cut to a bearable length.
    pub found: String,
    /// What is wrong with it.
    pub reason: String,
}

/// A field: what it is called, and its lowest and highest number.
struct Field {
    name: &'static str,
    low: u8,
    high: u8,
}

const FIELDS: [Field; 5] = [
    Field { name: "the minute", low: 0, high: 59 },
    Field { name: "the hour", low: 0, high: 23 },
    Field { name: "the day of the month", low: 1, high: 31 },
    Field { name: "the month", low: 1, high: 12 },
    // 7 is Sunday, too.
    Field { name: "the day of the week", low: 0, high: 7 },
];

const SHORT: [(&str, &str); 5] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
];

impl FromStr for Cron {
    type Err = CronError;

    fn from_str(text: &str) -> Result<Self, CronError> {
        let error = |reason| CronError { found: text.chars().take(TEXT_BYTES_MAX).collect(), reason };
        if text.len() > TEXT_BYTES_MAX {
            return Err(error(format!("it has {} bytes, and {TEXT_BYTES_MAX} at most can be", text.len())));
        }
        let long = SHORT.iter().find(|(short, _)| *short == text).map_or(text, |(_, long)| long);
        let parts: Vec<&str> = long.split_ascii_whitespace().collect();
        let Ok(parts) = <[&str; 5]>::try_from(parts.as_slice()) else {
            return Err(error(format!("it has {} fields", parts.len())));
        };
        let mut sets = [0; 5];
        for ((set, field), part) in sets.iter_mut().zip(&FIELDS).zip(parts) {
            *set = field.parse(part).map_err(&error)?;
        }
        let [minutes, hours, days, months, weekdays] = sets;
        let weekdays = (weekdays | weekdays >> 7) & 0x7f;
        let either_day = !parts[2].starts_with('*') && !parts[4].starts_with('*');
        let cron = Self { text: text.to_owned(), minutes, hours, days, months, weekdays, either_day };
        match cron.after(Time(0)) {
            Some(_) => Ok(cron),
            None => Err(error("it is never due".to_owned())),
        }
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Field {
    fn parse(&self, text: &str) -> Result<Set, String> {
        text.split(',').try_fold(0, |set, part| Ok(set | self.parse_part(part)?))
    }

    fn parse_part(&self, part: &str) -> Result<Set, String> {
        let wrong = || format!("{} is \"{part}\", and it is {} to {}", self.name, self.low, self.high);
        let number = |text: &str| text.parse::<u8>().ok().filter(|number| (self.low..=self.high).contains(number));
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, step.parse::<u8>().ok().filter(|step| *step > 0).ok_or_else(wrong)?),
            None => (part, 1),
        };
        let (first, last) = match (range, range.split_once('-')) {
            ("*", _) => (self.low, self.high),
            (_, Some((first, last))) => (number(first).ok_or_else(wrong)?, number(last).ok_or_else(wrong)?),
            (one, None) => {
                let one = number(one).ok_or_else(wrong)?;
                (one, if part.contains('/') { self.high } else { one })
            }
        };
        if first > last {
            return Err(wrong());
        }
        Ok((first..=last).step_by(step.into()).fold(0, |set, number| set | 1 << number))
    }
}

fn has(set: Set, number: u64) -> bool {
    set >> number & 1 == 1
}

impl Cron {
    /// When it is due next, later than this; `None` if never.
    #[must_use]
    pub fn after(&self, time: Time) -> Option<Time> {
        if time.0 > TIME_MAX_MS {
            return None;
        }
        let start = time.0 / MINUTE_MS + 1;
        let first_day = start * MINUTE_MS / DAY_MS;
        (first_day..first_day + DAYS_MAX)
            .filter(|number| self.has_day(*number))
            .find_map(|number| {
                let of_day = (0..1440).filter(|minute| has(self.hours, minute / 60) && has(self.minutes, minute % 60));
                of_day.map(|minute| number * 1440 + minute).find(|minute| *minute >= start)
            })
            .map(|minute| Time(minute * MINUTE_MS))
    }

    fn has_day(&self, number: u64) -> bool {
        let found = day(number);
        let of_month = has(self.days, found.day.into());
        let of_week = has(self.weekdays, found.weekday.into());
        has(self.months, found.month.into()) && if self.either_day { of_month || of_week } else { of_month && of_week }
    }
}

#[cfg(test)]
mod tests {
    use super::Cron;
    use crate::command::Time;
    use crate::schedule::stamp;

    /// 2026-02-27, a Friday, 10:17:30.
    const NOW: u64 = (20_511 * 1440 + 10 * 60 + 17) * 60_000 + 30_000;

    #[test]
    fn a_schedule_is_due_when_cron_would_say_so() {
        let rows = [
            ("* * * * *", "20260227t1018z"),
            ("17 10 * * *", "20260228t1017z"),
            ("*/15 * * * *", "20260227t1030z"),
            ("5/20 * * * *", "20260227t1025z"),
            ("0 2 * * *", "20260228t0200z"),
            ("0 9-17/4 * * 1-5", "20260227t1300z"),
            ("30 6,18 * * *", "20260227t1830z"),
            ("0 0 1 * *", "20260301t0000z"),
            ("0 0 29 2 *", "20280229t0000z"),
            ("0 0 13 * 5", "20260306t0000z"),
            ("0 0 * * 7", "20260301t0000z"),
            ("@weekly", "20260301t0000z"),
            ("@yearly", "20270101t0000z"),
        ];
        for (text, expected) in rows {
            let cron: Cron = text.parse().unwrap();
            assert_eq!(stamp(cron.after(Time(NOW)).unwrap()), expected, "{text}");
            assert_eq!(cron.to_string(), text);
        }
    }

    #[test]
    fn what_is_due_now_is_due_later_the_next_time() {
        let hourly: Cron = "@hourly".parse().unwrap();
        let first = hourly.after(Time(NOW)).unwrap();
        assert_eq!(hourly.after(first).unwrap().0 - first.0, 3_600_000);
    }

    #[test]
    fn what_is_no_expression_is_refused_with_the_field() {
        let rows = [
            ("", "it has 0 fields"),
            ("* * * *", "it has 4 fields"),
            ("@often", "it has 1 fields"),
            ("60 * * * *", "the minute is \"60\", and it is 0 to 59"),
            ("* 24 * * *", "the hour"),
            ("* * 0 * *", "the day of the month"),
            ("* * * 13 *", "the month"),
            ("* * * * 8", "the day of the week"),
            ("5-3 * * * *", "the minute"),
            ("*/0 * * * *", "the minute"),
            ("a * * * *", "the minute"),
            ("0 0 31 2 *", "it is never due"),
        ];
        for (text, expected) in rows {
            let words = text.parse::<Cron>().unwrap_err().to_string();
            assert!(words.contains(expected), "{expected} is missing in: {words}");
        }
    }
}
