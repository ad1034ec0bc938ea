//! Messages as bytes: exactly these, and nothing else is taken for one.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall say where")]

mod asides;
mod frames;
mod golden;
mod greetings;
mod lanes;
mod limits;
mod samples;
