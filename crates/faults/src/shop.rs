//! The shop as a system to break: three brokers, PostgreSQL, registry, acquirer, carrier, mail server, and of each service one replica that runs and
//! one that joins at times, everything connected through proxies.

pub(crate) mod audit;
pub(crate) mod backup;
mod doors;
pub(crate) mod ledger;
pub(crate) mod load;
mod mails;
mod outbox;
mod registry;
mod replica;
mod servers;
pub(crate) mod shapes;
pub(crate) mod strays;
mod system;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use demo::shop::Parts;
use stage::process::Command;
use stage::{Options, Stage};

use crate::plan::Shape;
use crate::target::{Part, Process, Target};
use backup::Backup;
use doors::Doors;
pub(crate) use doors::authority;
use load::Load;
use replica::Replica;
use shapes::{BROKERS, NOTIFICATIONS, harm, spare};
use strays::Strays;

/// How long a service may take to be ready the first time: three brokers and all services start side by side.
const READY: Duration = Duration::from_secs(90);
/// Service, variable, value: shorter than the defaults, so that outages also make orders miss their deadlines, and compensations are part
/// of the run. And an absurd `Retry-After` is kept for less than the audit waits.
const SETTINGS: [(&str, &str, &str); 5] = [
    ("orders", "FARANDOLE_OWN_CONFIRM_WITHIN", "20s"),
    ("shipping", "FARANDOLE_OWN_DISPATCH_AFTER", "1s"),
    ("shipping", "FARANDOLE_OWN_DELIVER_WITHIN", "20s"),
    ("payments", "FARANDOLE_AGENDA_LONGEST_WAIT", LONGEST_WAIT),
    ("shipping", "FARANDOLE_AGENDA_LONGEST_WAIT", LONGEST_WAIT),
];
/// Long enough to be seen to be kept, and a small part of the time that the audit gives everything to end.
const LONGEST_WAIT: &str = "30s";
/// What acquirer and carrier do by themselves all the time, and the variable that says so: some calls fail, some are done and not
/// answered; the carrier's reports come twice, late, forged, and in another order.
const STANDINS: [(&str, &str, &str); 2] = [
    (
        "acquirer",
        "ACQUIRER_FAULTS",
        r#"{"jitter_ms": 20, "fail_rate": 0.01, "fail_after_rate": 0.01, "timeout_rate": 0.002, "hang_ms": 3000}"#,
    ),
    (
        "carrier",
        "CARRIER_FAULTS",
        r#"{"jitter_ms": 20, "fail_rate": 0.01, "fail_after_rate": 0.01, "timeout_rate": 0.002, "hang_ms": 3000,
            "webhook_repeat_rate": 0.05, "webhook_shuffle_ms": 500, "webhook_forge_rate": 0.05, "webhook_late_rate": 0.05}"#,
    ),
];
/// What inventory, payments and notifications hear from orders, and shipping ignores.
const HEARD: &str = "farandole.orders.OrderPlaced";

/// The running shop. Dropping it kills everything that it started.
pub struct Shop {
    targets: Vec<Target>,
    processes: Vec<Arc<Process>>,
    load: Load,
    /// Past all proxies, for the audit.
    direct: demo::shop::Shop,
    stage: Arc<Stage>,
    folder: PathBuf,
    strays: Arc<Strays>,
    registry: Arc<registry::Server>,
    /// Services whose database was set back.
    restored: BTreeMap<&'static str, Arc<AtomicBool>>,
}

/// A free port that none of ours has.
fn port(taken: &mut Vec<u16>) -> anyhow::Result<u16> {
    taken.push(stage::free_port(taken)?);
    taken.last().copied().context("a port was just taken")
}

