//! The database of one voter: RocksDB, kept small, with a frame around every record and a witness beside it.
//!
//! Writes are made one at a time. One that is promised to somebody is synced before it is answered.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rocksdb::{
    ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType, DBRecoveryMode, Direction, ErrorKind, IteratorMode,
    LogLevel, Options, WriteBatch, WriteOptions,
};

use super::failure::{Damage, StoreError};
use super::frame::{self, Place};
use super::witness::{Testimony, Witness};

const MIB: usize = 1 << 20;

/// Folder of RocksDB below the voter's folder.
const DATABASE: &str = "store";
/// File beside it.
const WITNESS: &str = "witness";

/// A group of records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Column {
    /// Single records: whose store it is, vote, committed, purged, the current snapshot.
    Meta,
    /// Entries by their index.
    Log,
    /// Pieces of snapshots by generation and number.
    Snapshot,
}

/// Whether a write must be on the device before it is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Durability {
    /// Somebody is promised that it is kept.
    Synced,
    /// It may be lost in a power cut. A later synced write makes it durable as well.
    Buffered,
}

/// An open database.
pub(crate) struct Database {
    rocks: DB,
    folder: PathBuf,
    /// Held while writing.
    witness: Mutex<Witness>,
}

/// Changes that happen together or not at all.
pub(crate) struct Batch<'a> {
    database: &'a Database,
    changes: WriteBatch,
}

impl Column {
    const ALL: [Self; 3] = [Self::Meta, Self::Log, Self::Snapshot];

    fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Log => "log",
            Self::Snapshot => "snapshot",
        }
    }
}

impl Database {
    /// Opens the database in a voter's folder, or makes it.
    pub(crate) fn open(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join(DATABASE);
        let device = |verb| move |error: io::Error| device(folder, verb, &error);
        std::fs::create_dir_all(&path).map_err(device("made"))?;
        let is_new = !path.join("CURRENT").exists();
        let witness = Witness::open(&folder.join(WITNESS)).map_err(device("read"))?;
        if is_new && witness.is_some() {
            let flaw = Damage::Witness("is there, and the database is not");
            return Err(StoreError::Damaged { folder: folder.to_owned(), flaw });
        }
        if !is_new {
            check_columns(folder, &path)?;
        }
        let columns = Column::ALL.map(|column| ColumnFamilyDescriptor::new(column.name(), column_options()));
        let rocks =
            DB::open_cf_descriptors(&options(is_new), &path, columns).map_err(|error| open_failure(folder, &error))?;
        let witness = match witness {
            Some((witness, testimony)) => checked(folder, &rocks, witness, testimony)?,
            None => first_witness(folder, &rocks)?,
        };
        Ok(Self { rocks, folder: folder.to_owned(), witness: Mutex::new(witness) })
    }

    /// Whether there is one in a voter's folder.
    pub(crate) fn is_in(folder: &Path) -> bool {
        folder.join(DATABASE).join("CURRENT").exists()
    }

    /// The voter's folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// One record.
    pub(crate) fn get(&self, column: Column, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let found = self.rocks.get_pinned_cf(self.handle(column), key).map_err(|error| self.failure("read", &error))?;
        found.map(|bytes| self.unframed(column, key, &bytes).map(<[u8]>::to_vec)).transpose()
    }

    /// Shows all records of a column from `from` on, in the order of their keys, until `visit` says that it is enough.
    pub(crate) fn scan(
        &self,
        column: Column,
        from: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<Scan, StoreError>,
    ) -> Result<(), StoreError> {
        for item in self.rocks.iterator_cf(self.handle(column), IteratorMode::From(from, Direction::Forward)) {
            let (key, bytes) = item.map_err(|error| self.failure("read", &error))?;
            match visit(&key, self.unframed(column, &key, &bytes)?)? {
                Scan::Next => {}
                Scan::Enough => break,
            }
        }
        Ok(())
    }

    /// The last record of a column.
    pub(crate) fn last(&self, column: Column) -> Result<Option<Vec<u8>>, StoreError> {
        let mut all = self.rocks.iterator_cf(self.handle(column), IteratorMode::End);
        let Some(item) = all.next() else { return Ok(None) };
        let (key, bytes) = item.map_err(|error| self.failure("read", &error))?;
        Ok(Some(self.unframed(column, &key, &bytes)?.to_vec()))
    }

    /// An empty batch.
    pub(crate) fn batch(&self) -> Batch<'_> {
        Batch { database: self, changes: WriteBatch::default() }
    }

    fn write(&self, changes: WriteBatch, durability: Durability) -> Result<(), StoreError> {
        let mut options = WriteOptions::default();
        options.set_sync(durability == Durability::Synced);
        let mut witness = self.witness.lock().expect("nobody panics while writing");
        self.rocks.write_opt(changes, &options).map_err(|error| self.failure("written", &error))?;
        match durability {
            Durability::Synced => {
                let sequence = self.rocks.latest_sequence_number();
                witness.note(sequence).map_err(|error| device(&self.folder, "written", &error))
            }
            Durability::Buffered => Ok(()),
        }
    }

    fn handle(&self, column: Column) -> &ColumnFamily {
        self.rocks.cf_handle(column.name()).expect("the database was opened with all its columns")
    }

    fn unframed<'a>(&self, column: Column, key: &[u8], bytes: &'a [u8]) -> Result<&'a [u8], StoreError> {
        frame::open(Place { column: column.name(), key }, bytes)
            .map_err(|flaw| self.damaged(Damage::Frame { record: describe(column, key), flaw }))
    }

    /// The store lost something.
    pub(crate) fn damaged(&self, flaw: Damage) -> StoreError {
        StoreError::Damaged { folder: self.folder.clone(), flaw }
    }

    fn failure(&self, verb: &'static str, error: &rocksdb::Error) -> StoreError {
        failure(&self.folder, verb, error)
    }
}

