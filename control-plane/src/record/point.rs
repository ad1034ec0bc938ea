//! Snapshots: points in the history of a volume.

use std::collections::BTreeMap;

use block::{Epoch, PoolId, SnapshotId, VolumeId, WriteSeq};
use cluster::{
    Change, CloneSource, Cut, Grave, GroupId, Keep, Labels, Maker, Name, Retired, Revision, Seen, Snapshot,
    SnapshotCopy, Source, Time,
};
use proto::record as wire;
use proto::record::command::Change as Wire;
use proto::record::snapshot::{Cut as WireCut, Maker as WireMaker};
use proto::record::source::From;

use super::invalid::{Fault, Invalid, bytes_of, name, pool, required};

pub(super) fn parse_create(found: wire::CreateSnapshot) -> Result<Change, Invalid> {
    let wire::CreateSnapshot { name: snapshot, volume, labels } = found;
    let (snapshot, volume) = (name(&snapshot, "create_snapshot.name")?, name(&volume, "create_snapshot.volume")?);
    Ok(Change::CreateSnapshot { name: snapshot, volume, labels })
}

pub(super) fn encode_create(name: &Name, volume: &Name, labels: &Labels) -> Wire {
    let (name, volume, labels) = (name.to_string(), volume.to_string(), labels.clone());
    Wire::CreateSnapshot(wire::CreateSnapshot { name, volume, labels })
}

fn parse_seq(found: wire::Seq) -> WriteSeq {
    WriteSeq { epoch: Epoch(found.epoch), n: found.n }
}

fn encode_seq(seq: WriteSeq) -> wire::Seq {
    wire::Seq { epoch: seq.epoch.0, n: seq.n }
}

pub(super) fn parse_copies(found: &[wire::SnapshotCopy]) -> Result<BTreeMap<SnapshotId, SnapshotCopy>, Invalid> {
    let copies: BTreeMap<_, _> = found.iter().map(parse_copy).collect::<Result<_, _>>()?;
    let twice = || Invalid::new("replica.snapshots", Fault::Twice("a snapshot".to_owned()));
    if copies.len() == found.len() { Ok(copies) } else { Err(twice()) }
}

fn parse_copy(found: &wire::SnapshotCopy) -> Result<(SnapshotId, SnapshotCopy), Invalid> {
    let wire::SnapshotCopy { id, at, size_bytes, exclusive_bytes, shared_bytes } = *found;
    let at = parse_seq(required(at, "snapshot_copy.at")?);
    Ok((SnapshotId(id), SnapshotCopy { at, size_bytes, exclusive_bytes, shared_bytes }))
}

pub(super) fn encode_copies(copies: &BTreeMap<SnapshotId, SnapshotCopy>) -> Vec<wire::SnapshotCopy> {
    let one = |(id, copy): (&SnapshotId, &SnapshotCopy)| wire::SnapshotCopy {
        id: id.0,
        at: Some(encode_seq(copy.at)),
        size_bytes: copy.size_bytes,
        exclusive_bytes: copy.exclusive_bytes,
        shared_bytes: copy.shared_bytes,
    };
    copies.iter().map(one).collect()
}

pub(super) fn parse_source(found: &wire::Source) -> Result<Source, Invalid> {
    Ok(match required(found.from.as_ref(), "source.from")? {
        From::Snapshot(snapshot) => Source::Snapshot(name(snapshot, "source.snapshot")?),
        From::Volume(volume) => Source::Volume(name(volume, "source.volume")?),
    })
}

pub(super) fn encode_source(source: &Source) -> wire::Source {
    let from = match source {
        Source::Snapshot(name) => From::Snapshot(name.to_string()),
        Source::Volume(name) => From::Volume(name.to_string()),
    };
    wire::Source { from: Some(from) }
}

pub(super) fn parse_clone_source(found: wire::CloneSource) -> Result<CloneSource, Invalid> {
    let wire::CloneSource { from, snapshot, at } = found;
    let from = parse_source(&required(from, "clone_source.from")?)?;
    Ok(CloneSource { from, snapshot: SnapshotId(snapshot), at: at.map(parse_seq) })
}

