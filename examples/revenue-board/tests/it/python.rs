//! `services/analytics` as a process, in the environment that `scripts/install --tests` makes for it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use crate::shop::{Shop, eventually};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../services/analytics")
}

/// Python with what analytics needs. None, loudly, where that can't be had; where nobody has tried to get it, the test fails.
pub fn there() -> bool {
    if folder().join(".venv/bin/python3").exists() {
        return true;
    }
    assert!(
        folder().join(".venv.none").exists() && std::env::var_os("NEED_PYTHON").is_none(),
        "services/analytics has no Python environment: run `scripts/install --tests`"
    );
    eprintln!("NOT TRIED: `scripts/install --tests` couldn't get the packages of services/analytics");
    false
}

fn python(arguments: &[&str]) -> Command {
    let mut command = Command::new(folder().join(".venv/bin/python3"));
    command.args(arguments).current_dir(folder()).env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// The service, with its database in a folder of the test's.
pub struct Analytics {
    database: PathBuf,
    log: PathBuf,
    env: Vec<(&'static str, String)>,
    child: Option<Child>,
    /// What it had logged when it was started last.
    before: usize,
}

impl Analytics {
    pub fn new(shop: &Shop) -> Self {
        let (database, log) = (shop.folder.path().join("analytics.db"), shop.folder.path().join("analytics.log"));
        let env = vec![
            ("FARANDOLE_KAFKA_BOOTSTRAP", shop.kafka.clone()),
            ("FARANDOLE_REGISTRY_URL", shop.registry.clone()),
            ("FARANDOLE_TOPICS_PREFIX", shop.prefix.clone()),
            ("FARANDOLE_TOPICS_PARTITIONS", shop.partitions.to_string()),
            ("ANALYTICS_DATABASE", database.display().to_string()),
        ];
        Self { database, log, env, child: None, before: 0 }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = python(&[&["-m", "analytics"], arguments].concat());
        command.envs(self.env.iter().map(|(name, value)| (*name, value)));
        command
    }

    pub fn start(&mut self) {
        self.before = self.said().len();
        let log = File::options().create(true).append(true).open(&self.log).unwrap();
        self.child = Some(self.command(&["serve"]).stdout(Stdio::null()).stderr(log).spawn().unwrap());
    }

    /// With -9.
    pub fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        assert!(child.try_wait().unwrap().is_none(), "it had ended by itself:\n{}", self.said());
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Waits until it has begun to read.
    pub async fn reads(&self) {
        eventually("analytics to read", async || self.said()[self.before..].contains("INFO analytics: reading")).await;
    }

    /// With SIGTERM, upon which it ends well once it runs.
    pub async fn stop(&mut self) {
        self.reads().await;
        let pid = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        assert_eq!(self.ended().await, Some(0), "{}", self.said());
    }

    /// Waits until it has ended, and gives its exit code.
    pub async fn ended(&mut self) -> Option<i32> {
        let mut child = self.child.take().unwrap();
        let mut status = None;
        eventually("analytics to end", async || {
            status = child.try_wait().unwrap();
            status.is_some()
        })
        .await;
        status.unwrap().code()
    }

    /// What another command of its says.
    pub fn tell(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// The same of one that goes well.
    pub fn told(&self, arguments: &[&str]) -> String {
        let output = self.tell(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// What it has logged.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Its database as files, while it doesn't run.
    pub fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let all = ["", "-wal", "-shm"].map(|end| PathBuf::from(format!("{}{end}", self.database.display())));
        all.into_iter().filter_map(|path| std::fs::read(&path).ok().map(|bytes| (path, bytes))).collect()
    }

    /// Sets its database back to what it was.
    pub fn restore(&self, files: &[(PathBuf, Vec<u8>)]) {
        self.files().iter().for_each(|(path, _)| std::fs::remove_file(path).unwrap());
        files.iter().for_each(|(path, bytes)| std::fs::write(path, bytes).unwrap());
    }
}

impl Drop for Analytics {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill(); // it may have ended
            let _ = child.wait();
        }
        if std::thread::panicking() {
            println!("---- analytics\n{}", self.said());
        }
    }
}

/// The tests that need no server, the vectors of `docs/wire.md` among them.
#[test]
fn what_python_tests_by_itself_holds() {
    if !there() {
        return;
    }
    let output = python(&["-W", "error::SyntaxWarning", "-m", "unittest", "-v"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    for of in ["chain", "header", "numbers", "partitions", "places", "sequences", "values", "written"] {
        assert!(said.contains(&format!("test_{of} (")), "the vectors {of} weren't run:\n{said}");
    }
}

/// Between the same services' descriptions it looks like theirs: the same names, of the same types.
#[test]
fn it_describes_itself_as_the_kit_does() {
    if !there() {
        return;
    }
    let output = python(&["-m", "analytics", "describe", "--output", "json"]).output().unwrap();
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let bins = std::env::current_exe().unwrap();
    let orders = bins.ancestors().map(|folder| folder.join("orders")).find(|tool| tool.is_file()).expect("built with --bins");
    let kit = Command::new(orders)
        .args(["describe", "--output", "json"])
        .env("FARANDOLE_DATABASE_URL", "postgres://orders@127.0.0.1/orders")
        .output()
        .unwrap();
    let kit: serde_json::Value = serde_json::from_slice(&kit.stdout).unwrap();
    let shape = |said: &serde_json::Value| -> Vec<(String, std::mem::Discriminant<serde_json::Value>)> {
        said.as_object().unwrap().iter().map(|(name, value)| (name.clone(), std::mem::discriminant(value))).collect()
    };
    assert_eq!(shape(&said), shape(&kit), "{said}");
    assert_eq!(said["guarantees"][0].as_object().unwrap().len(), kit["guarantees"][0].as_object().unwrap().len());
    assert_eq!((said["name"].as_str(), said["publishes"].as_str()), (Some("analytics"), Some("analytics")));
    // The choreography is drawn from what is committed.
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../services/analytics/description.json");
    farandole::testing::committed(file, &String::from_utf8_lossy(&output.stdout));
}

/// How long killing may be put off, at random: so that it meets whatever is going on.
pub fn moment(random: &mut impl FnMut(u64) -> u64) -> Duration {
    Duration::from_millis(random(500))
}
