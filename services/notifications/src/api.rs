//! The HTTP interface of notifications.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use farandole::http::{self, Caller};
use farandole::table::Row as _;
use farandole::{Answer, Api, Problem};
use serde::{Deserialize, Serialize};
use utoipa::{OpenApi, ToSchema};
use uuid::Uuid;

use crate::kinds;
use crate::participant::{Command, Notifications};
use crate::tables::{self, MailState, Notification};

/// Orders a page, unless told, and at most.
const PAGE: i64 = 50;
const MAX_PAGE: i64 = 200;

/// The routes, apart from any socket.
pub fn routes(api: Api<Notifications>) -> Router {
    Router::new()
        .route("/notifications", get(list))
        .route("/notifications/{order_id}", get(show))
        .route("/notifications/{order_id}/{kind}/retry", post(retry))
        .with_state(api)
}

/// What the routes are, for programs.
pub fn openapi() -> utoipa::openapi::OpenApi {
    #[derive(OpenApi)]
    #[openapi(
        info(
            title = "notifications",
            description = "Reports which mails of an order were sent, and has failed ones tried again."
        ),
        paths(list, show, retry)
    )]
    struct Doc;
    Doc::openapi()
}

/// An order's mails.
#[derive(Debug, Serialize, ToSchema)]
struct NotificationView {
    order_id: Uuid,
    /// In the order in which they were first requested.
    mails: Vec<MailView>,
}

/// One mail.
#[derive(Debug, Serialize, ToSchema)]
struct MailView {
    /// `taken`, `confirmed`, `rejected`, `cancelled`, `dispatched`, `delivered` or `refunded`.
    kind: &'static str,
    /// `expected` (the order isn't known here yet), `requested`, `sent` or `failed`.
    state: &'static str,
    /// 0 while it is expected, then 1, and one more each time it was tried again by an operator.
    attempt: i32,
    /// Once it is sent.
    message_id: Option<String>,
    /// Why it failed.
    reason: Option<String>,
    /// Since when it is so, RFC 3339.
    since: String,
}

/// A page of orders, newest first.
#[derive(Debug, Serialize, ToSchema)]
struct NotificationPage {
    notifications: Vec<NotificationView>,
    /// What to ask `after` for the next page; null on the last one.
    next: Option<Uuid>,
}

/// A mail that is tried again.
#[derive(Debug, ToSchema)]
#[allow(dead_code, reason = "the participant answers; this describes it")]
struct RetriedMail {
    order_id: Uuid,
    kind: String,
    /// `requested`.
    state: String,
    attempt: i32,
}

/// The mails of one order.
#[utoipa::path(get, path = "/notifications/{order_id}", params(("order_id" = Uuid, Path)),
    responses((status = 200, body = NotificationView), (status = 404, description = "That order is unknown here")))]
async fn show(State(api): State<Api<Notifications>>, Path(id): Path<String>) -> Result<Json<NotificationView>, Problem> {
    let order_id = http::uuid(&id, "an order's")?;
    let row = sqlx::query("select order_id, 'null'::jsonb as details, mails, failed from notifications where order_id = $1")
        .bind(order_id)
        .fetch_optional(&api.pool)
        .await
        .map_err(http::database)?
        .ok_or_else(|| Problem::not_found(format!("order {order_id} is unknown here")))?;
    Ok(Json(NotificationView::of(Notification::from_row(&row).map_err(http::database)?)))
}

/// Which orders to list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    #[serde(default)]
    failed: bool,
    limit: Option<i64>,
    after: Option<Uuid>,
}

/// The mails of all orders, newest order first.
#[utoipa::path(get, path = "/notifications",
    params(("failed" = Option<bool>, Query, description = "true: only orders of which a mail has failed"),
        ("limit" = Option<i64>, Query, description = "1 to 200, 50 unless said"),
        ("after" = Option<Uuid>, Query, description = "`next` of the page before")),
    responses((status = 200, body = NotificationPage)))]
async fn list(
    State(api): State<Api<Notifications>>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Json<NotificationPage>, Problem> {
    let wanted = http::query(wanted)?;
    let limit = http::limit(wanted.limit, PAGE, MAX_PAGE)?;
    // Two, so that each is planned with the index that it has.
    let sql = match wanted.failed {
        true => {
            "select order_id, 'null'::jsonb as details, mails, failed
             from notifications where failed and order_id < $1 order by order_id desc limit $2"
        }
        false => {
            "select order_id, 'null'::jsonb as details, mails, failed
             from notifications where order_id < $1 order by order_id desc limit $2"
        }
    };
    let rows = sqlx::query(sql).bind(wanted.after.unwrap_or(Uuid::max())).bind(limit + 1).fetch_all(&api.pool).await;
    let mut found = Vec::new();
    for row in &rows.map_err(http::database)? {
        found.push(NotificationView::of(Notification::from_row(row).map_err(http::database)?));
    }
    Ok(Json(NotificationPage::of(found, usize::try_from(limit).unwrap_or(usize::MAX))))
}

/// Has a mail that has failed tried again.
#[utoipa::path(post, path = "/notifications/{order_id}/{kind}/retry",
    params(("order_id" = Uuid, Path), ("kind" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 202, description = "Tried again", body = RetriedMail),
        (status = 200, description = "It is being tried already", body = RetriedMail),
        (status = 404, description = "No such mail"), (status = 409, description = "It has been sent, or the order isn't known here yet")))]
async fn retry(Path((id, kind)): Path<(String, String)>, caller: Caller<Notifications>) -> Result<Answer, Problem> {
    let order_id = http::uuid(&id, "an order's")?;
    let kind = kinds::named(&kind).ok_or_else(|| {
        let known: Vec<&str> = kinds::ALL.iter().map(|kind| kinds::name(*kind)).collect();
        Problem::not_found(format!("there is no such kind of mail, only {}", known.join(", ")))
    })?;
    caller.submit(order_id, Command::Retry(kind)).await
}

impl NotificationView {
    fn of(order: Notification) -> Self {
        Self { order_id: order.order_id, mails: order.mails.0.into_iter().map(MailView::of).collect() }
    }
}

impl MailView {
    fn of(mail: MailState) -> Self {
        let (kind, state, since) = (kinds::name(mail.kind), mail.state.name(), mail.since.to_string());
        let (message_id, reason) = match mail.state {
            tables::State::Expected | tables::State::Requested => (None, None),
            tables::State::Sent { message_id } => (Some(message_id), None),
            tables::State::Failed { reason } => (None, Some(reason)),
        };
        Self { kind, state, attempt: mail.attempt, message_id, reason, since }
    }
}

impl NotificationPage {
    /// The first `limit` of `found`; one more says that there is a next page.
    fn of(mut found: Vec<NotificationView>, limit: usize) -> Self {
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|order| order.order_id);
        Self { notifications: found, next }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_committed_description_is_the_one_that_is_served() {
        let text = serde_json::to_string_pretty(&super::openapi()).unwrap() + "\n";
        farandole::testing::committed(concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json"), &text);
    }
}
