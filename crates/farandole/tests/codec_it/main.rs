//! The codec against a real registry and a real database.
#![allow(clippy::unwrap_used)]

use farandole::{
    Codec, RecordType,
    codec::Error,
    sqlx::{self, PgPool, postgres::PgPoolOptions},
};
use serde::{Deserialize, Serialize};
use stage::Stage;

mod registry;

const NAME: &str = "codec.it.Paid";
const V1: &str = r#"{"type": "record", "name": "Paid", "namespace": "codec.it", "fields": [
    {"name": "order", "type": "string"}, {"name": "amount", "type": "long"}]}"#;
const V2: &str = r#"{"type": "record", "name": "Paid", "namespace": "codec.it", "fields": [
    {"name": "order", "type": "string"}, {"name": "amount", "type": "long"}, {"name": "card", "type": ["null", "string"], "default": null}]}"#;
/// Neither reads the other.
const BAD: &str = r#"{"type": "record", "name": "Paid", "namespace": "codec.it", "fields": [
    {"name": "order", "type": "string"}, {"name": "amount", "type": "string"}]}"#;
/// A port that nobody listens on.
const DOWN: &str = "http://127.0.0.1:1/apis/ccompat/v7";

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Paid")]
struct Paid1 {
    order: String,
    amount: i64,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Paid")]
struct Paid2 {
    order: String,
    amount: i64,
    card: Option<String>,
}

fn paid1() -> Paid1 {
    Paid1 { order: "o-1".into(), amount: 1999 }
}

fn paid2() -> Paid2 {
    Paid2 { order: "o-1".into(), amount: 1999, card: Some("4242".into()) }
}

const fn types(schema: &'static str) -> [RecordType; 1] {
    [RecordType { name: NAME, schema, topic: "test" }]
}

/// A topic of its own, and a database with the codec's tables.
struct Place {
    topic: String,
    pool: PgPool,
}

impl Place {
    async fn new() -> Self {
        let sandbox = Stage::shared().sandbox().await.unwrap();
        let pool = pool(&sandbox.database("codec").await.unwrap().url).await;
        Self { topic: format!("{}payments", sandbox.prefix), pool }
    }

    fn up(&self) -> Codec {
        Codec::new(Stage::shared().registry(), self.pool.clone())
    }

    fn down(&self) -> Codec {
        Codec::new(DOWN, self.pool.clone())
    }

