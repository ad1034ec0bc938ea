//! Stores that hang while their node answers.

use super::{A, B, PROMISE, World, X};

/// Clients would wait for it for ever.
#[test]
fn a_member_whose_store_hangs_goes_and_comes_back_when_it_does_not() {
    let mut world = World::calm(1);
    world.gather(&[A, B, X]);
    world.held.insert(X);
    world.write_to(A, 0);
    let answered = |world: &World| world.requests.is_empty();
    assert!(world.pass_until(4 * PROMISE, true, answered), "{:?}", world.control.decided);
    assert_eq!(world.members(), [A, B]);
    world.held.clear();
    world.gather(&[A, B, X]);
    world.end();
}

/// With fewer members than may be written with, nobody would be served either.
#[test]
fn a_member_whose_store_hangs_stays_when_too_few_would_be_left() {
    let mut world = World::calm(2);
    world.leave_out(X);
    world.gather(&[A, B]);
    world.held.insert(B);
    world.write_to(A, 0);
    world.pass(4 * PROMISE, true);
    assert_eq!(world.members(), [A, B]);
    world.held.clear();
    world.end();
}

/// It cannot hand over, for what is in flight does not end; the others have all of it.
#[test]
fn a_primary_whose_store_hangs_lets_the_others_go_on() {
    let mut world = World::calm(1);
    world.gather(&[A, B, X]);
    world.held.insert(A);
    world.write_to(A, 0);
    let other_leads = |world: &World| world.role(B) == "primary" || world.role(X) == "primary";
    assert!(world.pass_until(8 * PROMISE, true, other_leads), "{:?}", world.roles());
    world.held.clear();
    world.end();
}

/// Every time that it comes and goes clients wait for it.
#[test]
fn a_member_that_hangs_again_and_again_comes_back_ever_later() {
    let mut world = World::calm(1);
    let mut away = Vec::new();
    for block in 0..4 {
        world.gather(&[A, B, X]);
        world.held.insert(X);
        world.write_to(A, block % 2);
        assert!(world.pass_until(8 * PROMISE, true, |world| world.members() == [A, B]));
        world.held.clear();
        let since = world.now;
        assert!(world.pass_until(60 * PROMISE, true, |world| world.members() == [A, B, X]));
        away.push(world.now - since);
    }
    assert!(away[3] >= 4 * away[0].max(10), "{away:?}");
    world.end();
}
