//! The plinth command as people use it: what it prints, how it ends, what survives.

mod cluster;
mod daemons;
mod dev;
mod process;
