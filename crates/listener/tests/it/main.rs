//! Callers that are slow, silent or many, over real sockets.

// In a test a panic is the report.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::routing::{get, post};
use listener::Limits;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

struct Server {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<std::io::Result<()>>,
    /// Lets `/wait` answer, and tells that it was asked.
    go: Arc<Notify>,
    asked: Arc<Notify>,
}

/// Longer than anything here takes: a limit of this is none.
const NEVER: Duration = Duration::from_secs(3_600);

impl Server {
    async fn start(limits: Limits) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let (stop, go, asked) = (CancellationToken::new(), Arc::<Notify>::default(), Arc::<Notify>::default());
        let wait = {
            let (go, asked) = (go.clone(), asked.clone());
            async move || {
                asked.notify_one();
                go.notified().await;
                "waited"
            }
        };
        let routes = Router::new()
            .route("/healthz", get(async || "ok"))
            .route("/size", post(async |body: Bytes| body.len().to_string()))
            .route("/wait", get(wait));
        let task = tokio::spawn(listener::serve(socket, routes, limits, stop.clone().cancelled_owned()));
        Self { address, stop, task, go, asked }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// A connection that has sent this.
    async fn sent(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = self.connect().await;
        stream.write_all(bytes).await.unwrap();
        stream
    }

