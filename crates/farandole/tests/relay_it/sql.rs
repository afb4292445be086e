//! `farandole.append`, the outbox in SQL: for any client and any language, and the same as Rust's `append`.

use std::collections::BTreeMap;
use std::process::{Command, Output};
use std::time::Duration;

use farandole::outbox::{Error, NewEvent, append};
use farandole::{Record, extent};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use stage::Stage;
use uuid::Uuid;

use crate::world::{World, eventually, pool};

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn psql(url: &str, sql: &str) -> Output {
    let mut psql = Command::new("psql");
    psql.args(["-qAtX", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=verbose", url, "-c", sql]).output().unwrap()
}

fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

/// Publishes what is in the outbox, and reads it back.
async fn published(world: &World, topic: &str, rows: u64) -> Vec<Record> {
    let relay = world.relay(world.config()).await;
    relay.published(rows).await;
    relay.stop().await.unwrap();
    let (config, topic) = (world.client(), topic.to_owned());
    let read = move || extent::Client::new(&config, extent::View::Everything).unwrap().records(&topic).unwrap();
    tokio::task::spawn_blocking(read).await.unwrap()
}

/// What two records of the same event have in common: all but their ids, times and places in the chain.
fn essence(record: &Record) -> (Vec<u8>, Vec<u8>, Vec<(String, String)>) {
    let headers = record.headers.iter().filter(|h| !matches!(h.name.as_str(), "ce_id" | "ce_time")).map(|h| {
        let (_, own) = h.value.split_once(";c=").filter(|_| h.name == "farandole").unwrap_or(("", &h.value));
        (h.name.clone(), own.replace(record.header("ce_id").unwrap(), "<id>"))
    });
    (record.key.clone().unwrap(), record.value.clone().unwrap(), headers.collect())
}

/// An event as Rust makes it and as SQL says it, under keys that tell them apart in pairs.
fn pairs(topic: &str) -> Vec<(NewEvent, String)> {
    let event = |key: &str, kind: &'static str, content_type: &str, value: &[u8]| {
        NewEvent::new(topic, key, kind, content_type, value.to_vec())
    };
    let json = |key: &str| event(key, "billing.Paid", "application/json", br#"{"cents": 1200, "invoice": 17}"#);
    let avro = [0, 0, 0, 1, 7, 2, 97];
    let (k, shared) = ("a-'quoted' ключ;%,", Uuid::new_v4());
    let quoted = k.replace('\'', "''");
    vec![
        (json("plain"), format!("'{topic}', 'plain', 'billing.Paid', '{{\"invoice\": 17, \"cents\": 1200}}'::jsonb")),
        (
            event("json", "billing.Paid", "application/json", br#"{"b":1,  "a":2}"#),
            // As text it stays as it was written.
            format!("'{topic}', 'json', 'billing.Paid', '{{\"b\":1,  \"a\":2}}'::json"),
        ),
        (
            event("avro", "billing.Paid", "application/avro", &avro),
            format!("'{topic}', 'avro', 'billing.Paid', '\\x00000001070261'::bytea"),
        ),
        (
            event("named", "billing.Paid", "application/avro", &avro).header("tenant", "acme"),
            format!(
                "'{topic}', 'named', 'billing.Paid', '\\x00000001070261'::bytea, \
                 '{{\"content-type\": \"application/avro\", \"tenant\": \"acme\"}}'"
            ),
        ),
        (
            event("other", "billing.Paid", "application/x-protobuf", &[8, 150, 1]),
            format!("'{topic}', 'other', 'billing.Paid', '\\x089601'::bytea, '{{\"content-type\": \"application/x-protobuf\"}}'"),
        ),
        (
            json(k)
                .cause("POST /invoices; 50 %")
                .correlation(shared)
                .traceparent(Some(TRACE))
                .header("b", "x,\"y\"")
                .header("a", "ü"),
            format!(
                "'{topic}', '{quoted}', 'billing.Paid', '{{\"cents\": 1200, \"invoice\": 17}}'::jsonb, \
                 '{{\"a\": \"ü\", \"b\": \"x,\\\"y\\\"\"}}', 'POST /invoices; 50 %', '{shared}', '{TRACE}'"
            ),
        ),
        (
            json("locked").key_is_locked().cause("").traceparent(Some("00-none")),
            format!(
                "'{topic}', 'locked', 'billing.Paid', '{{\"cents\": 1200, \"invoice\": 17}}'::jsonb, key_is_locked => true, \
                 cause => '', traceparent => '00-none'"
            ),
        ),
    ]
}

/// Guard: one implementation. What psql appends is, on the topic, byte for byte what Rust's `append` does, but for ids and times.
#[tokio::test(flavor = "multi_thread")]
async fn what_psql_appends_is_what_rust_appends() {
    let world = World::new().await;
    let topic = world.make_topic("orders", 3).await;
    let pairs = pairs(&topic);
    for (event, sql) in &pairs {
        let mut tx = world.pool.begin().await.unwrap();
        append(&mut tx, event).await.unwrap();
        tx.commit().await.unwrap();
        let output = psql(&world.url, &format!("select farandole.append({sql})"));
        assert!(output.status.success(), "{sql}: {}", said(&output));
        Uuid::parse_str(&said(&output)).expect("it gives the event's id");
    }
    let records = published(&world, &topic, 2 * pairs.len() as u64).await;
    let mut by_key: BTreeMap<Vec<u8>, Vec<&Record>> = BTreeMap::new();
    records.iter().for_each(|record| by_key.entry(record.key.clone().unwrap()).or_default().push(record));
    assert_eq!(by_key.len(), pairs.len());
    for records in by_key.into_values() {
        let [rust, sql] = &records[..] else { panic!("{records:?}") };
        assert_eq!((essence(rust), rust.partition), (essence(sql), sql.partition));
        assert!(rust.header("farandole").is_some() && rust.header("content-type").is_some());
    }
}

/// An event's parts, for either side.
#[derive(Debug, Clone)]
struct Parts {
    topic: String,
    key: String,
    kind: String,
    payload: Vec<u8>,
    headers: BTreeMap<String, String>,
    cause: Option<String>,
}

impl Parts {
    /// One that is right, but for what `spoil` does to it.
    fn spoilt(spoil: impl FnOnce(&mut Self)) -> Self {
        let text = str::to_owned;
        let headers = BTreeMap::from([(text("content-type"), text("application/json"))]);
        let mut parts =
            Self { topic: text("t"), key: text("k"), kind: text("a.B"), payload: b"{}".to_vec(), headers, cause: None };
        spoil(&mut parts);
        parts
    }

    fn set(&mut self, header: &str, value: impl Into<String>) {
        self.headers.insert(header.to_owned(), value.into());
    }

    fn event(&self) -> NewEvent {
        let event = NewEvent::new(&self.topic, &self.key, self.kind.clone(), "", self.payload.clone());
        let event = self.headers.iter().fold(event, |event, (name, value)| event.header(name, value));
        self.cause.iter().fold(event, |event, cause| event.cause(cause))
    }

    /// SQLSTATE and message of the function's refusal.
    async fn refused_in_sql(&self, world: &World) -> (String, String) {
        let Self { topic, key, kind, payload, headers, cause } = self;
        let call = sqlx::query("select farandole.append($1, $2, $3, $4::bytea, $5::jsonb, $6)");
        let call = call.bind(topic).bind(key).bind(kind).bind(payload).bind(sqlx::types::Json(headers)).bind(cause);
        let error = call.execute(&world.pool).await.unwrap_err();
        let error = error.as_database_error().unwrap();
        (error.code().unwrap().into_owned(), error.message().to_owned())
    }
}

/// Guard: the checks. What would be refused at the head of the relay, or by every consumer, is refused where it is appended, in the same
/// words from either side; Rust's transaction can go on.
#[tokio::test(flavor = "multi_thread")]
async fn both_refuse_the_same_in_the_same_words() {
    let world = World::new().await;
    let long = |len: usize| "x".repeat(len);
    let avro = |payload: &[u8]| {
        Parts::spoilt(|p| {
            p.set("content-type", "application/avro");
            p.payload = payload.to_vec();
        })
    };
    let bad = [
        Parts::spoilt(|p| p.topic = String::new()),
        Parts::spoilt(|p| p.topic = "no topic".to_owned()),
        Parts::spoilt(|p| p.topic = "line\n".to_owned()),
        Parts::spoilt(|p| p.topic = "..".to_owned()),
        Parts::spoilt(|p| p.topic = long(250)),
        Parts::spoilt(|p| p.key = String::new()),
        Parts::spoilt(|p| p.kind = String::new()),
        Parts::spoilt(|p| p.kind = long(513)),
        Parts::spoilt(|p| p.set("ce_id", "forged")),
        Parts::spoilt(|p| p.set("farandole", "l=1")),
        Parts::spoilt(|p| p.set("traceparent", TRACE)),
        Parts::spoilt(|p| p.set("content-type", "")),
        Parts::spoilt(|p| p.set("content-type", long(513))),
        Parts::spoilt(|p| p.cause = Some(long(1025))),
        Parts::spoilt(|p| (0..200).for_each(|n| p.set(&format!("h{n}"), "v"))),
        avro(b"{}"),
        avro(&[0, 0, 0, 1]),
        Parts::spoilt(|p| p.payload = vec![b'x'; 1 << 20]),
        Parts::spoilt(|p| p.key = long(1 << 19)),
        Parts::spoilt(|p| p.set("h", long(1 << 20))),
    ];
    let mut tx = world.pool.begin().await.unwrap();
    for parts in &bad {
        let in_rust = append(&mut tx, &parts.event()).await.unwrap_err().to_string();
        let shown = in_rust.chars().take(200).collect::<String>();
        assert_eq!(parts.refused_in_sql(&world).await, ("22023".to_owned(), in_rust), "{shown}");
    }
    append(&mut tx, &Parts::spoilt(|_| ()).event()).await.expect("the transaction goes on");
    drop(tx);
    // What Rust's types rule out.
    for (sql, words) in [
        ("'t', 'k', 'a.B', '{}'::text", "`payload` is of type text: cast it to jsonb or bytea"),
        ("'t', 'k', 'a.B', null::jsonb", "`payload` is null"),
        ("'t', 'k', null, '{}'::jsonb", "`type` has to be"),
        ("'t', null, 'a.B', '{}'::jsonb", "without a key"),
        ("null, 'k', 'a.B', '{}'::jsonb", "`topic` is no name"),
        ("'t', 'k', 'a.B', '{}'::jsonb, '[]'", "`headers` have to be a JSON object of strings"),
        ("'t', 'k', 'a.B', '{}'::jsonb, '{\"n\": 1}'", "`headers` have to be a JSON object of strings"),
    ] {
        let output = psql(&world.url, &format!("select farandole.append({sql})"));
        let said = said(&output);
        assert!(!output.status.success() && said.contains(words) && said.contains("22023"), "{said}");
    }
    let rows: i64 = sqlx::query_scalar("select count(*) from farandole.outbox").fetch_one(&world.pool).await.unwrap();
    assert_eq!(rows, 0);
}

/// Guard: the function is its owner's. A role that may call it publishes, and can neither read nor write a table; one that may not is told.
#[tokio::test(flavor = "multi_thread")]
async fn a_role_with_nothing_but_the_function_publishes() {
    let world = World::new().await;
    let topic = world.make_topic("orders", 1).await;
    let database = world.pool.connect_options().get_database().unwrap().to_owned();
    let (role, password) = (format!("{database}_writer"), Uuid::new_v4().simple().to_string());
    let mut admin = PgConnection::connect(Stage::shared().postgres()).await.unwrap();
    let make = format!(
        "create role \"{role}\" login password '{password}'; grant connect, temporary on database \"{database}\" to \"{role}\""
    );
    admin.execute(AssertSqlSafe(make)).await.unwrap();
    let (_, at) = world.url.split_once('@').unwrap();
    let url = format!("postgres://{role}:{password}@{at}");
    let call = format!("select farandole.append('{topic}', 'k', 'a.B', '{{}}'::jsonb)");
    let grant = async |sql: String| world.pool.execute(AssertSqlSafe(sql)).await.map(drop).unwrap();

    let writer = pool(&url, 1).await;
    let event = NewEvent::new(&topic, "k", "a.B", "application/json", "{}");
    let in_rust = async || {
        let mut tx = writer.begin().await.unwrap();
        let appended = append(&mut tx, &event).await;
        tx.commit().await.unwrap();
        appended
    };
    grant(format!("grant usage on schema farandole to \"{role}\"")).await;
    assert!(said(&psql(&url, &call)).contains("permission denied for function append"));
    let error = in_rust().await.unwrap_err();
    assert!(
        matches!(&error, Error::Denied { .. }) && error.to_string().contains("grant execute on function farandole.append"),
        "{error}"
    );
    grant(format!("grant execute on function farandole.append to \"{role}\"")).await;
    assert!(psql(&url, &call).status.success());
    in_rust().await.unwrap();
    for forbidden in [
        "select * from farandole.outbox",
        "delete from farandole.outbox",
        "select * from farandole.steps",
        "select farandole.drop_outbox_partition(1, 0, pg_current_snapshot())",
        "insert into farandole.outbox (topic, id, aggregatetype, aggregateid, type, payload, time, cause, correlation, i, n)
         values ('t', gen_random_uuid(), 't', 'k', 't', '', now(), '', gen_random_uuid(), 1, 1)",
    ] {
        assert!(said(&psql(&url, forbidden)).contains("42501"), "{forbidden}");
    }
    // Nothing of the caller's stands in for PostgreSQL's.
    let trap = "create function pg_temp.clock_timestamp() returns timestamptz language sql as $$ select 'epoch'::timestamptz $$;
                set search_path = pg_temp, pg_catalog;";
    assert!(psql(&url, &format!("{trap} {call}")).status.success());
    let oldest: bool = sqlx::query_scalar("select min(time) > now() - interval '1 hour' from farandole.outbox")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert!(oldest);
    assert_eq!(published(&world, &topic, 3).await.len(), 3);

    // Guard: the look at what is declared. Without, whoever may call the function holds everything up by a topic that isn't there.
    let relay = world.relay(farandole::RelayConfig { topics: vec![topic.clone()], ..world.config() }).await;
    let declared =
        async || sqlx::query_scalar::<_, i64>("select count(*) from farandole.topics").fetch_one(&world.pool).await.unwrap();
    eventually("the topic to be declared", Duration::from_secs(20), async || declared().await == 1).await;
    relay.stop().await.unwrap();
    let nowhere = "select farandole.append('nowhere', 'k', 'a.B', '{}'::jsonb)";
    let refused = said(&psql(&url, nowhere));
    assert!(refused.contains("22023") && refused.contains(&format!("declares {topic}, and role {role}")), "{refused}");
    assert!(
        psql(&url, &call).status.success() && psql(&world.url, nowhere).status.success(),
        "declared; and of who may write the table"
    );
    // The role in force counts, not who logged in.
    let (_, superuser) = Stage::shared().postgres().split_once('@').map(|(login, _)| (login, format!("{login}@{at}"))).unwrap();
    let refused = said(&psql(&superuser, &format!("set role \"{role}\"; {nowhere}")));
    assert!(refused.contains(&format!("declares {topic}, and role {role}")), "{refused}");
}

/// Guard: what a session is set to. Without, a payload of `"jsonb"` is of no type, and a count of locks that is none ends in PostgreSQL's words.
#[tokio::test(flavor = "multi_thread")]
async fn a_sessions_settings_are_nothing_to_it() {
    let world = World::new().await;
    let topic = world.make_topic("orders", 1).await;
    let set = "set quote_all_identifiers = on; set farandole.locks = 'many'; set standard_conforming_strings = off; set bytea_output = escape;
               set datestyle = 'German'; set timezone = 'Asia/Kolkata'";
    for payload in ["'{}'::jsonb", "'{}'::json", "'\\000\\000\\000\\000\\001'::bytea"] {
        let appended = psql(&world.url, &format!("{set}; select farandole.append('{topic}', 'k', 'a.B', {payload})"));
        assert!(appended.status.success(), "{payload}: {}", said(&appended));
    }
    assert_eq!(published(&world, &topic, 3).await.len(), 3);
}

/// Guard: the key's lock, held until the commit. Without, places in the outbox don't follow commits, and consumers see a key's events in
/// another order than the database did.
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_appends_of_a_key_are_published_as_they_were_committed() {
    let world = World::new().await;
    let topic = world.make_topic("orders", 2).await;
    world.pool.execute("create sequence turns").await.unwrap();
    // The turn is taken behind the append, so only who holds the lock takes one.
    let writers = (0..8).map(|writer: u64| {
        let (pool, topic) = (world.pool.clone(), topic.clone());
        tokio::spawn(async move {
            for n in 0..10 {
                let mut tx = pool.begin().await.unwrap();
                let id: Uuid = sqlx::query_scalar("select farandole.append($1, 'k', 'a.B', '{}'::jsonb)")
                    .bind(&topic)
                    .fetch_one(&mut *tx)
                    .await
                    .unwrap();
                tokio::time::sleep(Duration::from_millis((writer * 7 + n) % 5)).await;
                let turn = "update farandole.outbox set payload = convert_to(nextval('turns')::text, 'UTF8') where id = $1";
                sqlx::query(turn).bind(id).execute(&mut *tx).await.unwrap();
                tx.commit().await.unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let turns = published(&world, &topic, 80).await.into_iter().map(|record| String::from_utf8(record.value.unwrap()).unwrap());
    let turns: Vec<i64> = turns.map(|turn| turn.parse().unwrap()).collect();
    assert_eq!(turns, (1..=80).collect::<Vec<_>>());
}

/// Many rows of one statement, of one transaction, come in its order; and a statement with the change beside the event is enough.
#[tokio::test(flavor = "multi_thread")]
async fn one_transactions_events_come_in_order() {
    let world = World::new().await;
    let topic = world.make_topic("orders", 2).await;
    let sql = format!(
        "select farandole.append('{topic}', 'k', 'a.B', jsonb_build_object('n', n)) from generate_series(1, 1500) n;
         select farandole.append('{topic}', 'k', 'a.B', jsonb_build_object('n', n)) from generate_series(1501, 2000) n"
    );
    assert!(psql(&world.url, &sql).status.success());
    let with = format!(
        "create table invoices (id bigint generated always as identity, cents bigint);
         with new as (insert into invoices (cents) values (5) returning id)
         select farandole.append('{topic}', 'k', 'a.B', jsonb_build_object('n', 2000 + id)) from new"
    );
    assert!(psql(&world.url, &with).status.success());
    let records = published(&world, &topic, 2001).await;
    let numbers = records
        .iter()
        .map(|r| serde_json::from_slice::<serde_json::Value>(r.value.as_ref().unwrap()).unwrap()["n"].as_i64().unwrap());
    assert_eq!(numbers.collect::<Vec<_>>(), (1..=2001).collect::<Vec<_>>());
}

/// Guard: an event is somebody's transaction's. On a connection that isn't in one it would be published whatever became of the rest. One
/// that was begun by hand, which sqlx doesn't know of, is one.
#[tokio::test]
async fn rust_appends_in_a_transaction_only() {
    let world = World::new().await;
    let event = NewEvent::new("t", "k", "a.B", "application/json", "{}");
    let mut conn = world.pool.acquire().await.unwrap();
    let error = append(&mut conn, &event).await.unwrap_err();
    assert!(matches!(&error, Error::NoTransaction { .. }), "{error}");
    conn.execute("begin").await.unwrap();
    append(&mut conn, &event).await.unwrap();
    conn.execute("rollback").await.unwrap();
    conn.execute("begin").await.unwrap();
    assert_eq!(append(&mut conn, &event).await.unwrap(), event.id());
    conn.execute("commit").await.unwrap();
    let rows: i64 = sqlx::query_scalar("select count(*) from farandole.outbox").fetch_one(&world.pool).await.unwrap();
    assert_eq!(rows, 1);
    // Ended behind the driver's back.
    let mut tx = world.pool.begin().await.unwrap();
    tx.execute("commit").await.unwrap();
    let error = append(&mut tx, &event).await.unwrap_err();
    assert!(matches!(&error, Error::NoTransaction { .. }), "{error}");
    drop(tx);
    // A savepoint of the caller's is in one as well.
    let mut tx = world.pool.begin().await.unwrap();
    append(&mut tx.begin().await.unwrap(), &event).await.unwrap();
    // A database from before the function.
    world.pool.execute("drop function farandole.append").await.unwrap();
    let error = append(&mut world.pool.begin().await.unwrap(), &event).await.unwrap_err();
    assert!(error.to_string().contains("`farandole_outbox::migrate`"), "{error}");
}

/// From Python, by its usual driver: a value that the database refuses takes its event with it.
#[tokio::test(flavor = "multi_thread")]
async fn python_publishes() {
    // What `scripts/install` brings is the system's.
    const PYTHON: &str = "/usr/bin/python3";
    if !Command::new(PYTHON).args(["-c", "import psycopg2"]).status().is_ok_and(|status| status.success()) {
        eprintln!("not tried: {PYTHON} has no psycopg2");
        return;
    }
    let world = World::new().await;
    let topic = world.make_topic("orders", 1).await;
    let script = "
import json, sys, psycopg2
connection = psycopg2.connect(sys.argv[1])
with connection, connection.cursor() as cursor:
    cursor.execute('create table invoices (id int primary key)')
def issue(invoice):
    with connection, connection.cursor() as cursor:
        cursor.execute('select farandole.append(%s, %s, %s, %s::jsonb, cause => %s)',
                       (sys.argv[2], str(invoice), 'billing.InvoiceIssued', json.dumps({'invoice': invoice}), 'python'))
        print(cursor.fetchone()[0])
        cursor.execute('insert into invoices values (%s)', (invoice,))
issue(1)
try:
    issue(1)
except psycopg2.errors.UniqueViolation:
    pass
with connection, connection.cursor() as cursor:
    cursor.execute('select farandole.append(%s, %s, %s, %s, %s)',
                   (sys.argv[2], '2', 'billing.Scanned', b'\\x01\\x02', json.dumps({'content-type': 'image/png'})))
";
    let python = Command::new(PYTHON).args(["-c", script, &world.url, &topic]).output().unwrap();
    assert!(python.status.success(), "{}", said(&python));
    let records = published(&world, &topic, 2).await;
    let values: Vec<_> = records.iter().map(|r| (r.value.as_deref().unwrap(), r.header("content-type").unwrap())).collect();
    assert_eq!(values, [(&br#"{"invoice": 1}"#[..], "application/json"), (&[1, 2], "image/png")]);
    let id = String::from_utf8(python.stdout).unwrap();
    assert_eq!(records[0].header("ce_id"), id.lines().next());
}

/// Guard: a service's topic is the log of its state. Without, a row by hand in the service's name parks its consumers' keys, and a heal of an
/// older backup finds an event that it doesn't know.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_appended_to_a_services_own_topics() {
    let world = World::new().await;
    world.pool.execute("insert into farandole.owner (service, topic) values ('orders', 'orders')").await.unwrap();
    for (topic, taken) in [("orders", false), ("orders.journal", false), ("orders.notes", true)] {
        let output = psql(&world.url, &format!("select farandole.append('{topic}', 'k', 'a.B', '{{}}'::jsonb)"));
        assert_eq!(output.status.success(), taken, "{topic}: {}", said(&output));
        assert!(taken || said(&output).contains("is the service's own"), "{topic}: {}", said(&output));
    }
}
