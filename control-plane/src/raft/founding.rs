//! Whether a cluster may be founded: not when there is one already, of which the founder was a voter and lost its disk.
//!
//! A founder starts with an empty folder twice: on the first day, and after its disk was lost. Only the other voters can
//! tell which it is. All of them must say that they belong to no cluster: one that is away may be the only one left that
//! knows of it. If one does, the founder waits to be added as any other voter does: under a new number it will be, and under
//! that of the voter whose disk is lost nobody listens to it.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::network::Network;
use super::start::StartError;

/// How long the others may take to come up.
const OTHERS_MAX: Duration = Duration::from_secs(300);
/// How long one may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(500);

/// Waits until all of the others have said that they belong to no cluster, or one that it does: whether there is none.
///
/// # Errors
/// [`StartError::Unasked`] when one does not say.
pub(super) async fn is_new(network: &Network, others: &[String]) -> Result<bool, StartError> {
    let deadline = Instant::now() + OTHERS_MAX;
    let mut left = others.to_vec();
    let mut told = false;
    loop {
        let mut silent = Vec::new();
        let mut reason = String::new();
        for address in left {
            match network.whoever(&address, ANSWER_MAX).await {
                Ok(hello) if hello.cluster.is_empty() => {}
                Ok(hello) => {
                    let voter = hello.voter;
                    tracing::warn!(
                        "no cluster is founded: voter {voter} at {address} belongs to one. This voter waits to be added to it; \
                         if it was part of it and has lost its disk, it is to be replaced under a new number"
                    );
                    return Ok(false);
                }
                Err(failure) => {
                    reason = failure.to_string();
                    silent.push(address);
                }
            }
        }
        match silent.last() {
            None => return Ok(true),
            Some(last) if Instant::now() > deadline => {
                return Err(StartError::Unasked { address: last.clone(), reason });
            }
            Some(_) if told => {}
            Some(_) => {
                tracing::warn!("this voter founds no cluster before {} said that there is none", silent.join(", "));
                told = true;
            }
        }
        left = silent;
        sleep(PAUSE).await;
    }
}