pub(super) fn encode_clone_source(source: &CloneSource) -> wire::CloneSource {
    let CloneSource { from, snapshot, at } = source;
    wire::CloneSource { from: Some(encode_source(from)), snapshot: snapshot.0, at: at.map(encode_seq) }
}

pub(super) fn parse_retired(found: &wire::Retired) -> Result<Retired, Invalid> {
    Ok(Retired { since: Time(found.since), name: name(&found.name, "retired.name")? })
}

pub(super) fn encode_retired(retired: &Retired) -> wire::Retired {
    wire::Retired { since: retired.since.0, name: retired.name.to_string() }
}

pub(super) fn parse_snapshot(found: wire::Snapshot) -> Result<(SnapshotId, Snapshot), Invalid> {
    let cut = match required(found.cut, "snapshot.cut")? {
        WireCut::WantedUntil(until) => Cut::Wanted { until: Time(until) },
        WireCut::At(at) => Cut::At(parse_seq(at)),
    };
    let maker = match required(found.maker, "snapshot.maker")? {
        WireMaker::Person(wire::Person {}) => Maker::Person,
        WireMaker::Schedule(schedule) => Maker::Schedule(name(&schedule, "snapshot.schedule")?),
        WireMaker::Clone(wire::Clone {}) => Maker::Clone,
    };
    let snapshot = Snapshot {
        name: name(&found.name, "snapshot.name")?,
        source: VolumeId(found.source),
        source_name: name(&found.source_name, "snapshot.source_name")?,
        size_bytes: found.size_bytes,
        created: Time(found.created),
        cut,
        keep: if found.for_clones { Keep::ForClones } else { Keep::Named },
        maker,
        group: found.group.map(GroupId),
        labels: found.labels,
    };
    Ok((SnapshotId(found.id), snapshot))
}

pub(super) fn encode_snapshot((id, snapshot): (&SnapshotId, &Snapshot)) -> wire::Snapshot {
    let cut = match snapshot.cut {
        Cut::Wanted { until } => WireCut::WantedUntil(until.0),
        Cut::At(at) => WireCut::At(encode_seq(at)),
    };
    let maker = match &snapshot.maker {
        Maker::Person => WireMaker::Person(wire::Person {}),
        Maker::Schedule(schedule) => WireMaker::Schedule(schedule.to_string()),
        Maker::Clone => WireMaker::Clone(wire::Clone {}),
    };
    wire::Snapshot {
        id: id.0,
        name: snapshot.name.to_string(),
        source: snapshot.source.0,
        source_name: snapshot.source_name.to_string(),
        size_bytes: snapshot.size_bytes,
        created: snapshot.created.0,
        cut: Some(cut),
        for_clones: snapshot.keep == Keep::ForClones,
        maker: Some(maker),
        group: snapshot.group.map(|group| group.0),
        labels: snapshot.labels.clone(),
    }
}

pub(super) fn parse_grave(found: &wire::Grave) -> Result<((SnapshotId, PoolId), Grave), Invalid> {
    let seen = match wire::Seen::try_from(found.seen) {
        Ok(wire::Seen::Unknown) => Seen::Unknown,
        Ok(wire::Seen::Nothing) => Seen::Nothing,
        Ok(wire::Seen::There) => Seen::There,
        Err(_) => return Err(Invalid::value("grave.seen", found.seen)),
    };
    let grave = Grave {
        volume: VolumeId(found.volume),
        name: name(&found.name, "grave.name")?,
        group: found.group.map(GroupId),
        seen,
        since: Time(found.since),
        revision: Revision(found.revision),
    };
    Ok(((SnapshotId(found.snapshot), pool(&found.pool, "grave.pool")?), grave))
}

pub(super) fn encode_grave(((id, pool), grave): (&(SnapshotId, PoolId), &Grave)) -> wire::Grave {
    let Grave { volume, name, group, seen, since, revision } = grave;
    let seen = match seen {
        Seen::Unknown => wire::Seen::Unknown,
        Seen::Nothing => wire::Seen::Nothing,
        Seen::There => wire::Seen::There,
    };
    wire::Grave {
        snapshot: id.0,
        pool: bytes_of(pool.0),
        volume: volume.0,
        name: name.to_string(),
        group: group.map(|group| group.0),
        seen: seen.into(),
        since: since.0,
        revision: revision.0,
    }
}
