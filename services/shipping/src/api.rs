//! The HTTP interface of shipping: for whoever asks how far a parcel is, and for the carrier's reports.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use farandole::table::Row as _;
use farandole::{Answer, Api, Problem, http};
use serde::Serialize;
use utoipa::{OpenApi, ToSchema};
use uuid::Uuid;

use crate::participant::Shipping;
use crate::tables::{self, Shipment};
use crate::webhook::{CarrierReport, Secrets};

/// What the routes work with.
#[derive(Debug, Clone)]
struct Shared {
    api: Api<Shipping>,
    secrets: Arc<Secrets>,
}

/// The routes, apart from any socket; reports are those that are signed with one of the secrets.
pub fn routes(secrets: Secrets) -> impl Fn(Api<Shipping>) -> Router + Send + Sync + 'static {
    let secrets = Arc::new(secrets);
    move |api| {
        if secrets.is_empty() {
            tracing::error!("no carrier's secret is set: its reports are refused; set `own.carrier_secret`");
        }
        Router::new()
            .route("/shipments/{order_id}", get(show))
            .route("/carrier/reports", post(report))
            .with_state(Shared { api, secrets: Arc::clone(&secrets) })
    }
}

/// What the routes are, for programs.
pub fn openapi() -> utoipa::openapi::OpenApi {
    #[derive(OpenApi)]
    #[openapi(
        info(
            title = "shipping",
            description = "Reports how far an order's parcel is, and hears from the carrier what becomes of it."
        ),
        paths(show, report)
    )]
    struct Doc;
    Doc::openapi()
}

/// An order's parcel.
#[derive(Debug, Default, Serialize, ToSchema)]
struct ShipmentView {
    order_id: Uuid,
    /// `prepared`, `dispatching`, `dispatched`, `tracking`, `delivered`, `lost`, `found`, `failed`, `recalling`, `recalled` or
    /// `cancelled`.
    state: &'static str,
    recipient: String,
    /// The carrier's number of the parcel, once it has it.
    tracking: Option<String>,
    /// Handed over then, and its order can be cancelled until then; null in other states than `prepared`.
    dispatch_at: Option<String>,
    /// The carrier is asked where it is when nothing was heard of it by then; null in other states than `dispatched`.
    deliver_by: Option<String>,
    /// Why it is lost, or isn't taken by the carrier; or what came of calling it back: `none` (the carrier has no parcel), `recalled`,
    /// `delivered` or `lost`.
    reason: Option<String>,
}

/// A report that was taken.
#[derive(Debug, ToSchema)]
#[allow(dead_code, reason = "the participant answers; this describes it")]
struct TakenReport {
    order_id: Uuid,
    /// As the parcel is now: `delivered`, `lost`, `found`, `recalling` or `recalled`.
    state: String,
}

/// One order's parcel.
#[utoipa::path(get, path = "/shipments/{order_id}", params(("order_id" = Uuid, Path)),
    responses((status = 200, body = ShipmentView), (status = 404, description = "Nothing is shipped of that order")))]
async fn show(State(Shared { api, .. }): State<Shared>, Path(id): Path<String>) -> Result<Json<ShipmentView>, Problem> {
    let order_id = http::uuid(&id, "an order's")?;
    let row = sqlx::query("select order_id, recipient, state from shipments where order_id = $1").bind(order_id);
    let row = row.fetch_optional(&api.pool).await.map_err(http::database)?;
    let row = row.ok_or_else(|| Problem::not_found(format!("nothing is shipped of order {order_id}")))?;
    Ok(Json(ShipmentView::of(Shipment::from_row(&row).map_err(http::database)?)))
}

/// Takes a report of the carrier's: a webhook as Standard Webhooks says, signed within five minutes of now. One that comes again is
/// answered with 200 and changes nothing.
#[utoipa::path(post, path = "/carrier/reports", request_body = CarrierReport,
    params(("webhook-id" = String, Header), ("webhook-timestamp" = i64, Header, description = "Seconds since 1970"),
        ("webhook-signature" = String, Header, description = "`v1,` and base64 of the HMAC-SHA256 of `id.timestamp.body`")),
    responses((status = 200, description = "It is so, now or already", body = TakenReport),
        (status = 401, description = "Not signed by the carrier, or not of now"),
        (status = 404, description = "Nothing is shipped of that order"),
        (status = 409, description = "The order has no such parcel"),
        (status = 422, description = "A field is missing, or not known here; it is named"),
        (status = 503, description = "Reports can't be verified, or the order waits for an operator; send it again")))]
async fn report(State(Shared { api, secrets }): State<Shared>, request: Request) -> Result<Answer, Problem> {
    let traceparent = http::traceparent(request.headers());
    let (order_id, report) = secrets.report(request).await?;
    api.commands.submit(order_id, report, None, traceparent).await
}

impl ShipmentView {
    fn of(shipment: Shipment) -> Self {
        let Shipment { order_id, recipient, state } = shipment;
        let tracking = state.tracking().map(str::to_owned);
        let view = Self { order_id, state: state.name(), recipient, tracking, ..Self::default() };
        match state.0 {
            tables::State::Prepared { dispatch_at } => Self { dispatch_at: Some(dispatch_at.to_string()), ..view },
            tables::State::Dispatched { deliver_by, .. } => Self { deliver_by: Some(deliver_by.to_string()), ..view },
            tables::State::Recalled { how } => Self { reason: Some(how), ..view },
            tables::State::Lost { reason, .. } | tables::State::Failed { reason } => Self { reason: Some(reason), ..view },
            tables::State::Dispatching
            | tables::State::Tracking { .. }
            | tables::State::Delivered { .. }
            | tables::State::Found { .. }
            | tables::State::Recalling
            | tables::State::Cancelled => view,
        }
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
