//! Volumes.

use std::collections::BTreeMap;

use comfy_table::Table;
use proto::v1;
use serde::Serialize;

use super::schedule::Schedule;
use super::{labels, or_dash};
use crate::output::{self, Detail, Moment, size, table};

/// A volume.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Volume {
    /// Its name.
    pub name: String,
    id: u64,
    /// Its size.
    pub size_bytes: u64,
    /// How it is.
    pub phase: Phase,
    description: String,
    labels: BTreeMap<String, String>,
    open: bool,
    replica_count: u32,
    pool_tags: Vec<String>,
    node_selector: BTreeMap<String, String>,
    /// Where it is.
    pub replicas: Vec<Replica>,
    /// Who may use it.
    pub attachments: Vec<Attachment>,
    generation: u64,
    created_ms: Moment,
    /// What it began as.
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<Source>,
    schedules: Vec<Schedule>,
    snapshots: u32,
    snapshots_exclusive_bytes: u64,
    /// It was deleted, and has snapshots.
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted: Option<Deleted>,
}

/// What a volume began as, by name.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Source {
    Snapshot(String),
    Volume(String),
}

/// A deleted volume whose snapshots are kept.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct Deleted {
    name: String,
    at_ms: Moment,
}

/// One node's copy.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Replica {
    /// Whose.
    pub node: String,
    pool: String,
    state: ReplicaState,
    size_bytes: u64,
    generation: u64,
    /// Among the volume's replicas; missing for the only one.
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<Role>,
    /// Blocks that no replica has.
    #[serde(skip_serializing_if = "is_zero")]
    lost_blocks: u64,
    /// Deleted snapshots that are kept because this volume and others began as them.
    #[serde(skip_serializing_if = "is_zero")]
    branch_points: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "that is how it is asked")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What a replica is among others.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct Role {
    name: String,
    primary: bool,
    in_sync: bool,
    filled_percent: Option<u32>,
    filled_in_ms: Option<u64>,
}

/// Permission of a client.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Attachment {
    /// Who.
    pub client: String,
    mode: Mode,
    generation: u64,
}

/// How a volume is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Not seen on a node yet.
    Creating,
    /// There, as it should be.
    Ready,
    /// There, and something is being done.
    Changing,
    /// It cannot be reached now.
    Unavailable,
    /// Its pool is there without it.
    Lost,
    /// It is served, and fewer replicas are in sync than there should be.
    Degraded,
    /// It can be read only.
    Blocked,
    /// It is not served, and will be by itself.
    Recovering,
    /// No replica that counts will come back.
    Failed,
    /// It lost power: clients have to attach it again.
    NeedsAttach,
    /// Of a later version.
    Unknown,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum ReplicaState {
    Unknown,
    Nothing,
    Present,
}

/// What a client may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Read and write, alone.
    ReadWrite,
    /// Read, beside other readers.
    ReadOnly,
    /// Read and write, beside others that do.
    Shared,
    /// Of a later version.
    Unknown,
}

impl From<v1::Volume> for Volume {
    fn from(volume: v1::Volume) -> Self {
        let phase = Phase::of(volume.phase());
        let spec = volume.spec.unwrap_or_default();
        Self {
            name: volume.name,
            id: volume.id,
            size_bytes: volume.size_bytes,
            phase,
            description: spec.description,
            labels: spec.labels,
            open: spec.open,
            replica_count: spec.replicas.max(1),
            pool_tags: spec.pool_tags,
            node_selector: spec.node_selector,
            replicas: volume.replicas.into_iter().map(Replica::from).collect(),
            attachments: volume.attachments.into_iter().map(Attachment::from).collect(),
            generation: volume.generation,
            created_ms: Moment(volume.created_ms),
            source: volume.source.and_then(|source| source.from).map(Source::from),
            schedules: volume.schedules.into_iter().map(Schedule::from).collect(),
            snapshots: volume.snapshots,
            snapshots_exclusive_bytes: volume.snapshots_exclusive_bytes,
            deleted: Some(Deleted { name: volume.deleted_name, at_ms: Moment(volume.deleted_ms) })
                .filter(|deleted| !deleted.name.is_empty()),
        }
    }
}

