//! The shop that is drilled on: one broker, PostgreSQL, registry, acquirer, carrier and mail server; of each service a replica and a second
//! one of another build. Callers come through fronts, so do payments and shipping to what is outside, and so does the carrier with its
//! reports; mails go through a proxy.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use demo::shop::Parts;
use reqwest::StatusCode;
use stage::process::Command;
use stage::{Database, Options, Stage};

use super::callers::Callers;
use super::databases::Server;
use super::effects::Effects;
use super::front::Front;
use super::mails::Mails;
use super::operator::Operator;
use super::reports::{Report, Reports};
use super::standins::Standins;
use crate::shop::shapes::NOTIFICATIONS;
use crate::shop::strays::Strays;
use crate::target::Process;

/// How long a service may take to be ready: its first start registers schemas and makes topics.
const READY: Duration = Duration::from_secs(90);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);
/// How long a front may take to pass a request on, again and again.
const ANSWER: Duration = Duration::from_secs(60);
/// What every service is told beside where its parts are: checkpoints soon, so that what is lost is little.
const CHECKPOINT: (&str, &str) = ("FARANDOLE_INTAKE_CHECKPOINT_EVERY", "500ms");
/// Service, variable, value. An order is confirmed within longer than any drill holds it up, and shorter than the audit waits; a parcel
/// leaves soon, and is asked for within a drill.
const SETTINGS: [(&str, &str, &str); 3] = [
    ("orders", "FARANDOLE_OWN_CONFIRM_WITHIN", "2m"),
    ("shipping", "FARANDOLE_OWN_DISPATCH_AFTER", "1s"),
    ("shipping", "FARANDOLE_OWN_DELIVER_WITHIN", "20s"),
];

/// The two replicas that a service may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Build {
    /// The one that runs.
    First,
    /// A copy of the binary of another length, which is how a rebuild tells builds apart.
    Second,
}

/// A service as it is drilled on.
struct Service {
    processes: [Process; 2],
    addresses: [String; 2],
    operators: [Operator; 2],
    front: Option<Front>,
}

/// The running shop. Dropping it kills everything that it started.
pub struct Ground {
    /// Which services take part.
    pub names: &'static [&'static str],
    /// None if nobody sends mails.
    pub mails: Option<Mails>,
    services: BTreeMap<&'static str, Service>,
    pub outside: Standins,
    client: reqwest::Client,
    builds: PathBuf,
    /// Logs and lists of this run; the next one removes them.
    pub folder: PathBuf,
    /// Past fronts, for the audit and for operators.
    pub direct: demo::shop::Shop,
    pub server: Server,
    pub callers: Arc<Callers>,
    pub effects: Arc<Effects>,
    pub reports: Arc<Reports>,
    pub strays: Strays,
    // Last: what uses it goes first.
    stage: Arc<Stage>,
}

impl Drop for Ground {
    fn drop(&mut self) {
        // Copies of binaries, a hundred megabytes each; what is left is removed with the run's folder.
        let _ = std::fs::remove_dir_all(&self.builds);
    }
}

