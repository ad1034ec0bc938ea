//! Passes the kernel's requests on to the volume's primary, wherever that is, and asks again for what was not answered.
//!
//! ```text
//!   nbdfuse ── unix socket ── Local ──> Ledger ──> Upstream ── TCP ── any node ── primary
//!                                         │ broken, or silent for too long
//!                                         └──> all that was sent counts as waiting; a new connection takes over
//! ```
//! Promise: the client sees every request answered once, as its volume's primary answered it; a failover it sees as time
//! that passes. What is taken is bounded by the ledger, and what waits for the client by [`BACKLOG_BYTES_MAX`].

use std::io;
use std::time::Duration;

use nbd::{Export, Exports, Purpose};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::ledger::{Ledger, is_final};
use super::local::{Heard, Local};
use super::upstream::{Answer, Upstream};
use crate::dial::{Dialer, Line};

/// Replies that the client has not read; beyond that it is not listened to.
const BACKLOG_BYTES_MAX: usize = 64 << 20;
/// How long the primary may be silent while requests are under way before it is looked for again: at first, and at most.
/// One that waits for replicas is silent as well, and asking again costs it little.
const SILENCE_MIN: Duration = Duration::from_secs(10);
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Before the next attempt when a connection broke at once.
const PAUSE: Duration = Duration::from_millis(50);

/// The name under which nbdfuse finds the volume.
pub const EXPORT: &str = "volume";

/// The endpoint of one attachment.
#[derive(Debug)]
pub struct Endpoint {
    listener: UnixListener,
    exports: Exports,
    link: Link,
}

/// The way to the primary.
#[derive(Debug)]
enum Link {
    /// It is being looked for.
    Finding(Finding),
    /// It is there.
    Up { upstream: Box<Upstream>, dialer: Dialer },
}

/// A search in a task of its own, which ends with this value.
#[derive(Debug)]
struct Finding(JoinHandle<(Dialer, Line)>);

impl Drop for Finding {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Finding {
    fn begin(mut dialer: Dialer, pause: Duration) -> Self {
        Self(tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            let line = dialer.find(Purpose::Open).await;
            (dialer, line)
        }))
    }

    /// What was found. Nothing is lost when this is dropped before.
    async fn end(&mut self) -> (Dialer, Line) {
        match (&mut self.0).await {
            Ok(found) => found,
            // Only who drops the value aborts the task, and a panic in it is ours.
            Err(failed) => std::panic::resume_unwind(failed.into_panic()),
        }
    }
}

/// How long the primary has been silent although it was asked.
#[derive(Debug)]
struct Silence {
    since: Instant,
    patience: Duration,
}

impl Endpoint {
    /// On a socket that listens already, with a first connection to the volume.
    pub fn new(listener: UnixListener, dialer: Dialer, line: Line) -> Self {
        let export = Export {
            handle: 0,
            size_bytes: line.export.size_bytes,
            read_only: line.export.is_read_only(),
            multi_conn: false,
            description: line.export.description.clone(),
        };
        let mut exports = Exports::new(true);
        exports.insert(EXPORT.to_owned(), export).expect("the name is one that the protocol carries");
        Self { listener, exports, link: Link::up(dialer, line) }
    }

    /// Serves one client after the other, without end.
    ///
    /// # Errors
    /// The socket is gone.
    pub async fn serve(&mut self) -> io::Result<()> {
        loop {
            let (stream, _) = self.accept().await?;
            let ended = self.serve_one(stream).await;
            tracing::debug!("the client of the endpoint has gone: {ended:?}");
            // What it asked for and was not answered may still come on this connection: its successor needs a new one.
            self.link.find_again(Duration::ZERO);
        }
    }

    /// Waits for a client, and keeps a connection to the volume meanwhile.
    async fn accept(&mut self) -> io::Result<(UnixStream, tokio::net::unix::SocketAddr)> {
        loop {
            tokio::select! {
                accepted = self.listener.accept() => return accepted,
                () = self.link.ready() => {}
            }
            let mut ledger = Ledger::default();
            // Nobody asked anything, so that whatever comes ends the connection.
            let _ = self.exchange(&mut ledger, None);
        }
    }

