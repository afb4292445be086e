//! Random walks, to compare with exploring: how much of a world they see in the same time.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use crate::world::World;

/// What walking at random came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Walked {
    /// Walks, each from the beginning until nothing more can happen, or something doesn't hold.
    pub walks: u64,
    /// States that differ.
    pub states: u64,
    /// Whether something didn't hold, and after how long.
    pub violated_after: Option<Duration>,
}

/// Steps of one walk at most: more than any world here is deep.
const STEPS: usize = 10_000;

impl World {
    /// Walks at random for this long, or until something doesn't hold: each step is one of those that can be taken, with equal chances. The same
    /// seed walks the same ways.
    pub fn walk(&self, seed: u64, time: Duration) -> Walked {
        let (begun, mut random) = (Instant::now(), SplitMix(seed));
        let mut states = HashSet::new();
        let mut walked = Walked { walks: 0, states: 0, violated_after: None };
        let mut steps = Vec::new();
        while begun.elapsed() < time && walked.violated_after.is_none() {
            walked.walks += 1;
            let mut state = self.begin();
            states.insert(state.print);
            for _ in 0..STEPS {
                steps.clear();
                self.steps(&state, &mut steps);
                let mut next = None;
                while next.is_none() && !steps.is_empty() {
                    let step = steps.swap_remove(random.below(steps.len()));
                    next = self.next(&state, &step, 1, false);
                }
                let Some((after, _)) = next else { break };
                state = after;
                states.insert(state.print);
                if self.broken(&state, false).is_some() {
                    walked.violated_after = Some(begun.elapsed());
                    break;
                }
                if begun.elapsed() >= time {
                    break;
                }
            }
        }
        walked.states = states.len() as u64;
        walked
    }
}

/// Steele, Lea and Flood's generator: a walk needs no better.
pub(crate) struct SplitMix(pub u64);

impl SplitMix {
    pub fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % n.max(1) as u64).unwrap_or(0)
    }
}
