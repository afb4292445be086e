//! A running stage.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::folder::{Options, Run};
use crate::janitor::Janitor;
use crate::jars::Jars;
use crate::part::Part;
use crate::sandbox::{self, Database, Sandbox};
use crate::{kafka, mail, postgres, process, registry};

const KAFKA: &str = "STAGE_KAFKA";
const POSTGRES: &str = "STAGE_POSTGRES";
const REGISTRY: &str = "STAGE_REGISTRY";
const SMTP: &str = "STAGE_SMTP";
const MAIL: &str = "STAGE_MAIL";

/// Kafka, PostgreSQL, the registry and the mail catcher, started by this process or attached to. What this process has started stops when it is dropped.
#[derive(Debug)]
pub struct Stage {
    kafka: String,
    behind: Vec<String>,
    postgres: String,
    registry: String,
    smtp: String,
    mail: String,
    /// `None` when attached.
    owned: Option<Owned>,
}

/// The ports of all parts but the brokers.
#[derive(Debug, Clone, Copy)]
struct Ports {
    postgres: u16,
    registry: u16,
    mail: mail::Ports,
}

#[derive(Debug)]
struct Owned {
    parts: Vec<Part>,
    run: Run,
    janitor: Janitor,
    keep: bool,
}

impl Stage {
    /// Starts the parts side by side, and returns when all of them serve. Words about it go to stderr. Blocks for 5–15 s; the first time,
    /// for the download as well. On an error nothing is left running.
    pub fn start(options: Options) -> Result<Self, Error> {
        if !matches!(options.brokers, 0 | 1 | 3) {
            return Err(Error::Options("a stage has 1 or 3 brokers, or 0"));
        }
        let brokers = usize::from(options.brokers);
        if !options.proxies.is_empty() && options.proxies.len() != brokers {
            return Err(Error::Options("there must be as many proxies as brokers, or none"));
        }
        check_installed(&options)?;
        let mut run = Run::create(&options, 2 * brokers + options.proxies.len() + 4)?;
        let janitor = Janitor::start(&run.folder)?;
        // From here on its drop cleans up, whatever fails.
        let nodes: Vec<_> = (0..brokers)
            .map(|n| {
                let proxied = options.proxies.get(n).map(|proxy| Ok((run.port()?, *proxy))).transpose()?;
                Ok(kafka::Ports { broker: run.port()?, controller: run.port()?, proxied })
            })
            .collect::<Result<_, Error>>()?;
        let rest =
            Ports { postgres: run.port()?, registry: run.port()?, mail: mail::Ports { smtp: run.port()?, web: run.port()? } };
        let mut owned = Owned { parts: Vec::new(), run, janitor, keep: options.keep };
        let postgres = owned.set_up(&options, &nodes, rest)?;
        let addresses: Vec<String> = nodes.iter().map(|node| format!("127.0.0.1:{}", node.broker)).collect();
        let behind = nodes.iter().filter_map(|node| Some(format!("127.0.0.1:{}", node.proxied?.0))).collect();
        let if_there = |there, address| if there { address } else { String::new() };
        let registry = if_there(options.registry, format!("http://127.0.0.1:{}{}", rest.registry, registry::API));
        let smtp = if_there(options.mail, format!("smtp://127.0.0.1:{}", rest.mail.smtp));
        let mail = if_there(options.mail, format!("http://127.0.0.1:{}", rest.mail.web));
        Ok(Self { kafka: addresses.join(","), behind, postgres, registry, smtp, mail, owned: Some(owned) })
    }

    /// The stage that `STAGE_KAFKA`, `STAGE_POSTGRES` and `STAGE_REGISTRY` name, and if it has a mail catcher `STAGE_SMTP` and `STAGE_MAIL`;
    /// dropping it stops nothing.
    pub fn attach() -> Result<Self, Error> {
        let read = |variable| std::env::var(variable).map_err(|_| Error::NoStage { variable });
        let optional = |variable| std::env::var(variable).unwrap_or_default();
        let (smtp, mail, behind) = (optional(SMTP), optional(MAIL), Vec::new());
        Ok(Self { kafka: read(KAFKA)?, behind, postgres: read(POSTGRES)?, registry: read(REGISTRY)?, smtp, mail, owned: None })
    }

