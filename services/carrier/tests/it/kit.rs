//! The real process, and the requests that tests make.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use reqwest::{Client, Method};
use serde_json::{Value, json};

/// 24 bytes.
pub const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
/// Longer than any test.
pub const NEVER: &str = "1d";

/// An answer: status, body, and whether it says to be told again.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
    pub replayed: bool,
    pub kind: String,
    pub place: String,
}

impl Answer {
    pub fn tracking(&self) -> String {
        self.body["tracking"].as_str().unwrap_or_else(|| panic!("no tracking number in {self:?}")).to_owned()
    }

    pub fn code(&self) -> (u16, &str) {
        (self.status, self.body["code"].as_str().unwrap_or(""))
    }
}

/// The real process; killed by SIGKILL when dropped.
pub struct Carrier {
    process: Child,
    client: Client,
    base: String,
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
        Self { process, client: Client::new(), base }
    }

    pub async fn send(&self, method: Method, path: &str, key: &str, body: &str) -> Answer {
        let mut request = self.client.request(method, format!("{}{path}", self.base)).body(body.to_owned());
        if !key.is_empty() {
            request = request.header("Idempotency-Key", key);
        }
        let response = request.send().await.unwrap();
        let header = |name| response.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
        let (status, replayed) = (response.status().as_u16(), header("idempotent-replayed") == "true");
        let (kind, place) = (header("content-type"), header("location"));
        Answer { status, body: response.json().await.unwrap_or(Value::Null), replayed, kind, place }
    }

    pub async fn post(&self, path: &str, key: &str, body: Value) -> Answer {
        self.send(Method::POST, path, key, &body.to_string()).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, "", "").await
    }

    pub async fn faults(&self, faults: Value) {
        assert_eq!(self.send(Method::PUT, "/faults", "", &faults.to_string()).await.status, 200);
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
