//! One call at a time for each volume: whoever comes while another is under way waits, and finds what it did.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

/// Who is at it. Entries go with the last one that waits.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<BTreeMap<String, Weak<Turn<()>>>>);

impl Turns {
    /// Waits for this volume's turn; it ends with the answer.
    pub async fn take(&self, volume: &str) -> OwnedMutexGuard<()> {
        self.of(volume).lock_owned().await
    }

    fn of(&self, volume: &str) -> Arc<Turn<()>> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| turn.strong_count() > 0);
        if let Some(turn) = turns.get(volume).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::new(Turn::default());
        turns.insert(volume.to_owned(), Arc::downgrade(&turn));
        turn
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::Turns;

    const SHORT: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn calls_on_one_volume_come_one_after_the_other() {
        let turns = Turns::default();
        let first = turns.take("a").await;
        assert!(timeout(SHORT, turns.take("a")).await.is_err());
        assert!(timeout(SHORT, turns.take("b")).await.is_ok());
        drop(first);
        assert!(timeout(SHORT, turns.take("a")).await.is_ok(), "one that gave up is not waited for");
        turns.of("c");
        assert_eq!(turns.0.lock().unwrap().len(), 1, "what nobody waits for is forgotten");
    }
}