impl From<v1::source::From> for Source {
    fn from(source: v1::source::From) -> Self {
        match source {
            v1::source::From::Snapshot(name) => Self::Snapshot(name),
            v1::source::From::Volume(name) => Self::Volume(name),
        }
    }
}

impl From<v1::Replica> for Replica {
    fn from(replica: v1::Replica) -> Self {
        let state = match replica.state() {
            v1::replica::State::Unspecified | v1::replica::State::Unknown => ReplicaState::Unknown,
            v1::replica::State::Nothing => ReplicaState::Nothing,
            v1::replica::State::Present => ReplicaState::Present,
        };
        let v1::Replica { filled_percent, filled_in_ms, primary, in_sync, lost_blocks, branch_points, .. } = replica;
        let v1::Replica { node, pool, size_bytes, generation, role: name, .. } = replica;
        let role = (!name.is_empty()).then_some(Role { name, primary, in_sync, filled_percent, filled_in_ms });
        Self { node, pool, state, size_bytes, generation, role, lost_blocks, branch_points: branch_points.into() }
    }
}

impl From<v1::Attachment> for Attachment {
    fn from(attachment: v1::Attachment) -> Self {
        let mode = Mode::from(attachment.mode());
        Self { client: attachment.client, mode, generation: attachment.generation }
    }
}

impl From<v1::AccessMode> for Mode {
    fn from(mode: v1::AccessMode) -> Self {
        match mode {
            v1::AccessMode::Unspecified => Self::Unknown,
            v1::AccessMode::ReadWrite => Self::ReadWrite,
            v1::AccessMode::ReadOnly => Self::ReadOnly,
            v1::AccessMode::Shared => Self::Shared,
        }
    }
}

impl Phase {
    fn of(phase: v1::volume::Phase) -> Self {
        match phase {
            v1::volume::Phase::Unspecified => Self::Unknown,
            v1::volume::Phase::Creating => Self::Creating,
            v1::volume::Phase::Ready => Self::Ready,
            v1::volume::Phase::Changing => Self::Changing,
            v1::volume::Phase::Unavailable => Self::Unavailable,
            v1::volume::Phase::Lost => Self::Lost,
            v1::volume::Phase::Degraded => Self::Degraded,
            v1::volume::Phase::Blocked => Self::Blocked,
            v1::volume::Phase::Recovering => Self::Recovering,
            v1::volume::Phase::Failed => Self::Failed,
            v1::volume::Phase::NeedsAttach => Self::NeedsAttach,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Ready => "ready",
            Self::Changing => "changing",
            Self::Unavailable => "unavailable",
            Self::Lost => "lost",
            Self::Degraded => "degraded",
            Self::Blocked => "blocked",
            Self::Recovering => "recovering",
            Self::Failed => "failed",
            Self::NeedsAttach => "needs attach",
            Self::Unknown => "unknown",
        }
    }
}

impl ReplicaState {
    fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Nothing => "nothing",
            Self::Present => "present",
        }
    }
}

impl Replica {
    /// Of one among others what it is, and how far it is filled.
    fn shown_state(&self) -> String {
        let state = match &self.role {
            None => self.state.word().to_owned(),
            Some(Role { name, filled_percent: Some(percent), filled_in_ms: None, .. }) => {
                format!("{name} ({percent}%)")
            }
            Some(Role { name, filled_percent: Some(percent), filled_in_ms: Some(left_ms), .. }) => {
                let left = Moment(0).age(Moment(*left_ms));
                format!("{name} ({percent}%, {left} left)")
            }
            Some(Role { name, .. }) => name.clone(),
        };
        if self.lost_blocks == 0 { state } else { format!("{state}, {} blocks LOST", self.lost_blocks) }
    }

    fn is_in_sync(&self) -> bool {
        self.role.as_ref().is_some_and(|role| role.in_sync)
    }

    /// Of the only one there is nothing to say.
    fn shown_sync(&self) -> String {
        self.role.as_ref().map_or_else(|| "-".to_owned(), |role| yes_no(role.in_sync))
    }
}

