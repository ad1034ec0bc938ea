//! Snapshots: wanted and deleted at random; what a node does about them beside its replica; and what must hold of them.
//!
//! A snapshot is known by its number and its place. What the primary's store held when it gave it that place is what every
//! replica must hold under that number and place, whatever becomes of it.

use std::collections::{BTreeMap, BTreeSet};

use block::{SnapshotId, WriteSeq};
use replication::Event;

use super::{World, index};
use crate::history::Op;
use crate::media::{BLOCKS, GROUPS, Media, Value};

/// Snapshots at a time.
const WANTED_MAX: usize = 3;

/// All that is known of snapshots.
#[derive(Debug, Default)]
pub struct Cuts {
    last: u64,
    /// What the control plane wants, and where it was cut as far as a primary said so.
    pub wanted: BTreeMap<SnapshotId, Option<WriteSeq>>,
    doomed: BTreeSet<SnapshotId>,
    /// What a snapshot holds that was cut at a place.
    pub made: BTreeMap<(SnapshotId, WriteSeq), Made>,
}

/// A snapshot that was given a place.
#[derive(Clone, Copy, Debug)]
pub struct Made {
    values: [Value; GROUPS],
    when: u64,
    generation: u64,
    /// A primary said that it is there for good.
    told: Option<u64>,
    /// An operator gave up what came before: it may hold what was lost.
    forced: bool,
}

impl Cuts {
    /// An operator goes on from this replica, and gives up what it lacks.
    pub fn forced(&mut self, media: &Media) {
        self.made.values_mut().for_each(|made| made.forced = true);
        let is_there = |id: &SnapshotId, at: WriteSeq| media.snapshots.get(id).is_some_and(|found| found.at == at);
        // One of the same number that it cut elsewhere is not the one that was told of.
        let lost: Vec<SnapshotId> =
            self.wanted.iter().filter(|(id, at)| at.is_some_and(|at| !is_there(id, at))).map(|(id, _)| *id).collect();
        for id in lost {
            self.wanted.remove(&id);
            self.doomed.insert(id);
        }
    }

    fn is_doomed(&self, id: SnapshotId, at: WriteSeq) -> bool {
        self.doomed.contains(&id) || self.wanted.get(&id).is_some_and(|known| known.is_some_and(|known| known != at))
    }
}

impl World {
    /// One more is wanted.
    pub(super) fn want_snapshot(&mut self) -> SnapshotId {
        let id = SnapshotId(self.cuts.last + 1);
        if self.cuts.wanted.len() < WANTED_MAX {
            self.cuts.last = id.0;
            self.cuts.wanted.insert(id, None);
        }
        id
    }

    /// One is not wanted any more, wherever it is.
    pub(super) fn doom_snapshot(&mut self) {
        let all: Vec<SnapshotId> = self.cuts.wanted.keys().copied().collect();
        if !all.is_empty() {
            let id = self.random.pick(&all);
            self.cuts.wanted.remove(&id);
            self.cuts.doomed.insert(id);
        }
    }

    /// What a node does about snapshots when it looks at a volume.
    pub(super) fn see_to_snapshots(&mut self, host: usize) -> Result<(), String> {
        if self.cut_off.contains(&host) {
            return Ok(());
        }
        self.delete_doomed(host)?;
        let uncut: Vec<SnapshotId> =
            self.cuts.wanted.iter().filter(|(_, at)| at.is_none()).map(|(id, _)| *id).collect();
        for id in uncut {
            let me = &self.hosts[host];
            let takes = me.busy_until <= self.now && me.orders.is_empty() && me.replica.is_serving();
            match me.media.snapshots.get(&id).map(|found| found.at) {
                _ if !takes => return Ok(()),
                Some(at) if me.replica.vouches_for(at) => self.told_of(id, at),
                Some(at) => self.make_stable(host, at)?,
                None => self.cut(host, id)?,
            }
        }
        Ok(())
    }

    fn delete_doomed(&mut self, host: usize) -> Result<(), String> {
        let found = self.hosts[host].media.snapshots.iter();
        let doomed: Vec<SnapshotId> =
            found.filter(|(id, found)| self.cuts.is_doomed(**id, found.at)).map(|(id, _)| *id).collect();
        for id in doomed {
            self.count("snapshot deleted");
            self.hosts[host].media.drop_snapshot(id);
            self.handle(host, Event::SnapshotDeleted { id })?;
        }
        Ok(())
    }

