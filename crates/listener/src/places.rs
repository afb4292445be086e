//! Who is connected, and who goes when there are too many.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::connection::Connection;

/// The connections that there are.
#[derive(Debug, Default)]
pub(crate) struct Places(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    taken: HashMap<u64, Arc<Connection>>,
}

/// A place, given back when dropped.
pub(crate) struct Place(Arc<Places>, u64);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.lock().taken.remove(&self.1);
    }
}

impl Places {
    pub fn count(&self) -> usize {
        self.lock().taken.len()
    }

    pub fn take(self: &Arc<Self>, connection: Arc<Connection>) -> Place {
        let mut inner = self.lock();
        let number = inner.next;
        inner.next += 1;
        inner.taken.insert(number, connection);
        Place(Arc::clone(self), number)
    }

    /// Ends the connection that has waited longest without a whole request; false when there is none.
    pub fn crowd_out(&self) -> bool {
        let mut inner = self.lock();
        let waiting = inner.taken.iter().filter_map(|(number, one)| Some((one.waiting_since()?, *number)));
        let Some((_, number)) = waiting.min() else { return false };
        // Its place is free from now on; its task ends at once.
        if let Some(connection) = inner.taken.remove(&number) {
            connection.crowd_out();
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// At most three quarters of the descriptors that this process may have: the rest is for databases, brokers and files.
pub(crate) fn affordable(wanted: usize) -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let descriptors = descriptors(&limits).unwrap_or(usize::MAX);
    let most = (descriptors / 4).saturating_mul(3).max(1);
    if wanted > most {
        tracing::info!(wanted, descriptors, connections = most, "fewer connections than wanted: descriptors are few (ulimit -n)");
    }
    wanted.clamp(1, most)
}

/// The soft limit in the system's table; none when it isn't there, or has no end.
fn descriptors(limits: &str) -> Option<usize> {
    limits.lines().find_map(|line| line.strip_prefix("Max open files"))?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_descriptors_is_read() {
        let table = "Limit                     Soft Limit           Hard Limit           Units     \n\
                     Max processes             11947                11947                processes \n\
                     Max open files            1024                 1048576              files     \n";
        assert_eq!(descriptors(table), Some(1024));
        assert_eq!(descriptors("Max open files            unlimited            unlimited            files"), None);
        assert_eq!(descriptors(""), None);
    }
}
