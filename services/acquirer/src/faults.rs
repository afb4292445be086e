//! Switchable latency and failures, drawn per request from a seeded generator: the same seed and the same order of requests give the
//! same fates. README.md says what each does.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::fields::{Fields, Kind, RATE, SEED, SWITCH};
use crate::problem::Problem;

/// A minute at most.
const LATENCY: Kind<u64> = ("an integer from 0 to 60000", |value| value.as_u64().filter(|ms| *ms <= 60_000));
/// Ten minutes at most, past any client's patience.
const HANG: Kind<u64> = ("an integer from 1 to 600000", |value| value.as_u64().filter(|ms| (1..=600_000).contains(ms)));

/// Of each fault its name, its type, what it is when it is left out, and what it must be.
macro_rules! faults {
    ($($name:ident: $type:ty = $default:expr, $kind:expr;)*) => {
        /// What goes wrong, and how often. The default is nothing.
        #[derive(Clone, Debug, PartialEq, Serialize)]
        pub struct Faults { $(pub $name: $type),* }

        impl Default for Faults {
            fn default() -> Self {
                Self { $($name: $default),* }
            }
        }

        impl Faults {
            pub fn read(body: &[u8]) -> Result<Self, Problem> {
                let mut fields = Fields::of_json(body)?;
                let faults = Self { $($name: fields.may(stringify!($name), $kind).unwrap_or($default)),* };
                fields.finish().map(|()| faults)
            }
        }
    };
}

faults! {
    latency_ms: u64 = 0, LATENCY;
    jitter_ms: u64 = 0, LATENCY;
    fail_rate: f64 = 0.0, RATE;
    fail_after_rate: f64 = 0.0, RATE;
    timeout_rate: f64 = 0.0, RATE;
    absurd_rate: f64 = 0.0, RATE;
    hang_ms: u64 = 30_000, HANG;
    decline_all: bool = false, SWITCH;
    refuse: bool = false, SWITCH;
    seed: u64 = 0, SEED;
}

/// The faults in force, and the generator.
pub struct Switchboard(Mutex<(Faults, u64)>);

impl Switchboard {
    pub fn new(faults: Faults) -> Self {
        let seed = faults.seed;
        Self(Mutex::new((faults, seed)))
    }

    pub fn set(&self, faults: Faults) {
        let seed = faults.seed;
        *self.lock() = (faults, seed);
    }

    pub fn get(&self) -> Faults {
        self.lock().0.clone()
    }

    /// The faults, and seven numbers in [0, 1) whatever they are, so that switching one on leaves the others' sequence as it was.
    pub fn draw(&self) -> (Faults, [f64; 7]) {
        let (faults, generator) = &mut *self.lock();
        (faults.clone(), std::array::from_fn(|_| unit(generator)))
    }

    /// Whole at any time: it is only ever replaced, or its generator stepped.
    fn lock(&self) -> MutexGuard<'_, (Faults, u64)> {
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
