//! A request's body that is waited for within bounds.

use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tokio::time::Sleep;

use crate::connection::{Connection, Phase};

/// The body was too long in coming.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlowBody;

impl std::fmt::Display for SlowBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the body was too long in coming")
    }
}

impl std::error::Error for SlowBody {}

struct Watched {
    incoming: Incoming,
    connection: Arc<Connection>,
    timer: Pin<Box<Sleep>>,
}

/// `incoming`, which ends with [`SlowBody`] when it isn't whole within `limit`.
pub(crate) fn watched(incoming: Incoming, connection: Arc<Connection>, limit: Duration) -> Body {
    if incoming.is_end_stream() {
        connection.enter(Phase::Busy);
        return Body::empty();
    }
    connection.enter(Phase::Body);
    Body::new(Watched { incoming, connection, timer: Box::pin(tokio::time::sleep(limit)) })
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        let frame = match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Ready(frame) => frame,
            Poll::Pending => return self.timer.as_mut().poll(cx).map(|()| Some(Err(SlowBody.into()))),
        };
        if frame.is_none() || self.incoming.is_end_stream() {
            self.connection.go_on(Phase::Body, Phase::Busy);
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
