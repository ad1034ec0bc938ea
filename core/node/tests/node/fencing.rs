//! A client that was shut out can change nothing, however late its bytes arrive; and the node says so only then.

use node::{Intent, Why, limits};
use proptest::prelude::proptest;
use proptest::test_runner::Config;

use crate::rig::{MIB, Rig};
use crate::wanted::Holder::{Reader, Writer};
use crate::wanted::{Holder, change, held, token, whole};
use crate::wire::{FLUSH, READ, Request, TRIM, WRITE_ZEROES};

const SIZE: usize = 4 << 20;

fn pattern(len_bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..len_bytes)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[4] | 1
        })
        .collect()
}

/// A node with volume `v`, which `holders` have; connections are refused but theirs.
fn rig(holders: &[Holder]) -> Rig {
    let mut rig = Rig::intended(256 * MIB);
    rig.intend(whole(1, vec![held(1, holders)]));
    rig
}

fn connect(rig: &mut Rig, client: u64, generation: u64) -> usize {
    rig.connect_to(&format!("v@{}", token(client, generation)), false)
}

fn generation(rig: &Rig) -> u64 {
    rig.observed(1).expect("the volume is there").generation
}

/// The next client, who has the volume after all others were shut out.
fn successor(rig: &mut Rig, revision: u64) -> usize {
    rig.intend(change(revision, vec![held(revision, &[Writer { client: 99, generation: revision }])]));
    assert_eq!(generation(rig), revision);
    let peer = connect(rig, 99, revision);
    assert!(rig.peers[peer].listener.export.is_some(), "the next client is let in");
    peer
}

proptest! {
    #![proptest_config(Config { cases: 40, failure_persistence: None, ..Config::default() })]
    #[test]
    fn a_fenced_client_can_change_nothing_however_late_its_bytes_arrive(
        seed: u64,
        turns in 0..80_usize,
        disk_stands: bool,
        transfer_max in 2000..600_000_usize,
    ) {
        let mut rig = rig(&[Writer { client: 1, generation: 1 }]);
        rig.seed(seed);
        let old = connect(&mut rig, 1, 1);
        rig.write(old, 0, &pattern(SIZE, 1));
        rig.transfer_max = transfer_max;
        for at in 0..5 {
            let offset = rig.random(SIZE - (2 << 20)) as u64;
            let len_bytes = [1, 4096, 40_000, 1 << 20, 2 << 20][rig.random(5)];
            rig.ask(old, &Request::write(offset, &pattern(len_bytes, 10 + at)));
            rig.ask(old, &Request::new(TRIM, offset / 2, 100_000));
            rig.ask(old, &Request::new(WRITE_ZEROES, offset, 70_000).fua());
            rig.ask(old, &Request::new(FLUSH, 0, 0));
        }
        for _ in 0..turns {
            rig.turn();
        }
        rig.disk_runs = !disk_stands;
        rig.intend(change(2, vec![held(2, &[])]));
        assert!(generation(&rig) == 1 || rig.node.stats().requests == 0, "what was admitted has not ended");
        rig.disk_runs = true;
        while generation(&rig) < 2 {
            rig.turn();
        }
        assert_eq!(rig.node.stats().requests, 0);
        let next = successor(&mut rig, 3);
        let content = rig.content(next);
        // Whatever was still on its way arrives now, and so does all of it once more.
        rig.run();
        let again = connect(&mut rig, 1, 1);
        rig.peers[again].outgoing.extend(Request::write(0, &[9; 4096]).bytes(7));
        rig.run();
        assert!(rig.peers[old].closed && rig.peers[again].listener.refused.is_some());
        assert!(rig.content(next) == content, "nothing of the old client was applied");
        rig.write(next, 4096, &[3; 100]);
        let mut rig = rig.restarted();
        rig.intend(whole(4, vec![held(4, &[Writer { client: 5, generation: 4 }])]));
        let last = connect(&mut rig, 5, 4);
        let found = rig.content(last);
        assert!(found[..4096] == content[..4096] && found[8192..] == content[8192..]);
        rig.assert_idle();
    }
}

#[test]
fn a_write_of_which_a_byte_is_missing_is_never_applied() {
    for (len_bytes, missing) in [(4096, 1), (4096, 4096), (32_768, 1), (100_000, 50_000), (1 << 20, 1), (1 << 20, 7)] {
        let mut rig = rig(&[Writer { client: 1, generation: 1 }]);
        let old = connect(&mut rig, 1, 1);
        rig.write(old, 0, &pattern(SIZE, 2));
        rig.ask(old, &Request::write(0, &vec![0xaa; len_bytes]));
        let rest = rig.peers[old].outgoing.split_off(28 + len_bytes - missing);
        rig.run();
        rig.handle(node::Event::Intended(Box::new(change(2, vec![held(2, &[])]))));
        // The kernel had received it before the connection was closed.
        rig.peers[old].outgoing = rest;
        if rig.receives(old) {
            rig.deliver(old);
        }
        rig.run();
        assert_eq!(generation(&rig), 2);
        let next = successor(&mut rig, 3);
        assert!(rig.content(next) == pattern(SIZE, 2), "{missing} of {len_bytes} bytes were missing");
        rig.assert_idle();
    }
}

