//! Operations, and the answers that are kept.

use block::{SnapshotId, VolumeId};
use cluster::{Answer, Generation, GroupId, Operation, OperationId, OperationKind, RequestId, Time};
use proto::record as wire;
use proto::record::answer::Answer as WireAnswer;
use proto::record::operation::Kind;

use super::invalid::{Invalid, request, required};

pub(super) fn parse_operation(found: wire::Operation) -> Result<(OperationId, Operation), Invalid> {
    let kind = match required(found.kind, "operation.kind")? {
        Kind::Create(volume) => OperationKind::Create(VolumeId(volume)),
        Kind::Resize(wire::Resize { volume, size_bytes }) => OperationKind::Resize(VolumeId(volume), size_bytes),
        Kind::Delete(volume) => OperationKind::Delete(VolumeId(volume)),
        Kind::Attach(wire::AttachKnown { volume, generation }) => {
            OperationKind::Attach(VolumeId(volume), Generation(generation))
        }
        Kind::Snapshot(wire::OfSnapshot { volume, snapshot }) => {
            OperationKind::Snapshot(VolumeId(volume), SnapshotId(snapshot))
        }
        Kind::DeleteSnapshot(wire::OfSnapshot { volume, snapshot }) => {
            OperationKind::DeleteSnapshot(VolumeId(volume), SnapshotId(snapshot))
        }
        Kind::Retire(wire::AttachKnown { volume, generation }) => {
            OperationKind::Retire(VolumeId(volume), Generation(generation))
        }
        Kind::Group(wire::OfGroup { volume, group }) => OperationKind::Group(VolumeId(volume), GroupId(group)),
        Kind::DeleteGroup(wire::OfGroup { volume, group }) => {
            OperationKind::DeleteGroup(VolumeId(volume), GroupId(group))
        }
    };
    let (since, ended) = (Time(found.since), found.ended.map(Time));
    Ok((OperationId(found.id), Operation { kind, since, ended, failed: found.failed }))
}

pub(super) fn encode_operation((id, operation): (&OperationId, &Operation)) -> wire::Operation {
    let kind = match operation.kind {
        OperationKind::Create(volume) => Kind::Create(volume.0),
        OperationKind::Resize(volume, size_bytes) => Kind::Resize(wire::Resize { volume: volume.0, size_bytes }),
        OperationKind::Delete(volume) => Kind::Delete(volume.0),
        OperationKind::Attach(volume, generation) => {
            Kind::Attach(wire::AttachKnown { volume: volume.0, generation: generation.0 })
        }
        OperationKind::Snapshot(volume, snapshot) => {
            Kind::Snapshot(wire::OfSnapshot { volume: volume.0, snapshot: snapshot.0 })
        }
        OperationKind::DeleteSnapshot(volume, snapshot) => {
            Kind::DeleteSnapshot(wire::OfSnapshot { volume: volume.0, snapshot: snapshot.0 })
        }
        OperationKind::Retire(volume, generation) => {
            Kind::Retire(wire::AttachKnown { volume: volume.0, generation: generation.0 })
        }
        OperationKind::Group(volume, group) => Kind::Group(wire::OfGroup { volume: volume.0, group: group.0 }),
        OperationKind::DeleteGroup(volume, group) => {
            Kind::DeleteGroup(wire::OfGroup { volume: volume.0, group: group.0 })
        }
    };
    wire::Operation {
        id: id.0,
        kind: Some(kind),
        since: operation.since.0,
        ended: operation.ended.map(|ended| ended.0),
        failed: operation.failed.clone(),
    }
}

pub(super) fn parse_answered(found: &wire::AnsweredRequest) -> Result<(RequestId, Answer), Invalid> {
    let request = required(request(&found.request, "answered_request.request")?, "answered_request.request")?;
    let answer = match required(found.answer.and_then(|answer| answer.answer), "answered_request.answer")? {
        WireAnswer::Done(wire::Done {}) => Answer::Done,
        WireAnswer::Started(operation) => Answer::Started(OperationId(operation)),
        WireAnswer::Volume(wire::VolumeAnswer { id, operation }) => {
            Answer::Volume { id: VolumeId(id), operation: operation.map(OperationId) }
        }
        WireAnswer::Attached(wire::AttachedAnswer { generation, operation }) => {
            Answer::Attached { generation: Generation(generation), operation: OperationId(operation) }
        }
        WireAnswer::Snapshot(wire::SnapshotAnswer { id, operation }) => {
            Answer::Snapshot { id: SnapshotId(id), operation: operation.map(OperationId) }
        }
        WireAnswer::Group(wire::GroupAnswer { id, operation }) => {
            Answer::Group { id: GroupId(id), operation: operation.map(OperationId) }
        }
    };
    Ok((request, answer))
}

pub(super) fn encode_answer(answer: &Answer) -> wire::Answer {
    let answer = match answer {
        Answer::Done => WireAnswer::Done(wire::Done {}),
        Answer::Started(operation) => WireAnswer::Started(operation.0),
        Answer::Volume { id, operation } => {
            WireAnswer::Volume(wire::VolumeAnswer { id: id.0, operation: operation.map(|operation| operation.0) })
        }
        Answer::Attached { generation, operation } => {
            WireAnswer::Attached(wire::AttachedAnswer { generation: generation.0, operation: operation.0 })
        }
        Answer::Snapshot { id, operation } => {
            WireAnswer::Snapshot(wire::SnapshotAnswer { id: id.0, operation: operation.map(|operation| operation.0) })
        }
        Answer::Group { id, operation } => {
            WireAnswer::Group(wire::GroupAnswer { id: id.0, operation: operation.map(|operation| operation.0) })
        }
    };
    wire::Answer { answer: Some(answer) }
}
