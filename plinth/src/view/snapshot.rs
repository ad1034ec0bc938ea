//! Snapshots and groups of them.

use std::collections::BTreeMap;

use proto::v1;
use serde::Serialize;

use super::{labels, or_dash};
use crate::output::{self, Detail, Moment, size, table};

/// A snapshot.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Snapshot {
    /// Its name.
    pub name: String,
    id: u64,
    volume: String,
    volume_id: u64,
    volume_deleted: bool,
    /// Its size.
    pub size_bytes: u64,
    created_ms: Moment,
    /// A volume can be made from it.
    pub ready: bool,
    copies: u32,
    /// How many replicas its volume has.
    pub replicas: u32,
    exclusive_bytes: u64,
    shared_bytes: u64,
    group: Option<String>,
    schedule: Option<String>,
    hidden: bool,
    labels: BTreeMap<String, String>,
    nodes: Vec<String>,
    /// Where it was cut, for `plinth snapshot diff --since-at`.
    cut_at: Option<String>,
}

/// A group snapshot.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Group {
    /// Its name.
    pub name: String,
    id: u64,
    created_ms: Moment,
    ready: bool,
    volumes: Vec<String>,
    labels: BTreeMap<String, String>,
    snapshots: Vec<Snapshot>,
}

/// Empty stands for none.
fn if_any(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

impl From<v1::Snapshot> for Snapshot {
    fn from(snapshot: v1::Snapshot) -> Self {
        Self {
            name: snapshot.name,
            id: snapshot.id,
            volume: snapshot.volume,
            volume_id: snapshot.volume_id,
            volume_deleted: snapshot.volume_deleted,
            size_bytes: snapshot.size_bytes,
            created_ms: Moment(snapshot.created_ms),
            ready: snapshot.ready,
            copies: snapshot.copies,
            replicas: snapshot.replicas,
            exclusive_bytes: snapshot.exclusive_bytes,
            shared_bytes: snapshot.shared_bytes,
            group: if_any(snapshot.group),
            schedule: if_any(snapshot.schedule),
            hidden: snapshot.hidden,
            labels: snapshot.labels,
            nodes: snapshot.nodes,
            cut_at: snapshot.at.map(|at| format!("{}.{}", at.epoch, at.n)),
        }
    }
}

impl From<v1::Group> for Group {
    fn from(group: v1::Group) -> Self {
        Self {
            name: group.name,
            id: group.id,
            created_ms: Moment(group.created_ms),
            ready: group.ready,
            volumes: group.volumes,
            labels: group.labels,
            snapshots: group.snapshots.into_iter().map(Snapshot::from).collect(),
        }
    }
}

impl Snapshot {
    /// A row each.
    pub fn table(snapshots: &[Self], detail: Detail, now: Moment) -> String {
        let usual = ["NAME", "VOLUME", "SIZE", "EXCLUSIVE", "SHARED", "STATE", "AGE"];
        let more = ["ID", "COPIES", "GROUP", "SCHEDULE", "LABELS"];
        let mut table = table::of(&usual, &more, detail);
        table::align_right(&mut table, &[2, 3, 4]);
        for snapshot in snapshots {
            table::row(&mut table, snapshot.usual(now), snapshot.more(), detail);
        }
        table::lines(table)
    }

    fn usual(&self, now: Moment) -> Vec<String> {
        vec![
            self.shown_name(),
            self.shown_volume(),
            size::show(self.size_bytes),
            size::show(self.exclusive_bytes),
            size::show(self.shared_bytes),
            self.state().to_owned(),
            self.created_ms.age(now),
        ]
    }

    fn more(&self) -> Vec<String> {
        let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        vec![
            self.id.to_string(),
            format!("{}/{}", self.copies, self.replicas),
            or_dash(&self.group),
            or_dash(&self.schedule),
            labels(&self.labels),
        ]
    }

    /// What has no name of its own is shown as such.
    fn shown_name(&self) -> String {
        if self.hidden { format!("(for clones: {})", self.name) } else { self.name.clone() }
    }

    fn shown_volume(&self) -> String {
        if self.volume_deleted { format!("{} (deleted)", self.volume) } else { self.volume.clone() }
    }

    fn state(&self) -> &'static str {
        match (self.hidden, self.ready) {
            (true, _) => "kept for clones",
            (false, true) => "ready",
            (false, false) => "being taken",
        }
    }

    /// One in full.
    pub fn facts(&self, now: Moment) -> String {
        let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        output::facts([
            ("snapshot", self.shown_name()),
            ("id", self.id.to_string()),
            ("volume", self.shown_volume()),
            ("size", size::show(self.size_bytes)),
            ("state", self.state().to_owned()),
            ("replicas", format!("{} of {} have it ({})", self.copies, self.replicas, super::or_dash(&self.nodes))),
            ("cut at", or_dash(&self.cut_at)),
            ("exclusive", size::show(self.exclusive_bytes)),
            ("shared", size::show(self.shared_bytes)),
            ("group", or_dash(&self.group)),
            ("schedule", or_dash(&self.schedule)),
            ("labels", labels(&self.labels)),
            ("taken", format!("{} ago", self.created_ms.age(now))),
        ])
    }
}

