//! How fast learners are taught: as fast as can be while no client is at work, and so that clients hardly notice while one is.
//!
//! What clients notice is how long their requests take. That is looked at in windows. In some of them nothing is taught, and
//! what requests take then is what they should take; when they take much longer in the others, less is taught, otherwise
//! more. A learner is never left without any lesson for long: as long as it learns, there is a copy too few.

use std::time::Duration;

use block::Instant;

/// One look at what requests take.
const WINDOW: Duration = Duration::from_millis(100);
/// Of so many windows one is without lessons.
const WINDOWS: u32 = 16;
/// Groups a second: with clients at work at least, and at first; without any at most. A group is 256 KiB.
const RATE_MIN: u32 = 64;
const RATE_FIRST: u32 = 256;
const RATE_MAX: u32 = 8192;
/// Groups that may be made up for when the node looks late.
const BURST: u32 = 4;
/// Requests may take so much longer with lessons than without, in percent.
const SLOWER_PERCENT: u32 = 135;
/// What a request takes depends on its size; of large ones it says nothing about others.
const REQUEST_BYTES_MAX: u32 = 64 << 10;

/// The pace of a node, for all that it teaches.
#[derive(Debug)]
pub(crate) struct Pace {
    /// Groups a second.
    rate: u32,
    /// The next group may be read then.
    next_at: Instant,
    window: Window,
    /// Windows since one was without lessons.
    windows: u32,
    /// What a request takes when nothing is taught.
    usual: Option<Duration>,
}

/// What was seen since it began.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    ends: Instant,
    requests: u32,
    took: Duration,
    taught: u32,
    /// Nothing is taught in it.
    listens: bool,
    /// Somebody waited for an answer.
    awaited: bool,
}

impl Default for Pace {
    fn default() -> Self {
        let (next_at, window) = (Instant::default(), Window::default());
        Self { rate: RATE_MAX, next_at, window, windows: 0, usual: None }
    }
}

impl Pace {
    /// A client's request ended.
    pub fn answered(&mut self, now: Instant, len_bytes: u32, took: Duration) {
        self.look(now);
        if len_bytes <= REQUEST_BYTES_MAX {
            self.window.requests += 1;
            self.window.took += took;
        }
    }

    /// How many groups may be read now, of so many; `awaited`: clients wait for answers.
    pub fn allow(&mut self, now: Instant, wanted: u32, awaited: bool) -> u32 {
        self.look(now);
        self.window.awaited |= awaited;
        if self.window.listens {
            return 0;
        }
        let step = self.step();
        // Of a pause, so many count.
        if now.since(self.next_at) > step * BURST {
            self.next_at = now;
        }
        let mut allowed = 0;
        while allowed < wanted && self.next_at <= now {
            self.next_at = self.next_at + step;
            allowed += 1;
        }
        self.window.taught += allowed;
        allowed
    }

    /// When there is more to be allowed.
    pub fn deadline(&self) -> Instant {
        if self.window.listens { self.window.ends } else { self.next_at }
    }

    fn step(&self) -> Duration {
        Duration::from_secs(1) / self.rate
    }

    /// Ends a window that is over, and begins the next one.
    fn look(&mut self, now: Instant) {
        let window = self.window;
        if now < window.ends {
            return;
        }
        let is_late = now.since(window.ends) > WINDOW;
        self.learn(&window);
        self.windows += 1;
        let busy = window.requests > 0 || window.awaited;
        let listens = busy && !is_late && (self.windows >= WINDOWS || self.usual.is_none());
        if listens {
            self.windows = 0;
        }
        self.window = Window { ends: now + WINDOW, listens, ..Window::default() };
    }

    /// What follows from a window.
    fn learn(&mut self, window: &Window) {
        if window.requests == 0 {
            // Whoever waited all the time for one answer waited too long.
            self.rate = if window.awaited { self.slower() } else { RATE_MAX };
            return;
        }
        let took = window.took / window.requests;
        if window.taught == 0 {
            self.usual = Some(self.usual.map_or(took, |usual| (usual * 3 + took) / 4));
            if !window.listens {
                self.rate = RATE_FIRST;
            }
            return;
        }
        let is_slow = self.usual.is_some_and(|usual| took * 100 > usual * SLOWER_PERCENT);
        self.rate = if is_slow { self.slower() } else { (self.rate + self.rate / 4).min(RATE_MAX) };
    }

    fn slower(&self) -> u32 {
        (self.rate.min(RATE_FIRST * 4) * 7 / 10).max(RATE_MIN)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use block::Instant;

    use super::{Pace, RATE_MIN};

    const TURN: Duration = Duration::from_micros(500);

    /// Clients at depth one, and a device that takes `group` for every group beside them: groups taught and requests answered
    /// in a time.
    struct Scene {
        now: Instant,
        pace: Pace,
        /// What a request takes alone, and what every group adds to those beside it.
        request: Option<Duration>,
        group: Duration,
    }

    impl Scene {
        fn pass(&mut self, time: Duration, teaches: bool) -> (u32, u32) {
            let (end, mut groups, mut requests) = (self.now + time, 0, 0);
            let mut since = self.now;
            let mut delay = Duration::ZERO;
            while self.now < end {
                if teaches {
                    let allowed = self.pace.allow(self.now, 4, self.request.is_some());
                    delay += self.group * allowed;
                    groups += allowed;
                }
                if let Some(request) = self.request
                    && self.now.since(since) >= request + delay
                {
                    self.pace.answered(self.now, 4096, self.now.since(since));
                    (since, delay) = (self.now, Duration::ZERO);
                    requests += 1;
                }
                self.now = self.now + TURN;
            }
            (groups, requests)
        }
    }

    fn scene(request: Option<Duration>, group: Duration) -> Scene {
        Scene { now: Instant(1_000_000_000), pace: Pace::default(), request, group }
    }

    #[test]
    fn without_clients_nothing_holds_learners_up() {
        let (groups, _) = scene(None, Duration::ZERO).pass(Duration::from_secs(2), true);
        assert!(groups > 10_000, "{groups}");
    }

    #[test]
    fn clients_are_slowed_down_by_a_third_at_most_and_learners_get_what_is_left() {
        let mut scene = scene(Some(Duration::from_millis(2)), Duration::from_millis(1));
        let (_, alone) = scene.pass(Duration::from_secs(4), false);
        let _ = scene.pass(Duration::from_secs(2), true);
        let (groups, beside) = scene.pass(Duration::from_secs(4), true);
        assert!(beside * 100 >= alone * 65, "{beside} of {alone} requests");
        assert!(groups > 4 * 200, "{groups} groups in 4 s");
    }

    #[test]
    fn learners_are_taught_however_slow_the_device_is() {
        let mut scene = scene(Some(Duration::from_millis(20)), Duration::from_millis(100));
        let _ = scene.pass(Duration::from_secs(2), false);
        let (groups, _) = scene.pass(Duration::from_secs(4), true);
        assert!(groups >= RATE_MIN * 3, "{groups} groups in 4 s");
    }

    #[test]
    fn when_clients_have_gone_learners_are_taught_at_once() {
        let mut scene = scene(Some(Duration::from_millis(2)), Duration::from_millis(4));
        let _ = scene.pass(Duration::from_secs(4), true);
        scene.request = None;
        let _ = scene.pass(Duration::from_millis(300), true);
        let (groups, _) = scene.pass(Duration::from_secs(1), true);
        assert!(groups > 5_000, "{groups}");
    }
}
