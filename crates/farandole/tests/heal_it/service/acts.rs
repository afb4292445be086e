//! What operators do with a service, and what is told of it.

use std::collections::BTreeSet;

use farandole::again::{self, InputAt};
use farandole::heal::Mode;
use farandole::rebuild::Options;
use farandole::service::{self, By, History, Missing};
use uuid::Uuid;

use super::{PATIENCE, Shop, state, unsent};
use crate::till::{DEAR, service};
use crate::world::eventually;

const ANN: By<'static> = By { name: "ann", reason: Some("a test") };

impl Shop {
    async fn history(&self, limit: usize) -> History {
        service(self.insurer.clone()).history(&self.config, limit).await.unwrap()
    }

    fn input(&self, offset: i64) -> InputAt {
        InputAt { topic: self.sales.clone(), partition: 0, offset }
    }

    async fn feed(&self, offset: i64, by: Option<By<'_>>) -> Result<again::Fed, service::Error> {
        service(self.insurer.clone()).feed_again(&self.config, &self.input(offset), by).await
    }

    /// Where the service is in the topic that it hears.
    async fn position(&self) -> (i64, Vec<String>) {
        let standings = service(self.insurer.clone()).positions(&self.config).await.unwrap();
        let standing = &standings.positions[0];
        (standing.next_offset, standing.heads.values().cloned().collect())
    }
}

fn verbs(history: &History) -> Vec<&str> {
    history.entries.iter().map(|entry| entry.act.verb.as_str()).collect()
}

/// Guards: a look changes nothing; what is fed again is decided as any input, behind what waits for its aggregate, and moves no position and
/// no chain; what takes effect by itself, or is parked, is refused. Without the last two, one input takes effect twice.
#[tokio::test(flavor = "multi_thread")]
async fn an_input_is_fed_again_as_any_input() {
    let mut shop = Shop::new().await;
    let till = shop.start(Missing::Make).await.ready().await;
    shop.sell("k0", "tea", 5).await;
    shop.sell("k1", "jar", DEAR).await;
    shop.all_counted().await;
    let pool = shop.pool().await;
    let insured = async |n| state(&pool).await.0.get("k1").is_some_and(|(_, insured)| *insured == n * DEAR);
    eventually("the jar to be insured", PATIENCE, async || insured(1).await).await;
    eventually("the position to be written", PATIENCE, async || shop.position().await.0 == 2).await;
    let before = shop.position().await;

    let known = shop.feed(0, None).await.unwrap();
    assert_eq!((known.kind.as_deref(), known.aggregate.as_str(), known.led_to.len()), (Some("test.Sold"), "k0", 2), "{known}");
    assert!(!known.executed && known.to_string().contains("nothing was changed"), "{known}");
    shop.all_counted().await;

    let fed = shop.feed(0, Some(ANN)).await.unwrap();
    assert!(fed.executed && fed.outcome.as_ref().unwrap().starts_with("decided: it led to test.Counted "), "{fed}");
    shop.counts("k0", "tea", 5);
    shop.all_counted().await;
    assert_eq!(shop.position().await, before, "neither position nor chain has moved");

    // This participant's effects are new requests each time, as it says of itself; with the default key the second would be the first.
    let fed = shop.feed(1, Some(ANN)).await.unwrap();
    assert!(fed.executed, "{fed}");
    shop.counts("k1", "jar", DEAR);
    eventually("the jar to be insured again", PATIENCE, async || insured(2).await).await;
    let keys: BTreeSet<Uuid> = shop.insurer.calls.lock().unwrap().iter().map(|call| call.idempotency_key).collect();
    assert_eq!(keys.len(), 2);

    // Behind what waits; and what waits isn't fed a second time.
    let parked =
        "insert into farandole.parked (reader, aggregate, topic, partition, record_offset, headers, reason, head, retry_at)
                  values ('till', 'k0', 't', 0, 1, '[]', 'bad', true, now() + interval '1 day')";
    sqlx::raw_sql(parked).execute(&pool).await.unwrap();
    let fed = shop.feed(0, Some(ANN)).await.unwrap();
    assert!(fed.waits && fed.outcome.as_ref().is_some_and(|outcome| outcome.contains("waits behind")), "{fed}");
    let said = |error: service::Error| farandole::engine::chain_of(&error);
    let refused = said(shop.feed(0, Some(ANN)).await.unwrap_err());
    assert!(refused.contains("`till parked retry k0`"), "{refused}");
    for (offset, words) in [(2, "isn't there"), (3, "isn't there")] {
        let refused = said(shop.feed(offset, Some(ANN)).await.unwrap_err());
        assert!(refused.contains(words), "{refused}");
    }
    till.stop().await;
    shop.sell("k1", "tea", 1).await;
    let refused = said(shop.feed(2, Some(ANN)).await.unwrap_err());
    assert!(refused.contains("hasn't been read yet (next offset: 2)"), "{refused}");
    let history = shop.history(10).await;
    assert_eq!(verbs(&history), ["inputs again"; 3], "{history}");
    assert_eq!(history.entries[0].act.what, shop.input(0).to_string());
    pool.close().await;
}

