//! The cluster's state, in memory, made by the committed entries in their order. What is on disk of it is the last
//! snapshot; a restarted voter applies the entries behind that again.

use std::io::Cursor;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use cluster::{Revision, State};
use openraft::storage::RaftStateMachine;
use openraft::{
    EntryPayload, ErrorSubject, ErrorVerb, LogId, OptionalSend, RaftSnapshotBuilder, Snapshot, SnapshotMeta,
    StorageError, StoredMembership,
};
use tokio::sync::watch;

use super::database::{Database, blocking};
use super::failure::{Damage, StoreError};
use super::log::failed;
use super::snapshots;
use crate::raft::{Applied, Entry, TypeConfig, Voter};
use crate::record::{self, Invalid};

/// What consensus drives.
pub(crate) struct Machine {
    database: Arc<Database>,
    shared: Arc<Shared>,
}

/// The state, for those who look at it.
pub(crate) struct Shared {
    view: RwLock<View>,
    revision: watch::Sender<Revision>,
    /// Held while a snapshot is saved: one that was built and one that was received may come together.
    saving: Mutex<()>,
}

/// The state and how far it is.
#[derive(Clone, Default)]
struct View {
    /// Shared with whoever writes a snapshot of it; the next change makes a copy then.
    state: Arc<State>,
    last: Option<LogId<u64>>,
    membership: StoredMembership<u64, Voter>,
}

/// A state at rest, to be written as a snapshot.
pub(crate) struct Builder {
    database: Arc<Database>,
    shared: Arc<Shared>,
    view: View,
}

impl Shared {
    /// Shows the state. Nothing is applied meanwhile: it must be brief.
    pub(crate) fn read<R>(&self, look: impl FnOnce(&State) -> R) -> R {
        look(&self.view.read().expect("nobody panics while changing the state").state)
    }

    /// Raised after a change of the state can be seen.
    pub(crate) fn revisions(&self) -> watch::Receiver<Revision> {
        self.revision.subscribe()
    }

    fn view(&self) -> View {
        self.view.read().expect("nobody panics while changing the state").clone()
    }

    fn change<R>(&self, change: impl FnOnce(&mut View) -> R) -> R {
        let mut view = self.view.write().expect("nobody panics while changing the state");
        let result = change(&mut view);
        let revision = view.state.revision();
        drop(view);
        self.revision.send_if_modified(|seen| std::mem::replace(seen, revision) != revision);
        result
    }
}

impl View {
    fn apply(&mut self, entry: Entry) -> Applied {
        self.last = Some(entry.log_id);
        match entry.payload {
            EntryPayload::Blank => Applied::Nothing,
            EntryPayload::Normal(command) => Applied::Answered(Arc::make_mut(&mut self.state).apply(command)),
            EntryPayload::Membership(membership) => {
                self.membership = StoredMembership::new(Some(entry.log_id), membership);
                Applied::Nothing
            }
        }
    }

    fn meta(&self) -> SnapshotMeta<u64, Voter> {
        let snapshot_id = self.last.map_or_else(|| "empty".to_owned(), |last| last.to_string());
        SnapshotMeta { last_log_id: self.last, last_membership: self.membership.clone(), snapshot_id }
    }
}

impl Machine {
    /// The state as of the last snapshot.
    pub(super) fn open(database: Arc<Database>) -> Result<Self, StoreError> {
        let view = match snapshots::load(&database)? {
            Some((meta, bytes)) => {
                view(&meta, &bytes).map_err(|invalid| database.damaged(Damage::State(invalid.to_string())))?
            }
            None => View::default(),
        };
        let revision = watch::Sender::new(view.state.revision());
        let shared = Arc::new(Shared { view: RwLock::new(view), revision, saving: Mutex::new(()) });
        Ok(Self { database, shared })
    }

    /// The state, for those who look at it.
    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }
}

fn view(meta: &SnapshotMeta<u64, Voter>, bytes: &[u8]) -> Result<View, Invalid> {
    let state = record::read_state(bytes)?;
    Ok(View { state: Arc::new(state), last: meta.last_log_id, membership: meta.last_membership.clone() })
}

/// Keeps a snapshot, one at a time.
fn save(shared: &Shared, database: &Database, meta: &SnapshotMeta<u64, Voter>, bytes: &[u8]) -> Result<(), StoreError> {
    let _saving = shared.saving.lock().unwrap_or_else(PoisonError::into_inner);
    snapshots::save(database, meta, bytes)
}

fn snapshot(meta: SnapshotMeta<u64, Voter>, bytes: Vec<u8>) -> Snapshot<TypeConfig> {
    Snapshot { meta, snapshot: Box::new(Cursor::new(bytes)) }
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    async fn build_snapshot(&mut self) -> Result<Snapshot<TypeConfig>, StorageError<u64>> {
        let (shared, view) = (Arc::clone(&self.shared), std::mem::take(&mut self.view));
        let built = blocking(&self.database, move |database| {
            let meta = view.meta();
            let bytes = record::write_state(&view.state);
            drop(view);
            save(&shared, database, &meta, &bytes)?;
            Ok(snapshot(meta, bytes))
        });
        built.await.map_err(|error| failed(ErrorSubject::Snapshot(None), ErrorVerb::Write, &error))
    }
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId<u64>>, StoredMembership<u64, Voter>), StorageError<u64>> {
        let View { state: _, last, membership } = self.shared.view();
        Ok((last, membership))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Applied>, StorageError<u64>>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        Ok(self.shared.change(|view| entries.into_iter().map(|entry| view.apply(entry)).collect()))
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        let shared = self.shared();
        Builder { database: Arc::clone(&self.database), view: shared.view(), shared }
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Cursor<Vec<u8>>>, StorageError<u64>> {
        Ok(Box::default())
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta<u64, Voter>,
        snapshot: Box<Cursor<Vec<u8>>>,
    ) -> Result<(), StorageError<u64>> {
        let (shared, meta) = (self.shared(), meta.clone());
        let installed = blocking(&self.database, move |database| {
            let bytes = snapshot.into_inner();
            let received = view(&meta, &bytes).map_err(|invalid| StoreError::Received(invalid.to_string()))?;
            save(&shared, database, &meta, &bytes)?;
            shared.change(|view| *view = received);
            Ok(())
        });
        installed.await.map_err(|error| failed(ErrorSubject::Snapshot(None), ErrorVerb::Write, &error))
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<TypeConfig>>, StorageError<u64>> {
        let loaded = blocking(&self.database, snapshots::load).await;
        let whole = loaded.map_err(|error| failed(ErrorSubject::Snapshot(None), ErrorVerb::Read, &error))?;
        Ok(whole.map(|(meta, bytes)| snapshot(meta, bytes)))
    }
}
