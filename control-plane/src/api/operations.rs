//! What takes time.

use std::time::Duration;

use cluster::OperationId;
use proto::v1;
use proto::v1::operation_service_server::OperationService;
use tokio::time::{Instant, timeout_at};
use tonic::{Request, Response, Status};

use super::fault::{invalid, not_found};
use super::{Desk, view};

/// How long one call may wait.
const WAIT_DEFAULT_MS: u32 = 30_000;
const WAIT_MAX_MS: u32 = 60_000;

#[tonic::async_trait]
impl OperationService for Desk {
    async fn get(&self, request: Request<v1::GetOperationRequest>) -> Result<Response<v1::Operation>, Status> {
        let id = OperationId(request.into_inner().id);
        let found = self.look(|state| view::operation(state, id)).await?;
        found.map(Response::new).ok_or_else(|| unknown(id))
    }

    async fn wait(&self, request: Request<v1::WaitOperationRequest>) -> Result<Response<v1::Operation>, Status> {
        let v1::WaitOperationRequest { id, wait_ms } = request.into_inner();
        let wait = wait_of(wait_ms, WAIT_DEFAULT_MS)?;
        self.await_operation(OperationId(id), wait).await.map(Response::new)
    }

    async fn list(
        &self,
        request: Request<v1::ListOperationsRequest>,
    ) -> Result<Response<v1::ListOperationsReply>, Status> {
        let running = request.into_inner().running;
        let operations = self.look(|state| {
            let mut ids: Vec<OperationId> = match running {
                true => state.running_operations().collect(),
                false => state.operations().map(|(id, _)| id).collect(),
            };
            ids.sort_unstable();
            ids.into_iter().filter_map(|id| view::operation(state, id)).collect()
        });
        Ok(Response::new(v1::ListOperationsReply { operations: operations.await? }))
    }
}

/// How long an answer may wait.
pub(super) fn wait_of(asked_ms: u32, default_ms: u32) -> Result<Duration, Status> {
    if asked_ms > WAIT_MAX_MS {
        return Err(invalid("wait_ms", format!("{asked_ms}; at most {WAIT_MAX_MS} can be")));
    }
    let wait_ms = if asked_ms == 0 { default_ms } else { asked_ms };
    Ok(Duration::from_millis(wait_ms.into()))
}

impl Desk {
    /// An operation when it has ended, or as it is after this time.
    pub(super) async fn await_operation(&self, id: OperationId, wait: Duration) -> Result<v1::Operation, Status> {
        let until = Instant::now() + wait;
        let mut revisions = self.consensus.revisions();
        loop {
            revisions.mark_unchanged();
            let operation = self.look(|state| view::operation(state, id)).await?.ok_or_else(|| unknown(id))?;
            if operation.ended_ms.is_some() {
                return Ok(operation);
            }
            match timeout_at(until, revisions.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return Ok(operation),
            }
        }
    }
}

fn unknown(id: OperationId) -> Status {
    not_found(
        "no-such-operation",
        format!("there is no operation {}; of those that ended the last thousand are known", id.0),
    )
}
