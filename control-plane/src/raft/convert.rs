//! Voters' messages and openraft's types. Pure.

use std::time::Duration;

use openraft::error::{InstallSnapshotError, SnapshotMismatch};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse, VoteRequest,
    VoteResponse,
};
use openraft::{SnapshotSegmentId, Vote};
use proto::raft as wire;
use proto::raft::append_entries_response::Result as AppendResult;
use proto::raft::install_snapshot_response::Result as InstallResult;
use proto::raft::vote_response::Result as VoteResult;
use proto::record as kept;

use super::campaign::Opinion;
use super::config::TypeConfig;
use crate::record::{
    Fault, Invalid, encode_log_id, encode_meta, encode_vote, parse_log_id_if_any, parse_meta, parse_vote, read_entry,
    write_entry,
};

/// Why a message cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum Unusable {
    /// Something in it is not valid.
    #[error("the message is not valid: {0}")]
    Invalid(#[from] Invalid),
    /// It changed on its way.
    #[error("the message changed on its way: its checksum does not match")]
    Checksum,
    /// The other voter has stopped.
    #[error("the voter has stopped: {0}")]
    Failed(String),
}

fn missing(field: &'static str) -> Unusable {
    Unusable::Invalid(Invalid { field, fault: Fault::Missing })
}

fn vote(found: Option<kept::Vote>) -> Result<Vote<u64>, Unusable> {
    found.map(parse_vote).ok_or_else(|| missing("vote"))
}

fn checksum<'a>(parts: impl Iterator<Item = &'a [u8]>) -> u32 {
    parts.fold(0, crc32c::crc32c_append)
}

fn entries_checksum(entries: &[Vec<u8>]) -> u32 {
    checksum(entries.iter().map(Vec::as_slice))
}

pub(super) fn encode_append(
    envelope: wire::Envelope,
    request: &AppendEntriesRequest<TypeConfig>,
) -> wire::AppendEntriesRequest {
    let entries: Vec<Vec<u8>> = request.entries.iter().map(write_entry).collect();
    wire::AppendEntriesRequest {
        envelope: Some(envelope),
        vote: Some(encode_vote(&request.vote)),
        previous: request.prev_log_id.as_ref().map(encode_log_id),
        checksum: entries_checksum(&entries),
        entries,
        committed: request.leader_commit.as_ref().map(encode_log_id),
    }
}

pub(super) fn parse_append(found: &wire::AppendEntriesRequest) -> Result<AppendEntriesRequest<TypeConfig>, Unusable> {
    if entries_checksum(&found.entries) != found.checksum {
        return Err(Unusable::Checksum);
    }
    Ok(AppendEntriesRequest {
        vote: vote(found.vote)?,
        prev_log_id: parse_log_id_if_any(found.previous),
        entries: found.entries.iter().map(|entry| read_entry(entry)).collect::<Result<_, _>>()?,
        leader_commit: parse_log_id_if_any(found.committed),
    })
}

/// This voter never appends a part of what it was sent, and never says so.
pub(super) fn encode_appended(response: &AppendEntriesResponse<u64>) -> wire::AppendEntriesResponse {
    let result = match response {
        AppendEntriesResponse::Success => AppendResult::Appended(wire::Appended {}),
        AppendEntriesResponse::PartialSuccess(_) => AppendResult::Failed("it appended a part".to_owned()),
        AppendEntriesResponse::Conflict => AppendResult::Conflict(wire::Conflict {}),
        AppendEntriesResponse::HigherVote(vote) => AppendResult::HigherVote(encode_vote(vote)),
    };
    wire::AppendEntriesResponse { result: Some(result) }
}

pub(super) fn parse_appended(found: wire::AppendEntriesResponse) -> Result<AppendEntriesResponse<u64>, Unusable> {
    match found.result.ok_or_else(|| missing("result"))? {
        AppendResult::Appended(wire::Appended {}) => Ok(AppendEntriesResponse::Success),
        AppendResult::Conflict(wire::Conflict {}) => Ok(AppendEntriesResponse::Conflict),
        AppendResult::HigherVote(vote) => Ok(AppendEntriesResponse::HigherVote(parse_vote(vote))),
        AppendResult::Failed(reason) => Err(Unusable::Failed(reason)),
    }
}

