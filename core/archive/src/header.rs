//! What an archive is of.

use block::{BLOCK_BYTES, Checksum, VOLUME_BYTES_MAX};
use zerocopy::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::{Fault, VERSION, field};

/// Length of a header.
pub const HEADER_BYTES: usize = 512;
/// Longest name.
pub const NAME_BYTES_MAX: usize = 128;

const MAGIC: [u8; 8] = *b"PLNARCHV";
const CHECKSUM_AT: usize = 12;
const _: () = assert!(size_of::<RawHeader>() == HEADER_BYTES);
const _: () = assert!(std::mem::offset_of!(RawHeader, checksum) == CHECKSUM_AT);
const _: () = assert!(std::mem::offset_of!(RawHeader, snapshot_name) == 208);

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawHeader {
    magic: [u8; 8],
    version: U16,
    reserved: U16,
    checksum: U32,
    cluster: U128,
    volume: U64,
    snapshot: U64,
    base: U64,
    size_bytes: U64,
    created_ms: U64,
    volume_name_bytes: u8,
    snapshot_name_bytes: u8,
    reserved_too: [u8; 6],
    volume_name: [u8; NAME_BYTES_MAX],
    snapshot_name: [u8; NAME_BYTES_MAX],
    rest: [u8; 176],
}

/// What an archive is of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Header {
    /// The cluster it is from.
    pub cluster: u128,
    /// The volume's id there.
    pub volume: u64,
    /// Its name.
    pub volume_name: String,
    /// The snapshot's id, not 0.
    pub snapshot: u64,
    /// Its name.
    pub snapshot_name: String,
    /// The snapshot from which the changes are; what is not in the archive is as it was there. `None`: it reads as zeroes.
    pub base: Option<u64>,
    /// The snapshot's size.
    pub size_bytes: u64,
    /// When it was cut, in milliseconds since 1970.
    pub created_ms: u64,
}

impl Header {
    /// As it travels.
    ///
    /// # Panics
    /// Names of 1 to [`NAME_BYTES_MAX`] bytes are the caller's business, as is a size of whole blocks.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut raw = RawHeader {
            magic: MAGIC,
            version: VERSION.into(),
            cluster: self.cluster.into(),
            volume: self.volume.into(),
            snapshot: self.snapshot.into(),
            base: self.base.unwrap_or(0).into(),
            size_bytes: self.size_bytes.into(),
            created_ms: self.created_ms.into(),
            ..RawHeader::new_zeroed()
        };
        raw.volume_name_bytes = put_name(&self.volume_name, &mut raw.volume_name);
        raw.snapshot_name_bytes = put_name(&self.snapshot_name, &mut raw.snapshot_name);
        raw.checksum = Checksum::of(raw.as_bytes()).0.into();
        zerocopy::transmute!(raw)
    }

    /// What the first bytes say.
    ///
    /// # Errors
    /// They are not an archive's that this program reads.
    pub fn parse(bytes: &[u8; HEADER_BYTES]) -> Result<Self, Fault> {
        let mut raw: RawHeader = zerocopy::transmute!(*bytes);
        if raw.magic != MAGIC {
            return Err(Fault::Magic { found: u64::from_be_bytes(raw.magic) });
        }
        if raw.version.get() != VERSION {
            return Err(Fault::Version { found: raw.version.get() });
        }
        let stored = Checksum(std::mem::replace(&mut raw.checksum, 0.into()).get());
        let computed = Checksum::of(raw.as_bytes());
        if computed != stored {
            return Err(Fault::Checksum { what: "the header", computed, stored });
        }
        let size_bytes = raw.size_bytes.get();
        let is_size = size_bytes.is_multiple_of(BLOCK_BYTES as u64) && (1..=VOLUME_BYTES_MAX).contains(&size_bytes);
        if !is_size {
            return Err(field("its size in bytes", size_bytes));
        }
        let snapshot = raw.snapshot.get();
        if snapshot == 0 {
            return Err(field("its snapshot's number", snapshot));
        }
        Ok(Self {
            cluster: raw.cluster.get(),
            volume: raw.volume.get(),
            volume_name: name("the length of its volume's name", raw.volume_name_bytes, &raw.volume_name)?,
            snapshot,
            snapshot_name: name("the length of its snapshot's name", raw.snapshot_name_bytes, &raw.snapshot_name)?,
            base: Some(raw.base.get()).filter(|base| *base != 0),
            size_bytes,
            created_ms: raw.created_ms.get(),
        })
    }
}

fn put_name(name: &str, room: &mut [u8; NAME_BYTES_MAX]) -> u8 {
    assert!((1..=NAME_BYTES_MAX).contains(&name.len()), "names have 1 to 128 bytes");
    room[..name.len()].copy_from_slice(name.as_bytes());
    u8::try_from(name.len()).expect("it was looked at")
}

/// Names are shown and logged: only such as a cluster gives are taken.
fn name(what: &'static str, len_bytes: u8, room: &[u8; NAME_BYTES_MAX]) -> Result<String, Fault> {
    let bytes = room.get(..usize::from(len_bytes)).filter(|bytes| !bytes.is_empty());
    let is_plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(byte);
    let text = bytes.filter(|bytes| bytes.iter().all(is_plain)).and_then(|bytes| str::from_utf8(bytes).ok());
    text.map(str::to_owned).ok_or_else(|| field(what, len_bytes))
}
