//! Three nodes with a replica each, connections that break, and somebody who decides.

mod decider;
mod directed;
mod growth;
mod lost;
mod random;
mod rot;
mod snapshots;
mod trio;
