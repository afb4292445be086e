//! The highest rate that is kept up with: raised until what is open grows, or requests are refused.

use super::run::{self, Load, Outcome};
use super::side::Side;

/// Seconds at a rate before its window, and of the window.
const SETTLE: u64 = 4;
const WINDOW: u64 = 10;
/// By what the rate is raised: first fast, then finely from the last that was kept up with.
const FAST: f64 = 1.5;
const FINE: f64 = 1.12;
/// Seconds of arrivals by which what is open may grow in a window: less is the rate's own unrest.
const UNREST: f64 = 0.2;
/// Seconds that the rate is held for its figures, after others that don't count.
const HELD: u64 = 20;
const HELD_WARM: u64 = 5;
/// How much lower a rate is tried that couldn't be held for so long, and how often.
const BACK: f64 = 0.93;
const BACKS: u32 = 4;
/// Seconds of arrivals that may be open before a step is cut short: it isn't held then.
const MOST_OPEN: f64 = 4.0;
/// Steps at most.
const STEPS: u32 = 24;

/// What was found: the last outcome is that of the rate that was held, unless none was.
pub struct Found {
    /// Each step's rate and whether it was held.
    pub steps: Vec<(f64, bool)>,
    /// The rate that was held for longer.
    pub held: Option<Outcome>,
    /// Orders placed in all.
    pub placed: u64,
}

/// Looks for it from `rate` on, which was kept up with.
///
/// # Errors
/// When an order is lost, or something can't be asked.
pub async fn run(name: &str, side: &Side, rate: f64) -> anyhow::Result<Found> {
    let mut found = Found { steps: Vec::new(), held: None, placed: 0 };
    let (mut best, mut factor) = (rate, FAST);
    for _ in 0..STEPS {
        let load = Load { rate: best * factor, warm_up: SETTLE, seconds: WINDOW, most_open: MOST_OPEN };
        // Once more where it isn't far too much: something else may have happened meanwhile.
        let first = found.step(name, side, load).await?;
        let is_held =
            first.is_held(UNREST) || first.refused == 0 && !first.was_cut && found.step(name, side, load).await?.is_held(UNREST);
        if is_held {
            best = load.rate;
        } else if factor == FAST {
            factor = FINE;
        } else {
            break;
        }
    }
    for _ in 0..BACKS {
        let load = Load { rate: best, warm_up: HELD_WARM, seconds: HELD, most_open: MOST_OPEN };
        let outcome = found.step(name, side, load).await?;
        if outcome.is_held(UNREST) {
            found.held = Some(outcome);
            break;
        }
        best *= BACK;
    }
    Ok(found)
}

impl Found {
    async fn step(&mut self, name: &str, side: &Side, load: Load) -> anyhow::Result<Outcome> {
        let outcome = run::run(side, load).await?;
        let is_held = outcome.is_held(UNREST);
        eprintln!(
            "bench: {name}: {:.0}/s for {} s: {}; {:.0} confirmed/s, p50 {:.1} ms, what is open grew by {:.2} s of arrivals, {} refused",
            load.rate,
            load.seconds,
            if is_held { "held" } else { "not held" },
            outcome.rate,
            outcome.confirmed.ms(0.5),
            outcome.lag_grew_s,
            outcome.refused
        );
        self.steps.push((load.rate, is_held));
        self.placed += outcome.placed;
        Ok(outcome)
    }
}
