//! Which of three connections between two nodes a message may take. The node makes two of them: see PROTOCOL.md.
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
    peer: Peer,
}

/// What the other one is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Peer {
    /// No learner of ours.
    #[default]
    Other,
    /// A learner.
    Learner,
    /// One that was just told to take part.
    LetIn,
    /// One that takes part, and is no member yet.
    Entered,
}

impl Lane {
    /// The connection for the next message.
    pub fn next<P>(&mut self, message: &Message<P>) -> Channel {
        match message {
            Message::Heartbeat { .. } => self.heartbeat(),
            Message::HeartbeatAck { .. } | Message::Ack { .. } => Channel::Control,
            Message::Start { .. } => self.turn(Peer::Learner, Channel::Copy),
            Message::Enter { .. } => self.turn(Peer::LetIn, Channel::Copy),
            Message::Copy { .. } | Message::Relay { .. } | Message::Cut { .. } => Channel::Copy,
            Message::Join { .. } | Message::Copied { .. } | Message::Flushed { .. } => Channel::Copy,
            Message::Prepare { .. } => self.prepare(),
            // What went the other way before may come later: it is of an older epoch, is dropped, and sent again.
            Message::NewEpoch { .. } => self.turn(Peer::Other, Channel::Live),
            Message::EpochAck { .. } | Message::Fetch { .. } | Message::Entries { .. } => Channel::Live,
        }
    }

    fn turn(&mut self, peer: Peer, channel: Channel) -> Channel {
        self.peer = peer;
        channel
    }

    /// Reads wait for the first answer of a learner that was let in, and who does not know that it was does not answer.
    fn heartbeat(&mut self) -> Channel {
        match self.peer {
            Peer::LetIn => self.turn(Peer::Entered, Channel::Copy),
            Peer::Other | Peer::Learner | Peer::Entered => Channel::Control,
        }
    }

    /// A change must not overtake what lets the learner take it.
    fn prepare(&self) -> Channel {
        match self.peer {
            Peer::Other => Channel::Live,
            Peer::Learner | Peer::LetIn | Peer::Entered => Channel::Copy,
        }
    }
}
