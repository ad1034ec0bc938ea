//! What two replicas of one volume have of the connections that their nodes share: a link, which can end and begin anew
//! without the connections.
//!
//! Links of two replicas are numbered, from 1 with every new set of connections, and every frame carries the number.
//! The node that made the connections opens; the other one answers. Nothing is sent on a link before it is open at both
//! ends, so that nothing can overtake its beginning, whichever connection it takes; what is of another number is dropped.
//!
//! ```text
//!   opens:    Down ── open ──> Asked ── Opened, or any message ──> Up        Down <── close, Close ── Asked, Up
//!   answers:  Down ── Open ──> Up                                            Down <── close, Close ── Up
//! ```
//! Not here: when to open again. The owner waits between two attempts: the other side may have nobody to answer for.

use block::PoolId;

/// One end of a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Link {
    number: u32,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Stage {
    #[default]
    Down,
    Asked,
    Up,
}

/// What one end says to the other, on [`crate::wire::Channel::Control`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    /// A new link begins.
    Open {
        /// The replica it is for. Where there is another one, a pool has taken another's place: close it.
        to: PoolId,
    },
    /// It has begun.
    Opened,
    /// It has ended.
    Close,
}

/// What a frame means for a link. Each is to be done in the order of the words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Heard {
    /// Nothing: it is of another link.
    Nothing,
    /// The message counts.
    Message,
    /// [`crate::Event::Connected`]; and a message with which this was found out counts.
    Connected,
    /// [`crate::Event::Connected`], which ends an older link as well; send [`Signal::Opened`].
    Accepted,
    /// [`crate::Event::Disconnected`].
    Disconnected,
}

impl Link {
    /// Its number, for every frame.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Whether messages may be sent.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.stage == Stage::Up
    }

    /// Begins a new one, at the node that made the connections: send [`Signal::Open`]. The link must be down.
    pub fn open(&mut self) {
        assert_eq!(self.stage, Stage::Down, "a link ends before the next one begins");
        self.number = self.number.checked_add(1).expect("a link a millisecond lasts for seven weeks of one connection");
        self.stage = Stage::Asked;
    }

    /// Ends it: send [`Signal::Close`] if this says so.
    #[must_use]
    pub fn close(&mut self) -> bool {
        std::mem::replace(&mut self.stage, Stage::Down) != Stage::Down
    }

    /// A frame with this number arrived; `signal` if it is no message.
    pub fn hear(&mut self, number: u32, signal: Option<Signal>) -> Heard {
        if let Some(Signal::Open { .. }) = signal {
            return self.asked(number);
        }
        if number != self.number {
            return Heard::Nothing;
        }
        match (self.stage, signal) {
            (Stage::Down, _) => Heard::Nothing,
            (Stage::Asked, Some(Signal::Close)) => {
                self.stage = Stage::Down;
                Heard::Nothing
            }
            (Stage::Asked, _) => {
                self.stage = Stage::Up;
                Heard::Connected
            }
            (Stage::Up, Some(Signal::Close)) => {
                self.stage = Stage::Down;
                Heard::Disconnected
            }
            (Stage::Up, Some(_)) => Heard::Nothing,
            (Stage::Up, None) => Heard::Message,
        }
    }

    fn asked(&mut self, number: u32) -> Heard {
        if number <= self.number {
            return Heard::Nothing;
        }
        *self = Self { number, stage: Stage::Up };
        Heard::Accepted
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use block::PoolId;

    use super::{Heard, Link, Signal, Stage};

    /// Messages name the link they were sent on, by a number that nobody but the test counts.
    #[derive(Clone, Copy, Debug)]
    enum Sent {
        Signal(Signal),
        Message { life: u32 },
    }

    /// Two ends, and three connections in each direction.
    #[derive(Default)]
    struct Pair {
        ends: [Link; 2],
        /// How often each end was connected.
        lives: [u32; 2],
        wires: [[VecDeque<(u32, Sent)>; 3]; 2],
        delivered: u32,
    }

    impl Pair {
        fn send(&mut self, end: usize, wire: usize, sent: Sent) {
            let number = self.ends[end].number();
            self.wires[end][wire].push_back((number, sent));
        }

        fn arrive(&mut self, end: usize, wire: usize) {
            let Some((number, sent)) = self.wires[1 - end][wire].pop_front() else { return };
            let (signal, life) = match sent {
                Sent::Signal(signal) => (Some(signal), None),
                Sent::Message { life } => (None, Some(life)),
            };
            let heard = self.ends[end].hear(number, signal);
            if matches!(heard, Heard::Connected | Heard::Accepted) {
                self.lives[end] = number;
            }
            if heard == Heard::Accepted {
                self.send(end, 0, Sent::Signal(Signal::Opened));
            }
            if let (Heard::Message | Heard::Connected, Some(life)) = (heard, life) {
                assert_eq!(life, self.lives[end], "nothing of an older link arrives");
                self.delivered += 1;
            }
        }

        fn step(&mut self, choice: usize) {
            let (end, wire) = (choice % 2, choice / 2 % 3);
            match choice / 6 % 64 {
                0 => {
                    if self.ends[end].close() {
                        self.send(end, 0, Sent::Signal(Signal::Close));
                    }
                }
                1..4 if self.ends[0].stage == Stage::Down => self.open(),
                4..24 if self.ends[end].is_up() => {
                    let life = self.lives[end];
                    self.send(end, wire, Sent::Message { life });
                }
                _ => self.arrive(end, wire),
            }
        }

        fn open(&mut self) {
            self.ends[0].open();
            self.send(0, 0, Sent::Signal(Signal::Open { to: PoolId(1) }));
        }

        fn settle(&mut self) {
            for _ in 0..10_000 {
                (0..6).for_each(|choice| self.arrive(choice % 2, choice / 2));
            }
        }
    }

    #[test]
    fn nothing_of_an_older_link_arrives_whichever_connection_it_takes() {
        let mut pair = Pair::default();
        let mut at = 1_u64;
        for _ in 0..200_000 {
            at = at.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            pair.step(usize::try_from(at >> 40).unwrap());
        }
        assert!(pair.delivered > 10_000 && pair.lives[1] > 1000, "{} {:?}", pair.delivered, pair.lives);
        pair.settle();
        if pair.ends[0].stage == Stage::Down {
            pair.open();
            pair.settle();
        }
        assert!(pair.ends.iter().all(Link::is_up), "left alone it comes up");
        assert_eq!(pair.ends[0].number(), pair.ends[1].number());
    }

    #[test]
    fn who_is_told_that_nobody_answers_is_down_and_may_ask_again() {
        let mut link = Link::default();
        link.open();
        assert_eq!(link.hear(1, Some(Signal::Close)), Heard::Nothing);
        assert!(!link.close());
        link.open();
        assert_eq!(link.hear(1, None), Heard::Nothing);
        assert_eq!(link.hear(2, None), Heard::Connected);
    }
}
