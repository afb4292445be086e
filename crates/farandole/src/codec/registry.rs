//! The registry's HTTP interface, Confluent's as Apicurio speaks it too: three calls.

use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Error;
use crate::trouble::{self, Trouble};

/// How long one call may take, connecting included.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The longest answer that is read.
const LARGEST_ANSWER: usize = 2 << 20;
/// What the registry is told to demand of every subject: all versions read one another.
const COMPATIBILITY: &str = "FULL_TRANSITIVE";
/// `error_code` of an id that no schema has; any other 404 is somebody else's.
const SCHEMA_NOT_FOUND: u64 = 40403;

/// A registry's address, and a client for it.
pub(super) struct Registry {
    url: String,
    /// The reason why there is none; said at the first call, so that making a codec can't fail.
    client: Result<Client, String>,
}

/// What the registry holds under an id.
pub(super) enum Found {
    /// An Avro schema.
    Avro(String),
    /// Something that this crate doesn't read, and why.
    Foreign(String),
    Nothing,
}

struct Answer {
    status: StatusCode,
    body: Vec<u8>,
}

impl Registry {
    pub(super) fn new(url: &str) -> Self {
        // Not the registry's answer, but somebody's in between.
        let mut builder = Client::builder().timeout(TIMEOUT).redirect(reqwest::redirect::Policy::none());
        if url.starts_with("http://") {
            // Loads no root certificates: they cost memory, and an image without any would fail here.
            builder = builder.tls_certs_only([]);
        }
        Self { url: url.trim_end_matches('/').to_owned(), client: builder.build().map_err(|e| e.to_string()) }
    }

    /// Registers `schema` under `subject`, which then demands [`COMPATIBILITY`]. The same schema again gives the same id.
    pub(super) async fn register(&self, subject: &str, schema: &str) -> Result<i32, Error> {
        // First: Confluent's registry and Apicurio take it for a subject that doesn't exist yet.
        self.configure(subject).await?;
        let what = format!("registering {subject}");
        let answer =
            self.call(&what, Method::POST, &["subjects", subject, "versions"], Some(json!({ "schema": schema }))).await?;
        if answer.status == StatusCode::CONFLICT {
            return Err(Error::Incompatible { subject: subject.into(), message: answer.message() });
        }
        #[derive(Deserialize)]
        struct Registered {
            id: i32,
        }
        let Registered { id } = answer.ok(&what)?.json(&what)?;
        Ok(id)
    }

    /// The schema with this id.
    pub(super) async fn schema(&self, id: i32) -> Result<Found, Error> {
        let what = format!("looking up schema {id}");
        let answer = self.call(&what, Method::GET, &["schemas", "ids", &id.to_string()], None).await?;
        if answer.status == StatusCode::NOT_FOUND && answer.error_code() == Some(SCHEMA_NOT_FOUND) {
            return Ok(Found::Nothing);
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Stored {
            schema: String,
            schema_type: Option<String>,
            #[serde(default)]
            references: Option<Vec<Value>>,
        }
        let stored: Stored = answer.ok(&what)?.json(&what)?;
        Ok(match stored {
            Stored { schema_type: Some(other), .. } if other != "AVRO" => Found::Foreign(format!("it is {other}, not Avro")),
            Stored { references: Some(r), .. } if !r.is_empty() => Found::Foreign("it refers to other schemas".into()),
            Stored { schema, .. } => Found::Avro(schema),
        })
    }

    async fn configure(&self, subject: &str) -> Result<(), Error> {
        let what = format!("configuring {subject}");
        let answer = self.call(&what, Method::PUT, &["config", subject], Some(json!({ "compatibility": COMPATIBILITY }))).await?;
        answer.ok(&what).map(drop)
    }

    async fn call(&self, what: &str, method: Method, path: &[&str], body: Option<Value>) -> Result<Answer, Error> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| Error::Registry { what: what.into(), source };
        let client = self.client.as_ref().map_err(|e| failed(e.clone().into()))?;
        let mut url = reqwest::Url::parse(&self.url).map_err(|e| failed(e.into()))?;
        url.path_segments_mut().map_err(|()| failed("its address isn't http".into()))?.extend(path);
        let request: RequestBuilder = client.request(method, url);
        let request = if let Some(body) = &body { request.json(body) } else { request };
        // The address may hold a password.
        let mut response = request.send().await.map_err(|e| failed(e.without_url().into()))?;
        let (status, mut body) = (response.status(), Vec::new());
        while let Some(chunk) = response.chunk().await.map_err(|e| failed(e.without_url().into()))? {
            if body.len() + chunk.len() > LARGEST_ANSWER {
                return Err(failed(format!("its answer is longer than {LARGEST_ANSWER} bytes").into()));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, body })
    }
}

impl Answer {
    /// Itself when the registry did as asked.
    fn ok(self, what: &str) -> Result<Self, Error> {
        let (status, code) = (self.status.as_u16(), self.error_code());
        if self.status.is_success() {
            return Ok(self);
        }
        match trouble::registry(status, code) {
            // Of somebody in between, or while the registry is starting.
            Trouble::Dependency => Err(self.failing(what)),
            _ => Err(Error::Refused { what: what.into(), status, message: self.message() }),
        }
    }

    fn failing(&self, what: &str) -> Error {
        let reason = format!("status {}: {}", self.status.as_u16(), self.message());
        Error::Registry { what: what.into(), source: reason.into() }
    }

    fn json<T: for<'de> Deserialize<'de>>(&self, what: &str) -> Result<T, Error> {
        serde_json::from_slice(&self.body).map_err(|e| Error::Registry { what: what.into(), source: e.into() })
    }

    fn error_code(&self) -> Option<u64> {
        serde_json::from_slice::<Value>(&self.body).ok()?.get("error_code")?.as_u64()
    }

    /// The registry's words, or the beginning of whatever it sent.
    fn message(&self) -> String {
        let value = serde_json::from_slice::<Value>(&self.body).unwrap_or_default();
        let text = value.get("message").or_else(|| value.get("detail")).and_then(Value::as_str).map(str::to_owned);
        let text = text.unwrap_or_else(|| String::from_utf8_lossy(&self.body).into_owned());
        text.chars().take(2000).collect()
    }
}