pub(super) fn encode_vote_request(envelope: wire::Envelope, request: &VoteRequest<u64>) -> wire::VoteRequest {
    wire::VoteRequest {
        envelope: Some(envelope),
        vote: Some(encode_vote(&request.vote)),
        last: request.last_log_id.as_ref().map(encode_log_id),
    }
}

pub(super) fn parse_vote_request(found: &wire::VoteRequest) -> Result<VoteRequest<u64>, Unusable> {
    Ok(VoteRequest::new(vote(found.vote)?, parse_log_id_if_any(found.last)))
}

pub(super) fn encode_ballot(response: &VoteResponse<u64>) -> wire::VoteResponse {
    let ballot = wire::Ballot {
        vote: Some(encode_vote(&response.vote)),
        granted: response.vote_granted,
        last: response.last_log_id.as_ref().map(encode_log_id),
    };
    wire::VoteResponse { result: Some(VoteResult::Ballot(ballot)) }
}

pub(super) fn parse_ballot(found: wire::VoteResponse) -> Result<VoteResponse<u64>, Unusable> {
    match found.result.ok_or_else(|| missing("result"))? {
        VoteResult::Ballot(wire::Ballot { vote: found, granted, last }) => {
            Ok(VoteResponse::new(vote(found)?, parse_log_id_if_any(last), granted))
        }
        VoteResult::Failed(reason) => Err(Unusable::Failed(reason)),
    }
}

pub(super) fn encode_opinion(opinion: &Opinion) -> wire::CanvassResponse {
    let in_ms = |silence: Duration| u64::try_from(silence.as_millis()).unwrap_or(u64::MAX);
    wire::CanvassResponse { silence_ms: opinion.silence.map(in_ms), last: opinion.last.as_ref().map(encode_log_id) }
}

pub(super) fn parse_opinion(found: wire::CanvassResponse) -> Opinion {
    Opinion { silence: found.silence_ms.map(Duration::from_millis), last: parse_log_id_if_any(found.last) }
}

pub(super) fn encode_piece(
    envelope: wire::Envelope,
    request: InstallSnapshotRequest<TypeConfig>,
) -> wire::InstallSnapshotRequest {
    let InstallSnapshotRequest { vote, meta, offset, data, done } = request;
    wire::InstallSnapshotRequest {
        envelope: Some(envelope),
        vote: Some(encode_vote(&vote)),
        meta: Some(encode_meta(&meta)),
        offset,
        checksum: checksum(std::iter::once(data.as_slice())),
        piece: data,
        last: done,
    }
}

pub(super) fn parse_piece(found: wire::InstallSnapshotRequest) -> Result<InstallSnapshotRequest<TypeConfig>, Unusable> {
    if checksum(std::iter::once(found.piece.as_slice())) != found.checksum {
        return Err(Unusable::Checksum);
    }
    Ok(InstallSnapshotRequest {
        vote: vote(found.vote)?,
        meta: parse_meta(found.meta.ok_or_else(|| missing("meta"))?)?,
        offset: found.offset,
        data: found.piece,
        done: found.last,
    })
}

pub(super) fn encode_installed(response: &InstallSnapshotResponse<u64>) -> wire::InstallSnapshotResponse {
    wire::InstallSnapshotResponse { result: Some(InstallResult::Vote(encode_vote(&response.vote))) }
}

pub(super) fn encode_mismatch(error: InstallSnapshotError) -> wire::InstallSnapshotResponse {
    let InstallSnapshotError::SnapshotMismatch(SnapshotMismatch { expect, got: _ }) = error;
    let mismatch = wire::Mismatch { expected_id: expect.id, expected_offset: expect.offset };
    wire::InstallSnapshotResponse { result: Some(InstallResult::Mismatch(mismatch)) }
}

