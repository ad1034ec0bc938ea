//! The Identity service: who the plugin is, what it has, and whether it is ready.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use proto::csi;
use proto::csi::plugin_capability::{Service, Type, VolumeExpansion, service, volume_expansion};
use proto::v1::StatusRequest;
use proto::v1::cluster_service_client::ClusterServiceClient;
use tonic::{Request, Response, Status};

use crate::PLUGIN_NAME;
use crate::cluster::Cluster;
use crate::deadline::time_for;
use crate::fault;
use crate::plugin::Mode;

/// How long Probe waits for the cluster: probes have short timeouts, and come again.
const PROBE_MAX: Duration = Duration::from_secs(2);

/// The service.
#[derive(Debug)]
pub(crate) struct IdentityService {
    capabilities: Vec<csi::PluginCapability>,
    cluster: Arc<Cluster>,
    /// It need not wait for the cluster any more.
    ready: AtomicBool,
}

impl IdentityService {
    /// A plugin of a node is ready at once: what it undoes needs no cluster.
    pub fn new(mode: &Mode, cluster: Arc<Cluster>) -> Self {
        let ready = AtomicBool::new(!matches!(mode, Mode::Controller));
        Self { capabilities: capabilities(mode), cluster, ready }
    }
}

/// A plugin that has no controller leaves it to the one that has.
fn capabilities(mode: &Mode) -> Vec<csi::PluginCapability> {
    let of_controller = [
        service::Type::ControllerService,
        service::Type::GroupControllerService,
        service::Type::SnapshotMetadataService,
    ];
    let services = of_controller.into_iter().filter(|_| mode.has_controller());
    let services = services.chain([service::Type::VolumeAccessibilityConstraints]);
    let services = services.map(|found| Type::Service(Service { r#type: found.into() }));
    let expansion = VolumeExpansion { r#type: volume_expansion::Type::Online.into() };
    let all = services.chain([Type::VolumeExpansion(expansion)]);
    all.map(|found| csi::PluginCapability { r#type: Some(found) }).collect()
}

#[tonic::async_trait]
impl csi::identity_server::Identity for IdentityService {
    async fn get_plugin_info(
        &self,
        _request: Request<csi::GetPluginInfoRequest>,
    ) -> Result<Response<csi::GetPluginInfoResponse>, Status> {
        Ok(Response::new(csi::GetPluginInfoResponse {
            name: PLUGIN_NAME.to_owned(),
            vendor_version: env!("CARGO_PKG_VERSION").to_owned(),
            manifest: BTreeMap::new(),
        }))
    }

    async fn get_plugin_capabilities(
        &self,
        _request: Request<csi::GetPluginCapabilitiesRequest>,
    ) -> Result<Response<csi::GetPluginCapabilitiesResponse>, Status> {
        Ok(Response::new(csi::GetPluginCapabilitiesResponse { capabilities: self.capabilities.clone() }))
    }

    /// Ready when the cluster has answered once. The plugin of a node is, and whoever was ready stays so: a plugin that is
    /// not ready is restarted by Kubernetes, with all the processes that keep its devices, and when the voters are away that
    /// does not bring them back.
    async fn probe(&self, request: Request<csi::ProbeRequest>) -> Result<Response<csi::ProbeResponse>, Status> {
        if self.ready.load(Ordering::Relaxed) {
            return Ok(Response::new(csi::ProbeResponse { ready: Some(true) }));
        }
        let mut asking = self.cluster.ask(time_for(&request).min(PROBE_MAX));
        let asked = asking
            .call(StatusRequest {}, async |channel, request| ClusterServiceClient::new(channel).status(request).await)
            .await;
        let ready = match asked {
            Ok(_) => true,
            Err(client::ClientError::Unreachable { why, .. }) => {
                tracing::info!("not ready: {why}");
                false
            }
            Err(error) => return Err(fault::of_client(&error)),
        };
        self.ready.store(ready, Ordering::Relaxed);
        Ok(Response::new(csi::ProbeResponse { ready: Some(ready) }))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use super::capabilities;
    use crate::node::{Attacher, DevicesConfig};
    use crate::plugin::{Mode, NodeConfig};

    #[test]
    fn only_what_is_there_is_advertised() {
        let devices = DevicesConfig { program: PathBuf::new(), folder: PathBuf::new(), attacher: Attacher::Auto };
        let node = NodeConfig { node_id: "n1".to_owned(), labels: BTreeMap::new(), devices, volumes_max: 0 };
        assert_eq!(capabilities(&Mode::Controller).len(), 5);
        assert_eq!(capabilities(&Mode::All(node.clone())), capabilities(&Mode::Controller));
        assert_eq!(capabilities(&Mode::Node(node)).len(), 2);
    }
}
