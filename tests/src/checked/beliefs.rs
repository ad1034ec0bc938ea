//! What every block of a volume may hold, as far as its only writer can know.
//!
//! Writes of one block have numbers that rise, and a block never goes back: what was acknowledged, or found by a read, is
//! there until a later write is. A write whose connection broke before its reply may have been made or not; which of the
//! two was settled when the next connection was let in, and cannot change any more. Only after power was lost everywhere
//! a block may go back, to no more than what was flushed.

use std::collections::BTreeMap;

use crate::stamp::Content;

/// What a write puts into a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Put {
    /// Its stamp.
    Stamp,
    /// Zeroes.
    Zeroes,
}

/// How a write ended, as far as is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    /// It was asked for on this connection, and is made by now or will be.
    Asked,
    /// An earlier connection broke before its reply.
    Unknown,
    /// It was made.
    Made,
}

#[derive(Clone, Copy, Debug)]
struct Write {
    put: Put,
    fate: Fate,
}

/// One block.
#[derive(Debug)]
struct Block {
    /// All that it may hold now or after a loss of power, by number. 0 is what it held at first.
    writes: BTreeMap<u64, Write>,
    /// A read that begins now finds this or something later.
    floor: u64,
    /// What is there even after a loss of power, or something later.
    durable: u64,
}

/// What was known of a block when a request began.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Since(u64);

/// Every block of a volume that began empty.
#[derive(Debug)]
pub struct Beliefs {
    blocks: Vec<Block>,
}

impl Beliefs {
    /// Of a volume that was never written.
    #[must_use]
    pub fn new(blocks: usize) -> Self {
        let blank = || Block {
            writes: BTreeMap::from([(0, Write { put: Put::Zeroes, fate: Fate::Made })]),
            floor: 0,
            durable: 0,
        };
        Self { blocks: (0..blocks).map(|_| blank()).collect() }
    }

    /// How many blocks there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Whether a write of the block has not been answered.
    #[must_use]
    pub fn is_busy(&self, block: usize) -> bool {
        self.blocks[block].writes.values().any(|write| write.fate == Fate::Asked)
    }

    /// A write is asked for. There is none on the block yet.
    pub fn ask(&mut self, block: usize, number: u64, put: Put) {
        self.blocks[block].writes.insert(number, Write { put, fate: Fate::Asked });
    }

    /// It was acknowledged.
    pub fn acknowledge(&mut self, block: usize, number: u64, durable: bool) {
        let block = &mut self.blocks[block];
        block.found(number);
        if let Some(write) = block.writes.get_mut(&number) {
            write.fate = Fate::Made;
        }
        if durable {
            block.keep(number);
        }
    }

    /// A read or a flush of the block begins.
    #[must_use]
    pub fn since(&self, block: usize) -> Since {
        Since(self.blocks[block].floor)
    }

    /// A flush that began then was acknowledged.
    pub fn flushed(&mut self, block: usize, since: Since) {
        self.blocks[block].keep(since.0);
    }

    /// A read that began then found this.
    ///
    /// # Errors
    /// A sentence when it must not.
    pub fn read(&mut self, index: usize, since: Since, found: Content) -> Result<(), String> {
        let block = &mut self.blocks[index];
        let holds = |number: u64, write: &Write| match (found, write.put) {
            (Content::Stamped(stamp), Put::Stamp) => stamp == number,
            (Content::Zero, Put::Zeroes) => true,
            (Content::Stamped(_), Put::Zeroes) | (Content::Zero, Put::Stamp) => false,
        };
        let mut fitting = block.writes.range(since.0..).filter(|(number, write)| holds(**number, write));
        match (fitting.next().map(|(number, _)| *number), fitting.next()) {
            (None, _) => Err(format!("block {index} holds {found:?}, and allowed is {}", block.words(since))),
            // Zeroes of one of several writes.
            (Some(_), Some(_)) => Ok(()),
            (Some(number), None) => {
                block.found(number);
                Ok(())
            }
        }
    }

