//! A small NBD client that does what it is told, allowed or not: fixed newstyle, simple replies, requests in any order.
//!
//! It is written from the protocol's specification and shares no code with the server, so that both cannot be wrong
//! in the same way.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Longest wait for a single read or write of the connection.
const TIMEOUT: Duration = Duration::from_secs(60);
const REQUEST_MAGIC: u32 = 0x2560_9513;
const REPLY_MAGIC: u32 = 0x6744_6698;
const OPTION_MAGIC: u64 = u64::from_be_bytes(*b"IHAVEOPT");
const OPTION_GO: u32 = 7;
const REPLY_ACK: u32 = 1;
const REPLY_INFO: u32 = 3;
const INFO_EXPORT: u16 = 0;

/// Flag of a request: reply only when it is on stable media.
pub const FUA: u16 = 1;

/// Kinds of requests, with their numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub enum Kind {
    /// Read bytes.
    Read = 0,
    /// Write bytes.
    Write = 1,
    /// Say goodbye; there is no reply.
    Disconnect = 2,
    /// Make what was acknowledged stable.
    Flush = 3,
    /// Forget a range.
    Trim = 4,
    /// Zero a range.
    Zeroes = 6,
}

/// A request without its payload.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// What to do.
    pub kind: Kind,
    /// Flags of the request.
    pub flags: u16,
    /// Comes back with the reply.
    pub cookie: u64,
    /// First byte.
    pub offset: u64,
    /// How many.
    pub len_bytes: u32,
}

/// A reply: 0 or an errno of the protocol. The data of a read follows it on the stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reply {
    /// Whose it is.
    pub cookie: u64,
    /// 0, or what went wrong.
    pub error: u32,
}

/// The option reply with which a server refuses an export.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refused(pub u32);

/// What a connection is made of.
pub trait Stream: Read + Write {
    /// Bounds every read and write.
    ///
    /// # Errors
    /// The limit is zero.
    fn bound(&self, limit: Duration) -> io::Result<()>;
}

impl Stream for UnixStream {
    fn bound(&self, limit: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(limit))?;
        self.set_write_timeout(Some(limit))
    }
}

impl Stream for TcpStream {
    fn bound(&self, limit: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(limit))?;
        self.set_write_timeout(Some(limit))
    }
}

/// Bounds every read and write of a connection.
///
/// # Panics
/// When the limit is zero.
pub fn bound(stream: &impl Stream, limit: Duration) {
    stream.bound(limit).expect("a limit above zero");
}

/// A connection in transmission.
pub struct Client<S = UnixStream> {
    stream: S,
    size_bytes: u64,
    flags: u16,
    next_cookie: u64,
}

impl<S: Stream> Client<S> {
    /// Negotiates an export.
    ///
    /// # Errors
    /// The server does not offer it.
    ///
    /// # Panics
    /// When the server does not speak the protocol.
    pub fn open(stream: S, export: &str) -> Result<Self, Refused> {
        bound(&stream, TIMEOUT);
        Self::try_open(stream, export).expect("the server answers")
    }

    /// The same with a server that may end at any moment, and the stream's own time limit.
    ///
    /// # Errors
    /// The connection broke.
    pub fn try_open(mut stream: S, export: &str) -> io::Result<Result<Self, Refused>> {
        greet(&mut stream)?;
        let gone = go(&mut stream, export)?;
        Ok(gone.map(|(size_bytes, flags)| Self { stream, size_bytes, flags, next_cookie: 1 }))
    }

    /// Size of the export.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Transmission flags of the export.
    #[must_use]
    pub fn flags(&self) -> u16 {
        self.flags
    }

