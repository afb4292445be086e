//! What is to go wrong, and when: drawn from a seed, before anything starts. Pure.
//!
//! Faults come in **bouts**: one to three begin within seconds of each other and may overlap; then nothing happens until the system
//! has had time to recover. Targets and harms are dealt from a shuffled deck, so that each pair comes up before any comes up again.
//!
//! A fault that an operator has to mend is alone in its bout. Of the bouts that begin with a target that nothing else
//! [needs](Shape::is_aside) about half harm only such ones: what must go on then can be asked for, with nothing else in its way.
//!
//! **Invariant:** of a [group](Shape::group) only one member is harmed at a time, and [`REST`] passes before the next: of three
//! brokers, two are always there and in sync.

use std::time::Duration;

/// Between two bouts.
const GAP: (f64, f64) = (4.5, 8.0);
/// A bout's faults begin within so many seconds.
const SPREAD: f64 = 3.0;
/// Faults a bout at most.
const MOST: u64 = 3;
/// Between two faults of a group, at least.
pub const REST: Duration = Duration::from_secs(4);

/// What is done to a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Harm {
    /// Killed with -9, started again afterwards.
    Kill,
    /// Told to stop (PostgreSQL: fast), started again afterwards.
    Stop,
    /// Ended at once by its own means (PostgreSQL: immediate), started again afterwards.
    Abort,
    /// SIGSTOP, then SIGCONT: alive, holding its connections, answering nobody.
    Pause,
    /// Connections are broken, and new ones closed at once.
    Cut,
    /// Nothing passes; what was sent arrives afterwards.
    Freeze,
    /// Requests pass, answers don't; afterwards the connections are broken: nobody knows what was done.
    LoseAnswers,
    /// Open connections fall silent for ever, as when a firewall forgets them; new ones are as always once it is over.
    Forget,
    /// Everything passes late, and little at a time.
    Slow,
    /// One replica more, which is told to stop at the end.
    Join,
    /// One replica more, which is killed with -9 at the end.
    JoinAndDie,
    /// Killed with -9; while it is away records of others are written as the last of its topics' partitions.
    Strays,
    /// Killed with -9; while it is away transactions end its topics' partitions, committed and aborted, with markers that take offsets.
    Markers,
    /// Its database is set back to a copy that is as old as this fault is long, and lies within the relay's lease: what it decided since
    /// is in its topic and unknown to it. It must refuse; then an operator heals it.
    SetBack,
    /// PostgreSQL takes connections and no writes: as a stand-by, or by its configuration, in sessions that were open before as well.
    ReadOnly,
    /// The registry refuses one schema, which records name that nobody can read; all else must go on meanwhile.
    RefuseOne,
    /// The registry is killed and comes back without what it held; then all services are killed and start again.
    LoseAll,
    /// Half of the commands are answered as no provider should: with a gateway's page, somebody else's answer, nonsense, half an answer.
    Absurd,
}

impl Harm {
    /// Seconds that it lasts, from and to. Pauses reach beyond leases and sessions (10 s), so that there are zombies.
    fn seconds(self) -> (f64, f64) {
        match self {
            Self::Kill | Self::Stop | Self::Abort => (0.2, 4.0),
            Self::Pause | Self::Freeze => (2.0, 14.0),
            Self::Cut | Self::LoseAnswers => (0.5, 6.0),
            Self::Forget => (0.5, 2.0),
            Self::Slow => (3.0, 10.0),
            Self::Join | Self::JoinAndDie => (6.0, 14.0),
            Self::Strays | Self::Markers => (0.2, 2.0),
            Self::SetBack => (1.0, 4.0),
            Self::ReadOnly => (1.0, 8.0),
            Self::RefuseOne | Self::Absurd => (4.0, 12.0),
            Self::LoseAll => (0.2, 3.0),
        }
    }

    /// Whether nothing else may go wrong meanwhile: an operator is at work, who waits until the rest is well.
    pub(crate) fn alone(self) -> bool {
        matches!(self, Self::SetBack | Self::LoseAll)
    }

