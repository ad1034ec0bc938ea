//! A volume that this process reads or writes itself, without a device: for copies.
//!
//! Promise: every request is answered once, as the volume's primary answered it; failovers are time that passes. Who waits
//! longer than it wants is told so.

use std::io;
use std::time::Duration;

use block::{Error, Pages, Request};
use nbd::Purpose;
use tokio::time::{Instant, timeout, timeout_at};

use crate::line::{Answer, Dialer, Directory, Identity, Ledger, Link, PAUSE, is_final};

/// How long the primary may be silent before it is looked for again.
const SILENCE: Duration = Duration::from_secs(10);

/// An open volume.
#[derive(Debug)]
pub struct Remote {
    link: Link,
    ledger: Ledger<u64>,
    asked: u64,
    patience: Duration,
    size_bytes: u64,
}

/// A request's end.
#[derive(Debug)]
pub struct Reply {
    /// Which: requests are numbered from 0 in the order in which they were asked.
    pub number: u64,
    /// The data of a read; whole pages, of which the last may be longer than what was asked for.
    pub data: Option<Pages>,
}

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
pub enum RemoteFault {
    /// Nobody serves the volume, or nobody answers.
    #[error("nobody answered for the volume within {} s; see plinth status, and try again", .0.as_secs())]
    Silent(Duration),
    /// The volume's word on a request.
    #[error("the volume refused a request: {0}")]
    Refused(#[from] Error),
}

impl Remote {
    /// Opens it as `NAME@TOKEN`. It waits so long for every answer.
    ///
    /// # Errors
    /// [`RemoteFault::Silent`].
    pub async fn open(
        export: String,
        identity: Identity,
        directory: Directory,
        patience: Duration,
    ) -> Result<Self, RemoteFault> {
        let mut dialer = Dialer::new(export, identity, directory);
        let found = timeout(patience, dialer.find(Purpose::Open)).await;
        let line = found.map_err(|_| RemoteFault::Silent(patience))?;
        let size_bytes = line.export.size_bytes;
        Ok(Self { link: Link::up(dialer, line), ledger: Ledger::default(), asked: 0, patience, size_bytes })
    }

    /// The volume's size.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Whether another request can be asked before one is answered.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.ledger.has_room()
    }

    /// Whether everything was answered.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.ledger.is_empty()
    }

    /// Asks; answers the request's number. `payload` is what is written.
    pub fn ask(&mut self, request: Request, payload: Vec<u8>) -> u64 {
        let number = self.asked;
        self.asked += 1;
        self.ledger.admit(number, request, payload);
        number
    }

    /// The next answer, in whatever order they come. There must be something to be answered.
    ///
    /// # Errors
    /// See [`RemoteFault`]. Nothing that was asked is answered then.
    pub async fn reply(&mut self) -> Result<Reply, RemoteFault> {
        let deadline = Instant::now() + self.patience;
        let mut silent_at = Instant::now() + SILENCE;
        loop {
            match self.exchange() {
                Ok(Some(Answer { cookie, result })) => {
                    if let Some(number) = self.ledger.answered(cookie) {
                        return Ok(Reply { number, data: result? });
                    }
                }
                Ok(None) => {
                    let until = deadline.min(silent_at);
                    if timeout_at(until, self.link.ready()).await.is_err() {
                        if until == deadline {
                            return Err(RemoteFault::Silent(self.patience));
                        }
                        self.look_again(&"no answer");
                        silent_at = Instant::now() + SILENCE;
                    }
                }
                Err(error) => self.look_again(&error),
            }
        }
    }

    /// Sends what may be sent, and takes one answer.
    fn exchange(&mut self) -> io::Result<Option<Answer>> {
        let Link::Up { upstream, .. } = &mut self.link else { return Ok(None) };
        while let Some(sending) = self.ledger.send_next() {
            upstream.send(&sending);
        }
        upstream.write()?;
        let answer = upstream.read(&self.ledger)?;
        match &answer {
            Some(Answer { result: Err(error), .. }) if !is_final(*error) => Err(io::Error::other(*error)),
            Some(_) | None => Ok(answer),
        }
    }

    fn look_again(&mut self, why: &dyn std::fmt::Display) {
        tracing::info!("looking for the volume again: {why}");
        self.ledger.broken();
        self.link.find_again(PAUSE);
    }
}
