//! Whose database this is: of one service, which is named in its row of `farandole.owner`.
//!
//! Outbox, relay state, tasks and answers don't say whose they are, since all are the owner's. A service, or a relay, of another
//! name refuses to work: it would publish the owner's events under its own name, and the owner's consumers would find their
//! chains ended for good.

use std::collections::BTreeMap;

use sqlx::PgConnection;

use crate::database::step;
use crate::publish::relay::error::Error;
use crate::publish::relay::state::{SCOPE, State};

const DOING: &str = "checking the database's owner";

/// Refuses when the database is another service's. One that has no owner yet is taken if nothing was published from it.
pub async fn claim(conn: &mut PgConnection, service: &str, is_fresh: bool) -> Result<(), Error> {
    if is_fresh {
        return record(conn, service).await;
    }
    let owner: Option<String> =
        sqlx::query_scalar("select service from farandole.owner").fetch_optional(conn).await.map_err(Error::database(DOING))?;
    match owner {
        Some(owner) if owner != service => Err(Error::Owner { owner, service: service.to_owned() }),
        _ => Ok(()),
    }
}

/// Takes a database that has no owner yet, once it is sure that what was published from it was published under this name.
pub async fn record(conn: &mut PgConnection, service: &str) -> Result<(), Error> {
    sqlx::query("insert into farandole.owner (service) values ($1) on conflict do nothing")
        .bind(service)
        .execute(&mut *conn)
        .await
        .map_err(Error::database(DOING))?;
    Box::pin(claim(conn, service, false)).await
}

/// Notes the topics that a relay declares: `farandole.append` tells those who may only call it which they may name.
pub async fn declare(conn: &mut PgConnection, topics: &[String]) -> Result<(), Error> {
    if topics.is_empty() {
        return Ok(());
    }
    let declared =
        "insert into farandole.topics select * from unnest($1::text[]) except table farandole.topics on conflict do nothing";
    sqlx::query(declared).bind(topics).execute(conn).await.map(drop).map_err(Error::database("noting the topics"))
}

/// Forgets declared topics.
pub async fn undeclare(conn: &mut PgConnection, topics: &[String]) -> Result<(), Error> {
    let sql = "delete from farandole.topics where topic = any($1)";
    sqlx::query(sql).bind(topics).execute(conn).await.map(drop).map_err(Error::database("forgetting topics"))
}

/// The topic that is the log of a service's state, if this is a service's database; beside code of one's own there is none.
pub async fn own_topic(conn: &mut PgConnection, state: &State) -> Result<Option<String>, Error> {
    Ok(recorded(conn).await?.or(known(&state.partitions)))
}

async fn recorded(conn: &mut PgConnection) -> Result<Option<String>, Error> {
    let owner: Option<Option<String>> =
        sqlx::query_scalar("select topic from farandole.owner").fetch_optional(conn).await.map_err(Error::database(DOING))?;
    Ok(owner.flatten())
}

/// Before there was a row to say so, a service is known by its topic, which has a journal beside it.
fn known(published: &BTreeMap<String, i32>) -> Option<String> {
    published.keys().find(|topic| published.contains_key(&crate::wire::topics::journal("", topic))).cloned()
}

/// The same for a service with a topic of its own, which has to stay the same topic: it is the log of the service's state.
pub async fn claim_with_topic(conn: &mut PgConnection, service: &str, topic: &str) -> Result<(), Error> {
    claim(conn, service, false).await?;
    let published = step::latest::<State>(&mut *conn, SCOPE).await?.map(|(_, state)| state.partitions).unwrap_or_default();
    match recorded(conn).await?.or(known(&published).filter(|_| !published.contains_key(topic))) {
        Some(own) if own != topic => return Err(Error::OwnTopic { service: service.to_owned(), own, topic: topic.to_owned() }),
        _ => {}
    }
    sqlx::query(
        "insert into farandole.owner (service, topic) values ($1, $2)
         on conflict (one) do update set topic = excluded.topic where owner.service = excluded.service and owner.topic is null",
    )
    .bind(service)
    .bind(topic)
    .execute(&mut *conn)
    .await
    .map_err(Error::database(DOING))?;
    claim(conn, service, false).await
}