impl Group {
    /// A row each.
    pub fn table(groups: &[Self], detail: Detail, now: Moment) -> String {
        let mut table = table::of(&["NAME", "VOLUMES", "STATE", "AGE"], &["ID", "LABELS"], detail);
        for group in groups {
            let usual = vec![group.name.clone(), or_dash(&group.volumes), group.state(), group.created_ms.age(now)];
            table::row(&mut table, usual, vec![group.id.to_string(), labels(&group.labels)], detail);
        }
        table::lines(table)
    }

    fn state(&self) -> String {
        if self.ready { "ready" } else { "being taken" }.to_owned()
    }

    /// One in full.
    pub fn facts(&self, now: Moment) -> String {
        let facts = output::facts([
            ("group", self.name.clone()),
            ("id", self.id.to_string()),
            ("state", self.state()),
            ("labels", labels(&self.labels)),
            ("taken", format!("{} ago", self.created_ms.age(now))),
        ]);
        format!("{facts}\n{}", Snapshot::table(&self.snapshots, Detail::Usual, now))
    }
}

#[cfg(test)]
mod tests {
    use proto::v1;
    use serde_json::json;

    use super::{Group, Snapshot};
    use crate::output::{Detail, Moment};

    const NOW: Moment = Moment(3_601_000);

    fn snapshot(name: &str) -> v1::Snapshot {
        v1::Snapshot {
            id: 7,
            name: name.into(),
            volume: "db".into(),
            volume_id: 5,
            size_bytes: 10 << 30,
            created_ms: 1000,
            at: Some(v1::Cut { epoch: 2, n: 77 }),
            ready: true,
            copies: 2,
            replicas: 3,
            exclusive_bytes: 4096,
            shared_bytes: 3 << 30,
            nodes: vec!["n1".into(), "n2".into()],
            ..v1::Snapshot::default()
        }
    }

    #[test]
    fn snapshots_are_listed_with_their_space_and_what_became_of_their_volume() {
        let deleted = v1::Snapshot { volume_deleted: true, group: "night".into(), ..snapshot("old") };
        let hidden = v1::Snapshot { hidden: true, ready: false, ..snapshot("test") };
        let taken = v1::Snapshot { ready: false, size_bytes: 1 << 20, ..snapshot("new") };
        let all = [snapshot("monday").into(), deleted.into(), hidden.into(), taken.into()];
        let expected = "\
NAME                VOLUME         SIZE  EXCLUSIVE  SHARED  STATE            AGE
monday              db            10GiB       4KiB    3GiB  ready            1h
old                 db (deleted)  10GiB       4KiB    3GiB  ready            1h
(for clones: test)  db            10GiB       4KiB    3GiB  kept for clones  1h
new                 db             1MiB       4KiB    3GiB  being taken      1h
";
        assert_eq!(Snapshot::table(&all, Detail::Usual, NOW), expected);
        let wide = Snapshot::table(&all[1..2], Detail::Wide, NOW);
        assert!(wide.contains("2/3     night  -         -\n"), "{wide}");
    }

    #[test]
    fn one_snapshot_is_shown_in_full() {
        let expected = "\
snapshot   monday
id         7
volume     db
size       10GiB
state      ready
replicas   2 of 3 have it (n1,n2)
cut at     2.77
exclusive  4KiB
shared     3GiB
group      -
schedule   -
labels     -
taken      1h ago
";
        assert_eq!(Snapshot::from(snapshot("monday")).facts(NOW), expected);
    }

    #[test]
    fn a_group_is_shown_with_its_snapshots() {
        let group = v1::Group {
            id: 3,
            name: "night".into(),
            created_ms: 1000,
            ready: true,
            snapshots: vec![snapshot("night-db")],
            volumes: vec!["db".into()],
            ..v1::Group::default()
        };
        let group = Group::from(group);
        let list = "NAME   VOLUMES  STATE  AGE\nnight  db       ready  1h\n";
        assert_eq!(Group::table(std::slice::from_ref(&group), Detail::Usual, NOW), list);
        assert!(group.facts(NOW).contains("\nnight-db  db      10GiB"), "{}", group.facts(NOW));
    }

    #[test]
    fn programs_see_every_field_by_its_name() {
        let expected = json!({
            "name": "monday", "id": 7, "volume": "db", "volume_id": 5, "volume_deleted": false,
            "size_bytes": 10_u64 << 30, "created_ms": 1000, "ready": true, "copies": 2, "replicas": 3,
            "exclusive_bytes": 4096, "shared_bytes": 3_u64 << 30, "group": null, "schedule": null, "hidden": false,
            "labels": {}, "nodes": ["n1", "n2"], "cut_at": "2.77",
        });
        assert_eq!(serde_json::to_value(Snapshot::from(snapshot("monday"))).unwrap(), expected);
    }
}
