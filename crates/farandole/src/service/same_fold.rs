//! Whether this build folds as the one did that wrote the tables: looked at before it decides.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use sqlx::{Connection as _, PgConnection};

use crate::config::Config;
use crate::database::{session, step};
use crate::fold::{self, Events, SCOPE, Sample};
use crate::ground::error::chain_of;
use crate::participant::Participant;
use crate::publish::relay::own::Own;
use crate::publish::relay::state::{self, State};
use crate::service::acts::By;
use crate::service::{Error, Service, own, parts};
use crate::wire::codec::Codec;
use crate::wire::topics;

/// What this build makes of the topic's first events, beside what the build that wrote the tables did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct FoldReport {
    /// Whose.
    pub service: String,
    /// The first differences, a sentence each.
    pub differences: Vec<String>,
    /// How many there are.
    pub count: usize,
    /// Whether this build's fold is taken for the one of the tables from now on.
    pub accepted: bool,
}

impl fmt::Display for FoldReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { service, differences, count, accepted } = self;
        match count {
            0 => writeln!(f, "{service}: this build folds the topic's first events as the one that wrote the tables")?,
            _ => writeln!(f, "{service}: this build makes something else of the topic's first events, {count} difference(s)")?,
        }
        differences.iter().try_for_each(|difference| writeln!(f, "  {difference}"))?;
        match accepted {
            true => writeln!(f, "accepted: the tables stay as they are, and this build starts"),
            false if *count > 0 => {
                writeln!(f, "nothing was changed; accept with `{service} rebuild --accept-fold --reason … --execute`")
            }
            false => Ok(()),
        }
    }
}

/// What was found.
struct Looked {
    /// The differences and how many; none if no sample is kept yet.
    found: Option<(Vec<String>, usize)>,
    /// What is to be kept, if that is another sample.
    sample: Option<Sample>,
}

/// Refuses a build that folds otherwise; keeps what it makes of more events than are kept.
pub(super) async fn check<P: Participant>(participant: &Arc<P>, codec: &Codec, config: &Config) -> Result<(), Error> {
    let mut conn = parts::connect(config).await?;
    let looked = match look(&mut conn, participant, codec, config).await {
        Ok(looked) => looked,
        // A service that can serve isn't kept from it by what it can't compare: an older build meets a type that it doesn't know, a
        // registry that is down has the schema.
        Err(why) => {
            tracing::warn!(reason = chain_of(&why), "what this build makes of the topic's first events can't be compared");
            return Ok(());
        }
    };
    if let Some((differences, count)) = looked.found.filter(|(_, count)| *count > 0) {
        return Err(Error::OtherFold { service: P::NAME, differences, count });
    }
    if let Some(sample) = looked.sample {
        keep(&mut conn, &sample).await?;
    }
    let _ = conn.close().await; // what was done is committed
    Ok(())
}

async fn look<P: Participant>(
    conn: &mut PgConnection,
    participant: &Arc<P>,
    codec: &Codec,
    config: &Config,
) -> Result<Looked, fold::Error> {
    let failed = |source: step::Error| fold::Error::Reading(source.into());
    let kept = step::latest::<Sample>(conn, SCOPE).await.map_err(failed)?.map(|(_, sample)| sample);
    let relay = step::latest::<State>(conn, state::SCOPE).await.map_err(failed)?;
    let own = Own::of(P::NAME, &relay.map_or_else(|| State::first(String::new()), |(_, state)| state));
    let settings = parts::relay_config(P::NAME, config);
    let kafka = settings.client();
    let topic = topics::own(&config.topics.prefix, P::NAME);
    let (from, with) = ((&kafka, &own, topic.as_str()), (participant, &Events::new(codec.clone())));
    let Some((again, now)) = Sample::take(conn, from, with, kept.as_ref()).await? else {
        return Ok(Looked { found: None, sample: None });
    };
    let found = kept.as_ref().zip(again).map(|(kept, again)| kept.differences(&again));
    Ok(Looked { found, sample: Some(now).filter(|now| !now.upto.is_empty() && kept.as_ref() != Some(now)) })
}

/// Keeps one sample. Of two that start at once each has the same.
async fn keep(conn: &mut PgConnection, sample: &Sample) -> Result<(), Error> {
    let doing = "keeping what the fold makes of the topic's first events";
    let failed = |source| Error::Database { doing, source };
    let mut tx = session::begin(conn).await.map_err(failed)?;
    let state = sqlx::types::Json(sample);
    let sql = "with gone as (delete from farandole.steps where scope = $1 and step <> 1)
               insert into farandole.steps (scope, step, state) values ($1, 1, $2)
               on conflict (scope, step) do update set state = excluded.state, taken_at = excluded.taken_at";
    sqlx::query(sql).bind(SCOPE).bind(state).execute(&mut *tx).await.map_err(failed)?;
    tx.commit().await.map_err(failed)
}

impl<P: Participant, E> Service<P, E> {
    /// Compares what this build makes of the topic's first events with what the build that wrote the tables made of them; told to
    /// `execute`, takes this build's for that of the tables from now on, which stay as they are. The journal tells `by` whom.
    ///
    /// # Errors
    /// When they can't be compared: Kafka, PostgreSQL, or a schema.
    pub async fn accept_fold(&self, config: &Config, execute: bool, by: Option<By<'_>>) -> Result<FoldReport, Error> {
        let (pools, codec) = self.frame.ground(config).await?;
        let mut conn = own::connect(P::NAME, config).await?;
        let looked = look(&mut conn, &self.participant, &codec, config).await.map_err(Error::Fold)?;
        let (differences, count) = looked.found.unwrap_or_default();
        let accepted = execute && count > 0;
        if accepted {
            if let Some(sample) = looked.sample {
                keep(&mut conn, &sample).await?;
            }
            let outcome = format!("accepted; {count} difference(s), such as {}", differences.first().map_or("", String::as_str));
            self.tell(config, by, "rebuild --accept-fold", "what the fold makes of the topic's first events", &outcome).await?;
        }
        let _ = conn.close().await; // what was done is committed
        pools.close().await;
        Ok(FoldReport { service: P::NAME.to_owned(), differences, count, accepted })
    }
}