    /// Sends a request and does not wait.
    ///
    /// # Errors
    /// The connection broke.
    pub fn send(&mut self, request: Request, payload: &[u8]) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(28 + payload.len());
        bytes.extend_from_slice(&REQUEST_MAGIC.to_be_bytes());
        bytes.extend_from_slice(&request.flags.to_be_bytes());
        bytes.extend_from_slice(&(request.kind as u16).to_be_bytes());
        bytes.extend_from_slice(&request.cookie.to_be_bytes());
        bytes.extend_from_slice(&request.offset.to_be_bytes());
        bytes.extend_from_slice(&request.len_bytes.to_be_bytes());
        bytes.extend_from_slice(payload);
        self.stream.write_all(&bytes)
    }

    /// Waits for the next reply, whichever request it answers.
    ///
    /// # Errors
    /// The connection broke.
    pub fn receive(&mut self) -> io::Result<Reply> {
        let magic = u32::from_be_bytes(array(&mut self.stream)?);
        assert_eq!(magic, REPLY_MAGIC, "a simple reply begins here");
        let error = u32::from_be_bytes(array(&mut self.stream)?);
        Ok(Reply { cookie: u64::from_be_bytes(array(&mut self.stream)?), error })
    }

    /// Takes the data that follows the reply to a read.
    ///
    /// # Errors
    /// The connection broke.
    pub fn receive_data(&mut self, data: &mut [u8]) -> io::Result<()> {
        self.stream.read_exact(data)
    }

    /// Writes and waits.
    ///
    /// # Errors
    /// The protocol's errno.
    ///
    /// # Panics
    /// When the connection breaks.
    pub fn write(&mut self, offset: u64, data: &[u8], flags: u16) -> Result<(), u32> {
        let len_bytes = u32::try_from(data.len()).expect("a request's length has 32 bits");
        self.call(Request { kind: Kind::Write, flags, cookie: 0, offset, len_bytes }, data)
    }

    /// Reads and waits.
    ///
    /// # Errors
    /// The protocol's errno.
    ///
    /// # Panics
    /// When the connection breaks.
    pub fn read(&mut self, offset: u64, len_bytes: u32) -> Result<Vec<u8>, u32> {
        self.call(Request { kind: Kind::Read, flags: 0, cookie: 0, offset, len_bytes }, &[])?;
        let mut data = vec![0; len_bytes as usize];
        self.receive_data(&mut data).expect("the data follows");
        Ok(data)
    }

    /// Flushes and waits.
    ///
    /// # Errors
    /// The protocol's errno.
    ///
    /// # Panics
    /// When the connection breaks.
    pub fn flush(&mut self) -> Result<(), u32> {
        self.call(Request { kind: Kind::Flush, flags: 0, cookie: 0, offset: 0, len_bytes: 0 }, &[])
    }

    /// Trims or zeroes and waits.
    ///
    /// # Errors
    /// The protocol's errno.
    ///
    /// # Panics
    /// When the connection breaks.
    pub fn clear(&mut self, kind: Kind, offset: u64, len_bytes: u32) -> Result<(), u32> {
        self.call(Request { kind, flags: 0, cookie: 0, offset, len_bytes }, &[])
    }

    /// The connection itself, to misuse it.
    pub fn stream(&mut self) -> &mut S {
        &mut self.stream
    }

    fn call(&mut self, request: Request, payload: &[u8]) -> Result<(), u32> {
        let cookie = self.next_cookie;
        self.next_cookie += 1;
        self.send(Request { cookie, ..request }, payload).expect("the server takes the request");
        let reply = self.receive().expect("the server replies");
        assert_eq!(reply.cookie, cookie, "the only request is the one answered");
        if reply.error == 0 { Ok(()) } else { Err(reply.error) }
    }
}

/// Takes the server's greeting and answers it: fixed newstyle, no zeroes.
///
/// # Errors
/// The connection broke.
pub fn greet(stream: &mut impl Stream) -> io::Result<()> {
    let greeting: [u8; 18] = array(stream)?;
    assert_eq!(&greeting[..16], b"NBDMAGICIHAVEOPT", "the server greets in newstyle");
    let flags = u32::from(u16::from_be_bytes([greeting[16], greeting[17]])) & 3;
    stream.write_all(&flags.to_be_bytes())
}

/// Sends an option with its payload.
///
/// # Errors
/// The connection broke.
pub fn send_option(stream: &mut impl Stream, option: u32, payload: &[u8]) -> io::Result<()> {
    let len_bytes = u32::try_from(payload.len()).expect("an option is small");
    let mut bytes = OPTION_MAGIC.to_be_bytes().to_vec();
    bytes.extend_from_slice(&option.to_be_bytes());
    bytes.extend_from_slice(&len_bytes.to_be_bytes());
    bytes.extend_from_slice(payload);
    stream.write_all(&bytes)
}

/// Takes one reply to an option: its kind and payload.
///
/// # Errors
/// The connection broke.
pub fn receive_option(stream: &mut impl Stream) -> io::Result<(u32, Vec<u8>)> {
    let head: [u8; 20] = array(stream)?;
    let number = |at: usize| u32::from_be_bytes(head[at..at + 4].try_into().expect("four bytes"));
    let mut payload = vec![0; number(16) as usize];
    stream.read_exact(&mut payload)?;
    Ok((number(12), payload))
}

fn go(stream: &mut impl Stream, export: &str) -> io::Result<Result<(u64, u16), Refused>> {
    let name_bytes = u32::try_from(export.len()).expect("a name is short");
    let mut payload = name_bytes.to_be_bytes().to_vec();
    payload.extend_from_slice(export.as_bytes());
    payload.extend_from_slice(&0_u16.to_be_bytes());
    send_option(stream, OPTION_GO, &payload)?;
    let mut opened = None;
    loop {
        let (kind, payload) = receive_option(stream)?;
        match kind {
            REPLY_INFO if payload[..2] == INFO_EXPORT.to_be_bytes() => {
                let size_bytes = u64::from_be_bytes(payload[2..10].try_into().expect("eight bytes"));
                opened = Some((size_bytes, u16::from_be_bytes([payload[10], payload[11]])));
            }
            REPLY_INFO => {}
            REPLY_ACK => return Ok(opened.ok_or(Refused(0))),
            refusal => return Ok(Err(Refused(refusal))),
        }
    }
}

fn array<const N: usize>(stream: &mut impl Stream) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}
