//! Switchable latency and failures, drawn per request from a seeded generator: the same seed and the same order of requests give the
//! same fates.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;

use crate::rules::Issuer;

/// What goes wrong, and how often. The default is nothing.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Faults {
    /// Before each request.
    pub latency_ms: u64,
    /// Up to this much more, evenly.
    pub jitter_ms: u64,
    /// Part of the requests that get a 500 with nothing done.
    pub fail_rate: f64,
    /// Part of the commands that are done and get a 500 all the same: the caller doesn't know.
    pub fail_after_rate: f64,
    /// Part of the commands that are done and get no answer for `hang_ms`.
    pub timeout_rate: f64,
    /// Part of the commands that are answered absurdly, done or not: see [`Absurdity`].
    pub absurd_rate: f64,
    /// How long an unanswered command hangs, before a 504.
    pub hang_ms: u64,
    /// Every new authorisation is declined.
    pub decline_all: bool,
    /// Every request gets a 503 with nothing done.
    pub refuse: bool,
    /// Where the generator starts; each `PUT /faults` starts it anew.
    pub seed: u64,
}

/// The longest latency and the most jitter: a minute.
pub const MAX_LATENCY_MS: u64 = 60_000;
/// The longest hang: ten minutes, past any client's patience.
pub const MAX_HANG_MS: u64 = 600_000;

/// What befalls one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fate {
    pub refuse: bool,
    pub delay: Duration,
    pub fail: bool,
    pub fail_after: bool,
    pub hang: Option<Duration>,
    /// And whether the command is done before.
    pub absurd: Option<(Absurdity, bool)>,
}

/// What no acquirer should answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absurdity {
    /// 503, and to come again in more years than there are. Nothing is ever done: a 503 of ours says so.
    ComeAgainNever,
    /// A gateway's page under one of several statuses, 408 among them.
    Gateway(usize),
    /// 200 with a page.
    Page,
    /// 201 with JSON that means nothing.
    Nonsense,
    /// 200 with nothing.
    Empty,
    /// To another path of this server, which answers 200.
    Redirect,
    /// To a server that isn't there.
    Astray,
    /// 201 with half an answer; then the connection breaks.
    Truncated,
    /// 200 with somebody else's authorisation.
    AnotherOrders,
    /// 201 with an answer of 64 MiB.
    Long,
}

/// The faults in force, and the generator.
pub struct Switchboard(Mutex<Drawing>);

struct Drawing {
    faults: Faults,
    generator: u64,
}

// === impl Faults ===

impl Default for Faults {
    fn default() -> Self {
        Self {
            latency_ms: 0,
            jitter_ms: 0,
            fail_rate: 0.0,
            fail_after_rate: 0.0,
            timeout_rate: 0.0,
            absurd_rate: 0.0,
            hang_ms: 30_000,
            decline_all: false,
            refuse: false,
            seed: 0,
        }
    }
}

// === impl Absurdity ===

impl Absurdity {
    /// By two numbers in [0, 1): which, and whether the command is done.
    fn drawn(which: f64, done: f64) -> (Self, bool) {
        // A gateway has eight ways to say no: as likely as all others together.
        let n = (which * 18.0) as usize;
        let absurdity = match n {
            0 => Self::ComeAgainNever,
            1 => Self::Page,
            2 => Self::Nonsense,
            3 => Self::Empty,
            4 => Self::Redirect,
            5 => Self::Astray,
            6 => Self::Truncated,
            7 => Self::AnotherOrders,
            8 => Self::Long,
            _ => Self::Gateway(n),
        };
        (absurdity, absurdity != Self::ComeAgainNever && done < 0.5)
    }
}

// === impl Switchboard ===

impl Switchboard {
    pub fn new(faults: Faults) -> Self {
        let generator = faults.seed;
        Self(Mutex::new(Drawing { faults, generator }))
    }

    pub fn set(&self, faults: Faults) {
        let generator = faults.seed;
        *self.lock() = Drawing { faults, generator };
    }

