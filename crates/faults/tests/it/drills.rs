//! The drills in their short form, on a stage of their own; and what they say of a database that isn't what its topic says.

use std::process::Command;

use faults::drills::{self, Build, Ground, Plan};
use sqlx::{Connection as _, Executor as _, PgConnection};

use crate::runs;

/// The same in every run of the tests.
const SEED: u64 = 7;

/// Tables are swapped beside a service that works, rebuilds are killed, databases are lost and made anew: all holds, and no process is left
/// behind. Then the drills are held to what they are for: a row that somebody changed is seen.
#[tokio::test(flavor = "multi_thread")]
async fn an_operator_gets_state_back_under_load() {
    let _alone = crate::ONE_AT_A_TIME.lock().await;
    let services = faults::services().unwrap();
    let ground = Ground::start(SEED, services).await.unwrap();
    let pids = ground.pids();
    let least = services.len() + 5;
    assert!(pids.len() >= least, "services, acquirer, carrier, a broker, PostgreSQL, the registry: {pids:?}");
    let plan = Plan::short(SEED, services);
    let report = drills::run(&ground, &plan).await.unwrap();
    println!("{report}");

    let mut stock = PgConnection::connect(&ground.direct.parts.databases["inventory"].url).await.unwrap();
    stock.execute("update stock set received = received + 1 where sku = 'sku-1'").await.unwrap();
    stock.close().await.unwrap();
    let operator = ground.operator("inventory", Build::First).unwrap();
    let swap = Command::new(&operator.program)
        .args(["rebuild", "--verify", "--execute"])
        .envs(operator.env.iter().map(|(name, value)| (name, value)))
        .output()
        .unwrap();
    let said = String::from_utf8(swap.stdout).unwrap();
    assert!(swap.status.code() == Some(1) && said.contains("1 differ") && said.contains("stock sku-1"), "{said}");

    let left = ground.pids();
    tokio::task::spawn_blocking(|| ground.stop()).await.unwrap();
    let left: Vec<u32> = pids.into_iter().chain(left).filter(|pid| runs(*pid)).collect();
    assert!(left.is_empty(), "processes are left: {left:?}");

    assert_eq!(report.drills.len(), services.len() + 1 + plan.drained.len() + plan.undrained.len());
    assert!(report.checks.iter().all(|check| check.checked > 0), "a check that looked at nothing proves nothing");
    assert_eq!(report.violations(), Vec::<String>::new());
}