impl Shop {
    /// Starts a stage and the shop on it, with these [services](crate::services); `rate` orders a second will be placed, drawn from `seed`.
    ///
    /// # Errors
    /// When something doesn't start. Nothing is left running then.
    pub async fn start(seed: u64, rate: u32, services: &[&'static str]) -> anyhow::Result<Self> {
        let doors = Doors::open(services).await?;
        let proxies = doors.kafka.iter().map(|door| door.port()).collect();
        let mail = services.contains(&NOTIFICATIONS);
        let options = Options { brokers: BROKERS, proxies, mail, ..Options::default() };
        let folder = demo::shop::folder(&options.dir, "faults")?;
        let stage = tokio::task::spawn_blocking(move || Stage::start(options)).await.context("starting the stage")??;
        let stage = Arc::new(stage);
        for (door, behind) in doors.kafka.iter().zip(stage.behind()) {
            door.lead_to([behind.clone()]);
        }
        let mut databases = BTreeMap::new();
        for service in services.iter().copied() {
            databases.insert(service, stage.database(service).await?);
        }
        let parts = Parts::on(&stage, String::new(), databases);
        let mut seen = demo::shop::Shop::on(doors.before(&parts), folder.clone())?;
        seen.reports_to(&doors.shipping.address());
        seen.settings.extend(SETTINGS.map(|(service, name, value)| (service, name, value.to_owned())));
        let mut direct = demo::shop::Shop::on(parts, folder.clone())?;

        let load = Load::new(seed, rate, &doors.orders.address(), &doors.inventory.address())?;
        let shim = registry::Shim::open(authority(stage.registry()), &load.client).await?;
        doors.registry.lead_to([shim.address.clone()]);
        let strays = Arc::new(Strays::new(stage.kafka(), seed));
        let empty = Arc::clone(&shim.empty);
        let way = registry::Way {
            door: Arc::clone(&doors.registry),
            shim,
            strays: Arc::clone(&strays),
            topic: "orders".to_owned(),
            kind: HEARD,
            next: registry::Way::first(),
        };
        let (mut targets, mut processes, mut taken) = (Vec::new(), Vec::new(), Vec::new());
        doors.harm(&mut targets, &stage);
        harm(&mut targets, "services/registry", Arc::new(way));
        for (name, variable, faults) in STANDINS {
            let (port, door) = (port(&mut taken)?, doors.to_standin(name));
            direct.expect(name, port);
            seen.expect(name, door.port());
            door.lead_to([format!("127.0.0.1:{port}")]);
            let process = Arc::new(Process::new(seen.standin_command(name, port)?.0.env([(variable, faults)])));
            process.start()?;
            processes.push(Arc::clone(&process));
            let faults = serde_json::from_str(faults).with_context(|| format!("reading the {name}'s usual faults"))?;
            let standin = servers::Standin { name, process, url: direct.url(name), client: load.client.clone(), faults };
            harm(&mut targets, name, Arc::new(standin));
        }
        let (mut addresses, mut running, mut restored) = (Vec::new(), Vec::new(), BTreeMap::new());
        for service in services.iter().copied() {
            let ports = [port(&mut taken)?, port(&mut taken)?];
            let at = ports.map(|port| format!("127.0.0.1:{port}"));
            let door = doors.to_service(service);
            if let Some(door) = door {
                door.lead_to(at.clone());
            }
            let process = Arc::new(Process::new(seen.command(service, service, ports[0])?));
            let second = Arc::new(Process::new(seen.command(service, &spare(service), ports[1])?));
            let heal = Command::new(format!("{service} heal"), direct.bin(service)).args(["heal", "--execute"]);
            let backup = Backup {
                service,
                admin: stage.postgres().to_owned(),
                database: direct.parts.databases.get(service).context("each service has a database")?.clone(),
                brokers: stage.kafka().to_owned(),
                topic: service.to_owned(),
                door: door.cloned(),
                replicas: vec![Arc::clone(&process), Arc::clone(&second)],
                address: at[0].clone(),
                heal: heal.env(direct.env(service, 0)?).log(folder.join(format!("{service}-heal.log"))),
                client: load.client.clone(),
                restored: Arc::clone(restored.entry(service).or_default()),
            };
            let topics = [service.to_owned(), format!("{service}.journal")];
            let replica = Replica { process: Arc::clone(&process), strays: Arc::clone(&strays), topics, backup };
            harm(&mut targets, service, Arc::new(replica));
            harm(&mut targets, &spare(service), Arc::<Process>::clone(&second));
            process.start()?;
            running.push(Arc::clone(&process));
            processes.extend([process, second]);
            addresses.push((service, at[0].clone()));
        }
        let registry = Arc::new(registry::Server {
            part: Part::new(&stage, "registry"),
            url: stage.registry().to_owned(),
            client: load.client.clone(),
            services: running,
            empty,
            losses: AtomicI32::new(0),
        });
        harm(&mut targets, "registry", Arc::<registry::Server>::clone(&registry));
        let shop = Self { targets, processes, load, direct, stage, folder, strays, registry, restored };
        for (service, address) in addresses {
            shop.ready(service, &address).await?;
        }
        eprintln!("faults: the shop is ready; its logs are in {}", shop.folder.display());
        Ok(shop)
    }

    async fn ready(&self, service: &str, address: &str) -> anyhow::Result<()> {
        let until = Instant::now() + READY;
        let mut last = String::from("no answer");
        while Instant::now() < until {
            match self.load.client.get(format!("http://{address}/readyz")).send().await {
                Ok(answer) if answer.status().is_success() => return Ok(()),
                Ok(answer) => last = answer.text().await.unwrap_or_default(),
                Err(_) => {}
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("{service} is not ready within {} s: {last}; see {}", READY.as_secs(), self.folder.display())
    }

    /// The processes that run now, the stage's parts included: none of them is left after [`stop`](Self::stop).
    pub fn pids(&self) -> Vec<u32> {
        let own = self.processes.iter().filter_map(|process| process.pid());
        own.chain(self.stage.pids().into_iter().map(|(_, pid)| pid)).collect()
    }

    /// Where the services' logs are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What can be harmed, as [`plan`](crate::plan::plan) wants it: the same for every shop with these services.
    pub fn shapes(services: &[&str]) -> Vec<Shape> {
        shapes::all(services)
    }

    /// Tells all services to stop, then the stage. Blocks.
    pub fn stop(self) {
        std::thread::scope(|scope| {
            for process in &self.processes {
                scope.spawn(|| process.stop());
            }
        });
    }
}
