//! Effects of the control plane: the Raft log on disk, voters' messages, the API, the nodes' streams.

mod store;
