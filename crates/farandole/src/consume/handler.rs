//! Consuming topics into your existing tables: an async handler, called with a batch of records inside the transaction that moves
//! the position.
//!
//! Use it if you already have a schema and need neither participants nor a topic of your own. The guarantees of the intake apply:
//! each record's effects on the database and the position behind it are one transaction, so after a crash anywhere it is applied
//! or read again; the chain rule drops what came before and notices what is missing; what can't be processed parks under its key,
//! its successors behind it in order, and other keys continue. The same workers, lanes and parking run it as run
//! [participants](crate::participant). **Not** part of it: a rebuild, since the tables are no fold of anything; an operator may have a topic
//! [read again](crate::replay), as far as the handler [declares](Handler::REPEATING) what that does.
//!
//! **A record at fault** is one that the handler refuses, on which it panics, or that the database refuses. The batch is halved until
//! the record is alone, and that one parks; a handler need not say which it was. What each SQLSTATE is about, and so what is done, is
//! one [table](crate::ground::trouble) for the whole kit. With [`Error::NotYet`] nothing parks, the batch waits and is tried again.
//!
//! **Assumptions.** The handler's effects are all in its transaction: a batch may be run several times, and only the last run counts.
//! It returns the errors of its queries, for a transaction with an error in it can't be committed; to go on after one, it uses a
//! savepoint (`tx.begin()`). A batch takes less than a minute. Calls to the outside world don't belong here.
//!
//! **Locks.** A batch's keys are locked first (advisory, sorted), so that of one key no two calls run at once, whatever topics or
//! replicas its records come from; the handler's own locks come after, in an order that is its own business.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use sqlx::{PgConnection, PgPool};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::consume::intake::{self, Intake, Troubles};
use crate::consume::{declared, release, tidy, trial};
use crate::database::gate::{BEGIN, begin};
use crate::database::locks::lock_all;
use crate::database::session::LIMIT;
use crate::database::sessions::{Sessions, with_conn};
use crate::database::surroundings;
use crate::engine::Decoded;
use crate::engine::metrics;
use crate::engine::{self, Processor, Source, Verdict, given_up, guarded_async, trace};
use crate::ground::error::chain_of;
use crate::ground::running::{Health, Running};
use crate::parking;
use crate::parking::Fault;
use crate::parking::input::Task;
use crate::parking::journal::Journal;
use crate::wire::codec::{self, Codec};
use crate::wire::record::Record;

pub use crate::consume::declared::Repeating;
pub use crate::database::Tx;

/// How long after a look at a database that isn't as it must be comes the next.
const UNFIT: Duration = Duration::from_secs(3);

/// What is done with records.
///
/// ```
/// use farandole::handler::{Error, Handler, Tx};
/// use farandole::{Codec, Record};
/// use serde::Deserialize;
///
/// /// Keeps what each customer owes, in a table of its own.
/// struct Balances {
///     codec: Codec,
/// }
///
/// #[derive(Deserialize)]
/// struct InvoiceIssued {
///     customer: String,
///     cents: i64,
/// }
///
/// impl Handler for Balances {
///     async fn handle(&self, tx: &mut Tx<'_>, records: &[Record]) -> Result<(), Error> {
///         for record in records.iter().filter(|record| record.kind() == Some("billing.InvoiceIssued")) {
///             // What can't be read parks under its key, with this error as the reason; the others go on.
///             let issued: InvoiceIssued = record.decode(&self.codec, "billing.InvoiceIssued")?;
///             if issued.cents < 0 {
///                 return Err(Error::Refused(format!("an invoice of {} cents", issued.cents)));
///             }
///             let add = "insert into balances (customer, cents) values ($1, $2)
///                        on conflict (customer) do update set cents = balances.cents + excluded.cents";
///             sqlx::query(add).bind(issued.customer).bind(issued.cents).execute(&mut **tx).await?;
///         }
///         Ok(())
///     }
/// }
/// ```
pub trait Handler: Send + Sync + 'static {
    /// What a record does that the handler is given a second time. Each record is given once, whatever crashes; only an operator has a topic
    /// read again (`farandole replay`), who is told this, and has to accept what isn't [`Repeating::Harmless`].
    const REPEATING: Repeating = Repeating::Undeclared;

    /// Applies `records`, at least one, in their order. The kit commits.
    ///
    /// # Errors
    /// See [`Error`]: one record's fault, or trouble that ends.
    fn handle(&self, tx: &mut Tx<'_>, records: &[Record]) -> impl Future<Output = Result<(), Error>> + Send;
}

