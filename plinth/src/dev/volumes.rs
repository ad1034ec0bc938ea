//! Makes and grows the volumes that were asked for, through the API, and waits until all can be used.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use proto::v1;
use proto::v1::VolumeChange;
use tokio::time::{Instant, sleep};

use super::READY_MAX;
use crate::args::VolumeArg;
use crate::commands;
use crate::output::size;
use crate::view::{self, Phase};
use client::{Client, ClientError};

/// The volume of a cluster that is empty when no other is asked for.
pub const DEFAULT: (&str, u64) = ("demo", 1 << 30);
/// The most that a cluster takes.
const OVERCOMMIT_PERCENT: u64 = 100_000;
/// How often the cluster in this very process is asked how far it is.
const LOOK: Duration = Duration::from_millis(10);

/// What there is when all is set up.
#[derive(Debug)]
pub struct Found {
    /// All volumes, by name.
    pub volumes: Vec<view::Volume>,
    /// All pools.
    pub pools: Vec<view::Pool>,
}

/// Makes volumes with so many replicas, grows them, and waits until all are ready whose nodes are among `nodes`.
pub async fn set_up(client: &mut Client, nodes: &[String], wanted: &[VolumeArg], replicas: u32) -> Result<Found> {
    wait_for_nodes(client, nodes).await?;
    let found = client.volumes().await?;
    let default = VolumeArg { name: DEFAULT.0.to_owned(), size_bytes: DEFAULT.1 };
    let wanted = if wanted.is_empty() && found.is_empty() { std::slice::from_ref(&default) } else { wanted };
    let there = |wanted: &VolumeArg| found.iter().find(|found| found.name == wanted.name).map(|found| found.size_bytes);
    if wanted.iter().any(|wanted| there(wanted).is_none_or(|size_bytes| size_bytes < wanted.size_bytes)) {
        lift_limit(client).await?;
    }
    for volume in wanted {
        set_up_one(client, volume, there(volume), replicas).await?;
    }
    let volumes = wait_for_volumes(client, nodes).await?;
    let pools = commands::pools_of(client).await?.into_iter().map(view::Pool::from).collect();
    Ok(Found { volumes, pools })
}

/// Whoever names a volume gets it: that all may not fit is said when it serves.
async fn lift_limit(client: &mut Client) -> Result<(), ClientError> {
    let overcommit_percent = Some(OVERCOMMIT_PERCENT);
    let wanted = v1::SetSettingsRequest { overcommit_percent, ..v1::SetSettingsRequest::default() };
    commands::set_settings(client, wanted).await.map(drop)
}

async fn set_up_one(client: &mut Client, wanted: &VolumeArg, there: Option<u64>, replicas: u32) -> Result<()> {
    let VolumeArg { name, size_bytes } = wanted;
    let change = match there {
        Some(found) if found == *size_bytes => return Ok(()),
        Some(found) if found > *size_bytes => bail!(
            "volume \"{name}\" has {}, and --volume asks for {}: a volume does not shrink. Ask for {} or more, or leave \
             it out",
            size::show(found),
            size::show(*size_bytes),
            size::show(found),
        ),
        Some(_) => client.resize_volume(name, *size_bytes).await,
        None => client.create_volume(name, *size_bytes, commands::open_spec(replicas), None).await,
    };
    finish(client, change).await.with_context(|| format!("cannot set up volume \"{name}\""))
}

async fn finish(client: &mut Client, change: Result<VolumeChange, ClientError>) -> Result<(), ClientError> {
    if let Some(operation) = change?.operation {
        client.finish(operation).await?;
    }
    Ok(())
}

/// Until then there is nowhere to put a volume.
async fn wait_for_nodes(client: &mut Client, names: &[String]) -> Result<()> {
    let begin = Instant::now();
    loop {
        let nodes: Vec<_> = commands::nodes_of(client).await?.into_iter().map(view::Node::from).collect();
        let is_there = |name: &String| nodes.iter().any(|node| node.name == *name && node.serves());
        match names.iter().find(|name| !is_there(name)) {
            None => return Ok(()),
            Some(name) if begin.elapsed() > READY_MAX => {
                bail!("{name} has not joined its voter within {} s; -v tells why", READY_MAX.as_secs())
            }
            Some(_) => sleep(LOOK).await,
        }
    }
}

/// What is not ready in time is shown as it is: nothing that was asked for just now is among it.
async fn wait_for_volumes(client: &mut Client, nodes: &[String]) -> Result<Vec<view::Volume>> {
    let begin = Instant::now();
    loop {
        let volumes: Vec<_> = client.volumes().await?.into_iter().map(view::Volume::from).collect();
        if volumes.iter().all(|volume| is_settled(volume, nodes)) || begin.elapsed() > READY_MAX / 2 {
            return Ok(volumes);
        }
        sleep(LOOK).await;
    }
}

/// Whether there is nothing to wait for: it is ready, or lost, or on a node that was not started.
fn is_settled(volume: &view::Volume, nodes: &[String]) -> bool {
    match volume.phase {
        Phase::Ready | Phase::Lost | Phase::Failed | Phase::Degraded | Phase::NeedsAttach => true,
        Phase::Creating
        | Phase::Changing
        | Phase::Unavailable
        | Phase::Blocked
        | Phase::Recovering
        | Phase::Unknown => !volume.is_on(nodes),
    }
}

#[cfg(test)]
mod tests {
    use proto::v1;

    use super::is_settled;

    #[test]
    fn only_what_may_become_ready_is_waited_for() {
        use v1::volume::Phase::{Changing, Creating, Lost, Ready, Unavailable};
        let rows = [
            (Ready, "node1", true),
            (Creating, "node1", false),
            (Changing, "node1", false),
            (Unavailable, "node1", false),
            (Unavailable, "node2", true),
            (Lost, "node1", true),
        ];
        for (phase, node, settled) in rows {
            let replica = v1::Replica { node: node.into(), ..v1::Replica::default() };
            let volume = v1::Volume { phase: phase.into(), replicas: vec![replica], ..v1::Volume::default() };
            assert_eq!(is_settled(&volume.into(), &["node1".to_owned()]), settled, "{phase:?} on {node}");
        }
    }
}
