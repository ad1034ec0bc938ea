//! When a batch is on stable media: one fdatasync in flight, everybody who asks meanwhile shares the next one.

use std::collections::VecDeque;

use block::Lsn;

use crate::effect::Token;

/// Batches written but not durable beyond which a sync starts unasked, so that a recovery after a power cut has
/// little to verify.
const UNASKED_SYNC_PAGES: u64 = 64 << 10;

#[derive(Debug)]
pub(crate) struct Durability {
    durable: Lsn,
    running: bool,
    started: u64,
    ended: u64,
    /// Requests that wait for a batch to be durable, in no order.
    waiters: VecDeque<(Lsn, Token)>,
    /// Batches the store itself wants durable: the one that the next sync must cover, and the newest.
    wanted: Option<(Lsn, Lsn)>,
    /// A sync must start even if every batch is durable: something beside the log was written.
    fresh: Option<u64>,
    pages_since: u64,
}

impl Durability {
    pub fn new(durable: Lsn) -> Self {
        Self {
            durable,
            running: false,
            started: 0,
            ended: 0,
            waiters: VecDeque::new(),
            wanted: None,
            fresh: None,
            pages_since: 0,
        }
    }

    /// Every batch up to here is on stable media.
    pub fn durable(&self) -> Lsn {
        self.durable
    }

    pub fn wait(&mut self, lsn: Lsn, token: Token) {
        self.waiters.push_back((lsn, token));
    }

    pub fn want(&mut self, lsn: Lsn) {
        if lsn > self.durable {
            let (next, newest) = self.wanted.unwrap_or((lsn, lsn));
            self.wanted = Some((next.min(lsn), newest.max(lsn)));
        }
    }

    /// Asks for a sync that starts after now; answers its number for [`Durability::has_ended`].
    pub fn want_fresh(&mut self) -> u64 {
        let number = self.started + 1;
        self.fresh = Some(number);
        number
    }

    pub fn has_ended(&self, number: u64) -> bool {
        self.ended >= number
    }

    pub fn wrote(&mut self, pages: u64) {
        self.pages_since += pages;
    }

    /// Whether a sync should start now that batches up to `persisted` ended at the device.
    pub fn wants_sync(&self, persisted: Lsn) -> bool {
        if self.running {
            return false;
        }
        let fresh = self.fresh.is_some_and(|number| number > self.started);
        let waited = self.waiters.iter().any(|(lsn, _)| *lsn <= persisted);
        let own = self.wanted.is_some_and(|(next, _)| persisted >= next);
        fresh || waited || own || (self.pages_since > UNASKED_SYNC_PAGES && persisted > self.durable)
    }

    pub fn start(&mut self) {
        self.running = true;
        self.started += 1;
        self.pages_since = 0;
    }

    /// A sync that was started when batches up to `covers` had ended at the device is through: wakes who waited.
    pub fn ended(&mut self, covers: Lsn, wake: &mut impl FnMut(Token)) {
        self.running = false;
        self.ended = self.started;
        self.durable = self.durable.max(covers);
        let durable = self.durable;
        self.wanted = match self.wanted {
            Some((next, newest)) if next <= durable => (newest > durable).then_some((newest, newest)),
            wanted => wanted,
        };
        self.waiters.retain(|(lsn, token)| {
            let done = *lsn <= durable;
            if done {
                wake(*token);
            }
            !done
        });
    }

    /// Everybody who waits; for when no sync will ever succeed again.
    pub fn take_waiters(&mut self) -> impl Iterator<Item = Token> {
        self.waiters.drain(..).map(|(_, token)| token)
    }
}