impl Mode {
    /// In a sentence: `attached for writing`.
    pub fn purpose(self) -> &'static str {
        match self {
            Self::ReadWrite => "writing",
            Self::ReadOnly => "reading",
            Self::Shared => "writing beside others",
            Self::Unknown => "unknown use",
        }
    }
}

impl Volume {
    /// Whether all its replicas are on these nodes.
    pub fn is_on(&self, nodes: &[String]) -> bool {
        self.replicas.iter().all(|replica| nodes.contains(&replica.node))
    }

    /// Whether as many replicas as are wanted are in sync, and no other is there.
    pub fn is_gathered(&self) -> bool {
        let is_there = |replica: &Replica| match replica.role {
            Some(_) => replica.is_in_sync(),
            None => self.replica_count == 1 && replica.state == ReplicaState::Present,
        };
        self.replicas.len() == self.replica_count as usize && self.replicas.iter().all(is_there)
    }

    /// Whether the replica of that node is primary, and serves.
    pub fn is_served_by(&self, node: &str) -> bool {
        let serves = |replica: &&Replica| {
            replica.role.as_ref().is_some_and(|role| role.primary && role.in_sync && role.name == "primary")
        };
        self.replicas.iter().find(serves).is_some_and(|replica| replica.node == node)
    }

    /// A row each.
    pub fn table(volumes: &[Self], detail: Detail, now: Moment) -> String {
        let usual = ["NAME", "SIZE", "PHASE", "NODE", "ATTACHED TO"];
        let more = ["ID", "REPLICAS", "OPEN", "AGE", "LABELS", "DESCRIPTION"];
        let mut table = table::of(&usual, &more, detail);
        table::align_right(&mut table, &[1]);
        for volume in volumes {
            table::row(&mut table, volume.usual(), volume.more(now), detail);
        }
        table::lines(table)
    }

    /// A row for each that was deleted and has snapshots.
    pub fn retired_table(volumes: &[Self], now: Moment) -> String {
        let mut table = table::new(&["NAME", "WAS", "SIZE", "SNAPSHOTS", "EXCLUSIVE", "NODE", "DELETED"]);
        table::align_right(&mut table, &[2, 3, 4]);
        for volume in volumes {
            let nodes: Vec<_> = volume.replicas.iter().map(|replica| replica.node.clone()).collect();
            let deleted = volume.deleted.as_ref();
            table.add_row([
                volume.name.clone(),
                deleted.map_or_else(|| "-".to_owned(), |deleted| deleted.name.clone()),
                size::show(volume.size_bytes),
                volume.snapshots.to_string(),
                size::show(volume.snapshots_exclusive_bytes),
                or_dash(&nodes),
                deleted.map_or_else(|| "-".to_owned(), |deleted| format!("{} ago", deleted.at_ms.age(now))),
            ]);
        }
        table::lines(table)
    }

    fn usual(&self) -> Vec<String> {
        let nodes: Vec<_> = self.replicas.iter().map(|replica| replica.node.clone()).collect();
        let clients: Vec<_> = self.attachments.iter().map(|attachment| attachment.client.clone()).collect();
        vec![
            self.name.clone(),
            size::show(self.size_bytes),
            self.phase.word().to_owned(),
            or_dash(&nodes),
            or_dash(&clients),
        ]
    }

    fn more(&self, now: Moment) -> Vec<String> {
        vec![
            self.id.to_string(),
            self.replica_count.to_string(),
            yes_no(self.open),
            self.created_ms.age(now),
            labels(&self.labels),
            self.description.clone(),
        ]
    }

