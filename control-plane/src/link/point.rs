//! Snapshots, clones and holds in the nodes' streams.

use block::{Epoch, PoolId, SnapshotId, WriteSeq};
use cluster::{GroupId, Hold, HoldState, Origin, SnapshotCopy, SnapshotIntent};
use proto::link;
use tonic::Status;

use super::convert::{bytes_of, invalid};

pub(super) fn copy(found: &link::SnapshotReport) -> Result<(SnapshotId, SnapshotCopy), Status> {
    let link::SnapshotReport { id, at, size_bytes, exclusive_bytes, shared_bytes } = *found;
    let link::Seq { epoch, n } = at.ok_or_else(|| invalid("replicas.snapshots.at", &"it is missing"))?;
    let at = WriteSeq { epoch: Epoch(epoch), n };
    Ok((SnapshotId(id), SnapshotCopy { at, size_bytes, exclusive_bytes, shared_bytes }))
}

/// None for a hold that is none.
pub(super) fn hold(found: link::Hold) -> Result<Option<Hold>, Status> {
    let state = link::HoldState::try_from(found.state);
    let state = match state.map_err(|_| invalid("replicas.hold", &format!("{} is no state", found.state)))? {
        link::HoldState::None => return Ok(None),
        link::HoldState::Held => HoldState::Held,
        link::HoldState::Cut => HoldState::Cut,
        link::HoldState::Released => HoldState::Released,
        link::HoldState::Broken => HoldState::Broken,
    };
    Ok(Some(Hold { group: GroupId(found.group), state }))
}

fn seq(at: WriteSeq) -> link::Seq {
    link::Seq { epoch: at.epoch.0, n: at.n }
}

pub(super) fn intent(intent: SnapshotIntent) -> link::SnapshotIntent {
    let SnapshotIntent { id, at, group } = intent;
    link::SnapshotIntent { id: id.0, at: at.map(seq), group: group.map(|group| group.0).unwrap_or_default() }
}

pub(super) fn origin(origin: Origin) -> link::Origin {
    link::Origin { snapshot: origin.snapshot.0, at: Some(seq(origin.at)) }
}

pub(super) fn deletion((pool, snapshot): (PoolId, SnapshotId)) -> link::SnapshotDeletion {
    link::SnapshotDeletion { pool: bytes_of(pool), snapshot: snapshot.0 }
}

#[cfg(test)]
mod tests {
    use proto::link;

    use super::{copy, hold};

    #[test]
    fn a_report_of_a_snapshot_that_cannot_be_is_refused_with_the_field() {
        let good = link::SnapshotReport { id: 7, at: Some(link::Seq { epoch: 3, n: 9 }), ..Default::default() };
        assert_eq!(copy(&good).expect("it can be").1.at.n, 9);
        let error = copy(&link::SnapshotReport { at: None, ..good }).expect_err("nowhere");
        assert!(error.message().contains("replicas.snapshots.at: it is missing"), "{error}");
        let unknown = link::Hold { group: 1, state: 99 };
        assert!(hold(unknown).expect_err("no state").message().contains("replicas.hold: 99"));
        assert_eq!(hold(link::Hold { group: 1, state: 0 }).expect("none"), None);
    }
}
