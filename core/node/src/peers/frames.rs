//! Frames on their way out, and the bytes of them that are not sent.

use std::collections::VecDeque;
use std::collections::vec_deque;

use block::VolumeId;
use replication::Payload;

/// Bytes that belong together. Payloads are sent from where they lie.
#[derive(Debug)]
pub(crate) struct Frame {
    /// `None` if it is about no volume.
    pub volume: Option<VolumeId>,
    pub head: Vec<u8>,
    pub payloads: Vec<Payload>,
}

impl Frame {
    pub fn len_bytes(&self) -> usize {
        self.head.len() + self.payloads.iter().map(|payload| payload.bytes().len()).sum::<usize>()
    }

    fn part(&self, index: usize) -> Option<&[u8]> {
        match index.checked_sub(1) {
            None => Some(&self.head),
            Some(index) => self.payloads.get(index).map(Payload::bytes),
        }
    }
}

/// Iterator over the bytes of frames, from some byte of the first on.
#[derive(Debug)]
pub struct FrameSlices<'a> {
    frames: vec_deque::Iter<'a, Frame>,
    current: Option<&'a Frame>,
    part: usize,
    skip_bytes: usize,
}

impl<'a> FrameSlices<'a> {
    pub(crate) fn new(frames: &'a VecDeque<Frame>, skip_bytes: usize) -> Self {
        let mut frames = frames.iter();
        let current = frames.next();
        Self { frames, current, part: 0, skip_bytes }
    }
}

impl<'a> Iterator for FrameSlices<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Some(bytes) = self.current?.part(self.part) else {
                (self.current, self.part) = (self.frames.next(), 0);
                continue;
            };
            self.part += 1;
            let skipped = self.skip_bytes.min(bytes.len());
            self.skip_bytes -= skipped;
            if skipped < bytes.len() {
                return Some(&bytes[skipped..]);
            }
        }
    }
}
