//! What replicas do among themselves, in short: the primary writes to all members, takes others in and has silent ones
//! removed; a backup whose primary is silent asks to take its place. Their proposals are on their way for a while.

use std::collections::{BTreeMap, BTreeSet};

use block::{Incarnation, PoolId, SnapshotId, VolumeId, WriteSeq};
use cluster::{Change, Configuration, Name, Proposal, ReplicationIntent, Role, Standing};

use crate::world::{SimReplica, SimSnapshot, World, is_held};

/// Writes that were acknowledged, and proposals on their way.
#[derive(Clone, Debug, Default)]
pub struct Members {
    pub acked: BTreeMap<VolumeId, u64>,
    pub pending: Vec<Change>,
    /// The last proposal of each incarnation, until it goes by a later configuration: whoever it would add takes part.
    entering: BTreeMap<(VolumeId, PoolId, Incarnation), Proposal>,
    writes: u64,
    /// Snapshots that every member had when they were cut.
    cuts: BTreeMap<SnapshotId, SimSnapshot>,
}

/// A replica that goes by a configuration.
pub struct Actor {
    pub pool: PoolId,
    pub volume: VolumeId,
    pub standing: Standing,
    pub told: ReplicationIntent,
    pub configuration: Configuration,
}

fn held(world: &World, volume: VolumeId, pool: PoolId) -> Option<(bool, SimReplica)> {
    let mut found =
        world.nodes.values().filter_map(|node| Some((node.up, node.pools.get(&pool)?.get(&volume)?.clone())));
    found.next()
}

fn replica_in(world: &mut World, pool: PoolId, volume: VolumeId) -> &mut SimReplica {
    let node = world.nodes.values_mut().find(|node| node.pools.contains_key(&pool)).unwrap();
    node.pools.get_mut(&pool).unwrap().get_mut(&volume).unwrap()
}

/// Snapshots that a primary was told to cut, and has not.
fn to_cut(world: &World, node: &Name, actor: &Actor) -> Vec<SnapshotId> {
    let (_, held) = held(world, actor.volume, actor.pool).expect("it acts");
    let told = &world.nodes[node].told.replicas[&actor.volume].snapshots;
    let wanted = told.iter().filter(|it| it.at.is_none() && !held.snapshots.contains_key(&it.id));
    wanted.filter(|it| it.group.is_none_or(|group| is_held(&held, group))).map(|it| it.id).collect()
}

/// The replicas of a node that act in a role.
pub fn actors(world: &World, node: &Name, role: Role) -> Vec<Actor> {
    let node = &world.nodes[node];
    let all =
        node.pools.iter().flat_map(|(pool, volumes)| volumes.iter().map(move |(id, it)| (*pool, *id, it.standing)));
    let acting = all.filter(|(_, _, standing)| node.up && standing.role == role);
    let told = acting.filter_map(|(pool, volume, standing)| {
        let told = node.told.replicas.get(&volume).filter(|told| told.pool == pool)?.replication.clone()?;
        let configuration = told.configuration.clone().filter(|found| found.epoch == standing.epoch)?;
        Some(Actor { pool, volume, standing, told, configuration })
    });
    told.collect()
}

impl Members {
    /// Every primary on the node takes a write, as far as all who count have it.
    pub fn write(&mut self, world: &mut World, node: &Name) {
        for actor in actors(world, node, Role::Primary) {
            let Some(needed) = self.needed(world, &actor) else { continue };
            self.writes += 1;
            for pool in needed.keys() {
                replica_in(world, *pool, actor.volume).data = self.writes;
            }
            self.acked.insert(actor.volume, self.writes);
        }
    }

    /// Every primary on the node cuts the snapshots that it is to cut, as far as all who count have them.
    pub fn cut(&mut self, world: &mut World, node: &Name) {
        for actor in actors(world, node, Role::Primary) {
            let Some(needed) = self.needed(world, &actor) else { continue };
            for id in to_cut(world, node, &actor) {
                self.writes += 1;
                let at = WriteSeq { epoch: actor.configuration.epoch, n: self.writes };
                let cut = SimSnapshot { at, data: replica_in(world, actor.pool, actor.volume).data };
                for pool in needed.keys() {
                    replica_in(world, *pool, actor.volume).snapshots.insert(id, cut);
                }
                self.cuts.insert(id, cut);
            }
        }
    }

    /// Who was primary and does not know yet that it is not cuts what it was to cut, somewhere else.
    pub fn cut_a_ghost(&mut self, world: &mut World, node: &Name) {
        for actor in actors(world, node, Role::Primary) {
            let now = world.state.contents().volumes.get(&actor.volume).and_then(|it| it.replication.as_ref());
            let is_member = |it: &cluster::Replication| it.configuration.has(actor.pool, actor.standing.incarnation);
            if now.is_some_and(|now| now.configuration.epoch > actor.configuration.epoch && !is_member(now)) {
                for id in to_cut(world, node, &actor) {
                    let at = WriteSeq { epoch: actor.configuration.epoch, n: 1 << 40 };
                    let ghost = SimSnapshot { at, data: u64::MAX };
                    replica_in(world, actor.pool, actor.volume).snapshots.insert(id, ghost);
                }
            }
        }
    }

    /// Where a snapshot was really cut.
    pub fn really_cut(&self, world: &World, id: SnapshotId) -> Option<SimSnapshot> {
        let alone = || world.nodes.values().flat_map(|node| &node.cuts).find(|(cut, _)| *cut == id);
        self.cuts.get(&id).copied().or_else(|| alone().map(|(_, cut)| *cut))
    }

