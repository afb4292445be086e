//! A running acquirer in this process, and the requests that tests make.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use acquirer::faults::Faults;
use acquirer::server::{self, Options};
use jiff::SignedDuration;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

#[path = "../../../../crates/standin/tests/common/caller.rs"]
mod caller;

use caller::Answer;
pub use caller::Caller;

impl Caller {
    pub async fn authorise(&self, key: &str, body: Value) -> Answer {
        self.post("/authorisations", key, body).await
    }

    /// How many authorisations a reference has.
    pub async fn count(&self, reference: &str) -> usize {
        let found = self.get(&format!("/authorisations?merchant_reference={reference}")).await;
        found.body["authorisations"].as_array().unwrap().len()
    }
}

pub fn order(reference: &str) -> Value {
    with_token(reference, "tok_visa")
}

pub fn with_token(reference: &str, token: &str) -> Value {
    json!({ "merchant_reference": reference, "amount": 1_000, "currency": "EUR", "card_token": token })
}

/// An acquirer in this process.
pub struct Running {
    pub caller: Caller,
    stop: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

pub async fn start(data: &Path) -> Running {
    start_with(data, SignedDuration::from_hours(24)).await
}

pub async fn start_with(data: &Path, key_retention: SignedDuration) -> Running {
    let options = Options { data: PathBuf::from(data), key_retention, faults: Faults::default() };
    let acquirer = server::open(&options).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let caller = Caller::new(format!("http://{}", listener.local_addr().unwrap()));
    let stop = CancellationToken::new();
    let task = tokio::spawn(server::run(listener, acquirer, stop.clone().cancelled_owned()));
    Running { caller, stop, task }
}

impl Running {
    /// Stops as SIGTERM does.
    pub async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }
}

/// The real process; killed by SIGKILL when dropped.
pub struct Process(Child);

impl Process {
    pub async fn start(dir: &Path) -> (Self, Caller) {
        Self::start_with(dir, &[]).await
    }

    pub async fn start_with(dir: &Path, arguments: &[&str]) -> (Self, Caller) {
        let port_file = dir.join("port");
        let mut command = Command::new(env!("CARGO_BIN_EXE_acquirer"));
        command.args(["serve", "--data"]).arg(dir.join("data")).arg("--port-file").arg(&port_file).args(arguments);
        // An earlier process's address, until the new one removes it.
        let _ = std::fs::remove_file(&port_file);
        let process = Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        for _ in 0..1_000 {
            if let Ok(address) = std::fs::read_to_string(&port_file) {
                return (process, Caller::new(format!("http://{}", address.trim())));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no port file after 10 s");
    }

    pub fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
