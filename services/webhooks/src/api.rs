//! The HTTP interface of webhooks: for who subscribes, and for who looks what became of messages.

mod views;

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRef, Path, Query, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use farandole::http::{self, Caller, JsonBody};
use farandole::table::Row as _;
use farandole::{Answer, Api, FieldError, Problem};
use secrecy::SecretString;
use serde::Deserialize;
use utoipa::{OpenApi, ToSchema};
use uuid::Uuid;

use crate::address::Rules;
use crate::endpoints::Stored;
use crate::id::Id;
use crate::kinds;
use crate::participant::{Command, Webhooks};
use crate::seal::{self, Sealer};
use crate::tables::{Queue, Subscription};
use views::{DeliveryPage, PendingDelivery, SubscriptionPage, SubscriptionView};

/// Things a page, unless told, and at most.
const PAGE: i64 = 50;
const MAX_PAGE: i64 = 200;

/// What the routes work with.
#[derive(Debug, Clone)]
struct Shared {
    api: Api<Webhooks>,
    rules: Rules,
    sealer: Option<Arc<Sealer>>,
}

impl FromRef<Shared> for Api<Webhooks> {
    fn from_ref(shared: &Shared) -> Self {
        shared.api.clone()
    }
}

/// The routes, apart from any socket. `endpoints` are found from then on.
pub fn routes(
    rules: Rules,
    sealer: Option<Arc<Sealer>>,
    endpoints: Stored,
) -> impl Fn(Api<Webhooks>) -> Router + Send + Sync + 'static {
    move |api| {
        if sealer.is_none() {
            tracing::error!("no key is set: nobody can subscribe, and nothing is sent; set `own.key_file`");
        }
        endpoints.on(&api.pool);
        Router::new()
            .route("/subscriptions", post(register).get(list))
            .route("/subscriptions/{subscription_id}", get(show).delete(remove))
            .route("/subscriptions/{subscription_id}/deliveries", get(deliveries))
            .route("/subscriptions/{subscription_id}/deliveries/{order_id}/{message_id}/retry", post(retry))
            .with_state(Shared { api, rules: rules.clone(), sealer: sealer.clone() })
    }
}

/// What the routes are, for programs.
pub fn openapi() -> utoipa::openapi::OpenApi {
    #[derive(OpenApi)]
    #[openapi(
        info(
            title = "webhooks",
            description = "Takes subscriptions to what becomes of orders, and reports which messages were delivered."
        ),
        paths(register, list, show, remove, deliveries, retry)
    )]
    struct Doc;
    Doc::openapi()
}

/// Who is to be told, and of what.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewSubscription {
    /// Where messages go: https, without user and fragment, 2048 bytes at most.
    url: String,
    /// `order.placed`, `order.confirmed`, `order.rejected`, `order.cancellation_requested`, `order.cancelled`, `order.progressed` or
    /// `order.completed`.
    types: Vec<String>,
    /// What messages are signed with: `whsec_` and base64 of 24 to 64 bytes. It is never given back.
    #[schema(value_type = String)]
    secret: SecretString,
}

/// Registers a subscriber. It can't be changed: register anew, and remove the old one.
#[utoipa::path(post, path = "/subscriptions", request_body = NewSubscription,
    params(("Idempotency-Key" = Option<String>, Header)),
    responses((status = 201, description = "Registered", body = SubscriptionView),
        (status = 409, description = "There are 100 already"),
        (status = 422, description = "A field is wrong; it is named"),
        (status = 503, description = "Secrets can't be kept at the moment")))]
