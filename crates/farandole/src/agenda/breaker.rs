//! The circuit breaker of a target: calls stop while it is down, and a few probe whether it is back.
//!
//! Closed: all calls pass. It opens when at least half of at least 20 calls of the last ten seconds failed, or ten different ones
//! in a row. Open: none passes until a pause is over (a second, doubled each time up to five). Half-open: three at a time; three
//! failures open again, three successes close. Results of calls that began before it opened are ignored while open.
//!
//! One effect that always fails is its own trouble, not its target's: it alone opens nothing, and as one of the probes it keeps
//! nothing open.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use crate::ground::backoff::Backoff;
use crate::ground::time::LONGEST;

/// When it opens and closes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Config {
    /// How far back failures count.
    pub window: Duration,
    /// Fewer calls than this in the window say nothing.
    pub calls: u32,
    /// Opens at this share of failures.
    pub share: f64,
    /// Opens when so many different effects failed in a row.
    pub row: u32,
    /// First pause.
    pub pause: Duration,
    /// Longest pause. Short, so that recovery is noticed within seconds.
    pub longest: Duration,
    /// Calls at a time when half-open; so many successes close it, so many failures open it again.
    pub probes: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(10),
            calls: 20,
            share: 0.5,
            row: 10,
            pause: Duration::from_secs(1),
            longest: Duration::from_secs(5),
            probes: 3,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Closed,
    Open { until: Instant },
    Half { successes: u32, failures: u32 },
}

/// The breaker. Time comes in with the calls.
#[derive(Debug)]
pub(super) struct Breaker {
    config: Config,
    state: State,
    /// Seconds (since `epoch`) of the window, with their calls and failures.
    seconds: VecDeque<(u64, u32, u32)>,
    epoch: Instant,
    /// Who has failed since the last success. Each counts once: an effect that always fails isn't its target's trouble.
    failing: HashSet<u64>,
    /// Times that it opened without closing between.
    opened: u32,
}

impl Breaker {
    pub fn new(config: Config, now: Instant) -> Self {
        Self { config, state: State::Closed, seconds: VecDeque::new(), epoch: now, failing: HashSet::new(), opened: 0 }
    }

    /// How many more calls may start when `running` do.
    pub fn allows(&mut self, now: Instant, running: usize) -> usize {
        if let State::Open { until } = self.state
            && now >= until
        {
            self.state = State::Half { successes: 0, failures: 0 };
        }
        match self.state {
            State::Closed => usize::MAX,
            State::Open { .. } => 0,
            State::Half { failures, .. } => (self.config.probes as usize).saturating_sub(running + failures as usize),
        }
    }

    /// A call of `who` ended.
    pub fn ended(&mut self, now: Instant, well: bool, who: u64) {
        match self.state {
            State::Open { .. } => {}
            State::Half { successes, .. } if well && successes + 1 >= self.config.probes => {
                *self = Self::new(self.config, now);
            }
            State::Half { failures, .. } if !well && failures + 1 >= self.config.probes => self.open(now),
            State::Half { successes, failures } => {
                self.state = State::Half { successes: successes + u32::from(well), failures: failures + u32::from(!well) };
            }
            State::Closed => {
                if well {
                    self.failing.clear();
                } else {
                    self.failing.insert(who); // `row` of them at most: then it opens
                }
                let (calls, failures) = self.count(now, well);
                let many = calls >= self.config.calls && f64::from(failures) >= f64::from(calls) * self.config.share;
                if many || self.failing.len() >= self.config.row as usize {
                    self.open(now);
                }
            }
        }
    }

    /// When an open one lets probes through.
    pub fn reopens(&self) -> Option<Instant> {
        match self.state {
            State::Open { until } => Some(until),
            _ => None,
        }
    }

    /// For the gauge: 0 closed, 1 half-open, 2 open.
    pub fn number(&self) -> f64 {
        match self.state {
            State::Closed => 0.0,
            State::Half { .. } => 1.0,
            State::Open { .. } => 2.0,
        }
    }

    fn open(&mut self, now: Instant) {
        self.opened = self.opened.saturating_add(1);
        let pause = Backoff { base: self.config.pause, cap: self.config.longest }.ceiling(self.opened);
        self.seconds.clear();
        self.failing.clear();
        self.state = State::Open { until: now + pause.min(LONGEST) };
    }

    fn count(&mut self, now: Instant, well: bool) -> (u32, u32) {
        let second = now.saturating_duration_since(self.epoch).as_secs();
        let oldest = (second + 1).saturating_sub(self.config.window.as_secs().max(1));
        while self.seconds.front().is_some_and(|s| s.0 < oldest) {
            self.seconds.pop_front();
        }
        match self.seconds.back_mut() {
            Some(last) if last.0 == second => {
                last.1 += 1;
                last.2 += u32::from(!well);
            }
            _ => self.seconds.push_back((second, 1, u32::from(!well))),
        }
        self.seconds.iter().fold((0, 0), |sum, s| (sum.0 + s.1, sum.1 + s.2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `+` a success, `-` a failure of one more effect, `p` of the same one each time, `s` a second passes, `?` ask for leave; → the state's number at the end.
    #[test]
    fn opens_and_closes() {
        for (script, number) in [
            ("", 0.0),
            ("---------", 0.0),
            ("----------", 2.0),
            ("---------+---------", 0.0),
            ("+-+-+-+-+-+-+-+-+-+", 0.0),
            ("+-+-+-+-+-+-+-+-+-+-", 2.0),
            ("++-++-++-++-++-++-++-++-++-", 0.0),
            ("+-+-+-+-+-+-+-+-+-ssssssssss+-", 0.0),
            ("----------?", 2.0),
            ("----------s", 2.0),
            ("----------s?", 1.0),
            ("----------+++", 2.0),
            ("----------s?++", 1.0),
            ("----------s?+++", 0.0),
            ("----------s?+++---------", 0.0),
            ("----------s?++-", 1.0),
            ("----------s?++---", 2.0),
            ("----------s?---s?", 2.0),
            ("----------s?---ss?", 1.0),
            ("----------s?---ss?---ssss?---sssss?", 1.0),
            // One effect that always fails, among others and alone.
            ("ppppppppppppppp", 0.0),
            ("---------pppppp", 2.0),
            ("----------s?+p+p+", 0.0),
        ] {
            let mut now = Instant::now();
            let mut breaker = Breaker::new(Config::default(), now);
            for (who, step) in (1..).zip(script.chars()) {
                match step {
                    '+' => breaker.ended(now, true, who),
                    '-' => breaker.ended(now, false, who),
                    'p' => breaker.ended(now, false, 0),
                    's' => now += Duration::from_secs(1),
                    _ => {
                        breaker.allows(now, 0);
                    }
                }
            }
            assert_eq!(breaker.number(), number, "{script}");
        }
    }

    #[test]
    fn probes_are_few() {
        let now = Instant::now();
        let mut breaker = Breaker::new(Config::default(), now);
        assert_eq!(breaker.allows(now, 64), usize::MAX);
        (0..10).for_each(|who| breaker.ended(now, false, who));
        assert_eq!(breaker.allows(now, 0), 0);
        assert_eq!(breaker.reopens(), Some(now + Duration::from_secs(1)));
        let later = now + Duration::from_secs(1);
        for (running, more) in [(0, 3), (2, 1), (3, 0), (64, 0)] {
            assert_eq!(breaker.allows(later, running), more, "{running} running");
        }
    }
}