    /// A read that began then found this at some time since then: other writes may have followed.
    ///
    /// # Errors
    /// A sentence when it was over before.
    pub fn was_seen(&self, index: usize, since: Since, found: Content) -> Result<(), String> {
        match found {
            Content::Stamped(number) if number < since.0 => {
                Err(format!("block {index} held write {number}, and {} was acknowledged before", since.0))
            }
            Content::Stamped(_) | Content::Zero => Ok(()),
        }
    }

    /// The connection broke: nobody knows what became of what was asked for.
    pub fn broken(&mut self) {
        for block in &mut self.blocks {
            for (number, write) in block.writes.iter_mut().filter(|(_, write)| write.fate == Fate::Asked) {
                write.fate = if *number <= block.floor { Fate::Made } else { Fate::Unknown };
            }
        }
    }

    /// An acknowledgement came on a connection that was left, after another one was let in.
    ///
    /// # Errors
    /// A sentence when the write is known not to have been made.
    pub fn acknowledged_late(&mut self, index: usize, number: u64) -> Result<(), String> {
        let block = &mut self.blocks[index];
        if number < block.floor || block.writes.contains_key(&number) {
            return Ok(());
        }
        Err(format!("write {number} of block {index} was acknowledged and is not there: {}", block.words(Since(0))))
    }

    /// Power was lost everywhere.
    pub fn power_lost(&mut self) {
        for block in &mut self.blocks {
            block.floor = block.durable;
            for (number, write) in &mut block.writes {
                write.fate = if *number == block.durable { Fate::Made } else { Fate::Unknown };
            }
        }
    }
}

impl Block {
    /// It is known to hold this, or something later.
    fn found(&mut self, number: u64) {
        if number < self.floor {
            return;
        }
        // What was settled when this connection was let in is earlier than all that was asked for on it: what is later
        // than what was found was never made. Of what is earlier nobody knows.
        let is_early = self.writes.get(&number).is_some_and(|write| write.fate != Fate::Asked);
        if is_early {
            self.writes.retain(|later, write| *later <= number || write.fate != Fate::Unknown);
        }
        self.floor = number;
    }

    fn keep(&mut self, number: u64) {
        self.durable = self.durable.max(number);
        self.writes.retain(|other, _| *other >= self.durable);
    }

    fn words(&self, since: Since) -> String {
        let writes: Vec<_> = self.writes.range(since.0..).collect();
        format!("{writes:?}, {} at least and {} durable", self.floor, self.durable)
    }
}

#[cfg(test)]
mod tests {
    use super::{Beliefs, Put};
    use crate::stamp::Content::{Stamped, Zero};

    fn written(numbers: &[u64]) -> Beliefs {
        let mut beliefs = Beliefs::new(1);
        for number in numbers {
            beliefs.ask(0, *number, Put::Stamp);
            beliefs.acknowledge(0, *number, false);
        }
        beliefs
    }

    #[test]
    fn what_was_read_some_time_ago_may_be_older_than_what_is_there_and_not_than_what_was() {
        let mut beliefs = written(&[1, 2]);
        let since = beliefs.since(0);
        beliefs.ask(0, 3, Put::Stamp);
        beliefs.acknowledge(0, 3, true);
        assert!(beliefs.read(0, since, Stamped(2)).is_err(), "it is not there any more");
        assert_eq!(beliefs.was_seen(0, since, Stamped(2)), Ok(()));
        assert!(beliefs.was_seen(0, since, Stamped(1)).is_err());
    }

    #[test]
    fn what_was_acknowledged_is_found_and_nothing_older() {
        let mut beliefs = written(&[1, 2]);
        let since = beliefs.since(0);
        assert!(beliefs.read(0, since, Stamped(2)).is_ok());
        assert!(beliefs.read(0, since, Stamped(1)).unwrap_err().contains("block 0 holds Stamped(1)"));
        assert!(beliefs.read(0, since, Zero).is_err());
        assert!(beliefs.read(0, since, Stamped(3)).is_err(), "nobody wrote it");
    }