async fn register(
    State(shared): State<Shared>,
    caller: Caller<Webhooks>,
    JsonBody(asked): JsonBody<NewSubscription>,
) -> Result<Answer, Problem> {
    let sealer = shared.sealer.as_ref().ok_or_else(|| Problem::unavailable("secrets can't be kept at the moment", 60))?;
    let mut wrong = Vec::new();
    let mut note = |field: &str, reason: String| wrong.push(FieldError { field: field.to_owned(), reason });
    let url = shared.rules.read(&asked.url).map_err(|reason| note("url", reason)).ok();
    let known = format!("has to be of {}", kinds::ALL.join(", "));
    if asked.types.is_empty() {
        note("types", format!("must not be empty; each {known}"));
    }
    for (i, kind) in asked.types.iter().enumerate() {
        if !kinds::ALL.contains(&kind.as_str()) {
            note(&format!("types[{i}]"), known.clone());
        }
    }
    let secret = seal::secret(&asked.secret).map_err(|reason| note("secret", reason.to_owned())).ok();
    let (Some(url), Some(secret), true) = (url, secret, wrong.is_empty()) else { return Err(Problem::invalid(wrong)) };
    let secret = sealer.seal(url.as_str(), &secret);
    let secret = secret.ok_or_else(|| Problem::new(500, "cannot-be-sealed", "the secret can't be kept"))?;
    // Each once, in one order, so that the same request is the same command.
    let types = kinds::ALL.iter().filter(|kind| asked.types.iter().any(|asked| asked == **kind));
    let types = types.map(|kind| (*kind).to_owned()).collect();
    caller.submit(Id::Subscriptions, Command::Register { url: url.into(), types, secret }).await
}

/// Which page.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    limit: Option<i64>,
    after: Option<Uuid>,
}

/// All subscriptions, those that were removed as well, newest first.
#[utoipa::path(get, path = "/subscriptions",
    params(("limit" = Option<i64>, Query, description = "1 to 200, 50 unless said"),
        ("after" = Option<Uuid>, Query, description = "`next` of the page before")),
    responses((status = 200, body = SubscriptionPage)))]
async fn list(
    State(api): State<Api<Webhooks>>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Json<SubscriptionPage>, Problem> {
    let wanted = http::query(wanted)?;
    let limit = http::limit(wanted.limit, PAGE, MAX_PAGE)?;
    let rows = sqlx::query(
        "select subscription_id, url, types, '' as secret, slot, registered_at, removed_at
         from subscriptions where subscription_id < $1 order by subscription_id desc limit $2",
    );
    let rows = rows.bind(wanted.after.unwrap_or(Uuid::max())).bind(limit + 1).fetch_all(&api.pool).await;
    let mut found = Vec::new();
    for row in &rows.map_err(http::database)? {
        found.push(SubscriptionView::of(Subscription::from_row(row).map_err(http::database)?));
    }
    Ok(Json(SubscriptionPage::of(found, limit)))
}

/// One subscription.
#[utoipa::path(get, path = "/subscriptions/{subscription_id}", params(("subscription_id" = Uuid, Path)),
    responses((status = 200, body = SubscriptionView), (status = 404, description = "There is none")))]
async fn show(State(api): State<Api<Webhooks>>, Path(id): Path<String>) -> Result<Json<SubscriptionView>, Problem> {
    let id = http::uuid(&id, "a subscription's")?;
    let row = sqlx::query(
        "select subscription_id, url, types, '' as secret, slot, registered_at, removed_at
         from subscriptions where subscription_id = $1",
    );
    let row = row.bind(id).fetch_optional(&api.pool).await.map_err(http::database)?;
    let row = row.ok_or_else(|| Problem::not_found(format!("there is no subscription {id}")))?;
    Ok(Json(SubscriptionView::of(Subscription::from_row(&row).map_err(http::database)?)))
}

/// Removes a subscription. Its secret is forgotten, and what is pending is dropped within minutes; an attempt that is under way may still
/// arrive.
#[utoipa::path(delete, path = "/subscriptions/{subscription_id}",
    params(("subscription_id" = Uuid, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 204, description = "It is removed, now or already"), (status = 404, description = "There is none")))]
