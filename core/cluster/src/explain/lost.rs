//! Blocks that no replica has, in words.

use super::{Problem, Severity};
use crate::state::State;
use crate::volume::Volume;

impl State {
    pub(super) fn lost_blocks_problem(&self, volume: &Volume) -> Option<Problem> {
        let sentence = self.explain_lost_blocks(volume)?;
        Some(Problem { severity: Severity::Critical, subject: format!("volume {}", volume.name), sentence })
    }

    /// That some are lost, where, and what can be done.
    pub(super) fn explain_lost_blocks(&self, volume: &Volume) -> Option<String> {
        let lost_on = volume.replicas.iter().filter_map(|(pool, replica)| {
            let lost = replica.standing().filter(|standing| standing.lost_blocks > 0)?.lost_blocks;
            let node =
                self.pool(*pool).map_or_else(|| String::from("a node that is gone"), |pool| pool.node.to_string());
            Some(format!("{lost} on node {node}"))
        });
        let lost_on: Vec<String> = lost_on.collect();
        if lost_on.is_empty() {
            return None;
        }
        Some(format!(
            "Blocks are lost, {}: what is on the disk is not what was written, and no replica has them. Reading them fails until they are written again: plinth volume verify {} --data says which they are; look at the disks, and restore what was there from a backup.",
            lost_on.join(", "),
            volume.name
        ))
    }
}
