//! Operators' commands: checked here, carried out by the store, answered when they are durable.

use std::collections::VecDeque;

use block::{BLOCK_BYTES, BlockIndex, BlockRange, SnapshotId, VOLUME_BYTES_MAX, VolumeId, WriteSeq};
use store::{DifferenceBase, Outcome, Refusal, Store};

use crate::admission::Service;
use crate::command::{Answer, Command, ControlError};
use crate::connection::Stage;
use crate::event::{ConnId, ControlId, Effect, Why};
use crate::limits;
use crate::mark::Mark;
use crate::node::{Node, Offer};
use crate::slab::{Key, Slab};

/// Characters of a volume's name.
const NAME_CHARACTERS_MAX: usize = 128;
/// Smallest volume.
const VOLUME_BYTES_MIN: u64 = 1 << 20;

/// Commands being carried out.
#[derive(Debug)]
pub(crate) struct Commands {
    running: Slab<Running>,
    /// Commands for which the store had no room, in order.
    waiting: VecDeque<(ControlId, Command)>,
    /// Deletes that wait for the volume's last request, among the running.
    emptying: Vec<Key>,
    /// Whether the store had no room for one of them.
    refused_delete: bool,
    /// Ids are not given twice while the node runs.
    last_volume: VolumeId,
    last_snapshot: SnapshotId,
}

#[derive(Debug)]
struct Running {
    asker: Asker,
    task: Task,
}

/// Who is told of the end.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Asker {
    Operator(ControlId),
    /// The control plane, by an intent.
    Intent {
        volume: VolumeId,
    },
    /// The node itself, for what it says of a snapshot.
    Node {
        snapshot: SnapshotId,
    },
}

/// What the store is to do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Task {
    Create {
        volume: VolumeId,
    },
    Delete {
        volume: VolumeId,
    },
    Resize {
        volume: VolumeId,
        size_bytes: u64,
    },
    Snapshot {
        snapshot: SnapshotId,
    },
    DeleteSnapshot {
        snapshot: SnapshotId,
    },
    /// Some blocks of a volume that nobody uses any more become zeroes.
    Retire {
        range: BlockRange,
    },
    /// Nothing here follows from its success.
    Plain,
}

impl Commands {
    pub fn new(last_volume: Option<VolumeId>) -> Self {
        Self {
            running: Slab::default(),
            waiting: VecDeque::new(),
            emptying: Vec::new(),
            refused_delete: false,
            last_volume: last_volume.unwrap_or(VolumeId(0)),
            last_snapshot: SnapshotId(0),
        }
    }

    pub fn begin(&mut self, asker: Asker, task: Task) -> Key {
        self.running.insert(Running { asker, task })
    }

    /// What was begun did not come to anything.
    pub fn withdraw(&mut self, key: Key) {
        self.running.remove(key);
    }

    /// Who is told of the end of it.
    pub fn asker(&self, key: Key) -> Option<Asker> {
        self.running.get(key).map(|running| running.asker)
    }

    pub fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    pub fn waits_for_room(&self) -> bool {
        !self.waiting.is_empty() || self.refused_delete
    }
}

/// What a command leads to now.
enum Begun {
    Answered(Answer),
    /// The store has it, or will; the answer follows.
    Running,
}

impl Node {
    pub(crate) fn control(&mut self, id: ControlId, command: Command, effects: &mut Vec<Effect>) {
        match self.begin_command(id, command) {
            Ok(Begun::Answered(answer)) => effects.push(Effect::Answered { id, answer: Ok(answer) }),
            Ok(Begun::Running) => self.pipeline.stir(),
            Err(error) => effects.push(Effect::Answered { id, answer: Err(error) }),
        }
    }

    /// Begins the commands that waited for room in the store.
    pub(crate) fn control_again(&mut self, effects: &mut Vec<Effect>) {
        while self.pipeline.store.has_room()
            && let Some((id, command)) = self.commands.waiting.pop_front()
        {
            self.control(id, command, effects);
        }
    }

    /// The node stops, so what waits is not begun.
    pub(crate) fn refuse_waiting(&mut self, effects: &mut Vec<Effect>) {
        let refused = self.commands.waiting.drain(..);
        effects.extend(refused.map(|(id, _)| Effect::Answered { id, answer: Err(ControlError::Stopping) }));
    }

