//! A look at every snapshot when everything has healed: in a volume that is made of it.

use block::{SnapshotId, VolumeId};
use cluster::{Change, Name, Source};

use super::operator::{REQUESTS_MAX, clone, name};
use super::world::World;

impl World {
    pub fn look_at_snapshots(&mut self) -> Result<(), String> {
        let state = self.voters.decided();
        let ready = state.snapshots(None).filter(|(_, snapshot)| state.is_snapshot_ready(snapshot));
        let sound = ready.filter(|(id, _)| !self.contents.is_snapshot_lost(*id));
        let all: Vec<(SnapshotId, Name)> = sound.map(|(id, snapshot)| (id, snapshot.name.clone())).collect();
        for some in all.chunks(REQUESTS_MAX) {
            self.look_at_some(some)?;
        }
        for (id, _) in &all {
            self.contents.check_instant(&[*id])?;
        }
        self.look_at_groups()
    }

    fn look_at_some(&mut self, snapshots: &[(SnapshotId, Name)]) -> Result<(), String> {
        let look = |index: usize| name(&format!("look{index}"));
        let made = snapshots.iter().enumerate();
        let clones = made.map(|(index, (_, from))| clone(look(index), Source::Snapshot(from.clone())));
        self.ask_all(&clones.collect::<Vec<_>>())?;
        let volume = |index: usize| -> Result<(VolumeId, Name), String> {
            let made = self.voters.decided().volume(&look(index));
            let (id, _) = made.ok_or_else(|| format!("nothing was made of {:?}", snapshots[index]))?;
            Ok((id, look(index)))
        };
        let volumes = (0..snapshots.len()).map(volume).collect::<Result<Vec<_>, _>>()?;
        self.read(&volumes)?;
        self.outcome.looked_at += snapshots.len() as u64;
        let delete = |(_, volume): (VolumeId, Name)| Change::DeleteVolume { volume, force: true };
        self.sessions.clear();
        self.ask_all(&volumes.into_iter().map(delete).collect::<Vec<_>>())
    }

    /// Each is one instant.
    fn look_at_groups(&mut self) -> Result<(), String> {
        let ready = self.voters.decided().groups(None).filter(|(_, group)| group.is_ready());
        for (_, group) in ready {
            let members = group.members.values().map(|member| member.snapshot);
            let sound: Vec<SnapshotId> = members.filter(|id| !self.contents.is_snapshot_lost(*id)).collect();
            self.outcome.instants += u64::from(sound.len() > 1);
            self.contents.check_instant(&sound).map_err(|wrong| format!("group {}: {wrong}", group.name))?;
        }
        Ok(())
    }
}
