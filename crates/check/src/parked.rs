//! Parked inputs: what one waits behind, and what becomes of the others when it is gone.

use crate::prints::Prints;
use crate::state::{Given, Local, Parked};
use crate::world::World;

impl Parked {
    /// Whether a later one must wait for this one.
    pub fn holds(&self, later: &Self) -> bool {
        [&self.aggregate, &self.key].iter().any(|name| **name == later.aggregate || **name == later.key)
    }
}

impl Local {
    /// What the parked input of this place waits behind, in order.
    pub fn behind(&self, at: usize) -> impl Iterator<Item = &Parked> {
        let later = &self.parked[at];
        self.parked[..at].iter().map(|older| &**older).filter(|older| older.holds(later))
    }
}

impl World {
    pub(crate) fn park(
        &self,
        of: usize,
        local: &mut Local,
        given: &Given,
        (aggregate, key, why): (&String, &String, String),
        cause: &str,
    ) {
        let (aggregate, key, cause) = (aggregate.clone(), key.clone(), cause.to_owned());
        local.park(Parked { given: given.clone(), aggregate, key, why, cause, prints: self.exchanges.none() });
        let last = local.parked.len() - 1;
        local.reprint(last, self.parked_prints(of, local, last));
    }

    /// Takes a parked input away. What waited behind it waits behind less.
    pub(crate) fn unpark(&self, of: usize, local: &mut Local, at: usize) {
        local.unpark(at);
        for later in at..local.parked.len() {
            local.reprint(later, self.parked_prints(of, local, later));
        }
    }

    /// Two that were parked in the other order differ by what waits behind what.
    fn parked_prints(&self, of: usize, local: &Local, at: usize) -> Prints {
        let Parked { aggregate, key, why, cause, .. } = &*local.parked[at];
        let behind: Vec<&str> = local.behind(at).map(|older| older.cause.as_str()).collect();
        self.exchanges.prints(&format!("{of} parked {aggregate} {key} {why} {cause} behind {behind:?}"))
    }
}
