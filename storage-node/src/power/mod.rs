//! A drill: the loss of power, made with `kill -9`.
//!
//! With [`PowerDrill::volatile_cache`] what is written to the pool stays in this process's memory, as in a device's cache,
//! until an fdatasync that was ordered after the write ended. A killed process loses it, but for single pages which a
//! seed chooses and which go through to the file at once: so the log is found with holes. With
//! [`PowerDrill::boot_id`] the next start takes the machine for one that was started anew.
//!
//! ```text
//!   node ── Write ──> [Volatile] ── Written, in the next turn ──> node         kill -9: gone
//!   node ── Sync  ──> [Volatile] ── pages ──> file, Sync ──> ring ── Synced ──> node
//!   node ── Read  ──> ring ── ReadEnded ──> [Volatile] puts its pages over it ──> node
//! ```
//! It stands between the machine and the reactor, which both do not know of it. It is for drills only: it writes with
//! blocking calls on the data thread, and its memory is bounded by nothing but the time between two syncs.

mod cache;
mod machine;

pub(crate) use cache::{Cache, CachedMedia, Newer};
pub(crate) use machine::Volatile;

/// How a node is to lose power; nothing for a node that is not drilled.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PowerDrill {
    /// Keep writes in memory until they are synced; the seed of what goes through nevertheless.
    pub volatile_cache: Option<u64>,
    /// What this boot of the machine is called, instead of what the kernel says.
    pub boot_id: Option<u128>,
}
