//! Snapshots, each rule brought to the point where it matters.

use block::{SnapshotId, WriteSeq};
use replication::Event;

use super::{A, B, PROMISE, World, X, name};

impl World {
    /// The primary cuts one more snapshot as soon as it looks; its number.
    fn wish(&mut self) -> SnapshotId {
        self.want_snapshot()
    }

    /// Where a replica's store has it.
    fn place(&self, host: usize, id: SnapshotId) -> Option<WriteSeq> {
        self.hosts[host].media.snapshots.get(&id).map(|found| found.at)
    }

    /// Waits until it is told of.
    fn until_told(&mut self, id: SnapshotId) {
        let told = |world: &World| world.cuts.wanted.get(&id).is_some_and(Option::is_some);
        assert!(self.pass_until(400, true, told), "{:?} {:?}", self.roles(), self.cuts);
    }

    /// Learners are taught only by what a test lets through.
    fn teach_nothing(&mut self) {
        self.rates.teach = 0;
    }

    fn teach(&mut self, host: usize, groups: u32) {
        self.handle(host, Event::Teach { groups }).unwrap();
    }
}

/// A snapshot is a place in the order, not in time: a backup that is behind cuts it where the primary did.
#[test]
fn a_backup_that_is_behind_cuts_at_the_same_place() {
    let mut world = World::calm(1);
    world.leave_out(X);
    world.gather(&[A, B]);
    world.hosts[B].busy_until = world.now + 20;
    world.write_to(A, 0);
    let id = world.wish();
    world.pass(3, true);
    world.write_to(A, 0);
    world.until_told(id);
    assert_eq!(world.place(A, id), world.place(B, id));
    world.end();
}

/// What is nowhere else may be gone tomorrow.
#[test]
fn a_snapshot_is_told_of_when_every_member_has_it_on_stable_media() {
    let mut world = World::calm(1);
    world.leave_out(X);
    world.gather(&[A, B]);
    world.held.insert(B);
    let id = world.wish();
    world.pass(10, true);
    assert!(world.place(A, id).is_some() && world.cuts.wanted[&id].is_none());
    world.held.clear();
    world.until_told(id);
    world.end();
}

/// The next primary finds it, makes it stable everywhere, and does not cut another one.
#[test]
fn a_snapshot_that_the_next_primary_has_is_the_one() {
    let mut world = World::calm(1);
    world.leave_out(X);
    world.gather(&[A, B]);
    world.held.insert(B);
    let id = world.wish();
    assert!(world.pass_until(20, true, |world| world.place(B, id).is_some()), "{:?}", world.roles());
    let at = world.place(A, id);
    world.held.clear();
    world.restart(A, false);
    world.leave_out(A);
    world.until_told(id);
    assert_eq!((world.role(B), world.place(B, id)), ("primary", at));
    world.end();
}

/// The same number at another place is another snapshot.
#[test]
fn what_a_deposed_primary_cut_alone_goes_when_it_is_taught() {
    let mut world = World::calm(1);
    world.leave_out(X);
    world.gather(&[A, B]);
    world.separate(A, B);
    world.write_to(A, 0);
    let id = world.wish();
    world.pass(2, false);
    let ghost = world.place(A, id).expect("it was cut");
    world.cut_off.insert(A);
    assert!(world.pass_until(8 * PROMISE, true, |world| world.role(B) == "primary"), "{:?}", world.roles());
    world.until_told(id);
    let real = world.place(B, id).expect("it was told of");
    assert_ne!(ghost, real);
    // It hears who is primary, and nobody but the teacher says that its snapshot is no good.
    let decided = world.control.decided.clone();
    world.handle(A, Event::Configured(decided)).unwrap();
    world.blocked.clear();
    let learns = |world: &World| world.place(A, id) == Some(real);
    assert!(world.pass_until(20 * PROMISE, true, learns), "{:?} {:?}", world.roles(), world.place(A, id));
    world.cut_off.clear();
    world.gather(&[B, A]);
    world.end();
}

/// Layers are of snapshots: what was written since is not in them, and comes behind.
#[test]
fn a_learner_gets_every_snapshot_as_it_was() {
    let mut world = World::calm(1);
    world.leave_out(X);
    world.gather(&[A, B]);
    for group in 0..3 {
        world.write_to(A, group);
        let id = world.wish();
        world.until_told(id);
        world.write_to(A, 0);
    }
    world.hosts[X].up = true;
    world.gather(&[A, B, X]);
    assert_eq!(world.hosts[X].media.snapshots.len(), 3);
    world.end();
}