    #[test]
    fn a_read_beside_a_write_finds_either_and_the_next_one_does_not_go_back() {
        let mut beliefs = written(&[1]);
        let early = beliefs.since(0);
        beliefs.ask(0, 2, Put::Stamp);
        assert!(beliefs.is_busy(0));
        assert!(beliefs.read(0, early, Stamped(1)).is_ok());
        assert!(beliefs.read(0, early, Stamped(2)).is_ok());
        let late = beliefs.since(0);
        assert!(beliefs.is_busy(0), "it was found, and not answered");
        assert!(beliefs.read(0, late, Stamped(1)).is_err());
        assert!(beliefs.read(0, early, Stamped(1)).is_ok(), "it began before");
    }

    #[test]
    fn what_is_unknown_is_settled_by_the_first_read_of_the_next_connection() {
        for (found, other) in [(1, 2), (2, 1)] {
            let mut beliefs = written(&[1]);
            beliefs.ask(0, 2, Put::Stamp);
            beliefs.broken();
            assert!(!beliefs.is_busy(0));
            let since = beliefs.since(0);
            assert!(beliefs.read(0, since, Stamped(found)).is_ok());
            let since = beliefs.since(0);
            assert!(beliefs.read(0, since, Stamped(other)).is_err(), "{found} was there before {other}");
        }
    }

    #[test]
    fn what_is_unknown_never_comes_after_a_later_write() {
        let mut beliefs = written(&[1]);
        beliefs.ask(0, 2, Put::Stamp);
        beliefs.broken();
        beliefs.ask(0, 3, Put::Stamp);
        let beside = beliefs.since(0);
        assert!(beliefs.read(0, beside, Stamped(2)).is_ok());
        beliefs.acknowledge(0, 3, false);
        let since = beliefs.since(0);
        assert!(beliefs.read(0, since, Stamped(2)).is_err());
    }

    #[test]
    fn a_late_acknowledgement_of_what_is_not_there_is_a_lie() {
        let mut beliefs = written(&[1]);
        beliefs.ask(0, 2, Put::Stamp);
        beliefs.broken();
        assert!(beliefs.acknowledged_late(0, 2).is_ok(), "it may have been made");
        let since = beliefs.since(0);
        assert!(beliefs.read(0, since, Stamped(1)).is_ok());
        assert!(beliefs.acknowledged_late(0, 2).is_err());
        assert!(beliefs.acknowledged_late(0, 1).is_ok());
    }

    #[test]
    fn power_takes_back_what_was_not_flushed_and_nothing_else() {
        let mut beliefs = written(&[1, 2]);
        let since = beliefs.since(0);
        beliefs.ask(0, 3, Put::Stamp);
        beliefs.acknowledge(0, 3, false);
        beliefs.flushed(0, since);
        beliefs.power_lost();
        let since = beliefs.since(0);
        assert!(beliefs.read(0, since, Stamped(1)).is_err());
        assert!(beliefs.read(0, since, Stamped(2)).is_ok());
        assert!(beliefs.read(0, since, Stamped(3)).is_err(), "what was found there stays");
    }

    #[test]
    fn what_was_on_its_way_when_power_was_lost_may_be_there() {
        let mut beliefs = written(&[1]);
        beliefs.ask(0, 2, Put::Stamp);
        beliefs.acknowledge(0, 2, true);
        beliefs.ask(0, 3, Put::Zeroes);
        beliefs.broken();
        beliefs.power_lost();
        let since = beliefs.since(0);
        assert!(beliefs.read(0, since, Stamped(1)).is_err());
        assert!(beliefs.read(0, since, Zero).is_ok());
        let since = beliefs.since(0);
        assert!(beliefs.read(0, since, Stamped(2)).is_err());
    }
}
