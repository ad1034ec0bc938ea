//! Voters in this process, and clients of theirs.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use control_plane::{Config, ControlPlane, Start};
use proto::v1;
use proto::v1::cluster_service_client::ClusterServiceClient;
use proto::v1::host_service_client::HostServiceClient;
use proto::v1::operation_service_client::OperationServiceClient;
use proto::v1::snapshot_service_client::SnapshotServiceClient;
use proto::v1::volume_service_client::VolumeServiceClient;
use tokio::time::{Instant, sleep};
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

pub const GIB: u64 = 1 << 30;
const PATIENCE: Duration = Duration::from_secs(20);

/// A voter that founds a cluster in `data`, or goes on with it.
pub async fn founder(data: &Path) -> ControlPlane {
    start(1, data, Start::Bootstrap).await
}

pub async fn start(id: u64, data: &Path, start: Start) -> ControlPlane {
    ControlPlane::start(config(id, data, start)).await.unwrap_or_else(|error| panic!("{error}"))
}

fn config(id: u64, data: &Path, start: Start) -> Config {
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    Config { id, data: data.to_owned(), listen, advertise: None, http: None, start, others: Vec::new() }
}

/// The founder again, when the last connection of the one before has let go of its folder; and when that was.
pub async fn again(data: &Path) -> (std::time::Instant, ControlPlane) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let begin = std::time::Instant::now();
        match ControlPlane::start(config(1, data, Start::Bootstrap)).await {
            Ok(plane) => return (begin, plane),
            Err(error) if Instant::now() > deadline => panic!("{error}"),
            Err(_) => sleep(Duration::from_millis(20)).await,
        }
    }
}

/// Clients of one voter.
#[derive(Clone)]
pub struct Clients {
    channel: Channel,
}

impl Clients {
    pub fn of(address: SocketAddr) -> Self {
        Self { channel: Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy() }
    }

    pub fn volumes(&self) -> VolumeServiceClient<Channel> {
        VolumeServiceClient::new(self.channel.clone())
    }

    pub fn hosts(&self) -> HostServiceClient<Channel> {
        HostServiceClient::new(self.channel.clone())
    }

    pub fn snapshots(&self) -> SnapshotServiceClient<Channel> {
        SnapshotServiceClient::new(self.channel.clone())
    }

    pub fn cluster(&self) -> ClusterServiceClient<Channel> {
        ClusterServiceClient::new(self.channel.clone())
    }

    pub fn operations(&self) -> OperationServiceClient<Channel> {
        OperationServiceClient::new(self.channel.clone())
    }

    pub async fn status(&self) -> Result<v1::StatusReply, Status> {
        self.cluster().status(v1::StatusRequest {}).await.map(tonic::Response::into_inner)
    }

    /// Waits for a status that is as it should be.
    pub async fn until(&self, what: &str, is: impl Fn(&v1::StatusReply) -> bool) -> v1::StatusReply {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.status().await;
            match status {
                Ok(status) if is(&status) => return status,
                other if Instant::now() > deadline => panic!("waited {PATIENCE:?} for {what}: {other:?}"),
                Ok(_) | Err(_) => sleep(Duration::from_millis(20)).await,
            }
        }
    }

    pub async fn create(&self, name: &str, size_bytes: u64) -> Result<v1::VolumeChange, Status> {
        let request = v1::CreateVolumeRequest { name: name.to_owned(), size_bytes, ..Default::default() };
        self.volumes().create(request).await.map(tonic::Response::into_inner)
    }

    pub async fn snapshot(&self, name: &str, volume: &str) -> Result<v1::SnapshotChange, Status> {
        let (name, volume) = (name.to_owned(), volume.to_owned());
        let request = v1::CreateSnapshotRequest { name, volume, ..Default::default() };
        self.snapshots().create(request).await.map(tonic::Response::into_inner)
    }

    pub async fn clone_of(&self, name: &str, from: v1::source::From) -> Result<v1::VolumeChange, Status> {
        let source = Some(v1::Source { from: Some(from) });
        let request = v1::CreateVolumeRequest { name: name.to_owned(), source, ..Default::default() };
        self.volumes().create(request).await.map(tonic::Response::into_inner)
    }

    /// Waits until what a change began has ended.
    pub async fn finish(&self, operation: Option<v1::Operation>) {
        let Some(operation) = operation else { return };
        let request = v1::WaitOperationRequest { id: operation.id, wait_ms: 20_000 };
        let ended = self.operations().wait(request).await.unwrap().into_inner();
        assert!(ended.ended_ms.is_some(), "{ended:?}");
    }
}

/// The word for programs of an error.
pub fn word(status: &Status) -> &str {
    status.metadata().get("plinth-error").map_or("", |word| word.to_str().unwrap())
}