    async fn lives(&self) {
        let answer = told(&mut self.sent(b"GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await).await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("ok"), "{answer}");
    }

    /// Stops, and says how long that took.
    async fn stopped(self) -> Duration {
        let began = Instant::now();
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
        began.elapsed()
    }
}

/// For what comes in milliseconds, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(60);

/// All that comes until the connection ends, however it ends.
async fn told(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, async {
        let mut buffer = [0; 4096];
        while let Ok(n @ 1..) = stream.read(&mut buffer).await {
            answer.extend_from_slice(&buffer[..n]);
        }
    });
    read.await.expect("the connection ends in time");
    String::from_utf8_lossy(&answer).into_owned()
}

/// One answer on a connection that stays open.
async fn one(stream: &mut TcpStream) -> String {
    let mut buffer = [0; 4096];
    let n = tokio::time::timeout(PATIENCE, stream.read(&mut buffer)).await.unwrap().unwrap();
    String::from_utf8_lossy(&buffer[..n]).into_owned()
}

/// Guard: each phase has a limit. Without it these sockets are kept for as long as the caller likes.
#[tokio::test(flavor = "multi_thread")]
async fn every_phase_of_a_connection_ends() {
    let short = Duration::from_millis(200);
    let head = Server::start(Limits { head: short, body: NEVER, idle: NEVER, ..Limits::default() }).await;
    for sent in [&b""[..], b"G", b"GET /healthz HTTP/1.1\r\nHost: h\r\n"] {
        assert_eq!(told(&mut head.sent(sent).await).await, "", "half a head");
    }
    let mut stream = head.sent(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert!(one(&mut stream).await.starts_with("HTTP/1.1 200 "));
    stream.write_all(b"GET /hea").await.unwrap();
    assert_eq!(told(&mut stream).await, "", "half a second head");

    let body = Server::start(Limits { head: NEVER, body: short, idle: NEVER, grace: short, ..Limits::default() }).await;
    let mut stream = body.sent(b"POST /size HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf").await;
    assert!(told(&mut stream).await.starts_with("HTTP/1.1 400 "), "half a body has an answer");

    let idle = Server::start(Limits { head: NEVER, body: NEVER, idle: short, ..Limits::default() }).await;
    let mut stream = idle.sent(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert!(told(&mut stream).await.ends_with("ok"), "it is closed after the answer");
    // One that is being answered is none of these.
    let mut stream = idle.sent(b"GET /wait HTTP/1.1\r\nHost: h\r\n\r\n").await;
    idle.asked.notified().await;
    tokio::time::sleep(3 * short).await;
    idle.go.notify_one();
    assert!(told(&mut stream).await.ends_with("waited"));
}

/// Guard: a stop closes what has no whole request. Without it each such socket makes it as long as the caller of the server lets it.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_waits_for_requests_under_way_and_for_nothing_else() {
    let limits = Limits { head: NEVER, body: NEVER, idle: NEVER, grace: Duration::from_millis(300), ..Limits::default() };
    let server = Server::start(limits).await;
    let mut idle = server.sent(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n").await;
    one(&mut idle).await;
    let half = server.sent(b"GET /healthz HTTP/1.1\r\nHos").await;
    let silent = server.connect().await;
    let slow = server.sent(b"POST /size HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf").await;
    let mut busy = server.sent(b"GET /wait HTTP/1.1\r\nHost: h\r\n\r\n").await;
    server.asked.notified().await;
    server.lives().await;
    let (stop, go, address) = (server.stop.clone(), server.go.clone(), server.address);
    let stopping = tokio::spawn(server.stopped());
    stop.cancelled().await;
    for mut stream in [idle, half, silent, slow] {
        told(&mut stream).await;
    }
    assert!(!stopping.is_finished(), "a request is under way");
    assert!(TcpStream::connect(address).await.is_err(), "nothing new is accepted");
    go.notify_one();
    assert!(told(&mut busy).await.ends_with("waited"));
    let took = stopping.await.unwrap();
    assert!(took < Duration::from_secs(2), "{took:?}");
}

/// Guard: of those without a request the longest waiting goes. Without it, as many silent sockets as there are places shut all out.
#[tokio::test(flavor = "multi_thread")]
async fn who_says_nothing_takes_no_place_from_who_asks() {
    let limits = Limits { head: NEVER, body: NEVER, idle: NEVER, connections: 8, ..Limits::default() };
    let server = Server::start(limits).await;
    let mut silent = Vec::new();
    for n in 0..100 {
        silent.push(server.sent(if n % 2 == 0 { b"GET /" } else { b"" }).await);
        if n % 10 == 0 {
            server.lives().await;
        }
    }
    server.lives().await;
    for stream in &mut silent[..80] {
        assert_eq!(told(stream).await, "");
    }
    // Those that are being answered keep their places, and there is room to look whether the process lives.
    let mut busy = Vec::new();
    for _ in 0..8 {
        busy.push(server.sent(b"GET /wait HTTP/1.1\r\nHost: h\r\n\r\n").await);
        server.asked.notified().await;
    }
    server.lives().await;
    for mut stream in busy {
        server.go.notify_one();
        let answer = one(&mut stream).await;
        assert!(answer.ends_with("waited"), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_is_of_bounded_size() {
    let server = Server::start(Limits::default()).await;
    let many: String = (0..200).map(|n| format!("X-{n}: 1\r\n")).collect();
    for head in [many, format!("X: {}\r\n", "x".repeat(1_000_000))] {
        let mut stream = server.connect().await;
        // The server may answer and close while it is still being written.
        let _ = stream.write_all(format!("GET /healthz HTTP/1.1\r\nHost: h\r\n{head}\r\n").as_bytes()).await;
        let answer = one(&mut stream).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }
    server.lives().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever bytes come: a 4xx, an answer to what happens to be a request, or a closed connection; and the server lives.
    #[test]
    fn any_bytes_are_answered_or_not_and_the_server_lives(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        text in "(GET|POST|PUT|A) [ -~]{0,40} HTTP/1\\.[019]\r\n([A-Za-z-]{1,20}: ?[ -~]{0,30}\r\n){0,6}(Transfer-Encoding: chunked\r\n)?(Content-Length: [0-9-]{0,22}\r\n){0,2}\r\n[ -~]{0,20}",
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = Server::start(Limits { grace: Duration::from_millis(100), ..Limits::default() }).await;
            for bytes in [&bytes[..], text.as_bytes()] {
                let mut stream = server.connect().await;
                let _ = stream.write_all(bytes).await;
                // Nothing more comes: whatever is open ends with it, and not with a limit.
                let _ = stream.shutdown().await;
                let answer = told(&mut stream).await;
                let status = answer.strip_prefix("HTTP/1.1 ").or(answer.strip_prefix("HTTP/1.0 ")).unwrap_or("400");
                prop_assert!(["2", "4"].iter().any(|class| status.starts_with(class)), "{}", answer);
            }
            server.lives().await;
            prop_assert!(server.stopped().await < Duration::from_secs(2));
            Ok(())
        })?;
    }
}
