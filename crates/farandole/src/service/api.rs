//! What a service's routes work with, and whether it creates what is missing.

use sqlx::PgPool;

use crate::engine::commands::Commands;
use crate::participant::Participant;

/// What a service's routes work with: axum's state. [`Caller`](crate::http::Caller) takes its part by itself.
///
/// ```no_run
/// # mod loyalty { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/loyalty.rs")); }
/// # use loyalty::*;
/// use axum::extract::{FromRef, Path, State};
/// use axum::{Json, Router, routing::get};
/// use farandole::{http, prelude::*};
/// use serde_json::{Value, json};
///
/// async fn points(State(api): State<Api<Loyalty>>, Path(customer): Path<String>) -> Result<Json<Value>, Problem> {
///     let row = sqlx::query("select customer, points from accounts where customer = $1").bind(&customer).fetch_optional(&api.pool);
///     let row = row.await.map_err(http::database)?.ok_or_else(|| Problem::not_found(format!("{customer} has no points yet")))?;
///     let account = Account::from_row(&row).map_err(http::database)?; // the row's type, as `tables!` declared it
///     Ok(Json(json!({ "customer": account.customer, "points": account.points })))
/// }
///
/// /// State of your own stands beside it.
/// #[derive(Clone)]
/// struct Shared { api: Api<Loyalty>, greeting: &'static str }
/// impl FromRef<Shared> for Api<Loyalty> {
///     fn from_ref(shared: &Shared) -> Self {
///         shared.api.clone()
///     }
/// }
///
/// fn routes(api: Api<Loyalty>) -> Router {
///     let hello = async |State(shared): State<Shared>| shared.greeting;
///     let routes = Router::new().route("/customers/{customer}/points", get(points)).route("/hello", get(hello));
///     routes.with_state(Shared { api, greeting: "hello" })
/// }
/// ```
#[derive(Debug)]
pub struct Api<P: Participant> {
    /// For reading, at most `database.max_connections` (8) at once. Rows are changed by commands alone: what else writes to the
    /// participant's tables is undone by the next batch or heal.
    pub pool: PgPool,
    /// Where commands are submitted by code that has no [`Caller`](crate::http::Caller).
    pub commands: Commands<P>,
}

impl<P: Participant> Clone for Api<P> {
    fn clone(&self) -> Self {
        Self { pool: self.pool.clone(), commands: self.commands.clone() }
    }
}

/// What happens when tables, topics or schemas are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// They are created.
    Make,
    /// That is an error, which says what is missing.
    Refuse,
}
