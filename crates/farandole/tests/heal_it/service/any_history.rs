//! Whatever happened to whatever service, and wherever a rebuild of it was broken off: its rows are those that it had.

mod all;
mod garden;
mod odd_topics;

use farandole::rebuild::Options;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use self::all::{All, rows};
use self::garden::Garden;
use super::*;
use crate::till::wild::OPEN;
use crate::world::Random;

/// Unless `PROPTEST_CASES` says another number.
const CASES: u32 = 4;
/// Cases that run side by side.
const BESIDE: u32 = 4;
const PARTITIONS: i32 = 3;
const VERIFY: Options = Options { verify: true, ignore_space: true, ..Options::DEFAULT };

/// What is drawn: the participant's ways, what happens, and where rebuilds are broken off.
#[derive(Debug, Clone, Copy)]
struct Drawn {
    salt: u64,
    seed: u64,
    inputs: u64,
    held: usize,
    at_once: usize,
    /// A rebuild is broken off the first time after at most so many.
    polls: u64,
    opens_gate: bool,
    is_mute: bool,
    drops: bool,
    swaps: bool,
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let sizes = (20..90_u64, 1..40_usize, 1..40_usize, 5..400_u64);
    (any::<(u64, u64)>(), sizes, any::<[bool; 4]>()).prop_map(
        |((salt, seed), (inputs, held, at_once, polls), [opens_gate, is_mute, drops, swaps])| Drawn {
            salt,
            seed,
            inputs,
            held,
            at_once,
            polls,
            opens_gate,
            is_mute,
            drops,
            swaps,
        },
    )
}

/// D13, G29. For random participants and histories (several partitions, shared rows, rows that come and go, deadlines, effects, parked
/// inputs, restarts) the rebuilt state is the live one: tables beside a running service, and everything from the topics alone; with whatever
/// is held and folded at once, and broken off anywhere.
///
/// Guards: a try is taken back as a whole, rows and how far they are folded are one transaction, of two runs one writes. Without any of
/// them, rows are folded twice or not at all.
#[test]
fn whatever_happened_the_rebuilt_state_is_the_live_one() {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(CASES);
    // A case is seconds long: what fails is told by its numbers, and tried with few others.
    let config = ProptestConfig {
        cases: cases.div_ceil(BESIDE),
        max_shrink_iters: 4,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let some = || {
        TestRunner::new(config.clone()).run(&drawn(), |drawn| {
            runtime.block_on(Box::pin(history(drawn)));
            Ok(())
        })
    };
    // Mostly they wait.
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..BESIDE).map(|_| scope.spawn(some)).collect();
        running.into_iter().for_each(|some| some.join().unwrap().unwrap());
    });
}

async fn history(drawn: Drawn) {
    let mut garden = Garden::new(drawn).await;
    let till = garden.start(Missing::Make).await.ready().await;
    let pool = garden.shop.pool().await;
    let mut random = Random::new(drawn.seed);
    garden.sow(&till, &mut random, drawn.inputs / 2).await;
    let mut polls = drawn.polls;
    garden.broken_off(&pool, VERIFY, &mut polls, &mut random).await;
    *garden.shop.insurer.mute.lock().unwrap() = drawn.is_mute;
    till.stop().await;
    // What was folded so far is gone on with by another start's service.
    let till = garden.start(Missing::Refuse).await.ready().await;
    garden.sow(&till, &mut random, drawn.inputs / 2).await;
    garden.broken_off(&pool, VERIFY, &mut polls, &mut random).await;
    if drawn.opens_gate {
        garden.command(&till, "keeper", OPEN).await;
    }
    garden.is_still(&pool).await;
    if drawn.drops {
        garden.drop_one(&pool).await;
        garden.is_still(&pool).await;
    }
    garden.shop.checkpointed(&pool).await;

    // Beside the service, which does nothing now.
    let live = rows(&pool, "public").await;
    let options = Options { execute: drawn.swaps, ..VERIFY };
    let report = garden.whole(&pool, options, &mut polls, &mut random).await;
    assert_eq!((report.differences(), report.replaced.is_some()), (0, drawn.swaps), "{report}");
    assert_eq!(rows(&pool, if drawn.swaps { "public" } else { "farandole_rebuild" }).await, live);
    garden.shop.checkpointed(&pool).await;
    till.stop().await;

    let before = All::of(&pool).await;
    assert_eq!(before.rows, live);
    pool.close().await;
    garden.shop.lose().await;
    garden.made_anew(&mut random).await;
    let pool = garden.shop.pool().await;
    before.is_back(&All::of(&pool).await);
    pool.close().await;
}