    /// For tests: the stage named by the environment, else one for this process, started at the first call and gone with the process.
    ///
    /// # Panics
    /// When it can't be started: a test has nothing to go on with.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Stage> = OnceLock::new();
        SHARED.get_or_init(|| match Self::attach().or_else(|_| Self::start(Options::default())) {
            Ok(stage) => stage,
            Err(error) => panic!("the stage could not be started: {}", error.chain()),
        })
    }

    /// The brokers, `127.0.0.1:port[,…]`; empty if there are none.
    pub fn kafka(&self) -> &str {
        &self.kafka
    }

    /// Where each broker expects the connections that its proxy passes on: see [`Options::proxies`].
    pub fn behind(&self) -> &[String] {
        &self.behind
    }

    /// The superuser's address of the database `postgres`.
    pub fn postgres(&self) -> &str {
        &self.postgres
    }

    /// The address of Confluent's API, `http://127.0.0.1:port/apis/ccompat/v7`; empty if there is no registry.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Where the mail catcher takes mail, `smtp://127.0.0.1:port`; empty if there is none.
    pub fn smtp(&self) -> &str {
        &self.smtp
    }

    /// The mail catcher's web page, `http://127.0.0.1:port`, and below it its [API](crate::mail); empty if there is none.
    pub fn mail(&self) -> &str {
        &self.mail
    }

    /// The variables that [`attach`](Self::attach) reads.
    pub fn env(&self) -> Vec<(String, String)> {
        let always = [(KAFKA, &self.kafka), (POSTGRES, &self.postgres), (REGISTRY, &self.registry)];
        let optional = [(SMTP, &self.smtp), (MAIL, &self.mail)].into_iter().filter(|(_, value)| !value.is_empty());
        // The registry's is last: scripts/dev waits for it.
        optional.chain(always).map(|(name, value)| (name.to_owned(), value.clone())).collect()
    }

    /// The running parts' names and process ids; none when attached.
    pub fn pids(&self) -> Vec<(String, u32)> {
        let parts = self.owned.iter().flat_map(|owned| &owned.parts);
        parts.filter_map(|part| Some((part.name.clone(), part.pid()?))).collect()
    }

    /// Stops a part (`kafka-1`, `postgres`, `registry`, `mail`) in order. Blocks until it has ended.
    pub fn stop_part(&self, name: &str) -> Result<(), Error> {
        self.part(name).map(|(part, _)| part.stop())
    }

    /// Ends a part at once, by its own means if it has any: PostgreSQL as `pg_ctl stop -m immediate` does; the others are killed.
    pub fn abort_part(&self, name: &str) -> Result<(), Error> {
        self.part(name).map(|(part, _)| part.discard())
    }

    /// Kills a part and its children, as a crash of the machine would; its data stay as they are on disk.
    pub fn kill_part(&self, name: &str) -> Result<(), Error> {
        self.part(name).map(|(part, _)| part.kill())
    }

    /// Starts a part again, on the same port and data. Blocks until it serves; does nothing if it runs.
    pub fn start_part(&self, name: &str) -> Result<(), Error> {
        let (part, owned) = self.part(name)?;
        part.start(&owned.run, &AtomicBool::new(false))
    }

    /// Stops a part's processes in their tracks (SIGSTOP): connections stay open, nobody answers.
    pub fn pause(&self, name: &str) -> Result<(), Error> {
        self.part(name).map(|(part, _)| part.pause())
    }

    /// Lets a paused part go on (SIGCONT).
    pub fn resume(&self, name: &str) -> Result<(), Error> {
        self.part(name).map(|(part, _)| part.resume())
    }

    /// A place of its own for a test.
    pub async fn sandbox(&self) -> Result<Sandbox, Error> {
        Ok(Sandbox::new(&self.postgres))
    }

    /// The database of exactly this name and its role, created at the first call.
    pub async fn database(&self, name: &str) -> Result<Database, Error> {
        sandbox::create(&self.postgres, name).await
    }

    fn part(&self, name: &str) -> Result<(&Part, &Owned), Error> {
        let owned = self.owned.as_ref().ok_or_else(|| Error::Attached { name: name.into() })?;
        let part = owned.parts.iter().find(|part| part.name == name);
        let known = || owned.parts.iter().map(|part| part.name.as_str()).collect::<Vec<_>>().join(", ");
        Ok((part.ok_or_else(|| Error::NoPart { name: name.into(), known: known() })?, owned))
    }
}

