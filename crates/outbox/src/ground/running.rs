//! A background component in your own program: the relay of an outbox, the reader of a handler.
//!
//! **Guarantee.** How it ended can't be overlooked: the handle has to be used, gives the result, and where neither it nor a log is
//! looked at, the reason is on standard error.
//!
//! **How it would fail without**: a spawned task's result is dropped with its handle; a relay that refuses to publish looks like
//! one that has nothing to do.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::ground::error::chain_of;

/// Between two looks at a component's health.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A component that runs until it is stopped: the relay of an outbox, a reader. Dropping the handle stops it without waiting.
///
/// ```no_run
/// use farandole_outbox::{Running, Signals, relay};
///
/// async fn until_told(relay: Running<relay::Error>) -> Result<(), Box<dyn std::error::Error>> {
///     let health = relay.health(); // for a health check of your own; valid beyond the end
///     # let _ = health;
///     let mut signals = Signals::catch()?;
///     // Ends by itself only with an error; otherwise finishes what is under way.
///     relay.until(signals.next(), |problems| eprintln!("{problems:?}")).await?;
///     Ok(())
/// }
/// ```
#[must_use = "await `ended()` beside your own work, or you won't learn why it stopped"]
pub struct Running<E: std::error::Error + 'static> {
    name: &'static str,
    task: Option<JoinHandle<Result<(), E>>>,
    stop: CancellationToken,
    health: Health,
}

/// The health of a running component. Cheap to clone and to query.
#[derive(Clone)]
pub struct Health(Arc<dyn Fn() -> Vec<String> + Send + Sync>);

impl std::fmt::Debug for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.troubles()).finish()
    }
}

impl Health {
    /// Of what gives its troubles so.
    #[doc(hidden)]
    pub fn new(troubles: impl Fn() -> Vec<String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(troubles))
    }

    /// Current problems, one sentence each; empty if healthy.
    pub fn troubles(&self) -> Vec<String> {
        (self.0)()
    }

    /// Whether all is well.
    pub fn is_well(&self) -> bool {
        self.troubles().is_empty()
    }
}

impl<E: std::error::Error + 'static> std::fmt::Debug for Running<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running").field("name", &self.name).field("health", &self.health).finish_non_exhaustive()
    }
}

