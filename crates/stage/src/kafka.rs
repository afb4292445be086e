//! Apache Kafka in KRaft mode: each node is broker and controller, formatted for this run and started straight from its jars.
//!
//! Topics are never created by accident. One broker keeps one copy of everything; three keep three and acknowledge with two.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::error::{At, Error};
use crate::folder::Run;
use crate::part::{Part, prepare};
use crate::process::{Command, find};

/// Mute without a configuration; the values of the configuration, which it prints at the start, are 400 lines.
const LOG4J: &str = "\
status = error
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d %-5p %c{1} %m%n
rootLogger.level = info
rootLogger.appenderRef.out.ref = out
logger.config.name = org.apache.kafka.common.config.AbstractConfig
logger.config.level = warn
";

/// The ports of one node.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports {
    pub broker: u16,
    pub controller: u16,
    /// Where it listens for those who come through a proxy, and the proxy's own port.
    pub proxied: Option<(u16, u16)>,
}

/// Node `id` (1…) of the brokers at `ports`, formatted and ready to start. Records have its time if `brokers_time`.
pub(crate) fn part(run: &Run, jars: &Path, cluster: &str, id: usize, ports: &[Ports], brokers_time: bool) -> Result<Part, Error> {
    let name = format!("kafka-{id}");
    let folder = run.part(&name)?;
    let log = run.logs.join(format!("{name}.log"));
    let properties = folder.join("server.properties");
    std::fs::write(&properties, settings(&folder, id, ports, brokers_time)?).at("writing", &properties)?;
    let log4j = folder.join("log4j2.properties");
    std::fs::write(&log4j, LOG4J).at("writing", &log4j)?;

    let java = |heap: &str, more: &[&str], class: &str| -> Result<Command, Error> {
        let options = java_options(&folder, heap);
        let command = Command::new(&name, find_java()?).folder(&folder).log(&log).args(options).args(more);
        let log4j = format!("-Dlog4j2.configurationFile={}", log4j.display());
        Ok(command.args([log4j, "-cp".into(), format!("{}/*", jars.display()), class.into()]))
    };
    let format = java("128m", &QUICK_START, "kafka.tools.StorageTool")?.args(["format", "-t", cluster, "-c"]).args([&properties]);
    prepare(&format, run, &name, &log)?;

    let serve = java("512m", &[], "kafka.Kafka")?.args([&properties]);
    let own = ports.get(id - 1).ok_or(Error::Options("a broker without ports"))?.broker;
    // Each is asked for itself only: when one is restarted, another may be down on purpose.
    let id = i32::try_from(id).unwrap_or(i32::MAX);
    let ask = Box::new(move || brokers(&format!("127.0.0.1:{own}")).and_then(|there| is_in(id, &there)));
    Ok(Part::new(&name, serve, ask))
}

fn is_in(id: i32, there: &[i32]) -> Result<(), String> {
    if there.contains(&id) { Ok(()) } else { Err(format!("the cluster's brokers are {there:?}")) }
}

/// The ids of the brokers that the one at `address` knows of.
pub(crate) fn brokers(address: &str) -> Result<Vec<i32>, String> {
    let client: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", address)
        .set("reconnect.backoff.max.ms", "100")
        .create()
        .map_err(|error| error.to_string())?;
    let metadata = client.fetch_metadata(None, Duration::from_secs(2)).map_err(|error| error.to_string())?;
    Ok(metadata.brokers().iter().map(rdkafka::metadata::MetadataBroker::id).collect())
}

/// Java, which both Kafka and the registry need.
pub(crate) fn find_java() -> Result<PathBuf, Error> {
    find("java").ok_or_else(|| Error::missing("java", "openjdk-17-jre-headless"))
}

/// Bounded heap, an end instead of a half-dead state, and nothing left in the system's temporary folder.
pub(crate) fn java_options(folder: &Path, heap: &str) -> Vec<String> {
    vec![
        format!("-Xmx{heap}"),
        "-XX:+ExitOnOutOfMemoryError".into(),
        "-XX:-UsePerfData".into(),
        format!("-Djava.io.tmpdir={}", folder.display()),
        "-Djava.awt.headless=true".into(),
    ]
}

fn settings(folder: &Path, id: usize, ports: &[Ports], brokers_time: bool) -> Result<String, Error> {
    let own = ports.get(id - 1).ok_or(Error::Options("a broker without ports"))?;
    let voters: Vec<String> = ports.iter().enumerate().map(|(n, p)| format!("{}@127.0.0.1:{}", n + 1, p.controller)).collect();
    let copies = ports.len();
    let in_sync = if copies > 1 { 2 } else { 1 };
    // With three brokers, faults are the point: a dead one is noticed after 4 s instead of 9.
    let session = if copies > 1 { "broker.session.timeout.ms=4000\nbroker.heartbeat.interval.ms=500\n" } else { "" };
    let time = if brokers_time { "LogAppendTime" } else { "CreateTime" };
    let (mut listeners, mut advertised) = (String::new(), String::new());
    if let Some((behind, proxy)) = own.proxied {
        listeners = format!("PROXIED://127.0.0.1:{behind},");
        advertised = format!(",PROXIED://127.0.0.1:{proxy}");
    }
    Ok(format!(
        "process.roles=broker,controller
node.id={id}
controller.quorum.voters={voters}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{broker},{listeners}CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{broker}{advertised}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={folder}/data
auto.create.topics.enable=false
log.message.timestamp.type={time}
default.replication.factor={copies}
min.insync.replicas={in_sync}
offsets.topic.replication.factor={copies}
transaction.state.log.replication.factor={copies}
transaction.state.log.min.isr={in_sync}
share.coordinator.state.topic.replication.factor={copies}
share.coordinator.state.topic.min.isr={in_sync}
# Fewer partitions than the 50 of a large cluster: the first group is served at once.
offsets.topic.num.partitions=8
transaction.state.log.num.partitions=8
share.coordinator.state.topic.num.partitions=8
group.initial.rebalance.delay.ms=0
# Lets tests have short sessions.
group.min.session.timeout.ms=1000
# 128 MB by default, a quarter of the heap.
log.cleaner.dedupe.buffer.size=33554432
{session}",
        voters = voters.join(","),
        broker = own.broker,
        controller = own.controller,
        folder = folder.display(),
    ))
}

/// For a process of which the start matters more than its speed: compiled once, roughly, by one thread, and a collector to match.
pub(crate) const QUICK_START: [&str; 2] = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"];

/// A cluster's id as Kafka writes them: 16 bytes in URL-safe base64.
pub(crate) fn cluster_id() -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    // 22 digits of 6 bits are 132 bits; the last one carries the value's last 2 bits in its upper ones. Kafka reserves ids that start with '-'.
    let value = uuid::Uuid::new_v4().as_u128() >> 1;
    let digit = |n: u32| if n < 21 { (value >> (122 - 6 * n)) & 63 } else { (value & 3) << 4 };
    (0..22).map(|n| char::from(DIGITS[usize::try_from(digit(n)).unwrap_or(0)])).collect()
}
