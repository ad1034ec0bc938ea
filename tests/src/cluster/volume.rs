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
