//! How the program ends.

use std::process::ExitCode;

use client::{ClientError, Refusal};
use tonic::Code;

/// What a script learns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// It did not work out.
    Failed,
    /// The command makes no sense.
    Usage,
    /// There is no such thing.
    NotFound,
    /// It does not go together with what is there.
    Conflict,
}

/// The command makes no sense, and only its run showed it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

impl Exit {
    /// What an error that reached the end means.
    pub fn of(error: &anyhow::Error) -> Self {
        let of_client = error.downcast_ref::<ClientError>().map(Self::from);
        let of_usage = error.downcast_ref::<Usage>().map(|_| Self::Usage);
        of_client.or(of_usage).unwrap_or(Self::Failed)
    }
}

impl From<&ClientError> for Exit {
    fn from(error: &ClientError) -> Self {
        match error {
            ClientError::Refused(refusal) => of_refusal(refusal),
            ClientError::Unreachable { .. }
            | ClientError::Unfinished { .. }
            | ClientError::Failed { .. }
            | ClientError::Unsettled { .. }
            | ClientError::Garbled(_)
            | ClientError::Random(_) => Self::Failed,
        }
    }
}

fn of_refusal(refusal: &Refusal) -> Exit {
    match refusal.code {
        Code::NotFound => Exit::NotFound,
        Code::AlreadyExists | Code::FailedPrecondition | Code::Aborted => Exit::Conflict,
        Code::InvalidArgument | Code::OutOfRange => Exit::Usage,
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::Unimplemented
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss
        | Code::Unauthenticated => Exit::Failed,
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::NotFound => 3,
            Exit::Conflict => 4,
        })
    }
}

#[cfg(test)]
mod tests {
    use anyhow::{Context, anyhow};

    use super::{Exit, Usage};
    use client::{ClientError, Refusal};
    use tonic::{Code, Status};

    #[test]
    fn an_error_keeps_its_exit_code_whatever_is_said_around_it() {
        assert_eq!(Exit::of(&anyhow!("no")), Exit::Failed);
        assert_eq!(Exit::of(&Usage("no".to_owned()).into()), Exit::Usage);
        let error = Err::<(), _>(Usage("no".to_owned())).context("cannot").unwrap_err();
        assert_eq!(Exit::of(&error), Exit::Usage);
        assert_eq!(Exit::of(&ClientError::Garbled("lacks all").into()), Exit::Failed);
    }

    #[test]
    fn every_refusal_has_its_exit_code() {
        let rows = [
            (Code::NotFound, Exit::NotFound),
            (Code::AlreadyExists, Exit::Conflict),
            (Code::FailedPrecondition, Exit::Conflict),
            (Code::Aborted, Exit::Conflict),
            (Code::InvalidArgument, Exit::Usage),
            (Code::OutOfRange, Exit::Usage),
            (Code::ResourceExhausted, Exit::Failed),
            (Code::Internal, Exit::Failed),
            (Code::Unimplemented, Exit::Failed),
        ];
        for (code, exit) in rows {
            let error = ClientError::Refused(Refusal::of(&Status::new(code, "no")));
            assert_eq!(Exit::of(&error.into()), exit, "{code:?}");
        }
    }
}
