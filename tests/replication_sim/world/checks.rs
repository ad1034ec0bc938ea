//! What must hold at every step, and when all faults are gone. The names are those of the design's invariants.

use std::collections::BTreeSet;

use block::WriteSeq;
use replication::{Content, Event};

use super::{FLUSH_INTERVAL, HEALING_STEPS, Host, World, index, name};
use crate::media::{GROUPS, Value};

impl World {
    pub(super) fn check(&self) -> Result<(), String> {
        let now = self.time();
        for replica in self.control.decided.members.keys() {
            let media = &self.hosts[index(*replica)].media;
            for group in 0..GROUPS {
                if media.durable_version(group) < self.flushed[group] {
                    return Err(format!(
                        "I5: member {} may lose group {group}: {} is durable, {} was flushed",
                        replica.0,
                        media.durable_version(group),
                        self.flushed[group]
                    ));
                }
            }
        }
        self.check_snapshots()?;
        let serving = self.hosts.iter().filter(|host| host.up && host.replica.may_answer_reads(now)).count();
        if serving > 1 { Err(format!("I2: {serving} replicas may answer reads")) } else { Ok(()) }
    }

    pub(super) fn heal(&mut self) -> Result<(), String> {
        self.blocked.clear();
        self.stuck.clear();
        self.cut_off.clear();
        for host in 0..self.hosts.len() {
            self.hosts[host].up = true;
            (self.hosts[host].paused_until, self.hosts[host].busy_until) = (0, 0);
            self.handle(host, Event::HandOver { to: None })?;
        }
        let mut flushed = None;
        let mut flush_at = 0;
        for step in 0..HEALING_STEPS {
            self.now += 1;
            for a in 0..self.hosts.len() {
                for b in 0..self.hosts.len() {
                    if a != b {
                        self.deliver(a, b)?;
                    }
                }
                self.persist(a, 4)?;
            }
            self.control.decide(&mut self.random, |_| false);
            let host = self.random.index(self.hosts.len());
            self.look(host)?;
            self.connect();
            self.answer_reads();
            if self.random.percent(5) {
                self.recover()?;
            }
            self.check()?;
            let are_settled = self.are_snapshots_settled();
            if self.is_settled() && are_settled && flushed.is_some_and(|seq| self.is_announced(seq)) {
                self.count("healed");
                return self.compare();
            }
            // Who becomes primary before it has heard of the last flush has nothing to announce: then once more.
            if self.is_settled() && step >= flush_at {
                flush_at = step + FLUSH_INTERVAL;
                flushed = self.flush(index(self.control.decided.primary))?;
            }
        }
        let states: Vec<_> = self.hosts.iter().map(|host| host.replica.status()).collect();
        let cuts = &self.cuts;
        Err(format!("L1: not well after {HEALING_STEPS} steps: {:?} {states:?} {cuts:?}", self.control.decided))
    }

    pub(super) fn is_settled(&self) -> bool {
        let decided = &self.control.decided;
        let received = self.hosts[index(decided.primary)].replica.status().received;
        let wanted: Vec<usize> = self.wanted().collect();
        decided.members.len() == wanted.len()
            && self.requests.is_empty()
            && wanted.into_iter().all(|host| {
                let status = self.hosts[host].replica.status();
                let role = if decided.primary == name(host) { "primary" } else { "backup" };
                status.role == role && status.epoch == decided.epoch && status.received == received
            })
            && self.hosts.iter().all(Host::is_idle)
    }

    /// Whether every replica has heard of this flush.
    fn is_announced(&self, flushed: WriteSeq) -> bool {
        self.wanted().all(|host| self.hosts[host].media.stable() >= flushed)
    }

    pub(super) fn compare(&self) -> Result<(), String> {
        for group in 0..GROUPS {
            let values: BTreeSet<Value> = self.wanted().map(|host| self.hosts[host].media.now[group].value).collect();
            if values.len() > 1 {
                return Err(format!("I10: the replicas of group {group} differ: {values:?}"));
            }
        }
        self.compare_snapshots()?;
        for host in self.wanted() {
            let media = &self.hosts[host].media;
            let dirty = media.changed_since(media.stable());
            if !dirty.is_empty() {
                return Err(format!("I10: replica {host} is dirty after a flush: {dirty:?}"));
            }
        }
        Ok(())
    }
}
