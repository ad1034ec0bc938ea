//! A plugin from its configuration to its end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proto::csi::controller_server::ControllerServer;
use proto::csi::group_controller_server::GroupControllerServer;
use proto::csi::identity_server::IdentityServer;
use proto::csi::node_server::NodeServer;
use proto::csi::snapshot_metadata_server::SnapshotMetadataServer;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::transport::Server;

use crate::cluster::Cluster;
use crate::controller::ControllerService;
use crate::deadline::CALL_MAX;
use crate::endpoint::{Endpoint, EndpointError, Listener};
use crate::group::GroupService;
use crate::host;
use crate::identity::IdentityService;
use crate::metadata::MetadataService;
use crate::node::{DevicesConfig, NodeService};

/// Calls of one connection that may be under way.
const CONCURRENCY_MAX: usize = 256;
/// How long calls that are under way may take when the plugin stops.
const STOP_MAX: Duration = Duration::from_secs(20);

/// What a plugin needs to start.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// Which services there are.
    pub mode: Mode,
    /// Where Kubernetes' sidecars and the kubelet reach it.
    pub endpoint: Endpoint,
    /// Addresses of the cluster's voters.
    pub control: Vec<String>,
}

/// Which services a plugin has, beside Identity.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Mode {
    /// What is done once for the whole cluster.
    Controller,
    /// What is done on one host.
    Node(NodeConfig),
    /// Both.
    All(NodeConfig),
}

/// What the services of a host need to know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeConfig {
    /// What the host is called: its CSI node id, and the client that volumes are attached to.
    pub node_id: String,
    /// Where it is: `zone`, `region`, `rack`.
    pub labels: BTreeMap<String, String>,
    /// How volumes become devices there.
    pub devices: DevicesConfig,
    /// How many volumes it takes; 0 leaves that to Kubernetes.
    pub volumes_max: u32,
}

/// Why a plugin did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its socket.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
}

/// Why a plugin ended.
#[derive(Debug, thiserror::Error)]
pub enum EndError {
    /// Its server.
    #[error("the server of the plugin ended: {0}")]
    Server(String),
}

/// A running plugin.
#[derive(Debug)]
pub struct Plugin {
    server: JoinHandle<Result<(), tonic::transport::Error>>,
    register: Option<JoinHandle<()>>,
    stop: watch::Sender<bool>,
}

impl Mode {
    pub(crate) fn has_controller(&self) -> bool {
        match self {
            Self::Controller | Self::All(_) => true,
            Self::Node(_) => false,
        }
    }

    pub(crate) fn node(&self) -> Option<&NodeConfig> {
        match self {
            Self::Controller => None,
            Self::Node(node) | Self::All(node) => Some(node),
        }
    }
}

impl Plugin {
    /// Listens. Whether the cluster answers is told by Probe, and by every call.
    ///
    /// # Errors
    /// In words, see [`StartError`].
    pub fn start(config: Config) -> Result<Self, StartError> {
        let Config { mode, endpoint, control } = config;
        let listener = Listener::open(&endpoint)?;
        let cluster = Arc::new(Cluster::new(&control));
        let (stop, stopping) = watch::channel(false);
        let register = mode.node().map(|node| tokio::spawn(host::register(node.clone(), Arc::clone(&cluster))));
        let node = mode.node().map(|node| NodeService::new(node.clone(), Arc::clone(&cluster), &control));
        let server = tokio::spawn(serve(listener, mode, node, cluster, stopping));
        Ok(Self { server, register, stop })
    }

    /// Waits for its end, which is a failure: a plugin ends when it is stopped.
    ///
    /// # Errors
    /// What made it fail.
    pub async fn ended(&mut self) -> Result<(), EndError> {
        match (&mut self.server).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(EndError::Server(error.to_string())),
            Err(error) => Err(EndError::Server(error.to_string())),
        }
    }

    /// Ends in good order: answers what is under way, for a while.
    pub async fn stop(mut self) {
        if let Some(register) = self.register.take() {
            register.abort();
        }
        self.stop.send_replace(true);
        if timeout(STOP_MAX, &mut self.server).await.is_err() {
            tracing::warn!("calls that were under way for {} s are given up", STOP_MAX.as_secs());
            self.server.abort();
        }
    }
}

async fn serve(
    listener: Listener,
    mode: Mode,
    node: Option<NodeService>,
    cluster: Arc<Cluster>,
    mut stopping: watch::Receiver<bool>,
) -> Result<(), tonic::transport::Error> {
    let (incoming, _file) = listener.split();
    let controller = mode.has_controller();
    let of_controller = || controller.then(|| Arc::clone(&cluster));
    Server::builder()
        .concurrency_limit_per_connection(CONCURRENCY_MAX)
        .timeout(CALL_MAX)
        .add_service(IdentityServer::new(IdentityService::new(&mode, Arc::clone(&cluster))))
        .add_optional_service(of_controller().map(ControllerService::new).map(ControllerServer::new))
        .add_optional_service(of_controller().map(GroupService::new).map(GroupControllerServer::new))
        .add_optional_service(of_controller().map(MetadataService::new).map(SnapshotMetadataServer::new))
        .add_optional_service(node.map(NodeServer::new))
        .serve_with_incoming_shutdown(incoming, async move {
            // A sender that is gone means the same.
            let _stopped = stopping.wait_for(|stop| *stop).await;
        })
        .await
}
