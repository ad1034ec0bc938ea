//! Schedules of volumes.

use proto::v1;
use serde::Serialize;

use crate::output::{Moment, table};

/// Snapshots that a volume gets by itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Schedule {
    name: String,
    cron: String,
    keep: u32,
    next_ms: Moment,
    last_ms: Option<Moment>,
    last_failed: Option<String>,
}

impl From<v1::Schedule> for Schedule {
    fn from(schedule: v1::Schedule) -> Self {
        let v1::Schedule { name, cron, keep, next_ms, last_ms, last_failed } = schedule;
        let last_failed = Some(last_failed).filter(|why| !why.is_empty());
        Self { name, cron, keep, next_ms: Moment(next_ms), last_ms: last_ms.map(Moment), last_failed }
    }
}

impl Schedule {
    /// A row each.
    pub fn table(schedules: &[Self], now: Moment) -> String {
        let mut table = table::new(&["SCHEDULE", "WHEN (UTC)", "KEEPS", "NEXT IN", "LAST"]);
        table::align_right(&mut table, &[2]);
        for schedule in schedules {
            table.add_row([
                schedule.name.clone(),
                schedule.cron.clone(),
                schedule.keep.to_string(),
                now.age(schedule.next_ms),
                schedule.last(now),
            ]);
        }
        table::lines(table)
    }

    fn last(&self, now: Moment) -> String {
        match (self.last_ms, &self.last_failed) {
            (None, _) => "-".to_owned(),
            (Some(at), None) => format!("{} ago", at.age(now)),
            (Some(at), Some(why)) => format!("{} ago, none: {why}", at.age(now)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proto::v1;

    use super::Schedule;
    use crate::output::Moment;

    #[test]
    fn schedules_are_listed_with_their_next_and_last_time() {
        let schedule = |name: &str, last_ms, last_failed: &str| v1::Schedule {
            name: name.into(),
            cron: "@daily".into(),
            keep: 7,
            next_ms: 7_200_000,
            last_ms,
            last_failed: last_failed.into(),
        };
        let all = [
            schedule("new", None, "").into(),
            schedule("nightly", Some(1000), "").into(),
            schedule("other", Some(1000), "the volume was not served").into(),
        ];
        let expected = "\
SCHEDULE  WHEN (UTC)  KEEPS  NEXT IN  LAST
new       @daily          7  1h       -
nightly   @daily          7  1h       1h ago
other     @daily          7  1h       1h ago, none: the volume was not served
";
        assert_eq!(Schedule::table(&all, Moment(3_600_000)), expected.replace("1h ago", "59m ago"));
    }
}
