//! How a replicated volume is, as the cluster tells it.

use std::time::Duration;

use serde_json::Value;

use super::{Cluster, Shell};
use crate::wait;

/// What an empty pool may have in use beside volumes.
const EMPTY_BYTES_MAX: u64 = 64 << 10;

/// One look.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct VolumeView {
    /// Its number.
    pub id: u64,
    /// In a word.
    pub phase: String,
    /// The primary's node, if it has one.
    pub primary: Option<String>,
    /// Nodes of the replicas in sync.
    pub in_sync: Vec<String>,
    /// Nodes of all replicas.
    pub nodes: Vec<String>,
    /// Who has it.
    pub clients: Vec<String>,
}

impl VolumeView {
    fn of(volume: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let replicas = volume["replicas"].as_array().map(Vec::as_slice).unwrap_or_default();
        let nodes = |wanted: fn(&Value) -> bool| -> Vec<String> {
            replicas.iter().filter(|replica| wanted(replica)).map(|replica| text(&replica["node"])).collect()
        };
        let attachments = volume["attachments"].as_array().map(Vec::as_slice).unwrap_or_default();
        Self {
            id: volume["id"].as_u64().unwrap_or_default(),
            phase: text(&volume["phase"]),
            primary: nodes(|replica| replica["role"]["name"] == "primary").pop(),
            in_sync: nodes(|replica| replica["role"]["in_sync"] == true),
            nodes: nodes(|_| true),
            clients: attachments.iter().map(|attachment| text(&attachment["client"])).collect(),
        }
    }

    /// A node with a replica in sync that is not primary.
    #[must_use]
    pub fn backup(&self) -> Option<&String> {
        self.in_sync.iter().find(|node| Some(*node) != self.primary.as_ref())
    }
}

impl Shell {
    /// How a volume is; none when nobody says.
    #[must_use]
    pub fn look(&self, volume: &str) -> Option<VolumeView> {
        let output = self.plinth(&["volume", "show", volume, "-o", "json", "--timeout", "2"]);
        output.status.success().then(|| VolumeView::of(&serde_json::from_slice(&output.stdout).expect("JSON")))
    }
}

/// What came of comparing the replicas of a volume.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Compared {
    /// As many as there are to be hold this many blocks that are not zeroes, and are equal.
    Equal(u64),
    /// Those that were compared are equal, and others were not, or not from end to end.
    Partly,
    /// Some differ, or something is lost.
    Unsound,
}

impl Compared {
    fn of(found: &Value, replicas: usize) -> Self {
        let size = &found["size_bytes"];
        let all: Vec<&Value> = found["replicas"].as_object().into_iter().flat_map(|all| all.values()).collect();
        let is_whole = |replica: &&Value| replica["absent"].is_null() && replica["compared_bytes"] == *size;
        let is_complete = all.len() == replicas && all.iter().all(is_whole) && found["compared_bytes"] == *size;
        match all.first().and_then(|first| first["blocks"].as_u64()) {
            _ if found["sound"] != true || found["differences_found"] != 0 => Self::Unsound,
            Some(blocks) if is_complete && all.iter().all(|replica| replica["blocks"] == blocks) => Self::Equal(blocks),
            Some(_) if is_complete => Self::Unsound,
            Some(_) | None => Self::Partly,
        }
    }
}

impl Cluster {
    /// Has every replica of a volume read from its disk while it is used, and all compared; answers how many blocks each
    /// holds that are not zeroes. One may leave just then, as long as it comes back within `limit`.
    ///
    /// # Errors
    /// What was found when they are not equal, or not all were compared in time.
    pub fn verify(&self, volume: &str, limit: Duration) -> Result<u64, String> {
        let mut last = String::new();
        let arguments = ["volume", "verify", volume, "--data", "-o", "json", "--timeout", "60"];
        let ended = wait::within(limit, || {
            let output = self.shell().plinth(&arguments);
            let found: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
            last = format!("{found}, {}", String::from_utf8_lossy(&output.stderr));
            match Compared::of(&found, self.nodes.len()) {
                Compared::Equal(blocks) if output.status.success() => Some(Ok(blocks)),
                Compared::Equal(_) | Compared::Unsound if !found.is_null() => Some(Err(last.clone())),
                Compared::Equal(_) | Compared::Unsound | Compared::Partly => None,
            }
        });
        ended.unwrap_or(Err(last))
    }
}