/// Why a handler couldn't apply its records.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// One of the records can't be processed: it is isolated, and parks with this reason.
    #[error("{0}")]
    Refused(String),
    /// All records have to wait for something: nothing parks, the batch is retried.
    #[error("{0}")]
    NotYet(String),
    /// A query failed; its SQLSTATE tells [what it is about](crate::ground::trouble).
    #[error("the handler's query failed")]
    Database(#[source] sqlx::Error),
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match error {
            // The tables don't know what the record speaks of; waiting for that would hold up the whole partition.
            sqlx::Error::RowNotFound => Self::Refused("the handler found no row where it needs one".to_owned()),
            error => Self::Database(error),
        }
    }
}

impl From<codec::Error> for Error {
    fn from(error: codec::Error) -> Self {
        if error.is_transient() { Self::NotYet(chain_of(&error)) } else { Self::Refused(chain_of(&error)) }
    }
}

/// Reads topics into a handler: intake and releases of what is parked. Several may share a database, each with a
/// [name](intake::Config::reader) of its own, and each has every record of its topics; replicas of one share its name.
///
/// ```no_run
/// use farandole::handler::{Error, Handler, Tx};
/// use farandole::{Codec, IntakeConfig, Reader, Record, Signals};
///
/// struct Print;
///
/// impl Handler for Print {
///     async fn handle(&self, _: &mut Tx<'_>, records: &[Record]) -> Result<(), Error> {
///         records.iter().for_each(|record| println!("{}: {:?}", record.at(), record.kind()));
///         Ok(())
///     }
/// }
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = sqlx::PgPool::connect("postgres://list@localhost/list").await?;
/// farandole::migrate(&pool).await?; // positions and what is parked, in schema `farandole`; your tables stay as they are
/// let config = IntakeConfig::new("mailing-list", "127.0.0.1:9092", vec!["billing".to_owned()]);
/// let mut reader = Reader::new(Print, Codec::json(), pool, config).start();
/// let mut signals = Signals::catch()?;
/// tokio::select! {
///     ended = reader.ended() => ended?, // by itself only with an error
///     _ = signals.next() => {}
/// }
/// reader.stop().await?;
/// # Ok(())
/// # }
/// ```
///
/// To read Avro, give it a codec with a registry (feature `avro`), and tell that which schemas the handler reads with; values that were
/// written with another version are resolved to them. What says `content-type: application/json` is read as JSON all the same.
///
#[cfg_attr(feature = "avro", doc = "```no_run")]
#[cfg_attr(not(feature = "avro"), doc = "```text")]
/// use farandole::{Codec, IntakeConfig, Reader, RecordType};
/// # struct Print;
/// # impl farandole::Handler for Print {
/// #     async fn handle(&self, _: &mut farandole::Tx<'_>, _: &[farandole::Record]) -> Result<(), farandole::handler::Error> { Ok(()) }
/// # }
///
/// const ISSUED: RecordType = RecordType {
///     name: "billing.InvoiceIssued",
///     schema: r#"{"type": "record", "name": "InvoiceIssued", "namespace": "billing",
///                 "fields": [{"name": "customer", "type": "string"}, {"name": "cents", "type": "long"}]}"#,
///     topic: "billing",
/// };
///
/// # async fn run(pool: sqlx::PgPool, config: IntakeConfig) -> Result<(), Box<dyn std::error::Error>> {
/// let codec = Codec::new("http://127.0.0.1:8081", &pool);
/// codec.add_reader_schema(&[ISSUED])?;
/// let reader = Reader::new(Print, codec, pool, config).start();
/// # reader.stop().await?;
/// # Ok(())
/// # }
/// ```
///
/// **For its operator** the tool `farandole` lists what is parked, has it tried and drops it (`farandole parked`), shows and sets where
/// topics are read (`farandole positions`), and has a topic read again (`farandole replay`), while the reader runs.
#[derive(Debug)]
pub struct Reader<H: Handler> {
    handling: Arc<Handling<H>>,
    intake: Intake,
}

