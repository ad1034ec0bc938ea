//! Waiting until an operation has ended.

use std::time::Duration;

use proto::v1::operation::Kind;
use proto::v1::operation_service_client::OperationServiceClient;
use proto::v1::{Operation, WaitOperationRequest};
use tokio::time::Instant;

use super::{ANSWER_MAX, Client, ClientError};

/// How long a voter is asked to wait at a time, so that a person sees when what it waits for changes.
const WAIT_MAX: Duration = Duration::from_secs(2);
/// How much longer than the wait its answer may take.
const GRACE: Duration = Duration::from_secs(3);

impl Client {
    /// Waits until an operation has ended, telling what it waits for.
    ///
    /// # Errors
    /// [`ClientError::Unfinished`] when the time is over first, [`ClientError::Failed`] when it ended without what was asked
    /// for.
    pub async fn finish(&mut self, operation: Operation) -> Result<Operation, ClientError> {
        let mut operation = operation;
        while operation.ended_ms.is_none() {
            let left = self.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(self.unfinished(&operation));
            }
            self.onlooker.say(&format!("{}: {}", what_is_done(&operation), operation.waits_for));
            operation = match self.wait(operation.id, left.min(WAIT_MAX)).await {
                // It was there, and numbers are never used again: it has ended, and was forgotten since.
                Err(error) if error.is_not_found() => break,
                found => found?,
            };
        }
        self.onlooker.clear();
        if !operation.failed.is_empty() {
            let what = what_is_done(&operation);
            return Err(ClientError::Failed { id: operation.id, what, why: operation.failed });
        }
        Ok(operation)
    }

    /// An operation as it is after at most `wait`.
    async fn wait(&mut self, id: u64, wait: Duration) -> Result<Operation, ClientError> {
        let wait_ms = u32::try_from(wait.as_millis()).expect("it is short").max(1);
        let until = self.deadline + GRACE;
        self.call_until(until, ANSWER_MAX, WaitOperationRequest { id, wait_ms }, async |channel, request| {
            OperationServiceClient::new(channel).wait(request).await
        })
        .await
    }

    fn unfinished(&self, operation: &Operation) -> ClientError {
        let waits_for = match operation.waits_for.as_str() {
            "" => "it does not say what it waits for",
            waits_for => waits_for,
        };
        ClientError::Unfinished {
            id: operation.id,
            what: what_is_done(operation),
            waited: self.timeout,
            waits_for: waits_for.to_owned(),
        }
    }
}

/// What an operation does, in words.
pub fn what_is_done(operation: &Operation) -> String {
    let Operation { snapshot, volume, .. } = operation;
    match operation.kind() {
        Kind::Snapshot => format!("snapshot {snapshot} of volume {volume}"),
        Kind::DeleteSnapshot => format!("delete snapshot {snapshot} of volume {volume}"),
        Kind::Group => format!("group snapshot {snapshot}"),
        Kind::DeleteGroup => format!("delete group snapshot {snapshot}"),
        Kind::Create => format!("create volume {volume}"),
        Kind::Resize => format!("resize volume {volume}"),
        Kind::Delete => format!("delete volume {volume}"),
        Kind::Attach => format!("attach volume {volume}"),
        Kind::Retire => format!("retire volume {volume}"),
        Kind::Unspecified => format!("unknown volume {volume}"),
    }
}