    /// One in full.
    pub fn facts(&self, now: Moment) -> String {
        let mut text = output::facts([
            ("volume", self.name.clone()),
            ("id", self.id.to_string()),
            ("size", size::show(self.size_bytes)),
            ("phase", self.phase.word().to_owned()),
            ("description", text_or_dash(&self.description)),
            ("labels", labels(&self.labels)),
            ("replicas", self.replica_count.to_string()),
            ("only on nodes", labels(&self.node_selector)),
            ("only in pools", or_dash(&self.pool_tags)),
            ("open", yes_no(self.open)),
            ("began as", self.began_as()),
            ("snapshots", self.shown_snapshots()),
            ("branch points", self.shown_branch_points()),
            ("made", format!("{} ago", self.created_ms.age(now))),
        ]);
        text += &format!("\n{}", table::lines(self.replicas_table()));
        if !self.attachments.is_empty() {
            text += &format!("\n{}", table::lines(self.attachments_table()));
        }
        if !self.schedules.is_empty() {
            text += &format!("\n{}", Schedule::table(&self.schedules, now));
        }
        text
    }

    fn began_as(&self) -> String {
        match &self.source {
            None => "-".to_owned(),
            Some(Source::Snapshot(name)) => format!("snapshot {name}"),
            Some(Source::Volume(name)) => format!("volume {name}"),
        }
    }

    fn shown_snapshots(&self) -> String {
        match self.snapshots {
            0 => "-".to_owned(),
            count => format!("{count}, {} only in them", size::show(self.snapshots_exclusive_bytes)),
        }
    }

    /// Deleted snapshots that no name leads to, and whose space is in use.
    fn shown_branch_points(&self) -> String {
        match self.replicas.iter().map(|replica| replica.branch_points).max().unwrap_or(0) {
            0 => "-".to_owned(),
            count => format!("{count} deleted snapshots are kept for clones"),
        }
    }

    fn replicas_table(&self) -> Table {
        let mut table = table::new(&["NODE", "POOL", "STATE", "IN SYNC", "SIZE", "GENERATION"]);
        for replica in &self.replicas {
            table.add_row([
                replica.node.clone(),
                replica.pool.clone(),
                replica.shown_state(),
                replica.shown_sync(),
                size::show(replica.size_bytes),
                replica.generation.to_string(),
            ]);
        }
        table
    }

    fn attachments_table(&self) -> Table {
        let mut table = table::new(&["CLIENT", "FOR", "GENERATION"]);
        for attachment in &self.attachments {
            let Attachment { client, mode, generation } = attachment;
            table.add_row([client.clone(), mode.purpose().to_owned(), generation.to_string()]);
        }
        table
    }
}

fn text_or_dash(text: &str) -> String {
    if text.is_empty() { "-" } else { text }.to_owned()
}

fn yes_no(is: bool) -> String {
    if is { "yes" } else { "no" }.to_owned()
}

#[cfg(test)]
mod tests {
    use proto::v1;
    use serde_json::json;

    use super::Volume;
    use crate::output::{Detail, Moment};

    fn volume(name: &str) -> v1::Volume {
        v1::Volume {
            id: 5,
            name: name.into(),
            size_bytes: 10 << 30,
            spec: Some(v1::VolumeSpec {
                description: "orders".into(),
                labels: [("team".to_owned(), "web".to_owned())].into(),
                ..v1::VolumeSpec::default()
            }),
            phase: v1::volume::Phase::Ready.into(),
            replicas: vec![v1::Replica {
                node: "n1".into(),
                pool: "00ff".into(),
                state: v1::replica::State::Present.into(),
                size_bytes: 10 << 30,
                generation: 3,
                ..v1::Replica::default()
            }],
            attachments: vec![v1::Attachment { client: "host1".into(), mode: 1, generation: 3 }],
            generation: 3,
            created_ms: 1000,
            ..v1::Volume::default()
        }
    }

    const NOW: Moment = Moment(3_601_000);

    #[test]
    fn volumes_are_listed_and_wide_tells_more() {
        let bare = v1::Volume { name: "scratch".into(), size_bytes: 1 << 20, ..v1::Volume::default() };
        let volumes = [volume("db").into(), bare.into()];
        let usual = "\
NAME      SIZE  PHASE    NODE  ATTACHED TO
db       10GiB  ready    n1    host1
scratch   1MiB  unknown  -     -
";
        assert_eq!(Volume::table(&volumes, Detail::Usual, NOW), usual);
        let wide = "\
NAME   SIZE  PHASE  NODE  ATTACHED TO  ID  REPLICAS  OPEN  AGE  LABELS    DESCRIPTION
db    10GiB  ready  n1    host1        5   1         no    1h   team=web  orders
";
        assert_eq!(Volume::table(&volumes[..1], Detail::Wide, NOW), wide);
    }

