//! What is to be said now, given what was said on this stream before: all at first, then what changed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use block::VolumeId;
use node::ReplicaObservation;

use crate::machine::Holding;

/// How long a change of the used bytes may stay unsaid when it is all there is to say.
const USED_EVERY: Duration = Duration::from_secs(5);
/// Unless it is that part of the pool.
const USED_PART: u64 = 100;

/// What was said on one stream.
#[derive(Debug, Default)]
pub(super) struct Said {
    last: Option<Last>,
}

#[derive(Debug)]
struct Last {
    heard: u64,
    pool: Pool,
    replicas: BTreeMap<VolumeId, ReplicaObservation>,
    used_said: Instant,
}

/// A pool without its replicas.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Pool {
    pub capacity_bytes: u64,
    pub used_bytes: u64,
    pub failed: bool,
}

/// One report.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Delta {
    pub heard: u64,
    /// Nothing if the pool and its replicas are as they were.
    pub pool: Option<PoolDelta>,
}

/// What there is to say of the pool.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct PoolDelta {
    pub pool: Pool,
    /// `replicas` are all there are.
    pub whole: bool,
    pub replicas: Vec<ReplicaObservation>,
    pub gone: Vec<VolumeId>,
}

impl Said {
    /// What there is to say at `now` of what is held; nothing if that was said. Once answered it counts as said.
    pub fn next(&mut self, now: Instant, holding: &Holding) -> Option<Delta> {
        let delta = match &self.last {
            None => whole(holding),
            Some(last) => last.changed(now, holding)?,
        };
        let used_said = match &self.last {
            Some(last) if delta.pool.is_none() => last.used_said,
            Some(_) | None => now,
        };
        let pool = match &self.last {
            // What was not said is still to be said.
            Some(last) if delta.pool.is_none() => last.pool,
            Some(_) | None => pool_of(holding),
        };
        let replicas = by_volume(holding);
        self.last = Some(Last { heard: delta.heard, pool, replicas, used_said });
        Some(delta)
    }
}

impl Last {
    fn changed(&self, now: Instant, holding: &Holding) -> Option<Delta> {
        let found = by_volume(holding);
        let replicas: Vec<_> =
            found.values().filter(|replica| self.replicas.get(&replica.volume) != Some(*replica)).cloned().collect();
        let gone: Vec<_> = self.replicas.keys().filter(|volume| !found.contains_key(volume)).copied().collect();
        let pool = pool_of(holding);
        let worth_it = !replicas.is_empty() || !gone.is_empty() || self.pool_is_news(now, pool);
        let pool = worth_it.then_some(PoolDelta { pool, whole: false, replicas, gone });
        let heard = holding.observation.heard;
        (pool.is_some() || heard != self.heard).then_some(Delta { heard, pool })
    }

    fn pool_is_news(&self, now: Instant, pool: Pool) -> bool {
        let moved_bytes = pool.used_bytes.abs_diff(self.pool.used_bytes);
        let is_due = moved_bytes > 0 && now.duration_since(self.used_said) >= USED_EVERY;
        let is_much = moved_bytes > 0 && moved_bytes >= pool.capacity_bytes / USED_PART;
        Pool { used_bytes: self.pool.used_bytes, ..pool } != self.pool || is_due || is_much
    }
}

fn whole(holding: &Holding) -> Delta {
    let replicas = by_volume(holding).into_values().collect();
    let pool = PoolDelta { pool: pool_of(holding), whole: true, replicas, gone: Vec::new() };
    Delta { heard: holding.observation.heard, pool: Some(pool) }
}

fn pool_of(holding: &Holding) -> Pool {
    let Holding { capacity_bytes, used_bytes, failed, .. } = *holding;
    Pool { capacity_bytes, used_bytes, failed }
}

