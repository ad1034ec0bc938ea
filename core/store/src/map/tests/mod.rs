//! The map's promises, each by name, and all of them under random histories.

mod harness;
mod oracle;
mod promises;
mod random;
