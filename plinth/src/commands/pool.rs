//! `plinth pool list`.

use std::process::ExitCode;

use anyhow::Result;
use proto::v1::pool_service_client::PoolServiceClient;
use proto::v1::{ListPoolsRequest, Pool};

use crate::args::ConnectionArgs;
use crate::{output, view};
use client::{Client, ClientError};

/// Shows all pools of a cluster.
pub async fn list(args: &ConnectionArgs) -> Result<ExitCode> {
    let pools: Vec<_> = all(&mut Client::new(args)).await?.into_iter().map(view::Pool::from).collect();
    output::show(args.output, &pools, |detail| view::Pool::table(&pools, detail))?;
    Ok(ExitCode::SUCCESS)
}

/// All pools, by node.
pub async fn all(client: &mut Client) -> Result<Vec<Pool>, ClientError> {
    let asked =
        client.call(ListPoolsRequest {}, async |channel, request| PoolServiceClient::new(channel).list(request).await);
    Ok(asked.await?.pools)
}
