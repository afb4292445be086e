//! Requests to a stand-in, for the tests of each: they have one interface.

use reqwest::header::HeaderMap;
use reqwest::{Client, Method};
use serde_json::Value;

/// An answer: status, body, and whether it says to be told again.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
    pub replayed: bool,
    headers: HeaderMap,
}

impl Answer {
    /// A text of its body.
    pub fn text(&self, field: &str) -> String {
        self.body[field].as_str().unwrap_or_else(|| panic!("no {field} in {self:?}")).to_owned()
    }

    pub fn code(&self) -> (u16, &str) {
        (self.status, self.body["code"].as_str().unwrap_or(""))
    }

    /// One of its headers; empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// A client of one stand-in, wherever it runs.
#[derive(Clone)]
pub struct Caller {
    client: Client,
    pub base: String,
}

impl Caller {
    pub fn new(base: impl Into<String>) -> Self {
        Self { client: Client::new(), base: base.into() }
    }

    pub async fn send(&self, method: Method, path: &str, key: &str, body: &str) -> Answer {
        let mut request = self.client.request(method, format!("{}{path}", self.base)).body(body.to_owned());
        if !key.is_empty() {
            request = request.header("Idempotency-Key", key);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let replayed = headers.get("idempotent-replayed").is_some_and(|value| value == "true");
        Answer { status, body: response.json().await.unwrap_or(Value::Null), replayed, headers }
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
}
