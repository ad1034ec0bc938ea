//! What a connection is about to send: small headers in one vector, payloads where the device put them.
//!
//! A session appends; the owner of the socket sends [`Outbox::slices`], calls [`Outbox::advance`], and when it is
//! empty takes the payload buffers back with [`Outbox::clear`]. While a send is in flight nothing may be appended:
//! keep two outboxes and swap them.

use std::ops::Range;

use crate::Pages;

/// Bytes to send, in order, without copying payloads.
#[derive(Debug, Default)]
pub struct Outbox {
    heads: Vec<u8>,
    heads_in_parts: usize,
    buffers: Vec<Pages>,
    parts: Vec<Part>,
    first_part: usize,
    len_bytes: usize,
}

#[derive(Debug, Clone)]
enum Part {
    Head(Range<usize>),
    Payload { buffer: usize, range: Range<usize> },
}

impl Part {
    fn range(&mut self) -> &mut Range<usize> {
        match self {
            Self::Head(range) | Self::Payload { range, .. } => range,
        }
    }
}

impl Outbox {
    /// Appends `bytes`, copied.
    pub fn push(&mut self, bytes: &[u8]) {
        self.heads.extend_from_slice(bytes);
        self.len_bytes += bytes.len();
    }

    /// Takes a buffer whose parts will be sent; answers the number to name it by in [`Outbox::push_payload`].
    pub fn keep(&mut self, buffer: Pages) -> usize {
        self.buffers.push(buffer);
        self.buffers.len() - 1
    }

    /// Appends bytes `range` of a kept buffer, not copied.
    pub fn push_payload(&mut self, buffer: usize, range: Range<usize>) {
        assert!(range.end <= self.buffers[buffer].bytes().len(), "a payload lies in its buffer");
        self.close_head();
        self.len_bytes += range.end - range.start;
        self.parts.push(Part::Payload { buffer, range });
    }

    /// Bytes not sent yet.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.len_bytes
    }

    /// Whether all is sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len_bytes == 0
    }

    /// The unsent bytes, in order. Call [`Outbox::seal`] before.
    #[must_use]
    pub fn slices(&self) -> OutboxSlices<'_> {
        OutboxSlices { outbox: self, next: self.first_part }
    }

    /// Makes the headers pushed so far part of [`Outbox::slices`].
    pub fn seal(&mut self) {
        self.close_head();
    }

    /// Notes that the first `sent_bytes` unsent bytes were sent.
    pub fn advance(&mut self, mut sent_bytes: usize) {
        assert!(sent_bytes <= self.len_bytes, "no more is sent than there was");
        self.len_bytes -= sent_bytes;
        while sent_bytes > 0 {
            let range = self.parts[self.first_part].range();
            let step = sent_bytes.min(range.end - range.start);
            range.start += step;
            sent_bytes -= step;
            if range.start == range.end {
                self.first_part += 1;
            }
        }
    }

    /// Empties the outbox, sent or not, and hands the payload buffers back.
    pub fn clear(&mut self) -> impl Iterator<Item = Pages> {
        self.heads.clear();
        self.parts.clear();
        (self.heads_in_parts, self.first_part, self.len_bytes) = (0, 0, 0);
        self.buffers.drain(..)
    }

    fn close_head(&mut self) {
        if self.heads_in_parts < self.heads.len() {
            self.parts.push(Part::Head(self.heads_in_parts..self.heads.len()));
            self.heads_in_parts = self.heads.len();
        }
    }
}

/// Iterator over the unsent bytes of an [`Outbox`].
#[derive(Debug)]
pub struct OutboxSlices<'a> {
    outbox: &'a Outbox,
    next: usize,
}

impl<'a> Iterator for OutboxSlices<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<Self::Item> {
        let part = self.outbox.parts.get(self.next)?;
        self.next += 1;
        Some(match part {
            Part::Head(range) => &self.outbox.heads[range.clone()],
            Part::Payload { buffer, range } => &self.outbox.buffers[*buffer].bytes()[range.clone()],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Outbox;
    use crate::Pages;

    fn filled() -> Outbox {
        let mut buffer = Pages::zeroed(1);
        buffer.bytes_mut()[..6].copy_from_slice(b"abcdef");
        let mut outbox = Outbox::default();
        outbox.push(b"one ");
        outbox.push(b"two ");
        let kept = outbox.keep(buffer);
        outbox.push_payload(kept, 0..3);
        outbox.push(b" three ");
        outbox.push_payload(kept, 3..6);
        outbox.seal();
        outbox
    }

    #[test]
    fn bytes_leave_in_the_order_they_were_pushed_however_they_are_split() {
        for step in 1..30 {
            let mut outbox = filled();
            let mut sent = Vec::new();
            while !outbox.is_empty() {
                let unsent: Vec<u8> = outbox.slices().flatten().copied().collect();
                assert_eq!(unsent.len(), outbox.len_bytes());
                let count = step.min(unsent.len());
                sent.extend_from_slice(&unsent[..count]);
                outbox.advance(count);
            }
            assert_eq!(sent, b"one two abc three def");
            assert_eq!(outbox.clear().count(), 1);
            assert!(outbox.slices().next().is_none());
        }
    }
}
