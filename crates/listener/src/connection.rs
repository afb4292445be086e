//! One connection: which phase it is in, and since when.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use hyper::server::conn::http1;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::limits::{Limits, Seen};

/// What a connection is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The head of a request is to come, or is coming.
    Head,
    /// The body is coming.
    Body,
    /// The routes have the request whole.
    Busy,
    /// The answer is made and may still be under way; nothing of a further request is there.
    Idle,
}

/// A connection's phase, and who may end it.
#[derive(Debug)]
pub(crate) struct Connection {
    state: Mutex<(Phase, Instant)>,
    crowded: Notify,
}

impl Connection {
    pub fn new() -> Self {
        Self { state: Mutex::new((Phase::Head, Instant::now())), crowded: Notify::new() }
    }

    /// A new phase begins.
    pub fn enter(&self, phase: Phase) {
        *self.lock() = (phase, Instant::now());
    }

    /// It goes on to `next` if it is in `from`.
    pub fn go_on(&self, from: Phase, next: Phase) {
        let mut state = self.lock();
        if state.0 == from {
            *state = (next, Instant::now());
        }
    }

    /// Since when it is about no whole request; none when it is.
    pub fn waiting_since(&self) -> Option<Instant> {
        let (phase, since) = *self.lock();
        (phase != Phase::Busy).then_some(since)
    }

    /// It has to make room.
    pub fn crowd_out(&self) {
        self.crowded.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, (Phase, Instant)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When it has lasted too long; none while it is being answered.
    fn deadline(&self, limits: &Limits, stopped: Option<Instant>) -> Option<Instant> {
        let (phase, since) = *self.lock();
        let limit = match phase {
            Phase::Head => limits.head,
            // The body itself ends with an error at its limit, so that there is an answer. This is for who doesn't look at it.
            Phase::Body => limits.body + limits.grace,
            Phase::Idle => limits.idle,
            Phase::Busy => return None,
        };
        let deadline = since + limit;
        match (stopped, phase) {
            (None, _) => Some(deadline),
            (Some(stopped), Phase::Head) => Some(stopped),
            (Some(stopped), _) => Some(deadline.min(since.max(stopped) + limits.grace)),
        }
    }
}

/// Runs a connection to its end, whoever makes it.
pub(crate) async fn drive<S>(
    served: http1::Connection<hyper_util::rt::TokioIo<Watched>, S>,
    connection: &Connection,
    limits: &Limits,
    stopping: CancellationToken,
) -> Seen
where
    S: hyper::service::HttpService<hyper::body::Incoming, ResBody = axum::body::Body>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut served = pin!(served);
    let mut crowded = pin!(connection.crowded.notified());
    let mut stop = pin!(stopping.cancelled());
    let mut stopped = None;
    let mut timer = pin!(tokio::time::sleep_until(Instant::now() + limits.head));
    poll_fn(|cx| {
        if stopped.is_none() && stop.as_mut().poll(cx).is_ready() {
            stopped = Some(Instant::now());
            served.as_mut().graceful_shutdown();
        }
        // Whatever it does, and all that its routes do, happens in here: the phase is read afterwards.
        if served.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Seen::Ended);
        }
        if crowded.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Seen::Crowded);
        }
        let Some(deadline) = connection.deadline(limits, stopped) else { return Poll::Pending };
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        timer.as_mut().poll(cx).map(|()| if stopped.is_some() { Seen::Ended } else { Seen::Slow })
    })
    .await
}

/// A stream that tells when the first bytes of a request come, and that an answer is on its way.
pub(crate) struct Watched {
    stream: TcpStream,
    connection: std::sync::Arc<Connection>,
}

impl Watched {
    pub fn new(stream: TcpStream, connection: std::sync::Arc<Connection>) -> Self {
        Self { stream, connection }
    }

    fn written(&self, done: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if matches!(done, Poll::Ready(Ok(n)) if n > 0) {
            self.connection.go_on(Phase::Idle, Phase::Idle);
        }
        done
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let done = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.connection.go_on(Phase::Idle, Phase::Head);
        }
        done
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(done)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.written(done)
    }
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
