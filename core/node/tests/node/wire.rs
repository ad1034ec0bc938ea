//! The client's side of NBD, as much as the tests need, written from the specification and not from our server.

use std::collections::BTreeMap;

pub const READ: u16 = 0;
pub const WRITE: u16 = 1;
pub const DISCONNECT: u16 = 2;
pub const FLUSH: u16 = 3;
pub const TRIM: u16 = 4;
pub const CACHE: u16 = 5;
pub const WRITE_ZEROES: u16 = 6;
pub const BLOCK_STATUS: u16 = 7;

pub const FUA: u16 = 1;

pub const EPERM: u32 = 1;
pub const EIO: u32 = 5;
pub const EINVAL: u32 = 22;
pub const ENOSPC: u32 = 28;
pub const ESHUTDOWN: u32 = 108;

/// A request to send.
#[derive(Clone, Debug)]
pub struct Request {
    pub command: u16,
    pub flags: u16,
    pub offset: u64,
    pub len_bytes: u32,
    pub payload: Vec<u8>,
}

impl Request {
    pub fn new(command: u16, offset: u64, len_bytes: u32) -> Self {
        Self { command, flags: 0, offset, len_bytes, payload: Vec::new() }
    }

    pub fn write(offset: u64, payload: &[u8]) -> Self {
        let len_bytes = u32::try_from(payload.len()).unwrap();
        Self { payload: payload.to_vec(), ..Self::new(WRITE, offset, len_bytes) }
    }

    pub fn fua(self) -> Self {
        Self { flags: FUA, ..self }
    }

    pub fn bytes(&self, cookie: u64) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(28 + self.payload.len());
        bytes.extend(0x2560_9513_u32.to_be_bytes());
        bytes.extend(self.flags.to_be_bytes());
        bytes.extend(self.command.to_be_bytes());
        bytes.extend(cookie.to_be_bytes());
        bytes.extend(self.offset.to_be_bytes());
        bytes.extend(self.len_bytes.to_be_bytes());
        bytes.extend(&self.payload);
        bytes
    }
}

/// How a request was answered.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Reply {
    pub error: u32,
    pub data: Vec<u8>,
    /// Length and flags of each extent of a block status.
    pub extents: Vec<(u32, u32)>,
}

pub const EXPORT_NAME: u32 = 1;
pub const LIST: u32 = 3;
pub const INFO: u32 = 6;
pub const GO: u32 = 7;
pub const LIST_META_CONTEXT: u32 = 9;
pub const SET_META_CONTEXT: u32 = 10;

/// An option with its data.
pub fn option(number: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = b"IHAVEOPT".to_vec();
    bytes.extend(number.to_be_bytes());
    bytes.extend(u32::try_from(data.len()).unwrap().to_be_bytes());
    bytes.extend(data);
    bytes
}

/// An option that names an export, as that option does.
pub fn naming(number: u32, export: &str) -> Vec<u8> {
    match number {
        EXPORT_NAME => option(number, export.as_bytes()),
        LIST_META_CONTEXT | SET_META_CONTEXT => {
            let query = [1_u32.to_be_bytes().to_vec(), name_field("base:allocation")].concat();
            option(number, &[name_field(export), query].concat())
        }
        _ => option(number, &[name_field(export), vec![0, 0]].concat()),
    }
}

fn name_field(name: &str) -> Vec<u8> {
    [&u32::try_from(name.len()).unwrap().to_be_bytes(), name.as_bytes()].concat()
}

/// What a client says to open `export`.
pub fn hello(export: &str, structured: bool) -> Vec<u8> {
    let mut bytes = 3_u32.to_be_bytes().to_vec();
    if structured {
        bytes.extend(option(8, &[]));
        let context = [name_field(export), 1_u32.to_be_bytes().to_vec(), name_field("base:allocation")].concat();
        bytes.extend(option(10, &context));
    }
    bytes.extend(option(7, &[name_field(export), vec![0, 0]].concat()));
    bytes
}

/// What a server said, understood as far as it goes.
#[derive(Debug, Default)]
pub struct Listener {
    bytes: Vec<u8>,
    at: usize,
    greeted: bool,
    /// Size and flags of the export, once it is open.
    pub export: Option<(u64, u16)>,
    open: bool,
    /// Why it was not opened.
    pub refused: Option<u32>,
    /// All that the server said before an export was open.
    pub said: Vec<u8>,
    /// Exports that were listed.
    pub listed: Vec<String>,
    /// Requests not answered: their command and length.
    pub asked: BTreeMap<u64, (u16, u64, usize)>,
    partial: BTreeMap<u64, Reply>,
    pub replies: BTreeMap<u64, Reply>,
}

