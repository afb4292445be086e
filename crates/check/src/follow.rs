//! Going a known way through a world.

use crate::fault::TIMES;
use crate::state::State;
use crate::world::World;

/// A way through a world, step by step, in the words of a story. Made by [`World::story`].
///
/// Another one, [`farandole::testing::Story`], tells one participant's inputs without a world.
pub struct Story {
    world: World,
    state: State,
}

impl World {
    /// A way through this world, for tests: what a [`Counterexample`](crate::Counterexample) prints.
    pub fn story(self) -> Story {
        let state = self.begin();
        Story { world: self, state }
    }
}

impl Story {
    /// These steps happen.
    ///
    /// # Panics
    /// When one of them can't happen; it says what can.
    #[track_caller]
    #[must_use]
    pub fn given(mut self, steps: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        for step in steps {
            self = self.when(step.as_ref());
        }
        self
    }

    /// This step happens.
    ///
    /// # Panics
    /// When it can't; it says what can.
    #[track_caller]
    #[must_use]
    pub fn when(mut self, words: &str) -> Self {
        let steps = self.world.told(&self.state);
        let found = steps.iter().find(|(_, told)| told == words);
        let Some((step, _)) = found else {
            let can: Vec<&str> = steps.iter().map(|(_, told)| told.as_str()).collect();
            panic!(
                "{words:?} can't happen now. If what this story showed is fixed, tell the one that happens instead. What can:\n  {}",
                can.join("\n  ")
            );
        };
        if let Some((next, _)) = self.world.next(&self.state, step, TIMES, false) {
            self.state = next;
        }
        self
    }

    /// Everything holds, above all this, which a story found violated.
    ///
    /// # Panics
    /// When something doesn't hold.
    #[track_caller]
    pub fn then(self, violated: &str) {
        let Some((name, why)) = self.broken() else { return };
        if name == violated {
            panic!("doesn't hold, as when this story was found: {}", line(&name, &why));
        }
        panic!("doesn't hold: {}; the story was found with something else that doesn't: {violated}", line(&name, &why));
    }

    /// What doesn't hold now, if anything: its name, and why if it says so.
    pub fn violated(&self) -> Option<String> {
        self.broken().map(|(name, why)| line(&name, &why))
    }

    fn broken(&self) -> Option<(String, String)> {
        let (name, why, _) = self.world.broken(&self.state, true)?.told(&self.world);
        Some((name, why))
    }
}

fn line(name: &str, why: &str) -> String {
    if why.is_empty() { name.to_owned() } else { format!("{name}: {why}") }
}
