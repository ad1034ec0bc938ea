//! What the control plane wants, as last heard: intents put together. Nothing here does anything about it.

use std::collections::{BTreeMap, BTreeSet};

use block::{SnapshotId, VolumeId};

use crate::intent::{Intent, ReplicaIntent, Route};
use crate::limits::{INTENT_ATTACHMENTS_MAX, INTENT_ENTRIES_MAX};
use crate::pass::{Grant, Pass};
use crate::token::TokenHash;

/// Everything wanted.
#[derive(Debug, Default)]
pub(crate) struct Wishes {
    revision: u64,
    replicas: BTreeMap<VolumeId, ReplicaIntent>,
    names: BTreeMap<String, VolumeId>,
    deletions: BTreeSet<VolumeId>,
    /// They stay here when they are gone: what is cut late must go as well.
    snapshot_deletions: BTreeSet<SnapshotId>,
    routes: BTreeMap<String, String>,
}

impl Wishes {
    /// Takes an intent in; answers of which volumes something else is wanted now, or `None` when it is older than what
    /// is known.
    pub fn take(&mut self, intent: Intent) -> Option<BTreeSet<VolumeId>> {
        let Intent { cluster: _, revision, whole, replicas, deletions, snapshot_deletions, routes, lost_routes } =
            intent;
        if revision < self.revision {
            return None;
        }
        let mut touched = BTreeSet::new();
        if whole {
            touched.extend(self.replicas.keys().chain(&self.deletions));
            *self = Self::default();
        }
        self.revision = revision;
        for snapshot in snapshot_deletions {
            self.snapshot_deletions.insert(snapshot);
            if self.snapshot_deletions.len() > INTENT_ENTRIES_MAX {
                // The oldest one, which is gone long since: numbers only rise.
                self.snapshot_deletions.pop_first();
            }
        }
        for volume in deletions {
            touched.insert(volume);
            self.delete(volume);
        }
        // Should one intent want both, the data stays.
        for replica in replicas {
            touched.insert(replica.volume);
            self.want(replica);
        }
        for name in lost_routes {
            self.routes.remove(&name);
        }
        for Route { name, address } in routes {
            if self.routes.len() < INTENT_ENTRIES_MAX || self.routes.contains_key(&name) {
                self.routes.insert(name, address);
            }
        }
        Some(touched)
    }

    fn delete(&mut self, volume: VolumeId) {
        self.unname(volume);
        self.replicas.remove(&volume);
        if self.deletions.len() < INTENT_ENTRIES_MAX {
            self.deletions.insert(volume);
        }
    }

    fn want(&mut self, mut replica: ReplicaIntent) {
        let volume = replica.volume;
        if self.replicas.len() >= INTENT_ENTRIES_MAX && !self.replicas.contains_key(&volume) {
            return;
        }
        self.unname(volume);
        self.deletions.remove(&volume);
        self.names.insert(replica.name.clone(), volume);
        replica.attachments.truncate(INTENT_ATTACHMENTS_MAX);
        if replica.snapshots.retired {
            // What a client found there would be about to go.
            replica.attachments.clear();
            replica.open = false;
        }
        self.replicas.insert(volume, replica);
    }

    fn unname(&mut self, volume: VolumeId) {
        if let Some(before) = self.replicas.get(&volume)
            && self.names.get(&before.name) == Some(&volume)
        {
            self.names.remove(&before.name);
        }
    }

    pub fn revision(&self) -> u64 {
        self.revision
    }

    pub fn replica(&self, volume: VolumeId) -> Option<&ReplicaIntent> {
        self.replicas.get(&volume)
    }

    /// The replica that stands under a name here.
    pub fn named(&self, name: &str) -> Option<&ReplicaIntent> {
        self.replicas.get(self.names.get(name)?)
    }

    pub fn replicas(&self) -> impl Iterator<Item = &ReplicaIntent> {
        self.replicas.values()
    }

    /// Where a volume of another node is.
    pub fn route(&self, name: &str) -> Option<&str> {
        self.routes.get(name).map(String::as_str)
    }

    pub fn deletes(&self, volume: VolumeId) -> bool {
        self.deletions.contains(&volume)
    }

    pub fn deletes_snapshot(&self, snapshot: SnapshotId) -> bool {
        self.snapshot_deletions.contains(&snapshot)
    }

    /// A deletion has been carried out.
    pub fn deleted(&mut self, volume: VolumeId) {
        self.deletions.remove(&volume);
    }

    /// Whether a client that was let in may go on.
    pub fn covers(&self, pass: Pass) -> bool {
        self.replica(pass.volume).is_some_and(|replica| replica.covers(pass.grant))
    }
}

impl ReplicaIntent {
    /// What lets in a client with this token.
    pub(crate) fn grant_by_token(&self, token: TokenHash) -> Option<Grant> {
        // All are looked at, so that the time it takes tells nothing.
        self.attachments.iter().fold(None, |found, attachment| {
            let grant = Grant::Attachment { generation: attachment.generation, read_only: attachment.read_only };
            if attachment.token.is(&token) && attachment.generation > 0 { Some(grant) } else { found }
        })
    }

    /// Whether clients without a token may use it, from where they may.
    pub(crate) fn is_open(&self) -> bool {
        self.open && self.attachments.is_empty()
    }

    /// The grant with this number.
    pub(crate) fn grant(&self, number: u64) -> Option<Grant> {
        if number == 0 {
            return self.is_open().then_some(Grant::Open);
        }
        let attachment = self.attachments.iter().find(|attachment| attachment.generation == number)?;
        Some(Grant::Attachment { generation: number, read_only: attachment.read_only })
    }

    pub(crate) fn covers(&self, grant: Grant) -> bool {
        match grant {
            Grant::Open => self.is_open(),
            Grant::Attachment { generation, .. } => self.grant(generation) == Some(grant),
        }
    }
}
