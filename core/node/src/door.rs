//! Where a connection comes in, and what follows from it for a client that shows no token.

use core::net::IpAddr;

use crate::network::Network;
use crate::wire::Preamble;

/// The listener that accepted a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Door {
    /// For clients.
    Client {
        /// Where from; `None` over a unix socket.
        peer: Option<IpAddr>,
    },
    /// For other nodes of the cluster, who relay a client each, or whose replicas talk to those here: they say so first.
    Peer,
}

/// What is known of a connection's client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Entrance {
    /// It is here itself.
    Client { trusted: bool },
    /// Another node has not said yet on whose behalf it comes.
    Silent,
    /// Another node relays it.
    Relayed { trusted: bool },
}

impl Entrance {
    pub fn by(door: Door, open_networks: &[Network]) -> Self {
        match door {
            // Who may open the socket is what the permissions of its file say.
            Door::Client { peer: None } => Self::Client { trusted: true },
            Door::Client { peer: Some(peer) } => {
                Self::Client { trusted: open_networks.iter().any(|network| network.contains(peer)) }
            }
            Door::Peer => Self::Silent,
        }
    }

    pub fn relayed(preamble: Preamble) -> Self {
        Self::Relayed { trusted: preamble.trusted }
    }

    /// Whether it may come without a token, where that is allowed at all.
    pub fn is_trusted(self) -> bool {
        match self {
            Self::Client { trusted } | Self::Relayed { trusted } => trusted,
            Self::Silent => false,
        }
    }
}