impl<H: Handler> Reader<H> {
    /// A reader of `config.topics`.
    ///
    /// - `codec` reads the values; the reader has it load the schemas that it needs.
    /// - `pool` (a [`sqlx::PgPool`], or `&PgPool`) is that of the database with the handler's tables and the kit's
    ///   ([`migrate`](crate::migrate)). At most [`lanes`](intake::Config::lanes) of its connections are used at once, and one more. What
    ///   they run under (isolation, time limits, `synchronous_commit`) the kit sets by itself; a role or `search_path` of the pool's stays.
    ///
    /// Nothing is read before [`Reader::start`].
    pub fn new(handler: H, codec: Codec, pool: impl Into<Sessions>, mut config: intake::Config) -> Self {
        if let Some(schema) = &config.into {
            (config.reader, config.group) = (trial::name(&config.reader, schema), trial::name(&config.group, schema));
        }
        let (reader, into) = (config.reader.clone(), config.into.clone());
        let handling = Arc::new(Handling { handler, codec, sessions: pool.into(), reader, into });
        Self { intake: Intake::new(Arc::clone(&handling), config), handling }
    }

    /// What troubles its partitions.
    pub fn troubles(&self) -> Troubles {
        self.intake.troubles()
    }

    /// Reads until it is told to stop; then finishes the batches in flight and leaves the group. Trouble that ends by itself is
    /// waited out, and shows in its [health](Running::health), as does what isn't there: a topic, a place in the group. It ends with
    /// an error when the client can't be made or gives up for good.
    pub fn start(self) -> Running<intake::Error> {
        let troubles = self.troubles();
        Running::start("the reader", Health::new(move || troubles.list()), |stop| self.run(stop))
    }

    /// Like [`Reader::start`], for callers that own the task: check its result.
    ///
    /// # Errors
    /// When the client can't be made or gives up for good.
    #[doc(hidden)]
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), intake::Error> {
        let ended = shutdown.child_token();
        let pool = self.handling.sessions.opener().clone();
        if !fit(&pool, &self.intake.troubles(), &shutdown).await {
            return Ok(());
        }
        let codec = self.handling.codec.clone();
        let (sessions, reader) = (self.handling.sessions.clone(), self.handling.reader.clone());
        let declare =
            async |conn: &mut PgConnection| declared::note(conn, &reader, H::REPEATING).await.map_err(sqlx::Error::decode);
        // Of use to an operator only: nothing waits for it, and the next start says it again.
        if let Err(error) = with_conn!(&sessions, conn => declare(conn)) {
            tracing::warn!(
                reader,
                error = chain_of(&error),
                "what the handler declares isn't stored; the next start tries again"
            );
        }
        let releases = release::run(self.handling, ended.clone());
        let refreshes = codec.keep_fresh(&ended);
        // Answers that lie here are of a service beside this, which keeps them for as long as its own setting says.
        let tidy = tidy::run(&sessions, &reader, None, &ended);
        let intake = async {
            let result = self.intake.run(shutdown).await;
            ended.cancel();
            result
        };
        tokio::join!(intake, releases, refreshes, tidy).0
    }
}

/// Waits until the database is as it must be; false when told to stop.
async fn fit(pool: &PgPool, troubles: &Troubles, shutdown: &CancellationToken) -> bool {
    let mut told = String::new();
    loop {
        let Some(checked) = shutdown.run_until_cancelled(surroundings::check(pool, &[])).await else { return false };
        let Err(error) = checked else {
            troubles.database(None);
            return true;
        };
        let why = chain_of(&error);
        if why != told {
            tracing::warn!(why, "reading is paused");
            told.clone_from(&why);
        }
        troubles.database(Some(why));
        if shutdown.run_until_cancelled(tokio::time::sleep(UNFIT)).await.is_none() {
            return false;
        }
    }
}

/// A handler with what the intake needs around it.
pub struct Handling<H> {
    handler: H,
    codec: Codec,
    sessions: Sessions,
    reader: String,
    /// The schema in which it is tried.
    into: Option<String>,
}

impl<H> std::fmt::Debug for Handling<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handling").field("handler", &std::any::type_name::<H>()).finish_non_exhaustive()
    }
}

impl<H: Handler> Processor for Handling<H> {
    type Work = Record;

    fn reader(&self) -> &str {
        &self.reader
    }

    fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    fn codec(&self) -> &Codec {
        &self.codec
    }

