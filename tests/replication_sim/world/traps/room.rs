//! Pools that are nearly full, step by step.

use replication::Event;

use super::{A, B, PROMISE, World, X};

impl World {
    fn tighten(&mut self, host: usize, tight: bool) {
        self.handle(host, Event::Tight(tight)).unwrap();
        self.pass(2 * PROMISE, true);
    }

    fn has_room(&self) -> bool {
        self.hosts[A].replica.has_room()
    }
}

/// Two backups whose pools fill up would both leave, and the one that is left may take no writes: what is in flight would
/// never end. What is new is refused while the one that must stay still can take what is in flight.
#[test]
fn what_is_new_is_refused_before_members_without_room_leave_too_few() {
    let mut world = World::calm(2);
    world.gather(&[A, B, X]);
    assert!(world.has_room());
    world.tighten(B, true);
    assert!(world.has_room(), "two are left when it leaves");
    world.tighten(X, true);
    assert!(!world.has_room(), "the primary would be alone");
    world.tighten(B, false);
    assert!(world.has_room(), "an acknowledgement of a heartbeat says so, without any write");
    // Its own pool counts as the others' do.
    world.tighten(A, true);
    assert!(!world.has_room());
    world.tighten(X, false);
    assert!(world.has_room());
    world.end();
}

/// A volume that may be written with one member goes on until that one is full.
#[test]
fn a_volume_that_one_member_may_serve_goes_on_without_the_others() {
    let mut world = World::calm(1);
    world.gather(&[A, B, X]);
    world.tighten(B, true);
    world.tighten(X, true);
    assert!(world.has_room());
    world.end();
}

/// Whoever takes over hears of it as well.
#[test]
fn the_next_primary_knows_of_members_without_room() {
    let mut world = World::calm(2);
    world.gather(&[A, B, X]);
    world.tighten(X, true);
    world.leave_out(A);
    world.gather(&[B, X]);
    assert!(!world.hosts[B].replica.has_room());
    world.hosts[A].up = true;
    world.end();
}