fn by_volume(holding: &Holding) -> BTreeMap<VolumeId, ReplicaObservation> {
    holding.observation.replicas.iter().map(|replica| (replica.volume, replica.clone())).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::{Duration, Instant};

    use block::{PoolId, VolumeId};
    use node::{Observation, ReplicaObservation};

    use super::{Delta, Said, USED_EVERY};
    use crate::machine::Holding;

    const CAPACITY_BYTES: u64 = 1000;

    fn holding(heard: u64, used_bytes: u64, replicas: &[(u64, u64)]) -> Holding {
        let replica = |(volume, generation): &(u64, u64)| ReplicaObservation {
            volume: VolumeId(*volume),
            size_bytes: 1 << 20,
            generation: *generation,
            epoch_seen: block::Epoch(0),
            lost_blocks: 0,
            copy: None,
            snapshots: Vec::new(),
            hold: None,
            cut_refused: None,
            branch_points: 0,
        };
        let observation = Observation { heard, replicas: replicas.iter().map(replica).collect() };
        Holding { pool: PoolId(1), capacity_bytes: CAPACITY_BYTES, used_bytes, failed: false, observation }
    }

    /// What somebody knows who listened from the beginning.
    #[derive(Default, PartialEq, Debug)]
    struct Listener {
        heard: u64,
        failed: bool,
        replicas: BTreeMap<VolumeId, ReplicaObservation>,
    }

    impl Listener {
        fn hear(&mut self, delta: Delta) {
            self.heard = delta.heard;
            let Some(news) = delta.pool else { return };
            self.failed = news.pool.failed;
            if news.whole {
                self.replicas.clear();
            }
            self.replicas.extend(news.replicas.iter().map(|replica| (replica.volume, replica.clone())));
            self.replicas.retain(|volume, _| !news.gone.contains(volume));
        }
    }

    #[test]
    fn all_is_said_first_and_then_what_changed() {
        let (mut said, now) = (Said::default(), Instant::now());
        let first = said.next(now, &holding(1, 0, &[(1, 0), (2, 0)])).expect("news").pool.expect("the pool");
        assert!(first.whole);
        assert_eq!(first.replicas.len(), 2);
        assert_eq!(said.next(now, &holding(1, 0, &[(1, 0), (2, 0)])), None);
        let second = said.next(now, &holding(2, 0, &[(2, 7), (3, 0)])).expect("news");
        let pool = second.pool.expect("the pool");
        assert!(!pool.whole);
        assert_eq!(pool.replicas.iter().map(|replica| replica.volume.0).collect::<Vec<_>>(), [2, 3]);
        assert_eq!((second.heard, pool.gone), (2, vec![VolumeId(1)]));
        assert_eq!(said.next(now, &holding(3, 0, &[(2, 7), (3, 0)])), Some(Delta { heard: 3, pool: None }));
    }

    #[test]
    fn used_bytes_alone_are_said_now_and_then_or_when_much_has_changed() {
        let (mut said, start) = (Said::default(), Instant::now());
        said.next(start, &holding(1, 0, &[])).expect("news");
        let rows = [
            (Duration::ZERO, 9, false),
            (Duration::ZERO, 10, true),
            (Duration::from_secs(1), 10, false),
            (Duration::from_secs(1), 11, false),
            (USED_EVERY, 11, true),
            (USED_EVERY, 12, false),
            (USED_EVERY, 1, true),
            (3 * USED_EVERY, 1, false),
        ];
        for (after, used_bytes, expected) in rows {
            let news = said.next(start + after, &holding(1, used_bytes, &[]));
            assert_eq!(news.is_some(), expected, "{used_bytes} bytes after {after:?}");
        }
        let failed = Holding { failed: true, ..holding(1, 2, &[]) };
        assert!(said.next(start + 3 * USED_EVERY, &failed).is_some_and(|delta| delta.pool.is_some()));
    }

    #[test]
    fn what_was_not_said_with_an_acknowledgement_is_said_later() {
        let (mut said, start) = (Said::default(), Instant::now());
        said.next(start, &holding(1, 0, &[])).expect("news");
        assert_eq!(said.next(start, &holding(2, 5, &[])).expect("news").pool, None);
        let late = said.next(start + USED_EVERY, &holding(2, 5, &[])).expect("news");
        assert_eq!(late.pool.expect("the pool").pool.used_bytes, 5);
    }

    #[test]
    fn who_listens_from_the_beginning_knows_all() {
        let (mut said, now, mut listener) = (Said::default(), Instant::now(), Listener::default());
        let mut random = 1_u64;
        for heard in 0..500 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let present = (random >> 32) & 0xff;
            let replicas: Vec<_> =
                (0..8).filter(|bit| present & (1 << bit) != 0).map(|bit| (bit, (random >> (40 + bit)) & 1)).collect();
            let holding = Holding { failed: random >> 63 == 1, ..holding(heard / 3, 0, &replicas) };
            if let Some(delta) = said.next(now, &holding) {
                listener.hear(delta);
            }
            let replicas =
                holding.observation.replicas.iter().map(|replica| (replica.volume, replica.clone())).collect();
            assert_eq!(listener, Listener { heard: heard / 3, failed: holding.failed, replicas });
        }
    }
}