    /// Who has to have a write of the primary; `None` if one of them does not take it.
    fn needed(&self, world: &World, actor: &Actor) -> Option<BTreeMap<PoolId, Incarnation>> {
        {
            let mut needed = actor.configuration.members.clone();
            let enters = self.entering.get(&(actor.volume, actor.pool, actor.standing.incarnation));
            let enters = enters.filter(|proposal| proposal.expected == actor.configuration.epoch);
            for (pool, incarnation) in enters.iter().flat_map(|proposal| &proposal.members) {
                needed.entry(*pool).or_insert(*incarnation);
            }
            let epoch = actor.configuration.epoch;
            let acknowledges = |(pool, incarnation): (&PoolId, &Incarnation)| {
                held(world, actor.volume, *pool).is_some_and(|(up, replica)| {
                    let standing = replica.standing;
                    let follows = standing.epoch <= epoch && standing.role != Role::Candidate;
                    up && standing.incarnation == *incarnation && follows
                })
            };
            let is_lineage = world.state.contents().volumes.get(&actor.volume).is_some_and(|volume| {
                volume.replication.as_ref().is_some_and(|found| found.lineage == actor.told.lineage)
            });
            let enough = actor.configuration.members.len() >= actor.configuration.members_min;
            (enough && is_lineage && needed.iter().all(acknowledges)).then_some(needed)
        }
    }

    /// Every primary on the node asks for what it wants: others in, or silent and unwanted ones out.
    pub fn propose(&mut self, world: &mut World, node: &Name) {
        for actor in actors(world, node, Role::Primary) {
            let wanted = self.wanted(world, &actor);
            let same = wanted == actor.configuration.members;
            let successor = actor.told.hand_over_to.filter(|successor| wanted.contains_key(successor));
            if !same || successor.is_some() {
                let primary = successor.unwrap_or(actor.pool);
                self.send(world, &actor, primary, wanted);
            }
        }
    }

    fn wanted(&self, world: &World, actor: &Actor) -> BTreeMap<PoolId, Incarnation> {
        let is_wanted = |pool: &PoolId| {
            *pool == actor.pool || actor.told.peers.iter().any(|peer| peer.pool == *pool && peer.wanted)
        };
        let is_there = |pool: &PoolId, incarnation: Incarnation| {
            held(world, actor.volume, *pool).is_some_and(|(up, it)| up && it.standing.incarnation == incarnation)
        };
        let members = &actor.configuration.members;
        let mut wanted = members.clone();
        wanted.retain(|pool, incarnation| *pool == actor.pool || (is_there(pool, *incarnation) && is_wanted(pool)));
        if wanted.len() < members.len() {
            return wanted;
        }
        let learner =
            actor.told.peers.iter().filter(|peer| peer.wanted && !members.contains_key(&peer.pool)).find_map(|peer| {
                let (up, replica) = held(world, actor.volume, peer.pool)?;
                let learns =
                    up && replica.standing.role == Role::Learner && replica.standing.epoch == actor.configuration.epoch;
                learns.then_some((peer.pool, replica.standing.incarnation))
            });
        wanted.extend(learner);
        wanted
    }

    fn send(&mut self, world: &mut World, actor: &Actor, primary: PoolId, members: BTreeMap<PoolId, Incarnation>) {
        let Actor { pool, volume, standing, configuration, .. } = actor;
        let key = (*volume, *pool, standing.incarnation);
        let asked = self.entering.get(&key).filter(|before| before.expected == configuration.epoch);
        let is_other = asked.is_some_and(|before| before.members != members);
        let adds = members.keys().any(|member| !configuration.members.contains_key(member));
        // What was asked for before may be decided yet, unless something else is before: then nothing is asked for.
        let members = if is_other && adds { configuration.members.clone() } else { members };
        let adds = adds && !is_other;
        let taught = held(world, *volume, *pool).map(|(_, replica)| replica).unwrap_or_default();
        for added in members.keys().filter(|member| !configuration.members.contains_key(member)) {
            let learner = replica_in(world, *added, *volume);
            (learner.data, learner.base) = (taught.data, taught.base);
            learner.snapshots.clone_from(&taught.snapshots);
        }
        let proposal =
            Proposal { expected: configuration.epoch, proposer: (*pool, standing.incarnation), primary, members };
        if adds {
            self.entering.insert(key, proposal.clone());
        }
        self.pending.push(Change::Configure { volume: *volume, proposal });
    }

    /// Every backup on the node whose primary is silent asks to take its place, and acknowledges nothing from then on.
    pub fn seek(&mut self, world: &mut World, node: &Name) {
        for role in [Role::Backup, Role::Candidate] {
            for actor in actors(world, node, role) {
                let primary = actor.configuration.primary;
                let was = actor.configuration.members[&primary];
                let serves = held(world, actor.volume, primary)
                    .is_some_and(|(up, replica)| up && replica.standing.incarnation == was);
                if serves {
                    continue;
                }
                let replicas = world.nodes.get_mut(node).unwrap().pools.get_mut(&actor.pool).unwrap();
                replicas.get_mut(&actor.volume).unwrap().standing.role = Role::Candidate;
                let mut members = actor.configuration.members.clone();
                members.remove(&primary);
                self.send(world, &actor, actor.pool, members);
            }
        }
    }

    /// One that takes over brings the others to what it has: all of them have every acknowledged write.
    pub fn lacking<'a>(
        &self,
        world: &World,
        volume: VolumeId,
        members: impl Iterator<Item = (&'a PoolId, &'a Incarnation)>,
    ) -> BTreeSet<PoolId> {
        let acked = self.acked.get(&volume).copied().unwrap_or(0);
        let lacks = |(pool, incarnation): &(&PoolId, &Incarnation)| {
            held(world, volume, **pool)
                .is_some_and(|(_, replica)| replica.standing.incarnation == **incarnation && replica.data < acked)
        };
        members.filter(lacks).map(|(pool, _)| *pool).collect()
    }
}
