//! `plinth volume delete`.

use std::process::ExitCode;

use anyhow::Result;
use proto::v1::volume_service_client::VolumeServiceClient;
use proto::v1::{DeleteVolumeRequest, operation};
use serde::Serialize;

use crate::args::WaitArgs;
use crate::exit::Exit;
use crate::output::{self, Format};
use crate::view;
use client::{Client, ClientError, request_id};

/// A deleted volume, and the freeing of its space if it still goes on.
#[derive(Serialize)]
struct Deleted {
    deleted: String,
    /// It has snapshots: what they hold stays.
    snapshots_kept: bool,
    operation: Option<view::Operation>,
}

/// Deletes each, whatever becomes of the others; the first failure decides the exit code.
pub async fn run(
    client: &mut Client,
    names: &[String],
    force: bool,
    wait: WaitArgs,
    format: Format,
) -> Result<ExitCode> {
    let (mut deleted, mut failure) = (Vec::new(), None);
    for name in names {
        match delete(client, name, force, wait).await {
            Ok(one) => deleted.push(one),
            Err(error) => {
                crate::complain(&error.to_string());
                failure = failure.or(Some(Exit::from(&error)));
            }
        }
    }
    output::show(format, &deleted, |_| deleted.iter().map(sentence).collect())?;
    Ok(failure.map_or(ExitCode::SUCCESS, Exit::into))
}

async fn delete(client: &mut Client, name: &str, force: bool, wait: WaitArgs) -> Result<Deleted, ClientError> {
    let request = DeleteVolumeRequest { request_id: request_id()?, name: name.to_owned(), force };
    let asked = client.call(request, async |channel, request| VolumeServiceClient::new(channel).delete(request).await);
    let asked = asked.await?.operation;
    let snapshots_kept = asked.as_ref().is_some_and(|operation| operation.kind() == operation::Kind::Retire);
    let operation = match asked {
        Some(operation) if wait.no_wait => Some(view::Operation::from(operation)),
        Some(operation) => {
            client.finish(operation).await?;
            None
        }
        None => None,
    };
    Ok(Deleted { deleted: name.to_owned(), snapshots_kept, operation })
}

fn sentence(deleted: &Deleted) -> String {
    match &deleted.operation {
        _ if deleted.snapshots_kept => format!(
            "volume {0} is deleted; its snapshots are kept, and what they hold: plinth snapshot list --volume {0}\n",
            deleted.deleted
        ),
        None => format!("volume {} is deleted\n", deleted.deleted),
        Some(operation) => {
            format!("volume {} is deleted; operation {} frees its space\n", deleted.deleted, operation.id)
        }
    }
}
