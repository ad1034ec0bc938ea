//! Metrics and health of a voter over HTTP.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use cluster::{Health, Severity};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::raft::{Consensus, Leadership};

/// What a scraper is told it gets.
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Problems that are counted.
const PROBLEMS_MAX: usize = 10_000;

type Label = [(&'static str, String); 1];

/// The server; ends when it is dropped.
pub(crate) struct Http {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Http {
    /// Opens an address and serves it.
    pub async fn start(address: SocketAddr, consensus: Arc<Consensus>) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let router = Router::new()
            .route("/metrics", get(answer_metrics))
            .route("/healthz", get(answer_health))
            .with_state(consensus);
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "the HTTP server ended");
            }
        });
        Ok(Self { address, task })
    }

    /// Where it is; with the port the kernel chose.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Http {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A voter is well when it leads, or knows who does.
async fn answer_health(State(consensus): State<Arc<Consensus>>) -> Response {
    match consensus.leadership() {
        Leadership::Here { .. } | Leadership::There { .. } => "ok\n".into_response(),
        Leadership::Nobody => {
            (StatusCode::SERVICE_UNAVAILABLE, "the voters have no leader that is known\n").into_response()
        }
    }
}

async fn answer_metrics(State(consensus): State<Arc<Consensus>>) -> Response {
    let mut text = String::new();
    encode(&mut text, &figures(&consensus)).expect("a string takes everything");
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response()
}

fn ready_snapshots(state: &cluster::State) -> u64 {
    state.snapshots(None).filter(|(_, snapshot)| state.is_snapshot_ready(snapshot)).count() as u64
}

fn figures(consensus: &Consensus) -> Registry {
    let mut registry = Registry::with_prefix("plinth_control");
    let mut set = |name: &str, help: &str, value: u64| {
        let gauge: Gauge = Gauge::default();
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        registry.register(name, help, gauge);
    };
    let leads = matches!(consensus.leadership(), Leadership::Here { .. });
    set("leads", "Whether this voter leads", leads.into());
    set("term", "Number of the last election this voter knows of", consensus.term());
    consensus.read(|state| {
        let health = |wanted| state.volumes(None).filter(|(_, volume)| volume.health() == wanted).count() as u64;
        set("revision", "Commands applied", state.revision().0);
        set("nodes", "Storage nodes", state.nodes().count() as u64);
        set("nodes_up", "Storage nodes that are heard", state.nodes().filter(|(_, node)| node.is_up()).count() as u64);
        set("volumes", "Volumes", state.volume_count() as u64);
        set("volumes_ready", "Volumes that are as they should be", health(Health::Ready));
        set(
            "volumes_unavailable",
            "Volumes that cannot be reached",
            health(Health::Unavailable) + health(Health::Lost),
        );
        set("operations_running", "Operations that go on", state.running_operations().count() as u64);
        set("tombstones", "Deleted volumes whose space is not free yet", state.tombstones().count() as u64);
        set("snapshots", "Snapshots", state.snapshot_count() as u64);
        set("snapshots_ready", "Snapshots that a volume can be made from", ready_snapshots(state));
        set(
            "snapshot_deletions",
            "Deleted snapshots that are still in a pool, for each pool",
            state.contents().graves.len() as u64,
        );
        set("volumes_retired", "Deleted volumes whose snapshots are kept", state.retired().count() as u64);
        let critical = |problem: &&cluster::Problem| problem.severity == Severity::Critical;
        let problems = state.problems(PROBLEMS_MAX);
        set(
            "problems_critical",
            "Problems that keep data from being reached",
            problems.iter().filter(critical).count() as u64,
        );
    });
    let lag = Family::<Label, Gauge>::default();
    for voter in consensus.voters() {
        lag.get_or_create(&[("voter", voter.id.to_string())]).set(i64::try_from(voter.lag).unwrap_or(i64::MAX));
    }
    registry.register("voter_lag", "Entries of the log that a voter lacks, as the leader knows", lag);
    registry
}
