use replication::wire::{Channel, Lane};
use replication::{Message, Payload};

use crate::samples::{EPOCH, configuration, flush, messages, seq, write};

fn prepare(n: u64) -> Message<Payload> {
    Message::Prepare { epoch: EPOCH, entry: write(n, 1, 1, false), acked: 0, stable: seq(0, 0) }
}

#[test]
fn changes_of_a_member_never_wait_for_a_learner() {
    let mut lane = Lane::default();
    assert_eq!(lane.next(&prepare(1)), Channel::Live);
    for (name, message) in messages() {
        let channel = Lane::default().next(&message);
        let expected = match name {
            "heartbeat" | "heartbeat ack" | "ack" => Channel::Control,
            "join" | "join, clean" | "start" | "copy" | "copy of nothing" | "copied" | "relay" => Channel::Copy,
            "enter" | "enter, no tail" | "flushed" => Channel::Copy,
            _ => Channel::Live,
        };
        assert_eq!(channel, expected, "{name}");
    }
}

#[test]
fn a_learner_that_entered_gets_changes_behind_what_it_learnt_until_it_is_a_member() {
    let mut lane = Lane::default();
    let teaching = [
        Message::Start { epoch: EPOCH, nonce: 1 },
        Message::Relay { epoch: EPOCH, entry: flush(1) },
        Message::Enter { epoch: EPOCH, last: 1, tail: vec![] },
        prepare(2),
        prepare(3),
    ];
    for message in &teaching {
        assert_eq!(lane.next(message), Channel::Copy);
    }
    let new_epoch: Message<Payload> = Message::NewEpoch { configuration: configuration(), sent: block::Instant(1) };
    assert_eq!(lane.next(&new_epoch), Channel::Live);
    assert_eq!(lane.next(&prepare(4)), Channel::Live);
}
