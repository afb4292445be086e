//! Jars, fetched by Maven as a pom says: once per content of that pom, by one process at a time. Kafka and the registry are those of
//! `deploy/stage/pom.xml`; others bring a pom of their own.
//!
//! They appear under their final name only when complete, so a download that was cut off is done again.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sha2::{Digest, Sha256};

use crate::error::{At, Error};
use crate::process::find;
use crate::runs;

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
        place(dir, "jars", POM).is_dir()
    }

    /// Those of `dir`, downloaded if they aren't there.
    pub fn get(dir: &Path) -> Result<Self, Error> {
        let done = get(dir, "jars", POM, "Apache Kafka and Apicurio Registry (once, about 170 MB)", unpack_registry)?;
        Ok(Self { kafka: done.join("kafka/lib"), registry: done.join("registry") })
    }
}

/// What `pom` copies to `${stage.out}` in its phase `package`, in a folder below `dir`, the stage's ([`crate::Options::dir`]).
/// Fetched at the first call, once per content of the pom, by one process at a time; `stage clean --all` removes it. `name` is for
/// the folder, `what` for the message that says what is being fetched.
///
/// # Errors
/// Maven isn't installed, or couldn't fetch; the last lines that it wrote are in the error.
pub fn fetched(dir: &Path, name: &str, pom: &str, what: &str) -> Result<PathBuf, Error> {
    fs::create_dir_all(dir).at("creating", dir)?;
    get(dir, &format!("jars-{name}"), pom, what, |_| Ok(()))
}

fn get(dir: &Path, name: &str, pom: &str, what: &str, unpack: impl FnOnce(&Path) -> Result<(), Error>) -> Result<PathBuf, Error> {
    let done = place(dir, name, pom);
    if !done.is_dir() {
        let path = dir.join(format!("{name}.lock"));
        let lock = fs::File::create(&path).at("creating", &path)?;
        lock.lock().at("locking", &path)?;
        // Another process may have done it while this one waited.
        if !done.is_dir() {
            let part = dir.join(format!("{name}.part"));
            fetch(&part, pom, what)?;
            unpack(&part)?;
            fs::rename(&part, &done).at("creating", &done)?;
        }
    }
    Ok(done)
}

fn place(dir: &Path, name: &str, pom: &str) -> PathBuf {
    let hash: String = Sha256::digest(pom).iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    dir.join(format!("{name}-{hash}"))
}

fn fetch(part: &Path, text: &str, what: &str) -> Result<(), Error> {
    let mvn = find("mvn").ok_or_else(|| Error::missing("mvn", "maven"))?;
    eprintln!("stage: fetching {what} with Maven …");
    if part.exists() {
        runs::remove(part);
    }
    fs::create_dir_all(part).at("creating", part)?;
    let pom = part.join("pom.xml");
    fs::write(&pom, text).at("writing", &pom)?;
    let mut maven = Command::new(mvn);
    maven.args(["--batch-mode", "-Dstyle.color=never", "-f"]).arg(&pom);
    maven.arg(format!("-Dstage.out={}", part.display())).arg("package");
    run("mvn", maven)
}

fn unpack_registry(part: &Path) -> Result<(), Error> {
    let (archive, registry) = (part.join("registry.tar.gz"), part.join("registry"));
    fs::create_dir_all(&registry).at("creating", &registry)?;
    let mut tar = Command::new("tar");
    tar.arg("xzf").arg(&archive).arg("-C").arg(&registry);
    run("tar", tar)?;
    fs::remove_file(&archive).at("removing", &archive)
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
