//! Whether the service can do its work, by named checks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;

/// What one part says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Which part.
    pub name: &'static str,
    /// Whether it is well.
    pub ok: bool,
    /// Whether the service has to be left alone while it isn't.
    pub required: bool,
    /// What is wrong, or what it waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

type Probe = Box<dyn Fn() -> Option<String> + Send + Sync>;

enum State {
    Said(Option<String>),
    Asked { required: bool, probe: Probe },
}

/// The checks of a service. Clones are the same.
#[derive(Clone, Default)]
pub struct Checks(Arc<Mutex<BTreeMap<&'static str, State>>>);

impl std::fmt::Debug for Checks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.list()).finish()
    }
}

impl Checks {
    /// Checks that wait for their part to begin.
    pub fn waiting(names: &[&'static str]) -> Self {
        let checks = Self::default();
        for name in names {
            checks.failing(name, "not yet");
        }
        checks
    }

    /// This part is well.
    pub fn ok(&self, name: &'static str) {
        self.set(name, State::Said(None));
    }

    /// This part can't do its work, for this reason.
    pub fn failing(&self, name: &'static str, why: impl Into<String>) {
        self.set(name, State::Said(Some(why.into())));
    }

    /// From now on this part is asked each time; it answers with what is wrong.
    pub fn probe(&self, name: &'static str, required: bool, probe: impl Fn() -> Option<String> + Send + Sync + 'static) {
        self.set(name, State::Asked { required, probe: Box::new(probe) });
    }

    fn set(&self, name: &'static str, state: State) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name, state);
    }

    /// All of them, by name.
    pub fn list(&self) -> Vec<Check> {
        let states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let check = |(name, state): (&&'static str, &State)| {
            let (required, why) = match state {
                State::Said(why) => (true, why.clone()),
                State::Asked { required, probe } => (*required, probe()),
            };
            Check { name, ok: why.is_none(), required, why }
        };
        states.iter().map(check).collect()
    }

    /// Whether every required check is well.
    pub fn ready(&self) -> bool {
        self.list().iter().all(|c| c.ok || !c.required)
    }
}

impl IntoResponse for &Checks {
    fn into_response(self) -> Response {
        let checks = self.list();
        let ready = checks.iter().all(|c| c.ok || !c.required);
        let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        (status, Json(json!({ "ready": ready, "checks": checks }))).into_response()
    }
}