#[test]
fn of_a_large_write_only_whole_parts_that_came_before_are_applied() {
    let mut rig = rig(&[Writer { client: 1, generation: 1 }]);
    let old = connect(&mut rig, 1, 1);
    rig.write(old, 0, &pattern(SIZE, 2));
    let (before, after) = (pattern(SIZE, 2), pattern(3 << 20, 3));
    rig.ask(old, &Request::write(0, &after));
    let rest = rig.peers[old].outgoing.split_off((3 << 20) - 5);
    rig.run();
    rig.disk_runs = false;
    rig.handle(node::Event::Intended(Box::new(change(2, vec![held(2, &[])]))));
    rig.peers[old].outgoing = rest;
    rig.disk_runs = true;
    rig.run();
    let next = successor(&mut rig, 3);
    let found = rig.content(next);
    assert!(found[..2 << 20] == after[..2 << 20], "these were written when the client was shut out");
    assert!(found[2 << 20..] == before[2 << 20..], "this was not");
}

#[test]
fn what_lies_in_the_inbox_is_thrown_away() {
    let mut rig = rig(&[Writer { client: 1, generation: 1 }]);
    let old = connect(&mut rig, 1, 1);
    rig.write(old, 0, &pattern(SIZE, 4));
    // More than is looked at in one go; all of it has been received.
    for at in 0..200 {
        rig.ask(old, &Request::write(at * 4096, &[0xbb; 1000]));
    }
    rig.disk_runs = false;
    rig.deliver(old);
    rig.intend(change(2, vec![held(2, &[])]));
    rig.disk_runs = true;
    rig.run();
    let next = successor(&mut rig, 3);
    assert!(rig.content(next) == pattern(SIZE, 4), "none of it had been looked at");
}

#[test]
fn a_generation_is_reported_when_the_last_request_has_ended_and_not_before() {
    let mut rig = rig(&[Writer { client: 1, generation: 1 }]);
    let old = connect(&mut rig, 1, 1);
    rig.write(old, 0, &pattern(SIZE, 5));
    rig.disk_runs = false;
    let kinds: [Request; 5] = [
        Request::write(0, &[1; 4096]),
        Request::write(5, &[1; 100]),
        Request::write(MIB, &[1; 300_000]),
        Request::new(WRITE_ZEROES, 100, 1 << 20),
        Request::new(READ, 2 * MIB, 4096),
    ];
    for request in kinds {
        rig.ask(old, &request);
    }
    rig.run();
    let under_way = rig.node.stats().requests;
    assert!(under_way >= 4);
    rig.intend(change(2, vec![held(2, &[])]));
    assert!(rig.peers[old].closed, "its connection is gone before its requests are");
    assert_eq!((generation(&rig), rig.heard()), (1, 2));
    rig.disk_runs = true;
    let mut news = rig.news;
    while rig.node.stats().requests > 0 {
        assert_eq!(generation(&rig), 1);
        news = rig.news;
        rig.turn();
    }
    assert_eq!(generation(&rig), 2);
    assert!(rig.news > news, "the control plane is told");
}

#[test]
fn a_generation_waits_for_requests_of_a_client_that_had_gone_by_itself() {
    let mut rig = rig(&[Writer { client: 1, generation: 1 }]);
    let old = connect(&mut rig, 1, 1);
    rig.disk_runs = false;
    rig.ask(old, &Request::write(0, &[6; 4096]));
    rig.run();
    rig.peers[old].gone = true;
    rig.run();
    assert!(rig.peers[old].closed && rig.node.stats().connections == 0);
    rig.intend(change(2, vec![held(2, &[])]));
    assert_eq!(generation(&rig), 1);
    rig.disk_runs = true;
    rig.run();
    assert_eq!(generation(&rig), 2);
}

