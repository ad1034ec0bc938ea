//! Compares the replicas of a volume while it is used: every member says what it holds as of the same change.
//!
//! One comparison is of some groups. Whoever wants all of a volume compared asks again and again; nothing is kept in
//! between. Only the primary can be asked: it knows which change is the last one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use block::{Instant, PoolId, VolumeId, WriteSeq};
use replication::{Aside, COMPARED_GROUPS_MAX, Found, GroupRange, Snapshot};
use store::SnapshotState;

use crate::command::{Absence, Answer, ComparedReplica, ControlError, LostBlock};
use crate::copies::content::known;
use crate::copies::look::{Asker, Question};
use crate::copies::work::Work;
use crate::event::ControlId;
use crate::pipeline::Pipeline;

/// Comparisons at a time.
const COMPARISONS_MAX: usize = 4;
/// Lost blocks that are named.
const LOST_TOLD_MAX: usize = 64;
/// How long members may take to say what their maps hold.
const MAP_MAX: Duration = Duration::from_secs(2);
/// How long they may take when they read it.
const READ_MAX: Duration = Duration::from_secs(60);

/// Those that have not ended.
#[derive(Debug, Default)]
pub(crate) struct Comparisons {
    running: BTreeMap<u64, Comparison>,
    last: u64,
    /// Answers for those who asked.
    pub ended: Vec<(ControlId, Result<Answer, ControlError>)>,
}

#[derive(Debug)]
struct Comparison {
    asker: ControlId,
    /// Who has not answered.
    waiting: BTreeSet<PoolId>,
    replicas: BTreeMap<PoolId, ComparedReplica>,
    until: Instant,
}

fn another(pool: PoolId, found: Result<Found, Absence>) -> ComparedReplica {
    ComparedReplica { pool, found, lost: Vec::new() }
}

impl Comparisons {
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        let ended = (!self.ended.is_empty()).then_some(now);
        self.running.values().map(|one| one.until).chain(ended).min()
    }

    fn note(&mut self, number: u64, replica: ComparedReplica) {
        let Some(one) = self.running.get_mut(&number) else { return };
        if !one.waiting.remove(&replica.pool) {
            return;
        }
        one.replicas.insert(replica.pool, replica);
        if one.waiting.is_empty() {
            self.end(number);
        }
    }

    fn end(&mut self, number: u64) {
        let Some(mut one) = self.running.remove(&number) else { return };
        one.replicas.extend(one.waiting.into_iter().map(|pool| (pool, another(pool, Err(Absence::Silent)))));
        self.ended.push((one.asker, Ok(Answer::Compared(one.replicas.into_values().collect()))));
    }
}

impl Pipeline {
    /// Begins a comparison.
    pub(crate) fn compare(
        &mut self,
        asker: ControlId,
        id: VolumeId,
        groups: GroupRange,
        reads: bool,
    ) -> Result<(), ControlError> {
        let volume = self.volumes.get(&id).filter(|volume| volume.is_served_here()).ok_or(ControlError::NotServed)?;
        if !(1..=COMPARED_GROUPS_MAX).contains(&groups.count) {
            return Err(ControlError::BadGroups { found: groups.count });
        }
        if self.copies.comparisons.running.len() >= COMPARISONS_MAX {
            return Err(ControlError::TooManyCommands(COMPARISONS_MAX));
        }
        let (me, copy) = (self.copies.me, volume.copy.as_deref());
        let place = copy.map(|copy| copy.replica.status());
        let configuration = copy.and_then(|copy| copy.replica.configuration());
        let others: Vec<PoolId> = configuration
            .into_iter()
            .flat_map(|found| found.members.keys().copied())
            .filter(|pool| *pool != me)
            .collect();
        self.copies.comparisons.last += 1;
        let number = self.copies.comparisons.last;
        let until = self.copies.now + if reads { READ_MAX } else { MAP_MAX };
        let waiting = others.iter().copied().chain([me]).collect();
        let comparison = Comparison { asker, waiting, replicas: BTreeMap::new(), until };
        self.copies.comparisons.running.insert(number, comparison);
        let snapshots = self.compared_snapshots(id);
        let question = Question { asker: Asker::Here { number }, groups, reads, snapshots: snapshots.clone() };
        let Some(status) = place else {
            self.look(id, question);
            return Ok(());
        };
        let at = WriteSeq { epoch: status.epoch, n: status.received };
        for peer in others {
            let snapshots = snapshots.clone();
            self.ask_member(id, peer, &Aside::Compare { id: number, at, groups, reads, snapshots }, number);
        }
        if let Some(copy) = self.copy_mut(id) {
            copy.work.push_back(Work::Look(question));
        }
        self.hand_work(id);
        Ok(())
    }

    /// Snapshots that every member has, by rising place.
    fn compared_snapshots(&self, id: VolumeId) -> Vec<Snapshot> {
        let copy = self.volumes.get(&id).and_then(|volume| volume.copy.as_deref());
        let is_there = |found: &&SnapshotState| copy.is_none_or(|copy| copy.replica.vouches_for(found.seq));
        let mut snapshots: Vec<_> = self.store.snapshots_of(id).filter(is_there).map(known).collect();
        snapshots.sort_unstable();
        snapshots
    }

    fn ask_member(&mut self, id: VolumeId, peer: PoolId, question: &Aside, number: u64) {
        let copy = self.volumes.get(&id).and_then(|volume| volume.copy.as_deref());
        let is_up = copy.is_some_and(|copy| copy.ties.get(&peer).is_some_and(|tie| tie.link.is_up()));
        let absence = match (is_up, self.copies.peers.hears_asides(peer)) {
            (false, _) => Absence::Disconnected,
            (true, false) => Absence::Old,
            (true, true) => return self.post_aside(id, peer, question),
        };
        self.copies.comparisons.note(number, another(peer, Err(absence)));
    }

    /// What this node's own replica holds.
    pub(super) fn found_here(&mut self, id: VolumeId, number: u64, found: Option<Found>) {
        let lost = self.lost_now(id).map(|place| LostBlock { snapshot: place.of, block: place.block });
        let lost = lost.take(LOST_TOLD_MAX).collect();
        let here = ComparedReplica { pool: self.copies.me, found: found.ok_or(Absence::Moved), lost };
        self.copies.comparisons.note(number, here);
    }

    /// What another one holds.
    pub(super) fn heard_compared(&mut self, peer: PoolId, number: u64, found: Option<Found>) {
        self.copies.comparisons.note(number, another(peer, found.ok_or(Absence::Moved)));
    }

    /// Ends those for which somebody did not answer in time.
    pub(super) fn end_late_comparisons(&mut self) {
        let now = self.copies.now;
        let late = self.copies.comparisons.running.iter().filter(|(_, one)| one.until <= now);
        let late: Vec<u64> = late.map(|(number, _)| *number).collect();
        late.into_iter().for_each(|number| self.copies.comparisons.end(number));
    }

    /// The node stops.
    pub(crate) fn give_up_comparing(&mut self) {
        let all = std::mem::take(&mut self.copies.comparisons.running);
        let ended = all.into_values().map(|one| (one.asker, Err(ControlError::Stopping)));
        self.copies.comparisons.ended.extend(ended);
    }
}
