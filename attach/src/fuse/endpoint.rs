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

use nbd::{Export, Exports, Ticket};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::{Instant, sleep_until};

use super::local::{Heard, Local};
use crate::line::{Answer, Dialer, Ledger, Line, Link, PAUSE, Upstream, is_final};

/// Replies that the client has not read; beyond that it is not listened to.
const BACKLOG_BYTES_MAX: usize = 64 << 20;
/// How long the primary may be silent while requests are under way before it is looked for again: at first, and at most.
/// One that waits for replicas is silent as well, and asking again costs it little.
const SILENCE_MIN: Duration = Duration::from_secs(10);
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// The name under which nbdfuse finds the volume.
pub const EXPORT: &str = "volume";

/// The endpoint of one attachment.
#[derive(Debug)]
pub struct Endpoint {
    listener: UnixListener,
    exports: Exports,
    link: Link,
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
            let mut ledger = Ledger::<Ticket>::default();
            // Nobody asked anything, so that whatever comes ends the connection.
            let _ = self.exchange(&mut ledger, None);
        }
    }

    async fn serve_one(&mut self, stream: UnixStream) -> io::Result<()> {
        let mut local = Local::new(stream);
        let mut ledger = Ledger::<Ticket>::default();
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
    fn give_up(&mut self, ledger: &mut Ledger<Ticket>, silence: &mut Silence) {
        if matches!(self.link, Link::Up { .. }) {
            tracing::warn!("no answer for {} s; looking for the primary again", silence.patience.as_secs());
            ledger.broken();
            self.link.find_again(Duration::ZERO);
        }
        *silence = Silence { since: Instant::now(), patience: SILENCE_MAX.min(silence.patience * 2) };
    }

    /// Sends what may be sent and takes what was answered; whether there was an answer.
    fn exchange(&mut self, ledger: &mut Ledger<Ticket>, local: Option<&mut Local>) -> bool {
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

/// Takes requests as long as there is room; `false` when the client has gone.
fn take(local: &mut Local, exports: &Exports, ledger: &mut Ledger<Ticket>) -> io::Result<bool> {
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
fn pass(upstream: &mut Upstream, ledger: &mut Ledger<Ticket>, mut local: Option<&mut Local>) -> io::Result<bool> {
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
