//! Every call is told of in the log, with what it is about: never with secrets, which no call of ours needs.

use std::time::Instant;

use tonic::{Code, Response, Status};

/// Answers, and tells of it.
pub(crate) async fn told<T>(
    call: &'static str,
    subject: &str,
    answer: impl Future<Output = Result<T, Status>>,
) -> Result<Response<T>, Status> {
    let begin = Instant::now();
    let answer = answer.await;
    let ms = begin.elapsed().as_millis();
    match &answer {
        Ok(_) => tracing::info!(call, subject, ms, "done"),
        Err(status) if is_ours(status.code()) => {
            tracing::warn!(call, subject, ms, code = ?status.code(), "{}", status.message());
        }
        Err(status) => tracing::info!(call, subject, ms, code = ?status.code(), "{}", status.message()),
    }
    answer.map(Response::new)
}

/// Whether somebody should look at the cluster rather than at the request.
fn is_ours(code: Code) -> bool {
    matches!(
        code,
        Code::Unavailable | Code::DeadlineExceeded | Code::Internal | Code::Unknown | Code::ResourceExhausted
    )
}
