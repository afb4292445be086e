//! A service's process, and what is done to it beyond killing and pausing: to its topics while it is away, and to its database.

use std::sync::Arc;

use super::backup::Backup;
use super::strays::Strays;
use crate::plan::Harm;
use crate::target::{Process, Subject};

/// The replica of a service that runs.
pub struct Replica {
    pub process: Arc<Process>,
    pub strays: Arc<Strays>,
    /// Its own topic and journal.
    pub topics: [String; 2],
    pub backup: Backup,
}

impl Subject for Replica {
    fn strike(&self, harm: Harm) -> anyhow::Result<()> {
        match harm {
            // While it is away: what it publishes would come behind them.
            Harm::Strays => {
                self.process.kill();
                self.strays.records(&self.topics)
            }
            Harm::Markers => {
                self.process.kill();
                self.strays.markers(&self.topics)
            }
            Harm::SetBack => tokio::runtime::Handle::current().block_on(self.backup.take()),
            _ => self.process.strike(harm),
        }
    }

    fn mend(&self, harm: Harm) -> anyhow::Result<()> {
        match harm {
            Harm::SetBack => {
                let healed = tokio::runtime::Handle::current().block_on(self.backup.restore_and_heal(&self.process));
                // Whatever came of it, the run goes on with a service.
                self.process.start()?;
                healed
            }
            _ => self.process.mend(harm),
        }
    }

    fn look(&self) -> Option<String> {
        self.process.look()
    }
}
