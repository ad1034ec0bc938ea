//! What a connection is about to send.

use std::collections::VecDeque;

use block::{Incarnation, PoolId, VolumeId};
use replication::wire::{self, ENTRIES_BYTES_MAX, ENTRIES_MAX, Envelope, Signal};
use replication::{Aside, Entry, Message, Payload};

use crate::limits::PEER_OUTBOX_BYTES_MAX;
use crate::peers::frames::{Frame, FrameSlices};

/// A volume that nobody has: what is said of it says only that somebody is there.
const NOBODYS: VolumeId = VolumeId(0);

/// What was to be sent does not fit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Full;

/// Frames in order.
#[derive(Debug, Default)]
pub(crate) struct PeerOutbox {
    frames: VecDeque<Frame>,
    len_bytes: usize,
    /// Bytes of the first frame that are sent.
    sent_bytes: usize,
    /// Frames that the kernel may be looking at.
    pinned: usize,
}

impl PeerOutbox {
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Bytes that are not sent.
    pub fn unsent_bytes(&self) -> usize {
        self.len_bytes - self.sent_bytes
    }

    /// Appends a message, if there is room for it.
    pub fn push(&mut self, envelope: &Envelope, message: Message<Payload>) -> Result<(), Full> {
        let message = fitting(message);
        let mut head = Vec::new();
        wire::encode(envelope, &message, &mut head).map_err(|_| Full)?;
        let payloads = wire::payloads(&message).cloned().collect();
        let frame = Frame { volume: Some(envelope.volume), head, payloads };
        if self.len_bytes + frame.len_bytes() > PEER_OUTBOX_BYTES_MAX {
            return Err(Full);
        }
        self.append(frame);
        Ok(())
    }

    /// Appends something that is said beside the order, if there is room for it.
    pub fn push_aside(&mut self, envelope: &Envelope, aside: &Aside) {
        let mut head = Vec::new();
        wire::encode_aside(envelope, aside, &mut head);
        if self.len_bytes + head.len() <= PEER_OUTBOX_BYTES_MAX {
            self.append(Frame { volume: Some(envelope.volume), head, payloads: Vec::new() });
        }
    }

    pub fn push_signal(&mut self, envelope: &Envelope, signal: Signal) {
        let mut head = Vec::new();
        wire::encode_signal(envelope, signal, &mut head);
        self.append(Frame { volume: None, head, payloads: Vec::new() });
    }

    /// Says that this node is there.
    pub fn push_keepalive(&mut self, me: PoolId) {
        let envelope = Envelope { volume: NOBODYS, from: me, incarnation: Incarnation(1), link: 1 };
        self.push_signal(&envelope, Signal::Opened);
    }

    pub fn push_bytes(&mut self, head: Vec<u8>) {
        self.append(Frame { volume: None, head, payloads: Vec::new() });
    }

    fn append(&mut self, frame: Frame) {
        self.len_bytes += frame.len_bytes();
        self.frames.push_back(frame);
    }

    /// Messages of the volume are not sent any more, but for those that may be on their way.
    pub fn drop_volume(&mut self, volume: VolumeId) {
        let kept = self.pinned.max(usize::from(self.sent_bytes > 0));
        let mut index = 0;
        self.frames.retain(|frame| {
            index += 1;
            index <= kept || frame.volume != Some(volume)
        });
        self.len_bytes = self.frames.iter().map(Frame::len_bytes).sum();
    }

    /// The unsent bytes, in order.
    pub fn slices(&self) -> FrameSlices<'_> {
        FrameSlices::new(&self.frames, self.sent_bytes)
    }

    /// A send of what is there now begins.
    pub fn pin(&mut self) {
        self.pinned = self.frames.len();
    }

    /// It ended, and so many bytes went out.
    pub fn sent(&mut self, len_bytes: usize) {
        self.pinned = 0;
        self.sent_bytes += len_bytes;
        while let Some(first) = self.frames.front()
            && self.sent_bytes >= first.len_bytes()
        {
            let frame_bytes = first.len_bytes();
            self.sent_bytes -= frame_bytes;
            self.len_bytes -= frame_bytes;
            self.frames.pop_front();
        }
    }
}

/// As much of the changes that somebody fetches as fits one message: the rest is fetched again.
fn fitting(message: Message<Payload>) -> Message<Payload> {
    let Message::Entries { epoch, mut entries } = message else { return message };
    let mut bytes = 0;
    let fits = entries.iter().take(ENTRIES_MAX).take_while(|entry| {
        bytes += payload_bytes(entry);
        bytes <= ENTRIES_BYTES_MAX
    });
    entries.truncate(fits.count());
    Message::Entries { epoch, entries }
}

