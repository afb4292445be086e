//! The peer: Restate's server, and a program of three steps for it.
//!
//! The program does less than the shop: it remembers that a step was done, and asks nobody outside. It is `crates/bench/peers/restate`;
//! `scripts/restate` gets the server and builds it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::json;
use stage::process::{Child, Command};
use stage::{Options, tail};
use tokio::task::block_in_place;

use super::http::Server;
use super::side::Side;
use super::usage::{Kind, Processes};
use crate::machine::between;

/// Names the server's version.
const PACKAGE: &str = include_str!("../../peers/restate/package.json");
/// How long it may take to serve.
const READY: Duration = Duration::from_secs(60);
/// Partitions: one a core, as its documentation has it for few.
const PARTITIONS: &str = "2";

/// The server and the program.
pub struct Restate {
    server: Child,
    program: Child,
    folder: tempfile::TempDir,
    pub side: Side,
}

/// The server's version, for the report.
pub fn version() -> &'static str {
    between(PACKAGE, "restate-server\": \"", "\"").unwrap_or("?")
}

impl Restate {
    /// Starts both, and registers the program.
    ///
    /// # Errors
    /// When one doesn't start.
    pub async fn start() -> anyhow::Result<Self> {
        let place = Options::default().dir.join(format!("restate-{}", version()));
        // From another folder a relative path leads elsewhere.
        let place = place.canonicalize().with_context(|| format!("{} isn't there: run scripts/restate", place.display()))?;
        let folder = tempfile::tempdir().context("making a folder for Restate")?;
        let mut ports = Vec::new();
        for _ in 0..4 {
            ports.push(stage::free_port(&ports)?);
        }
        let [ingress, admin, node, program_port] = ports.as_slice() else { anyhow::bail!("four ports were taken") };
        let server = Command::new("restate-server", place.join("restate-server"))
            .args(["--base-dir".as_ref(), folder.path().as_os_str()])
            .args(["--bind-ip", "127.0.0.1"])
            .env([
                ("RESTATE_DEFAULT_NUM_PARTITIONS", PARTITIONS.to_owned()),
                ("RESTATE_INGRESS__BIND_ADDRESS", format!("127.0.0.1:{ingress}")),
                ("RESTATE_ADMIN__BIND_ADDRESS", format!("127.0.0.1:{admin}")),
                ("RESTATE_BIND_ADDRESS", format!("127.0.0.1:{node}")),
                ("RESTATE_ADVERTISED_ADDRESS", format!("http://127.0.0.1:{node}")),
                ("RESTATE_DISABLE_TELEMETRY", "true".to_owned()),
            ])
            .folder(folder.path())
            .log(folder.path().join("server.log"))
            .spawn()?;
        let program = Command::new("restate-peer", place.join("target/release/restate-peer"))
            .args([format!("127.0.0.1:{program_port}")])
            .log(folder.path().join("program.log"))
            .spawn()?;
        let processes = Processes {
            named: vec![
                (Kind::Part, "restate-server".to_owned(), server.pid()),
                (Kind::Service, "restate-peer".to_owned(), program.pid()),
            ],
            postgres: None,
            databases: String::new(),
            postmaster: None,
            services: Vec::new(),
        };
        let side = Side::restate(Arc::new(Server::new(&format!("127.0.0.1:{ingress}"))), processes);
        let restate = Self { server, program, folder, side };
        restate.register(*admin, *program_port).await?;
        Ok(restate)
    }

    async fn register(&self, admin: u16, program: u16) -> anyhow::Result<()> {
        let admin = Server::new(&format!("127.0.0.1:{admin}"));
        let body = json!({ "uri": format!("http://127.0.0.1:{program}") }).to_string();
        let until = Instant::now() + READY;
        let mut last = String::from("no answer");
        while Instant::now() < until {
            ensure!(self.server.is_running() && self.program.is_running(), "Restate has ended: {last}\n{}", self.said());
            match admin.post("/deployments", None, body.clone().into()).await {
                Ok(answer) if (200..300).contains(&answer.status) => {
                    // One call: it is known at the ingress then.
                    match self.side.place()(0).await {
                        Ok(_) => return Ok(()),
                        Err(error) => last = format!("{error:#}"),
                    }
                }
                Ok(answer) => last = format!("{}: {}", answer.status, String::from_utf8_lossy(&answer.body)),
                Err(error) => last = format!("{error:#}"),
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        anyhow::bail!("Restate doesn't serve within {READY:?}: {last}\n{}", self.said())
    }

    fn said(&self) -> String {
        tail(&self.folder.path().join("server.log"))
    }

    /// Stops both.
    pub fn stop(self) {
        block_in_place(|| {
            self.program.kill();
            self.server.kill();
        });
    }
}
