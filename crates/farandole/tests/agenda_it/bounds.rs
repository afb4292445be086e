//! What a decision or the outside world says in numbers: too many, too large, too late, too far.

use std::time::Duration;

use farandole::agenda::{Config, EffectError, Poke};
use farandole::engine::{NoSource, Origin, Verdict, Work};
use farandole::{Body, Timestamp};

use crate::world::{Bank, Chronicle, Event, Happened, World, eventually, hurried};

async fn decided(world: &World, body: Body<Chronicle>) -> Verdict {
    let mut works = vec![Work::new("o".to_owned(), body, Origin { cause: "command/test".to_owned(), ..Origin::default() })];
    world.engine(&Poke::default()).run(&mut works, &mut NoSource).await.unwrap().remove(0)
}

/// Guard: the number of a decision's events is looked at before they are numbered. With a cast, those past 32,767 are gone and the caller
/// is told that all has happened.
#[tokio::test(flavor = "multi_thread")]
async fn a_decision_of_too_much_is_refused_in_words_and_none_of_it_happens() {
    let world = World::new().await;
    let happened = |what: &str| Happened { key: "o".to_owned(), what: what.to_owned() };
    for (what, words) in [
        ("many 10001 1", "10001 events; the limit is 10000"),
        ("many 32768 1", "32768 events"),
        ("many 40000 1", "40000 events"),
        ("many 65537 1", "65537 events"),
        ("many 20 1000000", "20 events would be"),
    ] {
        match decided(&world, Body::Command(happened(what))).await {
            Verdict::Refused(problem) => {
                assert_eq!((problem.status, problem.kind.as_str()), (413, "/problems/decision-too-large"));
                assert!(problem.detail.contains(words), "{problem:?}");
            }
            other => panic!("{what}: {other:?}"),
        }
        match decided(&world, Body::Heard(Event::Happened(happened(what)))).await {
            Verdict::Parked(fault) => assert!(fault.reason.contains(words) && !fault.transient, "{fault:?}"),
            other => panic!("{what}: {other:?}"),
        }
    }
    assert_eq!(world.count("select count(*) from farandole.outbox").await, 0);
    assert!(matches!(decided(&world, Body::Command(happened("many 10000 1"))).await, Verdict::Done(Some(_))));
    assert_eq!(world.count("select count(*) from farandole.outbox where n = 10000").await, 10_000);
    assert_eq!(world.count("select count(distinct i) from farandole.outbox").await, 10_000);
}

/// Guard: a wait that the other side asks for is cut to the longest before it meets a clock. Without that the worker panics, or the
/// effect is put off for as long as somebody likes.
#[tokio::test(flavor = "multi_thread")]
async fn a_wait_that_the_other_side_asks_for_is_cut() {
    farandole::telemetry::recorder();
    let world = World::new().await;
    let bank = Bank::new(|call| async move {
        let after = match (call.aggregate.as_str(), call.attempt) {
            (_, 3..) => return Ok("ok".to_owned()),
            ("hours", _) => Duration::from_secs(3_600),
            ("ages", _) => Duration::from_secs(9_999_999_999_999_999_999),
            _ => Duration::MAX,
        };
        Err(EffectError::Retry { reason: "busy".to_owned(), after: Some(after) })
    });
    let worker = world.start(&bank, Config { longest_wait: Duration::from_millis(30), ..hurried() });
    world.tell([("hours", "pay"), ("ages", "pay"), ("for ever", "pay")]).await;
    eventually("all paid", async || world.is_clear().await).await;
    assert_eq!(bank.calls().len(), 9);
    worker.stop().await;
    let metrics = farandole::telemetry::render();
    assert!(metrics.contains("farandole_agenda_waits_cut_total{target=\"bank\"} 6"), "{metrics}");

    // Whoever sets no bound still gets no wait that a clock or the database can't hold.
    world.tell([("alone", "pay")]).await;
    let worker = world.start(&bank, Config { longest_wait: Duration::MAX, idle: Duration::MAX, ..hurried() });
    eventually("asked once", async || bank.calls().len() == 10).await;
    let put_off =
        "select (max((state->>'until')::bigint) - (extract(epoch from clock_timestamp()) * 1000000)::bigint) / 86400000000
                   from farandole.steps where (state->>'idle')::boolean";
    eventually("the wait to be noted", async || matches!(world.count_or_none(put_off).await, Some(3_600..=3_650))).await;
    worker.stop().await;
}

/// Guard: an instant lies within what PostgreSQL and RFC 3339 have. Without that such a deadline parks, or is a date that nobody reads.
#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_at_any_number_is_one() {
    let world = World::new().await;
    for (key, micros) in [("late", i64::MAX), ("early", i64::MIN), ("year 10000", 253_402_300_800_000_000)] {
        world.tell([(key, format!("wait {micros}").as_str())]).await;
    }
    let due = "select (extract(epoch from due) * 1000000)::bigint from farandole.tasks where key = 'late'";
    assert_eq!(world.count(due).await, Timestamp::MAX.micros());
    let bank = Bank::quick();
    let worker = world.start(&bank, Config::default());
    eventually("what is past rang", async || world.story("early").await.ends_with("rang")).await;
    assert_eq!(world.count("select count(*) from farandole.tasks").await, 2);
    worker.stop().await;
}

/// Guard: the look at the id. Without, its events have empty keys, which no consumer takes.
#[tokio::test]
async fn nothing_is_decided_about_an_empty_id() {
    let world = World::new().await;
    let engine = world.engine(&Poke::default());
    let happened = || Happened { key: String::new(), what: "x".to_owned() };
    let work = |body| Work::new(String::new(), body, Origin { cause: "test/0/0".to_owned(), ..Origin::default() });
    let mut works = [work(Body::Command(happened())), work(Body::Heard(happened().into()))];
    let verdicts = engine.run(&mut works, &mut NoSource).await.unwrap();
    let [Verdict::Refused(problem), Verdict::Parked(fault)] = &verdicts[..] else { panic!("{verdicts:?}") };
    assert_eq!((problem.status, fault.reason.as_str()), (422, "this is about something whose id is empty"));
    assert_eq!(world.count("select count(*) from farandole.outbox").await, 0);
}
