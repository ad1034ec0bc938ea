//! Zero-writes segments that were never written, ahead of their use: a first write into a preallocated file costs the
//! file system an update of its own, several times the price of an overwrite.

/// Segments kept ahead of the log.
const AHEAD: u32 = 32;

#[derive(Debug)]
pub(crate) struct Zeroing {
    /// Segments below were written at least once.
    zeroed: u32,
    segments: u32,
    running: bool,
}

impl Zeroing {
    pub fn new(zeroed: u32, segments: u32) -> Self {
        Self { zeroed, segments, running: false }
    }

    pub fn zeroed(&self) -> u32 {
        self.zeroed
    }

    /// The segment to zero next, if it is time. `successor` is the one the log opens next.
    pub fn wanted(&self, successor: u32) -> Option<u32> {
        let near = self.zeroed <= successor.saturating_add(AHEAD) && self.zeroed < self.segments;
        (!self.running && near).then_some(self.zeroed)
    }

    /// The wanted segment is in use: it needs no zeroing any more.
    pub fn skip(&mut self) {
        self.zeroed += 1;
    }

    pub fn start(&mut self) {
        self.running = true;
    }

    /// The job ended; answers which segment it was about. When it failed the segment is used as it is: slower, not
    /// wrong.
    pub fn end(&mut self) -> u32 {
        self.running = false;
        self.zeroed += 1;
        self.zeroed - 1
    }
}
