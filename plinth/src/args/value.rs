//! Values on the command line and in config files: parsed once, with an example for whoever wrote something else.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use storage_node::Network;

use crate::output::size;

/// Volumes are made of whole blocks; `plinth dev` rounds other sizes up.
const BLOCK_BYTES: u64 = 4096;
/// Nobody waits longer for an answer.
const TIMEOUT_SECONDS_MAX: u64 = 86400;

/// `NAME:SIZE`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VolumeArg {
    /// The volume's name.
    pub name: String,
    /// In whole blocks.
    pub size_bytes: u64,
}

/// `PATH` or `PATH:SIZE`.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct PoolArg {
    /// A file or a block device.
    pub path: PathBuf,
    /// If it was given.
    pub size_bytes: Option<u64>,
}

/// `KEY=VALUE`.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Pair {
    /// Before the first `=`.
    pub key: String,
    /// After it.
    pub value: String,
}

/// `HOST` or `HOST:PORT`.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Host {
    /// A name or an IP address; one of version 6 in brackets.
    pub host: String,
    /// If it was given.
    pub port: Option<u16>,
}

impl FromStr for VolumeArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((name, size)) = text.rsplit_once(':') else {
            return Err("a volume is NAME:SIZE, such as vol1:10GiB".to_owned());
        };
        if name.is_empty() {
            return Err("the name before the colon is missing: NAME:SIZE, such as vol1:10GiB".to_owned());
        }
        let size_bytes = size::parse(size)?;
        let whole_blocks = size_bytes.checked_next_multiple_of(BLOCK_BYTES).unwrap_or(size_bytes);
        Ok(Self { name: name.to_owned(), size_bytes: whole_blocks })
    }
}

impl FromStr for PoolArg {
    type Err = String;

    /// What follows the last colon is a size if it looks like one or follows nothing; otherwise the colon belongs to
    /// the path.
    fn from_str(text: &str) -> Result<Self, String> {
        let whole = || Ok(Self { path: text.into(), size_bytes: None });
        match text.rsplit_once(':') {
            _ if text.is_empty() => Err("the path is missing: PATH[:SIZE], such as data/pool:10GiB".to_owned()),
            None => whole(),
            Some(("", _)) => Err("the path before the colon is missing: PATH[:SIZE]".to_owned()),
            Some((_, tail)) if !tail.starts_with(|c: char| c.is_ascii_digit()) || tail.contains('/') => whole(),
            Some((path, tail)) => match size::parse(tail) {
                Ok(size_bytes) => Ok(Self { path: path.into(), size_bytes: Some(size_bytes) }),
                // Names such as /dev/disk/by-path/pci-0000:00:04.0 have colons of their own.
                Err(_) if PathBuf::from(text).exists() => whole(),
                Err(error) => Err(error),
            },
        }
    }
}

impl FromStr for Pair {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok(Self { key: key.to_owned(), value: value.to_owned() }),
            Some(_) | None => Err(format!("\"{text}\" is no label: write KEY=VALUE, such as zone=a")),
        }
    }
}

impl FromStr for Host {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = || format!("\"{text}\" is no host: write HOST or HOST:PORT, such as c1.example.net:10700");
        let in_brackets = text.starts_with('[') && text.ends_with(']');
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !in_brackets => (host, Some(port.parse().map_err(|_| refuse())?)),
            Some(_) | None => (text, None),
        };
        // A colon that is left belongs to an address of version 6, whose end is nobody's guess without brackets.
        let clear = !host.contains(':') || (host.starts_with('[') && host.ends_with(']'));
        if host.is_empty() || !clear || host.contains(['/', ' ']) {
            return Err(refuse());
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.host),
            None => f.write_str(&self.host),
        }
    }
}

impl TryFrom<String> for PoolArg {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl TryFrom<String> for Pair {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl TryFrom<String> for Host {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl Pair {
    /// Labels by their keys.
    ///
    /// # Errors
    /// A key that has two values.
    pub fn map(pairs: &[Self]) -> Result<BTreeMap<String, String>, String> {
        let mut map = BTreeMap::new();
        for Self { key, value } in pairs {
            let before = map.insert(key.clone(), value.clone());
            if let Some(before) = before.filter(|before| before != value) {
                return Err(format!("label {key} is given as \"{before}\" and as \"{value}\"; choose one"));
            }
        }
        Ok(map)
    }
}

/// `HOST:PORT` of this machine.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    let example = "write HOST:PORT, such as 127.0.0.1:10809; port 0 takes a free one";
    match text.to_socket_addrs() {
        Ok(mut found) => found.next().ok_or_else(|| format!("the name has no address; {example}")),
        Err(error) => Err(format!("{error}; {example}")),
    }
}

/// `HOST:PORT` of a voter. Its name is looked up when it is used.
pub fn endpoint(text: &str) -> Result<String, String> {
    match text.parse::<Host>() {
        Ok(Host { port: Some(1..), .. }) => Ok(text.to_owned()),
        Ok(_) | Err(_) => Err(format!("\"{text}\" is no address: write HOST:PORT, such as 127.0.0.1:10700")),
    }
}

/// `ADDRESS/BITS`, or an address.
pub fn network(text: &str) -> Result<Network, String> {
    Network::parse(text).map_err(|error| error.to_string())
}

/// A whole number of seconds.
pub fn seconds(text: &str) -> Result<Duration, String> {
    text.parse().map(Duration::from_secs).map_err(|_| "a whole number of seconds is needed".to_owned())
}

/// A number and its unit: 90s, 10min, 2h, 1d.
pub fn span(text: &str) -> Result<Duration, String> {
    let wrong = || "a whole number and a unit are needed: 90s, 10min, 2h or 1d".to_owned();
    let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let unit_seconds = match unit {
        "s" => 1,
        "min" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    number.checked_mul(unit_seconds).map(Duration::from_secs).ok_or_else(wrong)
}

/// How long somebody waits.
pub fn timeout(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds @ 1..=TIMEOUT_SECONDS_MAX) => Ok(Duration::from_secs(seconds)),
        Ok(_) | Err(_) => Err(format!("a whole number of seconds from 1 to {TIMEOUT_SECONDS_MAX} is needed")),
    }
}

/// In a config file.
pub fn some_address<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SocketAddr>, D::Error> {
    address(&String::deserialize(from)?).map(Some).map_err(D::Error::custom)
}

/// In a config file.
pub fn addresses<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<SocketAddr>, D::Error> {
    all(from, address)
}

/// In a config file.
pub fn endpoints<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    all(from, endpoint)
}

