//! What clients do: come, ask, hear, compare, and go. Those that were shut out do not know it.

use block::BLOCK_BYTES;
use node::Door;

use super::client::{Asked, Manner, Permit, Phase, Said, Session, value_of};
use super::network::LinkId;
use super::world::World;

const SESSIONS_MAX: usize = 24;
/// Blocks of a usual request, and places where requests begin: few, so that clients meet.
const BLOCKS_MAX: u64 = 12;

impl World {
    pub fn clients(&mut self) -> Result<(), String> {
        for link in self.sessions.keys().copied().collect::<Vec<_>>() {
            self.hear(link)?;
        }
        self.sessions.retain(|_, session| session.phase != Phase::Over);
        for _ in 0..self.random.below(self.rates.ask) {
            self.ask();
        }
        if self.sessions.len() < SESSIONS_MAX && self.once_in(self.rates.come) {
            self.connect()?;
        }
        if self.once_in(self.rates.leave)
            && let Some(link) = self.any_session()
        {
            self.network.link(link).client_closed = true;
            self.sessions.remove(&link);
        }
        Ok(())
    }

    pub fn any_session(&mut self) -> Option<LinkId> {
        let all: Vec<LinkId> = self.sessions.keys().copied().collect();
        (!all.is_empty()).then(|| self.random.pick(&all))
    }

    /// Some client comes to some node, with a token that may be over.
    fn connect(&mut self) -> Result<(), String> {
        let recent = self.operator.permits.len().saturating_sub(12);
        let permits = &self.operator.permits[recent..];
        if permits.is_empty() {
            return Ok(());
        }
        let permit = permits[self.random.index(permits.len())].clone();
        let site = self.random.index(self.sites.len());
        self.open(site, permit).map(drop)
    }

    pub fn open(&mut self, site: usize, permit: Permit) -> Result<LinkId, String> {
        let link = self.network.open();
        if !self.sites[site].machine.is_up() {
            return Ok(link);
        }
        let session = Session::new(permit);
        self.network.link(link).to_server.extend(session.hello());
        self.sessions.insert(link, session);
        self.sites[site].machine.accept(self.now, link, Door::Client { peer: None })?;
        Ok(link)
    }

    /// Some client asks for something: also one that was shut out, for it does not know.
    fn ask(&mut self) {
        let Some(link) = self.any_session() else { return };
        let session = self.sessions.get_mut(&link).expect("just chosen");
        let blocks = session.size_bytes / BLOCK_BYTES as u64;
        if session.phase != Phase::Open || session.in_flight() > 8 || blocks == 0 {
            return;
        }
        let large = self.random.one_in(12);
        let count = 1 + self.random.below(if large { 80 } else { BLOCKS_MAX });
        // Few places, so that clients meet.
        let first = self.random.below(BLOCKS_MAX);
        if session.overlaps(first, count) {
            return;
        }
        let Permit { volume, generation, writes, .. } = session.permit;
        self.outcome.zombie_requests += u64::from(self.fences.is_shut_out(volume, generation));
        let asked = if writes && self.random.one_in(2) {
            self.fences.write(volume, generation);
            Asked::Write { first, values: self.contents.send(volume, generation, first, count, &self.fences) }
        } else {
            Asked::Read { first, allowed: self.contents.allowed(volume, first, count) }
        };
        let forced = self.rates.power || self.random.one_in(8);
        let manner = Manner { forced, ragged: self.random.one_in(3) };
        let bytes = session.ask(asked, manner);
        let link = self.network.link(link);
        if !link.client_closed {
            link.to_server.extend(bytes);
        }
    }

    fn hear(&mut self, id: LinkId) -> Result<(), String> {
        let session = self.sessions.get_mut(&id).expect("it is there");
        let was_open = session.phase == Phase::Open;
        let said = session.hear(self.network.link(id))?;
        let Permit { volume, generation, .. } = session.permit;
        if session.phase == Phase::Open && !was_open {
            session.first_value = self.contents.next_value();
            self.newest.insert(volume, id);
        }
        for one in said {
            match one {
                Said::Refused => self.outcome.zombies_refused += u64::from(self.fences.is_shut_out(volume, generation)),
                Said::Written { first, values } => {
                    self.outcome.writes += 1;
                    self.contents.acknowledge(volume, first, &values);
                }
                Said::Read { first, allowed, bytes } => self.compare(id, first, &allowed, &bytes)?,
                Said::Failed => {}
            }
        }
        Ok(())
    }

    /// What an old connection read may have changed since; what the newest one read may not.
    fn compare(&mut self, id: LinkId, first: u64, allowed: &[Vec<u64>], bytes: &[u8]) -> Result<(), String> {
        let session = &self.sessions[&id];
        let (volume, since) = (session.permit.volume, session.first_value);
        let newest = self.newest.get(&volume) == Some(&id);
        let current = newest && !self.fences.is_shut_out(volume, session.permit.generation);
        for ((block, page), allowed) in (first..).zip(bytes.chunks_exact(BLOCK_BYTES)).zip(allowed) {
            let (value, owner) = value_of(block, page)?;
            self.contents.check_owner(volume, value, owner)?;
            if current {
                self.outcome.reads += 1;
                self.contents.found(volume, block, value, allowed, since)?;
            }
        }
        Ok(())
    }
}
