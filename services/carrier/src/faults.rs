//! The faults that the carrier knows. README.md says what each does.

use standin::faults::{LATENCY, draw_for};
use standin::fields::RATE;

standin::faults! {
    webhook_repeat_rate: f64 = 0.0, RATE;
    webhook_shuffle_ms: u64 = 0, LATENCY;
    webhook_forge_rate: f64 = 0.0, RATE;
    webhook_late_rate: f64 = 0.0, RATE;
}

/// What befalls one webhook: the same for the same seed and number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fate {
    /// Milliseconds before it is sent.
    pub wait: u64,
    /// A forged copy goes before it.
    pub forge: Option<Forgery>,
    /// A copy with an old timestamp goes before it.
    pub late: bool,
    /// Milliseconds after its delivery until it is sent again.
    pub repeat: Option<u64>,
}

/// What is wrong with a forged copy; its status is another one in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forgery {
    /// No signature.
    Unsigned,
    /// Signed with a secret that isn't the receiver's.
    OtherSecret,
    /// The signature of the true webhook.
    OtherBody,
}

impl Faults {
    pub fn fate(&self, number: u64) -> Fate {
        let [wait, forge, which, late, repeat, again] = draw_for(self.seed, number);
        let forgeries = [Forgery::Unsigned, Forgery::OtherSecret, Forgery::OtherBody];
        Fate {
            wait: (wait * self.webhook_shuffle_ms as f64) as u64,
            forge: (forge < self.webhook_forge_rate).then(|| forgeries[(which * 3.0) as usize]),
            late: late < self.webhook_late_rate,
            // Long enough for the receiver to have forgotten what it was doing.
            repeat: (repeat < self.webhook_repeat_rate).then(|| 100 + (again * 1_900.0) as u64),
        }
    }
}
