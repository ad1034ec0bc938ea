//! What is answered when the cluster did not do it.

use client::ClientError;
use tonic::{Code, Status};

/// As Kubernetes' sidecars read it: what may be tried again, and what is final.
pub(crate) fn of_client(error: &ClientError) -> Status {
    let code = match error {
        ClientError::Refused(refusal) => refusal.code,
        ClientError::Unreachable { .. } => Code::Unavailable,
        // It goes on: whoever asks again finds it.
        ClientError::Unfinished { .. } | ClientError::Unsettled { .. } => Code::DeadlineExceeded,
        ClientError::Failed { .. } => Code::Aborted,
        ClientError::Garbled(_) | ClientError::Random(_) => Code::Internal,
    };
    Status::new(code, error.to_string())
}