impl<E: std::error::Error + Send + 'static> Running<E> {
    /// Starts it on the runtime of the caller.
    pub fn start<F: Future<Output = Result<(), E>> + Send + 'static>(
        name: &'static str,
        health: Health,
        run: impl FnOnce(CancellationToken) -> F,
    ) -> Self {
        let stop = CancellationToken::new();
        let run = run(stop.clone());
        let task = tokio::spawn(async move {
            let ended = run.await;
            if let Err(error) = &ended {
                say(&format!("{name} ended: {}", chain_of(error)));
            }
            ended
        });
        Self { name, task: Some(task), stop, health }
    }

    /// How it is; for a program's own `/healthz`, and valid beyond its end.
    pub fn health(&self) -> Health {
        self.health.clone()
    }

    /// Waits for its end, which comes of an error or of [`Running::stop`] only. May be dropped and called again; once it has given
    /// the result it waits for ever.
    ///
    /// # Errors
    /// Why it ended.
    ///
    /// # Panics
    /// With its panic.
    pub async fn ended(&mut self) -> Result<(), E> {
        let Some(task) = &mut self.task else { return std::future::pending().await };
        let joined = task.await;
        self.task = None;
        unwound(joined)
    }

    /// Runs it until `stop` completes, then stops it as [`Running::stop`] does. Each time its health changes, within a second,
    /// `changed` is called with its current [problems](Health::troubles): with none once they are over, and at first if there are none.
    ///
    /// # Errors
    /// Why it ended before `stop` did, or how stopping failed.
    ///
    /// # Panics
    /// With its panic.
    pub async fn until(mut self, stop: impl Future, mut changed: impl FnMut(&[String])) -> Result<(), E> {
        let mut told = None;
        let mut stop = pin!(stop);
        loop {
            let problems = self.health.troubles();
            if told.as_ref() != Some(&problems) {
                changed(&problems);
                told = Some(problems);
            }
            tokio::select! {
                ended = self.ended() => return ended,
                _ = &mut stop => return self.stop().await,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Tells it to stop and waits until it has finished what is under way.
    ///
    /// # Errors
    /// Why it had ended before, or how stopping failed.
    ///
    /// # Panics
    /// With its panic.
    pub async fn stop(mut self) -> Result<(), E> {
        self.stop.cancel();
        match self.task.take() {
            Some(task) => unwound(task.await),
            None => Ok(()),
        }
    }
}

fn unwound<E>(joined: Result<Result<(), E>, JoinError>) -> Result<(), E> {
    match joined {
        Ok(ended) => ended,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The runtime goes, and all of its tasks with it.
        Err(_) => Ok(()),
    }
}

impl<E: std::error::Error + 'static> Drop for Running<E> {
    fn drop(&mut self) {
        self.stop.cancel();
        // A panic has been reported by its hook, an error by the task.
        if self.task.take().is_some_and(|task| task.now_or_never().is_none()) {
            tracing::debug!(part = self.name, "handle dropped while running; stopping");
        }
    }
}

/// An error that somebody must see, whether or not the program has set up logging.
fn say(words: &str) {
    if tracing::dispatcher::has_been_set() {
        tracing::error!("{words}");
    } else {
        eprintln!("{words}");
    }
}

/// The signals that tell a program to stop: SIGTERM, SIGINT, and SIGHUP (its terminal is closed). See [`Running`] for an example.
#[derive(Debug)]
pub struct Signals {
    term: Signal,
    int: Signal,
    hup: Signal,
}

impl Signals {
    /// From now on they don't end the program; see [`Signals::next`].
    ///
    /// # Errors
    /// When they can't be caught.
    pub fn catch() -> std::io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            hup: signal(SignalKind::hangup())?,
        })
    }

    /// The name of the next one that comes.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.term.recv() => "SIGTERM",
            _ = self.int.recv() => "SIGINT",
            _ = self.hup.recv() => "SIGHUP",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("no more")]
    struct NoMore;

    fn running(ends: bool) -> Running<NoMore> {
        Running::start("a test", Health::new(Vec::new), async move |stop: CancellationToken| {
            if ends {
                return Err(NoMore);
            }
            stop.cancelled().await;
            Ok(())
        })
    }

    #[tokio::test]
    async fn its_end_is_told_to_who_waits_for_it() {
        let mut fails = running(true);
        assert!(fails.ended().await.is_err());
        assert!(running(true).stop().await.is_err(), "also when it is told to stop afterwards");
        let mut works = running(false);
        assert!(works.ended().now_or_never().is_none(), "it runs");
        assert!(works.stop().await.is_ok());
    }

    #[tokio::test]
    async fn it_runs_until_told_and_tells_each_change_once() {
        let (health, mut told) = (Arc::new(std::sync::Mutex::new(vec!["no broker".to_owned()])), Vec::new());
        let (shared, (stop, stopped)) = (health.clone(), tokio::sync::oneshot::channel::<()>());
        let mut stop = Some(stop);
        let running =
            Running::<NoMore>::start("a test", Health::new(move || shared.lock().unwrap().clone()), async move |stop| {
                stop.cancelled().await;
                Ok(())
            });
        let until = running.until(stopped, |problems| {
            told.push(problems.to_vec());
            match problems {
                [] => drop(stop.take()),
                _ => health.lock().unwrap().clear(),
            }
        });
        assert!(until.await.is_ok());
        assert_eq!(told, [vec!["no broker".to_owned()], vec![]]);
        assert!(running_until_it_fails().await.is_err(), "it ended before it was told to");
    }

    async fn running_until_it_fails() -> Result<(), NoMore> {
        running(true).until(std::future::pending::<()>(), |_| {}).await
    }

    #[tokio::test]
    async fn dropped_it_stops() {
        let works = running(false);
        let stop = works.stop.clone();
        drop(works);
        stop.cancelled().await;
    }
}