impl Ground {
    /// Starts a stage and the shop on it, with these [services](crate::services).
    ///
    /// # Errors
    /// When something doesn't start. Nothing is left running then.
    pub async fn start(seed: u64, names: &'static [&'static str]) -> anyhow::Result<Self> {
        let options = Options { mail: names.contains(&NOTIFICATIONS), ..Options::default() };
        let folder = demo::shop::folder(&options.dir, "drills")?;
        let stage = tokio::task::spawn_blocking(move || Stage::start(options)).await.context("starting the stage")??;
        let stage = Arc::new(stage);
        let mut databases = BTreeMap::new();
        for service in names.iter().copied() {
            databases.insert(service, stage.database(service).await?);
        }
        let parts = Parts::on(&stage, String::new(), databases);
        let (callers, effects) = (Arc::<Callers>::default(), Arc::<Effects>::default());
        let reports = Arc::new(Reports::new(Arc::clone(&callers)));
        let mut direct = demo::shop::Shop::on(parts.clone(), folder.clone())?;
        let (mut through, mut mails) = (parts, None);
        if names.contains(&NOTIFICATIONS) {
            let opened = Mails::open(&through.smtp, &through.mail).await?;
            opened.smtp().clone_into(&mut through.smtp);
            mails = Some(opened);
        }
        let mut seen = demo::shop::Shop::on(through, folder.clone())?;
        let settings = names.iter().map(|service| (*service, CHECKPOINT.0, CHECKPOINT.1.to_owned()));
        seen.settings.extend(settings);
        seen.settings.extend(SETTINGS.map(|(service, name, value)| (service, name, value.to_owned())));

        let mut taken = Vec::new();
        let mut port = || -> anyhow::Result<u16> {
            taken.push(stage::free_port(&taken)?);
            taken.last().copied().context("a port was just taken")
        };
        let to_shipping = Front::open(Arc::<Reports>::clone(&reports)).await?;
        seen.reports_to(&to_shipping.address());
        let outside = Standins::start(&mut direct, &mut seen, &effects, &mut port).await?;
        let builds = folder.join("builds");
        std::fs::create_dir_all(&builds).with_context(|| format!("making {}", builds.display()))?;
        let (mut services, mut to_shipping) = (BTreeMap::new(), Some(to_shipping));
        for service in names.iter().copied() {
            let ports = [port()?, port()?];
            let addresses = ports.map(|port| format!("127.0.0.1:{port}"));
            let programs = [direct.bin(service), another(&direct.bin(service), builds.join(service))?];
            let env = direct.env(service, 0)?;
            let operators =
                programs.clone().map(|program| Operator { program, env: env.clone(), folder: folder.clone(), service });
            let process = |n: usize, name: &str| -> anyhow::Result<Process> {
                let command = Command::new(name, &programs[n]).args(["serve", "--migrate"]).env(seen.env(service, ports[n])?);
                Ok(Process::new(command.log(folder.join(format!("{name}.log")))))
            };
            let processes = [process(0, service)?, process(1, &format!("{service}-2"))?];
            let front = match service {
                "payments" | NOTIFICATIONS => None,
                "shipping" => to_shipping.take(),
                _ => Some(Front::open(Arc::<Callers>::clone(&callers)).await?),
            };
            front.iter().for_each(|front| front.lead_to([addresses[0].clone()]));
            services.insert(service, Service { processes, addresses, operators, front });
        }
        let client = reqwest::Client::builder().timeout(Duration::from_secs(10)).build().context("making an HTTP client")?;
        eprintln!("faults: logs are in {}", folder.display());
        let ground = Self {
            names,
            mails,
            services,
            outside,
            client,
            builds,
            folder,
            direct,
            server: Server { admin: stage.postgres().to_owned() },
            callers,
            effects,
            reports,
            strays: Strays::new(stage.kafka(), seed),
            stage,
        };
        for service in names {
            ground.start_service(service, Build::First)?;
        }
        for service in names {
            ground.ready(service, Build::First).await?;
        }
        eprintln!("faults: the shop is ready");
        Ok(ground)
    }

    fn of(&self, service: &str) -> anyhow::Result<&Service> {
        self.services.get(service).with_context(|| format!("there is no service {service}"))
    }

    /// The address at which callers come.
    pub fn front(&self, service: &str) -> anyhow::Result<String> {
        Ok(self.of(service)?.front.as_ref().with_context(|| format!("nobody calls {service}"))?.address())
    }

    /// Holds callers, or lets them pass again.
    pub fn hold(&self, held: bool) {
        self.services.values().filter_map(|service| service.front.as_ref()).for_each(|front| front.hold(held));
    }

    /// An operator with the binary of a build.
    pub fn operator(&self, service: &str, build: Build) -> anyhow::Result<&Operator> {
        Ok(&self.of(service)?.operators[build as usize])
    }

    pub fn database(&self, service: &str) -> anyhow::Result<&Database> {
        self.direct.parts.databases.get(service).with_context(|| format!("{service} has no database"))
    }

    /// Starts a replica.
    pub fn start_service(&self, service: &str, build: Build) -> anyhow::Result<()> {
        self.of(service)?.processes[build as usize].start()
    }

    /// Waits until a replica says that it is ready.
    pub async fn ready(&self, service: &str, build: Build) -> anyhow::Result<()> {
        let address = &self.of(service)?.addresses[build as usize];
        let until = Instant::now() + READY;
        let mut last = String::from("no answer");
        while Instant::now() < until {
            match self.client.get(format!("http://{address}/readyz")).send().await {
                Ok(answer) if answer.status().is_success() => return Ok(()),
                Ok(answer) => last = answer.text().await.unwrap_or_default(),
                Err(_) => {}
            }
            tokio::time::sleep(LOOK).await;
        }
        bail!("{service} is not ready within {} s: {last}", READY.as_secs())
    }

    /// The second replica joins the first, and callers come to both; or it leaves again.
    pub async fn second(&self, service: &'static str, joins: bool) -> anyhow::Result<()> {
        let of = self.of(service)?;
        let lead = |many: usize| of.front.iter().for_each(|front| front.lead_to(of.addresses[..many].to_vec()));
        if joins {
            self.start_service(service, Build::Second)?;
            self.ready(service, Build::Second).await?;
            lead(2);
        } else {
            lead(1);
            tokio::task::block_in_place(|| of.processes[1].stop());
        }
        Ok(())
    }

    /// Tells services to stop, all at once, or kills them with -9.
    pub fn end(&self, services: &[&'static str], kill: bool) -> anyhow::Result<()> {
        let processes = services.iter().map(|service| Ok(&self.of(service)?.processes[0])).collect::<anyhow::Result<Vec<_>>>()?;
        tokio::task::block_in_place(|| {
            std::thread::scope(|scope| {
                for process in processes {
                    scope.spawn(move || if kill { process.kill() } else { process.stop() });
                }
            });
        });
        Ok(())
    }

    /// All that is outside serves as ever.
    pub async fn well(&self) -> anyhow::Result<()> {
        self.mails.iter().try_for_each(Mails::well)?;
        self.outside.well().await
    }

    /// Notes which mails the shop holds for sent.
    pub async fn note_mails(&self) -> anyhow::Result<()> {
        match &self.mails {
            Some(mails) => mails.note(&self.direct).await,
            None => Ok(()),
        }
    }

    /// Services that have ended although nobody ended them.
    pub fn ended(&self) -> Vec<String> {
        use crate::target::Subject as _;
        self.services.values().flat_map(|service| &service.processes).filter_map(|process| process.look()).collect()
    }

    /// Asks through the front of a service, as a caller does: again until the answer is no "come again".
    pub async fn ask(&self, service: &str, path: &str, key: &str, body: Vec<u8>) -> anyhow::Result<StatusCode> {
        let request = self.client.post(format!("http://{}{path}", self.front(service)?)).header("Idempotency-Key", key);
        insist(key, request.header("Content-Type", "application/json").body(body)).await
    }

    /// Reports to shipping what the carrier has reported before, in its words and under its signature.
    pub async fn report(&self, report: Report) -> anyhow::Result<StatusCode> {
        let Report { path, mut headers, body, .. } = report;
        headers.remove("content-length");
        let request = self.client.post(format!("http://{}{path}", self.front("shipping")?));
        insist("a report", request.headers(headers).body(body)).await
    }

    /// Waits until the load has reached every service: each has decided something and published it.
    pub async fn flows(&self) -> anyhow::Result<()> {
        let until = Instant::now() + READY;
        for service in self.names {
            let pool = self.direct.pool(service).await?;
            while Instant::now() < until {
                let sql = "select count(*) from farandole.outbox where topic = $1";
                let decided: i64 = sqlx::query_scalar(sql).bind(*service).fetch_one(&pool).await?;
                if decided > 0 {
                    break;
                }
                tokio::time::sleep(LOOK).await;
            }
            pool.close().await;
            ensure!(Instant::now() < until, "{service} decides nothing within {} s", READY.as_secs());
        }
        Ok(())
    }

    /// The processes that run now, the stage's parts included: none of them is left when this is dropped.
    pub fn pids(&self) -> Vec<u32> {
        let own = self.services.values().flat_map(|service| &service.processes);
        let own = own.chain(self.outside.processes());
        own.filter_map(Process::pid).chain(self.stage.pids().into_iter().map(|(_, pid)| pid)).collect()
    }

    /// Tells all services to stop, then the stage. Blocks.
    pub fn stop(self) {
        std::thread::scope(|scope| {
            for process in self.services.values().flat_map(|service| &service.processes) {
                scope.spawn(|| process.stop());
            }
        });
    }
}

/// Sends a request again until the answer is no "come again".
async fn insist(what: &str, request: reqwest::RequestBuilder) -> anyhow::Result<StatusCode> {
    let until = Instant::now() + ANSWER;
    loop {
        let sent = request.try_clone().context("a body that can be sent again")?.send().await;
        let last = match sent {
            Ok(answer) if !answer.status().is_server_error() => return Ok(answer.status()),
            Ok(answer) => answer.status().to_string(),
            Err(error) => error.to_string(),
        };
        ensure!(Instant::now() < until, "{what} isn't answered within {} s: {last}", ANSWER.as_secs());
        tokio::time::sleep(LOOK).await;
    }
}

/// A copy of a binary that is another build to those who compare lengths.
fn another(program: &PathBuf, copy: PathBuf) -> anyhow::Result<PathBuf> {
    use std::io::Write as _;
    let copying = || format!("copying {}", program.display());
    std::fs::copy(program, &copy).with_context(copying)?;
    let mut file = std::fs::OpenOptions::new().append(true).open(&copy).with_context(copying)?;
    file.write_all(b"\0").with_context(copying)?;
    Ok(copy)
}
