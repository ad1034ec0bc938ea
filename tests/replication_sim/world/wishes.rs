//! Which replicas are wanted: changed at random. What is no member and is not wanted is deleted, and made anew, empty, when
//! it is wanted again.

use std::collections::BTreeSet;

use block::PoolId;

use super::{World, index, name, start};
use crate::media::Media;

impl World {
    /// Hosts whose replica is wanted.
    pub(super) fn wanted(&self) -> impl Iterator<Item = usize> {
        (0..self.hosts.len()).filter(|host| self.control.wanted.has(name(*host)))
    }

    /// One replica more is wanted, or one less, or another one. As many stay as the volume may be written with.
    pub(super) fn want_others(&mut self) {
        let mut unwanted = self.control.wanted.unwanted.clone();
        for _ in 0..=self.random.below(2) {
            let one = name(self.victim());
            if !unwanted.remove(&one) {
                unwanted.insert(one);
            }
        }
        let copies = self.hosts.len() - unwanted.len();
        if copies < self.control.decided.members_min {
            return;
        }
        self.count("other replicas wanted");
        self.count_if(unwanted.contains(&self.control.decided.primary), "primary not wanted");
        self.control.wanted.unwanted = unwanted;
        self.control.wanted.copies = copies;
        self.bury();
    }

    /// Replicas that are not wanted are deleted when they are no members.
    pub(super) fn bury(&mut self) {
        let over: BTreeSet<PoolId> = self.control.wanted.unwanted.clone();
        for host in over.into_iter().map(index).collect::<Vec<_>>() {
            if !self.control.decided.members.contains_key(&name(host)) && self.is_there(host) && self.random.percent(10)
            {
                self.delete(host);
            }
        }
    }

    fn delete(&mut self, host: usize) {
        self.count("deleted");
        self.restart(host, false);
        let media = if self.is_clone && self.random.percent(50) { Media::cloned() } else { Media::new() };
        let me = &mut self.hosts[host];
        me.media = media;
        me.warm = false;
        // Who deleted it knows nothing of it any more, until it says what it is now.
        self.control.registered.remove(&name(host));
        let me = &mut self.hosts[host];
        me.replica = start(host, me.incarnation, &me.media);
    }

    pub(super) fn count_if(&mut self, holds: bool, what: &'static str) {
        if holds {
            self.count(what);
        }
    }
}
