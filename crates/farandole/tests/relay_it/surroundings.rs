//! Servers, databases and roles that aren't as an installation has them.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use farandole::engine::session::watched;
use farandole::outbox::{NewEvent, append};
use farandole::relay::Role;
use farandole::surroundings::{Error, check};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use stage::Stage;

use crate::world::{World, consume, eventually, pool};

/// What a role may have been told, and what a session of the kit's runs under all the same.
const ODD: [(&str, &str, &str); 17] = [
    ("default_transaction_isolation", "serializable", "read committed"),
    ("default_transaction_deferrable", "on", "off"),
    ("synchronous_commit", "off", "on"),
    ("statement_timeout", "200ms", "1min"),
    ("lock_timeout", "1ms", "10s"),
    ("idle_in_transaction_session_timeout", "1s", "30s"),
    ("idle_session_timeout", "500ms", "0"),
    ("TimeZone", "Asia/Kathmandu", "UTC"),
    ("DateStyle", "SQL, DMY", "ISO, MDY"),
    ("IntervalStyle", "sql_standard", "postgres"),
    ("bytea_output", "escape", "hex"),
    ("extra_float_digits", "-15", "1"),
    ("standard_conforming_strings", "off", "on"),
    ("client_encoding", "LATIN1", "UTF8"),
    ("search_path", "elsewhere, pg_catalog, public", "elsewhere, public"),
    ("plan_cache_mode", "force_custom_plan", "force_custom_plan"),
    ("enable_indexscan", "off", "off"),
];

async fn set(world: &World, settings: &[(&str, &str, &str)]) {
    for (name, value, _) in settings {
        let value = if *name == "search_path" { (*value).to_owned() } else { format!("'{value}'") };
        world.pool.execute(AssertSqlSafe(format!("alter role current_user set {name} = {value}"))).await.unwrap();
    }
}

/// O7: a role whose every default is odd. Guard: `session::prepare`. Without, the relay can't write a step, nor keep a session.
#[tokio::test(flavor = "multi_thread")]
async fn a_role_may_say_what_it_likes() {
    let world = World::new().await;
    let topic = world.make_topic("orders", 2).await;
    set(&world, &ODD).await;
    check(&world.pool, &[]).await.unwrap();
    let odd = watched(PgPoolOptions::new()).max_connections(1).connect(&world.url).await.unwrap();
    for (name, _, wanted) in ODD {
        let is: String = sqlx::query_scalar("select current_setting($1)").bind(name).fetch_one(&odd).await.unwrap();
        assert_eq!(is, wanted, "{name}");
    }
    world.fill(&topic, 50).await;
    let relay = world.relay(world.config()).await;
    relay.published(50).await;
    // Longer than sessions of this role may idle.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    world.fill(&topic, 50).await;
    relay.published(100).await;
    relay.stop().await.unwrap();
    assert_eq!(consume(&world.read(&topic).await).len(), 100);
}

/// A path with a function of somebody's before PostgreSQL's own. Guard: `pg_catalog` is taken out of the path, which puts it first.
#[tokio::test]
async fn nobodys_function_stands_in_for_postgresqls() {
    let world = World::new().await;
    world
        .pool
        .execute(
            "create schema elsewhere;
             create function elsewhere.pg_current_snapshot() returns pg_snapshot language sql as $$ select '1:1:'::pg_snapshot $$;
             alter role current_user set search_path = elsewhere, pg_catalog, public",
        )
        .await
        .unwrap();
    let plain = pool(&world.url, 1).await;
    let asked = "select pg_current_snapshot()::text";
    assert_eq!(sqlx::query_scalar::<_, String>(asked).fetch_one(&plain).await.unwrap(), "1:1:", "the test tests nothing");
    let ours = watched(PgPoolOptions::new()).max_connections(1).connect(&world.url).await.unwrap();
    assert_ne!(sqlx::query_scalar::<_, String>(asked).fetch_one(&ours).await.unwrap(), "1:1:");
    let path: String = sqlx::query_scalar("select current_setting('search_path')").fetch_one(&ours).await.unwrap();
    assert_eq!(path, "elsewhere, public", "where the service's own tables are found stays its own business");
}

