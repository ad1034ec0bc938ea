//! Bytes received and not yet understood: one linear buffer, so that a session sees them in one slice.

/// Largest size of the buffer; enough for dozens of small writes in one receive.
pub(crate) const INBOX_BYTES: usize = 256 * 1024;
/// Size until the client has opened an export.
const INBOX_BYTES_FIRST: usize = 16 * 1024;
/// The unread bytes are moved to the front when less than this is free behind them.
const FREE_BYTES_MIN: usize = 64 * 1024;

/// The receive buffer of one connection. It moves only in [`Inbox::make_room`], which is called only when no
/// receive is outstanding.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Inbox {
    pub fn unread(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    pub fn consume(&mut self, len_bytes: usize) {
        assert!(len_bytes <= self.end - self.start, "a session consumes what it was shown");
        self.start += len_bytes;
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Makes the buffer fit `unread_bytes` and some more bytes; `full_size` once requests are to be expected.
    pub fn make_room(&mut self, unread_bytes: usize, full_size: bool) {
        let size = if full_size { INBOX_BYTES } else { INBOX_BYTES_FIRST }.max(unread_bytes);
        let free_min = if full_size { FREE_BYTES_MIN } else { 0 };
        let tail = self.bytes.len() - self.end;
        if self.start > 0 && (tail < free_min || tail == 0 || self.start + unread_bytes > self.bytes.len()) {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.bytes.len() < size {
            // Fresh zeroes from the allocator, not a resize: memory is used only as far as bytes arrive.
            let mut grown = vec![0; size];
            grown[..self.end].copy_from_slice(&self.bytes[..self.end]);
            self.bytes = grown;
        }
    }

    /// Where the next bytes go.
    pub fn free(&mut self) -> &mut [u8] {
        &mut self.bytes[self.end..]
    }

    /// Notes that `len_bytes` arrived in [`Inbox::free`].
    pub fn received(&mut self, len_bytes: usize) {
        assert!(len_bytes <= self.bytes.len() - self.end, "no more arrives than there was room for");
        self.end += len_bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::Inbox;

    #[test]
    fn unread_bytes_survive_growth_and_compaction() {
        let mut inbox = Inbox::default();
        let (mut written, mut read) = (0_u64, 0_u64);
        for round in 0..2000_usize {
            inbox.make_room(32 * 1024, round > 100);
            let count = (round * 7919) % inbox.free().len().min(20_000) + 1;
            for byte in &mut inbox.free()[..count] {
                *byte = u8::try_from(written % 251).unwrap();
                written += 1;
            }
            inbox.received(count);
            let keep = (round * 104_729) % 16_000;
            let consumed = inbox.unread().len().saturating_sub(keep);
            for byte in &inbox.unread()[..consumed] {
                assert_eq!(u64::from(*byte), read % 251);
                read += 1;
            }
            inbox.consume(consumed);
        }
        assert!(read > 1_000_000);
    }
}
