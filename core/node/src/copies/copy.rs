//! One replicated volume, as its node sees it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use block::{Incarnation, Instant, PoolId, SnapshotId, WriteSeq};
use replication::wire::{Lane, Link};
use replication::{Event, Payload, Replica};

use crate::copies::work::Work;
use crate::mark::Mark;
use crate::slab::Key;

/// The common stable point is kept with the next change, or when none came for so long: nobody waits for it, and by
/// itself it would cost a write to the device for every flush.
pub(super) const STABLE_AFTER: Duration = Duration::from_millis(300);
/// Before a replica whose store was full is taught again: first, and at most. To be taught is the only way to hear that
/// something was discarded; and every time that it becomes a member and leaves again, writes wait for a moment.
pub(super) const FULL_RETRY_MIN: Duration = Duration::from_secs(5);
/// See [`FULL_RETRY_MIN`].
pub(super) const FULL_RETRY_MAX: Duration = Duration::from_secs(300);
/// Two looks at a volume are at least so far apart: what is due may have to wait for something else, like room in the
/// store.
pub(super) const LOOK_AFTER: Duration = Duration::from_millis(2);

/// A replica, and what it waits for and what waits for it.
#[derive(Debug)]
pub(crate) struct Replicated {
    pub replica: Replica<Payload>,
    /// Which it is, as far as its effects were carried out.
    pub incarnation: Incarnation,
    /// Whom it shares the volume with.
    pub ties: BTreeMap<PoolId, Tie>,
    /// What happened to it and was not looked at yet.
    pub events: VecDeque<Event<Payload>>,
    /// What the store told it, put together.
    pub progress: Option<Progress>,
    /// What the store is to be given, in order.
    pub work: VecDeque<Work>,
    /// The newest common stable point that is not kept, and when it must be.
    pub stable: Option<(WriteSeq, Instant)>,
    /// Parts and flushes without a place in the order yet.
    pub waiting: VecDeque<Mark>,
    /// Reads whose content is there and must not be answered yet.
    pub parked: Vec<Key>,
    pub obstacle: Option<Obstacle>,
    /// Whether the replica was told that the pool is nearly full.
    pub is_tight: bool,
    /// How long the next full store lasts.
    pub full_retry: Duration,
    /// Its place in the node's list of deadlines.
    pub due: Option<Instant>,
    pub looked_at: Instant,
    /// What was told of it last.
    pub told: Told,
    /// Snapshots that a primary is to make, and those of them of which it was said that they are there.
    pub uncut: BTreeMap<SnapshotId, Uncut>,
    /// Nobody uses the volume any more: how far its blocks were zeroed by this primary.
    pub retired: Option<u64>,
    /// Snapshots that the store was given: what is read again is not of before them.
    pub cuts: u64,
}

/// A snapshot that has no place as far as the control plane knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Uncut {
    /// It is made only while the volume holds for this group; 0: at any time.
    pub group: u64,
    /// It was said that it is there.
    pub told: bool,
}

/// What it shares with one other replica.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tie {
    pub link: Link,
    /// Which connection each message takes.
    pub lane: Lane,
    /// When a new link is to be begun.
    pub open_at: Option<Instant>,
}

/// How far the store is with the replica's own changes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    pub incarnation: Incarnation,
    pub applied: u64,
    pub durable: u64,
}

/// Why its store takes no changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Obstacle {
    /// There was no room for a change.
    Full { retry_at: Instant },
    /// The device failed, which lasts until the pool is opened anew.
    Failed,
}

/// What others act on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Told {
    pub role: &'static str,
    pub epoch: u32,
    pub incarnation: u64,
    pub is_able: bool,
}

impl Replicated {
    pub fn new(replica: Replica<Payload>) -> Self {
        Self {
            incarnation: replica.incarnation(),
            replica,
            ties: BTreeMap::new(),
            events: VecDeque::new(),
            progress: None,
            work: VecDeque::new(),
            stable: None,
            waiting: VecDeque::new(),
            parked: Vec::new(),
            obstacle: None,
            is_tight: false,
            full_retry: FULL_RETRY_MIN,
            due: None,
            looked_at: Instant::default(),
            told: Told::default(),
            uncut: BTreeMap::new(),
            retired: None,
            cuts: 0,
        }
    }

    /// Whether it can be counted on to take part. Between two tries of a store that is full nobody can tell.
    pub fn is_able(&self) -> bool {
        let was_full = self.full_retry > FULL_RETRY_MIN && self.replica.configuration().is_none();
        self.obstacle.is_none() && !was_full
    }

    /// Whether clients are served here.
    pub fn is_serving(&self) -> bool {
        self.replica.is_serving()
    }

    /// What happened next.
    pub fn next_event(&mut self) -> Option<Event<Payload>> {
        let Some(Progress { incarnation, applied, durable }) = self.progress.take() else {
            return self.events.pop_front();
        };
        Some(Event::Applied { incarnation, applied, durable })
    }

    /// When it must be looked at.
    pub fn deadline(&self) -> Option<Instant> {
        let replica = self.replica.deadline();
        let stable = self.stable.map(|(_, at)| at);
        let full = match self.obstacle {
            Some(Obstacle::Full { retry_at, .. }) => Some(retry_at),
            Some(Obstacle::Failed) | None => None,
        };
        let ties = self.ties.values().filter_map(|tie| tie.open_at).min();
        let soonest = [replica, stable, full, ties].into_iter().flatten().min()?;
        Some(soonest.max(self.looked_at + LOOK_AFTER))
    }

    pub fn now_told(&self) -> Told {
        let status = self.replica.status();
        let (epoch, incarnation) = (status.epoch.0, status.incarnation.0);
        Told { role: status.role, epoch, incarnation, is_able: self.is_able() }
    }
}
