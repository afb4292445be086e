//! A private PostgreSQL cluster of the installed package, with a random superuser password and SCRAM on every connection.
//!
//! PostgreSQL refuses to run as root. Started by root it runs as `postgres` (or `nobody`), who may not reach a folder below, say, `/root`:
//! it then keeps the one capability to read and search folders, and nothing else.

use std::fs;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use sqlx::{ConnectOptions, Connection, Executor};

use crate::error::{At, Error};
use crate::folder::Run;
use crate::part::{Part, prepare};
use crate::process::{Command, User, find};

/// What differs from PostgreSQL's defaults. `fsync` does not, nor does what hides a fault. No Unix socket: its path would be too long in a
/// deep folder.
const SETTINGS: [&str; 11] = [
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "password_encryption=scram-sha-256",
    // Some hundred tests side by side, each with pools of its own, in the place of as many servers.
    "max_connections=300",
    // The room for locks is this times all processes that may lock: 342 here, 122 on a server as installed, where this is 64. So it
    // is as small as it is there: what fills it there is to fill it here.
    "max_locks_per_transaction=23",
    // A transaction that is prepared and then left open: a test's.
    "max_prepared_transactions=20",
    "shared_buffers=256MB",
    "max_wal_size=4GB",
    "log_min_messages=warning",
    "log_line_prefix=%m %p %u@%d ",
    "logging_collector=off",
];

/// The part, and the superuser's address.
pub(crate) fn part(run: &Run, port: u16, logical: bool) -> Result<(Part, String), Error> {
    let bin = installed()?;
    let folder = run.part("postgres")?;
    let log = run.logs.join("postgres.log");
    let user = user(&folder)?;
    let password = uuid::Uuid::new_v4().simple().to_string();
    let secret = folder.join("password");
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&secret).at("creating", &secret)?;
    std::io::Write::write_all(&mut file, password.as_bytes()).at("writing", &secret)?;
    if let Some(user) = user {
        for path in [&folder, &secret] {
            chown(path, Some(user.uid), Some(user.gid)).at("changing the owner of", path)?;
        }
    }
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).at("changing the mode of", &folder)?;

    let data = folder.join("data");
    let tool = |program: &str| {
        // A PGDATA or PGPORT of the caller's has no say here: the arguments decide.
        Command::new("postgres", bin.join(program)).folder(&folder).log(&log).user(user).env([("LC_ALL", "C")])
    };
    let initdb = tool("initdb").args(["-D".as_ref(), data.as_os_str()]).args(["-U", "postgres", "-A", "scram-sha-256"]);
    // The files are new and worth nothing yet, so nobody waits for the disk here.
    let initdb = initdb.args(["--encoding=UTF8", "--locale=C", "--no-sync"]).args([format!("--pwfile={}", secret.display())]);
    prepare(&initdb, run, "postgres", &log)?;

    // QUIT: the server ends its children and frees its shared memory within 5 s, and leaves the disk as it is.
    let mut serve = tool("postgres").death("QUIT").args(["-D".as_ref(), data.as_os_str()]);
    serve = serve.args(SETTINGS.iter().flat_map(|setting| ["-c", setting])).args(["-c".into(), format!("port={port}")]);
    if logical {
        serve = serve.args(["-c", "wal_level=logical"]);
    }
    let url = format!("postgres://postgres:{password}@127.0.0.1:{port}/postgres");
    let asked = url.clone();
    let part = Part::new("postgres", serve, Box::new(move || ask(&asked))).signals(Signal::INT, Signal::QUIT);
    Ok((part, url))
}

/// Connects and selects.
fn ask(url: &str) -> Result<(), String> {
    let select = async {
        let mut connection = connect(url).await?;
        sqlx::query("SELECT 1").execute(&mut connection).await?;
        connection.close().await
    };
    on_own_runtime(async move { tokio::time::timeout(Duration::from_secs(2), select).await })
        .map_err(|error| error.to_string())?
        .map_err(|_| "no answer in 2 s".to_owned())?
        .map_err(|error| error.to_string())
}

/// No service role may look into the databases that are there for administration.
pub(crate) fn close_to_others(url: &str) -> Result<(), Error> {
    let close = async {
        let mut connection = connect(url).await?;
        connection.execute("REVOKE CONNECT ON DATABASE postgres FROM PUBLIC").await?;
        connection.execute("REVOKE CONNECT ON DATABASE template1 FROM PUBLIC").await?;
        connection.close().await
    };
    on_own_runtime(close)
        .map_err(|source| Error::Io { what: "starting a runtime".into(), source })?
        .map_err(|source| Error::Sql { what: "closing the database postgres to the services' roles".into(), source })
}

/// A connection that doesn't log its statements, some of which have passwords in them.
pub(crate) async fn connect(url: &str) -> Result<sqlx::PgConnection, sqlx::Error> {
    let options: sqlx::postgres::PgConnectOptions = url.parse()?;
    options.ssl_mode(sqlx::postgres::PgSslMode::Disable).disable_statement_logging().connect().await
}

/// On a thread of its own: the caller may be on one of another runtime's, where waiting for a future would panic.
fn on_own_runtime<T: Send>(work: impl Future<Output = T> + Send) -> std::io::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = std::thread::scope(|scope| scope.spawn(|| runtime.block_on(work)).join());
    done.map_err(|_| std::io::Error::other("the thread that asks PostgreSQL panicked"))
}

/// The newest installed version's programs. Debian keeps them out of PATH.
pub(crate) fn installed() -> Result<PathBuf, Error> {
    let version = |path: &PathBuf| path.parent()?.file_name()?.to_str()?.parse::<f32>().ok();
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|entry| entry.path().join("bin"));
    let there = versions.filter(|bin| bin.join("initdb").is_file() && bin.join("postgres").is_file());
    let newest = there.filter_map(|bin| Some((version(&bin)?, bin))).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, bin)| bin);
    let in_path = || find("initdb")?.canonicalize().ok()?.parent().map(Path::to_owned);
    newest.or_else(in_path).ok_or_else(|| Error::missing("initdb", "postgresql"))
}

/// Whom to run as, if this is root.
fn user(folder: &Path) -> Result<Option<User>, Error> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let passwd = fs::read_to_string("/etc/passwd").at("reading", Path::new("/etc/passwd"))?;
    let ids = |name: &str| {
        let entry = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = entry.split(':').skip(2).map(|field| field.parse::<u32>().ok());
        Some((fields.next()??, fields.next()??))
    };
    let found = ids("postgres").or_else(|| ids("nobody"));
    let (uid, gid) =
        found.ok_or(Error::Options("PostgreSQL refuses to run as root, and there is neither a user postgres nor nobody"))?;
    let open_to_all = |path: &Path| path.metadata().is_ok_and(|m| m.mode() & 0o001 != 0);
    let reachable = folder.ancestors().skip(1).all(open_to_all);
    Ok(Some(User { uid, gid, keep: if reachable { None } else { capability() } }))
}

/// The least of the capabilities that open foreign folders which this process has; a container may have taken either away.
fn capability() -> Option<&'static str> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapPrm:"))?;
    let mask = u64::from_str_radix(line.trim(), 16).ok()?;
    [("dac_read_search", 2), ("dac_override", 1)].into_iter().find(|(_, bit)| mask & (1 << bit) != 0).map(|(name, _)| name)
}
