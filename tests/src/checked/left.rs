//! Connections that a client left because nobody answered, and that are still open: a primary that was stopped finds them
//! when it goes on. Nothing that it says then may contradict what others said meanwhile.

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::checked::CheckedClient;
use crate::checked::beliefs::Beliefs;
use crate::checked::client::{Asked, What, index};
use crate::nbd::{self, Client, Reply};
use crate::stamp::BLOCK;

/// Reads that are asked for on each.
const READS: u64 = 16;
/// Blocks of each.
const READ_BLOCKS: u64 = 8;

/// One of them.
pub struct Left {
    connection: Client<TcpStream>,
    in_flight: BTreeMap<u64, Asked>,
    /// What has this number or a higher one was asked for after it was left.
    late_from: u64,
}

/// What was said on connections that had been left.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Heard {
    /// Answers that say that something was done.
    pub done: u64,
    /// Of them, reads that were asked for after the connection was left.
    pub late_reads: u64,
}

impl Left {
    pub(super) fn new(connection: Client<TcpStream>, in_flight: BTreeMap<u64, Asked>) -> Self {
        Self { connection, in_flight, late_from: u64::MAX }
    }
}

impl CheckedClient {
    /// Asks for reads on every connection that was left: they begin now, so what they find must be what there is now.
    /// Answers how many.
    pub fn read_on_left(&mut self) -> usize {
        let mut all = std::mem::take(&mut self.left);
        let mut asked = 0;
        for left in &mut all {
            left.late_from = self.next_number;
            for number in 0..READS {
                let first = number * READ_BLOCKS;
                let (request, what) = self.read(first..first + READ_BLOCKS);
                if left.connection.send(request, &[]).is_ok() {
                    left.in_flight.insert(request.cookie, Asked { what, at: Instant::now() });
                    asked += 1;
                }
            }
        }
        self.left = all;
        asked
    }

    /// Hears what is said on them until nothing more is said for `patience`, and closes them.
    ///
    /// # Errors
    /// A sentence when what is said is not true.
    pub fn hear_left(&mut self, patience: Duration) -> Result<Heard, String> {
        let mut heard = Heard::default();
        for mut left in std::mem::take(&mut self.left) {
            nbd::bound(left.connection.stream(), patience);
            while let Ok(reply) = left.connection.receive() {
                let Some(asked) = left.in_flight.remove(&reply.cookie) else {
                    return Err(format!("an answer came to what was not asked: {reply:?}"));
                };
                let is_late = reply.cookie > left.late_from;
                if reply.error == 0 && !self.is_true(&mut left.connection, reply, asked.what, is_late)? {
                    break;
                }
                heard.done += u64::from(reply.error == 0);
                heard.late_reads += u64::from(reply.error == 0 && is_late);
            }
        }
        Ok(heard)
    }

    /// Whether there may be more to hear.
    fn is_true(
        &mut self,
        connection: &mut Client<TcpStream>,
        reply: Reply,
        what: What,
        is_late: bool,
    ) -> Result<bool, String> {
        match what {
            What::Write { blocks, .. } => {
                blocks.map(index).try_for_each(|block| self.beliefs.acknowledged_late(block, reply.cookie))?;
            }
            What::Flush { .. } => {}
            What::Read { first, since } => {
                let mut data = vec![0; since.len() * BLOCK];
                if connection.receive_data(&mut data).is_err() {
                    return Ok(false);
                }
                // What was asked for before may have been answered long ago: it says nothing about what is there now.
                let read = if is_late { Beliefs::read_all } else { Beliefs::was_read };
                read(&mut self.beliefs, first, &since, &data).map_err(|error| format!("after it was left: {error}"))?;
            }
        }
        Ok(true)
    }
}