async fn remove(Path(id): Path<String>, caller: Caller<Webhooks>) -> Result<Answer, Problem> {
    let subscription_id = http::uuid(&id, "a subscription's")?;
    caller.submit(Id::Subscriptions, Command::Remove { subscription_id }).await
}

/// Which deliveries.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WantedDeliveries {
    state: Option<Wants>,
    limit: Option<i64>,
    after: Option<Uuid>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Wants {
    Pending,
    Dead,
}

/// What went to a subscriber, by order, newest order first.
#[utoipa::path(get, path = "/subscriptions/{subscription_id}/deliveries",
    params(("subscription_id" = Uuid, Path),
        ("state" = Option<String>, Query, description = "`dead`: only what was given up. `pending`: only what waits or is sent"),
        ("limit" = Option<i64>, Query, description = "Orders: 1 to 200, 50 unless said"),
        ("after" = Option<Uuid>, Query, description = "`next` of the page before")),
    responses((status = 200, body = DeliveryPage)))]
async fn deliveries(
    State(api): State<Api<Webhooks>>,
    Path(id): Path<String>,
    wanted: Result<Query<WantedDeliveries>, QueryRejection>,
) -> Result<Json<DeliveryPage>, Problem> {
    let id = http::uuid(&id, "a subscription's")?;
    let wanted = http::query(wanted)?;
    let limit = http::limit(wanted.limit, PAGE, MAX_PAGE)?;
    // Three, so that each is planned with the index that it has.
    let sql = match wanted.state {
        None => {
            "select order_id, subscription_id, deliveries, pending, dead
             from queues where subscription_id = $1 and order_id < $2 order by order_id desc limit $3"
        }
        Some(Wants::Pending) => {
            "select order_id, subscription_id, deliveries, pending, dead
             from queues where pending and subscription_id = $1 and order_id < $2 order by order_id desc limit $3"
        }
        Some(Wants::Dead) => {
            "select order_id, subscription_id, deliveries, pending, dead
             from queues where dead and subscription_id = $1 and order_id < $2 order by order_id desc limit $3"
        }
    };
    let rows = sqlx::query(sql).bind(id).bind(wanted.after.unwrap_or(Uuid::max())).bind(limit + 1).fetch_all(&api.pool).await;
    let mut found = Vec::new();
    for row in &rows.map_err(http::database)? {
        found.push(Queue::from_row(row).map_err(http::database)?);
    }
    let is_wanted = |state: &crate::tables::State| match wanted.state {
        None => true,
        Some(Wants::Pending) => state.is_pending(),
        Some(Wants::Dead) => matches!(state, crate::tables::State::Dead { .. }),
    };
    Ok(Json(DeliveryPage::of(found, limit, is_wanted)))
}

/// Has a dead message tried again, for another day. It goes behind what waits of its order.
#[utoipa::path(post, path = "/subscriptions/{subscription_id}/deliveries/{order_id}/{message_id}/retry",
    params(("subscription_id" = Uuid, Path), ("order_id" = Uuid, Path), ("message_id" = String, Path),
        ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 202, description = "Tried again", body = PendingDelivery),
        (status = 200, description = "It is pending already", body = PendingDelivery),
        (status = 404, description = "No such message"),
        (status = 409, description = "It was delivered, or the subscription was removed")))]
async fn retry(
    Path((subscription_id, order_id, message_id)): Path<(String, String, String)>,
    caller: Caller<Webhooks>,
) -> Result<Answer, Problem> {
    let (subscription_id, order_id) = (http::uuid(&subscription_id, "a subscription's")?, http::uuid(&order_id, "an order's")?);
    caller.submit(Id::Order(order_id), Command::Retry { subscription_id, message_id }).await
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_committed_description_is_the_one_that_is_served() {
        let text = serde_json::to_string_pretty(&super::openapi()).unwrap() + "\n";
        farandole::testing::committed(concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json"), &text);
    }
}
