//! The last voter of a cluster takes over: the others, and with them the majority, are gone for good.
//!
//! Done while the voter is stopped. Two entries are added behind its log, in one synced write: from here on it is the only
//! voter, and the state was recovered ([`cluster::Change::Recover`]). Everything before them stays, also what it does not know
//! to be committed: that may have been answered, and a voter that was elected would keep it, too.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use cluster::{Change, ClusterId, Command, Time};
use openraft::{CommittedLeaderId, EntryPayload, LogId, Membership, Vote};

use super::database::{Column, Database, Durability, Scan};
use super::failure::StoreError;
use super::identity::Identity;
use super::log::{self, VOTE, mark};
use super::{check, snapshots};
use crate::raft::{Entry, Voter};
use crate::record;

/// The store of a stopped voter, and what it has.
pub struct LastVoter {
    database: Database,
    identity: Identity,
    last: LogId<u64>,
    members: Membership<u64, Voter>,
    at: Time,
}

/// What a voter has, for an operator who compares several.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LastVoterFacts {
    /// Its number.
    pub voter: u64,
    /// Its cluster.
    pub cluster: String,
    /// Number of the last entry of its log: of several voters that are left, the one with the highest term has most, and of
    /// those with the same term the one with the highest number.
    pub last_entry: u64,
    /// The term of that entry.
    pub last_term: u64,
    /// When the last command was given that it heard of, in milliseconds since 1970; 0 if that is not in its log any more.
    pub last_at_ms: u64,
    /// The voters, itself included, and where they were.
    pub voters: BTreeMap<u64, String>,
}

/// Why it does not take over. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum TakeoverError {
    /// It cannot be read, or not be written. In words.
    #[error("{0}")]
    Store(String),
    /// Nothing is there.
    #[error("{0} is not the data directory of a voter: name the one that the voter is started with")]
    NoStore(String),
    /// It was never part of a cluster.
    #[error("voter {0} is no voting member of a cluster, and has nothing to go on from: choose another one")]
    NoMember(u64),
    /// The operator's word is about others.
    #[error(
        "the other voters are {expected}, and {found} were given up: name exactly those that are gone for good. If one of \
         them has its disk, do not do this: start it"
    )]
    Others {
        /// What they are.
        expected: String,
        /// What was said.
        found: String,
    },
    /// There are no others.
    #[error("voter {0} is the only one already: just start it")]
    Alone(u64),
}

impl From<StoreError> for TakeoverError {
    fn from(error: StoreError) -> Self {
        Self::Store(error.to_string())
    }
}

impl LastVoter {
    /// Opens the store of a voter that is stopped, and checks all of it.
    ///
    /// # Errors
    /// In words, see [`TakeoverError`].
    pub fn open(folder: &Path) -> Result<Self, TakeoverError> {
        let no_store = || TakeoverError::NoStore(folder.display().to_string());
        if !Database::is_in(folder) {
            return Err(no_store());
        }
        let database = Database::open(folder)?;
        let identity = Identity::read(&database)?.ok_or_else(no_store)?;
        check::check(&database)?;
        let snapshot = snapshots::load(&database)?;
        let (mut members, mut last) = snapshot
            .map_or((None, None), |(meta, _)| (Some(meta.last_membership.membership().clone()), meta.last_log_id));
        let mut at = Time::default();
        database.scan(Column::Log, &[], |key, bytes| {
            let entry = log::entry(&database, key, bytes)?;
            last = last.max(Some(entry.log_id));
            match entry.payload {
                EntryPayload::Membership(found) => members = Some(found),
                EntryPayload::Normal(command) => at = at.max(command.at),
                EntryPayload::Blank => {}
            }
            Ok(Scan::Next)
        })?;
        let voter = identity.voter;
        let is_voter = |members: &Membership<u64, Voter>| members.voter_ids().any(|id| id == voter);
        match (members.filter(is_voter), last) {
            (Some(members), Some(last)) => Ok(Self { database, identity, last, members, at }),
            (None, _) | (_, None) => Err(TakeoverError::NoMember(voter)),
        }
    }

    /// What it has.
    #[must_use]
    pub fn facts(&self) -> LastVoterFacts {
        let address = |id| self.members.get_node(&id).map(|voter| voter.address.clone()).unwrap_or_default();
        LastVoterFacts {
            voter: self.identity.voter,
            cluster: self.identity.cluster.map(|cluster: ClusterId| cluster.to_string()).unwrap_or_default(),
            last_entry: self.last.index,
            last_term: self.last.leader_id.term,
            last_at_ms: self.at.0,
            voters: self.members.voter_ids().map(|id| (id, address(id))).collect(),
        }
    }

