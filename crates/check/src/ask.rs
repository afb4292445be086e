//! What callers may ask.

use std::any::Any;
use std::sync::Arc;

use farandole::Participant;

/// Something that a caller may ask of participant `P`: what, about which aggregate, and how often.
pub struct Ask<P: Participant> {
    pub(crate) label: String,
    pub(crate) about: P::Id,
    pub(crate) make: Arc<dyn Fn() -> P::Command + Send + Sync>,
    pub(crate) times: u8,
    pub(crate) repeats: u8,
}

impl<P: Participant> Ask<P> {
    /// Asked once at most, at any moment, under an `Idempotency-Key` of its own. `label` stands in stories;
    /// the same request about another aggregate has the same.
    pub fn once(label: impl Into<String>, about: P::Id, make: impl Fn() -> P::Command + Send + Sync + 'static) -> Self {
        Self { label: label.into(), about, make: Arc::new(make), times: 1, repeats: 0 }
    }

    /// Asked so often at most, each time anew and under no `Idempotency-Key` of another time: somebody pressed the button again.
    #[must_use]
    pub fn times(mut self, times: u8) -> Self {
        self.times = times;
        self
    }

    /// Besides, the caller may repeat the first request under its `Idempotency-Key` so often.
    #[must_use]
    pub fn repeated(mut self, repeats: u8) -> Self {
        self.repeats = repeats;
        self
    }
}

/// The same, whatever the participant's type.
pub(crate) struct Command {
    pub of: usize,
    pub label: String,
    pub about: String,
    pub make: Box<dyn Fn() -> Box<dyn Any> + Send + Sync>,
    /// What it makes, in words.
    pub text: Box<dyn Fn() -> String + Send + Sync>,
    pub times: u8,
    pub repeats: u8,
}
