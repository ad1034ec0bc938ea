//! Records there and back, and what is no record.

mod arbitrary;
mod fixtures;
mod histories;
mod invalid;
