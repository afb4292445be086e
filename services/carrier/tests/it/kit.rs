//! The real process, and the requests that tests make.

use std::io::{BufRead as _, BufReader};
use std::ops::Deref;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

#[path = "../../../../crates/standin/tests/common/caller.rs"]
mod caller;

use caller::{Answer, Caller};

/// 24 bytes.
pub const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
/// Longer than any test.
pub const NEVER: &str = "1d";

/// The real process; killed by SIGKILL when dropped.
pub struct Carrier {
    process: Child,
    caller: Caller,
}

impl Deref for Carrier {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.caller
    }
}

impl Carrier {
    pub fn start(dir: &Path, transit: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_carrier"));
        command.args(["serve", "--transit", transit, "--data"]).arg(dir.join("data")).args(arguments);
        command.env("CARRIER_WEBHOOK_SECRET", SECRET).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().unwrap();
        let mut base = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut base).unwrap();
        let base = base.trim().to_owned();
        assert!(base.starts_with("http://127.0.0.1:"), "{base:?}");
        Self { process, caller: Caller::new(base) }
    }

    /// Books a parcel under its reference as key.
    pub async fn book(&self, reference: &str, recipient: &str) -> Answer {
        self.post("/parcels", reference, parcel(reference, recipient)).await
    }

    pub async fn recall(&self, tracking: &str, key: &str) -> Answer {
        self.send(Method::POST, &format!("/parcels/{tracking}/recall"), key, "").await
    }

    pub async fn status(&self, tracking: &str) -> String {
        self.get(&format!("/parcels/{tracking}")).await.body["status"].as_str().unwrap().to_owned()
    }

    /// Waits for a parcel to come so far.
    pub async fn until(&self, tracking: &str, status: &str) {
        self.wait(async || self.status(tracking).await == status).await;
    }

    /// Waits until no webhook is left, and gives what became of them.
    pub async fn until_sent(&self) -> Value {
        self.wait(async || self.get("/totals").await.body["webhooks"]["waiting"] == 0).await;
        self.get("/totals").await.body["webhooks"].take()
    }

    async fn wait(&self, mut until: impl AsyncFnMut() -> bool) {
        let waited = async {
            while !until().await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), waited).await.unwrap();
    }

    /// Begins an orderly stop.
    pub fn terminate(&self) {
        assert!(Command::new("kill").arg(self.process.id().to_string()).status().unwrap().success());
    }

    /// Waits for the end; the exit code.
    pub fn ended(mut self) -> Option<i32> {
        self.process.wait().unwrap().code()
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub fn parcel(reference: &str, recipient: &str) -> Value {
    json!({ "reference": reference, "recipient": recipient })
}