#[test]
fn all_connections_of_an_ended_attachment_are_dropped_and_only_those() {
    let readers = [Reader { client: 1, generation: 1 }, Reader { client: 2, generation: 2 }];
    let mut rig = rig(&readers);
    let doomed: Vec<usize> = (0..4).map(|_| connect(&mut rig, 1, 1)).collect();
    let kept: Vec<usize> = (0..4).map(|_| connect(&mut rig, 2, 2)).collect();
    rig.disk_runs = false;
    let asked: Vec<u64> = kept.iter().map(|&peer| rig.ask(peer, &Request::new(FLUSH, 0, 0))).collect();
    rig.run();
    rig.intend(change(2, vec![held(3, &readers[1..])]));
    assert!(doomed.iter().all(|&peer| rig.peers[peer].closed));
    assert!(kept.iter().all(|&peer| !rig.peers[peer].closed));
    assert_eq!(generation(&rig), 3, "requests of those who stay are not waited for");
    rig.disk_runs = true;
    rig.run();
    for (&peer, cookie) in kept.iter().zip(asked) {
        assert_eq!(rig.reply(peer, cookie).expect("it is answered").error, 0);
    }
    assert!(rig.ended.iter().all(|(_, why)| *why == Why::ShutOut));
}

#[test]
fn a_later_attachment_of_the_same_client_ends_the_earlier() {
    let mut rig = rig(&[Writer { client: 1, generation: 1 }]);
    let first = connect(&mut rig, 1, 1);
    rig.write(first, 0, &[1; 4096]);
    rig.intend(change(2, vec![held(2, &[Writer { client: 1, generation: 2 }])]));
    assert!(rig.peers[first].closed);
    assert_eq!(generation(&rig), 2);
    let (stale, second) = (connect(&mut rig, 1, 1), connect(&mut rig, 1, 2));
    assert!(rig.peers[stale].listener.refused.is_some());
    assert_eq!(rig.read(second, 0, 4096), [1; 4096]);
}

#[test]
fn a_client_that_is_still_saying_goodbye_is_shut_out_as_well() {
    let mut rig = rig(&[Writer { client: 1, generation: 1 }]);
    let old = connect(&mut rig, 1, 1);
    rig.peers[old].listens = false;
    rig.ask(old, &Request::new(READ, 0, 4096));
    rig.peers[old].outgoing.extend(Request::new(crate::wire::DISCONNECT, 0, 0).bytes(9));
    rig.run();
    assert!(!rig.peers[old].closed, "its replies are not out");
    rig.intend(change(2, vec![held(2, &[])]));
    assert!(rig.peers[old].closed);
    assert_eq!(generation(&rig), 2);
}

/// Of clients that share a volume each is fenced by itself.
#[test]
fn of_two_writers_one_is_shut_out_and_the_other_goes_on() {
    let (leaving, staying) = (Writer { client: 1, generation: 1 }, Writer { client: 2, generation: 2 });
    let mut rig = rig(&[leaving]);
    rig.intend(change(2, vec![held(2, &[leaving, staying])]));
    let (first, second) = (connect(&mut rig, 1, 1), connect(&mut rig, 2, 2));
    rig.write(first, 0, &pattern(SIZE, 6));
    rig.disk_runs = false;
    rig.ask(first, &Request::write(0, &[1; 5000]));
    let going_on = rig.ask(second, &Request::write(MIB, &[2; 5000]));
    rig.run();
    rig.ask(first, &Request::write(2 * MIB, &[3; 5000]));
    let late = std::mem::take(&mut rig.peers[first].outgoing);
    rig.intend(change(3, vec![held(3, &[staying])]));
    assert_eq!(generation(&rig), 2, "what the first asked for is under way");
    rig.peers[first].outgoing = late;
    rig.run();
    rig.disk_runs = true;
    rig.run();
    assert_eq!(generation(&rig), 3);
    assert_eq!(rig.ended, [(rig.peers[first].conn, Why::ShutOut)]);
    assert_eq!(rig.reply(second, going_on).expect("the second is served on").error, 0);
    rig.write(second, 3 * MIB, &[4; 5000]);
    let (found, then) = (rig.content(second), pattern(SIZE, 6));
    let at = |mib: usize| mib << 20..(mib << 20) + 5000;
    assert!(found[at(0)] == [1; 5000] && found[at(1)] == [2; 5000] && found[at(3)] == [4; 5000]);
    assert!(found[at(2)] == then[at(2)], "what came late is nowhere");
    let again = connect(&mut rig, 1, 1);
    assert!(rig.peers[again].listener.export.is_none() && !rig.peers[second].closed);
}