    /// Makes it the only voter. `gone` is the operator's word that these, all the others, are gone for good.
    ///
    /// # Errors
    /// When it names others, or there are none, or the device fails.
    pub fn take_over(self, gone: &BTreeSet<u64>, now_ms: u64) -> Result<(), TakeoverError> {
        let me = self.identity.voter;
        let others: BTreeSet<u64> = self.members.voter_ids().filter(|id| *id != me).collect();
        if others.is_empty() {
            return Err(TakeoverError::Alone(me));
        }
        if others != *gone {
            return Err(TakeoverError::Others { expected: in_words(&others), found: in_words(gone) });
        }
        let vote = mark(&self.database, VOTE, record::read_vote)?.map_or(0, |vote: Vote<u64>| vote.leader_id.term);
        let term = vote.max(self.last.leader_id.term) + 1;
        let voter = self.members.get_node(&me).cloned().ok_or(TakeoverError::NoMember(me))?;
        let members = Membership::new(vec![BTreeSet::from([me])], BTreeMap::from([(me, voter)]));
        let recover = Command { at: Time(now_ms).max(self.at), request: None, change: Change::Recover };
        let payloads = [EntryPayload::Membership(members), EntryPayload::Normal(recover)];
        let mut batch = self.database.batch();
        batch.put(Column::Meta, VOTE, &record::write_vote(&Vote::new(term, me)));
        for (index, payload) in (self.last.index + 1..).zip(payloads) {
            let entry = Entry { log_id: LogId::new(CommittedLeaderId::new(term, me), index), payload };
            batch.put(Column::Log, &index.to_be_bytes(), &record::write_entry(&entry));
        }
        batch.write(Durability::Synced)?;
        Ok(())
    }
}

fn in_words(voters: &BTreeSet<u64>) -> String {
    match voters.len() {
        0 => String::from("none"),
        _ => voters.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use cluster::{Change, ClusterId};
    use openraft::storage::RaftLogStorageExt;
    use openraft::testing::log_id;
    use openraft::{EntryPayload, Membership};

    use super::super::Store;
    use super::{LastVoter, TakeoverError};
    use crate::raft::{Entry, StoreId, Voter};

    /// Voter 2 of three, with two entries that were given in term 3.
    async fn stopped(folder: &std::path::Path) {
        let store = Store::open(folder, 2).unwrap();
        store.adopt(ClusterId(7)).await.unwrap();
        let voter = |id: u64| (id, Voter { address: format!("h{id}:1"), store: StoreId(id.into()) });
        let members = Membership::new(vec![BTreeSet::from([1, 2, 3])], BTreeMap::from([1, 2, 3].map(voter)));
        let command = super::Command { at: super::Time(99), request: None, change: Change::Tick };
        let entries = [EntryPayload::Membership(members), EntryPayload::Normal(command)];
        let entries =
            entries.into_iter().zip(0..).map(|(payload, index)| Entry { log_id: log_id(3, 1, index), payload });
        store.log().blocking_append(entries.collect::<Vec<_>>()).await.unwrap();
    }

    #[tokio::test]
    async fn it_takes_over_only_on_the_word_that_all_others_are_gone() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(LastVoter::open(folder.path()), Err(TakeoverError::NoStore(_))));
        assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none(), "nothing was made there");
        stopped(folder.path()).await;
        let last = LastVoter::open(folder.path()).unwrap();
        let facts = last.facts();
        assert_eq!((facts.voter, facts.last_entry, facts.last_term, facts.last_at_ms), (2, 1, 3, 99));
        assert_eq!(facts.voters[&3], "h3:1");
        drop(last);
        let take_over =
            |gone: &[u64]| LastVoter::open(folder.path()).unwrap().take_over(&gone.iter().copied().collect(), 5);
        for wrong in [&[][..], &[1], &[1, 2, 3], &[1, 4]] {
            assert!(matches!(take_over(wrong), Err(TakeoverError::Others { .. })), "{wrong:?}");
        }
        take_over(&[1, 3]).unwrap();
        assert!(matches!(take_over(&[1, 3]), Err(TakeoverError::Alone(2))), "once is enough");
        let facts = LastVoter::open(folder.path()).unwrap().facts();
        assert_eq!((facts.last_entry, facts.last_term, facts.last_at_ms), (3, 4, 99), "nothing it had is gone");
    }
}
