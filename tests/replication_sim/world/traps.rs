//! The traps of the protocol's first draft, each brought about on purpose: random runs meet some of them once in thousands.

mod room;
mod snapshots;
mod stall;
mod wanted;

use replication::{Change, Event};

use super::{PROMISE, World, name};

const A: usize = 0;
const B: usize = 1;
const X: usize = 2;

impl World {
    /// Three replicas, the first one primary, without any fault but those that a test makes.
    fn calm(members_min: usize) -> Self {
        let rates = super::Rates { reconnect: 100, teach: 100, ..super::Rates::default() };
        Self::of(3, members_min, tests::random::Random::seeded(1), rates)
    }

    /// Time passes, messages arrive, stores persist; with `decides` the control plane decides.
    fn pass(&mut self, steps: u64, decides: bool) {
        self.pass_until(steps, decides, |_| false);
    }

    /// The same, until something holds; answers whether it does.
    fn pass_until(&mut self, steps: u64, decides: bool, is_reached: impl Fn(&Self) -> bool) -> bool {
        for _ in 0..steps {
            if is_reached(self) {
                return true;
            }
            self.now += 1;
            for from in [A, B, X] {
                for to in [A, B, X] {
                    if from != to {
                        self.deliver(from, to).unwrap();
                        self.deliver(from, to).unwrap();
                    }
                }
            }
            for host in [A, B, X] {
                if !self.held.contains(&host) {
                    self.persist(host, 8).unwrap();
                }
                if self.is_awake(host) {
                    self.look(host).unwrap();
                }
            }
            if decides {
                let cut_off = self.cut_off.clone();
                self.decide_all(|host| !cut_off.contains(&host));
            }
            self.connect();
            self.check().unwrap();
        }
        is_reached(self)
    }

    /// The control plane looks at every proposal of these, oldest first.
    fn decide_all(&mut self, of: impl Fn(usize) -> bool) {
        for proposal in std::mem::take(&mut self.control.proposals) {
            if of(super::index(proposal.proposer.0)) {
                self.control.decide_on(proposal);
            } else {
                self.control.proposals.push_back(proposal);
            }
        }
    }

    fn role(&self, host: usize) -> &'static str {
        self.hosts[host].replica.status().role
    }

    fn members(&self) -> Vec<usize> {
        self.control.decided.members.keys().map(|replica| super::index(*replica)).collect()
    }

    /// Waits until these are the members, the first one primary, and all of them know it.
    fn gather(&mut self, members: &[usize]) {
        let reached = self.pass_until(2000, true, |world| {
            let mut sorted = members.to_vec();
            sorted.sort_unstable();
            world.members() == sorted
                && world.role(members[0]) == "primary"
                && members[1..].iter().all(|member| world.role(*member) == "backup")
                && members.iter().all(|member| world.hosts[*member].replica.epoch() == world.control.decided.epoch)
        });
        assert!(reached, "{:?}, and the control plane says {:?}", self.roles(), self.control.decided);
        // Every promise is fresh.
        self.pass(10, true);
    }

    fn roles(&self) -> [&'static str; 3] {
        [A, B, X].map(|host| self.role(host))
    }

    /// Away, without having failed.
    fn leave_out(&mut self, host: usize) {
        self.hosts[host].up = false;
    }

    fn separate(&mut self, a: usize, b: usize) {
        self.blocked.extend([(a, b), (b, a)]);
    }

    fn write_to(&mut self, host: usize, group: u64) {
        let groups_before = self.requests.len();
        self.write_group(host, group).unwrap();
        assert_eq!(self.requests.len(), groups_before + 1, "the write is taken");
    }

    /// All is well again, and every replica the same.
    fn end(mut self) {
        self.held.clear();
        self.heal().unwrap();
        self.note_cuts();
        crate::history::check(&self.history).unwrap();
    }
}

/// T1: while nobody knows whether the joiner is a member yet, its promise counts for reads as its acknowledgement does.
#[test]
fn a_joiner_that_may_be_a_member_is_part_of_the_lease() {
    let mut world = World::calm(1);
    world.leave_out(X);
    assert!(world.pass_until(2000, false, |world| !world.control.proposals.is_empty()), "{:?}", world.roles());
    // It is decided, the primary does not hear of it, and is cut off.
    world.cut_off.insert(A);
    world.decide_all(|_| true);
    assert!(world.pass_until(100, false, |world| world.role(B) == "backup"), "{:?}", world.roles());
    world.separate(A, B);
    assert!(world.pass_until(4 * PROMISE, true, |world| world.role(B) == "primary"), "{:?}", world.roles());
    world.pass(4 * PROMISE, true);
    world.end();
}

