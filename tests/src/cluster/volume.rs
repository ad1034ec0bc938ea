//! How a replicated volume is, as the cluster tells it.

use std::time::Duration;

use serde_json::Value;

use super::{Cluster, Shell};
use crate::wait;

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

impl Shell {
    /// Has all replicas of a volume compared while they are used; answers how many blocks each holds that are not zeroes.
    /// With `reads` every one is read from its disk.
    ///
    /// # Errors
    /// A sentence when they differ, when something is lost, or when not all of every replica was compared.
    pub fn verify(&self, volume: &str, replicas: usize, reads: bool) -> Result<u64, String> {
        let arguments = ["volume", "verify", volume, "-o", "json", "--timeout", "60"];
        let arguments = arguments.into_iter().chain(reads.then_some("--data"));
        let output = self.plinth(&arguments.collect::<Vec<_>>());
        let found = serde_json::from_slice(&output.stdout);
        let found: Value = found.map_err(|_| String::from_utf8_lossy(&output.stderr).into_owned())?;
        agreed(&found, replicas).filter(|_| output.status.success()).ok_or_else(|| found.to_string())
    }
}

/// How many blocks all replicas hold, if as many as there are to be were compared from end to end and are equal.
fn agreed(found: &Value, replicas: usize) -> Option<u64> {
    let size = &found["size_bytes"];
    let compared: Vec<&Value> = found["replicas"].as_object()?.values().collect();
    let is_whole = |replica: &&Value| replica["absent"].is_null() && replica["compared_bytes"] == *size;
    let blocks = compared.first()?["blocks"].as_u64()?;
    let equal = compared.iter().all(|replica| is_whole(replica) && replica["blocks"] == blocks);
    (found["sound"] == true && compared.len() == replicas && equal && found["compared_bytes"] == *size)
        .then_some(blocks)
}

impl Cluster {
    /// Makes a volume with a replica on every node, and waits until all are in sync.
    pub fn create_replicated(&self, volume: &str, size: &str) -> VolumeView {
        let replicas = self.nodes.len().to_string();
        // Nodes are heard before their pools are.
        wait::until("pools for a volume", || {
            let created = ["volume", "create", volume, "--size", size, "--replicas", &replicas, "--timeout", "30"];
            self.shell().plinth(&created).status.success().then_some(())
        });
        self.whole(volume, wait::PATIENCE)
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

    use super::agreed;

    fn found(replicas: &Value) -> Value {
        json!({ "size_bytes": 8192, "compared_bytes": 8192, "sound": true, "replicas": replicas })
    }

    #[test]
    fn replicas_agree_only_when_every_one_was_compared_from_end_to_end() {
        let whole = json!({ "compared_bytes": 8192, "absent": null, "blocks": 2 });
        assert_eq!(agreed(&found(&json!({ "a": whole, "b": whole })), 2), Some(2));
        assert_eq!(agreed(&found(&json!({ "a": whole, "b": whole })), 3), None, "one was not there");
        let rows = [
            json!({ "compared_bytes": 4096, "absent": null, "blocks": 2 }),
            json!({ "compared_bytes": 8192, "absent": "it was out of sync", "blocks": 2 }),
            json!({ "compared_bytes": 8192, "absent": null, "blocks": 1 }),
        ];
        for other in rows {
            assert_eq!(agreed(&found(&json!({ "a": whole, "b": other })), 2), None, "{other}");
        }
        let mut unsound = found(&json!({ "a": whole }));
        unsound["sound"] = Value::Bool(false);
        assert_eq!(agreed(&unsound, 1), None);
    }
}
