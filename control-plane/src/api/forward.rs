//! Any voter takes a request; one that does not lead passes it on to the one that does, as it came.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::timeout;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::NamedService;
use tonic::transport::{Channel, Endpoint};

use super::fault::not_leader;
use crate::raft::{Consensus, Leadership, Voter};

/// How long a request waits for a leader to be elected.
const LEADER_WAIT: Duration = Duration::from_secs(3);
const CONNECT_MAX: Duration = Duration::from_secs(1);
/// The mark of a request that was passed on: it is not passed on again.
const FORWARDED: &str = "plinth-forwarded";

/// A service that is asked only where its leader is.
#[derive(Clone)]
pub(crate) struct Forward<S> {
    inner: S,
    leaders: Arc<Leaders>,
}

/// Who leads, and the connections to those who led.
pub(crate) struct Leaders {
    consensus: Arc<Consensus>,
    channels: Mutex<BTreeMap<String, Channel>>,
}

/// Connections kept; there are at most a few voters, and addresses change rarely.
const CHANNELS_MAX: usize = 16;

impl Leaders {
    pub fn new(consensus: Arc<Consensus>) -> Self {
        Self { consensus, channels: Mutex::default() }
    }

    /// Who leads; waits a while when nobody does.
    async fn find(&self) -> Leadership {
        let mut changes = self.consensus.leadership_changes();
        let elected = changes.wait_for(|leadership| !matches!(leadership, Leadership::Nobody));
        match timeout(LEADER_WAIT, elected).await {
            Ok(Ok(leadership)) => leadership.clone(),
            Ok(Err(_)) | Err(_) => Leadership::Nobody,
        }
    }

    fn channel(&self, voter: &Voter) -> Option<Channel> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = channels.get(&voter.address) {
            return Some(channel.clone());
        }
        let endpoint = Endpoint::from_shared(format!("http://{}", voter.address)).ok()?;
        let channel = endpoint.connect_timeout(CONNECT_MAX).tcp_nodelay(true).connect_lazy();
        if channels.len() >= CHANNELS_MAX {
            channels.clear();
        }
        channels.insert(voter.address.clone(), channel.clone());
        Some(channel)
    }
}

impl<S> Forward<S> {
    pub fn new(inner: S, leaders: Arc<Leaders>) -> Self {
        Self { inner, leaders }
    }
}

impl<S: NamedService> NamedService for Forward<S> {
    const NAME: &'static str = S::NAME;
}

type Reply = Result<http::Response<Body>, Infallible>;

impl<S> Service<http::Request<Body>> for Forward<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Reply> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        // The one that is ready is used up, and a fresh one stays.
        let fresh = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, fresh);
        let leaders = Arc::clone(&self.leaders);
        Box::pin(async move {
            match leaders.find().await {
                Leadership::Here { .. } => { inner }.call(request).await,
                Leadership::There { voter, .. } => Ok(pass_on(&leaders, &voter, request).await),
                Leadership::Nobody => Ok(not_leader(None).into_http()),
            }
        })
    }
}

async fn pass_on(leaders: &Leaders, voter: &Voter, mut request: http::Request<Body>) -> http::Response<Body> {
    if request.headers().contains_key(FORWARDED) {
        return not_leader(Some(voter)).into_http();
    }
    let Some(mut channel) = leaders.channel(voter) else { return not_leader(Some(voter)).into_http() };
    request.headers_mut().insert(FORWARDED, http::HeaderValue::from_static("1"));
    let ready = std::future::poll_fn(|context| channel.poll_ready(context)).await;
    let result = match ready {
        Ok(()) => channel.call(request).await,
        Err(error) => Err(error),
    };
    result.unwrap_or_else(|error| {
        let sentence = format!("the leader at {} does not answer: {error}; try again", voter.address);
        Status::unavailable(sentence).into_http()
    })
}
