//! Registries that don't let their clients do all, that lose what they held, and two replicas at their very first start.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use farandole::codec::Error;
use farandole::config::{self, Compatibility, Register, Subjects};
use farandole::{Codec, RecordType};
use sqlx::AssertSqlSafe;
use stage::Stage;

use crate::{NAME, Paid1, Place, V1, V2, paid1, paid2, types};

/// In front of the real registry: may refuse all that writes, and asks for a password.
struct Gate {
    closed: AtomicBool,
    to: String,
    client: reqwest::Client,
}

async fn pass(State(gate): State<Arc<Gate>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    if parts.headers.get(header::AUTHORIZATION).is_none_or(|said| said != "Basic bWU6czNjcmV0") {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let path = parts.uri.path();
    let writes = parts.method == Method::PUT || path.ends_with("/versions") && parts.method == Method::POST;
    if gate.closed.load(SeqCst) && writes {
        return (StatusCode::FORBIDDEN, r#"{"error_code": 40301, "message": "you may not"}"#).into_response();
    }
    let body = to_bytes(body, 1 << 20).await.unwrap();
    let answer = gate
        .client
        .request(parts.method, format!("{}{path}", gate.to))
        .header(header::CONTENT_TYPE, "application/json")
        .body(body);
    let answer = answer.send().await.unwrap();
    (answer.status(), Body::from(answer.bytes().await.unwrap())).into_response()
}

async fn gate() -> (Arc<Gate>, config::Registry) {
    let client = reqwest::Client::new();
    let gate = Arc::new(Gate { closed: AtomicBool::new(true), to: Stage::shared().registry().to_owned(), client });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(pass).with_state(Arc::clone(&gate));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (gate, config::Registry { url, user: Some("me".to_owned()), password: "s3cret".into(), ..config::Registry::default() })
}

/// O36: nobody may configure subjects or register, and the schema is there or not. Guard: it is looked for first.
#[tokio::test]
async fn a_registry_that_only_answers_is_enough_where_the_schema_is() {
    let (place, (gate, registry)) = (Place::new().await, gate().await);
    let codec = |registry: &config::Registry| Codec::with(registry, place.pool.clone());
    let error = codec(&registry).register(&place.topic, &types(V1)).await.unwrap_err();
    let says = error.to_string();
    assert!(matches!(error, Error::Refused { status: 403, .. }) && says.contains("`registry.register = \"lookup\"`"), "{says}");
    let lookup = config::Registry { register: Register::Lookup, ..registry.clone() };
    let error = codec(&lookup).register(&place.topic, &types(V1)).await.unwrap_err();
    let subject = format!("{}-{NAME}", place.topic);
    assert!(error.is_transient() && matches!(&error, Error::NotRegistered { subject: s, .. } if *s == subject), "{error}");
    // What has to be registered is in the words, as it can be sent.
    let words = error.to_string();
    let (_, schema) = words.split_once("The schema: ").unwrap();
    let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    assert_eq!(json(schema), json(V1));
    // Somebody else registers it.
    Codec::new(Stage::shared().registry(), Place::new().await.pool).register(&place.topic, &types(V1)).await.unwrap();
    for registry in [&registry, &lookup] {
        let codec = Codec::with(registry, Place::new().await.pool);
        codec.register(&place.topic, &types(V1)).await.unwrap();
        let bytes = codec.encode(NAME, &paid1()).unwrap();
        assert_eq!(codec.decode::<Paid1>(NAME, &bytes).unwrap(), paid1());
    }
    // Rights enough: registered under names of one's own, and no word on compatibility.
    gate.closed.store(false, SeqCst);
    for (subjects, name) in [(Subjects::Topic, format!("{}-value", place.topic)), (Subjects::Record, NAME.to_owned())] {
        let registry = config::Registry { subjects, compatibility: Compatibility::AsIs, ..registry.clone() };
        codec(&registry).register(&place.topic, &types(V1)).await.unwrap();
        assert!(subjects_of(&place).await.contains(&name), "{name}");
    }
    let two = [types(V1)[0], RecordType { name: "codec.it.Other", schema: OTHER, topic: "test" }];
    let error =
        codec(&config::Registry { subjects: Subjects::Topic, ..registry }).register(&place.topic, &two).await.unwrap_err();
    assert!(matches!(error, Error::OneSubject { types: 2, .. }), "{error}");
}

/// The same bytes as [`V1`] in a company's own words.
const WORDS: &str = r#"{"type": "record", "name": "Paid", "namespace": "codec.it", "doc": "Money came.", "fields": [
    {"name": "order", "type": "string", "doc": "Whose."}, {"name": "amount", "type": "long"}]}"#;

