//! Why there is no answer.

use std::time::Duration;

use tonic::{Code, Status};

/// The metadata with a word for programs.
const WORD: &str = "plinth-error";

/// What the cluster refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// Of which kind.
    pub code: Code,
    /// For people.
    pub sentence: String,
    /// For programs, such as `volume-attached`; empty when there is none.
    pub word: String,
}

/// Why there is no answer, or not the one that was hoped for.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The cluster said no.
    #[error("{}", .0.sentence)]
    Refused(Refusal),
    /// Nobody answered.
    #[error(
        "the cluster did not answer within {} s ({why}); name its voters with --control or PLINTH_CONTROL, or start one \
         with `plinth dev`",
        waited.as_secs()
    )]
    Unreachable {
        /// For how long.
        waited: Duration,
        /// What the last one asked did instead.
        why: String,
    },
    /// It goes on, and nobody waits any more.
    #[error(
        "operation {id} ({what}) goes on after {} s: {waits_for}. `plinth operation wait {id}` waits longer, and \
         --timeout SECONDS from the beginning",
        waited.as_secs()
    )]
    Unfinished {
        /// Its number.
        id: u64,
        /// What is being done.
        what: String,
        /// For how long.
        waited: Duration,
        /// In the cluster's words.
        waits_for: String,
    },
    /// It goes on, and nobody waits any more.
    #[error(
        "{what}, and that goes on after {} s: {sentences} Give the command again to wait on, with --timeout SECONDS to \
         wait longer",
        waited.as_secs()
    )]
    Unsettled {
        /// What is being done.
        what: String,
        /// For how long.
        waited: Duration,
        /// What it waits for, in the cluster's words.
        sentences: String,
    },
    /// It ended, and what was asked for is not there.
    #[error("operation {id} ({what}) failed: {why}")]
    Failed {
        /// Its number.
        id: u64,
        /// What was being done.
        what: String,
        /// In the cluster's words.
        why: String,
    },
    /// An answer that this version does not understand.
    #[error("the cluster's answer {0}; use a `plinth` of the cluster's version")]
    Garbled(&'static str),
    /// The system has no random numbers.
    #[error("cannot draw a random number: {0}")]
    Random(#[from] getrandom::Error),
}

impl Refusal {
    /// What a status says.
    pub fn of(status: &Status) -> Self {
        let word = status.metadata().get(WORD).and_then(|word| word.to_str().ok()).unwrap_or_default();
        let sentence = match status.message() {
            "" => format!("the cluster refused: {}", status.code().description()),
            sentence => sentence.to_owned(),
        };
        Self { code: status.code(), sentence, word: word.to_owned() }
    }
}

impl ClientError {
    /// Whether there is no such thing.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.code == Code::NotFound)
    }
}

#[cfg(test)]
mod tests {
    use tonic::Status;

    use super::Refusal;

    #[test]
    fn a_refusal_has_a_sentence_and_a_word() {
        let mut status = Status::failed_precondition("volume \"db\" is attached");
        status.metadata_mut().insert("plinth-error", "volume-attached".parse().unwrap());
        let refusal = Refusal::of(&status);
        assert_eq!(
            (refusal.sentence.as_str(), refusal.word.as_str()),
            ("volume \"db\" is attached", "volume-attached")
        );
        assert!(Refusal::of(&Status::not_found("")).sentence.starts_with("the cluster refused: "));
    }
}
