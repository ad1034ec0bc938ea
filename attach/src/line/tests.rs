//! The ledger against every order in which a primary may apply what it is sent, with connections that break anywhere.

use std::collections::{BTreeMap, BTreeSet};

use block::{ByteRange, Outbox, Request};
use nbd::{Export, Exports, Session, Step, Ticket};
use proptest::collection::vec;
use proptest::prelude::{Just, ProptestConfig, Strategy, any};
use proptest::{prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::ledger::{BYTES_MAX, Ledger, REQUESTS_MAX};

const BLOCK: u64 = 512;

/// A ticket as the session gives it: the cookie is the client's.
fn ticket(cookie: u64) -> Ticket {
    let mut exports = Exports::new(true);
    let export =
        Export { handle: 0, size_bytes: 1 << 30, read_only: false, multi_conn: false, description: String::new() };
    exports.insert("disk".to_owned(), export).unwrap();
    let mut out = Outbox::default();
    let mut session = Session::new(&mut out);
    let mut stream = 3_u32.to_be_bytes().to_vec();
    stream.extend(b"IHAVEOPT");
    stream.extend([0, 0, 0, 1, 0, 0, 0, 4]);
    stream.extend(b"disk");
    stream.extend(nbd::encode_request(&Request::Flush, cookie).unwrap());
    let mut input = stream.as_slice();
    loop {
        match session.advance(input, &exports, &mut out) {
            Step::Advanced { consumed } | Step::Opened { consumed, .. } => input = &input[consumed..],
            Step::Request { ticket, .. } => return ticket,
            step @ (Step::Starved { .. } | Step::Elsewhere { .. } | Step::Closed { .. }) => panic!("{step:?}"),
        }
    }
}

fn range(block: u64, blocks: u32) -> ByteRange {
    ByteRange::new(block * BLOCK, blocks * 512)
}

fn write(block: u64, blocks: u32) -> Request {
    Request::Write { range: range(block, blocks), fua: false }
}

/// Cookies of all that may be sent now.
fn send_all(ledger: &mut Ledger<Ticket>) -> Vec<u64> {
    std::iter::from_fn(|| ledger.send_next().map(|sending| sending.cookie)).collect()
}

#[test]
fn a_write_waits_for_an_earlier_one_that_it_overlaps_and_for_nothing_else() {
    let mut ledger = Ledger::default();
    let requests = [write(0, 2), write(1, 2), write(5, 1), Request::Read { range: range(2, 1) }, Request::Flush];
    for (request, cookie) in requests.into_iter().zip(0..) {
        ledger.admit(ticket(cookie), request, vec![]);
    }
    assert_eq!(send_all(&mut ledger), [0, 2, 4]);
    assert_eq!(ledger.answered(0).unwrap().cookie(), 0);
    assert_eq!(send_all(&mut ledger), [1], "the read waits for what it is to see");
    ledger.broken();
    assert_eq!(send_all(&mut ledger), [1, 2, 4], "what was not answered is sent again, in its order");
    ledger.answered(1);
    assert_eq!(send_all(&mut ledger), [3]);
}

#[test]
fn what_is_taken_is_bounded_and_the_largest_request_always_fits() {
    let mut ledger = Ledger::default();
    let largest = Request::Read { range: ByteRange::new(0, nbd::PAYLOAD_BYTES_MAX) };
    let mut taken = 0;
    while ledger.has_room() {
        ledger.admit(ticket(0), largest, vec![]);
        taken += nbd::PAYLOAD_BYTES_MAX as usize;
    }
    assert!(taken > 0 && taken <= BYTES_MAX);
    let mut ledger = Ledger::default();
    let small = (0..).take_while(|_| {
        let room = ledger.has_room();
        if room {
            ledger.admit(ticket(0), Request::Flush, vec![]);
        }
        room
    });
    assert_eq!(small.count(), REQUESTS_MAX);
}

#[derive(Clone, Debug)]
enum Turn {
    /// The client asks for a write of these blocks.
    Write { block: u64, blocks: u32 },
    /// The primary applies one of the requests it was sent; which one is drawn.
    Apply(usize),
    /// It answers one that it applied.
    Answer(usize),
    /// The connection breaks; what was sent and not applied is lost, or applied before the next connection is served.
    Break(u64),
}

fn turn() -> impl Strategy<Value = Turn> {
    prop_oneof![
        3 => (0_u64..8, 1_u32..4).prop_map(|(block, blocks)| Turn::Write { block, blocks }),
        3 => any::<usize>().prop_map(Turn::Apply),
        3 => any::<usize>().prop_map(Turn::Answer),
        1 => any::<u64>().prop_map(Turn::Break),
        1 => Just(Turn::Break(0)),
    ]
}

/// A volume's primary, and a client's view of what must be there.
#[derive(Default)]
struct World {
    ledger: Ledger<Ticket>,
    /// By cookie: the write and its number.
    writes: BTreeMap<u64, (u64, u32)>,
    next: u64,
    /// Sent on this connection and not applied; applied and not answered.
    sent: Vec<u64>,
    applied: Vec<u64>,
    blocks: BTreeMap<u64, u64>,
    acknowledged: BTreeSet<u64>,
}

impl World {
    fn play(&mut self, turn: &Turn) {
        match *turn {
            Turn::Write { block, blocks } if self.ledger.has_room() => {
                self.ledger.admit(ticket(self.next), write(block, blocks), vec![]);
                self.writes.insert(self.next, (block, blocks));
                self.next += 1;
            }
            Turn::Apply(pick) if !self.sent.is_empty() => {
                let cookie = self.sent.remove(pick % self.sent.len());
                self.apply(cookie);
                self.applied.push(cookie);
            }
            Turn::Answer(pick) if !self.applied.is_empty() => {
                let cookie = self.applied.remove(pick % self.applied.len());
                let ticket = self.ledger.answered(cookie).unwrap();
                self.acknowledged.insert(ticket.cookie());
            }
            Turn::Break(fate) => {
                for (index, cookie) in std::mem::take(&mut self.sent).into_iter().enumerate() {
                    if fate >> (index % 64) & 1 == 1 {
                        self.apply(cookie);
                    }
                }
                self.applied.clear();
                self.ledger.broken();
            }
            Turn::Write { .. } | Turn::Apply(_) | Turn::Answer(_) => {}
        }
        self.sent.extend(send_all(&mut self.ledger));
    }

    fn apply(&mut self, cookie: u64) {
        let (block, blocks) = self.writes[&cookie];
        self.blocks.extend((block..block + u64::from(blocks)).map(|block| (block, cookie)));
    }

    /// No block holds a write that is older than an acknowledged one of the same block.
    fn is_sound(&self) -> bool {
        self.acknowledged.iter().all(|cookie| {
            let (block, blocks) = self.writes[cookie];
            (block..block + u64::from(blocks)).all(|block| self.blocks[&block] >= *cookie)
        })
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_write_that_is_sent_again_undoes_nothing_that_was_acknowledged_later(turns in vec(turn(), 1..120)) {
        let mut world = World::default();
        for turn in &turns {
            world.play(turn);
            prop_assert!(world.is_sound(), "{turn:?}");
        }
        // Without faults everything is answered.
        for _ in 0..turns.len() * 3 {
            world.play(&Turn::Apply(0));
            world.play(&Turn::Answer(0));
        }
        prop_assert!(world.ledger.is_empty());
        prop_assert_eq!(world.acknowledged.len() as u64, world.next);
    }
}
