//! Effects of the control plane: the Raft log on disk, voters' messages, the API, the nodes' streams.
//!
//! What is decided is decided in `cluster`, as pure functions of the replicated state; here commands are brought into the
//! log, and what follows from the state is brought to those it concerns.
//!
//! ```text
//!   client ──> api ──(not the leader? forward)──> propose ──> raft ──> store (RocksDB, synced) ──> state
//!   node  ───> link: reports ──────────────────────^                                   │
//!   node  <─── link: intents <───────────────── revisions ─────────────────────────────┘
//! ```

mod api;
mod http;
mod link;
mod plane;
mod raft;
mod record;
mod store;

pub use cluster::{LOAN_LABEL, LOAN_OF_LABEL};
pub use plane::{Config, ControlPlane, EndError, StartError};
pub use raft::Start;
pub use store::{LastVoter, LastVoterFacts, TakeoverError};
