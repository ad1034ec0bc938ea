//! Operations.

use proto::v1;
use serde::Serialize;

use crate::output::{self, Detail, Moment, table};

/// What takes time.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Operation {
    /// Its number.
    pub id: u64,
    kind: Kind,
    volume: String,
    since_ms: Moment,
    ended_ms: Option<Moment>,
    waits_for: Option<String>,
    /// Why it ended without what was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    failed: Option<String>,
    /// The snapshot or group it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Create,
    Resize,
    Delete,
    Attach,
    Snapshot,
    DeleteSnapshot,
    Retire,
    Group,
    DeleteGroup,
    /// Of a later version.
    Unknown,
}

impl Kind {
    fn of(operation: &v1::Operation) -> Self {
        match operation.kind() {
            v1::operation::Kind::Unspecified => Self::Unknown,
            v1::operation::Kind::Create => Self::Create,
            v1::operation::Kind::Resize => Self::Resize,
            v1::operation::Kind::Delete => Self::Delete,
            v1::operation::Kind::Attach => Self::Attach,
            v1::operation::Kind::Snapshot => Self::Snapshot,
            v1::operation::Kind::DeleteSnapshot => Self::DeleteSnapshot,
            v1::operation::Kind::Retire => Self::Retire,
            v1::operation::Kind::Group => Self::Group,
            v1::operation::Kind::DeleteGroup => Self::DeleteGroup,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Resize => "resize",
            Self::Delete => "delete",
            Self::Attach => "attach",
            Self::Snapshot => "snapshot",
            Self::DeleteSnapshot => "delete snapshot",
            Self::Retire => "retire",
            Self::Group => "group",
            Self::DeleteGroup => "delete group",
            Self::Unknown => "unknown",
        }
    }
}

impl From<v1::Operation> for Operation {
    fn from(operation: v1::Operation) -> Self {
        Self {
            id: operation.id,
            kind: Kind::of(&operation),
            volume: operation.volume,
            since_ms: Moment(operation.since_ms),
            ended_ms: operation.ended_ms.map(Moment),
            waits_for: Some(operation.waits_for).filter(|waits_for| !waits_for.is_empty()),
            failed: Some(operation.failed).filter(|failed| !failed.is_empty()),
            snapshot: Some(operation.snapshot).filter(|snapshot| !snapshot.is_empty()),
        }
    }
}

impl Operation {
    /// A row each.
    pub fn table(operations: &[Self], _detail: Detail, now: Moment) -> String {
        let mut table = table::new(&["ID", "KIND", "VOLUME", "AGE", "STATE", "WAITS FOR"]);
        for operation in operations {
            let state = operation.state();
            table.add_row([
                operation.id.to_string(),
                operation.kind.word().to_owned(),
                operation.volume.clone(),
                operation.since_ms.age(now),
                state.to_owned(),
                operation.waits_for.clone().unwrap_or_else(|| "-".to_owned()),
            ]);
        }
        table::lines(table)
    }

    fn state(&self) -> &'static str {
        match (self.ended_ms, &self.failed) {
            (None, _) => "running",
            (Some(_), None) => "ended",
            (Some(_), Some(_)) => "failed",
        }
    }

    /// One in full.
    pub fn facts(&self, now: Moment) -> String {
        let end = match (self.ended_ms, &self.failed) {
            (Some(ended), Some(why)) => ("failed", format!("{} ago: {why}", ended.age(now))),
            (Some(ended), None) => ("ended", format!("{} ago", ended.age(now))),
            (None, _) => ("waits for", self.waits_for.clone().unwrap_or_else(|| "-".to_owned())),
        };
        output::facts([
            ("operation", self.id.to_string()),
            ("kind", self.kind.word().to_owned()),
            ("volume", self.volume.clone()),
            ("began", format!("{} ago", self.since_ms.age(now))),
            end,
        ])
    }
}

#[cfg(test)]
mod tests {
    use proto::v1;

    use super::Operation;
    use crate::output::{Detail, Moment};

    fn operation(id: u64, ended_ms: Option<u64>) -> v1::Operation {
        let waits_for = if ended_ms.is_some() { "" } else { "node n1 is not heard" };
        v1::Operation {
            id,
            kind: 1,
            volume: "db".into(),
            since_ms: 1000,
            ended_ms,
            waits_for: waits_for.into(),
            ..v1::Operation::default()
        }
    }

    #[test]
    fn operations_are_listed_with_what_they_wait_for() {
        let operations = [operation(7, Some(2000)).into(), operation(12, None).into()];
        let expected = "\
ID  KIND    VOLUME  AGE  STATE    WAITS FOR
7   create  db      1m   ended    -
12  create  db      1m   running  node n1 is not heard
";
        assert_eq!(Operation::table(&operations, Detail::Usual, Moment(61_000)), expected);
    }

    #[test]
    fn programs_see_every_field_by_its_name() {
        let json = serde_json::to_value(Operation::from(operation(7, None))).unwrap();
        let expected = serde_json::json!({
            "id": 7, "kind": "create", "volume": "db", "since_ms": 1000, "ended_ms": null,
            "waits_for": "node n1 is not heard",
        });
        assert_eq!(json, expected);
    }
}
