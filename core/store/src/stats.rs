//! Counters of a store since it was opened, and how full its pool is.

/// What a store did since it was opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Batches written.
    pub batches: u64,
    /// Entries in them.
    pub entries: u64,
    /// Data blocks that clients wrote.
    pub written_blocks: u64,
    /// Data blocks that came as copies from another replica.
    pub copied_blocks: u64,
    /// Data blocks that were written anew because they had been lost here.
    pub repaired_blocks: u64,
    /// Blocks that came as lost from another replica.
    pub lost_blocks: u64,
    /// Data blocks that clients read from the device.
    pub device_read_blocks: u64,
    /// Device writes of any kind.
    pub device_writes: u64,
    /// Bytes of them.
    pub device_write_bytes: u64,
    /// Device reads for clients.
    pub device_reads: u64,
    /// Completed fdatasyncs.
    pub syncs: u64,
    /// Blocks that reclaim moved.
    pub reclaimed_blocks: u64,
    /// Segments that reclaim went through.
    pub reclaimed_segments: u64,
    /// Map nodes that reclaim had written anew.
    pub rewritten_nodes: u64,
    /// Completed checkpoints.
    pub checkpoints: u64,
    /// Map pages written for them.
    pub map_pages: u64,
    /// Blocks that were not what was written, or could not be read.
    pub bad_blocks: u64,
    /// Completed scrub passes.
    pub scrubs: u64,
    /// Segments that became free.
    pub freed_segments: u64,
}

/// How full a pool is, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PoolSpace {
    /// What clients' data may take in all.
    pub capacity_bytes: u64,
    /// What clients' data takes: blocks that any volume or snapshot references.
    pub live_bytes: u64,
    /// What is left for clients' data.
    pub free_bytes: u64,
    /// What the block map takes on disk.
    pub map_bytes: u64,
    /// Segments of the pool.
    pub segments: u32,
    /// Segments that may be written at once.
    pub free_segments: u32,
    /// Bytes of a segment.
    pub segment_bytes: u64,
}