#[test]
fn a_writer_that_comes_again_is_served_when_its_older_requests_have_ended() {
    let mut rig = rig(&[Writer { client: 1, generation: 1 }]);
    let first = connect(&mut rig, 1, 1);
    rig.write(first, 0, &pattern(SIZE, 6));
    rig.disk_runs = false;
    rig.ask(first, &Request::write(0, &[1; 5000]));
    rig.run();
    // This one lies in the socket when the client comes again.
    rig.ask(first, &Request::write(MIB, &[2; 5000]));
    let late = std::mem::take(&mut rig.peers[first].outgoing);
    let second = connect(&mut rig, 1, 1);
    let cookie = rig.ask(second, &Request::write(0, &[3; 5000]));
    rig.peers[first].outgoing = late;
    rig.run();
    assert!(rig.peers[first].closed && !rig.peers[second].closed);
    assert!(rig.reply(second, cookie).is_none());
    assert_eq!(rig.node.stats().requests, 1, "of the new connection nothing is admitted yet");
    rig.disk_runs = true;
    rig.run();
    assert_eq!(rig.reply(second, cookie).expect("and then it is served").error, 0);
    let found = rig.content(second);
    assert!(found[..5000] == [3; 5000] && found[5000..] == pattern(SIZE, 6)[5000..]);
    assert_eq!(rig.ended, [(rig.peers[first].conn, Why::Superseded)]);
    // And again, and again.
    let (third, fourth) = (connect(&mut rig, 1, 1), connect(&mut rig, 1, 1));
    assert!(rig.peers[second].closed && rig.peers[third].closed);
    assert_eq!(rig.read(fourth, 0, 100), [3; 100]);
}

#[test]
fn a_client_is_not_served_before_those_before_it_have_ended() {
    for next in [Writer { client: 2, generation: 2 }, Reader { client: 2, generation: 2 }] {
        let mut rig = rig(&[Writer { client: 1, generation: 1 }]);
        let old = connect(&mut rig, 1, 1);
        rig.disk_runs = false;
        rig.ask(old, &Request::write(0, &[1; 5000]));
        rig.run();
        rig.intend(change(2, vec![held(2, &[next])]));
        let new = connect(&mut rig, 2, 2);
        let cookie = rig.ask(new, &Request::new(READ, 0, 4096));
        rig.run();
        assert_eq!((rig.node.stats().requests, generation(&rig)), (1, 1));
        rig.disk_runs = true;
        rig.run();
        let reply = rig.reply(new, cookie).expect("and then it is served");
        assert_eq!((reply.data, generation(&rig)), (vec![1; 4096], 2));
    }
}

#[test]
fn an_open_volume_that_is_attached_or_closed_drops_those_without_a_token() {
    let open = |generation, holders: &[Holder], open| vec![node::ReplicaIntent { open, ..held(generation, holders) }];
    let mut rig = Rig::intended(128 * MIB);
    rig.intend(whole(1, open(0, &[], true)));
    let guest = rig.connect();
    rig.disk_runs = false;
    rig.ask(guest, &Request::write(0, &[1; 4096]));
    rig.run();
    rig.intend(change(2, open(1, &[Writer { client: 1, generation: 1 }], true)));
    assert!(rig.peers[guest].closed && generation(&rig) == 0);
    rig.disk_runs = true;
    rig.run();
    assert_eq!(generation(&rig), 1);
    let refused = rig.connect_to("v", false);
    assert!(rig.peers[refused].listener.refused.is_some(), "somebody has it attached");
    rig.intend(change(3, open(2, &[], true)));
    let guest = rig.connect();
    rig.intend(change(4, open(2, &[], false)));
    assert!(rig.peers[guest].closed);
}

#[test]
fn who_was_half_way_in_is_not_let_in_by_what_is_over() {
    let mut rig = rig(&[Writer { client: 1, generation: 1 }]);
    let name = format!("v@{}", token(1, 1));
    let slow = rig.connect_silent();
    let bytes = crate::wire::hello(&name, true);
    rig.peers[slow].outgoing.extend(&bytes[..bytes.len() - 1]);
    rig.run();
    rig.intend(change(2, vec![held(2, &[])]));
    rig.peers[slow].outgoing.extend(&bytes[bytes.len() - 1..]);
    rig.peers[slow].outgoing.extend(Request::write(0, &[1; 4096]).bytes(1));
    rig.run();
    assert!(rig.peers[slow].listener.export.is_none());
    assert_eq!(rig.node.volumes().next().unwrap().counters.writes, 0);
}

#[test]
fn a_fence_holds_while_as_many_requests_are_under_way_as_there_may_be() {
    let mut rig = rig(&[Writer { client: 1, generation: 1 }]);
    let old = connect(&mut rig, 1, 1);
    rig.disk_runs = false;
    for at in 0..u64::from(limits::REQUESTS_MAX) + 100 {
        rig.ask(old, &Request::write((at % 500) * 8192 + 1, &[7; 4096]));
    }
    rig.run();
    rig.intend(Intent { revision: 2, whole: true, ..Intent::default() });
    assert!(rig.peers[old].closed);
    rig.disk_runs = true;
    rig.run();
    rig.assert_idle();
    let next = successor(&mut rig, 3);
    let content = rig.content(next);
    assert_eq!(content.iter().filter(|&&byte| byte == 7).count(), limits::REQUESTS_MAX as usize * 4096);
}
