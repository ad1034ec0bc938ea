//! Which of the three connections between two nodes a message takes.
//!
//! They belong together: when one ends, all end, and [`crate::Event::Disconnected`] is told; when all are there again,
//! [`crate::Event::Connected`]. PROTOCOL.md says why each kind of message may take the connection it takes.

use crate::message::Message;

/// What a connection is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Channel {
    /// What is short and must not wait: heartbeats, answers.
    Control = 1,
    /// Configurations and changes, in order.
    Live = 2,
    /// What learners are taught, in order.
    Copy = 3,
}

impl Channel {
    /// In order of their numbers, which begin with 1.
    pub const ALL: [Self; 3] = [Self::Control, Self::Live, Self::Copy];

    pub(crate) fn of(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }
}

/// What one replica sends to one other, from one [`crate::Event::Connected`] to the next. Ask it for every message, in
/// the order in which they are to be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Lane {
    /// The peer is a learner. Changes that it gets when it has entered must not overtake what it learnt before.
    teaches: bool,
}

impl Lane {
    /// The connection for the next message.
    pub fn next<P>(&mut self, message: &Message<P>) -> Channel {
        match message {
            Message::Heartbeat { .. } | Message::HeartbeatAck { .. } | Message::Ack { .. } => Channel::Control,
            Message::Start { .. } => {
                self.teaches = true;
                Channel::Copy
            }
            Message::Copy { .. } | Message::Relay { .. } | Message::Enter { .. } => Channel::Copy,
            Message::Join { .. } | Message::Copied { .. } | Message::Flushed { .. } => Channel::Copy,
            Message::Prepare { .. } if self.teaches => Channel::Copy,
            // What was sent to the learner may come later: it is of an older epoch, is dropped, and sent again.
            Message::NewEpoch { .. } => {
                self.teaches = false;
                Channel::Live
            }
            Message::Prepare { .. } | Message::EpochAck { .. } | Message::Fetch { .. } | Message::Entries { .. } => {
                Channel::Live
            }
        }
    }
}
