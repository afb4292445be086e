//! A TCP proxy whose connections can be cut, frozen, slowed and made to lose answers.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! let door = faults::Door::open().await?;                 // services are told to connect to `door.address()`
//! door.lead_to(["127.0.0.1:5432".to_owned()]);            // and reach PostgreSQL through it
//! # Ok(()) }
//! ```
//!
//! With several targets it is a load balancer of the simplest kind: a new connection goes to the next that accepts it.
//!
//! **Invariant:** bytes pass in order or not at all: nothing here drops a part of a stream and goes on.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::plan::Harm;
use crate::target::Subject;

/// What is passed on at once.
const CHUNK: usize = 16 * 1024;
/// How long a slow connection holds each chunk: with [`CHUNK`], at most 400 kB a second, and 40 ms to the latency of each way.
const DELAY: Duration = Duration::from_millis(40);
/// How long a target may take to accept: it is on this machine.
const CONNECT: Duration = Duration::from_secs(2);

type Mode = Option<Harm>;

/// The way from a client to one or several servers, through which all connections go.
#[derive(Debug)]
pub struct Door {
    address: SocketAddr,
    targets: Arc<Mutex<Vec<String>>>,
    mode: watch::Sender<Mode>,
    listening: JoinHandle<()>,
}

impl Door {
    /// Listens on a free port of loopback. It leads nowhere yet: connections are closed at once.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn open() -> anyhow::Result<Self> {
        let port = stage::free_port(&[])?;
        let listener = TcpListener::bind(("127.0.0.1", port)).await.with_context(|| format!("listening on port {port}"))?;
        let address = listener.local_addr()?;
        let targets: Arc<Mutex<Vec<String>>> = Arc::default();
        let (mode, modes) = watch::channel(None);
        let listening = tokio::spawn(listen(listener, Arc::clone(&targets), modes));
        Ok(Self { address, targets, mode, listening })
    }

    /// Leads to these from now on; connections that are open stay.
    pub fn lead_to(&self, targets: impl IntoIterator<Item = String>) {
        *self.targets.lock().unwrap_or_else(PoisonError::into_inner) = targets.into_iter().collect();
    }

    /// Where it listens, `127.0.0.1:port`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        // Connections end by themselves: their mode's sender is gone.
        self.listening.abort();
    }
}

impl Subject for Door {
    fn strike(&self, harm: Harm) -> anyhow::Result<()> {
        if !matches!(harm, Harm::Cut | Harm::Freeze | Harm::LoseAnswers | Harm::Forget | Harm::Slow) {
            bail!("a connection can't be {harm}");
        }
        self.mode.send_replace(Some(harm));
        Ok(())
    }

    fn mend(&self, _: Harm) -> anyhow::Result<()> {
        self.mode.send_replace(None);
        Ok(())
    }
}

