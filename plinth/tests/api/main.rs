//! The commands that ask a cluster, as people and scripts use them: against a server in this process that has the API
//! and no cluster behind it, and that fails when it is told to.

mod answers;
mod fake;
mod lists;
mod retries;
mod run;
mod snapshots;
mod verify;
mod waits;
