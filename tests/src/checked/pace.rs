//! How evenly answers came.

use std::fmt;
use std::time::{Duration, Instant};

/// Times between a request and its answer, and between two answers.
#[derive(Debug)]
pub struct Pace {
    answers: u64,
    last: Instant,
    longest: Duration,
    took_us: Vec<u32>,
}

/// Latencies at a glance.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Latency {
    /// Of so many answers.
    pub answers: usize,
    /// The middle one.
    pub p50: Duration,
    /// 99 of 100 took no longer.
    pub p99: Duration,
    /// The longest.
    pub worst: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { answers: 0, last: Instant::now(), longest: Duration::ZERO, took_us: Vec::new() }
    }
}

impl Pace {
    /// A request that took so long was answered.
    pub fn answered(&mut self, took: Duration) {
        let now = Instant::now();
        self.longest = self.longest.max(now - self.last);
        self.last = now;
        self.answers += 1;
        self.took_us.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
    }

    /// Answers so far.
    #[must_use]
    pub fn answers(&self) -> u64 {
        self.answers
    }

    /// Begins to look for the longest time without an answer.
    pub fn mark(&mut self) {
        self.last = Instant::now();
        self.longest = Duration::ZERO;
    }

    /// The longest time without an answer since then.
    #[must_use]
    pub fn longest(&self) -> Duration {
        self.longest.max(self.last.elapsed())
    }

    /// Latencies since this was asked last; none without an answer.
    pub fn take_latency(&mut self) -> Option<Latency> {
        let mut all = std::mem::take(&mut self.took_us);
        all.sort_unstable();
        let at = |percent: usize| Duration::from_micros(u64::from(all[(all.len() - 1) * percent / 100]));
        (!all.is_empty()).then(|| Latency { answers: all.len(), p50: at(50), p99: at(99), worst: at(100) })
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { answers, p50, p99, worst } = self;
        write!(f, "{answers} answers, p50 {p50:.1?}, p99 {p99:.1?}, worst {worst:.1?}")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Pace;

    #[test]
    fn percentiles_are_those_of_the_answers() {
        let mut pace = Pace::default();
        (1..=101).for_each(|ms| pace.answered(Duration::from_millis(ms)));
        let latency = pace.take_latency().unwrap();
        assert_eq!((latency.answers, latency.p50.as_millis(), latency.p99.as_millis()), (101, 51, 100));
        assert_eq!(latency.worst.as_millis(), 101);
        assert_eq!(pace.take_latency(), None);
        assert_eq!(pace.answers(), 101);
    }
}
