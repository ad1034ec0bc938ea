//! The primary's side: one connection to the volume, over which requests are sent and replies come back.

use std::collections::VecDeque;
use std::io;

use block::{Error, PAGE_BYTES, Pages};
use nbd::REPLY_BYTES;
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::ledger::{Ledger, Sending};

/// Bytes read at once where a read's data does not follow.
const INPUT_BYTES: usize = 64 << 10;

/// The connection.
#[derive(Debug)]
pub struct Upstream {
    stream: TcpStream,
    output: VecDeque<u8>,
    input: Vec<u8>,
    /// A read whose data is still coming.
    reading: Option<Reading>,
}

#[derive(Debug)]
struct Reading {
    cookie: u64,
    buffer: Pages,
    len_bytes: usize,
    at: usize,
}

/// A request's end.
#[derive(Debug)]
pub struct Answer {
    /// Which.
    pub cookie: u64,
    /// How, and with what data for a read.
    pub result: Result<Option<Pages>, Error>,
}

impl Upstream {
    /// A connection behind its handshake.
    pub fn new(stream: TcpStream) -> Self {
        Self { stream, output: VecDeque::new(), input: Vec::new(), reading: None }
    }

    /// Queues a request. What is queued is bounded by what the ledger takes.
    pub fn send(&mut self, sending: &Sending<'_>) {
        let header = nbd::encode_request(&sending.request, sending.cookie);
        self.output.extend(header.expect("a block status is answered without the primary"));
        self.output.extend(sending.payload);
    }

    /// Waits until there is something to read, or something can be sent.
    pub async fn ready(&self) -> io::Result<()> {
        let reads = Interest::READABLE;
        let interest = if self.output.is_empty() { reads } else { reads | Interest::WRITABLE };
        self.stream.ready(interest).await.map(drop)
    }

    /// Sends what goes.
    pub fn write(&mut self) -> io::Result<()> {
        while !self.output.is_empty() {
            match self.stream.try_write(self.output.as_slices().0) {
                Ok(sent_bytes) => drop(self.output.drain(..sent_bytes)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The next answer of what has come, or `None` until more comes.
    ///
    /// # Errors
    /// The connection is of no use any more.
    pub fn read<T>(&mut self, ledger: &Ledger<T>) -> io::Result<Option<Answer>> {
        loop {
            if let Some(answer) = self.parse(ledger)? {
                return Ok(Some(answer));
            }
            if !self.fill()? {
                return Ok(None);
            }
        }
    }

    fn parse<T>(&mut self, ledger: &Ledger<T>) -> io::Result<Option<Answer>> {
        if self.reading.is_some() {
            return Ok(self.read_on());
        }
        let Some((header, _)) = self.input.split_first_chunk::<REPLY_BYTES>() else { return Ok(None) };
        let reply = nbd::parse_reply(header).map_err(invalid)?;
        let Some(len_bytes) = ledger.data_bytes(reply.cookie) else { return Err(invalid("a reply to nothing asked")) };
        self.input.drain(..REPLY_BYTES);
        if reply.result.is_ok() && len_bytes > 0 {
            let buffer = Pages::zeroed(len_bytes.div_ceil(PAGE_BYTES));
            self.reading = Some(Reading { cookie: reply.cookie, buffer, len_bytes, at: 0 });
            return Ok(self.read_on());
        }
        Ok(Some(Answer { cookie: reply.cookie, result: reply.result.map(|()| None) }))
    }

    /// Moves what has come into the read's buffer; its answer when that is all.
    fn read_on(&mut self) -> Option<Answer> {
        let reading = self.reading.as_mut()?;
        let step = (reading.len_bytes - reading.at).min(self.input.len());
        reading.buffer.bytes_mut()[reading.at..reading.at + step].copy_from_slice(&self.input[..step]);
        self.input.drain(..step);
        reading.at += step;
        if reading.at < reading.len_bytes {
            return None;
        }
        let Reading { cookie, buffer, .. } = self.reading.take()?;
        Some(Answer { cookie, result: Ok(Some(buffer)) })
    }

    /// Receives more; `false` when there is none now.
    fn fill(&mut self) -> io::Result<bool> {
        let before = self.input.len();
        let (read, into_input) = match &mut self.reading {
            Some(reading) => {
                let rest = &mut reading.buffer.bytes_mut()[reading.at..reading.len_bytes];
                (self.stream.try_read(rest), false)
            }
            None => {
                self.input.resize(before + INPUT_BYTES, 0);
                (self.stream.try_read(&mut self.input[before..]), true)
            }
        };
        let count = match &read {
            Ok(count) => *count,
            Err(_) => 0,
        };
        if into_input {
            self.input.truncate(before + count);
        } else if let Some(reading) = &mut self.reading {
            reading.at += count;
        }
        match read {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
