//! `plinth snapshot`.

use std::process::ExitCode;

use anyhow::Result;
use proto::v1;
use proto::v1::snapshot_service_client::SnapshotServiceClient;
use serde::Serialize;

use super::group;
use super::volume::labels;
use crate::args::{SnapshotArgs, SnapshotCommand, WaitArgs};
use crate::exit::Exit;
use crate::output::{self, Format, Moment, size};
use crate::view;
use client::{Client, ClientError, request_id};

/// A snapshot, and its making if that still goes on.
#[derive(Serialize)]
struct Taken {
    snapshot: view::Snapshot,
    operation: Option<view::Operation>,
}

/// A deleted snapshot or group, and the freeing of its space if it still goes on.
#[derive(Serialize)]
pub(super) struct Deleted {
    pub deleted: String,
    pub operation: Option<view::Operation>,
}

/// Runs the command.
pub async fn run(args: &SnapshotArgs) -> Result<ExitCode> {
    let mut client = Client::new(&args.connection);
    let format = args.connection.output;
    match &args.command {
        SnapshotCommand::Create { name, volume, label, wait } => {
            let request = v1::CreateSnapshotRequest {
                request_id: request_id()?,
                name: name.clone(),
                volume: volume.clone(),
                labels: labels(label)?,
                wait_ms: 0,
            };
            create(&mut client, request, *wait, format).await?;
        }
        SnapshotCommand::List { volume, group, all } => {
            let wanted = v1::ListSnapshotsRequest {
                volume: volume.clone().unwrap_or_default(),
                group: group.clone().unwrap_or_default(),
                hidden: *all,
                ..v1::ListSnapshotsRequest::default()
            };
            let snapshots: Vec<_> = client.snapshots(wanted).await?.into_iter().map(view::Snapshot::from).collect();
            output::show(format, &snapshots, |detail| view::Snapshot::table(&snapshots, detail, Moment::now()))?;
        }
        SnapshotCommand::Show { name } => {
            let snapshot = view::Snapshot::from(client.snapshot(name).await?);
            output::show(format, &snapshot, |_| snapshot.facts(Moment::now()))?;
        }
        SnapshotCommand::Diff(diff) => super::diff::run(&mut client, diff, format).await?,
        SnapshotCommand::Delete { names, wait } => {
            let mut deleted = Vec::new();
            for name in names {
                deleted.push(delete(&mut client, name, *wait).await);
            }
            return said("snapshot", deleted, format);
        }
        SnapshotCommand::Group(command) => return group::run(&mut client, command, format).await,
    }
    Ok(ExitCode::SUCCESS)
}

async fn create(client: &mut Client, request: v1::CreateSnapshotRequest, wait: WaitArgs, format: Format) -> Result<()> {
    let name = request.name.clone();
    let asked =
        client.call(request, async |channel, request| SnapshotServiceClient::new(channel).create(request).await);
    let v1::SnapshotChange { snapshot, operation } = asked.await?;
    let taken = match operation {
        Some(operation) if wait.no_wait => {
            let snapshot = snapshot.ok_or(ClientError::Garbled("lacks the snapshot"))?;
            Taken { snapshot: snapshot.into(), operation: Some(operation.into()) }
        }
        Some(operation) => {
            client.finish(operation).await?;
            Taken { snapshot: client.snapshot(&name).await?.into(), operation: None }
        }
        None => {
            let snapshot = snapshot.ok_or(ClientError::Garbled("lacks the snapshot"))?;
            Taken { snapshot: snapshot.into(), operation: None }
        }
    };
    output::show(format, &taken, |_| match &taken.operation {
        None => format!("snapshot {name} is ready ({})\n", size::show(taken.snapshot.size_bytes)),
        Some(operation) => format!("snapshot {name}: operation {} goes on\n", operation.id),
    })
}

async fn delete(client: &mut Client, name: &str, wait: WaitArgs) -> Result<Deleted, ClientError> {
    let request = v1::DeleteSnapshotRequest { request_id: request_id()?, name: name.to_owned() };
    let asked =
        client.call(request, async |channel, request| SnapshotServiceClient::new(channel).delete(request).await);
    let operation = asked.await?.operation;
    freed(client, name, operation, wait).await
}

/// When its space is free, unless nobody wants to wait.
pub(super) async fn freed(
    client: &mut Client,
    name: &str,
    operation: Option<v1::Operation>,
    wait: WaitArgs,
) -> Result<Deleted, ClientError> {
    let operation = match operation {
        Some(operation) if wait.no_wait => Some(view::Operation::from(operation)),
        Some(operation) => {
            client.finish(operation).await?;
            None
        }
        None => None,
    };
    Ok(Deleted { deleted: name.to_owned(), operation })
}

/// Tells of each, whatever became of the others; the first failure decides the exit code.
pub(super) fn said(what: &str, all: Vec<Result<Deleted, ClientError>>, format: Format) -> Result<ExitCode> {
    let (mut deleted, mut failure) = (Vec::new(), None);
    for one in all {
        match one {
            Ok(one) => deleted.push(one),
            Err(error) => {
                crate::complain(&error.to_string());
                failure = failure.or(Some(Exit::from(&error)));
            }
        }
    }
    let sentence = |one: &Deleted| match &one.operation {
        None => format!("{what} {} is deleted\n", one.deleted),
        Some(operation) => format!("{what} {} is deleted; operation {} frees its space\n", one.deleted, operation.id),
    };
    output::show(format, &deleted, |_| deleted.iter().map(sentence).collect())?;
    Ok(failure.map_or(ExitCode::SUCCESS, Exit::into))
}
