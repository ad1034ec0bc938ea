//! What the sidecars ask a plugin that is the controller as well.

use std::collections::BTreeMap;

use proto::csi;
use proto::csi::volume_content_source::{SnapshotSource, Type, VolumeSource};
use tonic::Status;

use crate::plugin::Caller;

/// A claim that is to become a volume of three replicas.
#[derive(Clone, Debug)]
pub struct Claim {
    pub name: String,
    pub bytes: i64,
    pub capability: csi::VolumeCapability,
    pub source: Option<Type>,
}

impl Claim {
    pub fn new(name: &str, bytes: i64, capability: csi::VolumeCapability) -> Self {
        Self { name: name.to_owned(), bytes, capability, source: None }
    }

    /// That begins as a snapshot.
    pub fn of_snapshot(self, snapshot: &str) -> Self {
        Self { source: Some(Type::Snapshot(SnapshotSource { snapshot_id: snapshot.to_owned() })), ..self }
    }

    /// That begins as another volume.
    pub fn of_volume(self, volume: &str) -> Self {
        Self { source: Some(Type::Volume(VolumeSource { volume_id: volume.to_owned() })), ..self }
    }
}

impl Caller {
    pub fn create(&self, claim: Claim) -> Result<csi::Volume, Status> {
        let source = claim.source.map(|kind| csi::VolumeContentSource { r#type: Some(kind) });
        let message = csi::CreateVolumeRequest {
            name: claim.name,
            capacity_range: Some(csi::CapacityRange { required_bytes: claim.bytes, limit_bytes: 0 }),
            volume_capabilities: vec![claim.capability],
            parameters: BTreeMap::from([("replicas".to_owned(), "3".to_owned())]),
            volume_content_source: source,
            ..csi::CreateVolumeRequest::default()
        };
        let made = self.control(message, async |mut client, request| client.create_volume(request).await)?;
        Ok(made.volume.expect("an answer has it"))
    }

    pub fn delete(&self, volume: &str) -> Result<(), Status> {
        let message = csi::DeleteVolumeRequest { volume_id: volume.to_owned(), ..Default::default() };
        self.control(message, async |mut client, request| client.delete_volume(request).await).map(drop)
    }

    /// Publishes a volume to a node; answers the context that the node is given.
    pub fn attach(
        &self,
        volume: &str,
        node: &str,
        capability: csi::VolumeCapability,
    ) -> Result<BTreeMap<String, String>, Status> {
        let message = csi::ControllerPublishVolumeRequest {
            volume_id: volume.to_owned(),
            node_id: node.to_owned(),
            volume_capability: Some(capability),
            ..Default::default()
        };
        let told = self.control(message, async |mut client, request| client.controller_publish_volume(request).await);
        told.map(|told| told.publish_context)
    }

    pub fn detach(&self, volume: &str, node: &str) -> Result<(), Status> {
        let (volume_id, node_id) = (volume.to_owned(), node.to_owned());
        let message = csi::ControllerUnpublishVolumeRequest { volume_id, node_id, ..Default::default() };
        self.control(message, async |mut client, request| client.controller_unpublish_volume(request).await).map(drop)
    }

    /// Takes a snapshot; answers its id.
    pub fn snapshot(&self, name: &str, volume: &str) -> Result<String, Status> {
        let (name, source_volume_id) = (name.to_owned(), volume.to_owned());
        let message = csi::CreateSnapshotRequest { name, source_volume_id, ..Default::default() };
        let taken = self.control(message, async |mut client, request| client.create_snapshot(request).await)?;
        Ok(taken.snapshot.expect("an answer has it").snapshot_id)
    }

    pub fn delete_snapshot(&self, snapshot: &str) -> Result<(), Status> {
        let message = csi::DeleteSnapshotRequest { snapshot_id: snapshot.to_owned(), ..Default::default() };
        self.control(message, async |mut client, request| client.delete_snapshot(request).await).map(drop)
    }

    /// Makes a volume larger, in the cluster.
    pub fn resize(&self, volume: &str, required_bytes: i64) -> Result<i64, Status> {
        let message = csi::ControllerExpandVolumeRequest {
            volume_id: volume.to_owned(),
            capacity_range: Some(csi::CapacityRange { required_bytes, limit_bytes: 0 }),
            ..Default::default()
        };
        let grown = self.control(message, async |mut client, request| client.controller_expand_volume(request).await);
        grown.map(|grown| grown.capacity_bytes)
    }
}
