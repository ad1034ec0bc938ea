//! Entries of the log, votes, memberships.

use std::collections::{BTreeMap, BTreeSet};

use openraft::{CommittedLeaderId, EntryPayload, LogId, Membership, StoredMembership, Vote};
use prost::Message;
use proto::record as wire;
use proto::record::entry::Payload;

use super::invalid::{Fault, Invalid, bytes_of, number, required};
use super::{command, decode};
use crate::raft::{Entry, StoreId, Voter};

pub(crate) fn read_entry(bytes: &[u8]) -> Result<Entry, Invalid> {
    let found: wire::Entry = decode(bytes, "entry")?;
    let payload = match required(found.payload, "entry.payload")? {
        Payload::Blank(wire::Blank {}) => EntryPayload::Blank,
        Payload::Command(command) => EntryPayload::Normal(command::parse(command)?),
        Payload::Membership(membership) => EntryPayload::Membership(parse_membership(membership)?),
    };
    Ok(Entry { log_id: parse_log_id(required(found.id, "entry.id")?), payload })
}

pub(crate) fn write_entry(entry: &Entry) -> Vec<u8> {
    let payload = match &entry.payload {
        EntryPayload::Blank => Payload::Blank(wire::Blank {}),
        EntryPayload::Normal(command) => Payload::Command(command::encode(command)),
        EntryPayload::Membership(membership) => Payload::Membership(encode_membership(membership)),
    };
    wire::Entry { id: Some(encode_log_id(&entry.log_id)), payload: Some(payload) }.encode_to_vec()
}

pub(crate) fn read_log_id(bytes: &[u8]) -> Result<LogId<u64>, Invalid> {
    decode(bytes, "log id").map(parse_log_id)
}

pub(crate) fn write_log_id(id: &LogId<u64>) -> Vec<u8> {
    encode_log_id(id).encode_to_vec()
}

pub(crate) fn read_vote(bytes: &[u8]) -> Result<Vote<u64>, Invalid> {
    decode(bytes, "vote").map(parse_vote)
}

pub(crate) fn write_vote(vote: &Vote<u64>) -> Vec<u8> {
    encode_vote(vote).encode_to_vec()
}

fn parse_log_id(found: wire::LogId) -> LogId<u64> {
    LogId::new(CommittedLeaderId::new(found.term, found.leader), found.index)
}

pub(crate) fn parse_log_id_if_any(found: Option<wire::LogId>) -> Option<LogId<u64>> {
    found.map(parse_log_id)
}

pub(crate) fn encode_log_id(id: &LogId<u64>) -> wire::LogId {
    wire::LogId { term: id.leader_id.term, leader: id.leader_id.node_id, index: id.index }
}

pub(crate) fn parse_vote(found: wire::Vote) -> Vote<u64> {
    let wire::Vote { term, candidate, committed } = found;
    if committed { Vote::new_committed(term, candidate) } else { Vote::new(term, candidate) }
}

pub(crate) fn encode_vote(vote: &Vote<u64>) -> wire::Vote {
    wire::Vote { term: vote.leader_id.term, candidate: vote.leader_id.node_id, committed: vote.committed }
}

fn parse_membership(found: wire::Membership) -> Result<Membership<u64, Voter>, Invalid> {
    let mut members = BTreeMap::new();
    for wire::Member { id, address, store } in found.members {
        let voter = Voter { address, store: StoreId(number(&store, "member.store")?) };
        if members.insert(id, voter).is_some() {
            return Err(Invalid::new("membership.members", Fault::Twice(id.to_string())));
        }
    }
    let configurations: Vec<BTreeSet<u64>> =
        found.configurations.into_iter().map(|set| set.voters.into_iter().collect()).collect();
    if let Some(unknown) = configurations.iter().flatten().find(|id| !members.contains_key(id)) {
        return Err(Invalid::value("membership.configurations", format!("voter {unknown} is no member")));
    }
    Ok(Membership::new(configurations, members))
}

fn encode_membership(membership: &Membership<u64, Voter>) -> wire::Membership {
    let set = |voters: &BTreeSet<u64>| wire::VoterSet { voters: voters.iter().copied().collect() };
    let member = |(id, voter): (&u64, &Voter)| wire::Member {
        id: *id,
        address: voter.address.clone(),
        store: bytes_of(voter.store.0),
    };
    wire::Membership {
        configurations: membership.get_joint_config().iter().map(set).collect(),
        members: membership.nodes().map(member).collect(),
    }
}

pub(super) fn parse_stored(found: wire::StoredMembership) -> Result<StoredMembership<u64, Voter>, Invalid> {
    let membership = parse_membership(required(found.membership, "stored_membership.membership")?)?;
    Ok(StoredMembership::new(parse_log_id_if_any(found.at), membership))
}

pub(super) fn encode_stored(stored: &StoredMembership<u64, Voter>) -> wire::StoredMembership {
    wire::StoredMembership {
        at: stored.log_id().as_ref().map(encode_log_id),
        membership: Some(encode_membership(stored.membership())),
    }
}
