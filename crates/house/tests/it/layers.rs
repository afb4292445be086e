//! Who takes a lower layer alone doesn't pay for those above.

use std::collections::BTreeSet;
use std::process::Command;

use crate::workspace;

/// The packages of a tree, by name and version.
fn tree(package: &str, features: &[&str]) -> BTreeSet<String> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["tree", "--locked", "-e", "normal", "--prefix", "none", "-p", package]).args(features).current_dir(workspace());
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let name = |line: &str| line.split(' ').take(2).collect::<Vec<_>>().join(" ");
    text.lines().filter(|line| !line.is_empty()).map(name).collect()
}

/// The rows of the table in `ARCHITECTURE.md`: package, features, packages.
fn rows() -> Vec<(String, String, usize)> {
    let text = std::fs::read_to_string(workspace().join("ARCHITECTURE.md")).unwrap();
    let table = text.split("<!-- layers -->").nth(1).expect("ARCHITECTURE.md has the table between two marks").to_owned();
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        (cells[1].trim_matches('`').to_owned(), cells[2].trim_matches('`').to_owned(), cells[3].parse().unwrap())
    })
    .collect()
}

/// Guard: the features. Without them every layer brings an HTTP server and a command line.
#[test]
fn each_layer_brings_what_it_needs() {
    let rows = rows();
    assert!(rows.len() >= 5, "{rows:?}");
    for (package, features, packages) in rows {
        let found = match features.as_str() {
            "default" => tree(&package, &[]),
            "none" => tree(&package, &["--no-default-features"]),
            features => tree(&package, &["--no-default-features", "--features", features]),
        };
        assert_eq!(
            found.len(),
            packages,
            "{package} with features {features}: correct the table in ARCHITECTURE.md if it is right so"
        );
        let has = |name: &str| found.iter().any(|package| package.split(' ').next() == Some(name));
        let wants = |feature: &str| features == "default" || features.split(',').any(|wanted| wanted == feature);
        let whole = package == "farandole" && (wants("http") || wants("cli") || wants("otlp"));
        for name in ["axum", "metrics-exporter-prometheus", "tracing-subscriber", "toml"] {
            assert_eq!(has(name), whole, "{name} in {package} with features {features}");
        }
        assert_eq!(has("clap"), package == "farandole" && wants("cli"), "{package} with features {features}");
        assert_eq!(has("opentelemetry"), wants("otlp") && features != "default", "{package} with features {features}");
        let avro = wants("avro") && (package == "farandole" || features != "default");
        assert_eq!(has("apache-avro"), avro, "{package} with features {features}");
        assert_eq!(has("reqwest"), avro || whole, "{package} with features {features}");
        if package == "farandole-outbox" && features == "default" {
            assert!(packages <= 160, "sqlx with TLS, rdkafka, tokio, serde and tracing bring 155");
        }
    }
}
