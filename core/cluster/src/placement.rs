//! Where new replicas go: hard rules first, then a zone of its own, then the pool with the most room. Says why when nothing
//! fits. Two replicas of a volume are never on one node, but for one that is to be replaced in a pool that its node came
//! back without: there another of the node's pools may take its place. That each is placed where it is best, one after the
//! other, finds a place for all if there is one: a node is in one zone, so whichever is taken first excludes what any other
//! would.

use std::collections::BTreeSet;
use std::fmt;

use block::{BLOCK_BYTES, PoolId, VOLUME_BYTES_MAX, VolumeId};

use crate::name::Name;
use crate::node::{Admin, Node, Pool};
use crate::replica::{Fate, Replica};
use crate::state::State;
use crate::volume::{VOLUME_BYTES_MIN, Volume, VolumeSpec, ZoneSpread};

/// Why a pool cannot take a replica.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PoolReason {
    /// Its node is not heard.
    NodeLost,
    /// Its node takes nothing new.
    NodeCordoned,
    /// Its node has not opened it.
    NotOpen,
    /// Its device failed.
    Failed,
    /// Its node lacks a label, or has another value.
    Label {
        /// Which.
        key: String,
        /// What is asked for.
        wanted: String,
    },
    /// Its node is in none of the places that are asked for.
    Elsewhere,
    /// It lacks a tag.
    Tag(String),
    /// Its node has a replica of the volume.
    NodeTaken,
    /// Another node of its zone has one, and no zone may have two.
    ZoneTaken {
        /// Which.
        zone: String,
    },
    /// What it held of the volume before is not deleted yet.
    NotFreed,
    /// It does not have what the volume is to begin as.
    NoSource,
    /// So much was promised to volumes that this one does not fit the overcommit limit.
    Promised {
        /// What may still be promised.
        left_bytes: u64,
    },
    /// It is filled up to the limit for new volumes.
    Full {
        /// How much of it is used, in percent.
        used_percent: u64,
    },
}

impl fmt::Display for PoolReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NodeLost => f.write_str("its node is not heard"),
            Self::NodeCordoned => f.write_str("its node is cordoned"),
            Self::NotOpen => f.write_str("its node has not opened it"),
            Self::Failed => f.write_str("its device failed"),
            Self::Label { key, wanted } => write!(f, "its node is not labelled {key}={wanted}"),
            Self::Elsewhere => f.write_str("its node is in none of the places that are asked for"),
            Self::Tag(tag) => write!(f, "it is not tagged {tag}"),
            Self::NodeTaken => f.write_str("its node has a replica of the volume"),
            Self::ZoneTaken { zone } => write!(f, "zone {zone} has a replica of the volume"),
            Self::NoSource => f.write_str("it does not have what the volume is to begin as"),
            Self::NotFreed => f.write_str("what it held of the volume is not deleted yet"),
            Self::Promised { left_bytes } => {
                write!(f, "the overcommit limit leaves {left_bytes} bytes to be promised")
            }
            Self::Full { used_percent } => write!(f, "it is {used_percent} % full"),
        }
    }
}

/// No pool can take a replica: each with its reason.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NoPlace {
    /// All pools there are.
    pub reasons: Vec<(Name, PoolId, PoolReason)>,
}

impl fmt::Display for NoPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.reasons.is_empty() {
            return f.write_str("no node has registered a pool");
        }
        f.write_str("no pool can take it: ")?;
        for (index, (node, pool, reason)) in self.reasons.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{node} pool {pool}: {reason}")?;
        }
        Ok(())
    }
}

/// How much can be promised to new volumes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Room {
    /// The largest of them.
    pub volume_max_bytes: u64,
    /// All of them together, as far as their replicas find pools.
    pub total_bytes: u64,
}

/// What is to be placed.
struct Wanted<'a> {
    size_bytes: u64,
    spec: &'a VolumeSpec,
    /// Nodes that have a replica of the volume.
    nodes: BTreeSet<&'a Name>,
    /// Their zones.
    zones: BTreeSet<&'a str>,
    /// Pools that hold what is left of one.
    left_in: BTreeSet<PoolId>,
    /// Pools that have what the volume begins as: better than others, and none other will do for the first replica.
    having: BTreeSet<PoolId>,
    is_first_of_clone: bool,
}

/// The zone of a node.
fn zone<'a>(name: &'a Name, node: &'a Node) -> &'a str {
    node.zone().unwrap_or(name.as_str())
}

