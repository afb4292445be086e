//! The registry, with something before it that understands HTTP: it can refuse one schema and let all others through. And its loss of
//! everything that it held.
//!
//! **Assumption:** a registry that comes back empty gives no id away a second time. One that does makes a second schema of what an
//! old id means, and what is written under it meanwhile parks until somebody says which; so after a loss the ids that were in use
//! are used up first, by schemas that are deleted again, and until then nobody is let through.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use reqwest::Client;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::strays::Strays;
use crate::plan::Harm;
use crate::proxy::Door;
use crate::target::{Part, Process, Subject};

/// The first id that is refused; none that a registry of ours has reached.
const REFUSED: i32 = 7_000_001;
/// The largest body that is passed on; a schema has some kB.
const LARGEST: usize = 4 << 20;
/// Ids in use at most: every event type of the shop, the journals' and what is used up after a loss.
const IN_USE: u32 = 80;
/// How long the registry may take to answer while it is filled.
const ANSWER: Duration = Duration::from_secs(10);

/// Passes requests on, but for those that ask for a schema that is refused.
#[derive(Debug)]
pub struct Shim {
    /// Where it listens.
    pub address: String,
    /// The registry has lost everything, and would give ids away that were in use.
    pub empty: Arc<AtomicBool>,
    refused: Arc<Mutex<BTreeSet<i32>>>,
    serving: JoinHandle<()>,
}

struct Behind {
    client: Client,
    target: String,
    empty: Arc<AtomicBool>,
    refused: Arc<Mutex<BTreeSet<i32>>>,
}

impl Shim {
    /// Before the registry at `target` (`host:port`).
    ///
    /// # Errors
    /// When no port is free.
    pub async fn open(target: &str, client: &Client) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("listening before the registry")?;
        let address = listener.local_addr()?.to_string();
        let refused: Arc<Mutex<BTreeSet<i32>>> = Arc::default();
        let empty: Arc<AtomicBool> = Arc::default();
        let (client, target) = (client.clone(), target.to_owned());
        let behind = Behind { client, target, empty: Arc::clone(&empty), refused: Arc::clone(&refused) };
        let app = axum::Router::new().fallback(pass).with_state(Arc::new(behind));
        let serving = tokio::spawn(async move {
            // It never ends by itself.
            let _ = axum::serve(listener, app).await;
        });
        Ok(Self { address, empty, refused, serving })
    }

    fn set(&self, ids: BTreeSet<i32>) {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = ids;
    }
}

impl Drop for Shim {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn pass(State(behind): State<Arc<Behind>>, request: Request) -> Response {
    if behind.empty.load(Ordering::Relaxed) {
        return (StatusCode::SERVICE_UNAVAILABLE, "not yet").into_response();
    }
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let asked = path.split('/').skip_while(|part| *part != "ids").nth(1).and_then(|id| id.split('?').next()?.parse().ok());
    if asked.is_some_and(|id| behind.refused.lock().unwrap_or_else(PoisonError::into_inner).contains(&id)) {
        let body = json!({ "error_code": 40301, "message": "this schema is not yours to read" });
        return (StatusCode::FORBIDDEN, axum::Json(body)).into_response();
    }
    match forward(&behind, &path, request).await {
        Ok(response) => response,
        Err(error) => (StatusCode::BAD_GATEWAY, format!("{error:#}")).into_response(),
    }
}

async fn forward(behind: &Behind, path: &str, request: Request) -> anyhow::Result<Response> {
    let (parts, body) = request.into_parts();
    let body: Bytes = axum::body::to_bytes(body, LARGEST).await?;
    let mut asked = behind.client.request(parts.method, format!("http://{}{path}", behind.target)).body(body);
    for name in [header::CONTENT_TYPE, header::ACCEPT, header::AUTHORIZATION] {
        if let Some(value) = parts.headers.get(&name) {
            asked = asked.header(name, value);
        }
    }
    let answer = asked.send().await?;
    let mut response = Response::builder().status(answer.status());
    if let Some(kind) = answer.headers().get(header::CONTENT_TYPE) {
        response = response.header(header::CONTENT_TYPE, kind);
    }
    Ok(response.body(Body::from(answer.bytes().await?))?)
}

/// The way to the registry: connections, and what the shim lets through.
pub struct Way {
    pub door: Arc<Door>,
    pub shim: Shim,
    pub strays: Arc<Strays>,
    /// What is heard by others, and a type that they know.
    pub topic: String,
    pub kind: &'static str,
    pub next: AtomicI32,
}

impl Way {
    /// The next id that is refused, of a schema that no registry has.
    pub fn first() -> AtomicI32 {
        AtomicI32::new(REFUSED)
    }
}

impl Subject for Way {
    fn strike(&self, harm: Harm) -> anyhow::Result<()> {
        if harm != Harm::RefuseOne {
            return self.door.strike(harm);
        }
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.shim.set([id].into());
        self.strays.of_schema(&self.topic, self.kind, id)
    }