impl Listener {
    pub fn hear(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        while self.next().is_some() {}
        if self.at == self.bytes.len() || self.at > 1 << 20 {
            self.bytes.drain(..self.at);
            self.at = 0;
        }
    }

    fn peek(&self, at: usize, len_bytes: usize) -> Option<&[u8]> {
        self.bytes.get(self.at + at..self.at + at + len_bytes)
    }

    fn u16(&self, at: usize) -> Option<u16> {
        Some(u16::from_be_bytes(self.peek(at, 2)?.try_into().unwrap()))
    }

    fn u32(&self, at: usize) -> Option<u32> {
        Some(u32::from_be_bytes(self.peek(at, 4)?.try_into().unwrap()))
    }

    fn u64(&self, at: usize) -> Option<u64> {
        Some(u64::from_be_bytes(self.peek(at, 8)?.try_into().unwrap()))
    }

    fn next(&mut self) -> Option<()> {
        if !self.greeted {
            assert_eq!(self.peek(0, 16)?, b"NBDMAGICIHAVEOPT");
            assert_eq!(self.u16(16)?, 3);
            self.at += 18;
            self.greeted = true;
            return Some(());
        }
        if !self.open { self.option_reply() } else { self.reply() }
    }

    fn option_reply(&mut self) -> Option<()> {
        assert_eq!(self.u64(0)?, 0x0003_e889_0455_65a9);
        let (option, kind, len_bytes) = (self.u32(8)?, self.u32(12)?, self.u32(16)? as usize);
        let data = self.peek(20, len_bytes)?.to_vec();
        self.said.extend_from_slice(&self.bytes[self.at..self.at + 20 + len_bytes]);
        self.at += 20 + len_bytes;
        match (option, kind) {
            (LIST, 2) => self.listed.push(String::from_utf8(data[4..].to_vec()).unwrap()),
            (GO, 3) if data[..2] == [0, 0] => {
                let size = u64::from_be_bytes(data[2..10].try_into().unwrap());
                self.export = Some((size, u16::from_be_bytes(data[10..12].try_into().unwrap())));
            }
            (GO, 1) => self.open = true,
            (_, error) if error >= 1 << 31 => self.refused = Some(error),
            _ => {}
        }
        Some(())
    }

    fn reply(&mut self) -> Option<()> {
        match self.u32(0)? {
            0x6744_6698 => self.simple_reply(),
            0x668e_33ef => self.chunk(),
            magic => panic!("no reply begins with {magic:#x}"),
        }
    }

    fn simple_reply(&mut self) -> Option<()> {
        let (error, cookie) = (self.u32(4)?, self.u64(8)?);
        let &(command, _, len_bytes) = self.asked.get(&cookie).expect("only what was asked is answered, once");
        let len_bytes = if command == READ && error == 0 { len_bytes } else { 0 };
        let data = self.peek(16, len_bytes)?.to_vec();
        self.at += 16 + len_bytes;
        self.done(cookie, Reply { error, data, extents: Vec::new() });
        Some(())
    }

    fn chunk(&mut self) -> Option<()> {
        let (flags, kind, cookie, len_bytes) = (self.u16(4)?, self.u16(6)?, self.u64(8)?, self.u32(16)? as usize);
        let body = self.peek(20, len_bytes)?.to_vec();
        self.at += 20 + len_bytes;
        let &(_, offset, asked_bytes) = self.asked.get(&cookie).expect("only what was asked is answered, once");
        let mut reply = self.partial.remove(&cookie).unwrap_or_default();
        let number = |at: usize| u32::from_be_bytes(body[at..at + 4].try_into().unwrap());
        match kind {
            0 => {}
            1 | 2 => {
                let start = u64::from_be_bytes(body[..8].try_into().unwrap()) - offset;
                let start = usize::try_from(start).unwrap();
                reply.data.resize(asked_bytes, 0xee);
                let hole = vec![0; if kind == 2 { number(8) as usize } else { 0 }];
                let data = if kind == 1 { &body[8..] } else { &hole };
                reply.data[start..start + data.len()].copy_from_slice(data);
            }
            5 => reply.extents = (4..body.len()).step_by(8).map(|at| (number(at), number(at + 4))).collect(),
            0x8001 | 0x8002 => reply.error = number(0),
            kind => panic!("no chunk is of kind {kind}"),
        }
        if flags & 1 == 1 {
            self.done(cookie, reply);
        } else {
            self.partial.insert(cookie, reply);
        }
        Some(())
    }

    fn done(&mut self, cookie: u64, reply: Reply) {
        self.asked.remove(&cookie);
        self.replies.insert(cookie, reply);
    }
}
