//! Carries a plan out: load, faults, recoveries, rest, audit.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use audit::Check;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::plan::Fault;
use crate::report::{Report, Row};
use crate::target::{Subject, Target};

/// How long the system may take to work again after the last fault of a bout: leases and sessions (10 s), one after the other, and the
/// minute after which the services give a connection up that fell silent.
pub const RECOVERY: Duration = Duration::from_secs(120);
/// How long the probe before the first fault may take: the first events of a new system, on a machine that also builds.
const WARM: Duration = Duration::from_secs(180);
/// How long the probe may take while only targets are harmed that [nothing else needs](crate::Shape::is_aside): as long as ever, which is
/// seconds, on a machine that also builds.
const GOES_ON: Duration = Duration::from_secs(30);
/// Between two looks whether anything ended by itself.
const LOOK: Duration = Duration::from_millis(250);

/// A system that is to be broken. Describe your own by this, and give it to [`run`].
pub trait System: Send + Sync + 'static {
    /// What can be harmed.
    fn targets(&self) -> &[Target];

    /// Puts load on the system until told to stop, through whatever happens; then lets what is under way end, and says in a line
    /// what it did.
    fn load(&self, stop: CancellationToken) -> impl Future<Output = anyhow::Result<String>> + Send;

    /// Gives the system something to do that needs all of its parts, and returns when it is done, however long that takes.
    fn probe(&self) -> impl Future<Output = ()> + Send;

    /// Waits until nothing that must be whole before the next fault isn't (replicas that lag behind, say), a bounded time.
    ///
    /// # Errors
    /// When it isn't in time.
    fn whole(&self) -> impl Future<Output = anyhow::Result<()>> + Send;

    /// Waits, a bounded time, until the system has come to rest, and checks what must be true of it.
    ///
    /// # Errors
    /// When it can't be checked.
    fn audit(&self) -> impl Future<Output = anyhow::Result<Vec<Check>>> + Send;
}

/// Carries `plan` out. The time that recoveries take beyond the plan's pauses comes on top. Words about it go to stderr. Nothing holds
/// `system` any more when this returns.
///
/// Dropped before its end it leaves the system as it is, perhaps in the middle of a fault: drop that as well.
///
/// # Errors
/// When the system doesn't work before the first fault, or can't be audited. What is found wrong is no error: see [`Report`].
pub async fn run<S: System>(system: Arc<S>, plan: &[Fault]) -> anyhow::Result<Report> {
    carry_out(system, plan, GOES_ON).await
}

/// `goes_on`: how long the probe may take while only targets are harmed that nothing else needs.
async fn carry_out<S: System>(system: Arc<S>, plan: &[Fault], goes_on: Duration) -> anyhow::Result<Report> {
    tokio::time::timeout(WARM, system.probe()).await.context("the system doesn't work, and nothing was done to it yet")?;
    let began = Instant::now();
    let stop = CancellationToken::new();
    let (told, loaded) = (stop.clone(), Arc::clone(&system));
    let load = Owned(tokio::spawn(async move { loaded.load(told).await }));
    let trouble: Arc<Mutex<Vec<String>>> = Arc::default();
    let rest = CancellationToken::new();
    let watch = Owned(tokio::spawn(watch(Arc::clone(&system), Arc::clone(&trouble), rest.clone())));

    let mut rows = Vec::new();
    let bouts = plan.last().map_or(0, |fault| fault.bout + 1);
    for bout in 0..bouts {
        let faults: Vec<&Fault> = plan.iter().filter(|fault| fault.bout == bout).collect();
        let Some(first) = faults.first().copied() else { continue };
        if let Err(error) = system.whole().await {
            say(&trouble, format!("before {} was {}: {error:#}", first.target, first.harm));
        }
        tokio::time::sleep((began + first.at).saturating_duration_since(Instant::now())).await;
        let all_end = faults.iter().map(|fault| fault.end()).max().unwrap_or_default();
        // Then there is nothing that the rest could wait for.
        let aside = faults.iter().all(|fault| find(&*system, fault).is_some_and(|target| target.shape.is_aside));
        let goes_on = aside.then_some(goes_on);
        let mut under_way = JoinSet::new();
        for fault in faults {
            let (system, fault, after, longer) = (Arc::clone(&system), fault.clone(), fault.at - first.at, all_end - fault.end());
            under_way.spawn(async move {
                tokio::time::sleep(after).await;
                one(&*system, fault, began, longer, goes_on).await
            });
        }
        while let Some(done) = under_way.join_next().await {
            let row = done.context("a fault's task ended early")?;
            eprintln!("faults: {row}");
            rows.push(row);
        }
    }
    eprintln!("faults: all done; the load ends, then everything comes to rest and is audited");
    stop.cancel();
    let load = load.join().await.context("the load")?;
    let checks = system.audit().await.context("auditing")?;
    // To its end: what it holds of the system is the caller's to take apart once this returns.
    rest.cancel();
    watch.join().await.context("the watch")?;
    rows.sort_by_key(|row| row.at);
    let trouble = std::mem::take(&mut *trouble.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(Report { rows, trouble, checks, load })
}

/// What `fault` harms.
fn find<'a, S: System>(system: &'a S, fault: &Fault) -> Option<&'a Target> {
    system.targets().iter().find(|target| target.shape.name == fault.target)
}

