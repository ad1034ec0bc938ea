//! Clients of whoever is primary: writes, reads and flushes, and what is noted of them.

use block::{BlockRange, GROUP_BLOCKS, WriteSeq};
use replication::{Change, OpId};

use super::{Host, Reading, Request, World, name};
use crate::history::Op;
use crate::media::{GROUPS, Value, changes};

impl World {
    /// The generation that what it admits belongs to. One that an operator made primary by force acknowledges, once it
    /// hears of that, what it admitted since as well, although it took itself for an earlier primary.
    pub(super) fn generation_at(&self, host: usize) -> Option<u64> {
        let decided = &self.control.decided;
        let is_chosen = decided.members.get(&name(host)) == Some(&self.hosts[host].incarnation);
        let chosen = (is_chosen && decided.primary == name(host)).then_some(decided.cache_generation);
        let known = self.hosts[host].replica.configuration()?.cache_generation;
        Some(chosen.map_or(known, |chosen| chosen.max(known)))
    }

    pub(super) fn act_as_client(&mut self) -> Result<(), String> {
        let serving: Vec<usize> = (0..self.hosts.len())
            .filter(|host| self.is_awake(*host) && self.hosts[*host].replica.status().role == "primary")
            .collect();
        if serving.is_empty() {
            return Ok(());
        }
        let host = self.random.pick(&serving);
        match self.random.below(100) {
            0..50 => self.write(host),
            50..85 => {
                self.read(host);
                Ok(())
            }
            _ => self.flush(host).map(drop),
        }
    }

    pub(super) fn write(&mut self, host: usize) -> Result<(), String> {
        let first = self.random.below(GROUPS as u64);
        let blocks = if self.random.percent(15) && first + 1 < GROUPS as u64 { GROUP_BLOCKS + 1 } else { 1 };
        let fua = self.random.percent(5);
        self.write_range(host, BlockRange::new(first * u64::from(GROUP_BLOCKS), blocks), fua)
    }

    pub(super) fn write_group(&mut self, host: usize, group: u64) -> Result<(), String> {
        self.write_range(host, BlockRange::new(group * u64::from(GROUP_BLOCKS), 1), false)
    }

    fn write_range(&mut self, host: usize, range: BlockRange, fua: bool) -> Result<(), String> {
        let value = self.next_value;
        let change = Change::Write { range, payload: value };
        let groups = changes(&change);
        let (op, seq) = self.submit(host, change, fua)?;
        let Some(seq) = seq else { return Ok(()) };
        self.next_value += 1;
        let generation = self.generation_at(host).expect("a primary has a configuration");
        let mut request = Request { host, ops: Vec::new(), flushes: Vec::new() };
        for (group, value) in groups {
            request.ops.push(self.history.len());
            let invoked = self.now;
            self.history.push(Op { group, value, is_read: false, invoked, returned: None, generation, initial: false });
            if fua {
                request.flushes.push((group, seq));
            }
        }
        self.requests.insert(op, request);
        Ok(())
    }

    /// Answers the flush's place, if it was taken.
    pub(super) fn flush(&mut self, host: usize) -> Result<Option<WriteSeq>, String> {
        let flushes: Vec<_> = self.hosts[host].media.now.iter().map(|version| version.seq).enumerate().collect();
        let (op, seq) = self.submit(host, Change::Flush, false)?;
        if seq.is_some() {
            self.requests.insert(op, Request { host, ops: Vec::new(), flushes });
        }
        Ok(seq)
    }

    pub(super) fn submit(
        &mut self,
        host: usize,
        change: Change<Value>,
        fua: bool,
    ) -> Result<(OpId, Option<WriteSeq>), String> {
        let op = OpId(self.next_op);
        self.next_op += 1;
        // A primary gives nothing a place that the store would not take at once.
        if self.hosts[host].busy_until > self.now || !self.hosts[host].orders.is_empty() {
            return Ok((op, None));
        }
        let mut effects = Vec::new();
        let now = self.time();
        let seq = self.hosts[host].replica.submit(now, op, change, fua, &mut effects).ok();
        if self.trace {
            println!("{:5} {host} client {op:?} {seq:?}", self.now);
        }
        self.carry_out(host, effects)?;
        Ok((op, seq))
    }

    pub(super) fn read(&mut self, host: usize) {
        let group = self.random.index(GROUPS);
        let range = BlockRange::new(group as u64 * u64::from(GROUP_BLOCKS), 1);
        let Host { replica, media, incarnation, .. } = &self.hosts[host];
        if replica.change_in_flight(range).is_some() {
            return;
        }
        let Some(generation) = self.generation_at(host) else { return };
        let (value, incarnation) = (media.now[group].value, *incarnation);
        let invoked = self.now;
        self.readings.push(Reading { host, incarnation, group, value, invoked, generation });
    }

    pub(super) fn answer_reads(&mut self) {
        let now = self.time();
        for reading in std::mem::take(&mut self.readings) {
            let Reading { host, incarnation, group, value, invoked, generation } = reading;
            if self.hosts[host].up && !self.is_awake(host) {
                self.readings.push(reading);
                continue;
            }
            let host = &self.hosts[host];
            if !host.up || host.incarnation != incarnation || !host.replica.may_answer_reads(now) {
                continue;
            }
            *self.counters.entry("read").or_default() += 1;
            let returned = Some(self.now);
            self.history.push(Op { group, value, is_read: true, invoked, returned, generation, initial: false });
        }
    }

    pub(super) fn completed(&mut self, op: OpId) {
        let request = self.requests.remove(&op).expect("a request ends once");
        for op in request.ops {
            self.history[op].returned = Some(self.now);
        }
        for (group, seq) in request.flushes {
            self.flushed[group] = self.flushed[group].max(seq);
        }
        self.count("completed");
    }
}
