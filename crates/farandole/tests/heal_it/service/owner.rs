//! A database belongs to one service.

use farandole::{Decision, Input, Never, Participant, Refusal, Service};
use sqlx::SqlSafeStr as _;
use sqlx::migrate::{Migration, MigrationType, Migrator};

use super::*;
use crate::till::Tables;

/// Another service than the till.
#[derive(Debug)]
struct Booth;

impl Participant for Booth {
    const NAME: &'static str = "booth";
    type Id = String;
    type Event = Never;
    type Heard = Heard;
    type Command = Never;
    type Deadline = Never;
    type Effect = Never;
    type Tables = Tables;

    fn decide(&self, _: &Tables, _: &String, _: &Input<Self>) -> Result<Decision<Never>, Refusal> {
        Ok(Decision::nothing())
    }
    fn evolve(&self, _: &mut Tables, _: &Never) {}
}

/// With its own first migration, as every service has one.
fn booth() -> Service<Booth> {
    let table = "create table booths (key text primary key)".into_sql_str();
    let migration = Migration::new(1, "booths".into(), MigrationType::Simple, table, false);
    Service::new(Booth, Migrator::with_migrations(vec![migration]))
}

/// Guard: an operator's verbs say what a database lacks that isn't migrated. Without, they tell of a relation that doesn't exist.
#[tokio::test(flavor = "multi_thread")]
async fn verbs_ask_for_the_tables() {
    let shop = Shop::new().await;
    let config = &shop.config;
    let till = service(shop.insurer.clone());
    let said = |error: service::Error| farandole::engine::chain_of(&error);
    let to = "earliest".parse().unwrap();
    for refused in [
        said(till.heal(config, Mode::DryRun).await.unwrap_err()),
        said(till.parked(config).await.unwrap_err()),
        said(till.retry_parked(config, "k", service::By { name: "me", reason: None }).await.unwrap_err()),
        said(till.drop_parked(config, "k", farandole::parking::operate::Which::First, "a test", "me").await.unwrap_err()),
        said(till.positions(config).await.unwrap_err()),
        said(till.set_position(config, "sales", None, to, None).await.unwrap_err()),
    ] {
        assert!(refused.contains("of the kit's tables are missing") && refused.contains("run `till migrate`"), "{refused}");
    }
}

/// Guard: whose the database is comes before the service's migrations, wherever they run, and before an operator's verbs. Without, the
/// second service is told that a migration of its tables was changed and to put it back, which would be the first one's; or its verbs
/// write among the first one's rows.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_service_is_told_whose_the_database_is() {
    let shop = Shop::new().await;
    let config = &shop.config;
    let said = |error: service::Error| farandole::engine::chain_of(&error);
    // Before the first has started nothing says whose it is; the words leave it open.
    service(shop.insurer.clone()).migrate(config).await.unwrap();
    let changed = said(booth().migrate(config).await.unwrap_err());
    assert!(
        changed.contains("1 (booths) of the service's tables was changed") && changed.contains("another service's"),
        "{changed}"
    );

    shop.start(Missing::Make).await.ready().await.stop().await;
    let words = "belongs to service `till`, and `booth` can't share it";
    let migrated = said(booth().migrate(config).await.unwrap_err());
    assert!(migrated.contains(words), "{migrated}");
    for missing in [Missing::Make, Missing::Refuse] {
        let bound = Bound::bind(&config.http).await.unwrap();
        let serving = booth().serve(bound, config.clone(), missing, CancellationToken::new());
        let served = tokio::time::timeout(PATIENCE, serving).await.expect("it refuses in time").unwrap_err();
        assert!(said(served).contains(words), "{missing:?}");
    }
    let to = "earliest".parse().unwrap();
    for refused in [
        said(booth().heal(config, Mode::DryRun).await.unwrap_err()),
        said(booth().parked(config).await.unwrap_err()),
        said(booth().retry_parked(config, "k", service::By { name: "me", reason: None }).await.unwrap_err()),
        said(booth().drop_parked(config, "k", farandole::parking::operate::Which::First, "a test", "me").await.unwrap_err()),
        said(booth().positions(config).await.unwrap_err()),
        said(booth().set_position(config, "sales", None, to, None).await.unwrap_err()),
    ] {
        assert!(refused.contains(words), "{refused}");
    }
    let pool = shop.pool().await;
    let made: bool = sqlx::query_scalar("select to_regclass('booths') is not null").fetch_one(&pool).await.unwrap();
    assert!(!made, "nothing of the second is there");
    // What folds nothing heals no service.
    let relay = relay::Config::new("till", &config.kafka.bootstrap);
    let refused = heal(&pool, &relay, &farandole::heal::Skip, Mode::Execute).await.unwrap_err();
    assert!(matches!(&refused, Error::Service { .. }) && refused.to_string().contains("run `till heal`"), "{refused}");
    pool.close().await;
}