/// One fault, from its beginning until the system works again. `longer`: how much longer others of its bout last; `goes_on`: nothing
/// else needs what this one and those others harm, so that a probe takes no longer than this.
async fn one<S: System>(system: &S, fault: Fault, began: Instant, longer: Duration, goes_on: Option<Duration>) -> Row {
    let at = began.elapsed();
    let (mut trouble, mut meanwhile) = (None, None);
    let Some(target) = find(system, &fault) else {
        return Row {
            at,
            length: Duration::ZERO,
            meanwhile,
            recovery: None,
            with_others: false,
            trouble: Some("no such target".into()),
            fault,
        };
    };
    let harm = fault.harm;
    if let Err(error) = apart(&target.subject, move |subject| subject.strike(harm)).await {
        trouble = Some(format!("can't be begun: {error:#}"));
    }
    let until = tokio::time::Instant::now() + fault.length;
    let mut rest = None;
    if harm.spares_the_rest() || goes_on.is_some() {
        let limit = goes_on.unwrap_or(longer + RECOVERY);
        rest = Some(async move {
            let since = Instant::now();
            let went_on = tokio::time::timeout(limit, system.probe()).await;
            went_on
                .map(|()| since.elapsed())
                .map_err(|_| format!("everything else stood while it lasted, for {} s", limit.as_secs()))
        });
    }
    // Trouble with one thing lasts until others have shown that it doesn't stop them. Where an operator mends it, that is what lasts.
    let mut went_on = None;
    if !harm.alone()
        && let Some(rest) = rest.take()
    {
        went_on = Some(rest.await);
    }
    tokio::time::sleep_until(until).await;
    let ended = Instant::now();
    let length = began.elapsed() - at;
    let mend = apart(&target.subject, move |subject| subject.mend(harm));
    let mended = match rest {
        Some(rest) => {
            let (mended, told) = tokio::join!(mend, rest);
            went_on = Some(told);
            mended
        }
        None => mend.await,
    };
    match went_on {
        Some(Ok(took)) => meanwhile = Some(took),
        Some(Err(why)) => trouble = Some(why),
        None => {}
    }
    if let Err(error) = mended {
        trouble = Some(format!("can't be ended: {error:#}"));
    }
    let recovered = tokio::time::timeout(longer + RECOVERY, system.probe()).await;
    let recovery = recovered.is_ok().then(|| ended.elapsed());
    Row { at, length, meanwhile, recovery, with_others: longer > Duration::ZERO, trouble, fault }
}

/// On a thread where it may block.
async fn apart<F>(subject: &Arc<dyn Subject>, what: F) -> anyhow::Result<()>
where
    F: FnOnce(&dyn Subject) -> anyhow::Result<()> + Send + 'static,
{
    let subject = Arc::clone(subject);
    tokio::task::spawn_blocking(move || what(&*subject)).await.context("a fault's thread ended early")?
}

/// Looks at everything again and again, until the system has come to `rest`.
async fn watch<S: System>(system: Arc<S>, trouble: Arc<Mutex<Vec<String>>>, rest: CancellationToken) -> anyhow::Result<()> {
    while !rest.is_cancelled() {
        for target in system.targets() {
            let subject = Arc::clone(&target.subject);
            if let Ok(Some(what)) = tokio::task::spawn_blocking(move || subject.look()).await {
                say(&trouble, what);
            }
        }
        rest.run_until_cancelled(tokio::time::sleep(LOOK)).await;
    }
    Ok(())
}

fn say(trouble: &Mutex<Vec<String>>, what: String) {
    eprintln!("faults: {what}");
    trouble.lock().unwrap_or_else(PoisonError::into_inner).push(what);
}

/// A task that ends with its owner.
pub(crate) struct Owned<T>(JoinHandle<T>);

