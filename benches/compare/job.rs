//! What is measured.

/// What a job does, which decides which of fio's figures count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Reads.
    Read,
    /// Writes.
    Write,
    /// Writes, each followed by a flush; the pair is one operation.
    Flush,
}

/// One line of the job list.
#[derive(Debug)]
pub struct Job {
    /// Name in tables.
    pub name: &'static str,
    /// What it does.
    pub kind: Kind,
    /// fio's name of the pattern.
    pub pattern: &'static str,
    /// Bytes of an operation.
    pub block_bytes: u32,
    /// Operations in flight.
    pub depth: u32,
    /// Whether it goes over the whole volume once, or at random for a fixed time.
    pub whole_volume: bool,
}

const fn random(name: &'static str, kind: Kind, pattern: &'static str, depth: u32) -> Job {
    Job { name, kind, pattern, block_bytes: 4096, depth, whole_volume: false }
}

const fn sequential(name: &'static str, kind: Kind, pattern: &'static str) -> Job {
    Job { name, kind, pattern, block_bytes: 128 << 10, depth: 8, whole_volume: true }
}

/// Sequential writing comes first: it leaves every volume fully and freshly written for the reads behind it.
pub const JOBS: [Job; 7] = [
    sequential("seqwrite-8", Kind::Write, "write"),
    sequential("seqread-8", Kind::Read, "read"),
    random("randread-1", Kind::Read, "randread", 1),
    random("randread-32", Kind::Read, "randread", 32),
    random("randwrite-1", Kind::Write, "randwrite", 1),
    random("randwrite-32", Kind::Write, "randwrite", 32),
    random("flush-1", Kind::Flush, "randwrite", 1),
];