    fn journal(&self) -> Option<Journal> {
        None
    }

    fn read(&self, record: &Record) -> Decoded<Box<Record>> {
        match record.link() {
            Ok(_) => Decoded::Input(Box::new(record.clone())),
            Err(reason) => Decoded::Fault(Fault { reason, transient: false }),
        }
    }

    fn task(&self, _task: &Task) -> Decoded<Box<Record>> {
        Decoded::Fault(Fault {
            reason: "a handler has no tasks; this one belongs to the service that shares the database".to_owned(),
            transient: false,
        })
    }

    fn aggregate(&self, record: &Record) -> Result<String, engine::Error> {
        Ok(record.aggregate())
    }

    async fn run(&self, records: &mut [Record], source: &mut dyn Source<Record>) -> Result<Vec<Verdict>, engine::Error> {
        let n = records.len();
        let mut session = self.sessions.acquire().await.map_err(engine::Error::database(engine::CONNECT, n))?;
        let span = trace::batch(n, records.iter().filter_map(|record| record.header("traceparent")));
        let done = tokio::time::timeout(LIMIT, self.transact(&mut session.conn, records, source).instrument(span)).await;
        let result = match done {
            // Nobody knows what it was in the middle of: the connection goes.
            Ok(Err(error @ (engine::Error::Panicked(_) | engine::Error::Database { doing: BEGIN, .. }))) => Err(error),
            done => session.release(done, || given_up(n)).await,
        };
        engine::note(&self.sessions, &result);
        result
    }
}

impl<H: Handler> Handling<H> {
    async fn transact(
        &self,
        conn: &mut PgConnection,
        records: &[Record],
        source: &mut dyn Source<Record>,
    ) -> Result<Vec<Verdict>, engine::Error> {
        let at = |doing| engine::Error::database(doing, records.len());
        let mut tx = begin(conn).await.map_err(at(BEGIN))?;
        if let Some(schema) = &self.into
            && !trial::enter(&mut tx, schema).await.map_err(at("entering the schema of a trial"))?
        {
            return Err(engine::Error::NotYet(format!(
                "schema {schema} isn't there: `farandole replay --into {schema}` makes it"
            )));
        }
        let keys: Vec<String> = records.iter().map(Record::aggregate).collect();
        lock_all(&mut tx, "handler", &keys).await.map_err(at("locking keys"))?;
        let standing = source.claim(&mut tx, records).await?;
        let names: Vec<&str> = if source.releases() { Vec::new() } else { keys.iter().map(String::as_str).collect() };
        let parked = parking::among(&mut tx, &self.reader, &names, None).await.map_err(at("reading what is parked"))?.parked;
        let verdicts: Vec<Verdict> = std::iter::zip(standing, keys).map(|(stands, key)| verdict(stands, key, &parked)).collect();
        self.call(&mut tx, records, &verdicts).await?;
        source.settle(&mut tx, records, &verdicts).await?;
        tx.commit().await.map_err(at(engine::COMMIT))?;
        metrics::BATCH_INPUTS.record(records.len() as f64, []);
        Ok(verdicts)
    }

    /// Calls the handler with those that are neither gone nor held.
    async fn call(&self, tx: &mut Tx<'_>, records: &[Record], verdicts: &[Verdict]) -> Result<(), engine::Error> {
        let stands = |verdict: &Verdict| matches!(verdict, Verdict::Done(_));
        let some: Vec<Record>;
        let records = if verdicts.iter().all(stands) {
            records
        } else {
            some = records.iter().zip(verdicts).filter(|(_, v)| stands(v)).map(|(record, _)| record.clone()).collect();
            &some
        };
        if records.is_empty() {
            return Ok(());
        }
        let inputs = records.len();
        guarded_async(async { self.handler.handle(tx, records).await }).await?.map_err(|error| match error {
            Error::Refused(reason) => engine::Error::Refused(reason),
            Error::NotYet(reason) => engine::Error::NotYet(reason),
            Error::Database(source) => engine::Error::Database { doing: "the handler", inputs, source },
        })
    }
}

fn verdict(stands: bool, key: String, parked: &std::collections::HashSet<String>) -> Verdict {
    match stands {
        false => Verdict::Lost,
        true if parked.contains(&key) => Verdict::Held { behind: key },
        true => Verdict::Done(None),
    }
}
