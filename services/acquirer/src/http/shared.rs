//! What the handlers share.

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::faults::Switchboard;
use crate::store::Store;

/// Requests under `/authorisations` at a time, hanging ones included; more get a 503.
const MAX_IN_FLIGHT: usize = 2_048;

/// What the handlers share.
pub struct Acquirer {
    pub store: Store,
    pub faults: Switchboard,
    /// Ends hanging answers when the server stops.
    pub closing: CancellationToken,
    pub slots: Semaphore,
}

impl Acquirer {
    pub fn new(store: Store, faults: Switchboard, closing: CancellationToken) -> Self {
        let slots = Semaphore::new(MAX_IN_FLIGHT);
        Self { store, faults, closing, slots }
    }
}
