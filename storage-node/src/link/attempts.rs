//! Whom to try next, and when.

use std::time::Duration;

use rustix::rand::{GetRandomFlags, getrandom};

/// First and longest pause after an attempt that failed.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_millis(500);
/// Voters may be of different minds who leads: after so many hints in a row a pause is made.
const HINTS_MAX: u32 = 3;

/// The addresses of the control plane, in turn.
#[derive(Debug)]
pub(super) struct Attempts {
    addresses: Vec<String>,
    next: usize,
    /// Where a voter said that the leader is.
    hint: Option<String>,
    /// Hints since a leader was found.
    hints: u32,
    pause: Duration,
}

impl Attempts {
    /// At least one address.
    pub fn new(addresses: Vec<String>) -> Self {
        assert!(!addresses.is_empty(), "a configuration without one is refused");
        Self { addresses, next: 0, hint: None, hints: 0, pause: PAUSE_MIN }
    }

    /// Whom to try.
    pub fn next(&mut self) -> String {
        self.hint.take().unwrap_or_else(|| {
            let address = self.addresses[self.next].clone();
            self.next = (self.next + 1) % self.addresses.len();
            address
        })
    }

    /// Somebody said that `leader` leads: that is whom to try next. Answers how long to wait before that.
    pub fn follow(&mut self, leader: String) -> Duration {
        self.hint = Some(leader);
        self.hints += 1;
        if self.hints <= HINTS_MAX { Duration::ZERO } else { self.failed() }
    }

    /// An attempt failed: how long to wait. Nodes that lost the same leader do not all come back at the same moment.
    pub fn failed(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = (2 * pause).min(PAUSE_MAX);
        pause.mul_f64(0.5 + random_half())
    }

    /// A leader was found.
    pub fn succeeded(&mut self) {
        (self.hints, self.pause) = (0, PAUSE_MIN);
    }
}

/// From 0 to a half.
fn random_half() -> f64 {
    let mut byte = [0; 1];
    // Without random numbers there is no jitter, which is no reason to fail.
    let _ = getrandom(&mut byte, GetRandomFlags::NONBLOCK);
    f64::from(byte[0]) / 512.0
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Attempts, HINTS_MAX, PAUSE_MAX, PAUSE_MIN};

    fn two() -> Attempts {
        Attempts::new(vec!["a:1".to_owned(), "b:1".to_owned()])
    }

    #[test]
    fn addresses_are_tried_in_turn_and_a_named_leader_first() {
        let mut attempts = two();
        assert_eq!((attempts.next(), attempts.next(), attempts.next()), ("a:1".into(), "b:1".into(), "a:1".into()));
        assert_eq!(attempts.follow("c:1".to_owned()), Duration::ZERO);
        assert_eq!((attempts.next(), attempts.next()), ("c:1".into(), "b:1".into()));
    }

    #[test]
    fn pauses_grow_up_to_a_bound_and_begin_anew_when_a_leader_was_found() {
        let mut attempts = two();
        for _ in 0..2 {
            let mut expected = PAUSE_MIN;
            for _ in 0..20 {
                let pause = attempts.failed();
                assert!(expected / 2 <= pause && pause <= expected, "{pause:?} of {expected:?}");
                expected = (2 * expected).min(PAUSE_MAX);
            }
            attempts.succeeded();
        }
    }

    #[test]
    fn voters_that_send_a_node_in_circles_slow_it_down() {
        let mut attempts = two();
        for _ in 0..HINTS_MAX {
            assert_eq!(attempts.follow("b:1".to_owned()), Duration::ZERO);
        }
        assert!(attempts.follow("b:1".to_owned()) > Duration::ZERO);
        attempts.succeeded();
        assert_eq!(attempts.follow("b:1".to_owned()), Duration::ZERO);
    }
}
