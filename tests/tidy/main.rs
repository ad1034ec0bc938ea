//! The rules of the house that no compiler checks: who may import whom, where `unsafe` may live, what core may not
//! touch, how long a file may be, and that bytes on disk do not change behind the documentation's back.
//!
//! Each test reads the work tree as it is and names every place that breaks its rule.

mod files;
mod format;
mod imports;
mod purity;
mod workspace;
