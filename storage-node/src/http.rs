//! Metrics and health over HTTP, on the caller's tokio thread.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::cluster::ClusterCounters;
use crate::control::{CallError, Control};
use crate::figures::Figures;
use crate::metrics;

/// A data thread that does not answer for so long is not well.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Why there is no HTTP.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve metrics on {address}: {source}; choose another address, or stop what listens there")]
pub struct HttpError {
    /// Where.
    pub address: SocketAddr,
    /// What the system said.
    pub source: io::Error,
}

/// An address that is open and not served yet.
#[derive(Debug)]
pub(crate) struct HttpListener {
    listener: TcpListener,
    address: SocketAddr,
}

/// The server; ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Http {
    task: JoinHandle<()>,
}

/// Where answers come from.
#[derive(Clone, Debug)]
struct Source {
    control: Control,
    cluster: Option<ClusterCounters>,
}

impl HttpListener {
    /// Opens an address.
    pub async fn open(address: SocketAddr) -> Result<Self, HttpError> {
        let failed = |source| HttpError { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
    }

    /// Where it is; with the port the kernel chose.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Starts serving.
    pub fn serve(self, control: Control, cluster: Option<ClusterCounters>) -> Http {
        let router = Router::new()
            .route("/metrics", get(answer_metrics))
            .route("/healthz", get(answer_health))
            .with_state(Source { control, cluster });
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(self.listener, router).await {
                tracing::error!(%error, "the HTTP server ended");
            }
        });
        Http { task }
    }
}

impl Drop for Http {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer_metrics(State(source): State<Source>) -> Response {
    let cluster = source.cluster.as_ref().map(ClusterCounters::figures);
    match figures(&source.control).await {
        Ok(figures) => {
            ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics::encode(figures, cluster)).into_response()
        }
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

async fn answer_health(State(source): State<Source>) -> Response {
    match figures(&source.control).await.and_then(|figures| health(&figures)) {
        Ok(()) => "ok\n".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

async fn figures(control: &Control) -> Result<Box<Figures>, String> {
    match timeout(ANSWER_MAX, control.figures()).await {
        Ok(Ok(figures)) => Ok(figures),
        Ok(Err(error @ (CallError::Stopped | CallError::Refused(_)))) => Err(error.to_string()),
        Err(_) => Err(format!("the data thread has not answered for {} s", ANSWER_MAX.as_secs())),
    }
}

fn health(figures: &Figures) -> Result<(), String> {
    match figures.machine.pool.and_then(|pool| pool.poisoned) {
        Some(error) => Err(format!("the pool takes no more writes: {error}")),
        None => Ok(()),
    }
}