/// T2: the common stable point has the epoch in which its flush was admitted. With the one in which it ended it would cover
/// changes that only a replica has that was left behind since.
#[test]
fn a_flush_says_nothing_of_what_was_admitted_after_it() {
    let mut world = World::calm(1);
    world.leave_out(X);
    world.gather(&[A, B]);
    // What the flush covers is at both; its acknowledgement does not come back.
    world.blocked.insert((B, A));
    world.write_to(A, 0);
    world.flush(A).unwrap();
    world.now += 1;
    world.persist(A, 8).unwrap();
    for _ in 0..4 {
        world.deliver(A, B).unwrap();
    }
    world.persist(B, 8).unwrap();
    // What comes after it is at the primary and the learner only.
    world.blocked.insert((A, B));
    world.write_to(A, 1);
    world.hosts[X].up = true;
    let reached = world.pass_until(400, false, |world| {
        world.control.proposals.iter().any(|proposal| proposal.configuration.members.contains_key(&name(X)))
    });
    assert!(reached, "{:?} {:?}", world.roles(), world.control.proposals);
    world.control.proposals.retain(|proposal| proposal.configuration.members.contains_key(&name(X)));
    world.decide_all(|_| true);
    // The learner is a member now. What the backup says gets through, what it is told does not.
    world.blocked.remove(&(B, A));
    world.break_link(A, B);
    world.blocked.remove(&(A, B));
    let announced = |world: &World| world.hosts[X].media.stable().n > 0;
    for _ in 0..200 {
        world.pass(1, false);
        if world.hosts[A].replica.change_in_flight(block::BlockRange::new(64, 1)).is_some() && announced(&world) {
            break;
        }
    }
    // Everybody but the backup is gone, and it goes on without the last write.
    world.restart(A, false);
    world.leave_out(A);
    world.cut_off.insert(X);
    world.separate(B, X);
    world.pass(8 * PROMISE, true);
    world.end();
}

/// T3: what a member was before it was started anew is not what it is now.
#[test]
fn a_replica_that_was_started_anew_does_not_stand_for_what_it_was() {
    let mut world = World::calm(1);
    world.leave_out(X);
    world.gather(&[A, B]);
    world.restart(B, true);
    // Nobody hears that it should go.
    world.write_to(A, 0);
    world.flush(A).unwrap();
    world.pass(3 * PROMISE, false);
    assert_eq!((world.role(B), world.requests.len()), ("out", 2), "it is not taught before it was removed");
    world.end();
}

/// T4: a candidate acknowledges nothing any more, even when the primary is heard again: what it asked for may be decided.
#[test]
fn a_candidate_does_not_go_back() {
    let mut world = World::calm(1);
    world.leave_out(X);
    world.gather(&[A, B]);
    world.separate(A, B);
    let asks = |world: &World| world.control.proposals.iter().any(|proposal| proposal.proposer.0 == name(B));
    assert!(world.pass_until(2 * PROMISE, false, asks), "{:?}", world.roles());
    world.blocked.clear();
    world.pass(10, false);
    // It is decided now, and the primary does not hear of it.
    world.cut_off.insert(A);
    world.decide_all(|host| host == B);
    world.separate(A, B);
    assert!(world.pass_until(20, false, |world| world.role(B) == "primary"), "{:?}", world.roles());
    world.pass(10, false);
    world.end();
}

/// T5: a request to be taught that was long on its way does not say what its sender was taught by another primary since.
#[test]
fn a_late_request_to_be_taught_is_not_answered_with_its_old_contents() {
    let mut world = World::calm(1);
    world.leave_out(X);
    world.gather(&[A, B]);
    world.write_to(A, 1);
    world.pass(5, false);
    // It asks the first primary, which does not hear it yet.
    world.blocked.insert((X, A));
    world.hosts[X].up = true;
    world.pass(20, false);
    world.handle(A, Event::HandOver { to: Some(name(B)) }).unwrap();
    world.gather(&[B, A]);
    // The second one teaches it, until it breaks off: a write that nobody acknowledged is there by then.
    world.held.insert(X);
    assert!(world.pass_until(200, false, |world| world.role(X) == "learner"), "{:?}", world.roles());
    world.pass(10, false);
    world.separate(A, B);
    world.write_to(B, 0);
    world.pass(4, false);
    world.break_link(B, X);
    world.separate(B, X);
    world.held.clear();
    world.restart(B, true);
    world.leave_out(B);
    assert!(world.pass_until(8 * PROMISE, true, |world| world.role(A) == "primary"), "{:?}", world.roles());
    world.blocked.remove(&(X, A));
    world.pass(100, true);
    world.end();
}

/// T6: a member that missed a configuration whose primary is gone can follow it, and seek primacy then.
#[test]
fn a_member_that_missed_a_configuration_is_not_stuck() {
    let mut world = World::calm(1);
    world.gather(&[A, B, X]);
    world.cut_off.insert(X);
    world.separate(B, X);
    world.restart(A, false);
    world.leave_out(A);
    let takes_over = |world: &World| world.control.decided.primary == name(B);
    assert!(world.pass_until(8 * PROMISE, true, takes_over), "{:?}", world.roles());
    world.restart(B, false);
    world.leave_out(B);
    world.cut_off.clear();
    assert!(world.pass_until(8 * PROMISE, true, |world| world.role(X) == "primary"), "{:?}", world.roles());
    world.end();
}