    #[test]
    fn of_several_replicas_each_tells_what_it_is_and_how_far() {
        let of = |node: &str, role: &str, filled_percent| v1::Replica {
            node: node.into(),
            pool: "00ff".into(),
            state: v1::replica::State::Present.into(),
            role: role.into(),
            filled_percent,
            ..v1::Replica::default()
        };
        let late = v1::Replica { filled_in_ms: Some(90_000), ..of("n3", "being filled", Some(10)) };
        let replicas = vec![of("n1", "primary", None), of("n2", "being filled", Some(40)), late];
        let volume = Volume::from(v1::Volume { phase: v1::volume::Phase::Degraded.into(), replicas, ..volume("db") });
        let text = volume.facts(NOW);
        for part in ["degraded", "primary", "being filled (40%)", "being filled (10%, 1m left)"] {
            assert!(text.contains(part), "{part} is missing in: {text}");
        }
        let json = serde_json::to_value(&volume).unwrap();
        assert_eq!(
            json["replicas"][1]["role"],
            json!({
                "name": "being filled", "primary": false, "in_sync": false, "filled_percent": 40, "filled_in_ms": null,
            })
        );
    }

    #[test]
    fn what_is_kept_of_a_volume_is_shown_with_it() {
        let from = v1::source::From::Snapshot("monday".into());
        let schedule = v1::Schedule { name: "nightly".into(), cron: "@daily".into(), keep: 7, ..Default::default() };
        let kept = v1::Volume {
            source: Some(v1::Source { from: Some(from) }),
            schedules: vec![schedule],
            snapshots: 3,
            snapshots_exclusive_bytes: 5 << 20,
            ..volume("db")
        };
        let text = Volume::from(kept.clone()).facts(NOW);
        for part in ["began as       snapshot monday\n", "snapshots      3, 5MiB only in them\n", "nightly   @daily"] {
            assert!(text.contains(part), "{part} is missing in: {text}");
        }
        let retired = v1::Volume { deleted_name: "db".into(), deleted_ms: 1000, ..kept };
        let expected = "\
NAME       WAS   SIZE  SNAPSHOTS  EXCLUSIVE  NODE  DELETED
retired-5  db   10GiB          3       5MiB  n1    1h ago
";
        let retired = Volume::from(v1::Volume { name: "retired-5".into(), ..retired });
        assert_eq!(Volume::retired_table(&[retired], NOW), expected);
    }

    #[test]
    fn one_volume_is_shown_with_its_replicas_and_clients() {
        let expected = "\
volume         db
id             5
size           10GiB
phase          ready
description    orders
labels         team=web
replicas       1
only on nodes  -
only in pools  -
open           no
began as       -
snapshots      -
branch points  -
made           1h ago

NODE  POOL  STATE    IN SYNC  SIZE   GENERATION
n1    00ff  present  -        10GiB  3

CLIENT  FOR      GENERATION
host1   writing  3
";
        assert_eq!(Volume::from(volume("db")).facts(NOW), expected);
    }

    #[test]
    fn programs_see_every_field_by_its_name() {
        let expected = json!({
            "name": "db", "id": 5, "size_bytes": 10_u64 << 30, "phase": "ready", "description": "orders",
            "labels": { "team": "web" }, "open": false, "replica_count": 1, "pool_tags": [], "node_selector": {},
            "replicas": [
                { "node": "n1", "pool": "00ff", "state": "present", "size_bytes": 10_u64 << 30, "generation": 3 },
            ],
            "attachments": [{ "client": "host1", "mode": "read_write", "generation": 3 }],
            "generation": 3, "created_ms": 1000, "schedules": [], "snapshots": 0, "snapshots_exclusive_bytes": 0,
        });
        assert_eq!(serde_json::to_value(Volume::from(volume("db"))).unwrap(), expected);
    }
}