    /// Whether it is trouble with one thing among many, while which everything else has to go on.
    pub(crate) fn spares_the_rest(self) -> bool {
        self == Self::RefuseOne
    }
}

impl std::fmt::Display for Harm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Kill => "killed with -9",
            Self::Stop => "stopped",
            Self::Abort => "stopped, immediate",
            Self::Pause => "SIGSTOP, SIGCONT",
            Self::Cut => "connections cut",
            Self::Freeze => "connections frozen",
            Self::LoseAnswers => "answers lost",
            Self::Forget => "connections forgotten",
            Self::Slow => "connections slow",
            Self::Join => "joins, stops",
            Self::JoinAndDie => "joins, killed",
            Self::Strays => "killed, strays",
            Self::Markers => "killed, markers",
            Self::SetBack => "database set back",
            Self::ReadOnly => "read-only",
            Self::RefuseOne => "one schema refused",
            Self::LoseAll => "contents lost",
            Self::Absurd => "absurd answers",
        })
    }
}

/// A target as the plan sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// Its name.
    pub name: String,
    /// Targets of one group are never harmed at the same time.
    pub group: Option<String>,
    /// What may be done to it.
    pub harms: Vec<Harm>,
    /// The target of which this is one more replica: it then often joins when that one is harmed, and takes over.
    pub spare_of: Option<String>,
    /// Nothing else needs it: while it is harmed everything else has to go on.
    pub is_aside: bool,
}

impl Shape {
    /// A target of no group that is nobody's spare.
    pub fn new(name: impl Into<String>, harms: &[Harm]) -> Self {
        Self { name: name.into(), group: None, harms: harms.to_vec(), spare_of: None, is_aside: false }
    }

    /// Of this group only one is harmed at a time.
    #[must_use]
    pub fn group(mut self, group: &str) -> Self {
        self.group = Some(group.to_owned());
        self
    }

    /// One more replica of target `of`.
    #[must_use]
    pub fn spare_of(mut self, of: &str) -> Self {
        self.spare_of = Some(of.to_owned());
        self
    }

    /// Nothing else needs it.
    #[must_use]
    pub fn aside(mut self) -> Self {
        self.is_aside = true;
        self
    }
}

/// One fault of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Faults of one bout may overlap; from 0.
    pub bout: usize,
    /// Which target.
    pub target: String,
    /// What is done to it.
    pub harm: Harm,
    /// When it begins, from the start of the run.
    pub at: Duration,
    /// How long it lasts.
    pub length: Duration,
}

impl Fault {
    /// When it ends, from the start of the run.
    pub fn end(&self) -> Duration {
        self.at + self.length
    }
}

/// The plan of `seed` for a run of `duration` with `targets`: the same arguments give the same plan. Every fault ends within `duration`.
pub fn plan(seed: u64, duration: Duration, targets: &[Shape]) -> Vec<Fault> {
    let mut draw = Draw::new(seed);
    let mut deck = Deck { targets, cards: Vec::new() };
    let mut plan: Vec<Fault> = Vec::new();
    let mut from = draw.between((1.0, 2.0));
    for bout in 0.. {
        let left = duration.as_secs_f64() - from;
        if left < 1.0 || targets.iter().all(|t| t.harms.is_empty()) {
            break;
        }
        let mut faults: Vec<Fault> = Vec::new();
        let mut aside = false;
        for n in 0..1 + draw.below(MOST) {
            let Some((target, harm)) = deck.deal(&mut draw, &faults, aside) else { break };
            aside |= n == 0 && target.is_aside && draw.below(2) == 0;
            let offset = if n == 0 { 0.0 } else { draw.between((0.0, SPREAD)) };
            let length = draw.between(harm.seconds());
            let offset = offset.min(left - 0.5);
            let length = length.min(left - offset);
            faults.push(Fault { bout, target: target.name.clone(), harm, at: seconds(from + offset), length: seconds(length) });
            if let Some(spare) = spare(targets, &faults, &target.name)
                && !harm.alone()
                && draw.below(2) == 0
            {
                let harm = spare.harms[draw.below(spare.harms.len() as u64) as usize % spare.harms.len()];
                let length = draw.between(harm.seconds()).min(left);
                faults.push(Fault { bout, target: spare.name.clone(), harm, at: seconds(from), length: seconds(length) });
            }
        }
        faults.sort_by_key(|fault| fault.at);
        let end = faults.iter().map(Fault::end).max().unwrap_or_default().as_secs_f64();
        from = end.max(from) + draw.between(GAP);
        plan.extend(faults);
    }
    plan
}