/// T7: who leaves what it was is another one from then on.
#[test]
fn a_primary_that_was_deposed_comes_back_as_another_one() {
    let mut world = World::calm(1);
    world.leave_out(X);
    world.gather(&[A, B]);
    let before = world.hosts[A].incarnation;
    world.separate(A, B);
    world.cut_off.insert(A);
    world.write_to(A, 0);
    assert!(world.pass_until(8 * PROMISE, true, |world| world.role(B) == "primary"), "{:?}", world.roles());
    world.cut_off.clear();
    world.pass(5, true);
    assert!(world.hosts[A].incarnation > before, "what it had admitted may be nowhere else");
    world.end();
}

/// T8: a joiner has what a slower member lacks, or nobody may have it when the primary dies.
#[test]
fn a_joiner_can_bring_a_slower_member_up() {
    let mut world = World::calm(1);
    world.leave_out(X);
    world.gather(&[A, B]);
    world.blocked.insert((A, B));
    world.write_to(A, 0);
    world.hosts[X].up = true;
    let wanted =
        |world: &World| world.control.proposals.iter().any(|proposal| proposal.configuration.members.len() == 3);
    assert!(world.pass_until(200, false, wanted), "{:?}", world.roles());
    world.control.proposals.retain(|proposal| proposal.configuration.members.len() == 3);
    world.decide_all(|_| true);
    world.pass(3, false);
    // The primary dies, and the slower member takes over.
    world.restart(A, true);
    world.leave_out(A);
    world.cut_off.insert(X);
    let takes_over = |world: &World| world.control.decided.primary == name(B);
    assert!(world.pass_until(8 * PROMISE, true, takes_over), "{:?} {:?}", world.roles(), world.control.decided);
    world.cut_off.clear();
    assert!(world.pass_until(8 * PROMISE, true, |world| world.role(B) == "primary"), "{:?}", world.roles());
    world.end();
}

/// T9: a learner is taught what is not acknowledged, for it may be the one that is missing for the acknowledgement.
#[test]
fn a_volume_below_its_minimum_gets_its_second_member() {
    let mut world = World::calm(2);
    world.leave_out(X);
    world.gather(&[A, B]);
    world.blocked.insert((A, B));
    world.write_to(A, 0);
    world.restart(B, true);
    world.leave_out(B);
    assert!(world.pass_until(200, true, |world| world.members() == [A]), "{:?}", world.control.decided);
    world.pass(3, true);
    assert_eq!(world.requests.len(), 1, "one member is too few");
    assert!(world.replica_refuses(A), "nothing new is taken either");
    world.hosts[X].up = true;
    world.gather(&[A, X]);
    assert!(world.requests.is_empty(), "with two it is acknowledged");
    world.end();
}

/// T10: a wish that is lost, and one that is not wanted any more, do not keep each other from being decided.
#[test]
fn lost_wishes_end() {
    let mut world = World::calm(1);
    world.leave_out(X);
    world.gather(&[A, B]);
    world.separate(A, B);
    world.cut_off.insert(B);
    for _ in 0..3 {
        world.pass(20, false);
        world.control.proposals.clear();
    }
    world.blocked.clear();
    world.cut_off.clear();
    world.gather(&[A, B]);
    let epoch = world.control.decided.epoch;
    world.pass(10 * PROMISE, true);
    assert!(world.control.decided.epoch.0 <= epoch.0 + 1, "it is quiet afterwards");
    world.end();
}

/// A planned hand-over loses nothing, and the one before may answer reads until the next one may.
#[test]
fn a_planned_hand_over_leaves_both_members_in() {
    let mut world = World::calm(2);
    world.leave_out(X);
    world.gather(&[A, B]);
    world.write_to(A, 0);
    world.handle(A, Event::HandOver { to: Some(name(B)) }).unwrap();
    assert!(world.replica_refuses(A), "nothing is admitted meanwhile");
    let incarnation = world.hosts[A].incarnation;
    world.gather(&[B, A]);
    assert_eq!(world.hosts[A].incarnation, incarnation, "it follows as it is");
    assert!(world.requests.is_empty());
    world.end();
}

/// The one before is not heard: the next one waits until that one's lease has certainly ended.
#[test]
fn a_hand_over_does_not_serve_beside_the_one_before() {
    let mut world = World::calm(1);
    world.leave_out(X);
    world.gather(&[A, B]);
    world.handle(A, Event::HandOver { to: Some(name(B)) }).unwrap();
    let asked = |world: &World| !world.control.proposals.is_empty();
    assert!(world.pass_until(20, false, asked), "{:?}", world.roles());
    world.cut_off.insert(A);
    world.decide_all(|_| true);
    world.separate(A, B);
    assert!(world.pass_until(8 * PROMISE, true, |world| world.role(B) == "primary"), "{:?}", world.roles());
    world.end();
}

impl World {
    fn replica_refuses(&mut self, host: usize) -> bool {
        self.submit(host, Change::Flush, false).unwrap().1.is_none()
    }
}
