use farandole::agenda::Config;

use crate::world::{Bank, World, eventually, hurried};

/// Without the look at the task's row inside the batch (`claims::lock`), both workers decide each.
#[tokio::test(flavor = "multi_thread")]
async fn each_is_decided_once_and_not_before_it_is_due() {
    let world = World::new().await;
    let due = world.now().await + 700_000;
    let wait = format!("wait {due}");
    let workers = [world.start(&Bank::quick(), Config::default()), world.start(&Bank::quick(), Config::default())];
    world.tell((0..700).map(|k| (k, wait.as_str()))).await;
    while world.now().await < due - 50_000 {
        assert_eq!(world.count("select count(*) from stories where story like '%rang%'").await, 0);
    }
    eventually("all rang", async || world.is_clear().await).await;
    assert_eq!(world.count("select count(*) from stories where story like 'wait %, rang'").await, 700);
    for worker in workers {
        worker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_one_is_gone_and_one_that_is_opened_anew_is_moved() {
    let world = World::new().await;
    let soon = format!("wait {}", world.now().await + 100_000);
    let late = format!("wait {}", world.now().await + 3_600_000_000);
    let at_once = [("moved at once", soon.as_str()), ("moved at once", "unwait"), ("moved at once", late.as_str())];
    world.tell([("closed", soon.as_str()), ("moved", &soon)].into_iter().chain(at_once)).await;
    world.tell([("closed", "unwait"), ("moved", "unwait"), ("moved", &late)]).await;
    let worker = world.start(&Bank::quick(), Config::default());
    tokio::time::sleep(std::time::Duration::from_millis(400)).await;
    assert_eq!(world.count("select count(*) from stories where story like '%rang%'").await, 0);
    assert_eq!(world.count("select count(*) from farandole.tasks where due > now() + interval '50 minutes'").await, 2);
    assert_eq!(world.count("select count(*) from farandole.tasks").await, 2);
    worker.stop().await;
}

/// The other deadlines of its batch aren't kept from happening.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_refused_parks_alone() {
    let world = World::new().await;
    let wait = format!("wait {}", world.now().await);
    world.tell([("a", "stick"), ("a", &wait), ("b", &wait)]).await;
    let worker = world.start(&Bank::quick(), hurried());
    eventually("b rang", async || world.story("b").await.ends_with("rang")).await;
    eventually("a's parked", async || world.count("select count(*) from farandole.parked where aggregate = 'a'").await == 1)
        .await;
    assert!(world.is_clear().await);
    assert_eq!(world.story("a").await, format!("stick, {wait}"));
    worker.stop().await;
}

/// One of a build that had more deadlines, or other ids. The others of its page go on; it waits for a build that knows it.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_this_build_does_not_know_is_kept() {
    let world = World::new().await;
    let soon = format!("wait {}", world.now().await + 50_000);
    world.tell([("unknown", soon.as_str()), ("known", soon.as_str())]).await;
    sqlx::query("update farandole.tasks set name = 'reminder' where key = 'unknown'").execute(&world.pool).await.unwrap();
    let worker = world.start(&Bank::quick(), hurried());
    eventually("the other rings", async || world.story("known").await.ends_with(", rang")).await;
    eventually("it is put off", async || world.count("select count(*) from farandole.steps").await >= 1).await;
    assert_eq!(world.count("select count(*) from farandole.tasks").await, 1);
    sqlx::query("update farandole.tasks set name = 'alarm' where key = 'unknown'").execute(&world.pool).await.unwrap();
    eventually("it rings", async || world.story("unknown").await.ends_with(", rang")).await;
    eventually("nothing is left", async || world.count("select count(*) from farandole.tasks").await == 0).await;
    worker.stop().await;
}
