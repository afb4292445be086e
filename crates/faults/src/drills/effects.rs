//! How often each effect was started, of every kind, as the fronts of acquirer and carrier see it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::front::{Exchange, Witness};

/// Counts requests by their idempotency key.
#[derive(Debug, Default)]
pub struct Effects(Mutex<BTreeMap<String, u32>>);

/// What was started since the count began.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Started {
    pub effects: usize,
    /// The keys of those that were started more than once.
    pub twice: Vec<String>,
}

impl Effects {
    /// Forgets what was counted.
    pub fn begin(&self) {
        self.lock().clear();
    }

    pub fn started(&self) -> Started {
        let counted = self.lock();
        let twice = counted.iter().filter(|(_, times)| **times > 1).map(|(key, times)| format!("{key}, {times} times"));
        Started { effects: counted.len(), twice: twice.collect() }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Witness for Effects {
    fn asked(&self, key: Option<&str>) {
        if let Some(key) = key {
            *self.lock().entry(key.to_owned()).or_default() += 1;
        }
    }

    fn seen(&self, _: &Exchange) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_start_is_seen() {
        let effects = Effects::default();
        ["a", "b"].into_iter().for_each(|key| effects.asked(Some(key)));
        effects.asked(None);
        assert_eq!(effects.started(), Started { effects: 2, twice: vec![] });
        effects.asked(Some("b"));
        assert_eq!(effects.started(), Started { effects: 2, twice: vec!["b, 2 times".to_owned()] });
        effects.begin();
        assert_eq!(effects.started(), Started::default());
    }
}
