//! Networks, as an operator writes them: where clients without a token may come from.
//!
//! Addresses come from `core::net`, the half of the standard library's `net` that has no sockets in it.

use core::net::IpAddr;

/// All addresses with the same first bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Network {
    first: IpAddr,
    prefix_bits: u8,
}

/// The text is no network.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NetworkError {
    /// There is no address in front.
    #[error("\"{found}\" does not begin with an IP address; write it like 10.0.0.0/8, fd00::/8 or 192.0.2.7")]
    Address {
        /// What was found, cut to a reasonable length.
        found: String,
    },
    /// The number behind the slash is none, or too large.
    #[error("\"{found}\" is no length of a prefix: 0 to {most} bits can be")]
    Prefix {
        /// What was found, cut to a reasonable length.
        found: String,
        /// Bits of such an address.
        most: u8,
    },
    /// It may be a slip of the pen, and then it would let in too many.
    #[error("{address} has bits set behind the first {prefix_bits}; write {first}/{prefix_bits} if that is meant")]
    BitsBehind {
        /// What was found.
        address: IpAddr,
        /// The prefix found.
        prefix_bits: u8,
        /// First address of the network it lies in.
        first: IpAddr,
    },
}

/// Characters of what is no network that are repeated in an error.
const FOUND_CHARACTERS_MAX: usize = 64;

impl Network {
    /// Reads `10.0.0.0/8`, or a single address.
    ///
    /// # Errors
    /// See [`NetworkError`].
    pub fn parse(text: &str) -> Result<Self, NetworkError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NetworkError::Address { found: cut(address) })?;
        let most = bits_of(address);
        let prefix_bits = match prefix {
            None => most,
            Some(digits) => parse_prefix(digits, most)?,
        };
        let first = masked(address, prefix_bits);
        if first == address {
            Ok(Self { first, prefix_bits })
        } else {
            Err(NetworkError::BitsBehind { address, prefix_bits, first })
        }
    }

    /// Whether the address lies in it. An IPv4 address that came over an IPv6 socket is one of IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.first.is_ipv4() && masked(address, self.prefix_bits) == self.first
    }
}

fn parse_prefix(digits: &str, most: u8) -> Result<u8, NetworkError> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    let bits = digits.parse().ok().filter(|bits| plain && *bits <= most);
    bits.ok_or_else(|| NetworkError::Prefix { found: cut(digits), most })
}

fn cut(text: &str) -> String {
    text.chars().take(FOUND_CHARACTERS_MAX).collect()
}

fn bits_of(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The address with everything behind the first `bits` cleared.
fn masked(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            IpAddr::V4((address.to_bits() & mask).into())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            IpAddr::V6((address.to_bits() & mask).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Network;

    fn lies_in(network: &str, address: &str) -> bool {
        Network::parse(network).unwrap().contains(address.parse().unwrap())
    }

    #[test]
    fn a_network_holds_the_addresses_with_its_first_bits_and_no_others() {
        for (network, address, inside) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("10.0.0.0/8", "a00::", false),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7/32", "192.0.2.6", false),
            ("0.0.0.0/0", "255.1.2.3", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "::1", true),
            ("::/0", "1.2.3.4", false),
            ("fd00::/8", "fdff::9", true),
            ("fd00::/8", "fe00::", false),
            ("::1", "::1", true),
            ("2001:db8::8000/113", "2001:db8::ffff", true),
            ("2001:db8::8000/113", "2001:db8::7fff", false),
        ] {
            assert_eq!(lies_in(network, address), inside, "{address} in {network}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused_with_a_sentence() {
        let long = "x".repeat(1000);
        for (text, says) in [
            ("", "does not begin with an IP address"),
            ("10.0.0/8", "does not begin with an IP address"),
            ("host/8", "does not begin with an IP address"),
            (&long, "does not begin with an IP address"),
            ("10.0.0.0/", "is no length of a prefix"),
            ("10.0.0.0/33", "0 to 32 bits"),
            ("10.0.0.0/+8", "is no length of a prefix"),
            ("::/129", "0 to 128 bits"),
            ("10.0.0.0/8/8", "is no length of a prefix"),
            ("10.0.0.1/8", "write 10.0.0.0/8"),
            ("fd00::1/8", "write fd00::/8"),
        ] {
            let sentence = Network::parse(text).expect_err("refused").to_string();
            assert!(sentence.contains(says) && sentence.len() < 300, "{text}: {sentence}");
        }
    }
}
