//! The HTTP interface of payments.

use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use farandole::table::Row as _;
use farandole::{Api, Problem, http};
use serde::Serialize;
use utoipa::{OpenApi, ToSchema};
use uuid::Uuid;

use crate::participant::Payments;
use crate::tables::{self, Hold, Payment};

/// The routes, apart from any socket.
pub fn routes(api: Api<Payments>) -> Router {
    Router::new().route("/payments/{order_id}", get(show)).with_state(api)
}

/// What the routes are, for programs.
pub fn openapi() -> utoipa::openapi::OpenApi {
    #[derive(OpenApi)]
    #[openapi(
        info(title = "payments", description = "Reports how far an order's payment has come, and where its money is."),
        paths(show)
    )]
    struct Doc;
    Doc::openapi()
}

/// An order's payment. Amounts are minor units.
#[derive(Debug, Default, Serialize, ToSchema)]
struct PaymentView {
    order_id: Uuid,
    /// `expected`, `requested`, `authorised`, `declined`, `abandoned`, `void_requested`, `voided`, `expired`, `capture_requested`,
    /// `captured`, `written_off`, `refund_requested` or `refunded`.
    state: &'static str,
    /// What is to be paid; null until order and reservation are both seen, and once abandoned.
    amount: Option<i64>,
    /// What was taken from the card: 0 or the amount.
    captured: i64,
    /// What was given back of it: 0 or the amount.
    refunded: i64,
    /// ISO 4217 code of the amounts.
    currency: Option<String>,
    /// The acquirer's id, once the card is authorised.
    authorisation_id: Option<String>,
    /// Whether the acquirer may still take what is written off, or authorise what is abandoned; it is then given back, or voided.
    in_flight: bool,
    /// Why the card was declined.
    reason: Option<String>,
}

/// One order's payment.
#[utoipa::path(get, path = "/payments/{order_id}", params(("order_id" = Uuid, Path)),
    responses((status = 200, body = PaymentView), (status = 404, description = "That order is unknown here")))]
async fn show(State(api): State<Api<Payments>>, Path(id): Path<String>) -> Result<Json<PaymentView>, Problem> {
    let order_id = http::uuid(&id, "an order's")?;
    let row =
        sqlx::query("select order_id, state from payments where order_id = $1").bind(order_id).fetch_optional(&api.pool).await;
    let row = row.map_err(http::database)?.ok_or_else(|| Problem::not_found(format!("order {order_id} is unknown here")))?;
    Ok(Json(PaymentView::of(Payment::from_row(&row).map_err(http::database)?)))
}

impl PaymentView {
    fn of(payment: Payment) -> Self {
        let (captured, refunded) = match &payment.state.0 {
            tables::State::Captured(hold) | tables::State::RefundRequested(hold) => (hold.amount, 0),
            tables::State::Refunded(hold) => (hold.amount, hold.amount),
            _ => (0, 0),
        };
        let view = Self { order_id: payment.order_id, state: payment.state.name(), captured, refunded, ..Self::default() };
        let view = match payment.state.hold().cloned() {
            Some(Hold { authorisation_id, amount, currency }) => {
                Self { amount: Some(amount), currency: Some(currency), authorisation_id: Some(authorisation_id), ..view }
            }
            None => view,
        };
        match payment.state.0 {
            tables::State::Requested { amount, currency } => Self { amount: Some(amount), currency: Some(currency), ..view },
            tables::State::Declined { reason } => Self { reason: Some(reason), ..view },
            tables::State::Abandoned { in_flight } | tables::State::WrittenOff { in_flight, .. } => Self { in_flight, ..view },
            _ => view,
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
