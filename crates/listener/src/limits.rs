//! How long callers may take, and what is told of them.

use std::time::Duration;

/// How long callers may take, and how many there may be.
#[derive(Debug, Clone)]
pub struct Limits {
    /// From the connection, or from the first byte of a further request, to the end of the request's head.
    pub head: Duration,
    /// From the end of the head to the end of the body.
    pub body: Duration,
    /// Between two requests on one connection.
    pub idle: Duration,
    /// How long a request's body may still take, and the rest of an answer, when the server stops.
    pub grace: Duration,
    /// Connections. At most three quarters of the descriptors that the process may have are taken for it.
    pub connections: usize,
    /// Told of every connection that comes and goes.
    pub seen: fn(Seen),
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            body: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            grace: Duration::from_secs(1),
            connections: 2_000,
            seen: |_| {},
        }
    }
}

/// What happened to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// It was accepted.
    Opened,
    /// It ended: by the caller, after an answer, or at the stop.
    Ended,
    /// It was closed: the head of a request took too long, or an idle one was.
    Slow,
    /// It was closed for a new one, since there were as many as there may be.
    Crowded,
    /// It was closed at once, since as many as there may be are being answered.
    Refused,
}