/// Guards: every act is told once, in order, whether it is published already or not; a swap is told before it is noted how far the outbox
/// has come. Without the last, a rollback takes the entry for something that was decided since, and refuses.
#[tokio::test(flavor = "multi_thread")]
async fn what_operators_did_is_told() {
    let mut shop = Shop::new().await;
    let till = shop.start(Missing::Make).await.ready().await;
    shop.sell("k0", "tea", 5).await;
    shop.all_counted().await;
    assert!(shop.history(10).await.entries.is_empty());
    till.stop().await;
    shop.copy(&shop.database.name, &shop.backup()).await;
    let till = shop.start(Missing::Refuse).await.ready().await;
    shop.sell("k0", "tea", 7).await;
    shop.all_counted().await;
    till.stop().await;
    shop.copy(&shop.backup(), &shop.database.name).await;
    let till_service = || service(shop.insurer.clone());
    let named = farandole::heal::Choices::default();
    assert!(!till_service().heal_by(&shop.config, Mode::DryRun, &named, Some(ANN)).await.unwrap().done);
    assert!(till_service().heal_by(&shop.config, Mode::Execute, &named, Some(ANN)).await.unwrap().done);
    let whole = till_service().heal_by(&shop.config, Mode::Execute, &named, Some(ANN)).await.unwrap();
    assert!(whole.is_whole(), "what the journal is told is no difference: {whole}");
    let unpublished = shop.history(10).await;
    assert_eq!(verbs(&unpublished), ["heal"], "{unpublished}");

    let till = shop.start(Missing::Refuse).await.ready().await;
    shop.all_counted().await;
    let pool = shop.pool().await;
    let swap = Options { verify: true, execute: true, ..Options::default() };
    assert!(
        till_service().rebuild_by(&shop.config, Options { execute: false, ..swap }, Some(ANN)).await.unwrap().replaced.is_none()
    );
    assert!(till_service().rebuild_by(&shop.config, swap, Some(ANN)).await.unwrap().replaced.is_some());
    let rolled = till_service().roll_back(&shop.config, true, false, Some(ANN)).await.unwrap();
    assert_eq!((rolled.done, rolled.written), (true, 0), "{rolled}");
    let to = "earliest".parse().unwrap();
    assert!(!till_service().set_position(&shop.config, "sales", None, to, None).await.unwrap().executed);
    till_service().set_position(&shop.config, "sales", None, "latest".parse().unwrap(), Some(ANN)).await.unwrap();
    let parked =
        "insert into farandole.parked (reader, aggregate, topic, partition, record_offset, headers, reason, head, retry_at)
                  values ('till', 'k9', 't', 0, 1, '[]', 'bad', true, now() + interval '1 day')";
    sqlx::raw_sql(parked).execute(&pool).await.unwrap();
    till_service().drop_parked(&shop.config, "k9", farandole::parking::operate::Which::First, "a test", "ben").await.unwrap();
    eventually("all to be published", PATIENCE, async || unsent(&pool).await == 0).await;
    let history = shop.history(10).await;
    assert_eq!(verbs(&history), ["heal", "rebuild", "rebuild --rollback", "positions set", "parked drop"], "{history}");
    let whose: Vec<(&str, Option<&str>)> =
        history.entries.iter().map(|entry| (entry.act.by.as_str(), entry.act.reason.as_deref())).collect();
    assert_eq!(whose[0], ("ann", Some("a test")));
    assert_eq!(whose[4], ("ben", Some("a test")));
    assert_eq!(history.entries[1].act.outcome, "replaced; no row differed");
    assert!(!history.more && history.entries.is_sorted_by(|a, b| a.at <= b.at), "{history}");
    // From the topic alone, and no more than is asked for.
    sqlx::raw_sql("delete from farandole.outbox").execute(&pool).await.unwrap();
    assert_eq!(shop.history(10).await, history);
    let last = shop.history(2).await;
    assert_eq!((verbs(&last), last.more), (vec!["positions set", "parked drop"], true), "{last}");
    till.stop().await;
    pool.close().await;
}
