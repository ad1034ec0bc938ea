//! `plinth status`.

use std::process::ExitCode;

use anyhow::Result;
use proto::v1::cluster_service_client::ClusterServiceClient;
use proto::v1::{StatusReply, StatusRequest};

use crate::args::StatusArgs;
use crate::{output, view};
use client::{Client, ClientError};

/// Shows it; what is wrong with the cluster is no failure of the command.
pub async fn run(args: &StatusArgs) -> Result<ExitCode> {
    let status = view::Status::from(ask(&mut Client::new(&args.connection)).await?);
    output::show(args.connection.output, &status, |detail| status.text(detail))?;
    Ok(ExitCode::SUCCESS)
}

/// The status now.
pub async fn ask(client: &mut Client) -> Result<StatusReply, ClientError> {
    let asked = client
        .call(StatusRequest {}, async |channel, request| ClusterServiceClient::new(channel).status(request).await);
    asked.await
}
