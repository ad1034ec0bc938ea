//! What a cluster is, and every decision about it.
//!
//! One [`State`] is replicated to all voters. It changes only by [`State::apply`], which is deterministic: the same
//! commands in the same order make the same state everywhere. Commands carry the time and whatever was drawn at random;
//! nothing here reads a clock.
//!
//! - What should be follows from the state: [`State::intent`] says what a node should hold and whom it should let in.
//! - What is arrives as reports. *Nothing there* and *not known* are different values, and nothing is ever made or
//!   deleted because of what is not known.
//! - A replicated volume goes from one [`Configuration`] to the next: as a member proposes, or, when no member is there as
//!   it was, from one that is back. Waits end by [`Change::Tick`], which whoever leads brings at [`State::deadline`].
//! - What waits can say what it waits for: [`State::waits_for`]; what is wrong is told in words: [`State::problems`].
//!
//! Not here: the Raft log, messages, who may ask (`control-plane`), what a node does (`node`).

mod apply;
mod attachment;
mod command;
mod configuration;
mod decide;
mod explain;
mod group;
mod host;
mod index;
mod intent;
mod loan;
mod name;
mod node;
mod operation;
mod placement;
mod recovered;
mod refusal;
mod replica;
mod replication;
mod report;
mod schedule;
mod snapshot;
mod state;
mod volume;

pub use attachment::{AccessMode, Attachment, Attachments, Claim, Generation, TOGETHER_MAX, TokenHash};
pub use command::{Answer, Change, Command, RequestId, Revision, Time};
pub use configuration::{Configuration, Proposal};
pub use decide::NotAccepted;
pub use explain::{Problem, Severity};
pub use group::{GROUP_VOLUMES_MAX, Group, GroupId, GroupMember, GroupPhase, Hold, HoldState};
pub use host::{HOSTS_MAX, Host};
pub use intent::{NodeIntent, Origin, Peer, ReplicaIntent, ReplicationIntent, Route, SnapshotIntent};
pub use loan::{LOAN_LABEL, LOAN_OF_LABEL, Loan};
pub use name::{NAME_BYTES_MAX, Name, NameError};
pub use node::{Addresses, Admin, LABELS_MAX, Labels, Link, Node, Pool, RemovedPool};
pub use operation::{Operation, OperationId, OperationKind, Waiting};
pub use placement::{NoPlace, PoolReason, Room};
pub use recovered::{Doubt, Recovered};
pub use refusal::Refusal;
pub use replica::{CutRefusal, Fate, Observed, Progress, Reason, Replica, Role, Standing};
pub use replication::{Condition, Replication};
pub use report::{NodeReport, PoolReport, ReplicaReport, Replicas};
pub use schedule::{Cron, CronError, KEEP_MAX, Run, SCHEDULES_MAX, Schedule};
pub use snapshot::{
    CloneSource, Cut, Grave, Keep, Maker, Retired, SNAPSHOTS_MAX, SNAPSHOTS_OF_VOLUME_MAX, Seen, Snapshot,
    SnapshotCopy, SnapshotView, Source,
};
pub use state::{ClusterId, Contents, Contradiction, NODES_MAX, REQUESTS_KEPT, Settings, State, VOLUMES_MAX};
pub use volume::{
    DESCRIPTION_BYTES_MAX, Health, Modification, Phase, REPLICAS_MAX, Tombstone, VOLUME_BYTES_MIN, Volume, VolumeSpec,
    ZoneSpread,
};