impl Cluster {
    /// Makes a volume with a replica on every node, and waits until all are in sync.
    pub fn create_replicated(&self, volume: &str, size: &str) -> VolumeView {
        self.ask_for_replicated(volume, size);
        self.whole(volume, wait::PATIENCE)
    }

    /// Asks for such a volume.
    pub fn ask_for_replicated(&self, volume: &str, size: &str) {
        let replicas = self.nodes.len().to_string();
        // Nodes are heard before their pools are.
        wait::until("pools for a volume", || {
            let wanted = ["volume", "create", volume, "--size", size, "--replicas", &replicas];
            let arguments = [&wanted[..], &["--no-wait", "--timeout", "30"]].concat();
            self.shell().plinth(&arguments).status.success().then_some(())
        });
    }

    /// Waits until as many replicas of a volume are in sync as there are nodes, one of them primary.
    ///
    /// # Panics
    /// When that takes longer than `limit`, with what the cluster says about it.
    pub fn whole(&self, volume: &str, limit: Duration) -> VolumeView {
        let shell = self.shell();
        let is_whole = |view: &VolumeView| {
            view.in_sync.len() == self.nodes.len() && view.primary.is_some() && view.phase == "ready"
        };
        wait::within(limit, || shell.look(volume).filter(is_whole)).unwrap_or_else(|| {
            let explained = shell.plinth(&["explain", "volume", volume, "--timeout", "5"]).stdout;
            panic!(
                "{volume} is not whole after {limit:?}: {:?}\n{}",
                shell.look(volume),
                String::from_utf8_lossy(&explained),
            )
        })
    }

    /// Waits until no pool holds anything of any volume.
    ///
    /// # Panics
    /// When some do for long.
    pub fn until_empty(&self) {
        let mut last = Vec::new();
        let is_empty = || {
            last = self.used_bytes();
            last.iter().all(|used| *used <= EMPTY_BYTES_MAX).then_some(())
        };
        wait::within(wait::PATIENCE, is_empty).unwrap_or_else(|| panic!("pools are not empty: {last:?}"));
    }

    fn used_bytes(&self) -> Vec<u64> {
        let nodes = self.json(&["node", "list"]);
        let pools = nodes.as_array().expect("a list").iter().flat_map(|node| node["pools"].as_array().expect("a list"));
        pools.map(|pool| pool["used_bytes"].as_u64().expect("bytes")).collect()
    }

    /// What all processes printed last, without what clients met with.
    #[must_use]
    pub fn last_words(&self) -> String {
        let words = |name: String| format!("--- {name}\n{}", tail(&self.log(&name)));
        self.names().into_iter().map(words).collect()
    }

    /// The node of the primary.
    ///
    /// # Panics
    /// When there is none for long.
    #[must_use]
    pub fn primary(&self, volume: &str) -> String {
        let shell = self.shell();
        wait::until("a primary", || shell.look(volume)?.primary)
    }
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().filter(|line| !line.contains("relayed client")).collect();
    lines[lines.len().saturating_sub(12)..].join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::Compared;

    fn found(replicas: &Value) -> Value {
        json!({ "size_bytes": 8192, "compared_bytes": 8192, "sound": true, "differences_found": 0, "replicas": replicas })
    }

    #[test]
    fn replicas_are_equal_only_when_every_one_was_compared_from_end_to_end() {
        let whole = json!({ "compared_bytes": 8192, "absent": null, "blocks": 2 });
        let both = found(&json!({ "a": whole, "b": whole }));
        assert_eq!(Compared::of(&both, 2), Compared::Equal(2));
        assert_eq!(Compared::of(&both, 3), Compared::Partly, "one was not there");
        let rows = [
            (json!({ "compared_bytes": 4096, "absent": null, "blocks": 2 }), Compared::Partly),
            (json!({ "compared_bytes": 8192, "absent": "it is not in sync", "blocks": 2 }), Compared::Partly),
            (json!({ "compared_bytes": 8192, "absent": null, "blocks": 1 }), Compared::Unsound),
        ];
        for (other, expected) in rows {
            assert_eq!(Compared::of(&found(&json!({ "a": whole, "b": other })), 2), expected, "{other}");
        }
        for (key, value) in [("sound", json!(false)), ("differences_found", json!(1))] {
            let mut unsound = both.clone();
            unsound[key] = value;
            assert_eq!(Compared::of(&unsound, 2), Compared::Unsound);
        }
        assert_eq!(Compared::of(&Value::Null, 2), Compared::Unsound);
    }
}
