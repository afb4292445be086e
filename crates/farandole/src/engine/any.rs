//! A type-erased processor, so that intake and release are compiled once and not per service.

use std::any::Any;

use futures_util::future::BoxFuture;
use sqlx::PgConnection;

use crate::database::sessions::Sessions;
use crate::engine::error::Error;
use crate::engine::plan::guarded;
use crate::engine::source::{Processor, Source};
use crate::engine::work::{Decoded, Verdict};
use crate::parking::Fault;
use crate::parking::input::Task;
use crate::parking::journal::Journal;
use crate::wire::codec::Codec;
use crate::wire::record::Record;

/// An input of any processor. Not the bare box: a reference to that passes for one to what is in it, and is one to the box.
pub(crate) struct AnyWork(Box<dyn Any + Send + Sync>);

/// A [`Processor`], whatever its inputs are.
pub(crate) trait AnyProcessor: std::fmt::Debug + Send + Sync {
    /// [`Processor::reader`].
    fn reader(&self) -> &str;
    /// [`Processor::sessions`].
    fn sessions(&self) -> &Sessions;
    /// [`Processor::codec`].
    fn codec(&self) -> &Codec;
    /// [`Processor::journal`].
    fn journal(&self) -> Option<Journal>;
    /// What a record says. Its code is the service's, and may panic: that is the record's fault.
    fn read(&self, record: &Record) -> Decoded<AnyWork>;
    /// [`Processor::task`].
    fn task(&self, task: &Task) -> Decoded<AnyWork>;
    /// [`Processor::aggregate`].
    fn aggregate(&self, work: &AnyWork) -> Result<String, Error>;
    /// [`Processor::run`]; `works` are as before when it failed, and gone when it didn't.
    fn run<'a>(
        &'a self,
        works: &'a mut Vec<AnyWork>,
        source: &'a mut (dyn Source<()> + 'a),
    ) -> BoxFuture<'a, Result<Vec<Verdict>, Error>>;
}

impl<P: Processor> AnyProcessor for P {
    fn reader(&self) -> &str {
        Processor::reader(self)
    }

    fn sessions(&self) -> &Sessions {
        Processor::sessions(self)
    }

    fn codec(&self) -> &Codec {
        Processor::codec(self)
    }

    fn journal(&self) -> Option<Journal> {
        Processor::journal(self)
    }

    fn read(&self, record: &Record) -> Decoded<AnyWork> {
        let said = guarded(|| Processor::read(self, record));
        said.map_or_else(|e| Decoded::Fault(Fault { reason: e.to_string(), transient: false }), any)
    }

    fn task(&self, task: &Task) -> Decoded<AnyWork> {
        any(Processor::task(self, task))
    }

    fn aggregate(&self, work: &AnyWork) -> Result<String, Error> {
        Processor::aggregate(self, work.0.downcast_ref().ok_or_else(foreign)?)
    }

    fn run<'a>(
        &'a self,
        works: &'a mut Vec<AnyWork>,
        source: &'a mut (dyn Source<()> + 'a),
    ) -> BoxFuture<'a, Result<Vec<Verdict>, Error>> {
        Box::pin(async move {
            let own = works.drain(..).map(|work| work.0.downcast::<P::Work>().map(|work| *work));
            let mut own: Vec<P::Work> = own.collect::<Result<_, _>>().map_err(|_| foreign())?;
            let result = Processor::run(self, &mut own, &mut Blind(source)).await;
            if result.is_err() {
                works.extend(own.into_iter().map(|work| AnyWork(Box::new(work))));
            }
            result
        })
    }
}

/// Of an input that another processor has made. A reader has one processor, to which what it made comes back.
fn foreign() -> Error {
    Error::Panicked("an input of another processor".to_owned())
}

fn any<W: Send + Sync + 'static>(said: Decoded<Box<W>>) -> Decoded<AnyWork> {
    match said {
        Decoded::Input(work) => Decoded::Input(AnyWork(work)),
        Decoded::Ignored => Decoded::Ignored,
        Decoded::Unknown => Decoded::Unknown,
        Decoded::Fault(fault) => Decoded::Fault(fault),
    }
}

/// A source that sees of inputs how many they are.
struct Blind<'a>(&'a mut (dyn Source<()> + 'a));

impl<W: Sync> Source<W> for Blind<'_> {
    fn claim<'a>(&'a mut self, conn: &'a mut PgConnection, works: &'a [W]) -> BoxFuture<'a, Result<Vec<bool>, Error>> {
        self.0.claim(conn, units(works.len()))
    }

    fn rests_on(&mut self, comparison: Option<u64>) {
        self.0.rests_on(comparison);
    }

    fn comes_again(&self) -> bool {
        self.0.comes_again()
    }

    fn releases(&self) -> bool {
        self.0.releases()
    }

    fn settle<'a>(
        &'a mut self,
        conn: &'a mut PgConnection,
        works: &'a [W],
        verdicts: &'a [Verdict],
    ) -> BoxFuture<'a, Result<(), Error>> {
        self.0.settle(conn, units(works.len()), verdicts)
    }
}

/// So many of nothing, which takes no bytes.
fn units(n: usize) -> &'static [()] {
    const ALL: &[()] = &[(); usize::MAX];
    &ALL[..n]
}
