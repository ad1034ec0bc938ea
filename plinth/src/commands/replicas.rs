//! `plinth volume modify`, `hand-over` and `promote`: how many replicas a volume has, and which of them serves it.

use anyhow::Result;
use proto::v1;
use proto::v1::volume_service_client::VolumeServiceClient;

use crate::args::{Choice, HandOverArgs, ModifyArgs, PromoteArgs};
use crate::output::{self, Format};
use crate::view;
use client::{Aim, Client, ClientError, request_id};

/// Changes what may change while a volume is used, and waits for replicas that come or go.
pub async fn modify(client: &mut Client, args: &ModifyArgs, format: Format) -> Result<()> {
    let moves = args.copies.replicas.is_some();
    let volume = view::Volume::from(change(client, args).await?);
    let volume = match moves && !args.wait.no_wait {
        true => gathered(client, &args.name).await?,
        false => volume,
    };
    output::show(format, &volume, |_| {
        let goes_on = if volume.is_gathered() { "" } else { "; its replicas come and go: plinth explain volume " };
        let name = if goes_on.is_empty() { "" } else { &volume.name };
        format!("volume {} is changed{goes_on}{name}\n", volume.name)
    })
}

async fn change(client: &mut Client, args: &ModifyArgs) -> Result<v1::Volume> {
    let given = args.no_labels || !args.label.is_empty();
    let request = v1::ModifyVolumeRequest {
        request_id: request_id()?,
        name: args.name.clone(),
        description: args.description.clone(),
        labels: if given { Some(v1::Labels { labels: super::volume::labels(&args.label)? }) } else { None },
        open: args.open.map(|open| open == Choice::Yes),
        replicas: args.copies.replicas,
        in_sync_min: args.copies.min_in_sync,
        zone_spread: args.copies.zone_spread.map(|spread| v1::ZoneSpread::from(spread).into()),
    };
    let asked = client.call(request, async |channel, request| VolumeServiceClient::new(channel).modify(request).await);
    Ok(asked.await?)
}

/// The volume when as many replicas as are wanted are in sync, and no other is there.
async fn gathered(client: &mut Client, name: &str) -> Result<view::Volume, ClientError> {
    let what = format!("replicas of volume {name} come and go");
    let aim = Aim { what: &what, kind: "volume", name };
    client
        .settle(aim, async |client| {
            let volume = view::Volume::from(client.volume(name).await?);
            Ok(volume.is_gathered().then_some(volume))
        })
        .await
}

/// Lets another replica be primary.
pub async fn hand_over(client: &mut Client, args: &HandOverArgs, format: Format) -> Result<()> {
    let node = args.to.clone().unwrap_or_default();
    let request = v1::HandOverVolumeRequest { request_id: request_id()?, name: args.name.clone(), node };
    let asked =
        client.call(request, async |channel, request| VolumeServiceClient::new(channel).hand_over(request).await);
    let v1::HandOverVolumeReply { volume, node } = asked.await?;
    let mut volume = view::Volume::from(volume.ok_or(ClientError::Garbled("lacks the volume"))?);
    if !args.wait.no_wait {
        volume = served_by(client, &args.name, &node).await?;
    }
    let done = if volume.is_served_by(&node) { "is served by" } else { "is about to be served by" };
    output::show(format, &volume, |_| format!("volume {} {done} node {node}\n", volume.name))
}

async fn served_by(client: &mut Client, name: &str, node: &str) -> Result<view::Volume, ClientError> {
    let what = format!("volume {name} is handed over to node {node}");
    let aim = Aim { what: &what, kind: "volume", name };
    client
        .settle(aim, async |client| {
            let volume = view::Volume::from(client.volume(name).await?);
            Ok(volume.is_served_by(node).then_some(volume))
        })
        .await
}

/// Gives up what only the other replicas have.
pub async fn promote(client: &mut Client, args: &PromoteArgs, format: Format) -> Result<()> {
    let request = v1::PromoteVolumeRequest {
        request_id: request_id()?,
        name: args.name.clone(),
        node: args.replica.clone(),
        lose_data_of: args.yes_lose_data.clone(),
    };
    let asked = client.call(request, async |channel, request| VolumeServiceClient::new(channel).promote(request).await);
    let volume = view::Volume::from(asked.await?);
    output::show(format, &volume, |_| {
        format!(
            "volume {} goes on from the replica of node {}; what it lacks is lost. Its clients must attach it again\n",
            volume.name, args.replica
        )
    })
}