    pub fn get(&self) -> Faults {
        self.lock().faults.clone()
    }

    pub fn issuer(&self) -> Issuer {
        match self.lock().faults.decline_all {
            true => Issuer::DeclinesAll,
            false => Issuer::ByToken,
        }
    }

    /// Draws seven numbers whatever the faults are, so that switching one on leaves the others' sequence as it was.
    pub fn draw(&self) -> Fate {
        let mut drawing = self.lock();
        let [jitter, fail, fail_after, hang, absurd, which, done] = std::array::from_fn(|_| unit(&mut drawing.generator));
        let faults = &drawing.faults;
        Fate {
            refuse: faults.refuse,
            delay: Duration::from_millis(faults.latency_ms) + Duration::from_millis(faults.jitter_ms).mul_f64(jitter),
            fail: fail < faults.fail_rate,
            fail_after: fail_after < faults.fail_after_rate,
            hang: (hang < faults.timeout_rate).then(|| Duration::from_millis(faults.hang_ms)),
            absurd: (absurd < faults.absurd_rate).then(|| Absurdity::drawn(which, done)),
        }
    }

    /// Whole at any time: it is only ever replaced, or its generator stepped.
    fn lock(&self) -> MutexGuard<'_, Drawing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The next number in [0, 1): SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014), its upper
/// 53 bits as a fraction.
fn unit(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws(faults: Faults, number: usize) -> Vec<Fate> {
        let switchboard = Switchboard::new(faults);
        (0..number).map(|_| switchboard.draw()).collect()
    }

    #[test]
    fn rates_are_met_and_the_ends_are_exact() {
        // Four standard deviations of 10,000 draws to either side.
        for (rate, low, high) in [(0.0, 0, 0), (0.1, 880, 1_120), (0.5, 4_800, 5_200), (1.0, 10_000, 10_000)] {
            for seed in [0, 7] {
                let faults = Faults { fail_rate: rate, fail_after_rate: rate, timeout_rate: rate, seed, ..Faults::default() };
                let fates = draws(faults, 10_000);
                for hits in [
                    fates.iter().filter(|f| f.fail).count(),
                    fates.iter().filter(|f| f.fail_after).count(),
                    fates.iter().filter(|f| f.hang.is_some()).count(),
                ] {
                    assert!((low..=high).contains(&hits), "{rate}: {hits}");
                }
            }
        }
    }

    #[test]
    fn a_seed_repeats_itself_and_faults_are_independent() {
        let fails = |seed, timeout_rate| {
            let faults = Faults { fail_rate: 0.5, timeout_rate, seed, ..Faults::default() };
            draws(faults, 64).into_iter().map(|f| f.fail).collect::<Vec<_>>()
        };
        assert_eq!(fails(1, 0.0), fails(1, 0.0));
        assert_eq!(fails(1, 0.0), fails(1, 1.0));
        assert_ne!(fails(1, 0.0), fails(2, 0.0));
    }

    /// Each comes up, done and not done; who is told to come again has nothing done.
    #[test]
    fn every_absurdity_comes_up() {
        let drawn = draws(Faults { absurd_rate: 1.0, ..Faults::default() }, 2_000);
        let seen: std::collections::HashSet<String> = drawn.iter().map(|fate| format!("{:?}", fate.absurd)).collect();
        assert_eq!(seen.len(), 1 + 2 * (8 + 9), "{seen:?}");
        assert!(!seen.contains("Some((ComeAgainNever, true))") && !seen.contains("None"));
        assert!(draws(Faults::default(), 200).iter().all(|fate| fate.absurd.is_none()));
    }

    #[test]
    fn latency_lies_between_its_bounds() {
        let faults = Faults { latency_ms: 10, jitter_ms: 20, ..Faults::default() };
        let range = Duration::from_millis(10)..Duration::from_millis(30);
        assert!(draws(faults, 200).iter().all(|fate| range.contains(&fate.delay)));
    }
}
