//! Whether a cluster may be founded: not when there is one already, of which the founder was a voter and lost its disk.
//!
//! A founder starts with an empty folder twice: on the first day, and after its disk was lost. Only the other voters can
//! tell which it is. All of them must say that they belong to no cluster: one that is away may be the only one left that
//! knows of it.

use std::time::Duration;

use cluster::ClusterId;
use tokio::time::{Instant, sleep};

use super::network::Network;
use super::start::StartError;

/// How long the others may take to come up.
const OTHERS_MAX: Duration = Duration::from_secs(300);
/// How long one may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(500);

/// Waits until all of the others have said that they belong to no cluster.
///
/// # Errors
/// [`StartError::Founded`] when one does, [`StartError::Unasked`] when one does not say.
pub(super) async fn check_new(network: &Network, others: &[String]) -> Result<(), StartError> {
    let deadline = Instant::now() + OTHERS_MAX;
    let mut left = others.to_vec();
    let mut told = false;
    loop {
        let mut silent = Vec::new();
        let mut reason = String::new();
        for address in left {
            match network.whoever(&address, ANSWER_MAX).await {
                Ok(hello) if hello.cluster.is_empty() => {}
                Ok(hello) => return Err(founded(address, &hello.cluster)),
                Err(failure) => {
                    reason = failure.to_string();
                    silent.push(address);
                }
            }
        }
        match silent.last() {
            None => return Ok(()),
            Some(last) if Instant::now() > deadline => {
                return Err(StartError::Unasked { address: last.clone(), reason });
            }
            Some(_) if told => {}
            Some(_) => {
                tracing::info!("no cluster is founded before {} said that there is none", silent.join(", "));
                told = true;
            }
        }
        left = silent;
        sleep(PAUSE).await;
    }
}

fn founded(address: String, cluster: &[u8]) -> StartError {
    let cluster = cluster.try_into().map(u128::from_be_bytes).map(ClusterId);
    let cluster = cluster.map_or_else(|_| "that makes no sense".to_owned(), |cluster| cluster.to_string());
    StartError::Founded { address, cluster }
}
