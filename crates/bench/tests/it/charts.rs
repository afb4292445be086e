//! Charts are drawn from results alone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const CHARTS: [&str; 3] = ["drain", "latency", "backlog"];

fn plot(results: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bench")).arg(format!("--plot={}", results.display())).output().unwrap()
}

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// Whoever measures anew draws anew: `scripts/bench --plot`.
#[test]
fn the_charts_are_those_of_the_results() {
    let folder = tempfile::tempdir().unwrap();
    let results = folder.path().join("results.jsonl");
    fs::copy(here().join("results.jsonl"), &results).unwrap();
    let output = plot(&results);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let shown = fs::read_to_string(here().join("../../BENCHMARKS.md")).unwrap();
    for name in CHARTS.iter().flat_map(|chart| [format!("{chart}-light.svg"), format!("{chart}-dark.svg")]) {
        let read = |folder: &Path| fs::read_to_string(folder.join("charts").join(&name)).unwrap();
        let drawn = read(folder.path());
        assert!(drawn.starts_with("<svg ") && drawn.trim_end().ends_with("</svg>"), "{name}");
        assert!(drawn == read(&here()), "{name} isn't that of results.jsonl: run scripts/bench --plot");
        assert!(shown.contains(&format!("crates/bench/charts/{name}")), "BENCHMARKS.md doesn't show {name}");
    }
}

#[test]
fn what_a_chart_lacks_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let results = folder.path().join("results.jsonl");
    let says = |text: Option<&str>, words: &[&str]| {
        text.into_iter().for_each(|text| fs::write(&results, text).unwrap());
        let output = plot(&results);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(words.iter().all(|word| said.contains(word)), "{said}");
    };
    says(None, &["reading results from", "No such file"]);
    says(Some("events/s\n"), &["results.jsonl", "line 1 is none of `--json`"]);
    says(Some(""), &["no `relay drain` beside a peer", "scripts/bench relay --peer debezium --json"]);
}

#[test]
fn measuring_and_drawing_are_two_things() {
    for args in [&["relay", "--plot"][..], &[]] {
        let output = Command::new(env!("CARGO_BIN_EXE_bench")).args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
    }
}
