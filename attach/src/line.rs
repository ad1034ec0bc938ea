//! The way to a volume: who serves it now, the connection to it, and what was asked for on it.
//!
//! Promise: what was not answered when a connection broke is asked again on the next one, in the same order; see
//! [`Ledger`].

mod dial;
mod directory;
mod ledger;
mod link;
#[cfg(test)]
mod tests;
mod upstream;

pub use dial::{Dialer, Identity, Line};
pub use directory::{Directory, DirectoryKeeper};
pub use ledger::{Ledger, REQUESTS_MAX, is_final};
pub use link::{Link, PAUSE};
pub use upstream::{Answer, Upstream};
