//! What may come into the tree: `deny.toml`, of which `cargo deny` reads the same, and checks advisories too. A test needs no tool that
//! takes longer to build than all the tests of a service.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;
use spdx::{Expression, Licensee};

use crate::workspace;

/// Every package that any target or feature brings, the workspace's own left out.
fn packages() -> Vec<Value> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let asked = ["metadata", "--locked", "--format-version", "1", "--all-features"];
    let answer = Command::new(cargo).args(asked).current_dir(workspace()).output().unwrap();
    assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
    let metadata: Value = serde_json::from_slice(&answer.stdout).unwrap();
    let members: BTreeSet<&str> = metadata["workspace_members"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let packages = metadata["packages"].as_array().unwrap().iter();
    packages.filter(|package| !members.contains(package["id"].as_str().unwrap())).cloned().collect()
}

/// Why `license` isn't allowed, if it isn't.
fn refused(license: Option<&str>, allowed: &[Licensee]) -> Option<String> {
    let Some(license) = license else { return Some("names no licence".to_owned()) };
    match Expression::parse_mode(license, spdx::ParseMode::LAX) {
        Ok(expression) => {
            let fits = expression.evaluate(|asked| allowed.iter().any(|licensee| licensee.satisfies(asked)));
            (!fits).then(|| format!("is under {license}"))
        }
        Err(error) => Some(format!("is under {license:?}: {error}")),
    }
}

#[test]
fn what_is_brought_may_come() {
    let rules: toml::Table = std::fs::read_to_string(workspace().join("deny.toml")).unwrap().parse().unwrap();
    let list = |section: &str, key: &str| rules[section][key].as_array().unwrap().clone();
    let allowed: Vec<Licensee> =
        list("licenses", "allow").iter().map(|name| Licensee::parse(name.as_str().unwrap()).unwrap()).collect();
    let banned: Vec<String> = list("bans", "deny").iter().map(|ban| ban["crate"].as_str().unwrap().to_owned()).collect();
    let packages = packages();
    assert!(packages.len() > 300, "{} packages aren't all", packages.len());
    let mut wrong = Vec::new();
    for package in &packages {
        let (name, version) = (package["name"].as_str().unwrap(), package["version"].as_str().unwrap());
        wrong.extend(refused(package["license"].as_str(), &allowed).map(|why| format!("{name} {version} {why}")));
        if banned.iter().any(|ban| ban == name) {
            wrong.push(format!("{name} {version} is banned"));
        }
        if !package["source"].as_str().is_some_and(|source| source.starts_with("registry+")) {
            wrong.push(format!("{name} {version} comes from {}", package["source"]));
        }
    }
    assert!(wrong.is_empty(), "see deny.toml:\n{}", wrong.join("\n"));
}

#[test]
fn a_licence_that_is_not_allowed_is_found() {
    let allowed = [Licensee::parse("MIT").unwrap(), Licensee::parse("Apache-2.0").unwrap()];
    for (license, fits) in
        [("MIT", true), ("MIT OR GPL-3.0-only", true), ("MIT/Apache-2.0", true), ("MIT AND GPL-3.0-only", false)]
    {
        assert_eq!(refused(Some(license), &allowed).is_none(), fits, "{license}");
    }
    assert!(refused(None, &allowed).is_some() && refused(Some("our own"), &allowed).is_some());
}
