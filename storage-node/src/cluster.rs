//! A node as part of a cluster: who it is, where it finds the control plane, and where others find it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use crate::link::{LinkCounters, LinkFigures};
use crate::listen::Address;
use crate::relay::{RelayCounters, RelayFigures};

/// Longest name of a node, as of everything that has a name.
const NAME_BYTES_MAX: usize = 128;

/// The cluster that a node belongs to, and its place there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClusterConfig {
    /// The node's name, its own in the cluster.
    pub name: String,
    /// Addresses of the control plane, HOST:PORT; which of them leads is found out.
    pub control: Vec<String>,
    /// Where other nodes bring clients of their own for volumes of this one; port 0 lets the kernel choose.
    pub peers: SocketAddr,
    /// The host that others use instead of those of the listen addresses.
    pub advertise: Option<String>,
    /// What the control plane may go by when it places volumes.
    pub labels: BTreeMap<String, String>,
    /// Tags of the pool, likewise.
    pub tags: Vec<String>,
}

/// Why a node cannot be part of a cluster as it is configured.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ClusterError {
    /// The name is none.
    #[error(
        "\"{name}\" is not a node's name: 1 to {NAME_BYTES_MAX} characters of a-z, 0-9, '.', '_' and '-', the first a letter or digit"
    )]
    BadName {
        /// What was given.
        name: String,
    },
    /// There is nobody to ask.
    #[error("no address of the control plane was given; at least one is needed, HOST:PORT")]
    NoControl,
    /// An address is none.
    #[error("\"{address}\" is not an address of the control plane: HOST:PORT is needed")]
    BadControl {
        /// What was given.
        address: String,
    },
    /// The advertised host is none.
    #[error("\"{host}\" is not a host that others could reach: a name or an IP address is needed, without a port")]
    BadHost {
        /// What was given.
        host: String,
    },
    /// Others could not come there.
    #[error(
        "this node listens on {address}, which is every address of this machine and none that others could use; give \
         the host to advertise, or listen on one address"
    )]
    Unspecified {
        /// Where it listens.
        address: SocketAddr,
    },
}

/// What a node says of itself first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Introduction {
    pub node: String,
    /// HOST:PORT.
    pub peer_address: String,
    /// HOST:PORT each.
    pub nbd_addresses: Vec<String>,
    pub labels: BTreeMap<String, String>,
    /// Of its pool.
    pub tags: Vec<String>,
}

/// What is counted where a node has to do with others; changed without locks, read by whoever asks.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClusterCounters {
    pub link: Arc<LinkCounters>,
    pub relays: Arc<RelayCounters>,
}

/// A node's dealings with others, at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ClusterFigures {
    /// With the control plane.
    pub link: LinkFigures,
    /// With other nodes.
    pub relays: RelayFigures,
}

impl ClusterConfig {
    /// What the node says of itself when it listens for nodes on `peers` and for clients on `nbd`, ports and all.
    pub(crate) fn introduction(&self, peers: SocketAddr, nbd: &[Address]) -> Result<Introduction, ClusterError> {
        self.check()?;
        let tcp = nbd.iter().filter_map(|address| match address {
            Address::Tcp(address) => Some(*address),
            Address::Unix(_) => None,
        });
        Ok(Introduction {
            node: self.name.clone(),
            peer_address: self.advertised(peers)?,
            nbd_addresses: tcp.map(|address| self.advertised(address)).collect::<Result<_, _>>()?,
            labels: self.labels.clone(),
            tags: self.tags.clone(),
        })
    }

    fn check(&self) -> Result<(), ClusterError> {
        if !is_name(&self.name) {
            return Err(ClusterError::BadName { name: self.name.clone() });
        }
        if self.control.is_empty() {
            return Err(ClusterError::NoControl);
        }
        match self.control.iter().find(|address| !is_host_and_port(address)) {
            Some(address) => Err(ClusterError::BadControl { address: address.clone() }),
            None => Ok(()),
        }
    }

    /// Where others find what listens on `address`.
    fn advertised(&self, address: SocketAddr) -> Result<String, ClusterError> {
        match &self.advertise {
            Some(host) => with_port(host, address.port()).ok_or_else(|| ClusterError::BadHost { host: host.clone() }),
            None if address.ip().is_unspecified() => Err(ClusterError::Unspecified { address }),
            None => Ok(address.to_string()),
        }
    }
}

