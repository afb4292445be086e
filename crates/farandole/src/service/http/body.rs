//! A request's JSON body, with errors that name the field.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse as _;
use futures_util::StreamExt as _;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use crate::participant::problem::{FieldError, Problem};
use crate::service::http::plain::{self, no_json};

/// An extractor: the body, read from JSON as a `T`. Unknown fields are refused if `T` says `#[serde(deny_unknown_fields)]`.
///
/// Its problems: 415 without a JSON content type, 413 when too large (`http.body_limit`), 400 when it isn't JSON or names a field twice, 422
/// with the field's path when it is JSON but no `T`, or contains a NUL, which PostgreSQL doesn't store.
///
/// ```
/// use axum::extract::{FromRequest as _, Request};
/// use farandole::{Problem, http::JsonBody};
///
/// #[derive(Debug, serde::Deserialize)]
/// struct Order { lines: Vec<Line> }
/// #[derive(Debug, serde::Deserialize)]
/// struct Line { quantity: u32 }
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let read = async |body: &'static str| -> Result<Order, Problem> {
///     let request = Request::post("/orders").header("content-type", "application/json").body(body.into()).unwrap();
///     let JsonBody(order) = JsonBody::from_request(request, &()).await?;
///     Ok(order)
/// };
/// assert_eq!(read(r#"{ "lines": [{ "quantity": 3 }] }"#).await.unwrap().lines[0].quantity, 3);
/// let problem = read(r#"{ "lines": [{ "quantity": -3 }] }"#).await.unwrap_err();
/// assert_eq!((problem.status, problem.errors[0].field.as_str()), (422, "lines[0].quantity"));
/// # });
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct JsonBody<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::new(
                415,
                "unsupported-media-type",
                "the body must be JSON, with Content-Type: application/json",
            ));
        }
        let bytes = Bytes::from_request(request, state).await.map_err(|e| unread(&e))?;
        plain::check(&bytes)?;
        read(&bytes).map(Self)
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(Ok(kind)) = headers.get(header::CONTENT_TYPE).map(|v| v.to_str()) else { return false };
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

/// Refuses what isn't sent as it is: a body that we don't unpack would be judged by its packing.
pub(super) fn encoding(headers: &HeaderMap) -> Result<(), Problem> {
    let mut encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    if encodings.all(|value| value.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Ok(());
    }
    Err(Problem::new(415, "unsupported-content-encoding", "the body must not have a Content-Encoding"))
}

/// A body of `longest` bytes at most.
pub(super) async fn whole(body: axum::body::Body, longest: usize) -> Result<Bytes, Problem> {
    let mut pieces = body.into_data_stream();
    let (mut first, mut rest) = (Bytes::new(), Vec::new());
    while let Some(piece) = pieces.next().await {
        let piece =
            piece.map_err(|error| match std::error::Error::source(&error).is_some_and(|e| e.is::<listener::SlowBody>()) {
                true => Problem::new(408, "slow-body", "the body took too long to arrive"),
                false => incomplete(),
            })?;
        if first.len() + rest.len() + piece.len() > longest {
            return Err(too_large());
        }
        // Nearly always it is one piece.
        match first.is_empty() && rest.is_empty() {
            true => first = piece,
            false => {
                if rest.is_empty() {
                    rest.extend_from_slice(&std::mem::take(&mut first));
                }
                rest.extend_from_slice(&piece);
            }
        }
    }
    Ok(if rest.is_empty() { first } else { rest.into() })
}

fn incomplete() -> Problem {
    Problem::new(400, "incomplete-body", "the body was incomplete")
}

fn unread(rejection: &BytesRejection) -> Problem {
    match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        _ => incomplete(),
    }
}

pub(super) fn too_large() -> Problem {
    Problem::new(413, "body-too-large", "the body is too large")
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let source = error.into_inner();
        match source.classify() {
            Category::Data => Problem::invalid(vec![field_error(&path, &source)]),
            _ => no_json(&source),
        }
    })?;
    json.end().map_err(|e| no_json(&e))?;
    Ok(value)
}

/// serde tells a missing or unknown field at the object around it, and the name in the message.
fn field_error(path: &str, error: &serde_json::Error) -> FieldError {
    let text = error.to_string();
    let reason = text.rfind(" at line ").map_or(text.as_str(), |at| &text[..at]).to_owned();
    let named = ["missing field `", "unknown field `"].iter().find_map(|start| reason.strip_prefix(start)?.split('`').next());
    let field = match (path, named) {
        (".", Some(name)) => name.to_owned(),
        (".", None) => "(the whole body)".to_owned(),
        (path, Some(name)) if path != name && !path.ends_with(&format!(".{name}")) => format!("{path}.{name}"),
        (path, _) => path.to_owned(),
    };
    FieldError { field, reason }
}

/// What an extractor of axum's own said in words, as a problem.
pub(super) async fn reworded(response: axum::response::Response) -> axum::response::Response {
    /// Longest sentence taken over; axum's are a line.
    const LONGEST: usize = 2_000;
    let status = response.status();
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    // Also without a type and with nothing in it: a bare status code.
    if !(status.is_client_error() || status.is_server_error()) || !(kind.is_empty() || kind.starts_with("text/plain")) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let text = axum::body::to_bytes(body, LONGEST).await.unwrap_or_default();
    let name = status.canonical_reason().unwrap_or("error").to_ascii_lowercase().replace(' ', "-");
    let detail = match String::from_utf8_lossy(&text).trim() {
        _ if status.is_server_error() => "internal error; an operator has been notified".to_owned(),
        "" => name.replace('-', " "),
        text => text.to_owned(),
    };
    let problem = Problem::new(status.as_u16(), &name, detail).into_response();
    let (problem_parts, body) = problem.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.extend(problem_parts.headers);
    axum::response::Response::from_parts(parts, body)
}