/// Guard: a look at the subject's versions. A company registers its schemas with its own tools, and documents fields that this build says
/// nothing of; without, the registry holds "another" schema, and nothing ever starts.
#[tokio::test]
async fn a_schema_that_somebody_registered_in_other_words_is_found() {
    let (place, (gate, registry)) = (Place::new().await, gate().await);
    let theirs = Place::new().await;
    let up = Codec::new(Stage::shared().registry(), theirs.pool.clone());
    up.register(&place.topic, &types(WORDS)).await.unwrap();
    // And gone on since.
    Codec::new(Stage::shared().registry(), Place::new().await.pool).register(&place.topic, &types(V2)).await.unwrap();
    assert!(gate.closed.load(SeqCst), "nothing may be written");
    let lookup = config::Registry { register: Register::Lookup, ..registry };
    let codec = Codec::with(&lookup, place.pool.clone());
    codec.register(&place.topic, &types(V1)).await.unwrap();
    let bytes = codec.encode(NAME, &paid1()).unwrap();
    assert_eq!(bytes, up.encode(NAME, &paid1()).unwrap(), "under their id");
    codec.refresh().await.unwrap();
    assert_eq!(codec.troubles(), [""; 0]);
}

/// Confluent's names of the strategies mean what they do there.
#[test]
fn confluents_names_of_strategies_are_taken() {
    let subjects = |name: &str| serde_json::from_value::<Subjects>(name.into()).unwrap();
    for (ours, theirs, is) in [
        ("topic", "TopicNameStrategy", Subjects::Topic),
        ("record", "RecordNameStrategy", Subjects::Record),
        ("topic-record", "TopicRecordNameStrategy", Subjects::TopicRecord),
    ] {
        assert_eq!((subjects(ours), subjects(theirs)), (is, is));
    }
}

const OTHER: &str = r#"{"type": "record", "name": "Other", "namespace": "codec.it", "fields": [{"name": "x", "type": "int"}]}"#;

async fn subjects_of(place: &Place) -> Vec<String> {
    sqlx::query_scalar("select subject from farandole.subjects").fetch_all(&place.pool).await.unwrap()
}

/// O26: replicas that start at once, for the very first time. Guard: a conflict is looked at again. Without, in most tries one ends with
/// "a rule named COMPATIBILITY already exists".
#[tokio::test(flavor = "multi_thread")]
async fn replicas_register_at_once() {
    for _ in 0..10 {
        let (one, other) = (Place::new().await, Place::new().await);
        let (first, second) = (one.up(), other.up());
        let (t, u) = (types(V1), types(V1));
        let (a, b) = tokio::join!(
            tokio::spawn({
                let (c, topic) = (first.clone(), one.topic.clone());
                async move { c.register(&topic, &t).await }
            }),
            tokio::spawn({
                let (c, topic) = (second.clone(), one.topic.clone());
                async move { c.register(&topic, &u).await }
            }),
        );
        a.unwrap().unwrap();
        b.unwrap().unwrap();
        assert_eq!(first.encode(NAME, &paid1()).unwrap(), second.encode(NAME, &paid1()).unwrap(), "two ids for one schema");
    }
}

