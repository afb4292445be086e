//! Feeding one input to a service again; the service may be running.

use std::sync::Arc;

use crate::config::Config;
use crate::consume::again::{self, Fed, InputAt, Reading};
use crate::engine::{Decoded, guarded, read_in_chain};
use crate::ground::text::name;
use crate::parking::Limits;
use crate::participant::Participant;
use crate::service::acts::{Acting, By};
use crate::service::frame::{Doing, Frame};
use crate::service::{Error, Service, own, parts};
use crate::wire::codec::Codec;
use crate::wire::per_topic::Unknown;
use crate::wire::record::Record;

/// What a record says to the participant.
type Read<'a> = dyn Fn(&Record, &Codec) -> Reading + Send + Sync + 'a;

impl<P: Participant, E> Service<P, E> {
    /// Says what is known of a record, and feeds it to the service again if it is said `by` whom: it is decided on the state of now, as any
    /// input, by a replica that runs.
    ///
    /// # Errors
    /// When it isn't there, takes effect by itself, or says nothing to the service; and the brokers' and the database's.
    pub async fn feed_again(&self, config: &Config, at: &InputAt, by: Option<By<'_>>) -> Result<Fed, Error> {
        let participant = Arc::clone(&self.participant);
        // A type that this build doesn't know is no input, whatever is done about such otherwise.
        let read =
            move |record: &Record, codec: &Codec| match guarded(|| read_in_chain(&*participant, record, codec, Unknown::Park)) {
                Ok(Decoded::Input(work)) => {
                    let aggregate = name(work.id.to_string().as_bytes()).into_owned();
                    Reading::Input { aggregate }
                }
                Ok(Decoded::Ignored | Decoded::Unknown) => Reading::Nothing,
                Ok(Decoded::Fault(fault)) => Reading::Fault { reason: fault.reason },
                Err(error) => Reading::Fault { reason: error.to_string() },
            };
        self.frame.feed_again(config, at, by, &read).await
    }
}

impl Frame {
    fn feed_again<'a>(&'a self, config: &'a Config, at: &'a InputAt, by: Option<By<'a>>, read: &'a Read<'a>) -> Doing<'a, Fed> {
        Box::pin(async move {
            let reader = self.contract.name;
            let (heard, topic) = self.subscribed(config, &at.topic)?;
            let at = InputAt { topic, ..at.clone() };
            let mut conn = own::connect(reader, config).await?;
            let found = again::fetch(&config.kafka, &at, self.mappings.get(heard)).await.map_err(Error::Input)?;
            let pools = parts::Pools::new(reader, &config.database)?;
            let codec = Codec::with(&config.registry, pools.intake.clone()).encoding(self.encoding);
            codec.add_reader_schema(self.contract.heard).map_err(Error::Schemas)?;
            let prepared = codec.prepare(found.0.schema_id()).await;
            pools.close().await;
            prepared.map_err(Error::Schemas)?;
            let reading = read(&found.0, &codec);
            let mut fed = again::look(&mut conn, reader, &found, reading).await.map_err(Error::Input)?;
            let Some(by) = by else { return Ok(fed) };
            let mut acting: Acting = self.act(config, "inputs again", by).await?;
            let (operator, limits) = (by.telling(&acting.journal), Limits::from(&config.intake));
            let done = again::feed(&mut acting.conn, reader, &found.0, &mut fed, limits, operator).await;
            acting.end().await;
            done.map(|()| fed).map_err(Error::Input)
        })
    }
}
