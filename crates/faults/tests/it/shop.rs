//! A short run on a stage of its own, with three brokers.

use std::sync::Arc;
use std::time::Duration;

use faults::plan::plan;
use faults::shop::Shop;

use crate::runs;

/// The same in every run of the tests: services and replicas, notifications among them, PostgreSQL, the carrier, the mail server, and the
/// ways to it, to a broker, the acquirer and the carrier come up.
const SEED: u64 = 44_023;
const LENGTH: Duration = Duration::from_secs(60);

/// Nothing is lost or done twice whatever is taken away, every fault is recovered from, and no process is left behind.
#[tokio::test(flavor = "multi_thread")]
async fn the_shop_survives_a_short_run() {
    let _alone = crate::ONE_AT_A_TIME.lock().await;
    let services = faults::services().unwrap();
    let shop = Arc::new(Shop::start(SEED, 20, services).await.unwrap());
    let pids = shop.pids();
    let least = services.len() + 7;
    assert!(pids.len() >= least, "services, acquirer, carrier, three brokers, PostgreSQL, the registry: {pids:?}");
    let planned = plan(SEED, LENGTH, &Shop::shapes(services));
    let report = faults::run(Arc::clone(&shop), &planned).await.unwrap();
    println!("{report}");
    let left = shop.pids();
    let shop = Arc::into_inner(shop).unwrap();
    tokio::task::spawn_blocking(|| shop.stop()).await.unwrap();
    let left: Vec<u32> = pids.into_iter().chain(left).filter(|pid| runs(*pid)).collect();
    assert!(left.is_empty(), "processes are left: {left:?}");

    assert_eq!(report.rows.len(), planned.len());
    assert!(planned.len() >= 4, "{planned:?}");
    assert!(report.checks.iter().all(|check| check.checked > 0), "a check that looked at nothing proves nothing");
    assert_eq!(report.violations(), Vec::<String>::new());
}