/// A change that comes while a layer is filled is not in that layer, and is not forgotten.
#[test]
fn a_change_during_a_layer_comes_behind_it() {
    let mut world = World::calm(1);
    world.leave_out(X);
    world.gather(&[A, B]);
    (0..3).for_each(|group| world.write_to(A, group));
    let id = world.wish();
    world.until_told(id);
    world.teach_nothing();
    world.hosts[X].up = true;
    assert!(world.pass_until(200, true, |world| world.role(X) == "learner"), "{:?}", world.roles());
    world.teach(A, 1);
    world.pass(5, true);
    // One group of the layer was read, and two were not.
    (0..3).for_each(|group| world.write_to(A, group));
    world.pass(5, true);
    world.rates.teach = 100;
    world.gather(&[A, B, X]);
    world.end();
}

/// A snapshot that is cut while the last groups are copied is cut there when they are whole, and not at once.
#[test]
fn a_snapshot_among_the_last_groups_waits_for_them() {
    let mut world = World::calm(1);
    world.leave_out(X);
    world.gather(&[A, B]);
    (0..3).for_each(|group| world.write_to(A, group));
    world.pass(5, true);
    world.teach_nothing();
    world.hosts[X].up = true;
    assert!(world.pass_until(200, true, |world| world.role(X) == "learner"), "{:?}", world.roles());
    world.teach(A, 1);
    world.pass(5, true);
    let id = world.wish();
    world.pass(3, true);
    (0..3).for_each(|group| world.write_to(A, group));
    world.pass(5, true);
    assert_eq!(world.place(X, id), None);
    world.rates.teach = 100;
    world.gather(&[A, B, X]);
    assert_eq!(world.place(X, id), world.place(A, id));
    world.end();
}

/// Its groups cannot be read any more: the learner begins anew, and is in sync in the end.
#[test]
fn a_snapshot_that_is_deleted_while_it_is_taught_is_not_missed() {
    let mut world = World::calm(1);
    world.leave_out(X);
    world.gather(&[A, B]);
    (0..3).for_each(|group| world.write_to(A, group));
    let id = world.wish();
    world.until_told(id);
    world.write_to(A, 0);
    world.teach_nothing();
    world.hosts[X].up = true;
    assert!(world.pass_until(200, true, |world| world.role(X) == "learner"), "{:?}", world.roles());
    world.teach(A, 2);
    world.doom_snapshot();
    world.rates.teach = 100;
    world.gather(&[A, B, X]);
    assert_eq!(world.place(X, id), None);
    world.end();
}

/// Power is lost everywhere right after it was told of.
#[test]
fn a_snapshot_that_was_told_of_survives_the_loss_of_power() {
    let mut world = World::calm(1);
    world.gather(&[A, B, X]);
    (0..3).for_each(|group| world.write_to(A, group));
    let id = world.wish();
    world.until_told(id);
    let at = world.place(A, id);
    [A, B, X].into_iter().for_each(|host| world.restart(host, true));
    world.pass(2 * PROMISE, true);
    world.recover().unwrap();
    world.gather(&[super::super::index(world.control.decided.primary)]);
    assert!([A, B, X].into_iter().all(|host| world.place(host, id) == at), "{at:?}");
    assert!(world.control.decided.members.contains_key(&name(A)) || at.is_some());
    world.end();
}

/// The control plane asked one node to delete it before the others: nobody is given it again.
#[test]
fn a_snapshot_that_is_gone_at_a_learner_is_not_cut_into_what_came_later() {
    let mut world = World::calm(1);
    world.gather(&[A, B, X]);
    (0..3).for_each(|group| world.write_to(A, group));
    let id = world.wish();
    world.until_told(id);
    world.write_to(A, 0);
    let seq = world.flush(A).unwrap();
    assert!(world.pass_until(100, true, |world| seq.is_some_and(|seq| world.hosts[X].media.stable() >= seq)));
    world.cuts.wanted.remove(&id);
    world.hosts[X].media.drop_snapshot(id);
    world.pass(3, true);
    world.restart(X, false);
    world.gather(&[A, B, X]);
    assert_eq!(world.place(X, id), None);
    world.hosts[A].media.drop_snapshot(id);
    world.hosts[B].media.drop_snapshot(id);
    world.end();
}