    fn mend(&self, harm: Harm) -> anyhow::Result<()> {
        if harm != Harm::RefuseOne {
            return self.door.mend(harm);
        }
        self.shim.set(BTreeSet::new());
        Ok(())
    }
}

/// The registry itself, which holds its contents in memory.
pub struct Server {
    pub part: Part,
    /// Confluent's API, past all proxies.
    pub url: String,
    pub client: Client,
    /// What registers schemas when it starts.
    pub services: Vec<Arc<Process>>,
    /// Whether it is still to be filled: the way to it is shut.
    pub empty: Arc<AtomicBool>,
    /// How often it lost everything.
    pub losses: AtomicI32,
}

impl Subject for Server {
    fn strike(&self, harm: Harm) -> anyhow::Result<()> {
        if harm == Harm::LoseAll {
            self.empty.store(true, Ordering::Relaxed);
            return self.part.strike(Harm::Kill);
        }
        self.part.strike(harm)
    }

    fn mend(&self, harm: Harm) -> anyhow::Result<()> {
        self.part.mend(if harm == Harm::LoseAll { Harm::Kill } else { harm })?;
        if harm == Harm::LoseAll {
            let losses = self.losses.fetch_add(1, Ordering::Relaxed) + 1;
            tokio::runtime::Handle::current().block_on(self.use_up(losses.unsigned_abs() * IN_USE))?;
            self.empty.store(false, Ordering::Relaxed);
            for service in &self.services {
                service.kill();
                service.start()?;
            }
        }
        Ok(())
    }
}

impl Server {
    /// Registers so many schemas that nobody uses, and deletes them: their ids mean nothing, and are given to nobody again.
    async fn use_up(&self, ids: u32) -> anyhow::Result<()> {
        for n in 0..ids {
            let subject = format!("{}/subjects/filler-{n}", self.url);
            let schema = json!({ "type": "record", "name": format!("filler.F{n}"), "fields": [] }).to_string();
            let register = self.client.post(format!("{subject}/versions")).json(&json!({ "schema": schema }));
            let delete = [subject.clone(), format!("{subject}?permanent=true")].map(|url| self.client.delete(url));
            for request in std::iter::once(register).chain(delete) {
                let answer = request.timeout(ANSWER).send().await.context("using up the registry's ids")?;
                ensure!(answer.status().is_success(), "using up the registry's ids: {} of {}", answer.status(), answer.url());
            }
        }
        Ok(())
    }

    /// Whether it has lost everything in this run.
    pub fn lost(&self) -> bool {
        self.losses.load(Ordering::Relaxed) > 0
    }

    /// Whether it knows the schema of this id.
    pub async fn knows(&self, id: i32) -> anyhow::Result<bool> {
        let answer = self.client.get(format!("{}/schemas/ids/{id}", self.url)).timeout(ANSWER).send().await?;
        match answer.status() {
            StatusCode::OK => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            other => bail!("asking the registry for schema {id}: {other}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One schema is refused, all else goes through as it was asked and answered.
    #[tokio::test]
    async fn one_schema_is_refused_and_all_else_passes() {
        let registry = axum::Router::new().fallback(async |request: Request| {
            let text = format!("{} {}", request.method(), request.uri());
            let body = axum::body::to_bytes(request.into_body(), LARGEST).await.unwrap();
            (StatusCode::CREATED, [text.as_bytes(), b" ", &body].concat())
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move { axum::serve(listener, registry).await });
        let client = Client::new();
        let shim = Shim::open(&target, &client).await.unwrap();
        shim.set([7].into());
        let ask = async |path: &str| {
            let answer = client.post(format!("http://{}{path}", shim.address)).body("b").send().await.unwrap();
            (answer.status().as_u16(), answer.text().await.unwrap())
        };
        assert_eq!(ask("/api/schemas/ids/7?a=b").await.0, 403);
        assert_eq!(ask("/api/schemas/ids/77?a=b").await, (201, "POST /api/schemas/ids/77?a=b b".to_owned()));
        shim.set(BTreeSet::new());
        assert_eq!(ask("/api/schemas/ids/7").await, (201, "POST /api/schemas/ids/7 b".to_owned()));
        shim.empty.store(true, Ordering::Relaxed);
        assert_eq!(ask("/api/schemas/ids/7").await.0, 503, "one that would give ids away again is asked by nobody");
    }
}
