//! `plinth snapshot group`.

use std::process::ExitCode;

use anyhow::Result;
use proto::v1;
use proto::v1::snapshot_service_client::SnapshotServiceClient;
use serde::Serialize;

use super::snapshot::{Deleted, freed, said};
use super::volume::labels;
use crate::args::{GroupCommand, WaitArgs};
use crate::output::{self, Format, Moment};
use crate::view;
use client::{Client, ClientError, request_id};

/// A group, and its making if that still goes on.
#[derive(Serialize)]
struct Taken {
    group: view::Group,
    operation: Option<view::Operation>,
}

/// Runs the command.
pub async fn run(client: &mut Client, command: &GroupCommand, format: Format) -> Result<ExitCode> {
    match command {
        GroupCommand::Create { name, volumes, label, wait } => {
            let request = v1::CreateGroupRequest {
                request_id: request_id()?,
                name: name.clone(),
                volumes: volumes.clone(),
                labels: labels(label)?,
                // The operation is waited for, and says what it waits for.
                wait_ms: 1000,
            };
            create(client, request, *wait, format).await?;
        }
        GroupCommand::List => {
            let groups: Vec<_> = client.groups().await?.into_iter().map(view::Group::from).collect();
            output::show(format, &groups, |detail| view::Group::table(&groups, detail, Moment::now()))?;
        }
        GroupCommand::Show { name } => {
            let group = view::Group::from(get(client, name).await?);
            output::show(format, &group, |_| group.facts(Moment::now()))?;
        }
        GroupCommand::Delete { names, wait } => {
            let mut deleted = Vec::new();
            for name in names {
                deleted.push(delete(client, name, *wait).await);
            }
            return said("group snapshot", deleted, format);
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn create(client: &mut Client, request: v1::CreateGroupRequest, wait: WaitArgs, format: Format) -> Result<()> {
    let name = request.name.clone();
    let asked =
        client.call(request, async |channel, request| SnapshotServiceClient::new(channel).create_group(request).await);
    let v1::GroupChange { group, operation } = asked.await?;
    let lacks = || ClientError::Garbled("lacks the group");
    let taken = match operation {
        Some(operation) if wait.no_wait => {
            Taken { group: group.ok_or_else(lacks)?.into(), operation: Some(operation.into()) }
        }
        Some(operation) => {
            client.finish(operation).await?;
            Taken { group: get(client, &name).await?.into(), operation: None }
        }
        None => Taken { group: group.ok_or_else(lacks)?.into(), operation: None },
    };
    output::show(format, &taken, |_| match &taken.operation {
        None => format!("group snapshot {} is ready\n", taken.group.name),
        Some(operation) => format!("group snapshot {}: operation {} goes on\n", taken.group.name, operation.id),
    })
}

async fn get(client: &mut Client, name: &str) -> Result<v1::Group, ClientError> {
    let request = v1::GetGroupRequest { name: name.to_owned() };
    client.call(request, async |channel, request| SnapshotServiceClient::new(channel).get_group(request).await).await
}

async fn delete(client: &mut Client, name: &str, wait: WaitArgs) -> Result<Deleted, ClientError> {
    let request = v1::DeleteGroupRequest { request_id: request_id()?, name: name.to_owned() };
    let asked =
        client.call(request, async |channel, request| SnapshotServiceClient::new(channel).delete_group(request).await);
    let operation = asked.await?.operation;
    freed(client, name, operation, wait).await
}
