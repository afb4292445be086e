//! PostgreSQL alone: sandboxes, roles, and a folder that its user can't reach.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use sqlx::{Connection, PgConnection};
use stage::{Options, Stage};

async fn start(dir: std::path::PathBuf) -> Stage {
    let options = Options { brokers: 0, registry: false, dir, ..Options::default() };
    tokio::task::spawn_blocking(|| Stage::start(options)).await.unwrap().unwrap()
}

async fn connect(url: &str) -> Result<PgConnection, String> {
    PgConnection::connect(url).await.map_err(|error| error.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_opens_its_own_database_and_no_other() {
    // A folder that only its owner may enter, as /root is.
    let home = tempfile::tempdir().unwrap();
    std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let stage = start(home.path().join("deep/stage")).await;

    let (one, two) = (stage.sandbox().await.unwrap(), stage.sandbox().await.unwrap());
    assert_ne!(one.prefix, two.prefix);
    let begun = Instant::now();
    let orders = one.database("orders").await.unwrap();
    let took = begun.elapsed();
    let others = [one.database("payments").await.unwrap(), two.database("orders").await.unwrap()];
    println!("the first database took {took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");

    let mut own = connect(&orders.url).await.unwrap();
    sqlx::raw_sql("CREATE TABLE a (n int); CREATE SCHEMA b").execute(&mut own).await.unwrap();
    let mut foreign: Vec<String> = others.iter().map(|other| other.name.clone()).collect();
    foreign.extend(["postgres".into(), "template1".into()]);
    for name in foreign {
        let url = orders.url.replace(&format!("/{}", orders.name), &format!("/{name}"));
        let url = url.replace(&format!("//{name}:"), &format!("//{}:", orders.role));
        let refused = connect(&url).await.err().unwrap_or_default();
        assert!(refused.contains("permission denied for database"), "{name}: {refused}");
    }
    let wrong = connect(&orders.url.replace(&orders.password, "wrong")).await.err().unwrap_or_default();
    assert!(wrong.contains("password authentication failed"), "{wrong}");
    assert!(one.database("no; such").await.is_err());

    let same = tokio::join!(stage.database("together"), stage.database("together"));
    assert_eq!(same.0.unwrap().url, same.1.unwrap().url);

    let secret = std::fs::read_dir(home.path().join("deep/stage")).unwrap().flatten().map(|e| e.path().join("postgres/password"));
    let secret: Vec<_> = secret.filter(|path| path.exists()).collect();
    assert_eq!(secret.len(), 1);
    assert_eq!(secret[0].metadata().unwrap().permissions().mode() & 0o777, 0o600);
    tokio::task::spawn_blocking(|| drop(stage)).await.unwrap();
}

#[test]
fn without_a_stage_the_error_says_how_to_get_one() {
    if std::env::var_os("STAGE_KAFKA").is_none() {
        let message = Stage::attach().unwrap_err().to_string();
        assert!(message.contains("STAGE_KAFKA") && message.contains("scripts/test"), "{message}");
    }
}

/// The stage that the environment names is used, and its databases are the same for all that ask: `scripts/test` and `scripts/dev` run
/// all tests on one.
#[tokio::test(flavor = "multi_thread")]
async fn attached() {
    let stage = Stage::shared();
    let ours = stage.sandbox().await.unwrap().database("attached").await.unwrap();
    connect(&ours.url).await.unwrap();
    let asked = std::process::Command::new(env!("CARGO_BIN_EXE_stage")).args(["database", &ours.name]).envs(stage.env()).output();
    assert_eq!(String::from_utf8(asked.unwrap().stdout).unwrap().trim_end(), ours.url);
}