impl Owned {
    /// Prepares and starts all parts; returns the superuser's address.
    fn set_up(&mut self, options: &Options, nodes: &[kafka::Ports], rest: Ports) -> Result<String, Error> {
        let run = &self.run;
        let given_up = AtomicBool::new(false);
        let start = |made: Result<Part, Error>| {
            let started = made.and_then(|part| part.start(run, &given_up).map(|()| part));
            if started.is_err() {
                given_up.store(true, Ordering::Relaxed);
            }
            started
        };
        let jars = if options.registry || !nodes.is_empty() {
            Some(Jars::get(run.folder.parent().unwrap_or(&options.dir))?)
        } else {
            None
        };
        let cluster = kafka::cluster_id();
        let mut url = String::new();
        let made: Vec<Result<Part, Error>> = thread::scope(|scope| {
            let mut threads = Vec::new();
            if let Some(jars) = &jars {
                for id in 1..=nodes.len() {
                    let (start, cluster) = (&start, &cluster);
                    threads.push(
                        scope.spawn(move || start(kafka::part(run, &jars.kafka, cluster, id, nodes, options.brokers_time))),
                    );
                }
                if options.registry {
                    threads.push(scope.spawn(|| start(registry::part(run, &jars.registry, rest.registry))));
                }
            }
            if options.mail {
                threads.push(scope.spawn(|| start(mail::part(run, &options.dir, rest.mail))));
            }
            let url = &mut url;
            threads.push(scope.spawn(|| {
                let made = postgres::part(run, rest.postgres, options.logical).map(|(part, address)| {
                    *url = address;
                    part
                });
                let started = start(made)?;
                postgres::close_to_others(url)?;
                Ok(started)
            }));
            let lost = |_| Err(Error::Options("a thread of the start panicked"));
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(lost)).collect()
        });
        let mut first = None;
        for part in made {
            match part {
                Ok(part) => self.parts.push(part),
                // The one that says why comes before those that gave up because of it.
                Err(Error::GivenUp { .. }) if first.is_some() => {}
                Err(error) => {
                    if !matches!(first, Some(ref known) if !matches!(known, Error::GivenUp { .. })) {
                        first = Some(error);
                    }
                }
            }
        }
        match first {
            Some(error) => Err(error),
            None => wait_for_all(nodes).map(|()| url),
        }
    }
}

/// Says all that is missing at once, before anything is started.
fn check_installed(options: &Options) -> Result<(), Error> {
    if options.mail && !mail::is_built(&options.dir) {
        return Err(Error::Options("the mail catcher isn't built: scripts/install --mail does it"));
    }
    let jvm = options.brokers > 0 || options.registry;
    let fetch = jvm && !Jars::are_in(&options.dir);
    let there = |tool| process::find(tool).is_some();
    let needed = [
        ("setpriv", "util-linux", there("setpriv")),
        ("java", "openjdk-17-jre-headless", !jvm || there("java")),
        ("mvn", "maven", !fetch || there("mvn")),
        ("tar", "tar", !fetch || there("tar")),
        ("initdb", "postgresql", postgres::installed().is_ok()),
    ];
    let missing = needed.iter().filter(|(_, _, there)| !there);
    let (tools, packages): (Vec<&str>, Vec<&str>) = missing.map(|(tool, package, _)| (*tool, *package)).unzip();
    if tools.is_empty() { Ok(()) } else { Err(Error::Missing { tools: tools.join(", "), packages: packages.join(" ") }) }
}

/// Each broker serves; here each of them knows all of them, so that a topic can have as many copies.
fn wait_for_all(nodes: &[kafka::Ports]) -> Result<(), Error> {
    let end = Instant::now() + Duration::from_secs(30);
    for node in nodes {
        while kafka::brokers(&format!("127.0.0.1:{}", node.broker)).map_or(0, |there| there.len()) < nodes.len() {
            if Instant::now() > end {
                return Err(Error::Options("the brokers did not find each other within 30 s"));
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
    Ok(())
}

impl Drop for Owned {
    fn drop(&mut self) {
        thread::scope(|scope| {
            for part in &self.parts {
                scope.spawn(|| if self.keep { part.stop() } else { part.discard() });
            }
        });
        self.janitor.dismiss();
        self.run.end();
    }
}