    fn told_of(&mut self, id: SnapshotId, at: WriteSeq) {
        let now = self.now;
        self.cuts.wanted.insert(id, Some(at));
        let made = self.cuts.made.get_mut(&(id, at)).expect("somebody gave it its place");
        made.told = Some(now);
        let is_older = at.epoch != self.control.decided.epoch;
        self.count("snapshot");
        self.count_if(is_older, "snapshot of an earlier primary");
    }

    fn make_stable(&mut self, host: usize, at: WriteSeq) -> Result<(), String> {
        let mut effects = Vec::new();
        let now = self.time();
        let _ = self.hosts[host].replica.make_stable(now, at, &mut effects);
        self.carry_out(host, effects)
    }

    fn cut(&mut self, host: usize, id: SnapshotId) -> Result<(), String> {
        let mut effects = Vec::new();
        let now = self.time();
        let Ok(at) = self.hosts[host].replica.cut(now, id, BLOCKS, &mut effects) else { return Ok(()) };
        let generation = self.generation_at(host).expect("a primary has a configuration");
        let values = self.hosts[host].media.now.map(|version| version.value);
        let made = Made { values, when: self.now, generation, told: None, forced: false };
        if self.cuts.made.insert((id, at), made).is_some() {
            return Err(format!("I1: two changes have the place {at}"));
        }
        self.carry_out(host, effects)
    }

    /// I13, and what was told of is on stable media of every member.
    pub(super) fn check_snapshots(&self) -> Result<(), String> {
        for (number, host) in self.hosts.iter().enumerate() {
            let all = [&host.media.snapshots, &host.media.durable_snapshots];
            for (id, found) in all.into_iter().flatten() {
                let made = self.cuts.made.get(&(*id, found.at)).ok_or_else(|| format!("I11: nobody cut {id:?}"))?;
                if found.values() != made.values {
                    let (found, at, made) = (found.values(), found.at, made.values);
                    return Err(format!("I13: {id:?} at {at} holds {found:?} at {number}, and was cut of {made:?}"));
                }
            }
        }
        for (id, at) in self.cuts.wanted.iter().filter_map(|(id, at)| Some((id, (*at)?))) {
            for member in self.control.decided.members.keys() {
                let found = self.hosts[index(*member)].media.durable_snapshots.get(id);
                if found.is_none_or(|found| found.at != at) {
                    return Err(format!("I5: member {} may lose {id:?} at {at}: it has {found:?}", member.0));
                }
            }
        }
        Ok(())
    }

    /// Whether every snapshot that is wanted is known, and no other is anywhere.
    pub(super) fn are_snapshots_settled(&self) -> bool {
        self.cuts.wanted.values().all(Option::is_some)
            && self.wanted().all(|host| {
                let found = &self.hosts[host].media.snapshots;
                found.iter().all(|(id, found)| self.cuts.wanted.get(id) == Some(&Some(found.at)))
            })
    }

    /// I10: every replica has every snapshot.
    pub(super) fn compare_snapshots(&self) -> Result<(), String> {
        for host in self.wanted() {
            let found = &self.hosts[host].media.durable_snapshots;
            let found: BTreeMap<_, _> = found.iter().map(|(id, found)| (*id, Some(found.at))).collect();
            if found != self.cuts.wanted {
                return Err(format!("I10: replica {host} has {found:?} of {:?}", self.cuts.wanted));
            }
        }
        Ok(())
    }

    /// A snapshot that was told of read the volume between its cut and that moment: it holds what was acknowledged before, and
    /// nothing that was asked for later.
    pub(super) fn note_cuts(&mut self) {
        let told = self.cuts.made.values().filter(|made| !made.forced);
        for (made, returned) in told.filter_map(|made| Some((made, made.told?))) {
            let (generation, invoked) = (made.generation, made.when);
            for (group, value) in made.values.into_iter().enumerate() {
                let returned = Some(returned);
                self.history.push(Op { group, value, is_read: true, invoked, returned, generation, initial: false });
            }
        }
    }
}