/// Whether a scan goes on.
pub(crate) enum Scan {
    /// With the next record.
    Next,
    /// Not.
    Enough,
}

impl Batch<'_> {
    /// Puts a record, in the place of an older one.
    pub(crate) fn put(&mut self, column: Column, key: &[u8], record: &[u8]) {
        let framed = frame::seal(Place { column: column.name(), key }, record);
        self.changes.put_cf(self.database.handle(column), key, framed);
    }

    /// Removes the records from `from` on, up to `to`, which stays.
    pub(crate) fn remove_range(&mut self, column: Column, from: &[u8], to: &[u8]) {
        self.changes.delete_range_cf(self.database.handle(column), from, to);
    }

    /// Makes the changes.
    pub(crate) fn write(self, durability: Durability) -> Result<(), StoreError> {
        self.database.write(self.changes, durability)
    }
}

/// Does blocking work on the database beside the threads that must not wait.
pub(crate) async fn blocking<T: Send + 'static>(
    database: &Arc<Database>,
    work: impl FnOnce(&Database) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let shared = Arc::clone(database);
    match tokio::task::spawn_blocking(move || work(&shared)).await {
        Ok(result) => result,
        Err(gone) if gone.is_panic() => std::panic::resume_unwind(gone.into_panic()),
        Err(gone) => {
            let folder = database.folder.clone();
            Err(StoreError::Device { folder, verb: "used", reason: gone.to_string() })
        }
    }
}

fn check_columns(folder: &Path, path: &Path) -> Result<(), StoreError> {
    let found = DB::list_cf(&Options::default(), path).map_err(|error| open_failure(folder, &error))?;
    let expected = ["default"].into_iter().chain(Column::ALL.map(Column::name));
    if found.iter().map(String::as_str).eq(expected) {
        return Ok(());
    }
    let reason = format!("its database has the columns {}", found.join(", "));
    Err(StoreError::Foreign { folder: folder.to_owned(), reason })
}

fn checked(folder: &Path, rocks: &DB, witness: Witness, testimony: Testimony) -> Result<Witness, StoreError> {
    let found = rocks.latest_sequence_number();
    let flaw = match testimony {
        Testimony::Noted(noted) if noted <= found => return Ok(witness),
        Testimony::Noted(noted) => Damage::Behind { noted, found },
        Testimony::Invalid => Damage::Witness("is not whole"),
    };
    Err(StoreError::Damaged { folder: folder.to_owned(), flaw })
}

/// The witness is the last thing that is made of a new store: without one, the store is empty.
fn first_witness(folder: &Path, rocks: &DB) -> Result<Witness, StoreError> {
    let sequence = rocks.latest_sequence_number();
    if sequence > 0 {
        let flaw = Damage::Witness("is missing");
        return Err(StoreError::Damaged { folder: folder.to_owned(), flaw });
    }
    Witness::create(&folder.join(WITNESS), sequence).map_err(|error| device(folder, "made", &error))
}

/// What a voter writes in a day fits into a few MiB: small buffers, few threads, few files.
fn options(is_new: bool) -> Options {
    let mut options = Options::default();
    options.create_if_missing(is_new);
    options.create_missing_column_families(is_new);
    options.set_paranoid_checks(true);
    // What was never answered may be torn off the end by a crash; anything else is refused. The witness tells whether
    // more than that is missing.
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_max_background_jobs(2);
    options.set_db_write_buffer_size(16 * MIB);
    options.set_max_total_wal_size(32 * MIB as u64);
    options.set_max_open_files(64);
    options.set_log_level(LogLevel::Warn);
    options.set_max_log_file_size(MIB);
    options.set_keep_log_file_num(3);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    options
}

fn column_options() -> Options {
    let mut options = Options::default();
    options.set_write_buffer_size(4 * MIB);
    options.set_max_write_buffer_number(2);
    options.set_target_file_size_base(8 * MIB as u64);
    options.set_compression_type(DBCompressionType::None);
    options
}

fn describe(column: Column, key: &[u8]) -> String {
    match (column, <[u8; 8]>::try_from(key)) {
        (Column::Log, Ok(index)) => format!("log {}", u64::from_be_bytes(index)),
        (Column::Meta | Column::Log | Column::Snapshot, _) => format!("{} {}", column.name(), key.escape_ascii()),
    }
}

fn open_failure(folder: &Path, error: &rocksdb::Error) -> StoreError {
    if error.kind() == ErrorKind::IOError && error.to_string().contains("/LOCK:") {
        return StoreError::InUse(folder.to_owned());
    }
    failure(folder, "opened", error)
}

fn failure(folder: &Path, verb: &'static str, error: &rocksdb::Error) -> StoreError {
    let folder = folder.to_owned();
    if error.kind() == ErrorKind::Corruption {
        return StoreError::Damaged { folder, flaw: Damage::Database(error.to_string()) };
    }
    StoreError::Device { folder, verb, reason: error.to_string() }
}

fn device(folder: &Path, verb: &'static str, error: &io::Error) -> StoreError {
    StoreError::Device { folder: folder.to_owned(), verb, reason: error.to_string() }
}