/// The spare of `of`, if it has one that isn't busy.
fn spare<'a>(targets: &'a [Shape], busy: &[Fault], of: &str) -> Option<&'a Shape> {
    let spare = targets.iter().find(|t| t.spare_of.as_deref() == Some(of))?;
    (!spare.harms.is_empty() && !busy.iter().any(|fault| fault.target == spare.name)).then_some(spare)
}

fn seconds(seconds: f64) -> Duration {
    // To the millisecond: what is printed is what is done.
    Duration::from_millis((seconds.max(0.0) * 1000.0) as u64)
}

struct Deck<'a> {
    targets: &'a [Shape],
    cards: Vec<(usize, Harm)>,
}

impl<'a> Deck<'a> {
    /// The next pair that goes with what is under way; `aside`: of those that nothing else needs.
    fn deal(&mut self, draw: &mut Draw, under_way: &[Fault], aside: bool) -> Option<(&'a Shape, Harm)> {
        for fresh in [false, true] {
            if fresh {
                let pairs = self.targets.iter().enumerate().flat_map(|(n, t)| t.harms.iter().map(move |harm| (n, *harm)));
                let mut cards: Vec<_> = pairs.collect();
                draw.shuffle(&mut cards);
                // Those that are left come up first.
                cards.append(&mut self.cards);
                self.cards = cards;
            }
            let with_others = !under_way.iter().any(|fault| fault.harm.alone());
            let fits = |card: &(usize, Harm)| {
                let fits = with_others && (under_way.is_empty() || !card.1.alone()) && self.fits(card.0, under_way);
                fits && (!aside || self.targets[card.0].is_aside)
            };
            if let Some(at) = self.cards.iter().rposition(fits) {
                let (target, harm) = self.cards.remove(at);
                return Some((&self.targets[target], harm));
            }
        }
        None
    }

    fn fits(&self, target: usize, under_way: &[Fault]) -> bool {
        let shape = &self.targets[target];
        let group_of = |name: &str| self.targets.iter().find(|t| t.name == name).and_then(|t| t.group.as_deref());
        under_way.iter().all(|fault| {
            fault.target != shape.name && (shape.group.is_none() || group_of(&fault.target) != shape.group.as_deref())
        })
    }
}

/// Numbers from a seed: SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014).
#[derive(Debug, Clone)]
pub struct Draw(u64);

