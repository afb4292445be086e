//! What the acquirer does with its book: authorises, and changes authorisations.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use standin::book::{Duplicates, add};
use standin::{Record, Trade, Writing};
use uuid::Uuid;

use crate::authorisation::{Authorisation, Command, Reason, Status};
use crate::faults::Faults;

pub type Book = standin::Book<Cards>;

/// What was done; or, when it is told again, had been done under the same key: then the authorisation is as it was.
pub struct Answer {
    pub authorisation: Authorisation,
    pub again: bool,
}

/// A command with what decides on it.
pub struct Asked {
    pub key: String,
    pub command: Command,
    /// Every card is declined, whatever its token.
    pub decline_all: bool,
    pub now: Timestamp,
}

/// The acquirer's trade. The default holds money for ever.
pub struct Cards {
    /// How long money that isn't captured is held.
    pub hold_for: SignedDuration,
}

impl Default for Cards {
    fn default() -> Self {
        Self { hold_for: SignedDuration::MAX }
    }
}

impl Record for Authorisation {
    const OF: &'static str = "acquirer";
    const ONE: &'static str = "authorisation";
    const MANY: &'static str = "authorisations";
    const REFERENCE: &'static str = "merchant_reference";
    const FINE: &'static str = "authorised";

    fn id(&self) -> Uuid {
        self.id
    }

    fn reference(&self) -> &str {
        &self.merchant_reference
    }
}

impl Trade for Cards {
    type Record = Authorisation;
    type Asked = Asked;
    type Answer = Answer;
    type Faults = Faults;

    const DUPLICATES: &'static [Duplicates<Authorisation>] = &[
        ("duplicates", |record| record.status != Status::Declined),
        ("duplicates_live", |record| matches!(record.status, Status::Authorised | Status::Captured)),
    ];

    fn time(asked: &Asked) -> Timestamp {
        asked.now
    }

    fn apply(&self, writing: &Writing<'_, Authorisation>, asked: &Asked) -> anyhow::Result<Answer> {
        let Asked { key, command, decline_all, now } = asked;
        let (authorisation, again) = writing.once(key, command, *now, || match command {
            Command::Authorise(purchase) => {
                let reason = if *decline_all { Some(Reason::DoNotHonour) } else { purchase.decline() };
                Ok(Authorisation::new(writing.new_id()?, purchase, reason, *now))
            }
            Command::Change(id, deed) => {
                let mut authorisation = writing.find(*id)?.at(*now, self.hold_for);
                authorisation.change(*deed, *now)?;
                Ok(authorisation)
            }
        })?;
        Ok(Answer { authorisation, again })
    }

    fn view(&self, authorisation: Authorisation) -> Authorisation {
        authorisation.at(Timestamp::now(), self.hold_for)
    }

    fn sum(of_status: &mut Value, record: &Value) {
        let of_currency = &mut of_status["sums"][record["currency"].as_str().unwrap_or_default()];
        for sum in ["amount", "captured", "refunded"] {
            add(&mut of_currency[sum], record[sum].as_u64().unwrap_or(0));
        }
    }
}
