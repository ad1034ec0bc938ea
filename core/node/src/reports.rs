//! Reports about connections, so many a second: a flood of clients does not become a flood of log lines.

use block::Instant;

use crate::event::{Effect, Report};
use crate::limits::{REPORTS_MAX, REPORTS_WINDOW};

/// How many reports went out since when.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    since: Instant,
    count: u32,
    suppressed: u64,
}

impl Reports {
    pub fn push(&mut self, now: Instant, report: Report, effects: &mut Vec<Effect>) {
        if now.since(self.since) >= REPORTS_WINDOW {
            if self.suppressed > 0 {
                effects.push(Effect::Report(Report::Suppressed { count: self.suppressed }));
            }
            *self = Self { since: now, count: 0, suppressed: 0 };
        }
        if self.count < REPORTS_MAX {
            self.count += 1;
            effects.push(Effect::Report(report));
        } else {
            self.suppressed += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use block::Instant;

    use super::Reports;
    use crate::event::{ConnId, Effect, Report, Why};
    use crate::limits::{REPORTS_MAX, REPORTS_WINDOW};

    #[test]
    fn a_flood_is_cut_and_counted() {
        let (mut reports, mut effects) = (Reports::default(), Vec::new());
        let conn = ConnId { slot: 0, generation: 0 };
        let ended = Report::Ended { conn, volume: None, why: Why::Broken };
        let start = Instant(0) + Duration::from_secs(5);
        for _ in 0..REPORTS_MAX + 7 {
            reports.push(start, ended.clone(), &mut effects);
        }
        assert_eq!(effects.len(), REPORTS_MAX as usize);
        effects.clear();
        reports.push(start + REPORTS_WINDOW, ended, &mut effects);
        assert!(matches!(effects[..], [Effect::Report(Report::Suppressed { count: 7 }), Effect::Report(_)]));
    }
}