    async fn count(&self, table: &'static str) -> i64 {
        let sql = sqlx::AssertSqlSafe(format!("select count(*) from farandole.{table}"));
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.unwrap()
    }
}

async fn pool(url: &str) -> PgPool {
    let pool = PgPoolOptions::new().max_connections(2).connect(url).await.unwrap();
    farandole::migrate(&pool).await.unwrap();
    pool
}

#[tokio::test]
async fn registering_twice_gives_one_id() {
    let place = Place::new().await;
    let (first, again) = (place.up(), place.up());
    first.register(&place.topic, &types(V1)).await.unwrap();
    again.register(&place.topic, &types(V1)).await.unwrap();
    // Another service, which finds the schema at the registry.
    let elsewhere = Place::new().await;
    let other = elsewhere.up();
    other.register(&place.topic, &types(V1)).await.unwrap();
    let bytes = first.encode(NAME, &paid1()).unwrap();
    assert_eq!(bytes, again.encode(NAME, &paid1()).unwrap());
    assert_eq!(bytes, other.encode(NAME, &paid1()).unwrap());
    assert_eq!(first.decode::<Paid1>(NAME, &bytes).unwrap(), paid1());
    assert_eq!((place.count("subjects").await, place.count("schemas").await), (1, 1));
}

#[tokio::test]
async fn a_registry_that_is_down_stops_nobody_who_started_before() {
    let place = Place::new().await;
    place.up().register(&place.topic, &types(V1)).await.unwrap();
    place.up().register(&place.topic, &types(V2)).await.unwrap();
    // The new build and the old one.
    for (schema, amount) in [(V2, 3), (V1, 2)] {
        let codec = place.down();
        codec.register(&place.topic, &types(schema)).await.unwrap();
        let bytes = codec.encode(NAME, &Paid2 { amount, ..paid2() });
        assert_eq!(bytes.is_ok(), schema == V2);
    }
    // A schema that never was registered from here has to wait.
    let error = place.down().register("another", &types(V1)).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert!(error.to_string().contains("another-codec.it.Paid"), "{error}");
}

#[tokio::test]
async fn an_incompatible_schema_is_refused() {
    let place = Place::new().await;
    place.up().register(&place.topic, &types(V1)).await.unwrap();
    let error = place.up().register(&place.topic, &types(BAD)).await.unwrap_err();
    assert!(!error.is_transient());
    let Error::Incompatible { subject, message } = error else { panic!("{error}") };
    assert_eq!(subject, format!("{}-{NAME}", place.topic));
    assert!(!message.is_empty());
}

#[tokio::test]
async fn releases_read_each_other() {
    let (old, new) = (Place::new().await, Place::new().await);
    let (older, newer) = (old.up(), new.up());
    older.register(&old.topic, &types(V1)).await.unwrap();
    newer.register(&old.topic, &types(V2)).await.unwrap();
    let (b1, b2) = (older.encode(NAME, &paid1()).unwrap(), newer.encode(NAME, &paid2()).unwrap());
    let (id1, id2) = (Codec::schema_id(&b1).unwrap(), Codec::schema_id(&b2).unwrap());

    assert!(matches!(older.decode::<Paid1>(NAME, &b2), Err(Error::UnknownSchema { id }) if id == id2));
    older.prepare([id1, id2, id2]).await.unwrap();
    newer.prepare([id1, id2]).await.unwrap();
    assert_eq!(older.decode::<Paid1>(NAME, &b2).unwrap(), paid1());
    assert_eq!(newer.decode::<Paid2>(NAME, &b1).unwrap(), Paid2 { card: None, ..paid2() });

    // What was looked up once is in the database.
    let restarted = old.down();
    restarted.add_reader_schema(&types(V1)).unwrap();
    restarted.prepare([id2]).await.unwrap();
    assert_eq!(restarted.decode::<Paid1>(NAME, &b2).unwrap(), paid1());
}

#[tokio::test]
async fn unknown_ids_are_bad_data_and_an_absent_registry_is_not() {
    let place = Place::new().await;
    let codec = place.up();
    codec.add_reader_schema(&types(V1)).unwrap();
    codec.prepare([i32::MAX, 0, -1]).await.unwrap();
    let framed = [0, 0x7f, 0xff, 0xff, 0xff, 0];
    let error = codec.decode::<Paid1>(NAME, &framed).unwrap_err();
    assert!(matches!(error, Error::UnknownSchema { id: i32::MAX }) && !error.is_transient());

    let error = place.down().prepare([i32::MAX]).await.unwrap_err();
    assert!(matches!(error, Error::Registry { .. }) && error.is_transient());
    place.pool.close().await;
    let error = place.up().prepare([i32::MAX]).await.unwrap_err();
    assert!(matches!(error, Error::Database { .. }) && error.is_transient());
}

#[tokio::test]
async fn another_address_than_the_registrys_is_no_answer() {
    let place = Place::new().await;
    let wrong = Stage::shared().registry().replace("/apis/ccompat/v7", "/elsewhere");
    let error = Codec::new(&wrong, place.pool.clone()).prepare([1]).await.unwrap_err();
    assert!(matches!(error, Error::Registry { .. }), "{error}");
}

/// The registry, but for these ids: a status and a body, or no answer at all. Gives its address.
async fn except(fates: impl IntoIterator<Item = (i32, Option<(u16, &'static str)>)>) -> String {
    use axum::http::{StatusCode, Uri};
    let fates: std::collections::HashMap<i32, _> = fates.into_iter().collect();
    let fates = std::sync::Arc::new(fates);
    let answer = async move |uri: Uri| {
        let id = uri.path().rsplit('/').next().and_then(|id| id.parse().ok()).unwrap_or_default();
        match fates.get(&id).or(fates.get(&0)) {
            Some(Some((status, body))) => (StatusCode::from_u16(*status).unwrap(), (*body).to_owned()),
            Some(None) => std::future::pending().await,
            None => {
                let base = Stage::shared().registry().split("/apis").next().unwrap();
                let real = reqwest::get(format!("{base}{uri}")).await.unwrap();
                (real.status(), real.text().await.unwrap())
            }
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = axum::Router::new().fallback(answer);
    tokio::spawn(async move { axum::serve(listener, app).await });
    format!("http://{address}/apis/ccompat/v7")
}

fn framed(id: i32) -> Vec<u8> {
    [&[0][..], &id.to_be_bytes(), &[2, b'o', 2]].concat()
}

/// Guard: trouble with one id isn't the registry's. Without, the partition that meets it stands still for good.
#[tokio::test]
async fn one_id_that_the_registry_withholds_holds_up_no_other() {
    let place = Place::new().await;
    let writer = place.up();
    writer.register(&place.topic, &types(V1)).await.unwrap();
    let good = writer.encode(NAME, &paid1()).unwrap();
    let page = "<html><body>Sign in</body></html>";
    let fates = [
        (900_001, Some((403, r#"{"error_code":40301,"message":"not for you"}"#))),
        (900_002, Some((401, page))),
        (900_003, Some((500, r#"{"error_code":50001,"message":"its store fails"}"#))),
        (900_004, Some((200, page))),
        (900_005, Some((200, r#"{"schema":5}"#))),
        (900_006, Some((302, ""))),
        (900_007, None),
        // No trouble, but nothing that can be read; it isn't kept either.
        (900_008, Some((200, r#"{"schema":"nonsense"}"#))),
    ];
    let elsewhere = Place::new().await;
    let reader = Codec::new(&except(fates).await, elsewhere.pool.clone());
    reader.add_reader_schema(&types(V1)).unwrap();
    let ids = fates.iter().map(|(id, _)| *id);
    reader.prepare(ids.clone().chain([Codec::schema_id(&good).unwrap()])).await.unwrap();
    assert_eq!(reader.decode::<Paid1>(NAME, &good).unwrap(), paid1());
    for id in ids {
        let error = reader.decode::<Paid1>(NAME, &framed(id)).unwrap_err();
        assert!(!error.is_transient(), "{id} {error}");
        assert_eq!(matches!(error, Error::UnusableSchema { .. }), id == 900_008, "{id} {error}");
        assert_eq!(matches!(error, Error::Withheld { .. }), id != 900_008, "{id} {error}");
    }
    assert_eq!(elsewhere.count("schemas").await, 1, "what can't be read was kept");
    // Not asked for again for a while, so that what comes next isn't held up either.
    tokio::time::timeout(std::time::Duration::from_secs(1), reader.prepare([900_001, 900_007])).await.unwrap().unwrap();

    // One alone, while the registry answers for what nobody asked about.
    let reader = Codec::new(&except([(900_001, Some((403, "{}")))]).await, Place::new().await.pool);
    reader.prepare([900_001]).await.unwrap();
    assert!(matches!(reader.decode::<Paid1>(NAME, &framed(900_001)), Err(Error::Withheld { id: 900_001, .. })));
}

/// Guard: what it withholds for every id alike is the registry's own trouble, whatever it says: nothing parks.
#[tokio::test]
async fn a_registry_that_withholds_everything_is_waited_for() {
    let pool = Place::new().await.pool;
    for (status, body) in
        [(403, r#"{"error_code":40301,"message":"not for you"}"#), (404, "no such page"), (500, "{}"), (200, "<html>")]
    {
        let reader = Codec::new(&except([(0, Some((status, body)))]).await, pool.clone());
        let error = reader.prepare([900_001, 900_002]).await.unwrap_err();
        assert!(matches!(error, Error::Registry { .. } | Error::Refused { .. }), "{status} {error}");
        assert!(matches!(reader.decode::<Paid1>(NAME, &framed(900_001)), Err(Error::UnknownSchema { .. })), "{status}");
    }
}
