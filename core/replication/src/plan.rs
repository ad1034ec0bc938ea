//! What a learner is to be given, in order: first the snapshots that it lacks, oldest first, then the volume as it is.
//!
//! ```text
//!   layer: its groups ... Cut │ layer: its groups ... Cut │ the volume's groups, with changes between them
//! ```
//! What a learner holds while a layer is filled becomes the snapshot when it is cut. So no change is sent meanwhile: each
//! makes its groups some of those that are copied last. A snapshot that is made while the last groups are copied makes the
//! rest of them a layer: what was sent is of before it, and what is not sent is read from it.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use block::{GroupIndex, SnapshotId, WriteSeq};

use crate::event::Content;
use crate::groups::GroupSet;
use crate::snapshot::Snapshot;

/// What is left of a lesson.
#[derive(Debug)]
pub(crate) struct Plan {
    layers: VecDeque<Layer>,
    /// Groups that may differ from the last layer, or without any from what the learner holds.
    head: GroupSet,
}

/// A snapshot, and which of its groups may differ from the layer before.
#[derive(Debug)]
struct Layer {
    snapshot: Snapshot,
    need: GroupSet,
}

/// The next thing to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// Read this group: of a snapshot, or of the volume as it is then.
    Read { from: Option<SnapshotId>, group: GroupIndex },
    /// The layer is whole.
    Cut(Snapshot),
}

impl Plan {
    /// For one whose common stable point is `stable`, who has changed `dirty` since, and has the snapshots `has`.
    ///
    /// What it lacks of those before its common stable point it had: they were deleted there, and will be here.
    pub fn new(content: &impl Content, stable: WriteSeq, dirty: GroupSet, has: &[Snapshot]) -> Self {
        let mut missing = content.snapshots();
        missing.retain(|found| found.at > stable && !has.iter().any(|had| had.is(found)));
        missing.sort_unstable();
        // What it has that was never acknowledged, and what was written here since it was in sync: neither alone is enough.
        let (mut after, mut also) = (stable, dirty);
        let mut layers = VecDeque::new();
        for snapshot in missing {
            let mut need = std::mem::take(&mut also);
            need.extend(&content.changed_in(snapshot.id, after));
            layers.push_back(Layer { snapshot, need });
            after = snapshot.at;
        }
        also.extend(&content.changed_since(after));
        Self { layers, head: also }
    }

    /// Groups that are still to be read.
    pub fn len(&self) -> u64 {
        self.layers.iter().map(|layer| layer.need.len()).sum::<u64>() + self.head.len()
    }

    /// Whether nothing is left.
    pub fn is_over(&self) -> bool {
        self.layers.is_empty() && self.head.is_empty()
    }

    /// Whether a snapshot is still to be given.
    pub fn has(&self, snapshot: SnapshotId) -> bool {
        self.layers.iter().any(|layer| layer.snapshot.id == snapshot)
    }

    /// What is to be done next.
    pub fn next(&self) -> Option<Step> {
        match self.layers.front() {
            Some(layer) => Some(match layer.need.first() {
                Some(group) => Step::Read { from: Some(layer.snapshot.id), group },
                None => Step::Cut(layer.snapshot),
            }),
            None => self.head.first().map(|group| Step::Read { from: None, group }),
        }
    }

    /// That was done.
    pub fn done(&mut self, step: Step) {
        match step {
            Step::Cut(_) => {
                self.layers.pop_front();
            }
            Step::Read { group, .. } => {
                let need = self.layers.front_mut().map_or(&mut self.head, |layer| &mut layer.need);
                need.remove(group);
            }
        }
    }

    /// These groups change; whether the learner is to be told, for no copy comes after it.
    pub fn change(&mut self, groups: RangeInclusive<u64>) -> bool {
        if self.layers.is_empty() {
            return !self.head.contains_all(groups);
        }
        groups.for_each(|group| self.head.insert(GroupIndex(group)));
        false
    }

    /// A snapshot is made here.
    pub fn cut(&mut self, snapshot: Snapshot) {
        let need = std::mem::take(&mut self.head);
        self.layers.push_back(Layer { snapshot, need });
    }
}
