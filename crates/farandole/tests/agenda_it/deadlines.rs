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
