//! The end of a run: everything heals, every operation ends, everything is read, and then deleted.

use block::VolumeId;
use cluster::{AccessMode, Change, Name, Snapshot};

use super::client::{Asked, Manner, Permit, Phase};
use super::ended;
use super::operator::{REQUESTS_MAX, name};
use super::stream::Stream;
use super::voters::VOTERS;
use super::world::World;

/// What waits for a time that is further away waits for an operator.
const SOON_MS: u64 = 60_000;

impl World {
    pub fn end(&mut self) -> Result<(), String> {
        self.heal()?;
        self.settle()?;
        ended::check_operations(self.voters.decided())?;
        self.read_everything()?;
        self.look_at_snapshots()?;
        self.delete_everything()?;
        self.settle()?;
        ended::check_operations(self.voters.decided())?;
        ended::check_nothing_is_left(self.voters.decided(), self.sites.iter().map(|site| &site.machine))
    }

    fn heal(&mut self) -> Result<(), String> {
        self.rates = self.rates.healed();
        self.network.release_all();
        for voter in 0..VOTERS {
            self.voters.restart(voter, &mut self.random)?;
        }
        if self.voters.is_headless() {
            self.voters.change_leader(&mut self.random);
            self.note_operations();
        }
        for voter in 0..VOTERS {
            self.voters.notice(voter);
        }
        (0..self.sites.len()).try_for_each(|index| self.start(index))
    }

    /// Goes on until nobody has anything left to do or to say.
    pub fn settle(&mut self) -> Result<(), String> {
        let mut quiet = 0;
        for _ in 0..30_000 {
            self.step()?;
            let streams = self.sites.iter().all(|site| site.stream.as_ref().is_some_and(Stream::is_quiet));
            let waits = self.voters.decided().deadline().is_some_and(|due| due.0 < self.operator.now().0 + SOON_MS);
            let still = streams && !waits && self.operator.is_idle() && self.voters.is_settled();
            quiet = if still { quiet + 1 } else { 0 };
            // Longer than anything that is tried again waits, and than freeing space takes.
            if quiet > 200 && self.sites.iter().all(|site| site.machine.is_idle()) {
                return Ok(());
            }
        }
        let streams: Vec<_> = self.sites.iter().map(|site| site.stream.as_ref().map(Stream::is_quiet)).collect();
        let idle: Vec<_> = self.sites.iter().map(|site| site.machine.is_idle()).collect();
        let (asked, log) = (!self.operator.is_idle(), self.voters.is_settled());
        Err(format!("it never comes to rest: streams {streams:?}, disks {idle:?}, asked {asked}, log {log}"))
    }

    /// A client of each volume reads all of it.
    fn read_everything(&mut self) -> Result<(), String> {
        let volumes = self.voters.decided().volumes(None).filter(|(id, _)| !self.contents.is_lost(*id));
        let all: Vec<(VolumeId, Name)> = volumes.map(|(id, volume)| (id, volume.name.clone())).collect();
        for some in all.chunks(REQUESTS_MAX) {
            self.read(some)?;
        }
        Ok(())
    }

    /// A client of each of these volumes, few of them, reads all of it.
    pub fn read(&mut self, volumes: &[(VolumeId, Name)]) -> Result<(), String> {
        self.sessions.clear();
        for (_, volume) in volumes {
            self.operator.ask(Change::Detach { volume: volume.clone(), client: None }, String::new());
        }
        self.settle()?;
        let before = self.operator.permits.len();
        for (_, volume) in volumes {
            self.operator.attach(volume.clone(), name("reader"), AccessMode::ReadOnly, &mut self.random);
        }
        self.settle()?;
        for (id, _) in volumes {
            let permit = self.operator.permits[before..].iter().find(|permit| permit.volume == *id).cloned();
            self.read_volume(*id, permit.ok_or("an attachment is made")?)?;
        }
        Ok(())
    }

    fn read_volume(&mut self, id: VolumeId, permit: Permit) -> Result<(), String> {
        self.sessions.clear();
        let site = self.random.index(self.sites.len());
        let link = self.open(site, permit)?;
        let before = self.outcome.reads;
        (self.rates.ask, self.rates.come) = (1, 0);
        for step in 0..5000 {
            if let Some(session) = self.sessions.get_mut(&link)
                && session.phase == Phase::Open
                && step >= 100
                && session.in_flight() == 0
            {
                if self.outcome.reads > before {
                    return Ok(());
                }
                let allowed = self.contents.allowed(id, 0, 100);
                let bytes = session.ask(Asked::Read { first: 0, allowed }, Manner::default());
                self.network.link(link).to_server.extend(bytes);
            }
            self.sessions.retain(|one, _| *one == link);
            self.step()?;
        }
        let phases: Vec<_> = self.sessions.values().map(|session| (session.phase, session.in_flight())).collect();
        Err(format!("volume {id} cannot be read after everything healed: {phases:?}"))
    }

    fn delete_everything(&mut self) -> Result<(), String> {
        self.sessions.clear();
        // What snapshots are of may go before them, and what clones are made of before those.
        if self.random.one_in(2) {
            self.delete_volumes()?;
            self.delete_snapshots()
        } else {
            self.delete_snapshots()?;
            self.delete_volumes()
        }
    }

    fn delete_volumes(&mut self) -> Result<(), String> {
        let all: Vec<Name> = self.voters.decided().volumes(None).map(|(_, volume)| volume.name.clone()).collect();
        let all: Vec<Change> = all.into_iter().map(|volume| Change::DeleteVolume { volume, force: true }).collect();
        self.ask_all(&all)
    }

    fn delete_snapshots(&mut self) -> Result<(), String> {
        let state = self.voters.decided();
        let groups = state.groups(None).map(|(_, group)| Change::DeleteGroup { group: group.name.clone() });
        let is_alone = |snapshot: &&Snapshot| snapshot.group.is_none_or(|group| state.group_of(group).is_none());
        let alone = state.snapshots(None).map(|(_, snapshot)| snapshot).filter(is_alone);
        let alone = alone.map(|snapshot| Change::DeleteSnapshot { snapshot: snapshot.name.clone() });
        let all: Vec<Change> = groups.chain(alone).collect();
        self.ask_all(&all)
    }

    /// Wants all of this, as much at a time as may be wanted.
    pub fn ask_all(&mut self, changes: &[Change]) -> Result<(), String> {
        for some in changes.chunks(REQUESTS_MAX) {
            some.iter().for_each(|change| self.operator.ask(change.clone(), String::new()));
            self.settle()?;
        }
        Ok(())
    }
}
