//! The bytes that one node sends another before it passes a client's on. Big-endian, like what follows them.

use zerocopy::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Says that another node of the cluster speaks, and no client: clients begin with other bytes.
const MAGIC: u64 = u64::from_be_bytes(*b"PLNRELAY");
/// Raised when anything here changes its meaning.
const VERSION: u16 = 1;
/// The client came from a network without tokens.
const TRUSTED: u16 = 1 << 0;

/// Bytes of a preamble.
pub(crate) const PREAMBLE_BYTES: usize = size_of::<RawPreamble>();

const _: () = assert!(PREAMBLE_BYTES == 16);
const _: () = assert!(std::mem::offset_of!(RawPreamble, flags) == 10);

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawPreamble {
    /// Tells a stray connection from a node.
    magic: U64,
    /// Tells a node of another release, before it is misunderstood.
    version: U16,
    /// Unknown ones are refused: they may restrict what is allowed.
    flags: U16,
    /// Zero.
    reserved: U32,
}

/// What a node says about the client whose bytes follow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Preamble {
    /// It came from a network without tokens.
    pub trusted: bool,
}

/// Why a connection from another node is not one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PreambleFault {
    /// No node of ours.
    #[error("the first bytes are {found:#018x}, not a node's; clients connect to the address for NBD")]
    Magic {
        /// What was found.
        found: u64,
    },
    /// A node of another release.
    #[error("the node speaks version {found} of the relay, and this one version {expected}; update the older one")]
    Version {
        /// What was found.
        found: u16,
        /// What was expected.
        expected: u16,
    },
    /// Something this release does not know, and must not pass over.
    #[error("the node set flags {flags:#x} and reserved bytes {reserved:#x}, of which only flag 0x1 is known")]
    Unknown {
        /// The flags.
        flags: u16,
        /// The reserved bytes.
        reserved: u32,
    },
}

impl Preamble {
    pub fn encode(self) -> [u8; PREAMBLE_BYTES] {
        let flags = if self.trusted { TRUSTED } else { 0 };
        let raw = RawPreamble { magic: MAGIC.into(), version: VERSION.into(), flags: flags.into(), reserved: 0.into() };
        zerocopy::transmute!(raw)
    }

    pub fn parse(bytes: &[u8; PREAMBLE_BYTES]) -> Result<Self, PreambleFault> {
        let raw: &RawPreamble = zerocopy::transmute_ref!(bytes);
        let (magic, version) = (raw.magic.get(), raw.version.get());
        let (flags, reserved) = (raw.flags.get(), raw.reserved.get());
        if magic != MAGIC {
            Err(PreambleFault::Magic { found: magic })
        } else if version != VERSION {
            Err(PreambleFault::Version { found: version, expected: VERSION })
        } else if flags & !TRUSTED != 0 || reserved != 0 {
            Err(PreambleFault::Unknown { flags, reserved })
        } else {
            Ok(Self { trusted: flags & TRUSTED != 0 })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Preamble, PreambleFault};

    #[test]
    fn a_preamble_is_these_bytes() {
        assert_eq!(Preamble { trusted: true }.encode(), *b"PLNRELAY\0\x01\0\x01\0\0\0\0");
        assert_eq!(Preamble { trusted: false }.encode(), *b"PLNRELAY\0\x01\0\0\0\0\0\0");
    }

    #[test]
    fn every_other_preamble_is_refused_with_what_is_wrong() {
        let good = Preamble { trusted: true }.encode();
        assert_eq!(Preamble::parse(&good), Ok(Preamble { trusted: true }));
        for at in 0..16 {
            for bit in 0..8 {
                let mut bytes = good;
                bytes[at] ^= 1 << bit;
                let expected = match Preamble::parse(&bytes) {
                    Ok(parsed) => (at, bit) == (11, 0) && !parsed.trusted,
                    Err(PreambleFault::Magic { .. }) => at < 8,
                    Err(PreambleFault::Version { .. }) => (8..10).contains(&at),
                    Err(PreambleFault::Unknown { .. }) => at >= 10,
                };
                assert!(expected, "byte {at} bit {bit}");
            }
        }
    }
}
