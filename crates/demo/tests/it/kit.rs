//! A shop of one's own on the shared stage.

use std::collections::BTreeMap;
use std::future::Future;
use std::process::Stdio;
use std::time::{Duration, Instant};

use demo::shop::{CORE, Parts, Shop};
use reqwest::StatusCode;
use serde_json::{Value, json};
use stage::Stage;
use tempfile::TempDir;

/// How long anything may take to come true; generous, since it only bounds failures.
const PATIENCE: Duration = Duration::from_secs(60);
/// Where parcels wait before they are handed over.
pub const DISPATCH: (&str, &str) = ("shipping", "FARANDOLE_OWN_DISPATCH_AFTER");

/// A shop, its folder, and a client.
pub struct Own {
    pub shop: Shop,
    pub client: reqwest::Client,
    folder: TempDir,
}

/// What a failed test leaves: the last that its services said.
impl Drop for Own {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(self.shop.alarms().unwrap().is_empty(), "a watchdog acted: {:?}", self.shop.alarms());
        } else {
            for service in CORE {
                let log = self.said(service);
                let lines: Vec<&str> = log.lines().collect();
                println!("---- {service}\n{}", lines[lines.len().saturating_sub(40)..].join("\n"));
            }
        }
    }
}

/// Databases and topics of a shop of one's own; nothing is started.
pub async fn parts() -> Parts {
    let stage = Stage::shared();
    let sandbox = stage.sandbox().await.unwrap();
    let mut databases = BTreeMap::new();
    for service in CORE {
        databases.insert(service, sandbox.database(service).await.unwrap());
    }
    Parts::on(stage, sandbox.prefix.clone(), databases)
}

/// A shop that isn't started yet. Unless it is told otherwise its parcels stay in the house, so that what is confirmed stays so.
pub fn closed(parts: Parts) -> Own {
    let folder = tempfile::tempdir().unwrap();
    let mut shop = Shop::on(parts, folder.path().to_owned()).unwrap();
    shop.settings.push((DISPATCH.0, DISPATCH.1, "1h".to_owned()));
    let client = reqwest::Client::builder().timeout(Duration::from_secs(15)).build().unwrap();
    Own { shop, client, folder }
}

/// A shop that is ready.
pub async fn open() -> Own {
    open_with(&[]).await
}

/// A shop that is ready, and hands a parcel over so long after its order was confirmed.
pub async fn open_shipping(after: &str) -> Own {
    open_with(&[(DISPATCH.0, DISPATCH.1, after)]).await
}

/// A shop that is ready, with these settings: service, variable, value.
pub async fn open_with(settings: &[(&'static str, &'static str, &str)]) -> Own {
    let mut own = closed(parts().await);
    own.shop.settings.extend(settings.iter().map(|(service, name, value)| (*service, *name, (*value).to_owned())));
    own.shop.start_standins().await.unwrap();
    own.start().await;
    own
}

impl Own {
    /// Runs a verb of the orders service's binary: whether it went well, what it printed, what it said.
    pub async fn tell(&self, args: &[&str]) -> (bool, String, String) {
        let out = tokio::time::timeout(PATIENCE, self.orders(args).output()).await.unwrap().unwrap();
        (out.status.success(), String::from_utf8(out.stdout).unwrap(), String::from_utf8(out.stderr).unwrap())
    }

    /// What a service's binary says, and its exit code.
    pub async fn ask(&self, service: &str, args: &[&str]) -> (Option<i32>, String, String) {
        let mut command = tokio::process::Command::new(self.shop.bin(service));
        command.args(args).envs(self.shop.env(service, 0).unwrap()).kill_on_drop(true);
        let out = tokio::time::timeout(PATIENCE, command.output()).await.unwrap().unwrap();
        (out.status.code(), String::from_utf8(out.stdout).unwrap(), String::from_utf8(out.stderr).unwrap())
    }

    /// The same with nobody who reads what it prints, or no room for it: exit code and what is said.
    pub async fn tell_nobody(&self, args: &[&str], stdout: Stdio) -> (Option<i32>, String) {
        let mut child = self.orders(args).stdout(stdout).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let out = tokio::time::timeout(PATIENCE, child.wait_with_output()).await.unwrap().unwrap();
        (out.status.code(), String::from_utf8(out.stderr).unwrap())
    }

