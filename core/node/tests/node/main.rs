//! A node on a disk in memory, talked to in bytes of NBD, with every completion in an order the test chooses.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall say where")]

mod control;
mod copies;
mod crowd;
mod disk;
mod ending;
mod faults;
mod fencing;
mod intents;
mod offers;
mod oracle;
mod pressure;
mod relays;
mod rig;
mod service;
mod snapshots;
mod wanted;
mod wire;
