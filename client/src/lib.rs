//! Asks a cluster. Any voter answers; when one does not, the next is asked, with the very same request: a change carries
//! a request id, so that it happens once however often it is sent.
//!
//! Not here: what is said to people. An [`Onlooker`] is told what is being waited for.

mod calls;
mod failure;
mod finish;
mod list;
mod onlooker;
mod request;
mod settle;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Response, Status, Streaming};

pub use failure::{ClientError, Refusal};
pub use finish::what_is_done;
pub use onlooker::{Nobody, Onlooker};
pub use request::{Token, request_id};
pub use settle::Aim;

/// How long one voter may take to accept a connection.
const CONNECT_MAX: Duration = Duration::from_secs(3);
/// How long one voter may take to answer before the next is asked.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// How often a voter is asked for a sign of life, and how long it may take: who watches for hours must notice.
const KEEPALIVE: Duration = Duration::from_secs(5);
/// Pauses after all voters were asked in vain: the first, and the longest.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// How a cluster is asked.
#[derive(Clone, Debug)]
pub struct Approach {
    /// Its voters, each HOST:PORT; at least one.
    pub addresses: Vec<String>,
    /// How long to try, and to wait for what was asked for.
    pub timeout: Duration,
    /// Who is told what is waited for.
    pub onlooker: Arc<dyn Onlooker>,
}

/// A way to a cluster, for one command.
#[derive(Clone, Debug)]
pub struct Client {
    addresses: Vec<String>,
    /// Which of them is asked.
    at: usize,
    channel: Option<Channel>,
    timeout: Duration,
    deadline: Instant,
    onlooker: Arc<dyn Onlooker>,
}

/// How one attempt ended when there was no answer.
enum Failed {
    /// The cluster said no; nobody else will say yes.
    Refused(Refusal),
    /// Nobody knows: another attempt may succeed.
    Unheard(String),
}

impl Client {
    /// For a command that starts now.
    pub fn new(approach: impl Into<Approach>) -> Self {
        let Approach { addresses, timeout, onlooker } = approach.into();
        Self { addresses, at: 0, channel: None, timeout, deadline: Instant::now() + timeout, onlooker }
    }

    /// Without telling anybody what it waits for.
    pub fn quiet(addresses: &[String], timeout: Duration) -> Self {
        Self::new(Approach { addresses: addresses.to_vec(), timeout, onlooker: Arc::new(Nobody) })
    }

    /// For another command that starts now, on the same connection as long as that serves.
    #[must_use]
    pub fn anew(&self, timeout: Duration) -> Self {
        Self { timeout, deadline: Instant::now() + timeout, ..self.clone() }
    }

    /// Asks until there is an answer, a refusal, or no time left.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn call<Q: Clone, A>(
        &mut self,
        request: Q,
        send: impl AsyncFn(Channel, Q) -> Result<Response<A>, Status>,
    ) -> Result<A, ClientError> {
        self.call_until(self.deadline, ANSWER_MAX, request, send).await
    }

    /// As [`Self::call`], for what one voter may take all the time for that there is.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn call_patiently<Q: Clone, A>(
        &mut self,
        request: Q,
        send: impl AsyncFn(Channel, Q) -> Result<Response<A>, Status>,
    ) -> Result<A, ClientError> {
        self.call_until(self.deadline, self.timeout, request, send).await
    }

    /// The next message of a stream; none when the stream has broken or ended, and is to be asked for again.
    ///
    /// # Errors
    /// The cluster refused.
    pub async fn next<A>(&mut self, stream: &mut Streaming<A>) -> Result<Option<A>, ClientError> {
        match stream.message().await.map_err(|status| failed(&status)) {
            Ok(message) => Ok(message),
            Err(Failed::Refused(refusal)) => Err(ClientError::Refused(refusal)),
            Err(Failed::Unheard(why)) => {
                tracing::info!("{}: {why}", self.addresses[self.at]);
                Ok(None)
            }
        }
    }

    /// A while before the next voter is asked, with all the time there is for one command.
    pub async fn pause(&mut self) {
        sleep(PAUSE_MIN).await;
        self.turn();
        self.deadline = Instant::now() + self.timeout;
    }

    fn turn(&mut self) {
        self.channel = None;
        self.at = (self.at + 1) % self.addresses.len();
    }

    async fn call_until<Q: Clone, A>(
        &mut self,
        deadline: Instant,
        answer_max: Duration,
        request: Q,
        send: impl AsyncFn(Channel, Q) -> Result<Response<A>, Status>,
    ) -> Result<A, ClientError> {
        let mut pause = PAUSE_MIN;
        let mut asked = 0;
        loop {
            let why = match self.attempt(deadline.min(Instant::now() + answer_max), request.clone(), &send).await {
                Ok(answer) => return Ok(answer),
                Err(Failed::Refused(refusal)) => return Err(ClientError::Refused(refusal)),
                Err(Failed::Unheard(why)) => format!("{}: {why}", self.addresses[self.at]),
            };
            tracing::info!("{why}");
            self.turn();
            asked += 1;
            if asked % self.addresses.len() == 0 {
                self.onlooker.say(&format!("nobody answers yet ({why})"));
                sleep(pause.min(deadline.saturating_duration_since(Instant::now()))).await;
                pause = PAUSE_MAX.min(pause * 2);
            }
            if Instant::now() >= deadline {
                return Err(ClientError::Unreachable { waited: self.timeout, why });
            }
        }
    }

    async fn attempt<Q, A>(
        &mut self,
        until: Instant,
        request: Q,
        send: &impl AsyncFn(Channel, Q) -> Result<Response<A>, Status>,
    ) -> Result<A, Failed> {
        let answered = timeout_at(until, async {
            let channel = self.channel().await?;
            send(channel, request).await.map_err(|status| failed(&status))
        });
        match answered.await {
            Ok(answer) => answer.map(Response::into_inner),
            Err(_) => Err(Failed::Unheard("no answer in time".to_owned())),
        }
    }

    async fn channel(&mut self) -> Result<Channel, Failed> {
        if let Some(channel) = &self.channel {
            return Ok(channel.clone());
        }
        let unheard = |error: tonic::transport::Error| Failed::Unheard(causes(&error));
        let endpoint = Endpoint::from_shared(format!("http://{}", self.addresses[self.at])).map_err(unheard)?;
        let endpoint = endpoint
            .connect_timeout(CONNECT_MAX)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE);
        let channel = endpoint.connect().await.map_err(unheard)?;
        Ok(self.channel.insert(channel).clone())
    }
}

/// A status that came over the wire is the voter's word; one with a source was made here, of a broken connection.
fn failed(status: &Status) -> Failed {
    match std::error::Error::source(status) {
        Some(source) => Failed::Unheard(causes(source)),
        None if status.code() == Code::Unavailable => Failed::Unheard(status.message().to_owned()),
        None => Failed::Refused(Refusal::of(status)),
    }
}

/// The innermost cause: what the system said.
fn causes(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
