//! What goes wrong, and what the control plane and operators do about it.

use replication::Event;

use super::{PROMISE, World, index, name, start};
use crate::control::Registration;
use crate::history::Op;
use crate::media::GROUPS;

impl World {
    /// Whom the next fault is about: often the primary, for that is where it matters most.
    pub(super) fn victim(&mut self) -> usize {
        if self.random.percent(40) { index(self.control.decided.primary) } else { self.random.index(self.hosts.len()) }
    }

    pub(super) fn fail(&mut self) -> Result<(), String> {
        if self.random.ppm(self.rates.stick) {
            self.stick();
        }
        if self.random.ppm(60_000) {
            self.stuck.clear();
        }
        let host = self.victim();
        if self.random.ppm(self.rates.partition) {
            self.partition();
        }
        if !self.blocked.is_empty() && self.random.ppm(self.rates.partition * self.rates.heal / 1_000_000 * 3) {
            self.blocked.clear();
        }
        if self.random.ppm(self.rates.cut_off) {
            self.cut_off.insert(host);
        }
        if !self.cut_off.is_empty() && self.random.ppm(self.rates.cut_off * self.rates.heal / 1_000_000 * 3) {
            self.cut_off.clear();
        }
        if self.random.ppm(self.rates.restart) && self.hosts[host].up {
            let cold = self.random.percent(50);
            self.restart(host, cold);
            self.hosts[host].up = self.random.percent(60);
            if self.random.ppm(self.rates.restart_all) {
                for host in 0..self.hosts.len() {
                    let cold = self.random.percent(80);
                    self.restart(host, cold);
                }
            }
        }
        if self.random.ppm(self.rates.pause) {
            self.hosts[host].paused_until = self.now + 5 + self.random.below(self.rates.pause_steps);
        }
        if self.random.ppm(self.rates.busy) {
            self.hosts[host].busy_until = self.now + 5 + self.random.below(60);
        }
        if self.random.ppm(self.rates.hand_over) && self.is_awake(host) {
            let to = self.random.percent(90).then(|| name((host + 1) % self.hosts.len()));
            self.handle(host, Event::HandOver { to })?;
        }
        if self.random.ppm(self.rates.want) {
            self.want_others();
        }
        if self.random.ppm(self.rates.want) {
            self.bury();
        }
        if self.random.ppm(self.rates.snapshot) {
            self.want_snapshot();
        }
        if self.random.ppm(self.rates.snapshot) {
            self.doom_snapshot();
        }
        if self.random.ppm(self.rates.force) {
            self.force();
        }
        if self.random.ppm(self.rates.recover) { self.recover() } else { Ok(()) }
    }

    /// One connection of one direction delivers nothing for a while.
    fn stick(&mut self) {
        let one = self.victim();
        let other = (one + 1 + self.random.index(self.hosts.len() - 1)) % self.hosts.len();
        let (from, to) = if self.random.percent(50) { (one, other) } else { (other, one) };
        let channel = self.random.index(3);
        self.stuck.insert((from, to, channel));
    }

    pub(super) fn partition(&mut self) {
        let a = self.victim();
        let b = (a + 1 + self.random.index(self.hosts.len() - 1)) % self.hosts.len();
        match self.random.below(10) {
            0..3 => self.break_link(a, b),
            3..7 => self.blocked.extend([(a, b), (b, a)]),
            7 => {
                self.blocked.insert((a, b));
            }
            _ => {
                for other in (0..self.hosts.len()).filter(|other| *other != a) {
                    self.blocked.extend([(a, other), (other, a)]);
                }
            }
        }
    }

    pub(super) fn restart(&mut self, host: usize, cold: bool) {
        for other in (0..self.hosts.len()).filter(|other| *other != host) {
            self.break_link(host, other);
            self.hosts[host].noticed.insert(other, true);
        }
        self.requests.retain(|_, request| request.host != host);
        self.count(if cold { "power lost" } else { "killed" });
        let me = &mut self.hosts[host];
        if cold {
            me.media.power_lost(&mut self.random);
        } else {
            me.media.killed();
        }
        me.groups_read.clear();
        me.orders.clear();
        me.busy_until = 0;
        me.incarnation.0 += 1;
        (me.warm, me.started) = (!cold, self.now);
        me.replica = start(host, me.incarnation, &me.media);
        if self.trace {
            println!("{:5} {host} restarted, cold: {cold}", self.now);
        }
    }

    pub(super) fn is_there(&self, host: usize) -> bool {
        self.hosts[host].up && !self.cut_off.contains(&host)
    }

    /// Whether a member is as it was.
    pub(super) fn is_any_member_alive(&self) -> bool {
        self.control.decided.members.iter().any(|(replica, incarnation)| {
            let host = index(*replica);
            self.is_there(host)
                && self.hosts[host].incarnation == *incarnation
                && self.control.registered.get(replica).is_some_and(|found| found.incarnation == *incarnation)
        })
    }

    /// An operator makes a replica primary that was no member, and loses what only the members had.
    pub(super) fn force(&mut self) {
        let host = self.random.index(self.hosts.len());
        let registered = self.control.registered.get(&name(host)).copied();
        let up_to_date = registered.filter(|found| found.incarnation == self.hosts[host].incarnation);
        let Some(Registration { incarnation, since, .. }) = up_to_date else { return };
        // Nobody of the members is there any more: the operator has made sure.
        let members_gone = self
            .control
            .decided
            .members
            .iter()
            .all(|(replica, incarnation)| self.hosts[index(*replica)].incarnation != *incarnation);
        let is_member = self.control.decided.members.contains_key(&name(host));
        let settled = self.hosts[host].is_idle();
        if !members_gone || is_member || !self.is_there(host) || !settled || self.now - since <= PROMISE {
            return;
        }
        self.count("forced");
        self.control.force(name(host), incarnation);
        self.cuts.forced(&self.hosts[host].media);
        for group in 0..GROUPS {
            let media = &self.hosts[host].media;
            self.flushed[group] = media.durable_version(group).min(media.now[group].seq);
            self.begin_generation(host, group);
        }
    }

    pub(super) fn begin_generation(&mut self, host: usize, group: usize) {
        self.history.push(Op {
            group,
            value: self.hosts[host].media.now[group].value,
            is_read: false,
            invoked: 0,
            returned: Some(0),
            generation: self.control.decided.cache_generation,
            initial: true,
        });
    }

    /// When no member is as it was, the control plane goes on from one of them.
    pub(super) fn recover(&mut self) -> Result<(), String> {
        if self.is_any_member_alive() {
            return Ok(());
        }
        let mut sources = self.control.sources();
        sources.retain(|source| {
            let host = index(source.replica);
            self.is_there(host)
                && self.hosts[host].incarnation == source.incarnation
                && self.now - self.hosts[host].started > PROMISE
        });
        if sources.iter().any(|source| source.warm) {
            sources.retain(|source| source.warm);
        }
        if sources.is_empty() {
            return Ok(());
        }
        let source = sources[self.random.index(sources.len())];
        self.control.recover(source);
        self.count("recovery");
        if source.warm {
            return Ok(());
        }
        self.count("cold recovery");
        for group in 0..GROUPS {
            if self.hosts[index(source.replica)].media.now[group].seq < self.flushed[group] {
                return Err(format!("I11: the source of a recovery lost group {group}, which was flushed"));
            }
            self.begin_generation(index(source.replica), group);
        }
        Ok(())
    }
}
