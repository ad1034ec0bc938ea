//! A small NBD client: GO, with or without structured replies.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::PATIENCE;

const OPTION_MAGIC: &[u8; 8] = b"IHAVEOPT";
const REQUEST_MAGIC: u32 = 0x2560_9513;
const SIMPLE_MAGIC: u32 = 0x6744_6698;
const STRUCTURED_MAGIC: u32 = 0x668e_33ef;
const OPTION_GO: u32 = 7;
const OPTION_STRUCTURED: u32 = 8;
const REPLY_ACK: u32 = 1;
const REPLY_INFO: u32 = 3;
const READ: u16 = 0;
const WRITE: u16 = 1;
const FLUSH: u16 = 3;
const DATA: u16 = 1;
const HOLE: u16 = 2;
const DONE: u16 = 1;

/// How replies come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Replies {
    Simple,
    Structured,
}

pub enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A connection that has a volume open.
pub struct Client {
    stream: Stream,
    replies: Replies,
    pub size_bytes: u64,
    next_cookie: u64,
}

/// Why there is no connection.
#[derive(Debug)]
pub enum Refusal {
    /// The server said no.
    Told,
    /// The connection ended.
    Broken(io::ErrorKind),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Broken(error.kind())
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(into),
            Self::Unix(stream) => stream.read(into),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Client {
    pub fn open(address: SocketAddr, export: &str, replies: Replies) -> Result<Self, Refusal> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Self::negotiate(Stream::Tcp(stream), export, replies)
    }

    pub fn open_unix(path: &Path, export: &str, replies: Replies) -> Result<Self, Refusal> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Self::negotiate(Stream::Unix(stream), export, replies)
    }

    fn negotiate(mut stream: Stream, export: &str, replies: Replies) -> Result<Self, Refusal> {
        let greeting: [u8; 18] = take(&mut stream)?;
        assert_eq!(&greeting[..16], b"NBDMAGICIHAVEOPT");
        stream.write_all(&3_u32.to_be_bytes())?;
        if replies == Replies::Structured {
            send_option(&mut stream, OPTION_STRUCTURED, &[])?;
            assert_eq!(option_reply(&mut stream)?.0, REPLY_ACK);
        }
        let mut go = u32::try_from(export.len()).unwrap().to_be_bytes().to_vec();
        go.extend_from_slice(export.as_bytes());
        go.extend_from_slice(&[0, 0]);
        send_option(&mut stream, OPTION_GO, &go)?;
        let mut size_bytes = 0;
        loop {
            match option_reply(&mut stream)? {
                (REPLY_ACK, _) => return Ok(Self { stream, replies, size_bytes, next_cookie: 1 }),
                (REPLY_INFO, info) if info[..2] == [0, 0] => {
                    size_bytes = u64::from_be_bytes(info[2..10].try_into().unwrap());
                }
                (REPLY_INFO, _) => {}
                (_, _) => return Err(Refusal::Told),
            }
        }
    }

    pub fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let cookie = self.send(WRITE, offset, bytes.len(), bytes)?;
        self.receive(cookie, offset, &mut [])
    }

    pub fn read(&mut self, offset: u64, len_bytes: usize) -> io::Result<Vec<u8>> {
        let cookie = self.send(READ, offset, len_bytes, &[])?;
        let mut bytes = vec![0; len_bytes];
        self.receive(cookie, offset, &mut bytes)?;
        Ok(bytes)
    }

    pub fn flush(&mut self) -> io::Result<()> {
        let cookie = self.send(FLUSH, 0, 0, &[])?;
        self.receive(cookie, 0, &mut [])
    }

    /// Waits until the server has hung up.
    pub fn expect_end(mut self) {
        let mut rest = Vec::new();
        if let Err(error) = self.stream.read_to_end(&mut rest) {
            // A reset is an end as well.
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "the connection stays");
        }
    }

    /// The reply to a request, with its data if it has any.
    fn receive(&mut self, cookie: u64, offset: u64, into: &mut [u8]) -> io::Result<()> {
        match self.replies {
            Replies::Simple => {
                let head: [u8; 16] = take(&mut self.stream)?;
                assert_eq!(head[..4], SIMPLE_MAGIC.to_be_bytes());
                assert_eq!((&head[4..8], &head[8..]), (&[0; 4][..], &cookie.to_be_bytes()[..]));
                self.stream.read_exact(into)
            }
            Replies::Structured => {
                while !self.chunk(cookie, offset, into)? {}
                Ok(())
            }
        }
    }

    /// Takes a chunk, or a simple reply as to a write; answers whether it is the last.
    fn chunk(&mut self, cookie: u64, offset: u64, into: &mut [u8]) -> io::Result<bool> {
        let magic: [u8; 4] = take(&mut self.stream)?;
        if magic == SIMPLE_MAGIC.to_be_bytes() {
            let rest: [u8; 12] = take(&mut self.stream)?;
            assert_eq!((&rest[..4], &rest[4..]), (&[0; 4][..], &cookie.to_be_bytes()[..]));
            return Ok(true);
        }
        assert_eq!(magic, STRUCTURED_MAGIC.to_be_bytes());
        let head: [u8; 16] = take(&mut self.stream)?;
        assert_eq!(head[4..12], cookie.to_be_bytes());
        let mut body = vec![0; u32::from_be_bytes(head[12..].try_into().unwrap()) as usize];
        self.stream.read_exact(&mut body)?;
        match u16::from_be_bytes(head[2..4].try_into().unwrap()) {
            DATA => {
                let from = usize::try_from(u64::from_be_bytes(body[..8].try_into().unwrap()) - offset).unwrap();
                into[from..from + body.len() - 8].copy_from_slice(&body[8..]);
            }
            0 | HOLE => {}
            kind => panic!("chunk of type {kind}"),
        }
        Ok(u16::from_be_bytes(head[..2].try_into().unwrap()) & DONE != 0)
    }

    fn send(&mut self, kind: u16, offset: u64, len_bytes: usize, payload: &[u8]) -> io::Result<u64> {
        let cookie = self.next_cookie;
        self.next_cookie += 1;
        let mut bytes = REQUEST_MAGIC.to_be_bytes().to_vec();
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(&kind.to_be_bytes());
        bytes.extend_from_slice(&cookie.to_be_bytes());
        bytes.extend_from_slice(&offset.to_be_bytes());
        bytes.extend_from_slice(&u32::try_from(len_bytes).unwrap().to_be_bytes());
        bytes.extend_from_slice(payload);
        self.stream.write_all(&bytes)?;
        Ok(cookie)
    }
}

fn send_option(stream: &mut Stream, option: u32, payload: &[u8]) -> io::Result<()> {
    let mut bytes = OPTION_MAGIC.to_vec();
    bytes.extend_from_slice(&option.to_be_bytes());
    bytes.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes());
    bytes.extend_from_slice(payload);
    stream.write_all(&bytes)
}

fn option_reply(stream: &mut Stream) -> io::Result<(u32, Vec<u8>)> {
    let head: [u8; 20] = take(stream)?;
    let mut payload = vec![0; u32::from_be_bytes(head[16..].try_into().unwrap()) as usize];
    stream.read_exact(&mut payload)?;
    Ok((u32::from_be_bytes(head[12..16].try_into().unwrap()), payload))
}

fn take<const N: usize>(stream: &mut Stream) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}
