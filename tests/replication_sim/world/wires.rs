//! Connections: in order, until they break; their ends are noticed one after the other.

use replication::Event;

use super::{Wire, World, name, pair};

impl World {
    pub(super) fn break_link(&mut self, a: usize, b: usize) {
        if self.linked.remove(&pair(a, b)) {
            self.wires.remove(&(a, b));
            self.wires.remove(&(b, a));
            self.hosts[a].noticed.insert(b, false);
            self.hosts[b].noticed.insert(a, false);
        }
    }

    pub(super) fn notice(&mut self, host: usize) -> Result<(), String> {
        for other in (0..self.hosts.len()).filter(|other| *other != host) {
            if !self.hosts[host].noticed[&other] {
                self.hosts[host].noticed.insert(other, true);
                self.handle(host, Event::Disconnected { peer: name(other) })?;
            }
        }
        Ok(())
    }

    pub(super) fn connect(&mut self) {
        for a in 0..self.hosts.len() {
            for b in a + 1..self.hosts.len() {
                let ready = |host: usize, other: usize| self.is_awake(host) && self.hosts[host].noticed[&other];
                let free = !self.blocked.contains(&(a, b)) && !self.blocked.contains(&(b, a));
                if !self.linked.contains(&(a, b))
                    && free
                    && ready(a, b)
                    && ready(b, a)
                    && self.random.percent(self.rates.reconnect)
                {
                    self.linked.insert((a, b));
                    self.wires.insert((a, b), Wire::default());
                    self.wires.insert((b, a), Wire::default());
                }
            }
        }
    }

    pub(super) fn deliver(&mut self, from: usize, to: usize) -> Result<(), String> {
        if self.blocked.contains(&(from, to)) || !self.is_awake(to) {
            return Ok(());
        }
        self.notice(to)?;
        let first = self.random.index(3);
        let Some(wire) = self.wires.get_mut(&(from, to)) else { return Ok(()) };
        if !wire.connected {
            wire.connected = true;
            return self.handle(to, Event::Connected { peer: name(from) });
        }
        for turn in 0..3 {
            let channel = (first + turn) % 3;
            if self.stuck.contains(&(from, to, channel)) {
                continue;
            }
            if let Some((incarnation, message)) = wire.queues[channel].pop_front() {
                return self.handle(to, Event::Received { from: name(from), incarnation, message });
            }
        }
        Ok(())
    }
}
