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
            "heartbeat" | "heartbeat ack" | "heartbeat ack, tight" | "ack" | "ack, tight" => Channel::Control,
            "join" | "join, clean" | "join with snapshots" | "start" | "start with snapshots" | "cut" => Channel::Copy,
            "copy" | "copy of nothing" | "copy with lost blocks" | "copied" | "relay" => Channel::Copy,
            "enter" | "enter, no tail" | "flushed" => Channel::Copy,
            _ => Channel::Live,
        };
        assert_eq!(channel, expected, "{name}");
    }
}

fn heartbeat() -> Message<Payload> {
    Message::Heartbeat { epoch: EPOCH, sent: block::Instant(1), unheard: false, acked: 0, stable: seq(0, 0) }
}

#[test]
fn a_learner_that_entered_gets_changes_behind_what_it_learnt_until_it_is_a_member() {
    let mut lane = Lane::default();
    let teaching = [
        (Message::Start { epoch: EPOCH, nonce: 1, groups: 1, snapshots: vec![] }, Channel::Copy),
        (Message::Relay { epoch: EPOCH, entry: flush(1) }, Channel::Copy),
        (Message::Enter { epoch: EPOCH, last: 1, tail: vec![] }, Channel::Copy),
        (prepare(2), Channel::Copy),
        // Reads wait for the answer to the first one: it must not come before the learner takes part.
        (heartbeat(), Channel::Copy),
        (heartbeat(), Channel::Control),
        (prepare(3), Channel::Copy),
        (Message::NewEpoch { configuration: configuration(), sent: block::Instant(1) }, Channel::Live),
        (prepare(4), Channel::Live),
    ];
    for (message, expected) in teaching {
        assert_eq!(lane.next(&message), expected, "{message:?}");
    }
}
