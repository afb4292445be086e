//! The registry's HTTP interface, Confluent's as Apicurio speaks it too.
//!
//! A schema is looked up before anything is written: a registry that gives its clients no other right needs to give no other, and
//! two replicas that start at once for the first time end up with the same id, whichever of them was first.

use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::ground::trouble::{self, Trouble};
use crate::wire::codec::Error;
use crate::wire::codec::schema::same;
use crate::wire::settings::{self, Register};

/// How long one call may take, connecting included.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The longest answer that is read.
const LARGEST_ANSWER: usize = 2 << 20;
/// Versions of a subject that are looked at.
const VERSIONS: usize = 20;
/// `error_code` of a subject that isn't there, and of a schema; any other 404 is somebody else's.
const SUBJECT_NOT_FOUND: u64 = 40401;
const SCHEMA_NOT_FOUND: u64 = 40403;

/// A registry's address, and a client for it.
pub(super) struct Registry {
    url: String,
    user: Option<(String, SecretString)>,
    register: Register,
    /// What a new subject is told to demand.
    compatibility: Option<&'static str>,
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
    pub(super) fn new(config: &settings::Registry) -> Self {
        // Not the registry's answer, but somebody's in between.
        let mut builder = Client::builder().timeout(TIMEOUT).redirect(reqwest::redirect::Policy::none());
        if config.url.starts_with("http://") {
            // Loads no root certificates: they cost memory, and an image without any would fail here.
            builder = builder.tls_certs_only([]);
        }
        Self {
            url: config.url.trim_end_matches('/').to_owned(),
            user: config.user.clone().map(|user| (user, config.password.clone())),
            register: config.register,
            compatibility: config.compatibility.word(),
            client: builder.build().map_err(|e| e.to_string()),
        }
    }

    /// The id of `schema` under `subject`; registers it if it isn't there and that may be done. The same schema again gives the same id.
    pub(super) async fn id(&self, subject: &str, schema: &str) -> Result<i32, Error> {
        if let Some(id) = self.find(subject, schema).await? {
            return Ok(id);
        }
        if self.register == Register::Lookup {
            if let Some(id) = self.alike(subject, schema).await? {
                return Ok(id);
            }
            return Err(not_registered(subject, schema));
        }
        // First: Confluent's registry and Apicurio take it for a subject that doesn't exist yet.
        self.configure(subject).await?;
        let what = format!("registering {subject}");
        // A conflict may be with another replica's first start: then the schema is there now, or is taken the second time.
        for last in [false, true] {
            let body = Some(json!({ "schema": schema }));
            let answer = self.call(&what, Method::POST, &["subjects", subject, "versions"], body).await?;
            if answer.status != StatusCode::CONFLICT {
                let Registered { id } = answer.ok(&what).map_err(hinted)?.json(&what)?;
                return Ok(id);
            }
            if let Some(id) = self.find(subject, schema).await? {
                return Ok(id);
            }
            if last {
                return Err(Error::Incompatible { subject: subject.into(), message: answer.message() });
            }
        }
        Err(not_registered(subject, schema))
    }

    /// The id of `schema` if `subject` holds it.
    async fn find(&self, subject: &str, schema: &str) -> Result<Option<i32>, Error> {
        let what = format!("looking for {subject}");
        let answer = self.call(&what, Method::POST, &["subjects", subject], Some(json!({ "schema": schema }))).await?;
        if answer.is_nothing() {
            return Ok(None);
        }
        let Registered { id } = answer.ok(&what)?.json(&what)?;
        Ok(Some(id))
    }

