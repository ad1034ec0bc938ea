//! What a client can make the session hold, read or write at most.

use block::BLOCK_SHIFT;

use crate::wire;

/// Longest name of an export, description or query: the protocol's limit for every string.
pub const NAME_BYTES_MAX: usize = 4096;

/// Longest data of an option that is looked at; longer ones are refused and skipped.
pub const OPTION_BYTES_MAX: usize = 64 << 10;

/// Options of one negotiation; a client needs about five.
pub const OPTIONS_MAX: u32 = 64;

/// Bytes of one negotiation, options and their answers together. It bounds what a client that does not read can
/// pile up in an outbox, and how long an option may be skipped.
pub const NEGOTIATION_BYTES_MAX: usize = 4 << 20;

/// Queries of one option about metadata contexts; there is one context to ask for.
pub const META_QUERIES_MAX: u32 = 256;

/// Largest payload of a read or write, as advertised. Commands without payload may name longer ranges.
pub const PAYLOAD_BYTES_MAX: u32 = 32 << 20;

/// Requests of whole blocks need no read-modify-write.
pub(crate) const PREFERRED_BYTES: u32 = 1 << BLOCK_SHIFT;

/// Largest payload of a refused write that is skipped; a longer one closes the connection.
pub const SKIPPED_PAYLOAD_BYTES_MAX: u32 = 64 << 20;

/// A write's payload from this size on is handed out before all of it is there, so that its receiver can take the
/// rest straight into memory for the device.
pub const LARGE_PAYLOAD_BYTES: usize = 32 << 10;

/// Extents of one answer to BLOCK_STATUS. The answer then takes at most 32 KiB, less than a write's smallest
/// payload that is not copied, and still covers 16 MiB of a volume whose every other block is a hole. The client
/// asks on from where the answer ends.
pub const STATUS_EXTENTS_MAX: usize = 4096;

/// The session never needs more than this many bytes at once to go on.
pub const INPUT_BYTES_MAX: usize = size_of::<wire::OptionHeader>() + OPTION_BYTES_MAX;

const _: () = assert!(INPUT_BYTES_MAX <= 96 << 10, "receive buffers are sized by it");
const _: () = assert!(size_of::<wire::Request>() + LARGE_PAYLOAD_BYTES <= INPUT_BYTES_MAX, "a small write fits");
const _: () = assert!(NAME_BYTES_MAX <= OPTION_BYTES_MAX, "every option about one export can carry its name");
const _: () = assert!(OPTION_BYTES_MAX < NEGOTIATION_BYTES_MAX, "every single option that is looked at is affordable");
const _: () = assert!(PAYLOAD_BYTES_MAX <= SKIPPED_PAYLOAD_BYTES_MAX, "every payload that is allowed can be refused");
