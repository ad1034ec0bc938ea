//! Volumes that have replicas on other nodes.
//!
//! ```text
//!   parts, flushes ──> waiting ──> Replica::submit ──> Effect::Apply ──> work ──> store
//!                                       │                                          │
//!                                       └──> Effect::Send ──> peers      Event::Applied ──> Effect::Completed
//! ```
//! A [`Replicated`] is the node's side of one such volume: the replica, what its store is still to be given, and requests
//! that wait for it. Promises: the store is given everything in the order in which the replica wants it; a request that
//! the store would refuse is refused before it has a place in the order; what was admitted while the replica was primary
//! is never answered after it was deposed.
//!
//! Everything here is done by [`Pipeline::pump`](crate::pipeline::Pipeline::pump): whatever happens to a volume marks it,
//! and marked volumes are worked on until nothing follows any more. Effects of one event are carried out before anything
//! that follows from them begins, for the order of what is sent is the order of the volume.
//!
//! Not here: connections (`peers`), what replicas say to each other (`replication`).

mod compare;
mod content;
mod copy;
mod cut;
mod drive;
mod follow;
mod lessons;
mod links;
mod look;
mod mend;
mod observe;
mod pace;
mod reads;
mod rot;
mod submit;
mod teach;
mod work;

use std::collections::{BTreeSet, VecDeque};

use block::{Error, Incarnation, Instant, PoolId, VolumeId};
use replication::{Effect, Payload, Proposal};

pub(crate) use copy::{Replicated, Uncut};
pub(crate) use work::Handed;

use crate::copies::compare::Comparisons;
use crate::copies::look::Look;
use crate::copies::pace::Pace;
use crate::copies::rot::Rot;
use crate::mark::Mark;
use crate::peers::Peers;
use crate::slab::Slab;

/// What the replicated volumes of a node share.
#[derive(Debug)]
pub(crate) struct Copies {
    /// The name of every replica here: that of the pool.
    pub me: PoolId,
    /// A replica begins with this incarnation, which is above all of those that were deleted here: one process may step
    /// down four thousand million times.
    pub first: Incarnation,
    /// Nothing was lost by a loss of power since this incarnation.
    pub warm_from: Incarnation,
    pub now: Instant,
    pub peers: Peers,
    /// What the store was given and has not ended.
    pub handed: Slab<Handed>,
    /// Volumes with something to do.
    pub stirred: BTreeSet<VolumeId>,
    /// Volumes that wait for room in the store.
    pub starved: BTreeSet<VolumeId>,
    /// When each volume is to be looked at; each is here once.
    pub due: BTreeSet<(Instant, VolumeId)>,
    /// Requests that ended, and how.
    pub ended: VecDeque<(Mark, Option<Error>)>,
    /// Volumes whose replica serves no more: their clients' connections end before anything else is answered.
    pub deposed: Vec<VolumeId>,
    pub proposals: Vec<(VolumeId, Proposal)>,
    pub pace: Pace,
    /// Volumes whose learners wait for it, and whose turn was last.
    pub teaching: BTreeSet<VolumeId>,
    pub taught: VolumeId,
    /// Volumes of which there is something new to say.
    pub news: BTreeSet<VolumeId>,
    pub rot: Rot,
    /// Blocks that are being read for others.
    pub reading_for_others: usize,
    pub comparisons: Comparisons,
    pub looks: Slab<Look>,
    pub pumping: bool,
    /// Kept for its memory.
    pub effects: Vec<Effect<Payload>>,
}

impl Copies {
    /// Those of a pool that was opened `opened` times, this time included.
    pub fn new(me: PoolId, opened: u64, cold: bool) -> Self {
        let first = |opened: u64| Incarnation(opened << 32);
        Self {
            me,
            first: first(opened),
            // Of earlier lives it is known only how the last one ended.
            warm_from: first(if cold { opened } else { opened.saturating_sub(1) }),
            now: Instant::default(),
            peers: Peers::new(me, opened << 32),
            handed: Slab::default(),
            stirred: BTreeSet::new(),
            starved: BTreeSet::new(),
            due: BTreeSet::new(),
            ended: VecDeque::new(),
            deposed: Vec::new(),
            proposals: Vec::new(),
            pace: Pace::default(),
            teaching: BTreeSet::new(),
            taught: VolumeId(0),
            news: BTreeSet::new(),
            rot: Rot::default(),
            reading_for_others: 0,
            comparisons: Comparisons::default(),
            looks: Slab::default(),
            pumping: false,
            effects: Vec::new(),
        }
    }

    /// When volumes and peers must be looked at again.
    pub fn deadline(&self) -> Option<Instant> {
        let peers = self.peers.deadline(self.now);
        if self.is_over() {
            return peers;
        }
        let volumes = self.due.first().map(|(at, _)| *at);
        let left = (!self.stirred.is_empty()).then_some(self.now);
        let lessons = (!self.teaching.is_empty()).then(|| self.pace.deadline());
        let asked = [self.rot.deadline(self.now), self.comparisons.deadline(self.now)];
        [volumes, left, peers, lessons].into_iter().chain(asked).flatten().min()
    }

    /// Whether somebody waits for room in the store.
    pub fn waits_for_room(&self) -> bool {
        !self.starved.is_empty() && !self.is_over()
    }

    /// Whether the node has stopped so far that nothing of replicas begins any more: the store takes nothing.
    pub fn is_over(&self) -> bool {
        self.peers.stopping
    }
}
