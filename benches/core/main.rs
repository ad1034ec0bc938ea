//! The hot paths of core, without sockets and disks: what one operation costs before the kernel is asked for anything.
//!
//! `cargo bench -p benches --bench core`, with a filter behind it if need be.

mod map;
mod session;
mod store;

use criterion::{criterion_group, criterion_main};

criterion_group!(core, session::bench, map::bench, store::bench);
criterion_main!(core);
