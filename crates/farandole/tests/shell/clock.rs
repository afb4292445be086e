//! Whose clock counts.

use std::path::{Path, PathBuf};

/// Where the process's own clock is read, and why a wrong one does no harm there.
const READERS: [(&str, &str); 4] = [
    ("crates/farandole/src/agenda/outside.rs", "whether a key is older than the other side keeps it, with hours to spare"),
    (
        "crates/farandole/src/agenda/over_http/retry_after.rs",
        "how long a date in `Retry-After` is away, which is a wait and capped",
    ),
    ("crates/farandole/src/consume/intake/lag.rs", "a gauge"),
    ("services/orders/src/price_list.rs", "whether a price that was replaced still holds, which it does for a day"),
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !["tests", "target"].contains(&path.file_name().unwrap().to_str().unwrap()) {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") && path.file_name().is_some_and(|name| name != "tests.rs") {
            found.push(path);
        }
    }
}

/// F44: a clock that is an hour off makes no deadline early or late, since no deadline is judged by it. A decision's time and a task's
/// due time are compared with the database's clock alone; this shows that nothing reads another.
#[test]
fn deadlines_know_no_clock_but_the_databases() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    let mut files = Vec::new();
    for folder in [
        "crates/farandole/src",
        "crates/outbox/src",
        "services/orders/src",
        "services/inventory/src",
        "services/payments/src",
        "schemas",
    ] {
        sources(&root.join(folder), &mut files);
    }
    assert!(files.len() > 80, "{}", files.len());
    let reads = |file: &PathBuf| {
        let text = std::fs::read_to_string(file).unwrap();
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        code.into_iter().any(|line| {
            ["SystemTime::now", "Timestamp::now", "Zoned::now", "Utc::now", "Local::now"].iter().any(|now| line.contains(now))
        })
    };
    let mut found: Vec<String> =
        files.iter().filter(|f| reads(f)).map(|f| f.strip_prefix(&root).unwrap().display().to_string()).collect();
    found.sort();
    assert_eq!(found, READERS.map(|(file, _)| file), "who reads the process's clock has to say here why that does no harm");
}
