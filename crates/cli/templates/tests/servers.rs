//! The program on real servers: PostgreSQL, Kafka and schema registry as the variables `FARANDOLE_DATABASE_URL`,
//! `FARANDOLE_KAFKA_BOOTSTRAP` and `FARANDOLE_REGISTRY_URL` name them. Where the first isn't set, nothing is tested, and it says so.

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Only bounds failures.
const PATIENCE: Duration = Duration::from_secs(60);

/// The program; it doesn't outlive its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill(); // it may have ended
        let _ = self.0.wait();
    }
}

/// What `ask` gives, once it gives something.
async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = ask().await {
            return found;
        }
        assert!(Instant::now() < until, "waited {PATIENCE:?} for {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn an_item_is_taken_shown_and_expires() {
    if std::env::var_os("FARANDOLE_DATABASE_URL").is_none() {
        // Written past the capture of `cargo test`, which hides what passing tests print.
        let _ = writeln!(
            std::io::stderr(),
            "not tested on servers: FARANDOLE_DATABASE_URL isn't set; README.md says how to start them"
        );
        return;
    }
    let port_file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("{{name}}.port");
    let _ = std::fs::remove_file(&port_file); // of an earlier run
    let mut program = Command::new(env!("CARGO_BIN_EXE_{{name}}"));
    program
        .args(["serve", "--migrate"])
        .env("FARANDOLE_HTTP_LISTEN", "127.0.0.1:0")
        .env("FARANDOLE_OWN_EXPIRES_AFTER", "1s");
    let mut running = Running(
        program
            .env("FARANDOLE_HTTP_PORT_FILE", &port_file)
            .spawn()
            .unwrap(),
    );

    let client = reqwest::Client::new();
    let base = eventually("the program to be ready", async || {
        assert_eq!(
            running.0.try_wait().unwrap(),
            None,
            "it ended; see above for why"
        );
        let base = format!(
            "http://{}",
            std::fs::read_to_string(&port_file).ok()?.trim()
        );
        client
            .get(format!("{base}/readyz"))
            .send()
            .await
            .ok()?
            .status()
            .is_success()
            .then_some(base)
    })
    .await;

    let request = client
        .post(format!("{base}/items"))
        .json(&json!({ "label": "tea" }));
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 201);
    let location = answer.headers()["location"].to_str().unwrap().to_owned();
    eventually("the item to expire", async || {
        let item: Value = client
            .get(format!("{base}{location}"))
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        assert_eq!(item["label"], "tea");
        (item["expired"] == true).then_some(())
    })
    .await;
}
