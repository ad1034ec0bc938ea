//! What a voter keeps on disk.