impl<T> Owned<anyhow::Result<T>> {
    pub(crate) fn new(task: JoinHandle<anyhow::Result<T>>) -> Self {
        Self(task)
    }

    pub(crate) async fn join(mut self) -> anyhow::Result<T> {
        (&mut self.0).await.context("it ended early")?
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Harm, Shape};

    /// Takes a while to look at.
    struct Slow;

    impl Subject for Slow {
        fn strike(&self, _: Harm) -> anyhow::Result<()> {
            Ok(())
        }

        fn mend(&self, _: Harm) -> anyhow::Result<()> {
            Ok(())
        }

        fn look(&self) -> Option<String> {
            std::thread::sleep(Duration::from_millis(20));
            None
        }
    }

    struct Quiet(Vec<Target>);

    /// Stands while what it has is harmed.
    struct Needy(Vec<Target>, Arc<Switch>);

    #[derive(Default)]
    struct Switch(tokio::sync::watch::Sender<bool>);

    impl Subject for Switch {
        fn strike(&self, _: Harm) -> anyhow::Result<()> {
            self.0.send_replace(true);
            Ok(())
        }

        fn mend(&self, _: Harm) -> anyhow::Result<()> {
            self.0.send_replace(false);
            Ok(())
        }
    }

    impl System for Needy {
        fn targets(&self) -> &[Target] {
            &self.0
        }

        async fn load(&self, _: CancellationToken) -> anyhow::Result<String> {
            Ok(String::new())
        }

        async fn probe(&self) {
            let _ = self.1.0.subscribe().wait_for(|harmed| !harmed).await;
        }

        async fn whole(&self) -> anyhow::Result<()> {
            Ok(())
        }

        async fn audit(&self) -> anyhow::Result<Vec<Check>> {
            Ok(vec![])
        }
    }

    impl System for Quiet {
        fn targets(&self) -> &[Target] {
            &self.0
        }

        async fn load(&self, stop: CancellationToken) -> anyhow::Result<String> {
            stop.cancelled().await;
            Ok(String::new())
        }

        async fn probe(&self) {}

        async fn whole(&self) -> anyhow::Result<()> {
            Ok(())
        }

        async fn audit(&self) -> anyhow::Result<Vec<Check>> {
            tokio::time::sleep(Duration::from_millis(5)).await;
            Ok(vec![])
        }
    }

    fn pause() -> Fault {
        let (at, length) = (Duration::ZERO, Duration::from_millis(10));
        Fault { bout: 0, target: "slow".to_owned(), harm: Harm::Pause, at, length }
    }

    /// What nothing else needs may be harmed for as long as a probe takes, and the rest must go on meanwhile.
    #[tokio::test(flavor = "multi_thread")]
    async fn the_rest_goes_on_while_what_is_aside_is_harmed() {
        for is_aside in [true, false] {
            let shape = Shape::new("slow", &[Harm::Pause]);
            let target = Target::new(if is_aside { shape.aside() } else { shape }, Arc::new(Slow));
            let report = run(Arc::new(Quiet(vec![target])), &[pause()]).await.unwrap();
            assert_eq!((report.rows[0].meanwhile.is_some(), report.violations().len()), (is_aside, 0), "{report}");
        }
    }

    /// Guard: the limit while it lasts. Without it nobody sees that orders wait for mails.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_system_that_stands_while_what_is_aside_is_harmed_is_seen() {
        for is_aside in [true, false] {
            let (shape, switch) = (Shape::new("slow", &[Harm::Pause]), Arc::<Switch>::default());
            let shape = if is_aside { shape.aside() } else { shape };
            let targets = vec![Target::new(shape, Arc::<Switch>::clone(&switch))];
            let system = Arc::new(Needy(targets, switch));
            let report = carry_out(system, &[pause()], Duration::from_millis(100)).await.unwrap();
            assert_eq!(report.violations().len(), usize::from(is_aside), "{report}");
        }
    }

    /// Whoever runs it takes the system apart afterwards, and must not find that something still looks at it.
    #[tokio::test(flavor = "multi_thread")]
    async fn nothing_holds_the_system_afterwards() {
        let subject: Arc<dyn Subject> = Arc::new(Slow);
        let system = Arc::new(Quiet(vec![Target::new(Shape::new("slow", &[Harm::Pause]), Arc::clone(&subject))]));
        run(Arc::clone(&system), &[]).await.unwrap();
        assert!(Arc::into_inner(system).is_some(), "the system");
        assert_eq!(Arc::strong_count(&subject), 1, "what is harmed");
    }
}
