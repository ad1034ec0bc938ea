//! Volumes that begin as something: `plinth volume clone`, and `plinth volume create --from-snapshot`.

use anyhow::Result;
use proto::v1;
use proto::v1::source::From;

use super::volume::labels;
use crate::args::{CloneArgs, CreateArgs};
use crate::exit::Usage;
use client::{Client, ClientError};

/// What is asked of the cluster by `plinth volume create`: size, parameters and source.
pub(super) async fn wish(
    client: &mut Client,
    args: &CreateArgs,
    spec: v1::VolumeSpec,
) -> Result<(u64, v1::VolumeSpec, Option<v1::Source>)> {
    let Some(snapshot) = &args.from_snapshot else {
        let size = args.size.ok_or_else(|| Usage("--size says how large it is to be".to_owned()))?;
        return Ok((size, spec, None));
    };
    let replicas = match args.copies.replicas {
        Some(replicas) => replicas,
        None => replicas_like(client, snapshot).await?,
    };
    let source = v1::Source { from: Some(From::Snapshot(snapshot.clone())) };
    Ok((args.size.unwrap_or(0), v1::VolumeSpec { replicas, ..spec }, Some(source)))
}

/// As many as the snapshot's volume has. Who asks again when the snapshot is gone by then means the volume that is there.
async fn replicas_like(client: &mut Client, snapshot: &str) -> Result<u32, ClientError> {
    Ok(client.snapshot(snapshot).await?.replicas.max(1))
}

/// Makes a clone of a volume, kept as that is unless something else is asked for.
pub(super) async fn clone(client: &mut Client, args: &CloneArgs) -> Result<v1::VolumeChange> {
    let like = client.volume(&args.source).await?.spec.unwrap_or_default();
    let spec = v1::VolumeSpec {
        replicas: args.copies.replicas.unwrap_or(like.replicas),
        in_sync_min: args.copies.min_in_sync.unwrap_or(if args.copies.replicas.is_some() {
            0
        } else {
            like.in_sync_min
        }),
        zone_spread: args.copies.zone_spread.map_or(like.zone_spread, |spread| v1::ZoneSpread::from(spread).into()),
        labels: labels(&args.label)?,
        description: String::new(),
        open: false,
        ..like
    };
    let source = v1::Source { from: Some(From::Volume(args.source.clone())) };
    Ok(client.create_volume(&args.name, args.size.unwrap_or(0), spec, Some(source)).await?)
}
