//! A replica that sleeps through a heal: what it remembers is of a database that isn't there any more.

use super::*;

/// A service whose threads can be stopped, as those of a machine that is paused.
struct Sleeper {
    running: Running,
    /// What is sent here holds all of its tasks up until it is dropped.
    gates: tokio::sync::mpsc::UnboundedSender<std::sync::mpsc::Receiver<()>>,
}

impl Sleeper {
    async fn start(shop: &Shop) -> Self {
        let bound = Bound::bind(&shop.config.http).await.unwrap();
        let (url, stop) = (format!("http://{}", bound.address), CancellationToken::new());
        let (gates, mut asleep) = tokio::sync::mpsc::unbounded_channel::<std::sync::mpsc::Receiver<()>>();
        let (insurer, config, told) = (shop.insurer.clone(), shop.config.clone(), stop.clone());
        let task = tokio::task::spawn_blocking(move || {
            // One thread: a task that blocks it blocks everything.
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                tokio::spawn(async move {
                    while let Some(gate) = asleep.recv().await {
                        let _ = gate.recv(); // its end is what was waited for
                    }
                });
                service(insurer).serve(bound, config, Missing::Make, told).await
            })
        });
        Self { running: Running { url, stop, task }.ready().await, gates }
    }

    /// Falls asleep; wakes up when what this gives is dropped.
    async fn sleep(&self) -> std::sync::mpsc::Sender<()> {
        let (waker, gate) = std::sync::mpsc::channel();
        self.gates.send(gate).unwrap();
        let silent = async || {
            let ask = reqwest::Client::new().get(format!("{}/livez", self.running.url)).timeout(Duration::from_millis(300));
            ask.send().await.is_err()
        };
        eventually("the service to sleep", PATIENCE, silent).await;
        waker
    }
}

/// The newest step of the position in the topic that is heard, and what it says.
async fn position(pool: &PgPool, scope: &str) -> (i64, serde_json::Value) {
    let sql = "select step, state from farandole.steps where scope = $1 order by step desc limit 1";
    sqlx::query_as(sql).bind(scope).fetch_one(pool).await.unwrap()
}

/// It knew from before that no input was found to be applied, and its position by a number alone. So inputs that the heal had noted
/// were decided twice, and a position went on from where it had been in a history that is no more. Guards: what a lane and a worker
/// remember is tied to the comparison that it was remembered under.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_slept_through_a_heal_remembers_nothing() {
    let mut shop = Shop::new().await;
    let till = Sleeper::start(&shop).await;
    // Should this test fail: its thread is waited for.
    let _stopped = till.running.stop.clone().drop_guard();
    shop.sell("k0", "tea", 1).await;
    shop.all_counted().await;
    shop.copy(&shop.database.name, &shop.backup()).await;
    for n in 0..5 {
        shop.sell("k1", "tea", 1 + n).await;
        shop.all_counted().await;
    }
    let scope = format!("position/till/{}/0", shop.sales);
    let pool = shop.pool().await;
    let (step, _) = position(&pool, &scope).await;
    pool.close().await;
    let waker = till.sleep().await;

    shop.copy(&shop.backup(), &shop.database.name).await;
    let done = shop.heal(Mode::Execute).await.unwrap();
    assert_eq!((done.done, done.applied), (true, Some(5)), "{done}");
    // Another replica has moved since, by as many steps as there had been, and knows of one more source.
    let pool = shop.pool().await;
    let (last, mut state) = position(&pool, &scope).await;
    assert!(last < step, "{last} of {step}");
    state["heads"]["/farandole/other"] = serde_json::json!({ "place": { "lineage": 1, "number": 1 }, "previous": null });
    for step in last + 1..=step {
        let insert = "insert into farandole.steps (scope, step, state) values ($1, $2, $3)";
        sqlx::query(insert).bind(&scope).bind(step).bind(&state).execute(&pool).await.unwrap();
    }
    drop(waker);
    shop.sell("k2", "tea", 7).await;
    shop.all_counted().await;
    let (_, state) = position(&pool, &scope).await;
    assert!(state["heads"].get("/farandole/other").is_some(), "it went on from what it remembered: {state}");
    // Nothing comes twice later either.
    shop.sell("k0", "tea", 2).await;
    shop.all_counted().await;
    pool.close().await;
    till.running.stop().await;
}
