//! `plinth node`.

use std::process::ExitCode;

use anyhow::Result;
use proto::v1;
use proto::v1::node_service_client::NodeServiceClient;
use serde_json::json;

use crate::args::{NodeArgs, NodeCommand};
use crate::output::{self, Format, Moment};
use crate::view;
use client::{Aim, Client, ClientError, request_id};

/// Runs the command.
pub async fn run(args: &NodeArgs) -> Result<ExitCode> {
    let mut client = Client::new(&args.connection);
    let format = args.connection.output;
    match &args.command {
        NodeCommand::List => {
            let nodes: Vec<_> = all(&mut client).await?.into_iter().map(view::Node::from).collect();
            output::show(format, &nodes, |detail| view::Node::table(&nodes, detail, Moment::now()))?;
        }
        NodeCommand::Show { name } => {
            let node = view::Node::from(get(&mut client, name).await?);
            output::show(format, &node, |_| node.facts(Moment::now()))?;
        }
        NodeCommand::Cordon { name } => changed(cordon(&mut client, name).await?, "cordoned", format)?,
        NodeCommand::Uncordon { name } => changed(uncordon(&mut client, name).await?, "uncordoned", format)?,
        NodeCommand::Drain { name, wait } => {
            let node = drain(&mut client, name).await?;
            let node = if wait.no_wait { node } else { emptied(&mut client, name).await? };
            let what = if node.replicas == 0 { "drained: nothing is on it" } else { "being drained" };
            changed(node, what, format)?;
        }
        NodeCommand::Undrain { name } => changed(undrain(&mut client, name).await?, "in use again", format)?,
        NodeCommand::Remove { name } => {
            remove(&mut client, name).await?;
            output::show(format, &json!({ "removed": name }), |_| format!("node {name} is removed\n"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// All nodes, by name.
pub async fn all(client: &mut Client) -> Result<Vec<v1::Node>, ClientError> {
    let asked = client
        .call(v1::ListNodesRequest {}, async |channel, request| NodeServiceClient::new(channel).list(request).await);
    Ok(asked.await?.nodes)
}

async fn get(client: &mut Client, name: &str) -> Result<v1::Node, ClientError> {
    let request = v1::GetNodeRequest { name: name.to_owned() };
    client.call(request, async |channel, request| NodeServiceClient::new(channel).get(request).await).await
}

async fn cordon(client: &mut Client, name: &str) -> Result<v1::Node, ClientError> {
    let request = v1::CordonNodeRequest { request_id: request_id()?, name: name.to_owned() };
    client.call(request, async |channel, request| NodeServiceClient::new(channel).cordon(request).await).await
}

async fn uncordon(client: &mut Client, name: &str) -> Result<v1::Node, ClientError> {
    let request = v1::UncordonNodeRequest { request_id: request_id()?, name: name.to_owned() };
    client.call(request, async |channel, request| NodeServiceClient::new(channel).uncordon(request).await).await
}

async fn drain(client: &mut Client, name: &str) -> Result<v1::Node, ClientError> {
    let request = v1::DrainNodeRequest { request_id: request_id()?, name: name.to_owned() };
    client.call(request, async |channel, request| NodeServiceClient::new(channel).drain(request).await).await
}

async fn undrain(client: &mut Client, name: &str) -> Result<v1::Node, ClientError> {
    let request = v1::UndrainNodeRequest { request_id: request_id()?, name: name.to_owned() };
    client.call(request, async |channel, request| NodeServiceClient::new(channel).undrain(request).await).await
}

/// The node when nothing is on it any more.
async fn emptied(client: &mut Client, name: &str) -> Result<v1::Node, ClientError> {
    let what = format!("node {name} is drained");
    let aim = Aim { what: &what, kind: "node", name };
    client
        .settle(aim, async |client| {
            let node = get(client, name).await?;
            Ok((node.replicas == 0).then_some(node))
        })
        .await
}

async fn remove(client: &mut Client, name: &str) -> Result<v1::RemoveNodeReply, ClientError> {
    let request = v1::RemoveNodeRequest { request_id: request_id()?, name: name.to_owned() };
    client.call(request, async |channel, request| NodeServiceClient::new(channel).remove(request).await).await
}

fn changed(node: v1::Node, what: &str, format: Format) -> Result<()> {
    let node = view::Node::from(node);
    output::show(format, &node, |_| format!("node {} is {what}\n", node.name))
}