impl State {
    /// The pools for the replicas of a new volume; `having` are those that have what it begins as, if it does.
    ///
    /// # Errors
    /// Why each pool is no place for one more of them.
    pub fn place(
        &self,
        size_bytes: u64,
        spec: &VolumeSpec,
        having: Option<&BTreeSet<PoolId>>,
    ) -> Result<Vec<PoolId>, NoPlace> {
        let mut wanted = self.wanted(size_bytes, spec, &BTreeSet::new());
        wanted.is_first_of_clone = having.is_some();
        wanted.having = having.cloned().unwrap_or_default();
        let mut pools = Vec::new();
        for _ in 0..spec.replicas {
            let pool = self.place_one(&wanted)?;
            self.take(&mut wanted, pool);
            wanted.is_first_of_clone = false;
            pools.push(pool);
        }
        Ok(pools)
    }

    /// How much can be promised to volumes like this.
    #[must_use]
    pub fn room(&self, spec: &VolumeSpec) -> Room {
        let fits = |blocks: u64| self.place(blocks * BLOCK_BYTES as u64, spec, None).is_ok();
        let (mut fitting, mut too_many) =
            (VOLUME_BYTES_MIN / BLOCK_BYTES as u64, VOLUME_BYTES_MAX / BLOCK_BYTES as u64 + 1);
        if !fits(fitting) {
            return Room::default();
        }
        while too_many - fitting > 1 {
            let blocks = fitting.midpoint(too_many);
            if fits(blocks) { fitting = blocks } else { too_many = blocks }
        }
        let takes = |id, pool: &Pool| {
            let node = self.contents.nodes.get(&pool.node).expect("a pool's node is known");
            self.excludes(id, pool, node, VOLUME_BYTES_MIN, spec).is_none()
        };
        let pools = self.contents.pools.iter().filter(|(id, pool)| takes(**id, pool));
        let all_bytes = pools.fold(0_u64, |sum, (id, pool)| sum.saturating_add(self.unpromised_bytes(*id, pool)));
        let volume_max_bytes = fitting * BLOCK_BYTES as u64;
        Room { volume_max_bytes, total_bytes: volume_max_bytes.max(all_bytes / u64::from(spec.replicas.max(1))) }
    }

    /// The pool for another replica of a volume.
    ///
    /// # Errors
    /// Why each pool is no place for it.
    pub(crate) fn place_another(&self, id: VolumeId, volume: &Volume) -> Result<PoolId, NoPlace> {
        let orphaned = self.contents.pools.iter().filter(|(_, pool)| pool.orphans.contains(&id));
        let left_in = self.tombstones_of(id).map(|(pool, _)| pool).chain(orphaned.map(|(pool, _)| *pool)).collect();
        let mut wanted = self.wanted(volume.size_bytes, &volume.spec, &left_in);
        wanted.having = self.pools_with_source(volume);
        for (pool, replica) in &volume.replicas {
            if !self.leaves_its_place(*pool, replica) {
                self.take(&mut wanted, *pool);
            }
        }
        self.place_one(&wanted)
    }

    /// Whether another replica may be on its node: it is to be replaced, and its node came back without its pool.
    fn leaves_its_place(&self, pool: PoolId, replica: &Replica) -> bool {
        replica.fate != Fate::Stays && self.is_exchanged(pool)
    }

    /// Whether the node of a pool is heard, and has opened another one and not this: it was exchanged or wiped, or the node
    /// was started with a wrong path.
    pub(crate) fn is_exchanged(&self, id: PoolId) -> bool {
        let Some(pool) = self.contents.pools.get(&id) else { return false };
        let is_heard = self.contents.nodes.get(&pool.node).is_some_and(Node::is_up);
        !pool.open && is_heard && self.pools_of(&pool.node).any(|(_, other)| other.open)
    }

    /// The worst placed of a volume's replicas: beside most others in its zone, then where the least room is.
    pub(crate) fn worst_placed(&self, volume: &Volume, of: &[PoolId]) -> Option<PoolId> {
        let zone_of = |pool: &PoolId| {
            let node = &self.contents.pools.get(pool)?.node;
            Some(zone(node, self.contents.nodes.get(node)?))
        };
        let crowd = |pool: &PoolId| volume.replicas.keys().filter(|other| zone_of(other) == zone_of(pool)).count();
        let room = |pool: &PoolId| self.contents.pools.get(pool).map_or(0, |found| self.unpromised_bytes(*pool, found));
        of.iter().max_by_key(|pool| (crowd(pool), std::cmp::Reverse(room(pool)), **pool)).copied()
    }