/// `append` in a transaction of the caller's, at any isolation level: places in the outbox follow the order of commits. Guard: the key's
/// lock, which is held until the commit; the place is taken behind it and rests on no snapshot.
#[tokio::test]
async fn an_appends_place_follows_commits_at_every_level() {
    let world = World::new().await;
    for level in ["read committed", "repeatable read", "serializable"] {
        let event = |what: &str| NewEvent::new("orders", level, "orders.Noted", "application/json", what.as_bytes().to_vec());
        let begin = format!("begin isolation level {level}");
        let mut first = world.pool.acquire().await.unwrap();
        let mut second = world.pool.acquire().await.unwrap();
        let mut second = second.begin_with(AssertSqlSafe(begin.clone())).await.unwrap();
        // Its snapshot, where the level has one, is from before the other's commit.
        second.fetch_one("select count(*) from farandole.outbox").await.unwrap();
        let mut first = first.begin_with(AssertSqlSafe(begin)).await.unwrap();
        append(&mut first, &event("1")).await.unwrap();
        first.commit().await.unwrap();
        append(&mut second, &event("2")).await.unwrap();
        second.commit().await.unwrap();
        let payloads = "select convert_from(payload, 'utf8') from farandole.outbox where aggregateid = $1 order by seq";
        let payloads: Vec<String> = sqlx::query_scalar(payloads).bind(level).fetch_all(&world.pool).await.unwrap();
        assert_eq!(payloads, ["1", "2"], "{level}");
    }
}

/// A superuser's session at the database of `world`.
async fn admin(world: &World) -> PgConnection {
    let database = world.pool.connect_options().get_database().unwrap().to_owned();
    let options: PgConnectOptions = Stage::shared().postgres().parse().unwrap();
    PgConnection::connect_with(&options.database(&database)).await.unwrap()
}

/// O12: rights on rows only, as the sentences say, and seq passes the end of the last partition that `migrate` made. Guards: the
/// check at the start; functions that work as the tables' owner. Without, the relay says nothing, and every append fails from there on.
#[tokio::test(flavor = "multi_thread")]
async fn a_role_with_rights_on_rows_alone() {
    let world = World::new().await;
    let topic = world.make_topic("orders", 2).await;
    let mut admin = admin(&world).await;
    let database = world.pool.connect_options().get_database().unwrap().to_owned();
    let (role, password) = (format!("{database}_rows"), uuid::Uuid::new_v4().simple());
    let made = format!("create role {role} login password '{password}'; grant connect on database {database} to {role}");
    admin.execute(AssertSqlSafe(made)).await.unwrap();
    let options = world.pool.connect_options().as_ref().clone().username(&role).password(&password.to_string());
    let rows = PgPoolOptions::new().max_connections(4).connect_with(options).await.unwrap();

    // Each sentence holds what mends it.
    let mut told = Vec::new();
    while let Err(error) = check(&rows, &[]).await {
        assert!(error.is_transient(), "{error}");
        let sentence = error.to_string();
        let mends = sentence.split('`').nth(1).unwrap_or_else(|| panic!("no advice: {sentence}")).to_owned();
        assert!(!told.contains(&mends), "said twice: {mends}");
        sqlx::raw_sql(AssertSqlSafe(mends.clone())).execute(&world.pool).await.unwrap();
        told.push(mends);
    }
    let told = told.join("; ");
    for needed in ["grant usage on schema farandole", "farandole.outbox", "farandole.steps", "grant execute on all functions"] {
        assert!(told.contains(needed), "{told}");
    }

    let (relay, _) = farandole::relay::Relay::new(rows.clone(), world.config());
    let (status, stop) = (relay.status(), tokio_util::sync::CancellationToken::new());
    let running = tokio::spawn(relay.run(stop.clone()));
    let append = async || World::append(&mut rows.acquire().await.unwrap(), &topic, "k", 1).await;
    append().await;
    eventually("the first row to be out", Duration::from_secs(20), async || status.published() == 1).await;

    // Without the right to make partitions it says how long that can go on.
    let functions =
        |verb: &str, to: &str| AssertSqlSafe(format!("{verb} execute on all functions in schema farandole {to} {role}"));
    admin.execute(functions("revoke", "from")).await.unwrap();
    world.pool.execute("select setval(pg_get_serial_sequence('farandole.outbox', 'seq'), 2999990)").await.unwrap();
    append().await;
    eventually("the trouble to show", Duration::from_secs(20), async || {
        status.upkeep().is_some_and(|why| why.contains("permission denied") && why.contains("; after 9 more rows"))
    })
    .await;
    assert_eq!(status.role(), Role::Active, "what is there goes on");
    admin.execute(functions("grant", "to")).await.unwrap();
    eventually("the trouble to be over", Duration::from_secs(20), async || status.upkeep().is_none()).await;
    for _ in 0..30 {
        append().await;
    }
    eventually("all to be out", Duration::from_secs(20), async || status.published() == 32).await;
    let there = async |table: &'static str| {
        let there = sqlx::query_scalar::<_, bool>("select to_regclass($1) is not null").bind(table).fetch_one(&world.pool);
        there.await.unwrap()
    };
    let ahead = async || there("farandole.outbox_5000001").await;
    eventually("two more than the one that is being filled", Duration::from_secs(20), ahead).await;
    eventually("what is out to be dropped", Duration::from_secs(180), async || {
        !there("farandole.outbox_1").await && !there("farandole.outbox_2000001").await
    })
    .await;
    stop.cancel();
    running.await.unwrap().unwrap();
    assert_eq!(consume(&world.read(&topic).await).len(), 32);
    let loose = check(&rows, &["nowhere"]).await.unwrap_err().to_string();
    assert!(loose.contains("no table nowhere"), "{loose}");
}

