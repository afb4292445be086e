//! A measurement of the real process, not a check of the interface: `cargo test --release -p acquirer -- --ignored --nocapture`.

use std::time::Instant;

use crate::kit::{Process, order};

const AUTHORISATIONS: usize = 30_000;
const CALLERS: usize = 64;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement: takes seconds and wants a quiet machine"]
async fn thirty_thousand_authorisations() {
    let dir = tempfile::tempdir().unwrap();
    let (process, caller) = Process::start(dir.path()).await;
    let start = Instant::now();
    let tasks: Vec<_> = (0..CALLERS)
        .map(|me| {
            let caller = caller.clone();
            tokio::spawn(async move {
                for number in (me..AUTHORISATIONS).step_by(CALLERS) {
                    let key = format!("0198a000-0000-7000-8000-{number:012}");
                    assert_eq!(caller.authorise(&key, order(&key)).await.status, 201);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let rate = AUTHORISATIONS as f64 / start.elapsed().as_secs_f64();
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let resident: u64 =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok()).unwrap();
    println!("{rate:.0} authorisations/s, {} MiB at most", resident >> 10);
    assert!(rate > 1_500.0, "{rate:.0}/s");
    assert!(resident < 40 << 10, "{resident} kB");
}