impl Draw {
    /// Starts at `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Below `n`, which is small: the bias of the remainder doesn't matter here. 0 for 0.
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    /// Between two numbers.
    pub fn between(&mut self, (from, to): (f64, f64)) -> f64 {
        from + (to - from) * ((self.next() >> 11) as f64 / (1_u64 << 53) as f64)
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for n in (1..items.len()).rev() {
            items.swap(n, self.below(n as u64 + 1) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn targets() -> Vec<Shape> {
        let broker = |name: &str| Shape::new(name, &[Harm::Kill, Harm::Stop, Harm::Pause]).group("kafka");
        vec![
            Shape::new("orders", &[Harm::Kill, Harm::Pause, Harm::SetBack]),
            Shape::new("orders-2", &[Harm::Join, Harm::JoinAndDie]).spare_of("orders"),
            broker("kafka-1"),
            broker("kafka-2"),
            broker("kafka-3"),
            Shape::new("clients/kafka-1", &[Harm::Cut, Harm::Freeze]).group("kafka"),
            Shape::new("postgres", &[Harm::Stop, Harm::Abort]),
            Shape::new("nobody's", &[]),
        ]
    }

    fn of(seed: u64, secs: u64) -> Vec<Fault> {
        plan(seed, Duration::from_secs(secs), &targets())
    }

    fn overlap(a: &Fault, b: &Fault, rest: Duration) -> bool {
        a.at < b.end() + rest && b.at < a.end() + rest
    }

    proptest! {
        #[test]
        fn it_is_bounded_and_repeats_itself(seed: u64, secs in 0u64..2_000) {
            let plan = of(seed, secs);
            prop_assert_eq!(&plan, &of(seed, secs));
            prop_assert!(plan.iter().all(|fault| fault.end() <= Duration::from_secs(secs)));
            prop_assert!(plan.is_sorted_by_key(|fault| (fault.bout, fault.at)));
            // One to three, and a spare for each.
            let size = |bout| plan.iter().filter(|f| f.bout == bout).count();
            prop_assert!(plan.iter().all(|fault| size(fault.bout) <= 6));
            prop_assert!(secs < 10 || !plan.is_empty());
        }

        /// Of three brokers two are there, and have had time to catch up; nothing is harmed in two ways at once.
        #[test]
        fn one_of_a_group_at_a_time(seed: u64) {
            let plan = of(seed, 900);
            let kafka = |fault: &Fault| fault.target.contains("kafka");
            for (n, a) in plan.iter().enumerate() {
                for b in &plan[n + 1..] {
                    prop_assert!(a.target != b.target || !overlap(a, b, Duration::ZERO), "{a:?} {b:?}");
                    prop_assert!(!kafka(a) || !kafka(b) || !overlap(a, b, REST), "{a:?} {b:?}");
                }
            }
        }

        /// An operator who heals isn't disturbed.
        #[test]
        fn what_wants_an_operator_is_alone(seed: u64) {
            let plan = of(seed, 900);
            let alone = |fault: &&Fault| fault.harm.alone();
            prop_assert!(plan.iter().any(|fault| fault.harm.alone()));
            for fault in plan.iter().filter(alone) {
                prop_assert_eq!(plan.iter().filter(|other| other.bout == fault.bout).count(), 1);
            }
        }

        /// Every pair of target and harm comes up in a long run.
        #[test]
        fn nothing_is_left_out(seed: u64) {
            let seen: BTreeSet<(String, Harm)> = of(seed, 1_500).into_iter().map(|fault| (fault.target, fault.harm)).collect();
            let all = targets().into_iter().flat_map(|t| t.harms.into_iter().map(move |harm| (t.name.clone(), harm)));
            prop_assert_eq!(seen, all.collect());
        }
    }

    /// Both ways: a fault of what nothing else needs beside others, and with only such ones.
    #[test]
    fn what_is_aside_is_harmed_alone_and_with_others() {
        let mut targets = targets();
        for (name, harm) in [("mail", Harm::Stop), ("to-mail", Harm::Cut), ("mails", Harm::Kill)] {
            targets.push(Shape::new(name, &[harm]).aside());
        }
        let is_aside = |fault: &Fault| targets.iter().any(|t| t.name == fault.target && t.is_aside);
        let (mut mixed, mut apart) = (0, 0);
        for seed in 0..60 {
            let plan = plan(seed, Duration::from_secs(300), &targets);
            for bout in 0..=plan.last().map_or(0, |fault| fault.bout) {
                let of: Vec<_> = plan.iter().filter(|fault| fault.bout == bout).collect();
                let aside = of.iter().filter(|fault| is_aside(fault)).count();
                mixed += u32::from(aside > 0 && aside < of.len());
                apart += u32::from(aside > 1 && aside == of.len());
            }
        }
        assert!(mixed > 5 && apart > 5, "{mixed} mixed, {apart} of several that are aside");
    }

    #[test]
    fn seeds_differ_and_a_spare_joins() {
        assert_ne!(of(1, 300), of(2, 300));
        let joins = |plan: &[Fault]| {
            plan.iter().any(|f| f.target == "orders-2" && plan.iter().any(|o| o.bout == f.bout && o.target == "orders"))
        };
        assert!((0..5).any(|seed| joins(&of(seed, 600))), "a spare is there when its service is harmed");
    }
}
