//! Replicas that are not wanted any more, step by step.

use std::collections::BTreeSet;

use replication::{Event, Wanted};

use super::{A, B, PROMISE, World, X, name};

impl World {
    /// All but these are wanted, and so many members are to stay.
    fn want_all_but(&mut self, unwanted: &[usize], copies: usize) {
        let unwanted: BTreeSet<_> = unwanted.iter().map(|host| name(*host)).collect();
        self.control.wanted = Wanted { unwanted, copies };
    }
}

/// Given up before its replacement is in sync, it would leave the volume with fewer copies than wanted.
#[test]
fn a_member_that_is_not_wanted_stays_until_as_many_others_are_in_sync() {
    let mut world = World::calm(1);
    world.leave_out(X);
    world.gather(&[A, B]);
    world.want_all_but(&[B], 2);
    world.pass(10 * PROMISE, true);
    assert_eq!(world.members(), [A, B], "nobody is there in its place");
    world.hosts[X].up = true;
    world.gather(&[A, X]);
    world.end();
}

/// A member that is not reached does not count, though nobody has removed it yet.
#[test]
fn a_member_that_is_not_wanted_stays_while_another_is_not_reached() {
    let mut world = World::calm(1);
    world.gather(&[A, B, X]);
    world.leave_out(X);
    world.break_link(A, X);
    world.separate(A, X);
    world.pass(2, false);
    world.want_all_but(&[B], 2);
    world.pass(10 * PROMISE, true);
    assert_eq!(world.members(), [A, B], "the one that is not reached went");
    world.end();
}

/// The primary is a replica like the others: another member takes over, nothing is lost, and it goes.
#[test]
fn a_primary_that_is_not_wanted_lets_another_be_and_goes() {
    let mut world = World::calm(2);
    world.gather(&[A, B, X]);
    world.write_to(A, 0);
    world.want_all_but(&[A], 2);
    let gone = |world: &World| world.members() == [B, X];
    assert!(world.pass_until(10 * PROMISE, true, gone), "{:?} {:?}", world.roles(), world.control.decided);
    assert!(world.requests.is_empty(), "what was in flight has ended before");
    world.end();
}

/// Whoever has all but the last copies and is not wanted any more does not come in, and is in nobody's way.
#[test]
fn a_learner_that_is_not_wanted_any_more_is_taught_no_more() {
    let mut world = World::calm(1);
    world.leave_out(X);
    world.gather(&[A, B]);
    world.hosts[X].up = true;
    let asked = |world: &World| !world.control.proposals.is_empty();
    assert!(world.pass_until(400, false, asked), "{:?}", world.roles());
    world.want_all_but(&[X], 2);
    world.pass(4 * PROMISE, true);
    assert_eq!((world.members(), world.role(X)), (vec![A, B], "out"));
    world.write_to(A, 0);
    world.pass(20, true);
    assert!(world.requests.is_empty(), "nobody waits for it");
    world.want_all_but(&[], 3);
    world.gather(&[A, B, X]);
    world.end();
}

/// The control plane is away, and nobody can say when it is back: clients do not wait for it.
#[test]
fn clients_wait_for_a_hand_over_only_for_a_moment() {
    let mut world = World::calm(1);
    world.leave_out(X);
    world.gather(&[A, B]);
    world.handle(A, Event::HandOver { to: Some(name(B)) }).unwrap();
    world.pass(10, false);
    assert!(world.replica_refuses(A), "nothing is admitted for a moment");
    world.pass(40, false);
    world.write_to(A, 0);
    world.pass(10, false);
    assert!(world.requests.is_empty(), "it goes on as before");
    let over = |world: &World| world.role(B) == "primary";
    assert!(world.pass_until(20 * PROMISE, true, over), "and is tried again: {:?}", world.roles());
    world.end();
}
