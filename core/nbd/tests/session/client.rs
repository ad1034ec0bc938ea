//! What a client sends, written out byte by byte and on purpose not with the crate's own structs.

pub const FIXED: u32 = 1;
pub const NO_ZEROES: u32 = 2;

pub const READ: u16 = 0;
pub const WRITE: u16 = 1;
pub const DISC: u16 = 2;
pub const FLUSH: u16 = 3;
pub const TRIM: u16 = 4;
pub const CACHE: u16 = 5;
pub const WRITE_ZEROES: u16 = 6;
pub const BLOCK_STATUS: u16 = 7;

pub const FUA: u16 = 1;
pub const NO_HOLE: u16 = 2;
pub const DF: u16 = 4;
pub const REQ_ONE: u16 = 8;
pub const FAST_ZERO: u16 = 16;

pub const EXPORT_NAME: u32 = 1;
pub const ABORT: u32 = 2;
pub const LIST: u32 = 3;
pub const STARTTLS: u32 = 5;
pub const INFO: u32 = 6;
pub const GO: u32 = 7;
pub const STRUCTURED_REPLY: u32 = 8;
pub const LIST_META: u32 = 9;
pub const SET_META: u32 = 10;
pub const EXTENDED_HEADERS: u32 = 11;

pub fn bytes(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

pub fn length(part: &[u8]) -> [u8; 4] {
    u32::try_from(part.len()).unwrap().to_be_bytes()
}

pub fn flags(flags: u32) -> Vec<u8> {
    flags.to_be_bytes().to_vec()
}

/// Only the header of an option.
pub fn option_header(option: u32, data_bytes: u32) -> Vec<u8> {
    bytes(&[b"IHAVEOPT", &option.to_be_bytes(), &data_bytes.to_be_bytes()])
}

pub fn option(option: u32, data: &[u8]) -> Vec<u8> {
    bytes(&[b"IHAVEOPT", &option.to_be_bytes(), &length(data), data])
}

pub fn info_data(name: &str, wanted: &[u16]) -> Vec<u8> {
    let count = u16::try_from(wanted.len()).unwrap();
    let mut data = bytes(&[&length(name.as_bytes()), name.as_bytes(), &count.to_be_bytes()]);
    data.extend(wanted.iter().flat_map(|kind| kind.to_be_bytes()));
    data
}

pub fn go(name: &str) -> Vec<u8> {
    option(GO, &info_data(name, &[]))
}

pub fn meta_data(name: &str, queries: &[&str]) -> Vec<u8> {
    let count = u32::try_from(queries.len()).unwrap();
    let mut data = bytes(&[&length(name.as_bytes()), name.as_bytes(), &count.to_be_bytes()]);
    for query in queries {
        data.extend(bytes(&[&length(query.as_bytes()), query.as_bytes()]));
    }
    data
}

pub fn set_meta(name: &str, queries: &[&str]) -> Vec<u8> {
    option(SET_META, &meta_data(name, queries))
}

/// A request without its payload.
pub fn request(command: u16, flags: u16, cookie: u64, offset: u64, len_bytes: u32) -> Vec<u8> {
    bytes(&[
        &0x2560_9513_u32.to_be_bytes(),
        &flags.to_be_bytes(),
        &command.to_be_bytes(),
        &cookie.to_be_bytes(),
        &offset.to_be_bytes(),
        &len_bytes.to_be_bytes(),
    ])
}

pub fn write(flags: u16, cookie: u64, offset: u64, payload: &[u8]) -> Vec<u8> {
    let len_bytes = u32::try_from(payload.len()).unwrap();
    bytes(&[&request(WRITE, flags, cookie, offset, len_bytes), payload])
}

/// Bytes that differ from place to place.
pub fn pattern(len_bytes: usize) -> Vec<u8> {
    (0..len_bytes).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

/// Opens the export `disk` with simple replies.
pub fn open_simple() -> Vec<u8> {
    bytes(&[&flags(FIXED | NO_ZEROES), &go("disk")])
}

/// Opens the export `disk` with structured replies and block status.
pub fn open_structured() -> Vec<u8> {
    bytes(&[
        &flags(FIXED | NO_ZEROES),
        &option(STRUCTURED_REPLY, &[]),
        &set_meta("disk", &["base:allocation"]),
        &go("disk"),
    ])
}

// What the server should answer.

pub const GREETING: &[u8] = b"NBDMAGICIHAVEOPT\x00\x03";

pub const ACK: u32 = 1;
pub const REP_SERVER: u32 = 2;
pub const REP_INFO: u32 = 3;
pub const REP_META: u32 = 4;
pub const ERR_UNSUP: u32 = 0x8000_0001;
pub const ERR_POLICY: u32 = 0x8000_0002;
pub const ERR_INVALID: u32 = 0x8000_0003;
pub const ERR_UNKNOWN: u32 = 0x8000_0006;
pub const ERR_TOO_BIG: u32 = 0x8000_0009;

pub const EPERM: u32 = 1;
pub const EIO: u32 = 5;
pub const EINVAL: u32 = 22;
pub const ENOSPC: u32 = 28;
pub const EOVERFLOW: u32 = 75;
pub const ENOTSUP: u32 = 95;
pub const ESHUTDOWN: u32 = 108;

/// Flags of the export `disk`: all but READ_ONLY and MULTI_CONN.
pub const DISK_FLAGS: u16 = 0b1100_0110_1101;
pub const SEND_DF: u16 = 1 << 7;

pub fn simple(cookie: u64, error: u32) -> Vec<u8> {
    bytes(&[&0x6744_6698_u32.to_be_bytes(), &error.to_be_bytes(), &cookie.to_be_bytes()])
}

pub fn chunk(flags: u16, kind: u16, cookie: u64, payload: &[u8]) -> Vec<u8> {
    bytes(&[
        &0x668e_33ef_u32.to_be_bytes(),
        &flags.to_be_bytes(),
        &kind.to_be_bytes(),
        &cookie.to_be_bytes(),
        &length(payload),
        payload,
    ])
}

pub fn data_chunk(flags: u16, cookie: u64, offset: u64, data: &[u8]) -> Vec<u8> {
    chunk(flags, 1, cookie, &bytes(&[&offset.to_be_bytes(), data]))
}

pub fn hole_chunk(flags: u16, cookie: u64, offset: u64, len_bytes: u32) -> Vec<u8> {
    chunk(flags, 2, cookie, &bytes(&[&offset.to_be_bytes(), &len_bytes.to_be_bytes()]))
}

pub fn status_chunk(cookie: u64, extents: &[(u32, u32)]) -> Vec<u8> {
    let mut payload = 1_u32.to_be_bytes().to_vec();
    for (len_bytes, state) in extents {
        payload.extend(bytes(&[&len_bytes.to_be_bytes(), &state.to_be_bytes()]));
    }
    chunk(1, 5, cookie, &payload)
}

/// Number and reply type of every answer to an option in `bytes`, checked to be whole, and the data of each.
pub fn option_replies(mut bytes: &[u8]) -> Vec<(u32, u32, Vec<u8>)> {
    let number = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().unwrap());
    let mut replies = Vec::new();
    while !bytes.is_empty() {
        assert_eq!(bytes[..8], 0x0003_e889_0455_65a9_u64.to_be_bytes());
        let end = 20 + number(&bytes[16..20]) as usize;
        replies.push((number(&bytes[8..12]), number(&bytes[12..16]), bytes[20..end].to_vec()));
        bytes = &bytes[end..];
    }
    replies
}

/// The error number and cookie of the one error chunk that `bytes` are.
pub fn error_chunk(bytes: &[u8]) -> (u32, u64) {
    assert_eq!(bytes[..8], [0x66, 0x8e, 0x33, 0xef, 0, 1, 0x80, 1], "a last chunk, about an error");
    let cookie = u64::from_be_bytes(bytes[8..16].try_into().unwrap());
    let payload_bytes = u32::from_be_bytes(bytes[16..20].try_into().unwrap()) as usize;
    let error = u32::from_be_bytes(bytes[20..24].try_into().unwrap());
    let text_bytes = u16::from_be_bytes(bytes[24..26].try_into().unwrap()) as usize;
    assert_eq!((payload_bytes, bytes.len()), (6 + text_bytes, 26 + text_bytes));
    assert!(text_bytes > 0 && str::from_utf8(&bytes[26..]).is_ok());
    (error, cookie)
}
