//! Waiting for what is no operation: the cluster works towards it as long as it is wanted.

use std::time::Duration;

use proto::v1::ExplainRequest;
use proto::v1::cluster_service_client::ClusterServiceClient;
use tokio::time::{Instant, sleep};

use super::{Client, ClientError};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// Something that is to come about.
#[derive(Clone, Copy, Debug)]
pub struct Aim<'a> {
    /// For people: `node n1 is emptied`.
    pub what: &'a str,
    /// What `plinth explain` calls it.
    pub kind: &'static str,
    /// Its name.
    pub name: &'a str,
}

impl Client {
    /// Looks again and again until it has come about, telling what is waited for meanwhile.
    ///
    /// # Errors
    /// [`ClientError::Unsettled`] when the time is over first.
    pub async fn settle<T>(
        &mut self,
        aim: Aim<'_>,
        mut look: impl AsyncFnMut(&mut Self) -> Result<Option<T>, ClientError>,
    ) -> Result<T, ClientError> {
        loop {
            if let Some(found) = look(self).await? {
                self.onlooker.clear();
                return Ok(found);
            }
            let sentences = self.explain(aim.kind, aim.name).await?.join(" ");
            if Instant::now() >= self.deadline {
                let what = aim.what.to_owned();
                return Err(ClientError::Unsettled { what, waited: self.timeout, sentences });
            }
            self.onlooker.say(&format!("{}: {sentences}", aim.what));
            sleep(LOOK_EVERY).await;
        }
    }

    /// What a thing is and what it waits for.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn explain(&mut self, kind: &str, name: &str) -> Result<Vec<String>, ClientError> {
        let request = ExplainRequest { kind: kind.to_owned(), name: name.to_owned() };
        let asked =
            self.call(request, async |channel, request| ClusterServiceClient::new(channel).explain(request).await);
        Ok(asked.await?.sentences)
    }
}
