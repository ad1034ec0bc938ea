//! Snapshots, clones, groups and schedules.

mod groups;
mod promises;
mod schedules;
mod words;
