//! Each measure, small, on the real parts: that it runs to its end, that what it wrote is read back, and what it prints. What it
//! measures there means nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod charts;
mod saga;

use std::process::Command;

use serde_json::Value;
use stage::Stage;

/// Arguments, and the measures and units that they lead to.
type Words = &'static [&'static str];
type Lines = &'static [(&'static str, &'static str)];

/// The lines that `bench` prints, as JSON.
fn bench(args: &[&str]) -> Vec<Value> {
    let output =
        Command::new(env!("CARGO_BIN_EXE_bench")).args(args).args(["--json"]).envs(Stage::shared().env()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {}\n{said}", output.status);
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"))).collect()
}

/// One after the other: they share two cores.
#[test]
fn every_measure_prints_its_lines() {
    let cases: [(Words, Lines); 8] = [
        (&["codec"], &[("codec encode", "ns"), ("codec decode", "ns")]),
        (&["relay"], &[("relay drain", "events/s"), ("relay sustained", "events/s")]),
        (&["backlog"], &[("backlog", "µs CPU/event"); 5]),
        (&["latency"], &[("latency p50", "ms"), ("latency p99", "ms")]),
        (&["held-xmin", "--held", "2"], &[("held-xmin drain", "events/s"), ("held-xmin p50", "ms"), ("held-xmin p99", "ms")]),
        (&["intake", "--peer", "per-message"], &[("intake", "events/s")]),
        (&["hot", "--peer", "per-message"], &[("hot", "events/s")]),
        (&["idle", "--idle", "2"], &[("idle CPU", "% of a core"), ("idle memory", "MB")]),
    ];
    for (args, expected) in cases {
        let lines = bench(&[args, &["--events", "2000", "--runs", "1"]].concat());
        let names: Vec<_> = lines.iter().map(|l| (l["measure"].as_str().unwrap(), l["unit"].as_str().unwrap())).collect();
        assert_eq!(names, expected);
        let with_peer = args.contains(&"--peer") || args[0] == "held-xmin";
        for line in &lines {
            let number = |name: &str| line[name].as_f64().unwrap_or_else(|| panic!("no {name}: {line}"));
            let [ours, peer] = line["runs"][0].as_array().unwrap().as_slice() else { panic!("{line}") };
            assert_eq!(line["runs"].as_array().unwrap().len(), 1, "{line}");
            assert_eq!((&line["value"], peer.is_number()), (ours, with_peer), "{line}");
            // Beside a peer, or else a limit, if there is one.
            let alone = ["relay sustained", "backlog"].contains(&line["measure"].as_str().unwrap());
            let beside = ["peer", "ratio", "peer_name"].map(|name| line.get(name).is_some());
            assert_eq!(beside, [!alone; 3], "{line}");
            if !alone {
                assert_eq!(line["peer_name"] == "limit", !with_peer, "{line}");
                assert!(number("peer") > 0.0 && (number("ratio") - number("value") / number("peer")).abs() < 1e-9, "{line}");
            }
            assert!(line["peak_mb"][0].as_f64().unwrap() > 1.0, "{line}");
            assert!(line["cpu_s"][0].as_f64().unwrap() >= 0.0, "{line}");
            // An idle service, or one that publishes 20 rows, may use less CPU than the kernel counts.
            assert!(number("value") > 0.0 || ["idle", "backlog"].contains(&args[0]), "{line}");
            assert!(line["machine"].as_str().unwrap().contains("cores"), "{line}");
        }
        match args[0] {
            "backlog" => {
                let rows: Vec<u64> = lines.iter().map(|line| line["rows"].as_u64().unwrap()).collect();
                assert_eq!(rows, [20, 60, 200, 600, 2_000]);
            }
            "latency" => {
                let quantiles = &lines[0]["quantiles"];
                let (shares, ours) = (quantiles["shares"].as_array().unwrap(), quantiles["runs"][0][0].as_array().unwrap());
                assert_eq!((shares.len(), ours.len()), (61, 61), "{quantiles}");
                assert!(ours.is_sorted_by_key(|ms| ms.as_f64().unwrap()), "{quantiles}");
            }
            _ => {}
        }
    }
}

#[test]
fn an_unknown_measure_is_wrong_usage() {
    let output = Command::new(env!("CARGO_BIN_EXE_bench")).arg("everything").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(!String::from_utf8_lossy(&output.stderr).contains("relay-process"), "what is hidden stays hidden");
}