    fn orders(&self, args: &[&str]) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(self.shop.bin("orders"));
        command
            .args(args)
            .envs(self.shop.env("orders", 0).unwrap())
            .env("USER", "ann")
            .env_remove("SUDO_USER")
            .kill_on_drop(true);
        command
    }

    /// The log of a service.
    pub fn said(&self, service: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(format!("{service}.log"))).unwrap_or_default()
    }

    /// Starts the services and waits for them.
    pub async fn start(&self) {
        CORE.iter().for_each(|service| self.shop.spawn(service).unwrap());
        for service in CORE {
            self.shop.ready(service).await.unwrap();
        }
    }

    pub async fn post(
        &self,
        service: &str,
        path: &str,
        key: Option<&str>,
        body: impl Into<reqwest::Body>,
    ) -> (StatusCode, Value) {
        let mut request =
            self.client.post(format!("{}{path}", self.shop.url(service))).header("Content-Type", "application/json").body(body);
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        let answer = request.send().await.unwrap();
        (answer.status(), answer.json().await.unwrap_or(Value::Null))
    }

    pub async fn get(&self, service: &str, path: &str) -> (StatusCode, Value) {
        let answer = self.client.get(format!("{}{path}", self.shop.url(service))).send().await.unwrap();
        (answer.status(), answer.json().await.unwrap_or(Value::Null))
    }

    /// Sets the faults of what is outside, acquirer or carrier; none with `{}`.
    pub async fn faults(&self, of: &str, faults: Value) {
        let request = self.client.put(format!("{}/faults", self.shop.url(of)));
        let answer = request.header("Content-Type", "application/json").body(faults.to_string()).send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    }

    pub async fn receive(&self, sku: &str, quantity: i64) {
        let (status, answer) =
            self.post("inventory", "/receipts", None, json!({ "sku": sku, "quantity": quantity }).to_string()).await;
        assert!(status.is_success(), "{status} {answer}");
    }

    /// Places an order and gives its id.
    pub async fn place(&self, sku: &str, quantity: i64, card: &str) -> String {
        self.place_of(order(sku, quantity, card)).await
    }

    /// Places an order of this customer, whose name says what becomes of the parcel.
    pub async fn place_for(&self, customer: &str, sku: &str, quantity: i64) -> String {
        let mut order = order(sku, quantity, "tok_a");
        order["customer"] = customer.into();
        self.place_of(order).await
    }

    async fn place_of(&self, order: Value) -> String {
        let (status, answer) = self.post("orders", "/orders", None, order.to_string()).await;
        assert_eq!(status, 201, "{answer}");
        answer["order_id"].as_str().unwrap().to_owned()
    }

    /// Waits until the order is in `state`, and gives it. One that is completed has been confirmed; one that has ended otherwise isn't
    /// waited for.
    pub async fn until(&self, order: &str, state: &str) -> Value {
        eventually(&format!("order {order} to be {state}"), async || {
            let (_, body) = self.get("orders", &format!("/orders/{order}")).await;
            let is = body["state"].as_str().unwrap_or_default();
            let was = state == "confirmed" && is == "completed";
            let has_ended = ["rejected", "cancelled", "completed"].contains(&is);
            assert!(is == state || was || !has_ended, "waiting for {state}: {body}");
            (is == state || was).then_some(body)
        })
        .await
    }

    /// Waits until a service says of the order's payment or parcel that it is in `state`, and gives it.
    pub async fn until_at(&self, service: &str, order: &str, state: &str) -> Value {
        let path = if service == "payments" { "payments" } else { "shipments" };
        eventually(&format!("{service} to say that order {order} is {state}"), async || {
            let (_, body) = self.get(service, &format!("/{path}/{order}")).await;
            (body["state"] == state).then_some(body)
        })
        .await
    }

    /// Stock of a SKU: received, and reserved in the house.
    pub async fn stock(&self, sku: &str) -> (i64, i64) {
        let pool = self.shop.pool("inventory").await.unwrap();
        let row =
            sqlx::query_as("select received, reserved from stock where sku = $1").bind(sku).fetch_optional(&pool).await.unwrap();
        pool.close().await;
        row.unwrap_or((0, 0))
    }
}

/// An order of one line.
pub fn order(sku: &str, quantity: i64, card: &str) -> Value {
    json!({ "customer": "c1", "card_token": card, "currency": "GBP", "lines": [{ "sku": sku, "quantity": quantity, "unit_price": 250 }] })
}

/// Asks until the answer is there; bounded.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < until, "waited {PATIENCE:?} for {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
