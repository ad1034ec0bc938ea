//! Times, and how long ago they were.

use std::time::SystemTime;

use serde::Serialize;

/// Milliseconds since 1970.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(transparent)]
pub struct Moment(pub u64);

impl Moment {
    /// By this machine's clock.
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// How long ago it was, in the unit that fits: `5s`, `3m`, `7h`, `12d`. Clocks differ: the future is now.
    pub fn age(self, now: Self) -> String {
        let seconds = now.0.saturating_sub(self.0) / 1000;
        match seconds {
            0..60 => format!("{seconds}s"),
            60..3600 => format!("{}m", seconds / 60),
            3600..172_800 => format!("{}h", seconds / 3600),
            172_800.. => format!("{}d", seconds / 86_400),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Moment;

    #[test]
    fn an_age_is_told_in_the_unit_that_fits() {
        let rows =
            [(0, "0s"), (59_999, "59s"), (60_000, "1m"), (3_600_000, "1h"), (172_799_000, "47h"), (172_800_000, "2d")];
        for (ms, text) in rows {
            assert_eq!(Moment(1000).age(Moment(1000 + ms)), text);
        }
        assert_eq!(Moment(5000).age(Moment(0)), "0s");
    }
}
