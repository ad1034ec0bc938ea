//! Hosts tell of themselves.

use super::volumes::check_words;
use crate::command::{Answer, Time};
use crate::host::{HOSTS_MAX, Host};
use crate::name::Name;
use crate::node::Labels;
use crate::refusal::Refusal;
use crate::state::State;

impl State {
    pub(super) fn register_host(&mut self, now: Time, name: Name, labels: Labels) -> Result<Answer, Refusal> {
        check_words(None, labels.len())?;
        let hosts = &mut self.contents.hosts;
        if !hosts.contains_key(&name) && hosts.len() >= HOSTS_MAX {
            let longest = hosts.iter().min_by_key(|(_, host)| host.seen).map(|(name, _)| name.clone());
            hosts.remove(&longest.expect("there are many"));
        }
        hosts.insert(name, Host { labels, seen: now });
        Ok(Answer::Done)
    }

    pub(super) fn remove_host(&mut self, name: &Name) -> Result<Answer, Refusal> {
        match self.contents.hosts.remove(name) {
            Some(_) => Ok(Answer::Done),
            None => Err(Refusal::NoSuchHost(name.clone())),
        }
    }
}
