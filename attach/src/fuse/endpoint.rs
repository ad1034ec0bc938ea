//! Passes the kernel's requests on to the volume's primary, wherever that is, and asks again for what was not answered.
//!
//! ```text
//!   loop device ── /dev/fuse ── VolumeFile ──> Ledger ──> Upstream ── TCP ── any node ── primary
//!                                                │ broken, or silent for too long
//!                                                └──> all that was sent counts as waiting; a new connection takes over
//! ```
//! Promise: every request is answered once, as the volume's primary answered it; a failover is time that passes. What is
//! taken is bounded by the ledger: beyond that the kernel's calls are not read.

use std::io;
use std::time::Duration;

use block::{Error, Pages};
use tokio::time::{Instant, sleep_until};

use super::channel::Channel;
use super::file::{Due, Heard, Ticket, VolumeFile, acknowledgement, errno};
use super::wire::Call;
use crate::line::{Answer, Dialer, Ledger, Line, Link, PAUSE, Upstream, is_final};

/// How long the primary may be silent while requests are under way before it is looked for again: at first, and at most.
/// One that waits for replicas is silent as well, and asking again costs it little.
const SILENCE_MIN: Duration = Duration::from_secs(10);
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// The endpoint of one attachment.
#[derive(Debug)]
pub struct Endpoint {
    channel: Channel,
    file: VolumeFile,
    ledger: Ledger<Ticket>,
    link: Link,
    silence: Silence,
}

/// How long the primary has been silent although it was asked.
#[derive(Debug)]
struct Silence {
    since: Instant,
    patience: Duration,
}

impl Silence {
    fn new() -> Self {
        Self { since: Instant::now(), patience: SILENCE_MIN }
    }
}

impl Endpoint {
    /// On what was just mounted, with a first connection to the volume.
    pub fn new(channel: Channel, dialer: Dialer, line: Line) -> Self {
        let file = VolumeFile::new(line.export.size_bytes);
        Self { channel, file, ledger: Ledger::default(), link: Link::up(dialer, line), silence: Silence::new() }
    }

    /// Serves until it is unmounted.
    ///
    /// # Errors
    /// Always: that is how it ends.
    pub async fn serve(&mut self) -> io::Result<()> {
        loop {
            self.take()?;
            if self.exchange()? || self.ledger.is_empty() {
                self.silence = Silence::new();
            }
            tokio::select! {
                ready = self.channel.ready(), if self.ledger.has_room() => ready?,
                () = self.link.ready() => {}
                () = sleep_until(self.silence.since + self.silence.patience), if !self.ledger.is_empty() => self.give_up(),
            }
        }
    }

    /// Takes calls as long as there are any, and room.
    fn take(&mut self) -> io::Result<()> {
        while self.ledger.has_room() {
            let Some(bytes) = self.channel.read()? else { return Ok(()) };
            let call = Call::parse(bytes).ok_or_else(|| io::Error::other("the kernel sent what is no FUSE"))?;
            let unique = call.unique;
            match self.file.hear(&call) {
                Heard::Answer(result) => self.channel.reply(unique, result.as_deref().map_err(|errno| *errno))?,
                Heard::Silence => {}
                Heard::Ask(request, payload, due) => self.ledger.admit(Ticket { unique, due }, request, payload),
            }
        }
        Ok(())
    }

    /// The primary says nothing: whoever it is now, a new connection finds it.
    fn give_up(&mut self) {
        let silence = &mut self.silence;
        if matches!(self.link, Link::Up { .. }) {
            tracing::warn!("no answer for {} s; looking for the primary again", silence.patience.as_secs());
            self.ledger.broken();
            self.link.find_again(Duration::ZERO);
        }
        *silence = Silence { since: Instant::now(), patience: SILENCE_MAX.min(silence.patience * 2) };
    }

    /// Sends what may be sent and answers what was answered; whether there was an answer.
    fn exchange(&mut self) -> io::Result<bool> {
        let Link::Up { upstream, .. } = &mut self.link else { return Ok(false) };
        let mut answered = false;
        loop {
            match pass(upstream, &mut self.ledger) {
                Ok(Some(Answer { cookie, result })) => {
                    if let Some(ticket) = self.ledger.answered(cookie) {
                        reply(&self.channel, ticket, &result)?;
                    }
                    answered = true;
                }
                Ok(None) => return Ok(answered),
                Err(error) => {
                    tracing::info!("the connection broke: {error}");
                    self.ledger.broken();
                    self.link.find_again(PAUSE);
                    return Ok(false);
                }
            }
        }
    }
}

/// Sends what goes; an answer, if one has come.
fn pass(upstream: &mut Upstream, ledger: &mut Ledger<Ticket>) -> io::Result<Option<Answer>> {
    while let Some(sending) = ledger.send_next() {
        upstream.send(&sending);
    }
    upstream.write()?;
    let answer = upstream.read(ledger)?;
    match &answer {
        Some(Answer { result: Err(error), .. }) if !is_final(*error) => Err(io::Error::other(*error)),
        Some(_) | None => Ok(answer),
    }
}

fn reply(channel: &Channel, ticket: Ticket, result: &Result<Option<Pages>, Error>) -> io::Result<()> {
    let Ticket { unique, due } = ticket;
    match (result, due) {
        (Err(error), _) => channel.reply(unique, Err(errno(*error))),
        (Ok(Some(pages)), Due::Data(len_bytes)) => channel.reply(unique, Ok(&pages.bytes()[..len_bytes as usize])),
        (Ok(_), due) => channel.reply(unique, Ok(&acknowledgement(due))),
    }
}
