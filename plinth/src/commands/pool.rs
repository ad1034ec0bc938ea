//! `plinth pool list` and `remove`.

use std::process::ExitCode;

use anyhow::Result;
use proto::v1::pool_service_client::PoolServiceClient;
use proto::v1::{ListPoolsRequest, Pool, RemovePoolReply, RemovePoolRequest};
use serde_json::json;

use crate::args::{ConnectionArgs, RemovePoolArgs};
use crate::{output, view};
use client::{Client, ClientError, request_id};

/// Shows all pools of a cluster.
pub async fn list(args: &ConnectionArgs) -> Result<ExitCode> {
    let pools: Vec<_> = all(&mut Client::new(args)).await?.into_iter().map(view::Pool::from).collect();
    output::show(args.output, &pools, |detail| view::Pool::table(&pools, detail))?;
    Ok(ExitCode::SUCCESS)
}

/// Forgets a pool that is gone for good.
pub async fn remove(args: &RemovePoolArgs) -> Result<ExitCode> {
    let RemovePoolArgs { connection, id, force } = args;
    let request = RemovePoolRequest { request_id: request_id()?, id: id.clone(), force: *force };
    let mut client = Client::new(connection);
    let asked =
        client.call(request, async |channel, request| PoolServiceClient::new(channel).remove(request).await).await?;
    let RemovePoolReply { lost } = asked;
    let given_up: String = lost.iter().map(|what| format!("given up: {what}\n")).collect();
    output::show(connection.output, &json!({ "removed": id, "lost": lost }), |_| {
        format!("pool {id} is removed\n{given_up}")
    })?;
    Ok(ExitCode::SUCCESS)
}

/// All pools, by node.
pub async fn all(client: &mut Client) -> Result<Vec<Pool>, ClientError> {
    let asked =
        client.call(ListPoolsRequest {}, async |channel, request| PoolServiceClient::new(channel).list(request).await);
    Ok(asked.await?.pools)
}
