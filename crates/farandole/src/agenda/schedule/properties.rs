//! What holds whatever happens, in whatever order.

use std::collections::{BTreeSet, HashSet};

use proptest::prelude::*;

use super::tests::{config, effect};
use super::*;

/// Something happens. A number picks an effect, see [`pick`].
#[derive(Debug, Clone)]
enum Event {
    Find(Vec<char>, bool),
    Start(usize),
    Ended(usize, Option<bool>),
    Gone(usize),
    Again(usize, u64),
    Pass(u64),
}

const ALL: &str = "abcdefghABCDEFGH";

fn event() -> impl Strategy<Value = Event> {
    let name = prop::sample::select(ALL.chars().collect::<Vec<_>>());
    let who = || prop_oneof![2 => 0..config().held, 1 => 0..ALL.len()];
    prop_oneof![
        2 => (prop::collection::vec(name, 0..6), any::<bool>()).prop_map(|(page, full)| Event::Find(page, full)),
        3 => (0_usize..5).prop_map(Event::Start),
        4 => (who(), prop::option::weighted(0.9, any::<bool>())).prop_map(|(who, well)| Event::Ended(who, well)),
        2 => who().prop_map(Event::Gone),
        2 => (who(), 0_u64..3_000).prop_map(|(who, wait)| Event::Again(who, wait)),
        1 => (0_u64..2_000).prop_map(Event::Pass),
    ]
}

/// Effects started and not yet settled, as who started them counts them.
type Open = BTreeSet<char>;

/// One of those that were started; or, beyond their number, any: news of what isn't there, which changes nothing.
fn pick(open: &Open, who: usize) -> char {
    open.iter().copied().chain(ALL.chars()).nth(who).unwrap()
}

fn name(ready: &Ready<()>) -> char {
    ready.id.name.chars().next().unwrap()
}

fn bounds(schedule: &Schedule<()>, open: &Open) -> Result<(), TestCaseError> {
    let config = config();
    let mut places: Vec<&Id> = schedule.waiting.values().map(|ready| &ready.id).collect();
    prop_assert!(places.len() <= config.queue);
    for (name, target) in &schedule.targets {
        prop_assert!(target.line.len() <= config.queue);
        let running = schedule.stages.values().filter(|stage| **stage == Stage::Called(name)).count();
        prop_assert!(target.running == running && running <= config.bulkhead, "{} of {running} run", target.running);
        places.extend(target.line.iter().map(|ready| &ready.id));
    }
    let held: Vec<&Id> = schedule
        .stages
        .iter()
        .filter(|(_, stage)| matches!(stage, Stage::Called(_) | Stage::Written))
        .map(|(id, _)| id)
        .collect();
    prop_assert!(schedule.held == held.len() && held.len() <= config.held, "{} of {} are held", schedule.held, held.len());
    prop_assert_eq!(&held.iter().flat_map(|id| id.name.chars()).collect::<Open>(), open, "what was started isn't settled");
    places.extend(held);
    let distinct: HashSet<&Id> = places.iter().copied().collect();
    prop_assert!(
        distinct.len() == places.len() && distinct == schedule.stages.keys().collect(),
        "in one place each: {:?}",
        places
    );
    Ok(())
}

/// After a start without a bound of its own.
fn nothing_idles(schedule: &mut Schedule<()>, now: Instant) -> Result<(), TestCaseError> {
    let (config, full) = (config(), schedule.held >= config().held);
    for target in schedule.targets.values_mut().filter(|target| !target.line.is_empty() && !full) {
        let free = target.running < config.bulkhead && target.breaker.allows(now, target.running) > 0;
        prop_assert!(!free, "lined up, and nothing keeps it from starting: {:?}", target);
    }
    prop_assert!(schedule.wake_at().is_none_or(|at| at > now), "woken for what can't be done");
    Ok(())
}

proptest! {
    #[test]
    fn whatever_happens(events in prop::collection::vec(event(), 1..100)) {
        let (mut now, mut schedule, mut open) = (Instant::now(), Schedule::new(Arc::new(config())), Open::new());
        for event in events {
            match event {
                Event::Find(page, full) => if schedule.may_look(now) {
                    prop_assert!(schedule.stages.len() < config().known, "no more is read beyond what may be known");
                    schedule.found(now, page.into_iter().map(effect).collect(), full);
                },
                Event::Start(most) => {
                    let most = if most == 0 { usize::MAX } else { most };
                    for ready in schedule.start(now, most) {
                        prop_assert!(open.insert(name(&ready)), "started twice");
                    }
                    if most == usize::MAX {
                        nothing_idles(&mut schedule, now)?;
                    }
                }
                Event::Ended(who, well) => schedule.ended(now, &effect(pick(&open, who)).id, well),
                Event::Gone(who) => {
                    let name = pick(&open, who);
                    schedule.gone(&effect(name).id);
                    open.remove(&name);
                }
                Event::Again(who, wait) => {
                    let name = pick(&open, who);
                    schedule.again(now, effect(name), Duration::from_millis(wait));
                    open.remove(&name);
                }
                Event::Pass(time) => now += Duration::from_millis(time),
            }
            bounds(&schedule, &open)?;
        }
        // Calls that end well bring everything to its end, woken only when it wants to be.
        for _ in 0..ALL.len() * 2 {
            open.extend(schedule.start(now, usize::MAX).iter().map(name));
            if open.is_empty() {
                let Some(at) = schedule.wake_at() else { break };
                now = at;
            }
            for name in std::mem::take(&mut open) {
                schedule.ended(now, &effect(name).id, Some(true));
                schedule.gone(&effect(name).id);
            }
        }
        prop_assert!(schedule.stages.is_empty() && schedule.held == 0, "left: {:?}", schedule.stages);
    }
}