    async fn serve_one(&mut self, stream: UnixStream) -> io::Result<()> {
        let mut local = Local::new(stream);
        let mut ledger = Ledger::default();
        let mut silence = Silence { since: Instant::now(), patience: SILENCE_MIN };
        loop {
            let listening = ledger.has_room() && local.backlog_bytes() < BACKLOG_BYTES_MAX;
            if listening && !take(&mut local, &self.exports, &mut ledger)? {
                return Ok(());
            }
            if self.exchange(&mut ledger, Some(&mut local)) || ledger.is_empty() {
                silence = Silence { since: Instant::now(), patience: SILENCE_MIN };
            }
            local.write()?;
            let listening = ledger.has_room() && local.backlog_bytes() < BACKLOG_BYTES_MAX;
            tokio::select! {
                ready = local.ready(listening) => ready?,
                () = self.link.ready() => {}
                () = sleep_until(silence.since + silence.patience), if !ledger.is_empty() => {
                    self.give_up(&mut ledger, &mut silence);
                }
            }
        }
    }

    /// The primary says nothing: whoever it is now, a new connection finds it.
    fn give_up(&mut self, ledger: &mut Ledger, silence: &mut Silence) {
        if matches!(self.link, Link::Up { .. }) {
            tracing::warn!("no answer for {} s; looking for the primary again", silence.patience.as_secs());
            ledger.broken();
            self.link.find_again(Duration::ZERO);
        }
        *silence = Silence { since: Instant::now(), patience: SILENCE_MAX.min(silence.patience * 2) };
    }

    /// Sends what may be sent and takes what was answered; whether there was an answer.
    fn exchange(&mut self, ledger: &mut Ledger, local: Option<&mut Local>) -> bool {
        let Link::Up { upstream, .. } = &mut self.link else { return false };
        match pass(upstream, ledger, local) {
            Ok(answered) => answered,
            Err(error) => {
                tracing::info!("the connection broke: {error}");
                ledger.broken();
                self.link.find_again(PAUSE);
                false
            }
        }
    }
}

impl Link {
    fn up(dialer: Dialer, line: Line) -> Self {
        tracing::info!(address = line.address, "connected");
        Self::Up { upstream: Box::new(Upstream::new(line.stream)), dialer }
    }

    /// Waits until something is to be done with it.
    async fn ready(&mut self) {
        match self {
            Self::Finding(finding) => {
                let (dialer, line) = finding.end().await;
                *self = Self::up(dialer, line);
            }
            // What is wrong with it is found when it is read.
            Self::Up { upstream, .. } => drop(upstream.ready().await),
        }
    }

    /// Ends the connection and looks for another, after a pause.
    fn find_again(&mut self, pause: Duration) {
        if let Self::Up { dialer, .. } = self {
            *self = Self::Finding(Finding::begin(dialer.clone(), pause));
        }
    }
}

/// Takes requests as long as there is room; `false` when the client has gone.
fn take(local: &mut Local, exports: &Exports, ledger: &mut Ledger) -> io::Result<bool> {
    let alive = local.read()?;
    while ledger.has_room() {
        match local.hear(exports) {
            Heard::Nothing => return Ok(alive),
            Heard::Gone => return Ok(false),
            Heard::Asked(asked) => {
                if let Some(asked) = local.answer_alone(asked) {
                    ledger.admit(asked.ticket, asked.request, asked.payload);
                }
            }
        }
    }
    Ok(alive)
}

/// Sends and receives what goes; whether something was answered.
fn pass(upstream: &mut Upstream, ledger: &mut Ledger, mut local: Option<&mut Local>) -> io::Result<bool> {
    let mut answered = false;
    loop {
        while let Some(sending) = ledger.send_next() {
            upstream.send(&sending);
        }
        upstream.write()?;
        let Some(Answer { cookie, result }) = upstream.read(ledger)? else { return Ok(answered) };
        if let Err(error) = &result
            && !is_final(*error)
        {
            return Err(io::Error::other(*error));
        }
        let (Some(ticket), Some(local)) = (ledger.answered(cookie), local.as_deref_mut()) else { continue };
        match result {
            Ok(Some(buffer)) => local.reply_read(ticket, buffer),
            Ok(None) => local.reply(ticket, Ok(())),
            Err(error) => local.reply(ticket, Err(error)),
        }
        answered = true;
    }
}
