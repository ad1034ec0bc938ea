//! Makes this host known to the cluster: a volume is published only to hosts that told of themselves.
//!
//! A host tells of itself when its plugin starts, and now and then: a cluster remembers ten thousand hosts, and forgets the
//! one that it has not heard of for the longest time. So what is published depends neither on Kubernetes nor on whether the
//! host is a storage node, and a restart of anything changes nothing.

use std::sync::Arc;
use std::time::Duration;

use client::{ClientError, request_id};
use proto::v1::RegisterHostRequest;
use proto::v1::host_service_client::HostServiceClient;
use tokio::time::sleep;

use crate::cluster::Cluster;
use crate::plugin::NodeConfig;

/// How long one attempt may take.
const ATTEMPT_MAX: Duration = Duration::from_secs(10);
/// Between two attempts.
const RETRY: Duration = Duration::from_secs(1);
/// How often a host that is known tells of itself.
const EVERY: Duration = Duration::from_secs(6 * 3600);

/// Tells of this host as long as the plugin runs.
pub(crate) async fn register(node: NodeConfig, cluster: Arc<Cluster>) {
    loop {
        match tell(&node, &cluster, ATTEMPT_MAX).await {
            Ok(()) => sleep(EVERY).await,
            Err(error) => {
                tracing::warn!(node = node.node_id, "this host is not known to the cluster yet: {error}");
                sleep(RETRY).await;
            }
        }
    }
}

/// Tells of this host once.
///
/// # Errors
/// See [`ClientError`].
pub(crate) async fn tell(node: &NodeConfig, cluster: &Cluster, time: Duration) -> Result<(), ClientError> {
    let (name, labels) = (node.node_id.clone(), node.labels.clone());
    let request = RegisterHostRequest { request_id: request_id()?, name, labels };
    let mut asking = cluster.ask(time);
    let send = async |channel, request| HostServiceClient::new(channel).register(request).await;
    asking.call(request, send).await?;
    Ok(())
}
