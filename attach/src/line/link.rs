//! The connection to a volume's primary, and the search for the next one.

use std::time::Duration;

use nbd::Purpose;
use tokio::task::JoinHandle;

use super::dial::{Dialer, Line};
use super::upstream::Upstream;

/// Before the next attempt when a connection broke at once.
pub const PAUSE: Duration = Duration::from_millis(50);

/// The way to the primary.
#[derive(Debug)]
pub enum Link {
    /// It is being looked for.
    Finding(Finding),
    /// It is there.
    Up { upstream: Box<Upstream>, dialer: Dialer },
}

/// A search in a task of its own, which ends with this value.
#[derive(Debug)]
pub struct Finding(JoinHandle<(Dialer, Line)>);

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

impl Link {
    /// With a connection that was just opened.
    pub fn up(dialer: Dialer, line: Line) -> Self {
        tracing::info!(address = line.address, "connected");
        Self::Up { upstream: Box::new(Upstream::new(line.stream)), dialer }
    }

    /// Waits until something is to be done with it.
    pub async fn ready(&mut self) {
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
    pub fn find_again(&mut self, pause: Duration) {
        if let Self::Up { dialer, .. } = self {
            *self = Self::Finding(Finding::begin(dialer.clone(), pause));
        }
    }
}
