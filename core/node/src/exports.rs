//! Volumes as what clients may choose from, and as operators see them.

use std::collections::BTreeMap;

use block::VolumeId;
use nbd::{Export, Exports};
use store::{Store, VolumeState};

use crate::admission::Access;
use crate::command::VolumeSummary;
use crate::node::{Node, NodeConfig, Offer};
use crate::pass::{Grant, Pass};
use crate::volume::Volume;

/// Every volume of the store, exported.
pub(crate) fn of(store: &Store, config: &NodeConfig) -> (Exports, BTreeMap<VolumeId, Volume>) {
    let mut exports = Exports::new(config.list_exports);
    exports.set_default(config.default_export.clone());
    let volumes: BTreeMap<_, _> =
        store.volumes().map(|state| (state.id, Volume::new(state, access(config, state)))).collect();
    for volume in volumes.values() {
        offer(&mut exports, volume, config);
    }
    (exports, volumes)
}

fn access(config: &NodeConfig, state: &VolumeState) -> Access {
    if config.read_only.contains(&state.name) { Access::ReadOnly } else { Access::ReadWrite }
}

/// Where the control plane decides, [`crate::offer::View`] has its word instead.
fn offer(exports: &mut Exports, volume: &Volume, config: &NodeConfig) {
    match config.offer {
        Offer::Every => {}
        Offer::Intended => return,
    }
    let read_only = volume.access == Access::ReadOnly;
    let export = Export {
        handle: Pass { volume: volume.id, grant: Grant::Open }.handle(),
        size_bytes: volume.size_bytes,
        read_only,
        multi_conn: read_only || config.multi_conn,
        description: String::new(),
    };
    // A name that the protocol cannot carry is not one of ours; such a volume can still be deleted.
    let _ = exports.insert(volume.name.clone(), export);
}

pub(crate) fn summary(volume: &Volume) -> VolumeSummary {
    VolumeSummary {
        id: volume.id,
        name: volume.name.clone(),
        size_bytes: volume.size_bytes,
        read_only: volume.access == Access::ReadOnly,
        clients: volume.clients,
        counters: volume.counters,
    }
}

impl Node {
    /// Serves a volume that the store has come to hold.
    pub(crate) fn serve_volume(&mut self, id: VolumeId) {
        let Some(state) = self.pipeline.store.volume(id) else { return };
        let volume = Volume::new(state, access(&self.config, state));
        offer(&mut self.exports, &volume, &self.config);
        self.pipeline.volumes.insert(id, volume);
    }

    /// Offers the volume as it is now to clients that connect from now on.
    pub(crate) fn offer_again(&mut self, id: VolumeId) {
        if let Some(volume) = self.pipeline.volumes.get(&id) {
            offer(&mut self.exports, volume, &self.config);
        }
    }
}
