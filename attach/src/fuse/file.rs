//! The file system: one folder, and in it one file, which is the volume.
//!
//! What needs no primary is answered here. The file is as large as the volume was seen to be: whoever sees that it has
//! grown sets the file's size, which makes it known here and to the kernel alike. It never shrinks.

use block::{ByteRange, Error, Request};
use rustix::io::Errno;
use zerocopy::IntoBytes;

use super::wire::{Agreed, Attributes, Call, FILE, Found, Opened, Operation, Space, Told, Written};
use crate::line::REQUESTS_MAX;

/// Its name in the folder.
pub const NAME: &str = "disk";

/// The file.
#[derive(Debug)]
pub struct VolumeFile {
    size_bytes: u64,
}

/// What is to be answered when the volume has answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ticket {
    /// The call's name.
    pub unique: u64,
    /// With what.
    pub due: Due,
}

/// What a call is answered with when all went well.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Due {
    /// So many bytes that were read.
    Data(u32),
    /// That so many were written.
    Count(u32),
    /// Nothing.
    Nothing,
}

/// What becomes of a call.
#[derive(PartialEq, Eq, Debug)]
pub enum Heard {
    /// It is answered with this.
    Answer(Result<Vec<u8>, Errno>),
    /// It wants no answer.
    Silence,
    /// The volume is to be asked, with these bytes to write.
    Ask(Request, Vec<u8>, Due),
}

impl VolumeFile {
    /// Of this size.
    pub fn new(size_bytes: u64) -> Self {
        Self { size_bytes }
    }

    /// Takes a call.
    pub fn hear(&mut self, call: &Call<'_>) -> Heard {
        match call.operation {
            Operation::Init { major, minor, max_readahead, flags } => {
                Heard::Answer(agree(major, minor, flags, max_readahead))
            }
            Operation::Lookup(name) if name == NAME.as_bytes() => answer(&Found::new(self.attributes(FILE))),
            Operation::Lookup(_) => Heard::Answer(Err(Errno::NOENT)),
            Operation::Attributes => answer(&Told::new(self.attributes(call.node))),
            Operation::SetAttributes { size_bytes } => Heard::Answer(self.set(call.node, size_bytes)),
            Operation::Open => answer(&Opened::DIRECT),
            Operation::Close => Heard::Answer(Ok(Vec::new())),
            Operation::Read { offset, len_bytes } => self.read(offset, len_bytes),
            Operation::Write { offset, payload } => write(offset, payload),
            Operation::Zero { offset, len_bytes, keep_allocated } => zero(offset, len_bytes, keep_allocated),
            Operation::Sync => Heard::Ask(Request::Flush, Vec::new(), Due::Nothing),
            Operation::Space => answer(&Space::new(self.size_bytes)),
            Operation::Nothing => Heard::Silence,
            Operation::Unknown => Heard::Answer(Err(Errno::NOSYS)),
        }
    }

    fn attributes(&self, node: u64) -> Attributes {
        Attributes::new(node, if node == FILE { self.size_bytes } else { 0 })
    }

    fn set(&mut self, node: u64, size_bytes: Option<u64>) -> Result<Vec<u8>, Errno> {
        if let Some(size_bytes) = size_bytes {
            if node != FILE || size_bytes < self.size_bytes {
                return Err(Errno::INVAL);
            }
            self.size_bytes = size_bytes;
        }
        Ok(Told::new(self.attributes(node)).as_bytes().to_vec())
    }

    /// What lies behind the end is not there.
    fn read(&self, offset: u64, len_bytes: u32) -> Heard {
        let there = self.size_bytes.saturating_sub(offset);
        let len_bytes = u32::try_from(there).map_or(len_bytes, |there| len_bytes.min(there));
        if len_bytes == 0 {
            return Heard::Answer(Ok(Vec::new()));
        }
        Heard::Ask(Request::Read { range: ByteRange::new(offset, len_bytes) }, Vec::new(), Due::Data(len_bytes))
    }
}

fn answer(body: &(impl IntoBytes + zerocopy::Immutable)) -> Heard {
    Heard::Answer(Ok(body.as_bytes().to_vec()))
}

fn agree(major: u32, minor: u32, flags: u32, max_readahead: u32) -> Result<Vec<u8>, Errno> {
    let requests = u16::try_from(REQUESTS_MAX).expect("the ledger takes fewer than 65536 requests");
    let agreed = Agreed::new(major, minor, flags, max_readahead, requests);
    if agreed.is_none() {
        tracing::error!(
            "the kernel's FUSE is {major}.{minor} ({flags:#x}); 7.28 is needed, which Linux has since 4.20"
        );
    }
    agreed.map(|agreed| agreed.as_bytes().to_vec()).ok_or(Errno::PROTO)
}

fn write(offset: u64, payload: &[u8]) -> Heard {
    let Ok(len_bytes) = u32::try_from(payload.len()) else { return Heard::Answer(Err(Errno::INVAL)) };
    let request = Request::Write { range: ByteRange::new(offset, len_bytes), fua: false };
    Heard::Ask(request, payload.to_vec(), Due::Count(len_bytes))
}

/// A hole reads as zeroes to the byte, which a discard does not promise.
fn zero(offset: u64, len_bytes: u64, keep_allocated: bool) -> Heard {
    let Some(len_bytes) = u32::try_from(len_bytes).ok().filter(|len| *len > 0) else {
        return Heard::Answer(Err(Errno::INVAL));
    };
    let range = ByteRange::new(offset, len_bytes);
    let request = Request::WriteZeroes { range, fua: false, fast_only: false, keep_allocated };
    Heard::Ask(request, Vec::new(), Due::Nothing)
}

/// The kernel's word for it.
pub fn errno(error: Error) -> Errno {
    match error {
        Error::OutOfRange | Error::NoSpace => Errno::NOSPC,
        Error::ReadOnly => Errno::ROFS,
        Error::Media | Error::ShuttingDown => Errno::IO,
        Error::Invalid | Error::TooLarge => Errno::INVAL,
        Error::Unsupported => Errno::OPNOTSUPP,
    }
}

/// The bytes of an answer that has no data.
pub fn acknowledgement(due: Due) -> Vec<u8> {
    match due {
        Due::Count(len_bytes) => Written::new(len_bytes).as_bytes().to_vec(),
        Due::Data(_) | Due::Nothing => Vec::new(),
    }
}
