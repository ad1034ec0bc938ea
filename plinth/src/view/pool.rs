//! Pools of a cluster.

use proto::v1;
use serde::Serialize;

use super::or_dash;
use crate::output::{Detail, size, table};

/// A pool.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Pool {
    /// 32 hexadecimal digits.
    pub id: String,
    /// Whose.
    pub node: String,
    state: State,
    capacity_bytes: u64,
    used_bytes: u64,
    promised_bytes: u64,
    replicas: u64,
    tags: Vec<String>,
    /// Volumes in it that the cluster knows nothing of.
    pub orphans: Vec<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// Its node serves it.
    Open,
    /// Its node is not heard, or has not opened it.
    Closed,
    /// Its device failed: it takes no writes any more.
    Failed,
}

impl From<v1::Pool> for Pool {
    fn from(pool: v1::Pool) -> Self {
        let state = match (pool.failed, pool.open) {
            (true, _) => State::Failed,
            (false, true) => State::Open,
            (false, false) => State::Closed,
        };
        Self {
            id: pool.id,
            node: pool.node,
            state,
            capacity_bytes: pool.capacity_bytes,
            used_bytes: pool.used_bytes,
            promised_bytes: pool.promised_bytes,
            replicas: pool.replicas,
            tags: pool.tags,
            orphans: pool.orphans,
        }
    }
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
            Self::Failed => "failed",
        }
    }
}

impl Pool {
    /// Whether its node serves it.
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// What it has room for.
    pub fn capacity_bytes(&self) -> u64 {
        self.capacity_bytes
    }

    /// What is used of that.
    pub fn used_bytes(&self) -> u64 {
        self.used_bytes
    }

    /// A row each.
    pub fn table(pools: &[Self], detail: Detail) -> String {
        let usual = ["POOL", "NODE", "STATE", "USED", "PROMISED", "CAPACITY", "REPLICAS"];
        let mut table = table::of(&usual, &["TAGS", "ORPHANS"], detail);
        table::align_right(&mut table, &[3, 4, 5, 6]);
        for pool in pools {
            let usual = vec![
                pool.id.clone(),
                pool.node.clone(),
                pool.state.word().to_owned(),
                size::show(pool.used_bytes),
                size::show(pool.promised_bytes),
                size::show(pool.capacity_bytes),
                pool.replicas.to_string(),
            ];
            let orphans: Vec<_> = pool.orphans.iter().map(u64::to_string).collect();
            table::row(&mut table, usual, vec![or_dash(&pool.tags), or_dash(&orphans)], detail);
        }
        table::lines(table)
    }
}

#[cfg(test)]
mod tests {
    use proto::v1;

    use super::Pool;
    use crate::output::Detail;

    #[test]
    fn pools_are_listed_and_wide_tells_more() {
        let pool = v1::Pool {
            id: "00ff".into(),
            node: "n1".into(),
            capacity_bytes: 10 << 30,
            used_bytes: 3 << 29,
            promised_bytes: 20 << 30,
            tags: vec!["ssd".into(), "fast".into()],
            open: true,
            failed: false,
            replicas: 2,
            orphans: vec![9],
        };
        let failed = v1::Pool { failed: true, orphans: vec![], ..pool.clone() };
        let pools = [pool.into(), failed.into()];
        let expected = "\
POOL  NODE  STATE     USED  PROMISED  CAPACITY  REPLICAS  TAGS      ORPHANS
00ff  n1    open    1.5GiB     20GiB     10GiB         2  ssd,fast  9
00ff  n1    failed  1.5GiB     20GiB     10GiB         2  ssd,fast  -
";
        assert_eq!(Pool::table(&pools, Detail::Wide), expected);
        assert!(!Pool::table(&pools, Detail::Usual).contains("ssd"));
    }
}
