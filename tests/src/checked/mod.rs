//! A client of a volume that keeps many requests in flight, comes back through any node when its connection breaks, and
//! checks every answer: a volume under it is linearizable block by block, or the test fails with a sentence.

mod beliefs;
mod client;
mod left;
mod load;
mod pace;

pub use beliefs::{Beliefs, Put, Since};
pub use client::{CheckedClient, Habits};
pub use left::{Heard, Left};
pub use load::Load;
pub use pace::{Latency, Pace};
