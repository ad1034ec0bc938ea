//! Storage nodes.

use std::collections::BTreeMap;

use proto::v1;
use serde::Serialize;

use super::{Pool, labels, or_dash};
use crate::output::{self, Detail, Moment, size, table};

/// A storage node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Whether it is heard.
    pub up: bool,
    cordoned: bool,
    draining: bool,
    since_ms: Moment,
    peer_address: String,
    nbd_addresses: Vec<String>,
    labels: BTreeMap<String, String>,
    replicas: u64,
    /// What it gives.
    pub pools: Vec<Pool>,
}

impl From<v1::Node> for Node {
    fn from(node: v1::Node) -> Self {
        Self {
            name: node.name,
            up: node.up,
            cordoned: node.cordoned,
            draining: node.draining,
            since_ms: Moment(node.since_ms),
            peer_address: node.peer_address,
            nbd_addresses: node.nbd_addresses,
            labels: node.labels,
            replicas: node.replicas,
            pools: node.pools.into_iter().map(Pool::from).collect(),
        }
    }
}

impl Node {
    /// Whether it is heard and has opened a pool.
    pub fn serves(&self) -> bool {
        self.up && self.pools.iter().any(Pool::is_open)
    }

    /// A row each.
    pub fn table(nodes: &[Self], detail: Detail, now: Moment) -> String {
        let usual = ["NAME", "STATE", "SINCE", "POOLS", "REPLICAS", "USED", "CAPACITY"];
        let mut table = table::of(&usual, &["NBD", "PEERS", "LABELS"], detail);
        table::align_right(&mut table, &[3, 4, 5, 6]);
        for node in nodes {
            table::row(&mut table, node.usual(now), node.more(), detail);
        }
        table::lines(table)
    }

    fn usual(&self, now: Moment) -> Vec<String> {
        vec![
            self.name.clone(),
            self.state(),
            self.since_ms.age(now),
            self.pools.len().to_string(),
            self.replicas.to_string(),
            size::show(self.pools.iter().map(Pool::used_bytes).sum()),
            size::show(self.pools.iter().map(Pool::capacity_bytes).sum()),
        ]
    }

    fn more(&self) -> Vec<String> {
        vec![or_dash(&self.nbd_addresses), self.peer_address.clone(), labels(&self.labels)]
    }

    fn state(&self) -> String {
        let state = if self.up { "up" } else { "lost" };
        match (self.draining, self.cordoned) {
            (true, _) => format!("{state},draining"),
            (false, true) => format!("{state},cordoned"),
            (false, false) => state.to_owned(),
        }
    }

    /// One in full.
    pub fn facts(&self, now: Moment) -> String {
        let facts = output::facts([
            ("node", self.name.clone()),
            ("state", format!("{} for {}", self.state(), self.since_ms.age(now))),
            ("nbd", or_dash(&self.nbd_addresses)),
            ("peers", self.peer_address.clone()),
            ("labels", labels(&self.labels)),
            ("replicas", self.replicas.to_string()),
        ]);
        format!("{facts}\n{}", Pool::table(&self.pools, Detail::Wide))
    }
}

#[cfg(test)]
mod tests {
    use proto::v1;

    use super::Node;
    use crate::output::{Detail, Moment};

    fn node() -> v1::Node {
        v1::Node {
            name: "n1".into(),
            peer_address: "10.0.0.1:10701".into(),
            nbd_addresses: vec!["10.0.0.1:10809".into()],
            labels: [("zone".to_owned(), "a".to_owned())].into(),
            cordoned: true,
            up: true,
            since_ms: 0,
            pools: vec![v1::Pool { capacity_bytes: 1 << 40, used_bytes: 1 << 30, ..v1::Pool::default() }],
            replicas: 4,
            draining: false,
        }
    }

    #[test]
    fn nodes_are_listed_and_wide_tells_more() {
        let lost = v1::Node { name: "n2".into(), up: false, cordoned: false, pools: vec![], ..node() };
        let expected = "\
NAME  STATE        SINCE  POOLS  REPLICAS  USED  CAPACITY  NBD             PEERS           LABELS
n1    up,cordoned  2d         1         4  1GiB      1TiB  10.0.0.1:10809  10.0.0.1:10701  zone=a
n2    lost         2d         0         4    0B        0B  10.0.0.1:10809  10.0.0.1:10701  zone=a
";
        let now = Moment(2 * 86_400_000);
        assert_eq!(Node::table(&[node().into(), lost.into()], Detail::Wide, now), expected);
    }

    #[test]
    fn one_node_is_shown_with_its_pools() {
        let text = Node::from(node()).facts(Moment(5_000));
        assert!(text.starts_with("node      n1\nstate     up,cordoned for 5s\n"), "{text}");
        assert!(text.contains("\nPOOL  NODE  STATE"), "{text}");
    }
}
