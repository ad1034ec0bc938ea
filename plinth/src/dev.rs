//! `plinth dev`: a storage node on this machine, with the volumes that were asked for.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use storage_node::{
    Address, Addresses, Answer, Command, Config, ListenError, NodeConfig, PoolConfig, PoolError, PoolSize, StartError,
    StorageNode, VolumeSummary,
};

use crate::args::{DevArgs, VolumeArg};
use crate::output::{self, size};
use crate::serve::Signals;
use crate::{serve, summary};

/// Size of a new pool when none is given; less on a small disk.
const POOL_BYTES: u64 = 10 << 30;
/// The volume of a pool that is empty when no other is asked for.
const DEFAULT_VOLUME: (&str, u64) = ("demo", 1 << 30);

/// Serves until a signal.
pub fn run(args: &DevArgs) -> Result<ExitCode> {
    if let Some(name) = named_twice(&args.volumes) {
        eprintln!("error: --volume names \"{name}\" twice; name each volume once");
        return Ok(ExitCode::from(2));
    }
    serve::runtime()?.block_on(async {
        let node = StorageNode::start(config(args)?).await.map_err(explain)?;
        let signals = Signals::new()?;
        match set_up(&node, &args.volumes).await {
            Ok(volumes) => {
                node.control().listen().await?;
                output::print(&summary::of(&node, &volumes, &pool_path(args)).await?)?;
            }
            Err(error) => {
                serve::stop(node).await?;
                return Err(error);
            }
        }
        serve::until_signal(node, signals).await
    })
}

fn config(args: &DevArgs) -> Result<Config> {
    fs::create_dir_all(&args.data).with_context(|| {
        format!("cannot make the directory {}; choose another one with --data", args.data.display())
    })?;
    let data = fs::canonicalize(&args.data).with_context(|| format!("cannot use {}", args.data.display()))?;
    let unix = args.unix.clone().unwrap_or_else(|| data.join("nbd.sock"));
    let size = match args.pool.as_ref().and_then(|pool| pool.size_bytes) {
        Some(bytes) => PoolSize::Exactly(bytes),
        None => PoolSize::Found { new_bytes_max: POOL_BYTES },
    };
    Ok(Config {
        pool: PoolConfig { path: pool_path(args), size, wait_max: args.wait },
        node: NodeConfig { default_export: Some(default_export(&args.volumes)), ..NodeConfig::default() },
        addresses: Addresses { nbd: vec![Address::Tcp(args.nbd), Address::Unix(unix)], http: Some(args.http) },
    })
}

fn pool_path(args: &DevArgs) -> PathBuf {
    args.pool.as_ref().map_or_else(|| args.data.join("pool"), |pool| pool.path.clone())
}

fn default_export(volumes: &[VolumeArg]) -> String {
    volumes.first().map_or(DEFAULT_VOLUME.0, |volume| volume.name.as_str()).to_owned()
}

fn named_twice(volumes: &[VolumeArg]) -> Option<&str> {
    let mut seen = BTreeSet::new();
    volumes.iter().map(|volume| volume.name.as_str()).find(|name| !seen.insert(*name))
}

/// Says which option helps.
fn explain(error: StartError) -> anyhow::Error {
    let option = match &error {
        StartError::Listen(ListenError::Io { address, .. } | ListenError::InUse { address }) => match address {
            Address::Tcp(_) => "--nbd ADDR",
            Address::Unix(_) => "--unix PATH",
        },
        StartError::Listen(ListenError::NotASocket { .. } | ListenError::PathTooLong { .. }) => "--unix PATH",
        StartError::Http(_) => "--http ADDR",
        StartError::Pool(PoolError::Locked { .. } | PoolError::DeviceInUse { .. }) => "--wait SECONDS",
        StartError::Pool(_) | StartError::Recovery(_) => "--pool PATH[:SIZE]",
        StartError::Data(_) => return error.into(),
    };
    anyhow::anyhow!("{error} ({option})")
}

/// Makes and grows volumes; answers all there are.
async fn set_up(node: &StorageNode, wanted: &[VolumeArg]) -> Result<Vec<VolumeSummary>> {
    let found = volumes(node).await?;
    let default = VolumeArg { name: DEFAULT_VOLUME.0.to_owned(), size_bytes: DEFAULT_VOLUME.1 };
    let wanted = if wanted.is_empty() && found.is_empty() { std::slice::from_ref(&default) } else { wanted };
    for volume in wanted {
        let there = found.iter().find(|found| found.name == volume.name).map(|found| found.size_bytes);
        set_up_one(node, volume, there).await?;
    }
    volumes(node).await
}

async fn set_up_one(node: &StorageNode, wanted: &VolumeArg, there: Option<u64>) -> Result<()> {
    let (name, size_bytes) = (wanted.name.clone(), wanted.size_bytes);
    let command = match there {
        Some(found) if found == size_bytes => return Ok(()),
        Some(found) if found > size_bytes => bail!(
            "volume \"{name}\" has {}, and --volume asks for {}: a volume does not shrink. Ask for {} or more, or leave \
             it out",
            size::show(found),
            size::show(size_bytes),
            size::show(found),
        ),
        Some(_) => Command::ResizeVolume { name, size_bytes },
        None => Command::CreateVolume { name, size_bytes },
    };
    node.control().command(command).await.with_context(|| format!("cannot set up volume \"{}\"", wanted.name))?;
    Ok(())
}

async fn volumes(node: &StorageNode) -> Result<Vec<VolumeSummary>> {
    match node.control().command(Command::ListVolumes).await? {
        Answer::Volumes(volumes) => Ok(volumes),
        other => bail!("the node answered {other:?} when it was asked for its volumes"),
    }
}

/// Where a unix socket is, for URIs.
pub fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::named_twice;
    use crate::args::VolumeArg;

    #[test]
    fn a_name_given_twice_is_noticed() {
        let volume = |name: &str| VolumeArg { name: name.to_owned(), size_bytes: 1 << 20 };
        assert_eq!(named_twice(&[volume("a"), volume("b")]), None);
        assert_eq!(named_twice(&[volume("a"), volume("b"), volume("a")]), Some("a"));
    }
}
