//! A client that wants a volume of another node: what the reactor needs to pass it on.

use nbd::RelayHandshake;

/// A client that is handed over. The reactor connects to `address`, sends `upstream`, feeds what the peer answers to
/// `handshake` until that is done, and from then on passes bytes on both ways; `downstream` goes to the client first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Relay {
    /// [`crate::Route::address`].
    pub address: String,
    /// Bytes for the peer before any other: the preamble, the negotiation so far, and what the client sent that was
    /// not looked at yet.
    pub upstream: Vec<u8>,
    /// Bytes still owed to the client.
    pub downstream: Vec<u8>,
    /// Swallows what the peer answers to the negotiation so far.
    pub handshake: RelayHandshake,
}
