//! Volumes that began as clones: some replicas were made of the snapshot where they are, others are empty.

use block::{Epoch, Incarnation};

use super::{World, start};
use crate::history::Op;
use crate::media::{GROUPS, Media, ORIGIN};

/// Of the first configuration: what is written to a clone is newer than what it inherited.
const FIRST: Epoch = Epoch(ORIGIN.epoch.0 + 1);

impl World {
    /// Before anything happened: the volume begins as a clone.
    pub(super) fn become_clone(&mut self) {
        self.is_clone = true;
        self.control.decided.epoch = FIRST;
        self.control.decided.history = ORIGIN.epoch;
        for host in 0..self.hosts.len() {
            if host == 0 || self.random.percent(60) {
                self.count("clone");
                let me = &mut self.hosts[host];
                me.media = Media::cloned();
                me.replica = start(host, Incarnation(1), &me.media);
            }
        }
        for group in 0..GROUPS {
            let (value, returned) = (self.hosts[0].media.now[group].value, Some(0));
            self.history.push(Op { group, value, is_read: false, invoked: 0, returned, generation: 0, initial: true });
        }
    }
}
