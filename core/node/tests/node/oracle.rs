//! The volume against a vector of bytes: requests of any size and alignment, many at once over several connections,
//! their completions in any order.
//!
//! Requests that are in flight together name different bytes, so that the outcome is known; they do share blocks.

use std::ops::Range;

use proptest::prelude::{Strategy, prop, prop_oneof, proptest};
use proptest::test_runner::Config;

use crate::rig::{MIB, Rig};
use crate::wire::{FLUSH, READ, Request, TRIM, WRITE_ZEROES};

/// Bytes the requests are about.
const SCENE_BYTES: usize = 600_000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Deed {
    Read,
    Write,
    Zero,
    Trim,
    Flush,
}

#[derive(Clone, Copy, Debug)]
struct Ask {
    deed: Deed,
    offset: usize,
    len_bytes: usize,
    fua: bool,
    peer: usize,
}

fn ask() -> impl Strategy<Value = Ask> {
    let deed = prop_oneof![
        3 => proptest::strategy::Just(Deed::Read),
        6 => proptest::strategy::Just(Deed::Write),
        2 => proptest::strategy::Just(Deed::Zero),
        1 => proptest::strategy::Just(Deed::Trim),
        1 => proptest::strategy::Just(Deed::Flush),
    ];
    let place = prop_oneof![0..SCENE_BYTES, (0..SCENE_BYTES / 4096).prop_map(|block| block * 4096), 0..20_000_usize];
    let len_bytes = prop_oneof![
        6 => 1..600_usize,
        3 => 1..20_000_usize,
        2 => (1..6_usize).prop_map(|blocks| blocks * 4096),
        1 => 32_000..200_000_usize
    ];
    (deed, place, len_bytes, proptest::bool::ANY, 0..3_usize).prop_map(|(deed, offset, len_bytes, fua, peer)| Ask {
        deed,
        offset,
        len_bytes,
        fua,
        peer,
    })
}

/// Few blocks, so that changes meet in them.
const NARROW_BYTES: usize = 6 * 4096;

fn change() -> impl Strategy<Value = (Deed, Range<usize>)> {
    let deed = prop_oneof![
        4 => proptest::strategy::Just(Deed::Write),
        1 => proptest::strategy::Just(Deed::Zero),
        1 => proptest::strategy::Just(Deed::Trim),
    ];
    let whole = (0..6_usize, 1..4_usize).prop_map(|(first, count)| first * 4096..(first + count).min(6) * 4096);
    let partial = (0..NARROW_BYTES, 1..3000_usize).prop_map(|(start, len)| start..(start + len).min(NARROW_BYTES));
    (deed, prop_oneof![whole, partial])
}

fn plain(command: u16, range: &Range<usize>) -> Request {
    Request::new(command, range.start as u64, u32::try_from(range.len()).unwrap())
}

fn fill(index: usize, at: usize) -> u8 {
    u8::try_from((index * 37 + at * 7 + at / 256) % 255 + 1).unwrap()
}

struct Scene {
    rig: Rig,
    oracle: Vec<u8>,
    written: usize,
}

impl Scene {
    fn new(seed: u64) -> Self {
        let mut rig = Rig::new(128 * MIB, 4 * MIB);
        rig.seed(seed);
        for structured in [false, true, false] {
            rig.connect_to("v", structured);
        }
        Self { rig, oracle: vec![0; SCENE_BYTES + 300_000], written: 0 }
    }

    /// Sends as many as name different bytes, checks what they gave, answers how many that were.
    fn wave(&mut self, asks: &[Ask]) -> usize {
        let mut busy: Vec<(usize, usize)> = Vec::new();
        let mut under_way = Vec::new();
        for ask in asks {
            let (start, end) = (ask.offset, ask.offset + ask.len_bytes);
            if ask.deed != Deed::Flush && busy.iter().any(|&(from, to)| start < to && from < end) {
                break;
            }
            busy.push((start, end));
            let request = self.request(ask);
            under_way.push((ask, self.rig.ask(ask.peer, &request)));
        }
        self.rig.run();
        for (ask, cookie) in &under_way {
            let reply = self.rig.reply(ask.peer, *cookie).expect("answered");
            assert_eq!(reply.error, 0, "{ask:?}");
            if ask.deed == Deed::Read {
                assert!(reply.data == self.oracle[ask.offset..ask.offset + ask.len_bytes], "{ask:?}");
            }
        }
        under_way.len()
    }