fn payload_bytes(entry: &Entry<Payload>) -> usize {
    match &entry.change {
        replication::Change::Write { payload, .. } => payload.bytes().len(),
        replication::Change::Zero { .. } | replication::Change::Flush | replication::Change::Snapshot { .. } => 0,
    }
}

#[cfg(test)]
mod tests {
    use block::{BlockRange, Epoch, Incarnation, Pages, PoolId, VolumeId, WriteSeq};
    use replication::wire::Envelope;
    use replication::{Change, Entry, Memory, Message, Payload};

    use super::{Full, PeerOutbox};

    fn change(n: u64, blocks: u32) -> Entry<Payload> {
        let payload = Memory::new(Pages::zeroed(blocks as usize)).seal(blocks as usize);
        let change = Change::Write { range: BlockRange::new(n, blocks), payload };
        Entry { seq: WriteSeq { epoch: Epoch(1), n }, change, fua: false }
    }

    fn prepare(n: u64, blocks: u32) -> Message<Payload> {
        Message::Prepare { epoch: Epoch(1), entry: change(n, blocks), acked: 0, stable: WriteSeq::ZERO }
    }

    fn of(volume: u64) -> Envelope {
        Envelope { volume: VolumeId(volume), from: PoolId(1), incarnation: Incarnation(1), link: 1 }
    }

    fn all(outbox: &PeerOutbox) -> Vec<u8> {
        outbox.slices().collect::<Vec<_>>().concat()
    }

    #[test]
    fn bytes_go_out_in_order_however_few_at_a_time() {
        let mut outbox = PeerOutbox::default();
        (1..5).for_each(|n| outbox.push(&of(n), prepare(n, 2)).unwrap());
        let mut expected = all(&outbox);
        assert_eq!(expected.len(), outbox.len_bytes);
        for step in [1, 63, 64, 4096, 9000, 1].into_iter().cycle() {
            let step = step.min(expected.len());
            outbox.pin();
            outbox.sent(step);
            expected.drain(..step);
            assert_eq!(all(&outbox), expected);
            if expected.is_empty() {
                break;
            }
        }
        assert!(outbox.is_empty() && outbox.len_bytes == 0);
    }

    #[test]
    fn a_volume_that_fills_the_outbox_loses_what_it_has_there_and_others_nothing() {
        let mut outbox = PeerOutbox::default();
        outbox.push(&of(2), prepare(1, 1)).unwrap();
        let first = all(&outbox);
        let mut n = 1;
        while outbox.push(&of(7), prepare(n, 256)).is_ok() {
            n += 1;
        }
        assert_eq!(outbox.push(&of(7), prepare(n, 256)), Err(Full));
        assert!(n > 60);
        outbox.push(&of(3), prepare(1, 1)).unwrap();
        outbox.drop_volume(VolumeId(7));
        assert!(all(&outbox).starts_with(&first));
        assert_eq!(all(&outbox).len(), 2 * first.len());
        assert_eq!(outbox.len_bytes, 2 * first.len());
    }

    #[test]
    fn what_may_be_on_its_way_stays() {
        let mut outbox = PeerOutbox::default();
        outbox.push(&of(7), prepare(1, 1)).unwrap();
        outbox.pin();
        let pinned = all(&outbox);
        outbox.push(&of(7), prepare(2, 1)).unwrap();
        outbox.drop_volume(VolumeId(7));
        assert_eq!(all(&outbox), pinned);
        outbox.sent(10);
        outbox.drop_volume(VolumeId(7));
        assert_eq!(all(&outbox), pinned[10..], "the rest of a frame follows its beginning");
    }

    #[test]
    fn whoever_fetches_more_than_fits_gets_the_first_ones() {
        let mut outbox = PeerOutbox::default();
        let entries = (1..=40).map(|n| change(n, 256)).collect();
        outbox.push(&of(1), Message::Entries { epoch: Epoch(1), entries }).unwrap();
        assert_eq!(outbox.len_bytes >> 20, 32);
        let tail = (1..=40).map(|n| change(n, 256)).collect();
        assert_eq!(outbox.push(&of(1), Message::Enter { epoch: Epoch(1), last: 40, tail }), Err(Full));
    }
}
