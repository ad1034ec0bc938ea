//! How the program ends.

use std::process::ExitCode;

use crate::client::ClientError;

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
        let of_client = error.downcast_ref::<ClientError>().map(ClientError::exit);
        let of_usage = error.downcast_ref::<Usage>().map(|_| Self::Usage);
        of_client.or(of_usage).unwrap_or(Self::Failed)
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
    use crate::client::ClientError;

    #[test]
    fn an_error_keeps_its_exit_code_whatever_is_said_around_it() {
        assert_eq!(Exit::of(&anyhow!("no")), Exit::Failed);
        assert_eq!(Exit::of(&Usage("no".to_owned()).into()), Exit::Usage);
        let error = Err::<(), _>(Usage("no".to_owned())).context("cannot").unwrap_err();
        assert_eq!(Exit::of(&error), Exit::Usage);
        assert_eq!(Exit::of(&ClientError::Garbled("lacks all").into()), Exit::Failed);
    }
}
