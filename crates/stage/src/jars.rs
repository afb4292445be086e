//! Kafka and the registry, fetched by Maven as `deploy/stage/pom.xml` says: once per content of that file, by one process at a time.
//!
//! They appear under their final name only when complete, so a download that was cut off is done again.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sha2::{Digest, Sha256};

use crate::error::{At, Error};
use crate::folder;
use crate::process::find;

const POM: &str = include_str!("../../../deploy/stage/pom.xml");

/// Where the two are.
#[derive(Debug, Clone)]
pub(crate) struct Jars {
    /// The class path's folder.
    pub kafka: PathBuf,
    /// The unpacked registry.
    pub registry: PathBuf,
}

impl Jars {
    /// Whether they have been downloaded to `dir`.
    pub fn are_in(dir: &Path) -> bool {
        place(dir).is_dir()
    }

    /// Those of `dir`, downloaded if they aren't there.
    pub fn get(dir: &Path) -> Result<Self, Error> {
        let done = place(dir);
        if !done.is_dir() {
            let path = dir.join("jars.lock");
            let lock = fs::File::create(&path).at("creating", &path)?;
            lock.lock().at("locking", &path)?;
            // Another process may have done it while this one waited.
            if !done.is_dir() {
                fetch(dir, &done)?;
            }
        }
        Ok(Self { kafka: done.join("kafka/lib"), registry: done.join("registry") })
    }
}

fn place(dir: &Path) -> PathBuf {
    let hash: String = Sha256::digest(POM).iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    dir.join(format!("jars-{hash}"))
}

fn fetch(dir: &Path, done: &Path) -> Result<(), Error> {
    let mvn = find("mvn").ok_or_else(|| Error::missing("mvn", "maven"))?;
    eprintln!("stage: fetching Apache Kafka and Apicurio Registry with Maven (once, about 170 MB) …");
    let part = dir.join("jars.part");
    if part.exists() {
        folder::remove(&part);
    }
    fs::create_dir_all(part.join("registry")).at("creating", &part)?;
    let pom = part.join("pom.xml");
    fs::write(&pom, POM).at("writing", &pom)?;
    let mut maven = Command::new(mvn);
    maven.args(["--batch-mode", "-Dstyle.color=never", "-f"]).arg(&pom);
    maven.arg(format!("-Dstage.out={}", part.display())).arg("package");
    run("mvn", maven)?;
    let archive = part.join("registry.tar.gz");
    let mut tar = Command::new("tar");
    tar.arg("xzf").arg(&archive).arg("-C").arg(part.join("registry"));
    run("tar", tar)?;
    fs::remove_file(&archive).at("removing", &archive)?;
    fs::rename(&part, done).at("creating", done)
}

/// Runs a step, says which files arrive, and on failure shows what it wrote.
fn run(name: &str, mut step: Command) -> Result<(), Error> {
    let path = Path::new(name);
    let (reader, writer) = std::io::pipe().at("opening a pipe for", path)?;
    let second = writer.try_clone().at("opening a pipe for", path)?;
    let mut child = step.stdin(Stdio::null()).stdout(writer).stderr(second).spawn().at("starting", path)?;
    // It holds the writing end, and the reading below would never come to an end.
    drop(step);
    let mut last = VecDeque::new();
    for line in BufReader::new(reader).lines().map_while(Result::ok) {
        if let Some(file) = line.strip_prefix("[INFO] Downloaded").and_then(arrived) {
            eprintln!("stage:   {file}");
        }
        last.push_back(line);
        if last.len() > 25 {
            last.pop_front();
        }
    }
    let status = child.wait().at("waiting for", path)?;
    if status.success() {
        return Ok(());
    }
    Err(Error::Io {
        what: format!("{name} could not fetch the jars ({status})\n{}", Vec::from(last).join("\n")),
        source: std::io::Error::other("see the lines above; is the Maven repository reachable?"),
    })
}

/// The file's name in Maven's line about it, if it is one of those that take time.
fn arrived(line: &str) -> Option<&str> {
    let address = line.split_whitespace().find(|word| word.contains("://"))?;
    address.rsplit('/').next().filter(|file| file.ends_with(".jar") || file.ends_with(".gz"))
}
