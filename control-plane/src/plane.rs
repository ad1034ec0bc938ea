//! A voter from its configuration to its end.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use proto::link::node_link_server::NodeLinkServer;
use proto::v1::cluster_service_server::ClusterServiceServer;
use proto::v1::host_service_server::HostServiceServer;
use proto::v1::node_service_server::NodeServiceServer;
use proto::v1::operation_service_server::OperationServiceServer;
use proto::v1::pool_service_server::PoolServiceServer;
use proto::v1::snapshot_service_server::SnapshotServiceServer;
use proto::v1::volume_service_server::VolumeServiceServer;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;

use crate::api::{Desk, Forward, Leaders};
use crate::http::Http;
use crate::link::{Link, Questions};
use crate::raft::{Consensus, Start, VoterConfig};

/// How often a silent connection is asked whether it is still there, and how long it may take to answer.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(1);
const KEEPALIVE_MAX: Duration = Duration::from_secs(3);
/// Requests of one connection that may be under way.
const CONCURRENCY_MAX: usize = 256;
/// What of a connection may be on its way. HTTP/2 ends connections with many small frames that nobody has taken yet, and
/// allows more of them when the window is large: a node's reports may wait for a slow disk of ours.
const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
/// A whole report of a node with a hundred thousand volumes fits.
const MESSAGE_BYTES_MAX: usize = 32 << 20;
/// How long requests that are under way may take when the voter stops.
const STOP_MAX: Duration = Duration::from_secs(3);

/// What a voter needs to start.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// Its number, 1 or more; never that of another voter, also not of one that is gone.
    pub id: u64,
    /// Where it keeps the log.
    pub data: PathBuf,
    /// Where it listens: for voters, nodes and clients of the API.
    pub listen: SocketAddr,
    /// HOST or HOST:PORT under which others reach it, when it is not `listen`.
    pub advertise: Option<String>,
    /// For metrics and health; none when there is to be no HTTP.
    pub http: Option<SocketAddr>,
    /// How it comes to be part of a cluster.
    pub start: Start,
    /// Where the other voters are to be, HOST:PORT each: one that founds a cluster asks them first whether there is one.
    pub others: Vec<String>,
}

/// Why a voter did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address.
    #[error("cannot listen on {address}: {source}; choose another address, or stop what listens there")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The address for metrics.
    #[error("cannot serve metrics on {address}: {source}; choose another address, or stop what listens there")]
    Http {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Nobody could reach it.
    #[error(
        "the voter listens on {0}, which is no address that others can reach it at: say which with --advertise HOST"
    )]
    NoAddress(SocketAddr),
    /// Whether there is a cluster already is not known.
    #[error(transparent)]
    Founding(crate::raft::StartError),
    /// What it keeps.
    #[error(transparent)]
    Consensus(crate::raft::StartError),
}

impl From<crate::raft::StartError> for StartError {
    fn from(error: crate::raft::StartError) -> Self {
        use crate::raft::StartError as Raft;
        match error {
            Raft::Unasked { .. } => Self::Founding(error),
            Raft::Id | Raft::Store(_) | Raft::Random(_) | Raft::Consensus(_) | Raft::Found(_) => Self::Consensus(error),
        }
    }
}

/// Why a voter ended.
#[derive(Debug, thiserror::Error)]
pub enum EndError {
    /// Its server.
    #[error("the server of the API ended: {0}")]
    Server(String),
    /// It cannot take part any more.
    #[error(
        "the voter cannot go on: {0}. Look at its disk, then start it again; if its disk is gone, remove the voter and add a new one"
    )]
    Consensus(String),
}

/// A running voter.
pub struct ControlPlane {
    address: SocketAddr,
    consensus: Arc<Consensus>,
    http: Option<Http>,
    server: JoinHandle<Result<(), tonic::transport::Error>>,
    watch: JoinHandle<()>,
    stop: watch::Sender<bool>,
}

