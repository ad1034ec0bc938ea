//! Times without an answer, by the fault that made them.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// The longest time without an answer around each fault.
#[derive(Debug, Default)]
pub struct Gaps {
    by_fault: BTreeMap<String, Vec<Duration>>,
    last: Duration,
}

impl Gaps {
    /// Around one fault.
    pub fn add(&mut self, fault: &str, gap: Duration) {
        self.last = gap;
        self.by_fault.entry(fault.to_owned()).or_default().push(gap);
    }
}

impl Gaps {
    /// That of the last fault.
    pub fn last(&self) -> Duration {
        self.last
    }
}

impl fmt::Display for Gaps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:34} {:>5} {:>9} {:>9} {:>9}", "time without an answer", "runs", "p50", "p99", "worst")?;
        for (fault, gaps) in &self.by_fault {
            let mut gaps = gaps.clone();
            gaps.sort_unstable();
            let at = |percent: usize| format!("{:.2?}", gaps[(gaps.len() - 1) * percent / 100]);
            writeln!(f, "{fault:34} {:>5} {:>9} {:>9} {:>9}", gaps.len(), at(50), at(99), at(100))?;
        }
        Ok(())
    }
}
