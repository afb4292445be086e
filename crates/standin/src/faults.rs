//! Switchable latency and failures, drawn per request from a seeded generator: the same seed and the same order of requests give the
//! same fates. The stand-in's README.md says what each does.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::fields::Kind;
use crate::problem::Problem;

/// A minute at most.
pub const LATENCY: Kind<u64> = ("an integer from 0 to 60000", |value| value.as_u64().filter(|ms| *ms <= 60_000));
/// Ten minutes at most, past any client's patience.
pub const HANG: Kind<u64> = ("an integer from 1 to 600000", |value| value.as_u64().filter(|ms| (1..=600_000).contains(ms)));

/// What goes wrong, and how often: those that every stand-in has, and its own.
pub trait Faults: Clone + Default + Serialize + Send + Sync + 'static {
    /// From the body of `PUT /faults`.
    fn read(body: &[u8]) -> Result<Self, Problem>;
    fn common(&self) -> Common;
}

/// What can befall every stand-in's requests.
#[derive(Clone, Copy, Debug)]
pub struct Common {
    pub latency_ms: u64,
    pub jitter_ms: u64,
    pub fail_rate: f64,
    pub fail_after_rate: f64,
    pub timeout_rate: f64,
    pub absurd_rate: f64,
    pub hang_ms: u64,
    pub refuse: bool,
    pub seed: u64,
}

/// Declares a stand-in's [`Faults`]: of each of its own faults the name, the type, what it is when it is left out, and what it must be.
#[macro_export]
macro_rules! faults {
    ($($own:tt)*) => {
        $crate::every_fault! {
            latency_ms: u64 = 0, $crate::faults::LATENCY;
            jitter_ms: u64 = 0, $crate::faults::LATENCY;
            fail_rate: f64 = 0.0, $crate::fields::RATE;
            fail_after_rate: f64 = 0.0, $crate::fields::RATE;
            timeout_rate: f64 = 0.0, $crate::fields::RATE;
            absurd_rate: f64 = 0.0, $crate::fields::RATE;
            hang_ms: u64 = 30_000, $crate::faults::HANG;
            refuse: bool = false, $crate::fields::SWITCH;
            seed: u64 = 0, $crate::fields::SEED;
            $($own)*
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! every_fault {
    ($($name:ident: $type:ty = $default:expr, $kind:expr;)*) => {
        /// What goes wrong, and how often. The default is nothing.
        #[derive(Clone, Debug, PartialEq, serde::Serialize)]
        pub struct Faults { $(pub $name: $type),* }

        impl Default for Faults {
            fn default() -> Self {
                Self { $($name: $default),* }
            }
        }

        impl $crate::faults::Faults for Faults {
            fn read(body: &[u8]) -> Result<Self, $crate::Problem> {
                let mut fields = $crate::fields::Fields::of_json(body)?;
                let faults = Self { $($name: fields.may(stringify!($name), $kind).unwrap_or($default)),* };
                fields.finish().map(|()| faults)
            }

            fn common(&self) -> $crate::faults::Common {
                let Self { latency_ms, jitter_ms, fail_rate, fail_after_rate, timeout_rate, absurd_rate, hang_ms, refuse, seed, .. } =
                    *self;
                $crate::faults::Common {
                    latency_ms, jitter_ms, fail_rate, fail_after_rate, timeout_rate, absurd_rate, hang_ms, refuse, seed,
                }
            }
        }
    };
}

/// The faults in force, and the generator.
pub struct Switchboard<F>(Mutex<(F, u64)>);

impl<F: Faults> Switchboard<F> {
    pub fn new(faults: F) -> Self {
        let seed = faults.common().seed;
        Self(Mutex::new((faults, seed)))
    }

    pub fn set(&self, faults: F) {
        let seed = faults.common().seed;
        *self.lock() = (faults, seed);
    }

    pub fn get(&self) -> F {
        self.lock().0.clone()
    }

    /// The faults, and seven numbers in [0, 1) whatever they are, so that switching one on leaves the others' sequence as it was.
    pub fn draw(&self) -> (F, [f64; 7]) {
        let (faults, generator) = &mut *self.lock();
        (faults.clone(), std::array::from_fn(|_| unit(generator)))
    }

    /// Whole at any time: it is only ever replaced, or its generator stepped.
    fn lock(&self) -> MutexGuard<'_, (F, u64)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Numbers in [0, 1) that are the same for the same seed and number, whatever else is drawn.
pub fn draw_for<const N: usize>(seed: u64, number: u64) -> [f64; N] {
    // Numbers that follow each other begin at places far from each other.
    let mut generator = number;
    let mut generator = seed ^ step(&mut generator);
    std::array::from_fn(|_| unit(&mut generator))
}

/// The next number in [0, 1): the upper 53 bits as a fraction.
fn unit(state: &mut u64) -> f64 {
    (step(state) >> 11) as f64 / (1_u64 << 53) as f64
}

/// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014).
fn step(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