impl ControlPlane {
    /// Opens what it keeps and listens.
    ///
    /// # Errors
    /// In words, see [`StartError`].
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let failed = |source| StartError::Listen { address: config.listen, source };
        let listener = TcpListener::bind(config.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let advertised = advertised(address, config.advertise.as_deref())?;
        let Config { id, data, start, others, .. } = config;
        let voter = VoterConfig { id, data, address: advertised, start, others };
        let consensus = Arc::new(Consensus::start(voter).await?);
        let http = match config.http {
            Some(address) => Some(
                Http::start(address, Arc::clone(&consensus))
                    .await
                    .map_err(|source| StartError::Http { address, source })?,
            ),
            None => None,
        };
        let (stop, stopping) = watch::channel(false);
        let questions = Arc::new(Questions::default());
        let link = Link::new(Arc::clone(&consensus), Arc::clone(&questions));
        let desk = Desk { consensus: Arc::clone(&consensus), questions };
        let watch = tokio::spawn(link.streams().watch());
        let server = tokio::spawn(serve(listener, desk, link, stopping));
        Ok(Self { address, consensus, http, server, watch, stop })
    }

    /// Where it listens, with the port the kernel chose.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where metrics are, with the port the kernel chose.
    #[must_use]
    pub fn http(&self) -> Option<SocketAddr> {
        self.http.as_ref().map(Http::address)
    }

    /// Waits for its end, which is a failure: a voter ends when it is stopped.
    ///
    /// # Errors
    /// What made it fail.
    pub async fn ended(&mut self) -> Result<(), EndError> {
        tokio::select! {
            ended = &mut self.server => match ended {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(EndError::Server(error.to_string())),
                Err(error) => Err(EndError::Server(error.to_string())),
            },
            reason = self.consensus.failed() => Err(EndError::Consensus(reason)),
        }
    }

    /// Ends in good order: answers what is under way, and closes what it keeps.
    pub async fn stop(mut self) {
        drop(self.http.take());
        self.watch.abort();
        self.stop.send_replace(true);
        if timeout(STOP_MAX, &mut self.server).await.is_err() {
            self.server.abort();
        }
        self.consensus.stop().await;
    }
}

/// HOST:PORT for others.
fn advertised(listen: SocketAddr, advertise: Option<&str>) -> Result<String, StartError> {
    match advertise {
        Some(whole) if whole.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) => {
            Ok(whole.to_owned())
        }
        Some(host) => Ok(format!("{host}:{}", listen.port())),
        None if listen.ip().is_unspecified() => Err(StartError::NoAddress(listen)),
        None => Ok(listen.to_string()),
    }
}

async fn serve(
    listener: TcpListener,
    desk: Desk,
    link: Link,
    mut stopping: watch::Receiver<bool>,
) -> Result<(), tonic::transport::Error> {
    let consensus = Arc::clone(&desk.consensus);
    let leaders = Arc::new(Leaders::new(Arc::clone(&consensus)));
    let link = NodeLinkServer::new(link).max_decoding_message_size(MESSAGE_BYTES_MAX);
    Server::builder()
        .tcp_nodelay(true)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_MAX))
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .concurrency_limit_per_connection(CONCURRENCY_MAX)
        .add_service(consensus.service())
        .add_service(link)
        .add_service(Forward::new(VolumeServiceServer::new(desk.clone()), Arc::clone(&leaders)))
        .add_service(Forward::new(SnapshotServiceServer::new(desk.clone()), Arc::clone(&leaders)))
        .add_service(Forward::new(OperationServiceServer::new(desk.clone()), Arc::clone(&leaders)))
        .add_service(Forward::new(NodeServiceServer::new(desk.clone()), Arc::clone(&leaders)))
        .add_service(Forward::new(HostServiceServer::new(desk.clone()), Arc::clone(&leaders)))
        .add_service(Forward::new(PoolServiceServer::new(desk.clone()), Arc::clone(&leaders)))
        .add_service(Forward::new(ClusterServiceServer::new(desk), leaders))
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), async move {
            // A sender that is gone means the same.
            let _stopped = stopping.wait_for(|stop| *stop).await;
        })
        .await
}

#[cfg(test)]
mod tests {
    use super::advertised;

    #[test]
    fn others_reach_a_voter_by_what_it_advertises() {
        let of = |listen: &str, advertise| advertised(listen.parse().expect("an address"), advertise).ok();
        assert_eq!(of("10.0.0.1:7", None).as_deref(), Some("10.0.0.1:7"));
        assert_eq!(of("0.0.0.0:7", None), None);
        assert_eq!(of("0.0.0.0:7", Some("db1")).as_deref(), Some("db1:7"));
        assert_eq!(of("0.0.0.0:7", Some("db1:8")).as_deref(), Some("db1:8"));
    }
}