/// In a config file.
pub fn networks<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Network>, D::Error> {
    all(from, network)
}

/// In a config file.
pub fn some_seconds<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    u64::deserialize(from).map(|seconds| Some(Duration::from_secs(seconds)))
}

fn all<'de, D: Deserializer<'de>, T>(from: D, parse: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, D::Error> {
    let texts = Vec::<String>::deserialize(from)?;
    texts.iter().map(|text| parse(text)).collect::<Result<_, _>>().map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Host, Pair, PoolArg, VolumeArg, endpoint, span};

    #[test]
    fn a_span_has_a_unit() {
        for (text, seconds) in [("90s", 90), ("10min", 600), ("2h", 7200), ("1d", 86_400)] {
            assert_eq!(span(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "10", "min", "1m", "-1s", "1.5h", "99999999999999999999s", "999999999999999999d"] {
            assert!(span(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_volume_is_a_name_and_a_size() {
        let volume = |name: &str, size_bytes| Ok(VolumeArg { name: name.to_owned(), size_bytes });
        assert_eq!("vol1:10GiB".parse(), volume("vol1", 10 << 30));
        assert_eq!("a:b:1MiB".parse(), volume("a:b", 1 << 20));
        assert_eq!("vol1:2GB".parse(), volume("vol1", 2_000_003_072));
        for text in ["", "vol1", ":1GiB", "vol1:", "vol1:big", "vol1:0"] {
            assert!(text.parse::<VolumeArg>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_pool_is_a_path_and_perhaps_a_size() {
        let pool = |path: &str, size_bytes| Ok(PoolArg { path: path.into(), size_bytes });
        let rows = [
            ("data/pool", pool("data/pool", None)),
            ("data/pool:10GiB", pool("data/pool", Some(10 << 30))),
            ("/dev/nvme1n1", pool("/dev/nvme1n1", None)),
            ("/dev/disk/by-id/nvme-eui:x", pool("/dev/disk/by-id/nvme-eui:x", None)),
            ("/a:1/pool", pool("/a:1/pool", None)),
            ("/a:1/pool:1GiB", pool("/a:1/pool", Some(1 << 30))),
        ];
        for (text, expected) in rows {
            assert_eq!(text.parse(), expected, "{text}");
        }
        for text in ["", ":10GiB", "pool:10Zorb", "pool:0"] {
            assert!(text.parse::<PoolArg>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_label_is_a_key_and_a_value_and_has_one_value_only() {
        let pairs = ["zone=a", "note=x=y", "empty="].map(|text| text.parse::<Pair>().unwrap());
        let map = Pair::map(&pairs).unwrap();
        let found: Vec<_> = map.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(found, [("empty", ""), ("note", "x=y"), ("zone", "a")]);
        for text in ["", "zone", "=a"] {
            assert!(text.parse::<Pair>().is_err(), "{text}");
        }
        let twice = ["zone=a", "zone=b"].map(|text| text.parse::<Pair>().unwrap());
        assert!(Pair::map(&twice).unwrap_err().contains("zone is given as \"a\" and as \"b\""));
    }

    #[test]
    fn a_host_may_have_a_port_and_an_endpoint_must() {
        let host = |host: &str, port| Ok(Host { host: host.to_owned(), port });
        assert_eq!("c1".parse(), host("c1", None));
        assert_eq!("c1:10700".parse(), host("c1", Some(10700)));
        assert_eq!("[::1]".parse(), host("[::1]", None));
        assert_eq!("[::1]:1".parse(), host("[::1]", Some(1)));
        for text in ["", ":1", "c1:", "c1:x", "c1:99999", "::1", "http://c1:1", "a b"] {
            assert!(text.parse::<Host>().is_err(), "{text}");
        }
        for text in ["c1", "[::1]", "c1:0", "http://c1:1"] {
            assert!(endpoint(text).is_err(), "{text}");
        }
        assert_eq!(endpoint("c1:10700").as_deref(), Ok("c1:10700"));
    }
}