    /// The request, and its effect on the oracle.
    fn request(&mut self, ask: &Ask) -> Request {
        let (start, end) = (ask.offset, ask.offset + ask.len_bytes);
        let plain = |command| Request::new(command, start as u64, u32::try_from(ask.len_bytes).unwrap());
        let request = match ask.deed {
            Deed::Read => return plain(READ),
            Deed::Flush => return Request::new(FLUSH, 0, 0),
            Deed::Write => {
                self.written += 1;
                for at in start..end {
                    self.oracle[at] = fill(self.written, at);
                }
                Request::write(start as u64, &self.oracle[start..end])
            }
            Deed::Zero => {
                self.oracle[start..end].fill(0);
                plain(WRITE_ZEROES)
            }
            Deed::Trim => {
                let (first, last) = (start.next_multiple_of(4096), end / 4096 * 4096);
                if first < last {
                    self.oracle[first..last].fill(0);
                }
                plain(TRIM)
            }
        };
        if ask.fua { request.fua() } else { request }
    }

    fn check_all(&mut self) {
        let len_bytes = u32::try_from(self.oracle.len()).unwrap();
        assert!(self.rig.read(0, 0, len_bytes) == self.oracle);
        self.rig.assert_idle();
    }
}

proptest! {
    #![proptest_config(Config { cases: 60, failure_persistence: None, ..Config::default() })]
    #[test]
    fn every_byte_is_the_last_one_written(seed: u64, asks in prop::collection::vec(ask(), 1..120)) {
        let mut scene = Scene::new(seed);
        let mut done = 0;
        while done < asks.len() {
            done += scene.wave(&asks[done..]);
        }
        scene.check_all();
    }

    /// Every request touches the same few blocks, each another byte of them.
    #[test]
    fn neighbours_in_a_block_do_not_disturb_each_other(seed: u64, slices in prop::collection::vec(1..900_usize, 20..200)) {
        let mut scene = Scene::new(seed);
        let mut asks = Vec::new();
        let mut offset = 0;
        for (index, len_bytes) in slices.into_iter().enumerate() {
            let deed = match index % 5 { 0 => Deed::Zero, 1 => Deed::Read, _ => Deed::Write };
            asks.push(Ask { deed, offset, len_bytes, fua: false, peer: index % 3 });
            offset += len_bytes;
        }
        assert_eq!(scene.wave(&asks), asks.len());
        asks.rotate_left(7);
        assert_eq!(scene.wave(&asks), asks.len());
        scene.check_all();
    }

    /// Changes that overlap while all are in flight: of every byte one of those that name it is the last, and none
    /// brings back what was there before, whatever else it changes in the same block.
    #[test]
    fn of_changes_that_overlap_one_is_the_last(
        seed: u64,
        rounds in prop::collection::vec(prop::collection::vec((change(), 0..3_usize), 2..25), 1..5),
    ) {
        let mut rig = Rig::new(64 * MIB, MIB);
        rig.seed(seed);
        for _ in 0..3 {
            rig.connect();
        }
        let mut before = vec![0_u8; NARROW_BYTES];
        for (round, changes) in rounds.iter().enumerate() {
            let mut allowed: Vec<Vec<u8>> = vec![Vec::new(); NARROW_BYTES];
            let mut cookies = Vec::new();
            for (index, ((deed, range), peer)) in changes.iter().enumerate() {
                let value = u8::try_from(round * 50 + index + 1).unwrap();
                let (request, value, named) = match deed {
                    Deed::Write => (Request::write(range.start as u64, &vec![value; range.len()]), value, range.clone()),
                    Deed::Zero => (plain(WRITE_ZEROES, range), 0, range.clone()),
                    Deed::Trim => (plain(TRIM, range), 0, range.start.next_multiple_of(4096)..range.end / 4096 * 4096),
                    Deed::Read | Deed::Flush => unreachable!("no change"),
                };
                named.for_each(|at| allowed[at].push(value));
                cookies.push((*peer, rig.ask(*peer, &request)));
            }
            rig.run();
            for (peer, cookie) in cookies {
                assert_eq!(rig.reply(peer, cookie).expect("answered").error, 0);
            }
            let found = rig.read(0, 0, u32::try_from(NARROW_BYTES).unwrap());
            for (at, &byte) in found.iter().enumerate() {
                let fits = if allowed[at].is_empty() { byte == before[at] } else { allowed[at].contains(&byte) };
                assert!(fits, "byte {at} is {byte}, was {}, may be {:?}", before[at], allowed[at]);
            }
            before = found;
        }
        rig.assert_idle();
    }
}
