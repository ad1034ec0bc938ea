//! What the tests of the running program share: the program itself, an NBD client of our own, other people's tools.
//!
//! Nothing here sleeps and hopes: whatever is waited for has a condition and a deadline. Whatever is started ends with
//! the value that stands for it.

pub mod checked;
pub mod cluster;
pub mod device;
pub mod guest;
pub mod namespaces;
pub mod nbd;
pub mod node;
pub mod plant;
pub mod pools;
pub mod random;
pub mod sim;
pub mod skip;
pub mod stamp;
pub mod tool;
pub mod wait;
pub mod writer;
