//! An order's events as they happen.

use std::time::Duration;

use reqwest::{Response, StatusCode};
use serde_json::Value;

use crate::kit::{self, Own};

/// How long the next event may take; generous, since it only bounds failures.
const PATIENCE: Duration = Duration::from_secs(60);

/// A stream of server-sent events.
struct Events {
    response: Response,
    text: String,
}

impl Events {
    async fn of(own: &Own, order: &str, after: Option<&str>) -> Result<Self, StatusCode> {
        // Without a time limit: a stream has none.
        let request = reqwest::Client::new().get(format!("{}/orders/{order}/events", own.shop.url("orders")));
        let request = after.into_iter().fold(request, |request, id| request.header("Last-Event-ID", id));
        let response = request.send().await.unwrap();
        match response.status() {
            StatusCode::OK => {
                assert_eq!(response.headers()["content-type"], "text/event-stream");
                Ok(Self { response, text: String::new() })
            }
            status => Err(status),
        }
    }

    /// The next event: id, name, data; none at the end of the stream. Comments keep it alive and say nothing.
    async fn next(&mut self) -> Option<(String, String, Value)> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().to_owned();
                let (id, name, data) = (field("id: "), field("event: "), field("data: "));
                self.text = rest.to_owned();
                if !name.is_empty() {
                    return Some((id, name, serde_json::from_str(&data).unwrap()));
                }
                continue;
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk()).await.expect("an event in time").unwrap()?;
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// The names of all that comes, with their ids, to the end of the stream.
    async fn rest(mut self) -> Vec<String> {
        let mut all = Vec::new();
        while let Some((id, name, data)) = self.next().await {
            let what = data["step"].as_str().or(data["reason"].as_str()).map_or(String::new(), |word| format!(" {word}"));
            all.push(format!("{id} {name}{what}").trim().to_owned());
        }
        all
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_followed_to_its_end() {
    let own = kit::open().await;
    own.receive("11111", 5).await;
    let order = own.place("11111", 1, "tok_a").await;
    let mut events = Events::of(&own, &order, None).await.unwrap();
    let (id, name, data) = events.next().await.unwrap();
    assert_eq!((id.as_str(), name.as_str(), data["type"].as_str()), ("1", "OrderPlaced", Some("OrderPlaced")));
    // From here on they come while one waits.
    assert_eq!(events.next().await.unwrap().1, "OrderConfirmed");
    let (id, _, data) = events.next().await.unwrap();
    assert_eq!((id.as_str(), data["step"].as_str()), ("3", Some("PREPARED")));
    let mut second = Events::of(&own, &order, Some("2")).await.unwrap();
    assert_eq!(second.next().await.unwrap().0, "3", "goes on after the one it had");

    let (status, answer) = own.post("orders", &format!("/orders/{order}/cancel"), None, "{}").await;
    assert_eq!(status, 202, "{answer}");
    let rest = ["4 OrderCancellationRequested", "5 OrderCancelled", "end CUSTOMER_REQUEST"];
    assert_eq!(events.rest().await, rest, "and ends");
    assert_eq!(second.rest().await, rest);

    // Who has missed the end gets it; who has it is told not to come again.
    assert_eq!(Events::of(&own, &order, Some("4")).await.unwrap().rest().await, ["5 OrderCancelled", "end CUSTOMER_REQUEST"]);
    assert_eq!(Events::of(&own, &order, Some("5")).await.err(), Some(StatusCode::NO_CONTENT));
    assert_eq!(Events::of(&own, &order, Some("five")).await.err(), Some(StatusCode::BAD_REQUEST));
    assert_eq!(Events::of(&own, &uuid::Uuid::nil().to_string(), None).await.err(), Some(StatusCode::NOT_FOUND));
}