    fn begin_command(&mut self, id: ControlId, command: Command) -> Result<Begun, ControlError> {
        let looks = match &command {
            Command::ListVolumes => Some(Answer::Volumes(self.volumes().collect())),
            Command::ListSnapshots => Some(Answer::Snapshots(self.pipeline.store.snapshots().copied().collect())),
            Command::PoolSpace => Some(Answer::PoolSpace(self.pipeline.store.space())),
            Command::Stats => Some(Answer::Stats(self.stats())),
            Command::CreateVolume { .. }
            | Command::CloneVolume { .. }
            | Command::DeleteVolume { .. }
            | Command::ResizeVolume { .. }
            | Command::CreateSnapshot { .. }
            | Command::DeleteSnapshot { .. }
            | Command::SpaceOf { .. }
            | Command::Compare { .. }
            | Command::Differ { .. } => None,
        };
        if let Some(answer) = looks {
            return Ok(Begun::Answered(answer));
        }
        if self.phase.is_stopping() {
            return Err(ControlError::Stopping);
        }
        if let Command::Differ { snapshot, base, from } = command {
            return self.differences(snapshot, base, from).map(Begun::Answered);
        }
        if let Command::Compare { volume, groups, reads } = command {
            return self.pipeline.compare(id, volume, groups, reads).map(|()| Begun::Running);
        }
        if self.config.offer == Offer::Intended && command.changes() {
            return Err(ControlError::NotHere);
        }
        if self.commands.running.len() + self.commands.waiting.len() >= limits::COMMANDS_MAX {
            return Err(ControlError::TooManyCommands(limits::COMMANDS_MAX));
        }
        if !self.pipeline.store.has_room() {
            self.commands.waiting.push_back((id, command));
            return Ok(Begun::Running);
        }
        let key = self.commands.begin(Asker::Operator(id), Task::Plain);
        match self.order(key, command) {
            Ok(task) => {
                self.commands.running.get_mut(key).expect("just inserted").task = task;
                Ok(Begun::Running)
            }
            Err(error) => {
                self.commands.withdraw(key);
                Err(error)
            }
        }
    }

    /// A snapshot of this number that was cut elsewhere is another one.
    fn differences(
        &self,
        (snapshot, at): (SnapshotId, WriteSeq),
        base: DifferenceBase,
        from: BlockIndex,
    ) -> Result<Answer, ControlError> {
        let store = &self.pipeline.store;
        let state = store.snapshot_state(snapshot).filter(|state| state.seq == at);
        let state = state.ok_or(Refusal::NoSuchSnapshot(snapshot))?;
        Ok(Answer::Differences { pieces: store.differences(snapshot, base, from)?, size_bytes: state.size_bytes })
    }

    /// Orders from the store what a command wants.
    fn order(&mut self, key: Key, command: Command) -> Result<Task, ControlError> {
        let token = Mark::Command(key).token();
        match command {
            Command::CreateVolume { name, size_bytes } => {
                self.create(&name, size_bytes, |store, volume| store.create_volume(volume, &name, size_bytes, token))
            }
            Command::CloneVolume { source, name, size_bytes } => self.create(&name, size_bytes, |store, volume| {
                store.clone_volume(source, volume, &name, size_bytes, token)
            }),
            Command::DeleteVolume { name, force } => self.delete(key, &name, force),
            Command::ResizeVolume { name, size_bytes } => self.resize(key, &name, size_bytes),
            Command::CreateSnapshot { volume } => {
                let volume = self.serving(&volume)?;
                let last = self.pipeline.store.snapshots().map(|snapshot| snapshot.id).max();
                let last = last.max(Some(self.commands.last_snapshot)).unwrap_or(SnapshotId(0));
                let snapshot = SnapshotId(last.0 + 1);
                self.pipeline.change(volume, |store, seq| store.snapshot(volume, seq, snapshot, token))?;
                self.commands.last_snapshot = snapshot;
                Ok(Task::Snapshot { snapshot })
            }
            Command::DeleteSnapshot { snapshot } => {
                self.pipeline.store.delete_snapshot(snapshot, token)?;
                Ok(Task::Plain)
            }
            Command::SpaceOf { source } => {
                self.pipeline.store.request_space(source, token)?;
                Ok(Task::Plain)
            }
            Command::ListVolumes
            | Command::ListSnapshots
            | Command::PoolSpace
            | Command::Stats
            | Command::Compare { .. }
            | Command::Differ { .. } => {
                unreachable!("answered before")
            }
        }
    }

