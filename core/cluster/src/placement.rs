//! Where a new replica goes: hard rules first, then the pool with the most room. Says why when nothing fits.

use std::fmt;

use block::PoolId;

use crate::name::Name;
use crate::node::{Admin, Node, Pool};
use crate::state::State;
use crate::volume::VolumeSpec;

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
    /// It lacks a tag.
    Tag(String),
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
            Self::Tag(tag) => write!(f, "it is not tagged {tag}"),
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

impl State {
    /// The pool for a new replica.
    ///
    /// # Errors
    /// Why each pool is no place for it.
    pub fn place(&self, size_bytes: u64, spec: &VolumeSpec) -> Result<PoolId, NoPlace> {
        let mut reasons = Vec::new();
        let mut best: Option<(u64, PoolId)> = None;
        for (id, pool) in &self.contents.pools {
            let node = self.contents.nodes.get(&pool.node).expect("a pool's node is known");
            if let Some(reason) = self.excludes(*id, pool, node, size_bytes, spec) {
                reasons.push((pool.node.clone(), *id, reason));
                continue;
            }
            let left = self.unpromised_bytes(*id, pool);
            if best.is_none_or(|(most, _)| left > most) {
                best = Some((left, *id));
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