/// Guard: the check. It isn't overridden, for whoever has set it meant to.
#[tokio::test]
async fn a_role_that_writes_nothing_by_default_is_named() {
    let world = World::new().await;
    set(&world, &[("default_transaction_read_only", "on", "on")]).await;
    let error = check(&world.pool, &[]).await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("`default_transaction_read_only` is on"), "{error}");
}

/// Rows that a policy hides are rows that are never published. Guard: the check.
#[tokio::test]
async fn row_security_on_the_kits_tables_is_named() {
    let world = World::new().await;
    world.pool.execute("alter table farandole.outbox enable row level security, force row level security").await.unwrap();
    let error = check(&world.pool, &[]).await.unwrap_err().to_string();
    assert!(error.contains("`alter table farandole.outbox disable row level security`"), "{error}");
}

/// O34. Guard: the check, which `migrate` makes first. Without, a record keyed `日本` stops its partition one day.
#[tokio::test]
async fn a_database_that_cant_store_every_text_is_refused() {
    let sandbox = Stage::shared().sandbox().await.unwrap();
    let owner = sandbox.database("odd").await.unwrap();
    let mut admin = PgConnection::connect(Stage::shared().postgres()).await.unwrap();
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let name = format!("{}_{}", owner.name, encoding.to_lowercase());
        let make = format!("create database {name} encoding '{encoding}' locale 'C' template template0 owner {}", owner.role);
        admin.execute(AssertSqlSafe(make)).await.unwrap();
        let pool = pool(&format!("{}/{name}", owner.url.rsplit_once('/').unwrap().0), 2).await;
        let error = farandole::migrate(&pool).await.unwrap_err();
        let farandole::migrations::Error::Surroundings(error) = error else { panic!("{error}") };
        assert!(matches!(error, Error::Unfit(_)) && error.to_string().contains(encoding), "{error}");
        let made = "select to_regnamespace('farandole') is not null";
        assert!(!sqlx::query_scalar::<_, bool>(made).fetch_one(&pool).await.unwrap(), "refused, but half made");
    }
}

