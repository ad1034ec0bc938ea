//! `plinth storage`: a storage node of a cluster.

use std::fmt::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use storage_node::{
    Address, Addresses, ClusterConfig, ClusterError, Config, ListenError, NodeConfig, PoolConfig, PoolError, PoolSize,
    PowerDrill, StartError, StorageNode,
};

use super::config::{self, either};
use super::{missing, needed, with_option};
use crate::args::{Pair, PoolArg, StorageArgs};
use crate::exit::Usage;
use crate::output::{self, uri};
use crate::serve::{self, Running, Signals};

/// How long to wait for a pool's lock when nothing is said.
const WAIT: Duration = Duration::from_secs(60);
/// Size of a new pool when none is given; less on a small disk.
pub const POOL_BYTES: u64 = 10 << 30;

/// Serves until a signal.
pub fn run(args: &StorageArgs) -> Result<ExitCode> {
    let config = settled(args.clone(), config::read(args.config.as_deref())?)?;
    let drill = PowerDrill { volatile_cache: args.drill_volatile_cache, boot_id: args.drill_boot_id };
    serve::runtime()?.block_on(async {
        let name = config.cluster.as_ref().map(|cluster| cluster.name.clone()).unwrap_or_default();
        let pool = config.pool.path.clone();
        let node = StorageNode::start_drill(config, drill).await.map_err(|error| explain(&error))?;
        let signals = Signals::new()?;
        output::print(&format!("node {name} serves the pool {}\n{}", pool.display(), places(&node)))?;
        serve::until_signal(Running::of(node), signals).await
    })
}

/// What the command line says, and where it is silent, the file.
fn settled(args: StorageArgs, file: StorageArgs) -> Result<Config, Usage> {
    let wait_max = args.wait.or(file.wait).unwrap_or(WAIT);
    let pool = needed(args.pool.or(file.pool), "pool", "/dev/nvme1n1")?;
    let tcp = either(args.nbd, file.nbd).into_iter().map(Address::Tcp);
    let nbd: Vec<Address> = tcp.chain(args.unix.or(file.unix).map(Address::Unix)).collect();
    if nbd.is_empty() {
        return Err(missing("nbd", "10.0.0.1:10809"));
    }
    let control = either(args.control, file.control);
    if control.is_empty() {
        return Err(missing("control", "10.0.0.1:10700"));
    }
    let cluster = ClusterConfig {
        name: needed(args.id.or(file.id), "id", "n1")?,
        control,
        peers: needed(args.listen.or(file.listen), "listen", "10.0.0.1:10701")?,
        advertise: args.advertise.or(file.advertise),
        labels: Pair::map(&either(args.label, file.label)).map_err(Usage)?,
        tags: either(args.tag, file.tag),
    };
    let open_networks = either(args.open_network, file.open_network);
    Ok(Config {
        pool: pool_config(pool, POOL_BYTES, wait_max),
        node: NodeConfig { open_networks, ..NodeConfig::default() },
        addresses: Addresses { nbd, http: args.http.or(file.http) },
        cluster: Some(cluster),
    })
}

/// A pool of the size that was asked for, or of the size that there is; a new one has `new_bytes_max`, or what the disk
/// has.
pub fn pool_config(pool: PoolArg, new_bytes_max: u64, wait_max: Duration) -> PoolConfig {
    let size = match pool.size_bytes {
        Some(bytes) => PoolSize::Exactly(bytes),
        None => PoolSize::Found { new_bytes_max },
    };
    PoolConfig { path: pool.path, size, wait_max }
}

/// Where it is reached.
fn places(node: &StorageNode) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    for address in &node.addresses().nbd {
        let _ = writeln!(text, "  clients  {}", uri::server(address));
    }
    if let Some(peers) = node.peers() {
        let _ = writeln!(text, "  nodes    {peers}");
    }
    if let Some(http) = node.addresses().http {
        let _ = writeln!(text, "  metrics  http://{http}/metrics");
    }
    text
}

/// Says which option helps.
pub fn explain(error: &StartError) -> anyhow::Error {
    let option = match error {
        StartError::Listen(ListenError::Io { address, .. } | ListenError::InUse { address }) => match address {
            Address::Tcp(_) => "--nbd ADDR, --listen ADDR",
            Address::Unix(_) => "--unix PATH",
        },
        StartError::Listen(ListenError::NotASocket { .. } | ListenError::PathTooLong { .. }) => "--unix PATH",
        StartError::Http(_) => "--http ADDR",
        StartError::Pool(PoolError::Locked { .. } | PoolError::DeviceInUse { .. }) => "--wait SECONDS",
        StartError::Pool(_) | StartError::Recovery(_) => "--pool PATH[:SIZE]",
        StartError::Cluster(ClusterError::BadName { .. }) => "--id NAME",
        StartError::Cluster(ClusterError::NoControl | ClusterError::BadControl { .. }) => "--control ADDR,..",
        StartError::Cluster(ClusterError::BadHost { .. } | ClusterError::Unspecified { .. }) => "--advertise HOST",
        StartError::Data(_) => return anyhow::anyhow!("{error}"),
    };
    with_option(error, option)
}

#[cfg(test)]
mod tests {
    use super::{PoolSize, settled};
    use crate::args::StorageArgs;

    fn complete() -> StorageArgs {
        StorageArgs {
            id: Some("n1".into()),
            control: vec!["c1:10700".into()],
            pool: Some("p:1GiB".parse().unwrap()),
            label: vec!["zone=a".parse().unwrap()],
            tag: vec!["ssd".into()],
            listen: Some(([127, 0, 0, 1], 1).into()),
            nbd: vec![([127, 0, 0, 1], 2).into()],
            ..StorageArgs::default()
        }
    }

    #[test]
    fn the_command_line_wins_over_the_file() {
        let args = StorageArgs { id: Some("n2".into()), tag: vec!["hdd".into()], ..StorageArgs::default() };
        let config = settled(args, complete()).unwrap();
        let cluster = config.cluster.unwrap();
        assert_eq!((cluster.name.as_str(), cluster.tags), ("n2", vec!["hdd".to_owned()]));
        assert_eq!((cluster.labels["zone"].as_str(), cluster.control), ("a", vec!["c1:10700".to_owned()]));
        assert_eq!(config.pool.size, PoolSize::Exactly(1 << 30));
    }

    #[test]
    fn what_is_missing_is_named() {
        let rows = [
            (StorageArgs { id: None, ..complete() }, "--id"),
            (StorageArgs { control: vec![], ..complete() }, "--control"),
            (StorageArgs { pool: None, ..complete() }, "--pool"),
            (StorageArgs { listen: None, ..complete() }, "--listen"),
            (StorageArgs { nbd: vec![], ..complete() }, "--nbd"),
        ];
        for (file, option) in rows {
            let error = settled(StorageArgs::default(), file).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{option} is missing")), "{error}");
        }
        let local = StorageArgs { nbd: vec![], unix: Some("s".into()), ..complete() };
        assert!(settled(StorageArgs::default(), local).is_ok(), "a unix socket is enough");
    }

    #[test]
    fn labels_that_contradict_each_other_are_misuse() {
        let file = StorageArgs { label: vec!["zone=a".parse().unwrap(), "zone=b".parse().unwrap()], ..complete() };
        assert!(settled(StorageArgs::default(), file).unwrap_err().to_string().contains("label zone is given as"));
    }
}