    fn create(
        &mut self,
        name: &str,
        size_bytes: u64,
        make: impl FnOnce(&mut Store, VolumeId) -> Result<(), Refusal>,
    ) -> Result<Task, ControlError> {
        check_name(name)?;
        check_size(size_bytes)?;
        if self.pipeline.store.volumes().any(|volume| volume.name == name) {
            return Err(ControlError::Exists { name: name.to_owned() });
        }
        let volume = VolumeId(self.commands.last_volume.0 + 1);
        make(&mut self.pipeline.store, volume)?;
        self.commands.last_volume = volume;
        Ok(Task::Create { volume })
    }

    fn resize(&mut self, key: Key, name: &str, size_bytes: u64) -> Result<Task, ControlError> {
        check_size(size_bytes)?;
        let id = self.serving(name)?;
        let is_bytes = self.pipeline.volume(id).size_bytes;
        if size_bytes < is_bytes {
            return Err(ControlError::Shrinks { name: name.to_owned(), is_bytes, asked_bytes: size_bytes });
        }
        let token = Mark::Command(key).token();
        self.pipeline.change(id, |store, seq| store.resize_volume(id, seq, size_bytes, token))?;
        Ok(Task::Resize { volume: id, size_bytes })
    }

    /// The volume of that name, unless it is being deleted.
    fn serving(&self, name: &str) -> Result<VolumeId, ControlError> {
        let found = self.pipeline.volumes.values().find(|volume| volume.name == name);
        let volume = found.ok_or_else(|| ControlError::NoSuchVolume { name: name.to_owned() })?;
        if volume.is_serving() { Ok(volume.id) } else { Err(ControlError::BeingDeleted { name: name.to_owned() }) }
    }

    fn delete(&mut self, key: Key, name: &str, force: bool) -> Result<Task, ControlError> {
        let id = self.serving(name)?;
        let volume = self.pipeline.volume(id);
        if volume.clients > 0 && !force {
            return Err(ControlError::InUse { name: name.to_owned(), clients: volume.clients });
        }
        self.exports.remove(name);
        self.begin_delete(key, id);
        Ok(Task::Delete { volume: id })
    }

    /// Serves the volume no more; the store deletes it when it is idle.
    pub(crate) fn begin_delete(&mut self, key: Key, id: VolumeId) {
        self.pipeline.volume(id).service = Service::Gone;
        self.pipeline.retire(id);
        let now = self.now;
        let clients: Vec<ConnId> =
            self.connections.iter().filter(|one| one.volume() == Some(id)).map(|one| one.id).collect();
        for client in clients {
            match self.connections.get(client).map(|one| (&one.stage, one.receive_outstanding)) {
                // What it sent already is refused, and then it drains.
                Some((Stage::Open { .. }, false)) => self.queue(client),
                Some(_) | None => self.drain(now, client, Why::VolumeDeleted),
            }
        }
        self.commands.emptying.push(key);
    }

    /// Hands those deletes to the store whose volume has no request in flight any more.
    pub(crate) fn delete_idle(&mut self, effects: &mut Vec<Effect>) {
        let mut emptying = std::mem::take(&mut self.commands.emptying);
        self.commands.refused_delete = false;
        emptying.retain(|&key| !self.try_delete(key, effects));
        self.commands.emptying = emptying;
    }

    /// Whether the delete waits no longer.
    fn try_delete(&mut self, key: Key, effects: &mut Vec<Effect>) -> bool {
        let Some(&Running { task: Task::Delete { volume }, .. }) = self.commands.running.get(key) else { return true };
        if self.pipeline.volume(volume).counters.in_flight > 0 {
            return false;
        }
        match self.pipeline.store.delete_volume(volume, Mark::Command(key).token()) {
            Ok(()) => {
                self.pipeline.stir();
                true
            }
            Err(Refusal::Busy) => {
                self.commands.refused_delete = true;
                false
            }
            Err(refusal) => {
                self.end_command(key, Err(refusal.into()), effects);
                true
            }
        }
    }

