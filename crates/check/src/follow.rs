//! Going a known way through a world.

use crate::state::State;
use crate::world::World;

/// A way through a world, step by step, in the words of a story. Made by [`World::story`].
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
        let mut steps = Vec::new();
        self.world.steps(&self.state, &mut steps);
        let found = steps.iter().find(|step| self.world.tell(&self.state, step) == words);
        let Some(step) = found else {
            let can: Vec<String> = steps.iter().map(|step| self.world.tell(&self.state, step)).collect();
            panic!(
                "{words:?} can't happen now. If what this story showed is mended, tell the one that happens instead. What can:\n  {}",
                can.join("\n  ")
            );
        };
        if let Some((next, _)) = self.world.next(&self.state, step, true, false) {
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
        if let Some(broken) = self.world.broken(&self.state) {
            panic!("{broken:?}; the story was about {violated:?}");
        }
    }

    /// What doesn't hold now, if anything.
    pub fn violated(&self) -> Option<String> {
        self.world.broken(&self.state).map(|broken| format!("{broken:?}"))
    }
}
