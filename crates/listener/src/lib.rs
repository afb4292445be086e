//! Serves HTTP/1 on a socket, to callers that may be slow, silent or many.
//!
//! Between a caller and the routes a connection goes through phases, and each has a limit: the head of a request (time, bytes,
//! number of headers), its body (time; its size is the routes' matter), and doing nothing between two requests. What the routes do
//! has limits of its own there. Connections are bounded in all; beyond the bound a new one is let in, and of those that
//! are about no request yet the one that has been waiting longest goes. So who sends half a head, or nothing, takes no place from who asks.
//!
//! **At a stop** nothing new is accepted. Connections without a request, or with half a head, are closed at once; a request whose body
//! is still coming has a moment; one that is being answered is waited for.
//!
//! **How it would fail without**: a socket that sends half a head is kept for ever, and each stop waits for it; with as many of them as
//! there are descriptors nobody is answered any more, not even who asks whether the process lives.

mod body;
mod connection;
mod limits;
mod places;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::response::Response;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

pub use body::SlowBody;
use connection::{Connection, Phase, Watched};
pub use limits::{Limits, Seen};
use places::Places;

/// Bytes of a request's head: eight times what proxies commonly take.
const HEAD: usize = 64 * 1024;
/// Headers of a request.
const HEADERS: usize = 100;
/// Places beyond the bound while every connection is being answered: for who looks whether the process lives.
const RESERVE: usize = 32;
/// Pause after the system gave no connection: it is out of descriptors or memory.
const PAUSE: Duration = Duration::from_millis(50);

/// Serves `routes` until `stop`, then until the requests under way are answered. The caller bounds that.
///
/// # Errors
/// None of a connection's; the signature is that of servers.
pub async fn serve(
    listener: TcpListener,
    routes: Router,
    limits: Limits,
    stop: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let limits = Arc::new(Limits { connections: places::affordable(limits.connections), ..limits });
    let places = Arc::new(Places::default());
    let stopping = CancellationToken::new();
    let mut connections = JoinSet::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let stream = tokio::select! {
            () = &mut stop => break,
            _ = connections.join_next(), if !connections.is_empty() => continue,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::debug!(%error, "no connection accepted");
                    // A connection that went before it was accepted costs nothing; of anything else there is too much.
                    if !matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
                        places.crowd_out();
                        tokio::time::sleep(PAUSE).await;
                    }
                    continue;
                }
            },
        };
        if places.count() >= limits.connections && !places.crowd_out() && places.count() >= limits.connections + RESERVE {
            (limits.seen)(Seen::Refused);
            continue;
        }
        (limits.seen)(Seen::Opened);
        connections.spawn(one(stream, routes.clone(), Arc::clone(&limits), Arc::clone(&places), stopping.clone()));
    }
    drop(listener);
    stopping.cancel();
    while connections.join_next().await.is_some() {}
    Ok(())
}

async fn one(stream: TcpStream, routes: Router, limits: Arc<Limits>, places: Arc<Places>, stopping: CancellationToken) {
    // An answer is small and complete: nothing is gained by holding it back for more. A failure costs only time.
    let _ = stream.set_nodelay(true);
    let connection = Arc::new(Connection::new());
    let place = places.take(Arc::clone(&connection));
    let watched = TokioIo::new(Watched::new(stream, Arc::clone(&connection)));
    let body_limit = limits.body;
    let service = service_fn(|request: Request<Incoming>| {
        let (routes, connection) = (routes.clone(), Arc::clone(&connection));
        async move {
            let request = request.map(|incoming| body::watched(incoming, Arc::clone(&connection), body_limit));
            let answer: Result<Response, Infallible> = routes.oneshot(request).await;
            connection.enter(Phase::Idle);
            answer
        }
    });
    let mut http = http1::Builder::new();
    http.max_buf_size(HEAD).max_headers(HEADERS).header_read_timeout(None);
    let served = connection::drive(http.serve_connection(watched, service), &connection, &limits, stopping).await;
    drop(place);
    (limits.seen)(served);
}