    /// The store did what a command wanted, or failed.
    pub(crate) fn command_ended(&mut self, key: Key, outcome: &Outcome, effects: &mut Vec<Effect>) {
        if let Some(Asker::Node { snapshot }) = self.commands.asker(key) {
            self.space_found(snapshot, outcome);
        }
        let result = match outcome {
            Outcome::Done => Ok(Answer::Done),
            Outcome::Space(space) => Ok(Answer::SpaceOf(*space)),
            Outcome::Failed(error) => Err(ControlError::Failed(*error)),
            Outcome::Read(_) => unreachable!("no command reads"),
        };
        self.end_command(key, result, effects);
    }

    fn end_command(&mut self, key: Key, result: Result<Answer, ControlError>, effects: &mut Vec<Effect>) {
        let Some(Running { asker, task }) = self.commands.running.remove(key) else { return };
        let answer = match (task, result) {
            (Task::Create { volume }, Ok(_)) => {
                self.serve_volume(volume);
                Ok(Answer::Created(volume))
            }
            (Task::Snapshot { snapshot }, Ok(_)) => {
                self.pipeline.cutting.remove(&snapshot);
                Ok(Answer::Snapshot(snapshot))
            }
            (Task::DeleteSnapshot { snapshot }, Ok(answer)) => {
                self.pipeline.fading.remove(&snapshot);
                Ok(answer)
            }
            (Task::Resize { volume, size_bytes }, Ok(answer)) => {
                self.grown(volume, size_bytes);
                Ok(answer)
            }
            (Task::Delete { volume }, Ok(answer)) => {
                self.pipeline.volumes.remove(&volume);
                Ok(answer)
            }
            (Task::Delete { volume }, Err(error)) => {
                self.undelete(volume);
                Err(error)
            }
            (Task::Plain | Task::Retire { .. }, Ok(answer)) => Ok(answer),
            (_, Err(error)) => Err(error),
        };
        match asker {
            Asker::Operator(id) => effects.push(Effect::Answered { id, answer }),
            Asker::Intent { volume } => self.task_ended(self.now, volume, &answer),
            Asker::Node { .. } => {}
        }
    }

    fn grown(&mut self, id: VolumeId, size_bytes: u64) {
        let volume = self.pipeline.volume(id);
        volume.size_bytes = volume.size_bytes.max(size_bytes);
        if volume.is_serving() {
            self.offer_again(id);
        }
    }

    /// A delete failed: if the store still holds the volume, it is served again.
    fn undelete(&mut self, id: VolumeId) {
        if self.pipeline.store.volume(id).is_some() {
            self.pipeline.volume(id).service = Service::Serving;
            self.offer_again(id);
        } else {
            self.pipeline.volumes.remove(&id);
        }
    }
}

fn check_name(name: &str) -> Result<(), ControlError> {
    let first_fits = name.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit());
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    if first_fits && name.len() <= NAME_CHARACTERS_MAX && name.bytes().all(fits) {
        Ok(())
    } else {
        // What is no name is not repeated at length.
        Err(ControlError::BadName { name: name.chars().take(NAME_CHARACTERS_MAX).collect() })
    }
}

fn check_size(size_bytes: u64) -> Result<(), ControlError> {
    let fits = (VOLUME_BYTES_MIN..=VOLUME_BYTES_MAX).contains(&size_bytes);
    if fits && size_bytes.is_multiple_of(BLOCK_BYTES as u64) {
        Ok(())
    } else {
        Err(ControlError::BadSize { size_bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::{check_name, check_size};

    #[test]
    fn names_and_sizes_are_checked() {
        for name in ["a", "0", "vol-1_b.c", &"x".repeat(128)] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in ["", "-a", ".a", "_a", "A", "a b", "a/b", "ä", "a\0", &"x".repeat(129)] {
            assert!(check_name(name).is_err(), "{name}");
        }
        for size_bytes in [1 << 20, (1 << 20) + 4096, 64 << 40] {
            assert!(check_size(size_bytes).is_ok(), "{size_bytes}");
        }
        for size_bytes in [0, 4096, (1 << 20) - 4096, (1 << 20) + 1, (64 << 40) + 4096] {
            assert!(check_size(size_bytes).is_err(), "{size_bytes}");
        }
    }
}