impl ClusterCounters {
    /// As of now.
    pub fn figures(&self) -> ClusterFigures {
        ClusterFigures { link: self.link.figures(), relays: self.relays.figures() }
    }
}

/// Whether it may be the name of a node, a volume or a client.
pub(crate) fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let all = text.chars().all(|c| plain(c) || matches!(c, '.' | '_' | '-'));
    text.starts_with(plain) && all && text.len() <= NAME_BYTES_MAX
}

/// Whether one could connect there, for all that can be seen.
pub(crate) fn is_host_and_port(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        is_host(host) && port.parse::<u16>().is_ok_and(|port| port > 0)
    })
}

fn with_port(host: &str, port: u16) -> Option<String> {
    match host.parse::<IpAddr>() {
        Ok(address) => Some(SocketAddr::new(address, port).to_string()),
        Err(_) if host.contains(':') || !is_host(host) => None,
        Err(_) => Some(format!("{host}:{port}")),
    }
}

fn is_host(text: &str) -> bool {
    let named = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
    !text.is_empty() && text.len() <= 253 && (named || text.parse::<Ipv6Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::SocketAddr;

    use super::{ClusterConfig, ClusterError, is_host_and_port};
    use crate::listen::Address;

    fn config(advertise: Option<&str>) -> ClusterConfig {
        ClusterConfig {
            name: "a-1".to_owned(),
            control: vec!["voter:7400".to_owned()],
            peers: ([127, 0, 0, 1], 0).into(),
            advertise: advertise.map(str::to_owned),
            labels: BTreeMap::new(),
            tags: Vec::new(),
        }
    }

    fn addresses(config: &ClusterConfig, listening: &str) -> Result<(String, Vec<String>), ClusterError> {
        let address: SocketAddr = listening.parse().expect("an address");
        let nbd = [Address::Unix("/run/nbd.sock".into()), Address::Tcp(address)];
        let introduction = config.introduction(address, &nbd)?;
        Ok((introduction.peer_address, introduction.nbd_addresses))
    }

    #[test]
    fn others_are_told_an_address_that_they_can_use() {
        let rows = [
            (None, "10.0.0.7:10810", "10.0.0.7:10810"),
            (None, "[fd00::7]:10810", "[fd00::7]:10810"),
            (Some("node-7.example"), "0.0.0.0:10810", "node-7.example:10810"),
            (Some("192.0.2.7"), "10.0.0.7:10810", "192.0.2.7:10810"),
            (Some("fd00::7"), "[::]:10810", "[fd00::7]:10810"),
        ];
        for (advertise, listening, told) in rows {
            let found = addresses(&config(advertise), listening);
            assert_eq!(found, Ok((told.to_owned(), vec![told.to_owned()])), "{advertise:?}");
        }
    }

    #[test]
    fn an_address_that_nobody_could_use_is_refused() {
        for listening in ["0.0.0.0:10810", "[::]:10810"] {
            let error = addresses(&config(None), listening).expect_err("refused");
            assert_eq!(error, ClusterError::Unspecified { address: listening.parse().expect("an address") });
        }
        for host in ["", "node:7", "a b", "http://node"] {
            let error = addresses(&config(Some(host)), "127.0.0.1:1").expect_err("refused");
            assert_eq!(error, ClusterError::BadHost { host: host.to_owned() });
        }
    }

    #[test]
    fn a_node_needs_a_name_and_somebody_to_ask() {
        let with = |name: &str, control: &[&str]| ClusterConfig {
            name: name.to_owned(),
            control: control.iter().map(|address| (*address).to_owned()).collect(),
            ..config(None)
        };
        let refused = |config: ClusterConfig| addresses(&config, "127.0.0.1:1").expect_err("refused");
        assert!(matches!(refused(with("A node", &["voter:1"])), ClusterError::BadName { .. }));
        assert_eq!(refused(with("a", &[])), ClusterError::NoControl);
        assert!(matches!(refused(with("a", &["voter:1", "voter"])), ClusterError::BadControl { .. }));
    }

    #[test]
    fn an_address_has_a_host_and_a_port() {
        for good in ["a:1", "10.0.0.1:65535", "[::1]:80", "voter-1.example:7400"] {
            assert!(is_host_and_port(good), "{good}");
        }
        for bad in ["", ":1", "a", "a:", "a:0", "a:65536", "a:b", "a b:1", "http://a:1", "[::1]", "[x y]:1"] {
            assert!(!is_host_and_port(bad), "{bad}");
        }
    }
}