/// `sent` is what the answer is about.
pub(super) fn parse_installed(
    found: wire::InstallSnapshotResponse,
    sent: SnapshotSegmentId,
) -> Result<Result<InstallSnapshotResponse<u64>, InstallSnapshotError>, Unusable> {
    match found.result.ok_or_else(|| missing("result"))? {
        InstallResult::Vote(vote) => Ok(Ok(InstallSnapshotResponse { vote: parse_vote(vote) })),
        InstallResult::Mismatch(wire::Mismatch { expected_id, expected_offset }) => {
            let expect = SnapshotSegmentId { id: expected_id, offset: expected_offset };
            Ok(Err(InstallSnapshotError::SnapshotMismatch(SnapshotMismatch { expect, got: sent })))
        }
        InstallResult::Failed(reason) => Err(Unusable::Failed(reason)),
    }
}

#[cfg(test)]
mod tests {
    use cluster::{Change, Command, Time};
    use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, VoteRequest};
    use openraft::testing::log_id;
    use openraft::{EntryPayload, SnapshotMeta, SnapshotSegmentId, StoredMembership, Vote};
    use proto::raft as wire;

    use super::Unusable;
    use crate::raft::Entry;

    fn append() -> AppendEntriesRequest<super::TypeConfig> {
        let change = Change::Lose { node: "n1".parse().unwrap() };
        let command = Command { at: Time(5), request: None, change };
        AppendEntriesRequest {
            vote: Vote::new_committed(3, 1),
            prev_log_id: Some(log_id(2, 1, 6)),
            entries: vec![Entry { log_id: log_id(3, 1, 7), payload: EntryPayload::Normal(command) }],
            leader_commit: None,
        }
    }

    #[test]
    fn entries_arrive_as_they_were_sent_or_not_at_all() {
        let sent = super::encode_append(wire::Envelope::default(), &append());
        let found = super::parse_append(&sent).unwrap();
        assert_eq!((found.vote, found.prev_log_id, found.leader_commit), (append().vote, append().prev_log_id, None));
        assert_eq!(found.entries, append().entries);
        let mut rotten = sent.clone();
        rotten.entries[0][3] ^= 1;
        assert_eq!(super::parse_append(&rotten).unwrap_err(), Unusable::Checksum);
        let lost = wire::AppendEntriesRequest { vote: None, ..sent };
        assert!(super::parse_append(&lost).unwrap_err().to_string().contains("vote is missing"));
    }

    #[test]
    fn every_answer_to_entries_arrives() {
        let vote = Vote::new(9, 2);
        for answer in
            [AppendEntriesResponse::Success, AppendEntriesResponse::Conflict, AppendEntriesResponse::HigherVote(vote)]
        {
            let expected = format!("{answer:?}");
            let found = super::parse_appended(super::encode_appended(&answer)).unwrap();
            assert_eq!(format!("{found:?}"), expected);
        }
    }

    #[test]
    fn votes_arrive() {
        let request = VoteRequest::new(Vote::new(4, 2), Some(log_id(3, 1, 7)));
        let sent = super::encode_vote_request(wire::Envelope::default(), &request);
        assert_eq!(super::parse_vote_request(&sent).unwrap(), request);
    }

    #[test]
    fn a_piece_of_a_snapshot_arrives_as_it_was_sent_or_not_at_all() {
        let meta = SnapshotMeta {
            last_log_id: Some(log_id(3, 1, 7)),
            last_membership: StoredMembership::default(),
            snapshot_id: "s".to_owned(),
        };
        let piece =
            InstallSnapshotRequest { vote: Vote::new_committed(3, 1), meta, offset: 5, data: vec![1, 2], done: true };
        let sent = super::encode_piece(wire::Envelope::default(), piece.clone());
        assert_eq!(super::parse_piece(sent.clone()).unwrap(), piece);
        let rotten = wire::InstallSnapshotRequest { piece: vec![1, 3], ..sent };
        assert_eq!(super::parse_piece(rotten).unwrap_err(), Unusable::Checksum);
        let mismatch = openraft::error::SnapshotMismatch {
            expect: SnapshotSegmentId { id: "s".to_owned(), offset: 0 },
            got: SnapshotSegmentId { id: "s".to_owned(), offset: 5 },
        };
        let answer = super::encode_mismatch(mismatch.clone().into());
        let found = super::parse_installed(answer, mismatch.got.clone()).unwrap();
        assert_eq!(found.unwrap_err(), openraft::error::InstallSnapshotError::SnapshotMismatch(mismatch));
    }
}