    fn wanted<'a>(&'a self, size_bytes: u64, spec: &'a VolumeSpec, left_in: &BTreeSet<PoolId>) -> Wanted<'a> {
        Wanted {
            size_bytes,
            spec,
            nodes: BTreeSet::new(),
            zones: BTreeSet::new(),
            left_in: left_in.clone(),
            having: BTreeSet::new(),
            is_first_of_clone: false,
        }
    }

    fn take<'a>(&'a self, wanted: &mut Wanted<'a>, pool: PoolId) {
        let node = &self.contents.pools[&pool].node;
        wanted.nodes.insert(node);
        wanted.zones.insert(zone(node, &self.contents.nodes[node]));
    }

    fn place_one(&self, wanted: &Wanted<'_>) -> Result<PoolId, NoPlace> {
        let mut reasons = Vec::new();
        let mut best: Option<((bool, bool, u64), PoolId)> = None;
        for (id, pool) in &self.contents.pools {
            let node = self.contents.nodes.get(&pool.node).expect("a pool's node is known");
            let excluded = self.excludes(*id, pool, node, wanted.size_bytes, wanted.spec);
            if let Some(reason) = excluded.or_else(|| wanted.excludes(*id, pool, node)) {
                reasons.push((pool.node.clone(), *id, reason));
                continue;
            }
            let score = (wanted.having.contains(id), wanted.is_apart(pool, node), self.unpromised_bytes(*id, pool));
            if best.is_none_or(|(most, _)| score > most) {
                best = Some((score, *id));
            }
        }
        best.map(|(_, pool)| pool).ok_or(NoPlace { reasons })
    }

    fn excludes(&self, id: PoolId, pool: &Pool, node: &Node, size_bytes: u64, spec: &VolumeSpec) -> Option<PoolReason> {
        if !node.is_up() {
            return Some(PoolReason::NodeLost);
        }
        match node.admin {
            Admin::Schedulable => {}
            Admin::Cordoned | Admin::Draining => return Some(PoolReason::NodeCordoned),
        }
        if !pool.open {
            return Some(PoolReason::NotOpen);
        }
        if pool.failed {
            return Some(PoolReason::Failed);
        }
        if let Some((key, wanted)) =
            spec.node_selector.iter().find(|(key, wanted)| node.labels.get(*key) != Some(wanted))
        {
            return Some(PoolReason::Label { key: key.clone(), wanted: wanted.clone() });
        }
        if !spec.places.is_empty() && !spec.places.iter().any(|place| node.is_in(place)) {
            return Some(PoolReason::Elsewhere);
        }
        if let Some(tag) = spec.pool_tags.iter().find(|tag| !pool.tags.contains(tag)) {
            return Some(PoolReason::Tag(tag.clone()));
        }
        let used_percent = pool.used_percent();
        if used_percent >= self.contents.settings.full_percent {
            return Some(PoolReason::Full { used_percent });
        }
        let left_bytes = self.unpromised_bytes(id, pool);
        (size_bytes > left_bytes).then_some(PoolReason::Promised { left_bytes })
    }

    /// What may still be promised to volumes in a pool.
    fn unpromised_bytes(&self, id: PoolId, pool: &Pool) -> u64 {
        let limit = u128::from(pool.capacity_bytes) * u128::from(self.contents.settings.overcommit_percent) / 100;
        let limit = u64::try_from(limit).unwrap_or(u64::MAX);
        limit.saturating_sub(self.index.promised_bytes(id))
    }
}

impl Wanted<'_> {
    fn excludes(&self, id: PoolId, pool: &Pool, node: &Node) -> Option<PoolReason> {
        if self.nodes.contains(&pool.node) {
            return Some(PoolReason::NodeTaken);
        }
        if self.is_first_of_clone && !self.having.contains(&id) {
            return Some(PoolReason::NoSource);
        }
        if self.left_in.contains(&id) {
            return Some(PoolReason::NotFreed);
        }
        let zone = zone(&pool.node, node);
        let is_taken = self.spec.zone_spread == ZoneSpread::Required && self.zones.contains(zone);
        is_taken.then(|| PoolReason::ZoneTaken { zone: zone.to_owned() })
    }

    /// Whether it is better than a pool beside another replica.
    fn is_apart(&self, pool: &Pool, node: &Node) -> bool {
        match self.spec.zone_spread {
            ZoneSpread::Required | ZoneSpread::Preferred => !self.zones.contains(zone(&pool.node, node)),
            ZoneSpread::None => true,
        }
    }
}
