//! What the kit works on when connections are forgotten.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use std::time::Duration;

use farandole::Codec;
use sqlx::postgres::PgPoolOptions;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::world::World;

/// Leads to `target`, and passes on so many requests of the first connection; then it is forgotten. Gives its port.
async fn forgetful(target: String, left: Arc<AtomicI64>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut first = true;
        while let Ok((near, _)) = listener.accept().await {
            let far = TcpStream::connect(&target).await.unwrap();
            let ((mut from, mut to_near), (mut from_far, mut to)) = (near.into_split(), far.into_split());
            let (is_first, left) = (std::mem::take(&mut first), Arc::clone(&left));
            tokio::spawn(async move {
                let mut buffer = vec![0; 64 * 1024];
                while let Ok(n @ 1..) = from.read(&mut buffer).await {
                    if !is_first || left.fetch_sub(1, SeqCst) > 0 {
                        to.write_all(&buffer[..n]).await.unwrap();
                    }
                }
            });
            tokio::spawn(async move { tokio::io::copy(&mut from_far, &mut to_near).await });
        }
    });
    port
}

/// The only connection is forgotten after one answer more than its use needs: when a pool would ask it, in vain, whether it lives.
/// Guard: connections don't go back to the pool. Without, the next use waits for a place that is never free again.
#[tokio::test]
async fn a_forgotten_connection_gives_its_place_back() {
    let world = World::new().await;
    let schema = "insert into farandole.schemas select n, '\"string\"' from generate_series(901, 906) n";
    sqlx::query(schema).execute(&world.pool).await.unwrap();
    let options = world.pool.connect_options().as_ref().clone();
    let left = Arc::new(AtomicI64::new(i64::MAX));
    let port = forgetful(format!("{}:{}", options.get_host(), options.get_port()), Arc::clone(&left)).await;
    let pool = farandole::engine::session::watched(PgPoolOptions::new()).max_connections(1);
    let pool = pool.acquire_timeout(Duration::from_secs(3)).connect_lazy_with(options.host("127.0.0.1").port(port));
    let codec = Codec::new("http://127.0.0.1:9", pool);
    // Each asks the database once. The first prepares its statement.
    codec.prepare([901]).await.unwrap();
    codec.prepare([902]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    left.store(2, SeqCst);
    codec.prepare([903]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    codec.prepare([904]).await.expect("one more answer");
    let silent = tokio::time::timeout(Duration::from_secs(1), codec.prepare([905])).await;
    assert!(silent.is_err(), "the connection was not forgotten: the test tests nothing");
    codec.prepare([906]).await.expect("a new connection");
}
