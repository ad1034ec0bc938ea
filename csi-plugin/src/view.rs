//! What the cluster has, as Kubernetes sees it.

use proto::csi;
use proto::csi::Timestamp;
use proto::csi::volume_content_source::{SnapshotSource, Type, VolumeSource};
use proto::v1;
use proto::v1::volume::Phase;

use crate::{parameters, topology};

/// A volume.
pub(crate) fn volume(volume: &v1::Volume) -> csi::Volume {
    let spec = volume.spec.clone().unwrap_or_default();
    csi::Volume {
        capacity_bytes: signed(volume.size_bytes),
        volume_id: volume.name.clone(),
        volume_context: parameters::context(&spec),
        content_source: volume.source.as_ref().and_then(source),
        accessible_topology: topology::accessible(&spec),
    }
}

fn source(source: &v1::Source) -> Option<csi::VolumeContentSource> {
    let kind = match source.from.clone()? {
        v1::source::From::Snapshot(snapshot_id) => Type::Snapshot(SnapshotSource { snapshot_id }),
        v1::source::From::Volume(volume_id) => Type::Volume(VolumeSource { volume_id }),
    };
    Some(csi::VolumeContentSource { r#type: Some(kind) })
}

/// A snapshot.
pub(crate) fn snapshot(snapshot: v1::Snapshot) -> csi::Snapshot {
    csi::Snapshot {
        size_bytes: signed(snapshot.size_bytes),
        snapshot_id: snapshot.name,
        source_volume_id: snapshot.volume,
        creation_time: Some(moment(snapshot.created_ms)),
        ready_to_use: snapshot.ready,
        group_snapshot_id: snapshot.group,
    }
}

/// A group of snapshots.
pub(crate) fn group(group: v1::Group) -> csi::VolumeGroupSnapshot {
    csi::VolumeGroupSnapshot {
        group_snapshot_id: group.name,
        snapshots: group.snapshots.into_iter().map(snapshot).collect(),
        creation_time: Some(moment(group.created_ms)),
        ready_to_use: group.ready,
    }
}

/// Who has a volume.
pub(crate) fn nodes(volume: &v1::Volume) -> Vec<String> {
    volume.attachments.iter().map(|attachment| attachment.client.clone()).collect()
}

/// Whether a volume is well, in words.
pub(crate) fn condition(volume: &v1::Volume) -> csi::VolumeCondition {
    let (abnormal, message) = match volume.phase() {
        Phase::Ready => (false, "it is there as it should be"),
        Phase::Creating => (false, "it is being made"),
        Phase::Changing => (false, "it is there, and being changed"),
        Phase::Degraded => (true, "it is served with fewer replicas in sync than it should have"),
        Phase::Blocked => (true, "it can be read only: too few replicas are in sync"),
        Phase::Recovering => (true, "it is not served for a moment, and will be by itself"),
        Phase::Unavailable => (true, "it cannot be reached: no node that has it is heard"),
        Phase::Lost => (true, "its pool is there without it"),
        Phase::Failed => (true, "no replica that counts will come back by itself"),
        Phase::NeedsAttach => {
            (true, "its nodes lost power, and writes that were not flushed: stop who uses it, and start anew")
        }
        Phase::Unspecified => (false, "the cluster does not say how it is"),
    };
    let message = match abnormal {
        true => format!("{message}; `plinth explain volume {}` says more", volume.name),
        false => message.to_owned(),
    };
    csi::VolumeCondition { abnormal, message }
}

/// Sizes are far below the limit.
pub(crate) fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn moment(ms: u64) -> Timestamp {
    let nanos = i32::try_from(ms % 1000).expect("it is below 1000") * 1_000_000;
    Timestamp { seconds: signed(ms / 1000), nanos }
}
