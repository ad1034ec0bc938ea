//! The log: entries, the vote, and how far they were committed and purged. Every record is synced before the consensus
//! hears that it is kept, but for the mark of what is committed: that follows from the others' logs as well.

use std::fmt::Debug;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{
    AnyError, ErrorSubject, ErrorVerb, LogId, LogState, OptionalSend, RaftLogReader, StorageError, StorageIOError, Vote,
};

use super::database::{Column, Database, Durability, Scan, blocking};
use super::failure::{Damage, StoreError};
use crate::raft::{Entry, TypeConfig};
use crate::record::{self, Invalid};

pub(super) const VOTE: &[u8] = b"vote";
pub(super) const COMMITTED: &[u8] = b"committed";
pub(super) const PURGED: &[u8] = b"purged";

/// What is read of the log at a time, for a follower: at least one entry, and then until this much was read.
const READ_BYTES_MAX: usize = 1 << 20;

/// The log of one voter, and any number of readers of it.
#[derive(Clone)]
pub(crate) struct LogStore {
    database: Arc<Database>,
}

impl LogStore {
    pub(super) fn new(database: Arc<Database>) -> Self {
        Self { database }
    }

    async fn run<T: Send + 'static>(
        &self,
        subject: ErrorSubject<u64>,
        verb: ErrorVerb,
        work: impl FnOnce(&Database) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StorageError<u64>> {
        blocking(&self.database, work).await.map_err(|error| failed(subject, verb, &error))
    }

    async fn read_range(&self, start: u64, end: u64, bytes_max: usize) -> Result<Vec<Entry>, StorageError<u64>> {
        self.run(ErrorSubject::Logs, ErrorVerb::Read, move |database| read(database, start, end, bytes_max)).await
    }

    async fn read_mark<T: Send + 'static>(
        &self,
        key: &'static [u8],
        parse: fn(&[u8]) -> Result<T, Invalid>,
    ) -> Result<Option<T>, StorageError<u64>> {
        self.run(ErrorSubject::Store, ErrorVerb::Read, move |database| mark(database, key, parse)).await
    }
}

/// An error of ours as openraft's.
pub(super) fn failed(subject: ErrorSubject<u64>, verb: ErrorVerb, error: &StoreError) -> StorageError<u64> {
    StorageIOError::new(subject, verb, AnyError::new(error)).into()
}

/// A record of the column of single ones.
pub(super) fn mark<T>(
    database: &Database,
    key: &'static [u8],
    parse: fn(&[u8]) -> Result<T, Invalid>,
) -> Result<Option<T>, StoreError> {
    let Some(bytes) = database.get(Column::Meta, key)? else { return Ok(None) };
    let name = || String::from_utf8_lossy(key).into_owned();
    parse(&bytes).map(Some).map_err(|invalid| database.damaged(Damage::Record { record: name(), invalid }))
}

/// The entry in a record of the log.
pub(super) fn entry(database: &Database, key: &[u8], bytes: &[u8]) -> Result<Entry, StoreError> {
    let name = || format!("log {}", key.escape_ascii());
    record::read_entry(bytes).map_err(|invalid| database.damaged(Damage::Record { record: name(), invalid }))
}

fn read(database: &Database, start: u64, end: u64, bytes_max: usize) -> Result<Vec<Entry>, StoreError> {
    let mut entries = Vec::new();
    let mut read_bytes = 0;
    if start >= end {
        return Ok(entries);
    }
    database.scan(Column::Log, &start.to_be_bytes(), |key, bytes| {
        if key >= end.to_be_bytes().as_slice() || (read_bytes > 0 && read_bytes + bytes.len() > bytes_max) {
            return Ok(Scan::Enough);
        }
        read_bytes += bytes.len();
        entries.push(entry(database, key, bytes)?);
        Ok(Scan::Next)
    })?;
    Ok(entries)
}

fn log_state(database: &Database) -> Result<LogState<TypeConfig>, StoreError> {
    let last_purged_log_id = mark(database, PURGED, record::read_log_id)?;
    let last = database.last(Column::Log)?.map(|bytes| entry(database, b"last", &bytes)).transpose()?;
    let last_log_id = last.map(|entry| entry.log_id).or(last_purged_log_id);
    Ok(LogState { last_purged_log_id, last_log_id })
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, StorageError<u64>> {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(last) => last.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        self.read_range(start, end, usize::MAX).await
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, StorageError<u64>> {
        self.read_range(start, end, READ_BYTES_MAX).await
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, StorageError<u64>> {
        self.run(ErrorSubject::Logs, ErrorVerb::Read, log_state).await
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote<u64>) -> Result<(), StorageError<u64>> {
        let bytes = record::write_vote(vote);
        self.run(ErrorSubject::Vote, ErrorVerb::Write, move |database| {
            let mut batch = database.batch();
            batch.put(Column::Meta, VOTE, &bytes);
            batch.write(Durability::Synced)
        })
        .await
    }

    async fn read_vote(&mut self) -> Result<Option<Vote<u64>>, StorageError<u64>> {
        self.read_mark(VOTE, record::read_vote).await
    }

    async fn save_committed(&mut self, committed: Option<LogId<u64>>) -> Result<(), StorageError<u64>> {
        let Some(committed) = committed else { return Ok(()) };
        self.run(ErrorSubject::Store, ErrorVerb::Write, move |database| {
            let mut batch = database.batch();
            batch.put(Column::Meta, COMMITTED, &record::write_log_id(&committed));
            batch.write(Durability::Buffered)
        })
        .await
    }

    async fn read_committed(&mut self) -> Result<Option<LogId<u64>>, StorageError<u64>> {
        self.read_mark(COMMITTED, record::read_log_id).await
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<TypeConfig>) -> Result<(), StorageError<u64>>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let records: Vec<(u64, Vec<u8>)> =
            entries.into_iter().map(|entry| (entry.log_id.index, record::write_entry(&entry))).collect();
        self.run(ErrorSubject::Logs, ErrorVerb::Write, move |database| {
            let mut batch = database.batch();
            for (index, bytes) in &records {
                batch.put(Column::Log, &index.to_be_bytes(), bytes);
            }
            batch.write(Durability::Synced)
        })
        .await?;
        callback.log_io_completed(Ok(()));
        Ok(())
    }

    async fn truncate(&mut self, log_id: LogId<u64>) -> Result<(), StorageError<u64>> {
        self.run(ErrorSubject::Log(log_id), ErrorVerb::Delete, move |database| {
            let mut batch = database.batch();
            // Behind every key there can be.
            batch.remove_range(Column::Log, &log_id.index.to_be_bytes(), &[0xff; 9]);
            batch.write(Durability::Synced)
        })
        .await
    }

    async fn purge(&mut self, log_id: LogId<u64>) -> Result<(), StorageError<u64>> {
        self.run(ErrorSubject::Log(log_id), ErrorVerb::Delete, move |database| {
            let mut batch = database.batch();
            batch.remove_range(Column::Log, &[], &log_id.index.saturating_add(1).to_be_bytes());
            batch.put(Column::Meta, PURGED, &record::write_log_id(&log_id));
            batch.write(Durability::Synced)
        })
        .await
    }
}
