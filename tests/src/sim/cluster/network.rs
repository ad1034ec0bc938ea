//! Connections of clients: bytes on their way, held back or not, and relays between two nodes.

use std::collections::{BTreeMap, VecDeque};

use nbd::{RelayHandshake, Swallowed};

/// A connection's name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct LinkId(pub u64);

/// A connection: bytes in both directions, and who has closed it.
#[derive(Debug, Default)]
pub(super) struct Link {
    pub to_server: VecDeque<u8>,
    pub to_client: VecDeque<u8>,
    pub server_closed: bool,
    pub client_closed: bool,
    /// Nothing arrives for now, in either direction, not even that the other side closed.
    pub held: bool,
}

struct Relay {
    near: LinkId,
    far: LinkId,
    handshake: Option<RelayHandshake>,
}

/// All of them.
#[derive(Default)]
pub(super) struct Network {
    links: BTreeMap<LinkId, Link>,
    relays: Vec<Relay>,
    last: u64,
}

impl Network {
    pub fn open(&mut self) -> LinkId {
        self.last += 1;
        let id = LinkId(self.last);
        self.links.insert(id, Link::default());
        id
    }

    pub fn link(&mut self, id: LinkId) -> &mut Link {
        self.links.entry(id).or_insert_with(|| Link { server_closed: true, client_closed: true, ..Link::default() })
    }

    pub fn ids(&self) -> Vec<LinkId> {
        self.links.keys().copied().collect()
    }

    pub fn hold(&mut self, id: LinkId, held: bool) {
        self.link(id).held = held;
    }

    pub fn release_all(&mut self) {
        self.links.values_mut().for_each(|link| link.held = false);
    }

    /// From now on what arrives on `near` goes to `far`, and back.
    pub fn relay(&mut self, near: LinkId, far: LinkId, handshake: RelayHandshake) {
        self.relays.push(Relay { near, far, handshake: Some(handshake) });
    }

    /// The relays pass on what has arrived.
    pub fn pump(&mut self) -> Result<(), String> {
        let mut relays = std::mem::take(&mut self.relays);
        for relay in &mut relays {
            self.pass_on(relay)?;
        }
        relays.retain(|relay| {
            let ended = |id: LinkId| self.links.get(&id).is_none_or(|link| link.server_closed || link.client_closed);
            !(ended(relay.near) && ended(relay.far))
        });
        self.relays = relays;
        self.links.retain(|_, link| !(link.server_closed && link.client_closed));
        Ok(())
    }

    fn pass_on(&mut self, relay: &mut Relay) -> Result<(), String> {
        let near = self.link(relay.near);
        let (sent, gone) = match near.held {
            true => (VecDeque::new(), false),
            false => (std::mem::take(&mut near.to_server), near.client_closed),
        };
        let far = self.link(relay.far);
        far.to_server.extend(sent);
        far.client_closed |= gone;
        let (said, closed) = match far.held {
            true => (VecDeque::new(), false),
            false => (std::mem::take(&mut far.to_client), far.server_closed),
        };
        let said: Vec<u8> = said.into();
        let own_bytes = match &mut relay.handshake {
            None => 0,
            Some(handshake) => match handshake.swallow(&said).map_err(|fault| format!("a relay broke: {fault}"))? {
                Swallowed::All => said.len(),
                Swallowed::Done { len_bytes } => {
                    relay.handshake = None;
                    len_bytes
                }
            },
        };
        let near = self.link(relay.near);
        near.to_client.extend(&said[own_bytes..]);
        near.server_closed |= closed;
        Ok(())
    }
}
