//! Who watches while something is waited for.

use std::fmt::Debug;

/// Is told what is being waited for: a line that changes, and goes away again.
pub trait Onlooker: Debug + Send + Sync {
    /// From now on it is this.
    fn say(&self, sentence: &str);

    /// Nothing is waited for any more.
    fn clear(&self);
}

/// Watches nothing.
#[derive(Clone, Copy, Debug)]
pub struct Nobody;

impl Onlooker for Nobody {
    fn say(&self, sentence: &str) {
        tracing::debug!("{sentence}");
    }

    fn clear(&self) {}
}
