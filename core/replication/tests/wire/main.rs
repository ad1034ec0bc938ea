//! Messages as bytes: exactly these, and nothing else is taken for one.

mod frames;
mod golden;
mod greetings;
mod lanes;
mod limits;
mod samples;