async fn listen(listener: TcpListener, targets: Arc<Mutex<Vec<String>>>, modes: watch::Receiver<Mode>) {
    let next = Arc::new(AtomicUsize::new(0));
    loop {
        let Ok((near, _)) = listener.accept().await else {
            // Out of descriptors: some will be free again.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let targets = targets.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (modes, next) = (modes.clone(), Arc::clone(&next));
        // Owned by nobody: it ends with either side, at a cut, and when the door is dropped.
        tokio::spawn(async move {
            if *modes.borrow() != Some(Harm::Cut)
                && let Some(far) = connect(&targets, &next).await
            {
                pass(near, far, modes).await;
            }
        });
    }
}

async fn connect(targets: &[String], next: &AtomicUsize) -> Option<TcpStream> {
    let first = next.fetch_add(1, Ordering::Relaxed);
    for n in 0..targets.len() {
        let target = &targets[(first + n) % targets.len()];
        if let Ok(Ok(stream)) = tokio::time::timeout(CONNECT, TcpStream::connect(target)).await {
            return Some(stream);
        }
    }
    None
}

/// Passes on until either side ends or the connection is cut.
async fn pass(near: TcpStream, far: TcpStream, modes: watch::Receiver<Mode>) {
    // A request that waits for a full packet would be slow without a fault. That it can't be set is no reason to refuse.
    let _ = near.set_nodelay(true);
    let _ = far.set_nodelay(true);
    let (from_near, to_near) = near.into_split();
    let (from_far, to_far) = far.into_split();
    let forgotten = AtomicBool::new(false);
    let there = one_way(from_near, to_far, modes.clone(), Way::There, &forgotten);
    let back = one_way(from_far, to_near, modes.clone(), Way::Back, &forgotten);
    tokio::select! {
        // First: when answers are lost no more, those that were held must not slip through.
        biased;
        () = broken(modes, &forgotten) => {}
        // Both: a side that has said all it has to say may still be listening.
        _ = async { tokio::try_join!(there, back) } => {}
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    There,
    Back,
}

/// Waits until the connection has to be broken: it is cut, or answers were lost and that is over. Notes when it is forgotten.
async fn broken(mut modes: watch::Receiver<Mode>, forgotten: &AtomicBool) {
    let mut lost = false;
    loop {
        match *modes.borrow_and_update() {
            Some(Harm::Cut) => return,
            Some(Harm::Forget) => forgotten.store(true, Ordering::Relaxed),
            Some(Harm::LoseAnswers) => lost = true,
            _ if lost => return,
            _ => {}
        }
        if modes.changed().await.is_err() {
            return;
        }
    }
}

/// Passes one direction on to its end. Errors end the other direction too.
async fn one_way(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut modes: watch::Receiver<Mode>,
    way: Way,
    forgotten: &AtomicBool,
) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = from.read(&mut buffer).await?;
        let held = |mode: &Mode| *mode == Some(Harm::Freeze) || (way == Way::Back && *mode == Some(Harm::LoseAnswers));
        if modes.wait_for(|mode| !held(mode)).await.is_err() {
            return Ok(());
        }
        if *modes.borrow() == Some(Harm::Slow) {
            tokio::time::sleep(DELAY).await;
        }
        if forgotten.load(Ordering::Relaxed) {
            match (read, way) {
                // The client gave up: nobody is left to be kept in the dark.
                (0, Way::There) => return Err(io::ErrorKind::ConnectionAborted.into()),
                // The end doesn't arrive either.
                (0, Way::Back) => std::future::pending().await,
                _ => continue,
            }
        }
        if read == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..read]).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that answers each line with itself, and a connection to it through a door.
    async fn echo() -> (Door, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let door = Door::open().await.unwrap();
        door.lead_to([listener.local_addr().unwrap().to_string()]);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        let client = TcpStream::connect(door.address()).await.unwrap();
        (door, client)
    }

    async fn ask(client: &mut TcpStream) -> io::Result<usize> {
        client.write_all(b"hello").await?;
        client.read_exact(&mut [0; 5]).await
    }

    async fn silent(client: &mut TcpStream) -> bool {
        let mut byte = [0];
        tokio::time::timeout(Duration::from_millis(200), client.read(&mut byte)).await.is_err()
    }

    #[tokio::test]
    async fn a_cut_ends_connections_and_lets_none_in() {
        let (door, mut client) = echo().await;
        ask(&mut client).await.unwrap();
        door.strike(Harm::Cut).unwrap();
        assert!(ask(&mut client).await.is_err());
        let mut another = TcpStream::connect(door.address()).await.unwrap();
        assert!(ask(&mut another).await.is_err());
        door.mend(Harm::Cut).unwrap();
        ask(&mut TcpStream::connect(door.address()).await.unwrap()).await.unwrap();
    }

    #[tokio::test]
    async fn what_was_frozen_arrives_afterwards() {
        let (door, mut client) = echo().await;
        door.strike(Harm::Freeze).unwrap();
        client.write_all(b"hello").await.unwrap();
        assert!(silent(&mut client).await);
        door.mend(Harm::Freeze).unwrap();
        client.read_exact(&mut [0; 5]).await.unwrap();
    }

    #[tokio::test]
    async fn a_lost_answer_never_arrives() {
        let (door, mut client) = echo().await;
        door.strike(Harm::LoseAnswers).unwrap();
        client.write_all(b"hello").await.unwrap();
        assert!(silent(&mut client).await);
        door.mend(Harm::LoseAnswers).unwrap();
        assert!(!matches!(client.read(&mut [0; 5]).await, Ok(1..)), "the connection is broken");
    }

    #[tokio::test]
    async fn a_forgotten_connection_stays_silent_and_a_new_one_works() {
        let (door, mut client) = echo().await;
        ask(&mut client).await.unwrap();
        door.strike(Harm::Forget).unwrap();
        client.write_all(b"hello").await.unwrap();
        assert!(silent(&mut client).await);
        door.mend(Harm::Forget).unwrap();
        client.write_all(b"hello").await.unwrap();
        assert!(silent(&mut client).await);
        ask(&mut TcpStream::connect(door.address()).await.unwrap()).await.unwrap();
    }

    #[tokio::test]
    async fn a_server_that_is_away_is_passed_over() {
        let (door, mut client) = echo().await;
        ask(&mut client).await.unwrap();
        let there = door.targets.lock().unwrap()[0].clone();
        let away = stage::free_port(&[]).unwrap();
        door.lead_to([format!("127.0.0.1:{away}"), there]);
        for _ in 0..4 {
            ask(&mut TcpStream::connect(door.address()).await.unwrap()).await.unwrap();
        }
    }
}
