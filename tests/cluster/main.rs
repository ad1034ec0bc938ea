//! Clusters of real processes: voters and nodes that are killed, stopped, cut off and robbed of power while they are used.

#![allow(clippy::unwrap_used, reason = "a test says what went wrong by failing")]
#![allow(clippy::print_stdout, reason = "figures are for people")]

mod attach;
mod attachments;
mod chaos;
mod expected;
mod exports;
mod full;
mod gaps;
mod generations;
mod groups;
mod growth;
mod guest;
mod history;
mod kills;
mod moves;
mod operations;
mod outages;
mod partitions;
mod pauses;
mod power;
mod recovered;
mod relays;
mod removals;
mod replicas;
mod rot;
mod scene;
mod schedule;
mod snapshots;
mod steps;
mod takeover;
mod units;
mod voters;