/// O21: the registry loses what it held. Guards: the start asks again, and so does what runs; without, nothing ever puts it back, and a
/// new service parks all of it.
#[tokio::test]
async fn a_registry_that_lost_its_contents_gets_them_back() {
    let place = Place::new().await;
    let running = place.up();
    running.register(&place.topic, &types(V1)).await.unwrap();
    let lose = async || {
        let client = reqwest::Client::new();
        let subject = format!("{}/subjects/{}-{NAME}", Stage::shared().registry(), place.topic);
        for query in ["", "?permanent=true"] {
            client.delete(format!("{subject}{query}")).send().await.unwrap();
        }
    };
    let is_read_by_who_is_new = async |bytes: &[u8]| {
        let new = Codec::new(Stage::shared().registry(), Place::new().await.pool);
        new.add_reader_schema(&types(V1)).unwrap();
        new.prepare([Codec::schema_id(bytes).unwrap()]).await.unwrap();
        new.decode::<Paid1>(NAME, bytes).unwrap() == paid1()
    };
    // A restart puts it back, and so does a replica that goes on.
    for restarted in [true, false] {
        lose().await;
        let codec = if restarted { place.up() } else { running.clone() };
        if restarted {
            codec.register(&place.topic, &types(V1)).await.unwrap();
        } else {
            codec.refresh().await.unwrap();
        }
        let lost = Codec::with(&lookup(), Place::new().await.pool);
        lost.register(&place.topic, &types(V1)).await.expect("it is back");
        assert!(is_read_by_who_is_new(&codec.encode(NAME, &paid1()).unwrap()).await, "restarted: {restarted}");
        assert_eq!(codec.troubles(), [""; 0]);
    }
}

fn lookup() -> config::Registry {
    config::Registry { url: Stage::shared().registry().to_owned(), register: Register::Lookup, ..config::Registry::default() }
}

/// A registry that numbers anew: one id never comes to mean two schemas. Guard: [`Codec::refresh`], and what keeps an id. Without, a value is
/// read as another version of its record.
#[tokio::test]
async fn an_id_that_means_another_schema_is_no_longer_read() {
    let place = Place::new().await;
    let writer = place.up();
    writer.register(&place.topic, &types(V2)).await.unwrap();
    let bytes = writer.encode(NAME, &paid2()).unwrap();
    let id = Codec::schema_id(&bytes).unwrap();

    // A reader that had met this id before the registry lost its contents, when it was the first version's.
    let elsewhere = Place::new().await;
    let before = sqlx::query("insert into farandole.schemas (id, schema) values ($1, $2)").bind(id).bind(V1);
    before.execute(&elsewhere.pool).await.unwrap();
    let reader = elsewhere.up();
    reader.add_reader_schema(&types(V1)).unwrap();
    reader.prepare([id]).await.unwrap();
    reader.refresh().await.unwrap();
    let error = reader.decode::<Paid1>(NAME, &bytes).unwrap_err();
    assert!(matches!(error, Error::UnusableSchema { .. }), "{error}");
    let said = reader.troubles().join("; ");
    let advice = format!("delete from farandole.schemas where id = {id}");
    assert!(said.contains(&advice), "{said}");
    // A writer there would be given an id that means something else.
    let error = elsewhere.up().register(&place.topic, &types(V2)).await.unwrap_err();
    assert!(matches!(error, Error::Reused { .. }) && !error.is_transient(), "{error}");
    // The advice is one.
    sqlx::query(AssertSqlSafe(advice)).execute(&elsewhere.pool).await.unwrap();
    let restarted = elsewhere.up();
    restarted.add_reader_schema(&types(V1)).unwrap();
    restarted.prepare([id]).await.unwrap();
    restarted.refresh().await.unwrap();
    assert_eq!(restarted.decode::<Paid1>(NAME, &bytes).unwrap(), paid1());
    assert_eq!(restarted.troubles(), [""; 0]);
}

/// The registry is away: what is kept serves, and that it is away is said.
#[tokio::test]
async fn what_is_kept_serves_and_is_named() {
    let place = Place::new().await;
    place.up().register(&place.topic, &types(V1)).await.unwrap();
    let codec = place.down();
    codec.register(&place.topic, &types(V1)).await.unwrap();
    codec.encode(NAME, &paid1()).unwrap();
    let said = codec.troubles().join("; ");
    assert!(said.contains(&format!("{}-{NAME}", place.topic)), "{said}");
}
