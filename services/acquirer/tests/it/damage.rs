//! What can't be used is refused with its name: a directory in use, a file that is damaged or somebody else's, a disk that takes no more.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use acquirer::faults::Faults;
use acquirer::server::{self, Options};
use jiff::SignedDuration;
use reqwest::Client;

use crate::kit::{Process, order, start};

/// Blocks of 512 bytes, as sh counts them: twelve times what an empty book has.
const FULL: u32 = 1_792;

/// Why this directory can't be opened; none when it can.
fn refused(dir: &Path) -> Option<String> {
    let options = Options { data: dir.to_owned(), key_retention: SignedDuration::from_hours(1), faults: Faults::default() };
    server::open(&options).err().map(|error| format!("{error:#}"))
}

#[tokio::test]
async fn one_process_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let (process, caller) = Process::start(dir.path()).await;
    let data = dir.path().join("data");
    let second = Command::new(env!("CARGO_BIN_EXE_acquirer")).args(["serve", "--data"]).arg(&data).output().unwrap();
    let said = String::from_utf8(second.stderr).unwrap();
    assert_eq!(second.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("data directory {} is in use by another process", data.display())), "{said}");
    // The first goes on.
    assert_eq!(caller.authorise("k", order("o")).await.status, 201);
    drop(process);
    assert_eq!(refused(&data), None);
}

/// Guard: the whole file is checked at the start. Without, a page that is damaged is found when somebody asks for it, or not at all.
#[tokio::test]
async fn a_damaged_file_is_refused_with_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path()).await;
    for number in 0..50 {
        running.caller.authorise(&number.to_string(), order(&format!("o-{number}"))).await;
    }
    running.stop().await;
    let path = dir.path().join("acquirer.redb");
    let whole = fs::read(&path).unwrap();
    // Wherever a record lies.
    let places: Vec<_> = whole.windows(5).enumerate().filter(|(_, bytes)| bytes == b"\"o-7\"").map(|(at, _)| at).collect();
    assert!(!places.is_empty());
    let mut damaged = whole.clone();
    for place in places {
        damaged[place + 3] = b'8';
    }
    fs::write(&path, damaged).unwrap();
    let said = refused(dir.path()).unwrap();
    assert!(said.contains("acquirer.redb can't be used: restore the file or move it away"), "{said}");
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let said = refused(dir.path()).unwrap();
    assert!(said.contains("acquirer.redb can't be used: restore the file or move it away"), "{said}");
    fs::write(&path, &whole).unwrap();
    assert_eq!(refused(dir.path()), None);
}

#[test]
fn a_file_of_somebody_elses_is_refused_with_its_name_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("acquirer.redb");
    for foreign in [&b"one line\n"[..], &[0; 4096], &[0x5A; 1 << 20]] {
        fs::write(&path, foreign).unwrap();
        let said = refused(dir.path()).unwrap();
        assert!(said.contains("acquirer.redb can't be used: restore the file or move it away"), "{said}");
        assert_eq!(fs::read(&path).unwrap(), foreign);
    }
    fs::remove_file(&path).unwrap();
    for (table, reason) in [("users", "its table \"users\" is none of an acquirer's"), ("keys", "keys has key type u64")] {
        let database = redb::Database::create(&path).unwrap();
        let write = database.begin_write().unwrap();
        write.open_table(redb::TableDefinition::<u64, u64>::new(table)).unwrap().insert(1, 1).unwrap();
        write.commit().unwrap();
        drop(database);
        let said = refused(dir.path()).unwrap();
        assert!(said.contains("acquirer.redb can't be used") && said.contains(reason), "{said}");
        fs::remove_file(&path).unwrap();
    }
}

/// Guard: whoever waits for a write that the disk refuses is told so, and the process ends. Without, it goes on with a book that nobody
/// has.
#[tokio::test]
async fn a_disk_that_takes_no_more_ends_the_process_and_takes_back_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let port_file = dir.path().join("port");
    // Files can't grow beyond this: in place of the signal, which would kill, the process gets an error.
    let script = format!("trap '' XFSZ; ulimit -f {FULL}; exec \"$@\"");
    let mut command = Command::new("sh");
    command.args(["-c", &script, "sh", env!("CARGO_BIN_EXE_acquirer"), "serve", "--data"]).arg(dir.path().join("data"));
    let mut process = command.arg("--port-file").arg(&port_file).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    while !port_file.exists() {
        assert!(Instant::now() < until, "no port file");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let url = format!("http://{}/authorisations", fs::read_to_string(&port_file).unwrap().trim());
    let (client, mut answered) = (Client::new(), 0);
    let last = loop {
        let key = format!("{answered:0>100}");
        let request = client.post(&url).header("Idempotency-Key", &key).json(&order(&key));
        match request.send().await.map(|answer| answer.status().as_u16()) {
            Ok(201) => answered += 1,
            // Told, or cut off by the end.
            other => break other.ok(),
        }
    };
    assert!(matches!(last, None | Some(500)), "{last:?}");
    assert!(answered > 100, "{answered}");
    let until = Instant::now() + Duration::from_secs(60);
    while process.try_wait().unwrap().is_none() {
        assert!(Instant::now() < until, "it goes on");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(process.wait().unwrap().code(), Some(1));

    let (_process, caller) = Process::start(dir.path()).await;
    for number in 0..answered {
        let key = format!("{number:0>100}");
        let again = caller.authorise(&key, order(&key)).await;
        assert_eq!((again.status, again.replayed), (201, true), "{number} of {answered}");
    }
}
