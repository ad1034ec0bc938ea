//! Who may talk to whom: every message says which cluster it is of, from whom to whom, and which store the receiver votes
//! with. A voter answers only what is meant for it.

use std::sync::OnceLock;

use cluster::ClusterId;
use proto::raft::Envelope;
use tokio::sync::Mutex;

use super::config::StoreId;
use crate::store::{Identity, Store, StoreError};

/// Version of the voters' protocol.
const VERSION: u32 = 1;

/// No voter's number: who listens at an address is asked for.
pub(super) const WHOEVER: u64 = 0;

/// Who this voter is, and whom it listens to.
pub(super) struct Door {
    pub voter: u64,
    pub store_id: StoreId,
    /// None until it belongs to one. Set when it is on disk.
    cluster: OnceLock<ClusterId>,
    /// Held while it comes to belong to one.
    store: Mutex<Store>,
}

/// Why a message is not listened to.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum Stranger {
    /// It has no envelope, or one that makes no sense.
    #[error("the message says not, or not rightly, from whom to whom it is")]
    Envelope,
    /// Another protocol.
    #[error("the message is of version {0} of the voters' protocol, and this voter speaks version {VERSION}")]
    Version(u32),
    /// Another cluster.
    #[error("this is a voter of cluster {ours}, and the message is of cluster {theirs}: an address is wrong")]
    Cluster {
        /// Its own.
        ours: ClusterId,
        /// The sender's.
        theirs: ClusterId,
    },
    /// Meant for another voter.
    #[error("this is voter {ours}, and the message is for voter {theirs}: an address is wrong")]
    Voter {
        /// Its own.
        ours: u64,
        /// The one that is meant.
        theirs: u64,
    },
    /// Meant for a voter that had another disk.
    #[error(
        "voter {voter} does not have the store that it voted with: a voter that lost its disk is replaced, not \
         resurrected. Remove voter {voter} from the cluster and add a new one with a new id"
    )]
    Store {
        /// Which.
        voter: u64,
    },
}

impl Door {
    pub fn new(store: Store) -> Self {
        let Identity { voter, store: store_id, cluster } = store.identity;
        let cluster = cluster.map_or_else(OnceLock::new, OnceLock::from);
        Self { voter, store_id, cluster, store: Mutex::new(store) }
    }

    /// The cluster it belongs to.
    pub fn cluster(&self) -> Option<ClusterId> {
        self.cluster.get().copied()
    }

    /// It belongs to this cluster from now on, if it belonged to none.
    pub async fn adopt(&self, cluster: ClusterId) -> Result<(), StoreError> {
        let store = self.store.lock().await;
        if self.cluster.get().is_none() {
            store.adopt(cluster).await?;
            // Under the lock, and it was empty.
            let _set = self.cluster.set(cluster);
        }
        Ok(())
    }

    /// The envelope of a message to another voter.
    pub fn envelope(&self, to: u64, store: Option<StoreId>) -> Envelope {
        Envelope {
            version: VERSION,
            cluster: self.cluster().map(|cluster| cluster.0.to_be_bytes().to_vec()).unwrap_or_default(),
            from: self.voter,
            to,
            store: store.map(|store| store.0.to_be_bytes().to_vec()).unwrap_or_default(),
        }
    }

    /// Checks whether to tell who this is.
    pub fn check_hello(&self, envelope: Option<&Envelope>) -> Result<(), Stranger> {
        match envelope {
            Some(Envelope { to: WHOEVER, version: VERSION, .. }) => Ok(()),
            Some(_) | None => self.check_question(envelope),
        }
    }

    /// Checks whether a question may be answered: it need not know this voter's store.
    pub fn check_question(&self, envelope: Option<&Envelope>) -> Result<(), Stranger> {
        let envelope = envelope.ok_or(Stranger::Envelope)?;
        if envelope.version != VERSION {
            return Err(Stranger::Version(envelope.version));
        }
        if envelope.to != self.voter {
            return Err(Stranger::Voter { ours: self.voter, theirs: envelope.to });
        }
        Ok(())
    }

    /// Checks whether to listen to a message; answers the cluster it is of.
    pub fn check(&self, envelope: Option<&Envelope>) -> Result<ClusterId, Stranger> {
        self.check_question(envelope)?;
        let envelope = envelope.ok_or(Stranger::Envelope)?;
        let theirs = number(&envelope.cluster).map(ClusterId)?;
        if let Some(ours) = self.cluster().filter(|ours| *ours != theirs) {
            return Err(Stranger::Cluster { ours, theirs });
        }
        if number(&envelope.store)? != self.store_id.0 {
            return Err(Stranger::Store { voter: self.voter });
        }
        Ok(theirs)
    }
}

fn number(bytes: &[u8]) -> Result<u128, Stranger> {
    bytes.try_into().map(u128::from_be_bytes).map_err(|_| Stranger::Envelope)
}

#[cfg(test)]
mod tests {
    use cluster::ClusterId;
    use proto::raft::Envelope;

    use super::{Door, Stranger};
    use crate::store::Store;

    async fn door(folder: &std::path::Path) -> Door {
        let door = Door::new(Store::open(folder, 2).unwrap());
        door.adopt(ClusterId(5)).await.unwrap();
        door
    }

    #[tokio::test]
    async fn a_voter_listens_only_to_what_is_meant_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let door = door(folder.path()).await;
        let good = door.envelope(2, Some(door.store_id));
        let check = |change: fn(&mut Envelope)| {
            let mut envelope = good.clone();
            change(&mut envelope);
            door.check(Some(&envelope))
        };
        assert_eq!(check(|_| ()), Ok(ClusterId(5)));
        assert_eq!(door.check(None), Err(Stranger::Envelope));
        assert_eq!(check(|envelope| envelope.version = 2), Err(Stranger::Version(2)));
        assert_eq!(check(|envelope| envelope.to = 3), Err(Stranger::Voter { ours: 2, theirs: 3 }));
        assert_eq!(check(|envelope| envelope.store = vec![0; 16]), Err(Stranger::Store { voter: 2 }));
        assert_eq!(check(|envelope| envelope.store = Vec::new()), Err(Stranger::Envelope));
        assert_eq!(check(|envelope| envelope.cluster = vec![1; 15]), Err(Stranger::Envelope));
        let (ours, theirs) = (ClusterId(5), ClusterId(0));
        assert_eq!(check(|envelope| envelope.cluster = vec![0; 16]), Err(Stranger::Cluster { ours, theirs }));
    }

    #[tokio::test]
    async fn a_voter_belongs_to_the_first_cluster_for_good() {
        let folder = tempfile::tempdir().unwrap();
        let first = door(folder.path()).await;
        first.adopt(ClusterId(6)).await.unwrap();
        assert_eq!(first.cluster(), Some(ClusterId(5)));
        drop(first);
        assert_eq!(door(folder.path()).await.cluster(), Some(ClusterId(5)));
    }
}
