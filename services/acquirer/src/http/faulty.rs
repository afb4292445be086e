//! Lets a request suffer its fate before and after it is served.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::{Acquirer, Problem, absurd};

/// Delays, refuses, fails, answers absurdly; and after a command is done, keeps silent or says that it failed.
///
/// A look-up that is answered wrongly changes nothing, so what comes after the deed befalls commands only.
pub async fn suffer(State(app): State<Arc<Acquirer>>, request: Request, next: Next) -> Response {
    let Ok(_slot) = app.slots.try_acquire() else {
        return Problem::unavailable("too many requests are in flight").into_response();
    };
    let fate = app.faults.draw();
    let is_command = request.method() == Method::POST;
    if !fate.delay.is_zero() {
        tokio::time::sleep(fate.delay).await;
    }
    if fate.refuse {
        return Problem::unavailable("the acquirer refuses requests (a fault that was switched on)").into_response();
    }
    if fate.fail {
        return failed();
    }
    if let Some((absurdity, done)) = fate.absurd.filter(|_| is_command) {
        if done {
            next.run(request).await;
        }
        return absurd::answer(absurdity, &app).await;
    }
    let response = next.run(request).await;
    if !is_command {
        return response;
    }
    if let Some(time) = fate.hang {
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            () = app.closing.cancelled() => {}
        }
        return Problem::new(StatusCode::GATEWAY_TIMEOUT, "timeout", "no answer in time").into_response();
    }
    if fate.fail_after {
        return failed();
    }
    response
}

/// The same before and after the deed: the caller can't tell.
fn failed() -> Response {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "something went wrong").into_response()
}