    /// The id of a version of `subject` whose values are the same bytes: who registers may say other things about the fields, which makes
    /// another schema to the registry. The newest ones are looked at.
    async fn alike(&self, subject: &str, schema: &str) -> Result<Option<i32>, Error> {
        #[derive(Deserialize)]
        struct Version {
            id: i32,
            schema: String,
        }
        let what = format!("looking for versions of {subject}");
        let answer = self.call(&what, Method::GET, &["subjects", subject, "versions"], None).await?;
        if answer.is_nothing() {
            return Ok(None);
        }
        let mut versions: Vec<i32> = answer.ok(&what)?.json(&what)?;
        versions.sort_unstable_by(|a, b| b.cmp(a));
        for version in versions.into_iter().take(VERSIONS) {
            let path = ["subjects", subject, "versions", &version.to_string()];
            let found: Version = self.call(&what, Method::GET, &path, None).await?.ok(&what)?.json(&what)?;
            if same(&found.schema, schema) {
                return Ok(Some(found.id));
            }
        }
        Ok(None)
    }

    /// The schema with this id.
    pub(super) async fn schema(&self, id: i32) -> Result<Found, Error> {
        let what = format!("looking up schema {id}");
        let answer = self.call(&what, Method::GET, &["schemas", "ids", &id.to_string()], None).await?;
        if answer.is_nothing() {
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

    /// Has `subject` demand what is configured.
    async fn configure(&self, subject: &str) -> Result<(), Error> {
        let Some(wanted) = self.compatibility else { return Ok(()) };
        if self.demands(subject, wanted).await? {
            return Ok(());
        }
        let what = format!("configuring {subject}");
        let answer = self.call(&what, Method::PUT, &["config", subject], Some(json!({ "compatibility": wanted }))).await?;
        // Apicurio's word when another replica has configured it meanwhile.
        if answer.status == StatusCode::CONFLICT && self.demands(subject, wanted).await? {
            return Ok(());
        }
        answer.ok(&what).map(drop).map_err(hinted)
    }

    /// Whether `subject` has been told this already. Who may not ask may be allowed to tell.
    async fn demands(&self, subject: &str, wanted: &str) -> Result<bool, Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Configured {
            compatibility_level: String,
        }
        let what = format!("reading the configuration of {subject}");
        let answer = self.call(&what, Method::GET, &["config", subject], None).await?;
        Ok(answer.status.is_success() && answer.json::<Configured>(&what).is_ok_and(|c| c.compatibility_level == wanted))
    }

    async fn call(&self, what: &str, method: Method, path: &[&str], body: Option<Value>) -> Result<Answer, Error> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| Error::Registry { what: what.into(), source };
        let client = self.client.as_ref().map_err(|e| failed(e.clone().into()))?;
        let mut url = reqwest::Url::parse(&self.url).map_err(|e| failed(e.into()))?;
        url.path_segments_mut().map_err(|()| failed("its address isn't http".into()))?.extend(path);
        let request: RequestBuilder = client.request(method, url);
        let request = if let Some(body) = &body { request.json(body) } else { request };
        let request = match &self.user {
            Some((user, password)) => request.basic_auth(user, Some(password.expose_secret())),
            None => request,
        };
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

fn not_registered(subject: &str, schema: &str) -> Error {
    // As it is sent to a registry: in one line, its fields in their order.
    let in_one_line = schema.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    Error::NotRegistered { subject: subject.into(), schema: in_one_line }
}

#[derive(Deserialize)]
struct Registered {
    id: i32,
}

/// A refusal to write, with what can be done about it from here.
fn hinted(error: Error) -> Error {
    match error {
        Error::Refused { what, status, message } => {
            let message = format!(
                "{message}; if schemas are registered elsewhere, `registry.register = \"lookup\"` takes what is there, and \
                 where subjects may not be configured, `registry.compatibility = \"as-is\"` leaves that alone"
            );
            Error::Refused { what, status, message }
        }
        other => other,
    }
}

impl Answer {
    /// The registry's own word that there is no such thing.
    fn is_nothing(&self) -> bool {
        self.status == StatusCode::NOT_FOUND && matches!(self.error_code(), Some(SUBJECT_NOT_FOUND | SCHEMA_NOT_FOUND))
    }

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
