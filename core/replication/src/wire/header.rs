//! The 64 bytes that every message begins with.

use block::{Checksum, Epoch, Incarnation, PoolId, VolumeId};
use zerocopy::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::wire::fault::Fault;
use crate::wire::limits::{self, HEADER_BYTES};

/// Tells a frame from whatever else may be in a stream that went wrong.
const MAGIC: u32 = u32::from_le_bytes(*b"PLfr");
/// Raised when anything in a frame changes its meaning.
pub(crate) const FRAME_VERSION: u16 = 1;
const CHECKSUM_AT: usize = 12;

/// On a heartbeat: the primary does not hear the receiver.
pub(crate) const UNHEARD: u8 = 1 << 0;
/// On a new epoch: its configuration was made because all members had been lost.
pub(crate) const RECOVERY: u8 = 1 << 1;

/// On what a backup says of itself: its pool is nearly full.
pub(crate) const TIGHT: u8 = 1 << 2;

const _: () = assert!(size_of::<RawHeader>() == HEADER_BYTES);
const _: () = assert!(std::mem::offset_of!(RawHeader, checksum) == CHECKSUM_AT);
const _: () = assert!(std::mem::offset_of!(RawHeader, epoch) == 24);
const _: () = assert!(std::mem::offset_of!(RawHeader, volume) == 32);
const _: () = assert!(std::mem::offset_of!(RawHeader, from) == 48);

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct RawHeader {
    magic: U32,
    version: U16,
    kind: u8,
    flags: u8,
    body_checksum: U32,
    checksum: U32,
    body_bytes: U32,
    payload_bytes: U32,
    epoch: U32,
    link: U32,
    volume: U64,
    incarnation: U64,
    from: U128,
}

/// A header that is valid by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Header {
    pub kind: Kind,
    pub flags: u8,
    pub epoch: Epoch,
    pub body_bytes: usize,
    pub payload_bytes: usize,
    pub body_checksum: Checksum,
    pub envelope: Envelope,
}

/// From whom a message is, and whom it is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Envelope {
    /// Of which volume.
    pub volume: VolumeId,
    /// The sender.
    pub from: PoolId,
    /// Which it was when it said so.
    pub incarnation: Incarnation,
    /// Which of the links between the two, see [`crate::wire::Link`]: what is of an older one must not arrive.
    pub link: u32,
}

/// What a message is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Kind {
    /// See [`crate::Message::Heartbeat`], and so on.
    Heartbeat = 1,
    /// The answer to it.
    HeartbeatAck = 2,
    /// A change.
    Prepare = 3,
    /// How far a backup is.
    Ack = 4,
    /// A configuration.
    NewEpoch = 5,
    /// The answer to it.
    EpochAck = 6,
    /// A request for changes.
    Fetch = 7,
    /// The answer to it.
    Entries = 8,
    /// A request to be taught.
    Join = 9,
    /// The answer to it.
    Start = 10,
    /// A group.
    Copy = 11,
    /// The answer to it.
    Copied = 12,
    /// A change for a learner.
    Relay = 13,
    /// A learner takes part.
    Enter = 14,
    /// The answer to it.
    Flushed = 15,
    /// See [`crate::wire::Signal::Open`].
    Open = 16,
    /// The answer to it.
    Opened = 17,
    /// See [`crate::wire::Signal::Close`].
    Close = 18,
    /// See [`crate::Aside::Want`], and so on.
    Want = 19,
    /// The answer to it.
    Have = 20,
    /// A question whether replicas are equal.
    Compare = 21,
    /// The answer to it.
    Compared = 22,
    /// See [`crate::Message::Cut`].
    Cut = 23,
}

impl Kind {
    /// In order of their numbers, which begin with 1.
    pub const ALL: [Self; 23] = [
        Self::Heartbeat,
        Self::HeartbeatAck,
        Self::Prepare,
        Self::Ack,
        Self::NewEpoch,
        Self::EpochAck,
        Self::Fetch,
        Self::Entries,
        Self::Join,
        Self::Start,
        Self::Copy,
        Self::Copied,
        Self::Relay,
        Self::Enter,
        Self::Flushed,
        Self::Open,
        Self::Opened,
        Self::Close,
        Self::Want,
        Self::Have,
        Self::Compare,
        Self::Compared,
        Self::Cut,
    ];

    fn of(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }

    /// The flags it may have.
    fn flags(self) -> u8 {
        match self {
            Self::Heartbeat => UNHEARD,
            Self::NewEpoch => RECOVERY,
            Self::HeartbeatAck | Self::Ack => TIGHT,
            Self::Prepare | Self::EpochAck | Self::Fetch | Self::Entries => 0,
            Self::Join | Self::Start | Self::Copy | Self::Copied | Self::Relay | Self::Enter | Self::Flushed => 0,
            Self::Cut => 0,
            Self::Open | Self::Opened | Self::Close => 0,
            Self::Want | Self::Have | Self::Compare | Self::Compared => 0,
        }
    }