/// A pooler of a test's own, gone with it.
struct Pooler {
    process: std::process::Child,
    pool: PgPool,
    _folder: tempfile::TempDir,
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Pooler {
    /// In front of the database of `world`, in pool mode `mode`, as installed otherwise.
    async fn start(world: &World, mode: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        let (port, to) = (stage::free_port(&[]).unwrap(), world.pool.connect_options());
        let password = world.url.split([':', '@']).nth(2).unwrap();
        let (host, database, user) = (to.get_host(), to.get_database().unwrap(), to.get_username());
        let path = folder.path().join("pgbouncer.ini");
        let mut file = std::fs::File::create(&path).unwrap();
        write!(
            file,
            "[databases]\n{database} = host={host} port={} dbname={database} user={user} password={password}\n[pgbouncer]\n\
             listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = {mode}\n",
            to.get_port()
        )
        .unwrap();
        let mut command = std::process::Command::new("pgbouncer");
        if std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap()) == 0 {
            command.args(["-u", "nobody"]); // it refuses to run as root
        }
        let process = command
            .arg("-q")
            .arg(&path)
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("pgbouncer, which scripts/install installs");
        let options =
            PgConnectOptions::new().host("127.0.0.1").port(port).username(user).database(database).extra_float_digits(None);
        let pool = PgPoolOptions::new().max_connections(4).connect_with(options.ssl_mode(sqlx::postgres::PgSslMode::Disable));
        let pool = tokio::time::timeout(Duration::from_secs(20), pool).await.expect("pgbouncer serves in time").unwrap();
        Self { process, pool, _folder: folder }
    }
}

/// O35: a pooler that lends sessions out by transaction is found out and named, in whichever order its sessions come; one by session is
/// as good as the server. Guard: two sessions that tell each other apart. Without, everything is ready and every command fails.
#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_by_transaction_is_refused_and_one_by_session_isnt() {
    let world = World::new().await;
    let topic = world.make_topic("orders", 2).await;
    world.fill(&topic, 10).await;
    let by_transaction = Pooler::start(&world, "transaction").await;
    for _ in 0..3 {
        let error = check(&by_transaction.pool, &[]).await.unwrap_err();
        assert!(error.is_transient() && error.to_string().contains("a pooler in session mode"), "{error}");
    }
    let (relay, _) = farandole::relay::Relay::new(by_transaction.pool.clone(), world.config());
    let (status, stop) = (relay.status(), tokio_util::sync::CancellationToken::new());
    let running = tokio::spawn(relay.run(stop.clone()));
    let says = async || matches!(status.role(), Role::Waiting(why) if why.contains("a pooler in session mode"));
    eventually("the relay to say so", Duration::from_secs(20), says).await;
    stop.cancel();
    running.await.unwrap().unwrap();

    let by_session = Pooler::start(&world, "session").await;
    check(&by_session.pool, &[]).await.unwrap();
    let (relay, _) = farandole::relay::Relay::new(by_session.pool.clone(), world.config());
    let (status, stop) = (relay.status(), tokio_util::sync::CancellationToken::new());
    let running = tokio::spawn(relay.run(stop.clone()));
    eventually("the rows to be out", Duration::from_secs(20), async || status.published() == 10).await;
    stop.cancel();
    running.await.unwrap().unwrap();
}

/// G25. Guard: the right to create the schema is asked for first, and only where the tables aren't there. Without, PostgreSQL's refusal names no
/// right, and the role has to keep it for every later migration.
#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_create_the_schema_is_told_the_grant() {
    let stage = tokio::task::spawn_blocking(Stage::shared).await.unwrap();
    let database = stage.sandbox().await.unwrap().database("bare").await.unwrap();
    let (role, password) = (format!("{}_guest", database.name), uuid::Uuid::new_v4().simple().to_string());
    let mut admin = PgConnection::connect(stage.postgres()).await.unwrap();
    let make = format!(
        "create role \"{role}\" login password '{password}'; grant connect on database \"{}\" to \"{role}\"",
        database.name
    );
    admin.execute(AssertSqlSafe(make)).await.unwrap();
    let (_, at) = database.url.split_once('@').unwrap();
    let guest = crate::world::pool(&format!("postgres://{role}:{password}@{at}"), 2).await;
    let said = farandole::migrate(&guest).await.unwrap_err().to_string();
    assert!(said.contains("grant create on database") && said.contains(&role), "{said}");
    let mut owner = PgConnection::connect(&database.url).await.unwrap();
    for right in ["grant create", "revoke create"] {
        let way = if right.starts_with("grant") { "to" } else { "from" };
        owner.execute(AssertSqlSafe(format!("{right} on database \"{}\" {way} \"{role}\"", database.name))).await.unwrap();
        farandole::migrate(&guest).await.unwrap();
    }
    owner.close().await.unwrap();
    guest.close().await;
}