    /// What may follow its body at most.
    fn payload_bytes_max(self) -> usize {
        match self {
            Self::Prepare | Self::Relay => limits::WRITE_BYTES_MAX,
            Self::Copy => limits::GROUP_BYTES,
            Self::Entries | Self::Enter => limits::ENTRIES_BYTES_MAX,
            Self::Join => limits::DIRTY_BYTES_MAX,
            Self::Heartbeat | Self::HeartbeatAck | Self::Ack | Self::NewEpoch | Self::EpochAck | Self::Fetch => 0,
            Self::Start | Self::Copied | Self::Flushed | Self::Open | Self::Opened | Self::Close => 0,
            Self::Want | Self::Have | Self::Compare | Self::Compared | Self::Cut => 0,
        }
    }

    /// Whether it is of an epoch. Who asks to be taught goes by none, and links outlive them.
    fn has_epoch(self) -> bool {
        match self {
            Self::Join | Self::Open | Self::Opened | Self::Close => false,
            Self::Want | Self::Have | Self::Compare | Self::Compared => false,
            Self::Heartbeat | Self::HeartbeatAck | Self::Prepare | Self::Ack | Self::NewEpoch | Self::EpochAck => true,
            Self::Fetch | Self::Entries | Self::Start | Self::Copy | Self::Copied | Self::Relay | Self::Enter => true,
            Self::Flushed | Self::Cut => true,
        }
    }
}

impl Header {
    /// Everything that can be said of a message by its header alone.
    pub fn parse(raw: &RawHeader) -> Result<Self, Fault> {
        if raw.magic.get() != MAGIC {
            return Err(Fault::Magic { found: raw.magic.get(), expected: MAGIC });
        }
        if raw.version.get() != FRAME_VERSION {
            return Err(Fault::Version { found: raw.version.get(), expected: FRAME_VERSION });
        }
        let (found, computed) = (Checksum(raw.checksum.get()), raw.computed());
        if found != computed {
            return Err(Fault::HeaderDamaged { found, computed });
        }
        let kind = Kind::of(raw.kind).ok_or(Fault::Kind { found: raw.kind })?;
        if raw.flags & !kind.flags() != 0 {
            return Err(Fault::Flags { kind, found: raw.flags, known: kind.flags() });
        }
        let header = raw.fields(kind);
        header.check()?;
        Ok(header)
    }

    fn check(&self) -> Result<(), Fault> {
        let kind = self.kind;
        if (self.epoch > Epoch(0)) != kind.has_epoch() {
            return Err(Fault::Epoch { kind, found: self.epoch });
        }
        if self.envelope.link == 0 {
            return Err(Fault::NoLink { kind });
        }
        if self.envelope.incarnation == Incarnation(0) {
            return Err(Fault::NoIncarnation { kind });
        }
        if self.body_bytes > limits::BODY_BYTES_MAX {
            return Err(Fault::TooLong { kind, what: "body", found: self.body_bytes, max: limits::BODY_BYTES_MAX });
        }
        if self.payload_bytes > kind.payload_bytes_max() {
            let (found, max) = (self.payload_bytes, kind.payload_bytes_max());
            return Err(Fault::TooLong { kind, what: "payload", found, max });
        }
        Ok(())
    }

    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let len = |bytes: usize| U32::new(u32::try_from(bytes).expect("a message is at most 40 MiB"));
        let mut raw = RawHeader {
            magic: MAGIC.into(),
            version: FRAME_VERSION.into(),
            kind: self.kind as u8,
            flags: self.flags,
            body_checksum: self.body_checksum.0.into(),
            checksum: 0.into(),
            body_bytes: len(self.body_bytes),
            payload_bytes: len(self.payload_bytes),
            epoch: self.epoch.0.into(),
            link: self.envelope.link.into(),
            volume: self.envelope.volume.0.into(),
            incarnation: self.envelope.incarnation.0.into(),
            from: self.envelope.from.0.into(),
        };
        raw.checksum = raw.computed().0.into();
        zerocopy::transmute!(raw)
    }
}

impl RawHeader {
    /// What the checksum should be: that of the header with zeroes in its place.
    fn computed(&self) -> Checksum {
        checksum_around(self.as_bytes(), CHECKSUM_AT)
    }

    fn fields(&self, kind: Kind) -> Header {
        Header {
            kind,
            flags: self.flags,
            epoch: Epoch(self.epoch.get()),
            body_bytes: self.body_bytes.get() as usize,
            payload_bytes: self.payload_bytes.get() as usize,
            body_checksum: Checksum(self.body_checksum.get()),
            envelope: Envelope {
                volume: VolumeId(self.volume.get()),
                from: PoolId(self.from.get()),
                incarnation: Incarnation(self.incarnation.get()),
                link: self.link.get(),
            },
        }
    }
}

/// The checksum of a record that holds it, with zeroes in its place.
pub(crate) fn checksum_around(record: &[u8], at: usize) -> Checksum {
    Checksum::of(&record[..at]).then(&[0; 4]).then(&record[at + 4..])
}
